"""What a search found, as an answer of a command and as a page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hyperrank import figures, pages
from hyperrank.rendering import Answer, lines, plain, shown
from hyperrank.trials import Row, Searched, best_so_far, epochs_run, epochs_saved

SLICES = 6  # parameters that get a picture, the most important ones
WIDE = 30.0  # a parameter whose largest value is so many times its least has a logarithmic axis


def answer(found: Searched, told: Row, place: str, report: str | None, line: str) -> Answer:
    """Text and data, and the page where one is asked for.

    Args:
        found: What is told of.
        told: More for the data: where things lie, the model.
        place: Where the best was saved, in words.
        report: Where the page goes.
        line: The command to repeat it.
    """
    data = told | {
        "metric": found.metric,
        "value": found.value,
        "value_as_given": found.as_given,
        "best": found.best,
        "changes": found.changes,
        "finalists": found.finalists,
        "counts": found.counts,
        "epochs": epochs_run(found.trials),
        "epochs_saved": epochs_saved(found.trials),
        "importance": found.importance,
        "interrupted": found.interrupted,
        "trials": found.trials,
        "report": report,
        "command": line,
    }
    text = [f"interrupted; --out and --force continue it: {line}"] * found.interrupted
    text += [f"{_best_line(found)}; {_counted(data)}"]
    text += [lines(found.changes)] if found.changes else ["no trial was better than the model"]
    text += [f"saved {told['model']} in {place}, the study in {told['storage']}"]
    if report:
        title = f"Search of {told['model']} by {found.metric}"
        pages.write(report, title, _parts(found, data))
        text.append(f"wrote {report}")
    return Answer(plain(data), "\n".join(text), 130 if found.interrupted else 0)


def _counted(data: Row) -> str:
    states = ", ".join(f"{count} {state}" for state, count in data["counts"].items())
    told = f"trials: {states}"
    if data["epochs"]:
        told += f"; {data['epochs']:,} epochs, about {data['epochs_saved']:,} saved by pruning"
    return told


def _best_line(found: Searched) -> str:
    if not found.finalists:
        best = f"best {found.metric} {shown(found.value)}, trial {found.best}"
        return f"{best}; the model as given {shown(found.as_given)}"
    first, *others = found.finalists
    told = f"best {found.metric} {shown(first['mean'])}, {_called(first)}, beside "
    told += ", ".join(f"{_called(row)} {shown(row['mean'])}" for row in others)
    return f"{told} (means of further fits with other seeds)"


def _called(row: Row) -> str:
    return "the model as given" if row["given"] else f"trial {row['number']}"


def _parts(found: Searched, data: Row) -> list[str]:
    kept = ("state", "value", "epochs", "seconds")
    rows = [
        {"trial": row["number"]}
        | {name: row[name] for name in kept}
        | {name: row["params"].get(name) for name in _names(found.trials)}
        | {"reason": row["reason"] or ""}
        for row in sorted(found.trials, key=_order)
    ]
    best, given = found.value, found.as_given
    if found.finalists:
        best = found.finalists[0]["mean"]
        given = next((row["mean"] for row in found.finalists if row["given"]), None)
    parts = [
        pages.paragraph(
            f"Trials of a model with other parameters, each judged by {found.metric} on data that "
            "it did not learn from. The first is the model as given. The best of many is judged by "
            "the data that chose it: tell what it is worth on data held out from the search.",
            "lead",
        ),
        pages.tiles(
            {
                f"best {found.metric}": best,
                "as given": given,
                "trials": len(found.trials),
                "epochs run": data["epochs"],
                "epochs saved by pruning, about": data["epochs_saved"],
            }
        ),
        pages.heading("Optimization history"),
        pages.figure(
            figures.svg(history_figure(found)), f"{found.metric} of each trial, and the best so far"
        ),
    ]
    if found.importance:
        parts += [
            pages.heading("Parameter importance"),
            pages.paragraph(
                "How much each parameter alone tells good trials from the others (PED-ANOVA); few "
                "trials make it rough."
            ),
            pages.figure(figures.svg(importance_figure(found)), "Share of each parameter"),
            pages.heading("Slices"),
            pages.figure(
                figures.svg(slices_figure(found)), f"{found.metric} against each parameter"
            ),
        ]
    if found.finalists:
        parts += [
            pages.heading("Finalists, the best first"),
            pages.table(
                [_finalist(row) for row in found.finalists],
                "The best trials and the model as given, fitted again with other seeds. The mean "
                "of these fits decides: the best value of many trials is partly luck.",
            ),
        ]
    return [
        *parts,
        pages.heading("Trials, the best first"),
        pages.table(rows, "Pruned trials have the value at which they were ended."),
        pages.heading("To repeat it"),
        pages.paragraph(data["command"]),
    ]


def _finalist(row: Row) -> Row:
    kept = {"trial": row["number"], "as given": row["given"], "mean": row["mean"]}
    return kept | {name: ", ".join(map(shown, row[name])) for name in ("values", "epochs")}


def _order(row: Row) -> tuple[bool, float, int]:
    done = row["state"] == "complete"
    return not done, -(row["value"] or 0.0) if done else 0.0, row["number"]


def _names(trials: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(name for row in trials for name in row["params"]))


def history_figure(found: Searched) -> Any:
    """The value of every trial by its number, and a line through the best so far."""
    figure, parts = figures.canvas(8, 3.9)
    axes = parts["A"]
    _dots(axes, found.trials, [row["number"] for row in found.trials])
    best = best_so_far(found.trials)
    number, value = zip(*best, (found.trials[-1]["number"], best[-1][1]), strict=True)
    axes.step(number, value, where="post", color=figures.COLOURS[1], linewidth=2, label="best")
    axes.set_xlabel("trial")
    axes.set_ylabel(found.metric)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(
        frameon=False, ncols=3, loc="lower left", bbox_to_anchor=(0, 1.0), labelcolor=figures.INK
    )
    return figure


def importance_figure(found: Searched) -> Any:
    """A bar for each parameter, the most important on top."""
    names = sorted(found.importance, key=lambda name: found.importance[name])
    figure, parts = figures.canvas(8, 0.8 + 0.32 * len(names))
    axes = parts["A"]
    values = [found.importance[name] for name in names]
    axes.barh(names, values, color=figures.COLOURS[0])
    axes.xaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    return figure


def slices_figure(found: Searched) -> Any:
    """A panel for each of the most important parameters: its value against the metric."""
    ranked = sorted(found.importance, key=lambda name: -found.importance[name])[:SLICES]
    letters = "ABCDEF"[: len(ranked)]
    rows = [letters[at : at + 3] for at in range(0, len(letters), 3)]
    mosaic = ";".join(row.ljust(len(rows[0]), ".") for row in rows)
    figure, parts = figures.canvas(8, 0.4 + 2.3 * len(rows), mosaic)
    for name, letter in zip(ranked, letters, strict=True):
        axes = parts[letter]
        there = [row for row in found.trials if name in row["params"]]
        values: list[Any] = [row["params"][name] for row in there]
        if any(isinstance(value, bool) or not isinstance(value, int | float) for value in values):
            known = sorted({str(value) for value in values})
            axes.set_xticks(range(len(known)), known)
            axes.set_xlim(-0.5, len(known) - 0.5)
            values = [known.index(str(value)) for value in values]
        elif min(values) > 0 and max(values) > WIDE * min(values):
            axes.set_xscale("log")
        _dots(axes, there, values)
        axes.set_xlabel(name)
        axes.tick_params(labelsize="small")
    return figure


def _dots(axes: Any, rows: Sequence[Row], places: Sequence[Any]) -> None:
    """Complete trials as filled dots, pruned ones as pale squares."""
    looks = {
        "complete": {"color": figures.COLOURS[0], "marker": figures.MARKS[0]},
        "pruned": {"color": figures.MUTED, "marker": figures.MARKS[1], "facecolor": "none"},
    }
    for state, look in looks.items():
        drawn = [
            (place, row["value"])
            for place, row in zip(places, rows, strict=True)
            if row["state"] == state and row["value"] is not None
        ]
        if drawn:
            axes.scatter(*zip(*drawn, strict=True), s=22, label=state, **look)
    axes.grid(color=figures.PALE)
    axes.set_axisbelow(True)
