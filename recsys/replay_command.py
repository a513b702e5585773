"""What ``recsys replay`` does, from parsed options to an answer."""

from __future__ import annotations

import importlib.util
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hyperrank.command_shell import device_of
from hyperrank.rendering import Answer, records, table
from recsys.command_logs import moment

if TYPE_CHECKING:
    from recsys.interactions import Interactions
    from recsys.replay import Replayed

TIMES = ("timestamp", "time")  # what public data sets call their times


def replay(options: Namespace) -> Answer:
    """Walks the log, prints a row for each policy, draws the plot."""
    from hyperrank import figures
    from recsys import pictures, replay
    from recsys.models import make_model

    if options.resume and not options.out:
        raise ValueError("--resume goes on in a folder; name it with --out")
    plot = _plot(options)
    if plot:
        figures.check(plot)
    model = make_model(
        options.model, options.set, random_state=options.seed, progress=False, **device_of(options)
    )
    found = replay.replay(
        _read(options),
        model,
        start=moment(options.start),
        every=options.every,
        policies=[name.strip() for name in options.policies.split(",") if name.strip()],
        k=options.k,
        refit_every=options.refit_every,
        out=options.out,
        resume=options.resume,
        progress=not options.quiet,
    )
    name = type(model).__name__
    if plot:
        pictures.price_list(found, plot, f"{name} on {Path(options.log).name}")
    if options.out:
        from hyperrank import tables

        for part in ("slices", "summary"):
            tables.write(getattr(found, part), Path(options.out) / f"{part}.csv")
    summary, slices = records(found.summary), records(found.slices)
    data = {
        "model": name,
        "params": model.get_params(),
        "fit_seconds": found.fit_seconds,
        "summary": summary,
        "slices": slices,
        "out": options.out,
        "plot": plot,
    }
    return Answer(data, _text(name, found, summary, slices, plot))


def _read(options: Namespace) -> Interactions:
    """The log at a path or, where there is none, of a public data set."""
    from hyperrank import tables
    from recsys.doctor import found_datasets
    from recsys.interactions import Interactions

    path, time = Path(options.log), options.time
    if not path.exists():
        named = {
            row["name"]: Path(row["folder"]) / "interactions.parquet" for row in found_datasets()
        }
        path = named.get(options.log, path)
        if path.exists() and time is None:
            time = next((name for name in TIMES if name in tables.header(path)), None)
    if time is None and path.exists():
        raise ValueError("a replay needs times; name their column with --time")
    roles = {role: getattr(options, role) for role in ("user", "item", "weight", "repeated")}
    return Interactions.read(path, time=time, **roles)


def _plot(options: Namespace) -> str | None:
    """Where the plot goes; beside the tables unless told, if it can be drawn at all."""
    if options.plot or not options.out or importlib.util.find_spec("matplotlib") is None:
        return str(options.plot) if options.plot else None
    return str(Path(options.out) / "replay.png")


def _text(
    name: str,
    found: Replayed,
    summary: list[dict[str, Any]],
    slices: list[dict[str, Any]],
    plot: str | None,
) -> str:
    from recsys.pictures import span

    first = [row for row in slices if row["policy"] == summary[0]["policy"]]
    asked, pairs = (sum(row[key] for row in first) for key in ("users", "pairs"))
    head = (
        f"{name}, {len(first)} slices from {first[0]['opening']} to {first[-1]['opening']}; "
        f"{asked:,} answers for {pairs:,} new pairs; first fit {span(found.fit_seconds)}"
    )
    rows = []
    for row in summary:
        shown = {key: row[key] for key in ("policy", f"ndcg@{found.k}", "low", "high")}
        shown["gain"] = f"{row['gain']:+.4f} [{row['gain_low']:+.4f}, {row['gain_high']:+.4f}]"
        shown[f"coverage@{found.k}"] = row[f"coverage@{found.k}"]
        shown["refits"] = row["refits"]
        shown["seconds"] = float(row["seconds"])
        shown["each"] = None if row["median_seconds"] is None else span(row["median_seconds"])
        shown["age"] = span(row["age"]) if found.dates else row["age"]
        shown["events"] = round(row["age_events"])
        shown |= {key.replace("_", " "): row[key] for key in ("unknown_users", "unknown_items")}
        rows.append(shown)
    foot = (
        f"gain: above {summary[0]['policy']}, paired over users, 95% interval; each: median of one "
        "action; age and events: since the state that answered was made; unknown: share of the "
        "pairs whose user or item it did not know"
    )
    return "\n".join([head, table(rows), foot] + [f"drew {plot}"] * bool(plot))
