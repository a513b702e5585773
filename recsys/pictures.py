"""Plots of replays and of trade-offs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hyperrank.figures import INK, MUTED, PALE, canvas, check, label_dates, save
from recsys.exposure import Tradeoff
from recsys.replay import Replayed

COLOURS = ["#2563eb", "#0891b2", "#059669", "#d97706", "#9ca3af"]
OF_POLICY = {
    "none": "#9ca3af",
    "popularity": "#d97706",
    "update": "#2563eb",
    "refit": "#059669",
    "sweep": "#db2777",
    "update+refit": "#7c3aed",
}
MOST_POINTS = 40  # of a line; more slices are pooled
# colours and shapes that colour-blind readers tell apart (Okabe and Ito 2008)
MARKS = (
    ("#D55E00", "s"), ("#009E73", "^"), ("#CC79A7", "D"), ("#E69F00", "v"), ("#56B4E9", "P"),
    ("#000000", "X"),
)  # fmt: skip
OF_CURVE = "#0072B2"
SPANS = (("d", 86_400), ("h", 3600), ("min", 60))


def price_list(found: Replayed, path: str | Path, title: str = "") -> None:
    """NDCG slice by slice; what each policy came to, and at what price; the price as it grew.

    Raises:
        ValueError: As ``check``.
        ImportError: As ``check``.
    """
    import narwhals as nw

    check(path)
    slices, summary = (nw.from_native(frame).to_pandas() for frame in (found.slices, found.summary))
    figure, axes = canvas(11, 7.5, "AA\nBC", height_ratios=[1.2, 1], width_ratios=[1.5, 1])
    pool = -(-int(slices.slice.max()) // MOST_POINTS)
    for name, rows in slices.groupby("policy", sort=False):
        style = {"color": OF_POLICY[name], "linewidth": 2, "marker": "o", "markersize": 4}
        opening, value = _pooled(rows, f"ndcg@{found.k}", pool)
        axes["A"].plot(opening, value, label=name, **style)
        axes["C"].step(rows.opening, rows.seconds.cumsum(), where="post", **style | {"marker": ""})
    each = "each slice" if pool == 1 else f"every {pool} slices"
    axes["A"].set_title(f"NDCG@{found.k} of {each}", loc="left", color=INK)
    axes["A"].grid(axis="y", color=PALE)
    axes["A"].legend(
        frameon=False,
        ncols=len(summary),
        loc="lower right",
        bbox_to_anchor=(1, 1),
        borderaxespad=0,
        labelcolor=INK,
    )
    axes["C"].set_ylim(bottom=0)
    axes["C"].set_title("Seconds spent so far", loc="left", color=INK)
    if found.dates:
        label_dates(axes["A"], 8)
        label_dates(axes["C"], 5)
    _priced(axes["B"], summary, found)
    if title:
        figure.suptitle(title, x=0.01, ha="left", color=INK, fontsize="x-large")
    save(figure, path)


def tradeoff(found: Tradeoff, path: str | Path, title: str = "") -> None:
    """Which items lists hold against accuracy: the dial as a curve, other models as marks on it.

    A ring on the curve is where the turned model is as accurate as the model of that colour.

    Raises:
        ValueError: As ``check``, or if there are more than six other models.
        ImportError: As ``check``.
    """
    import narwhals as nw

    check(path)
    curve, rows = (nw.from_native(frame).to_pandas() for frame in (found.curve, found.models))
    others = rows[(rows.matched == "") & (rows.model != found.turned)]
    if len(others) > len(MARKS):
        raise ValueError(f"a plot has marks for {len(MARKS)} other models, got {len(others)}")
    accuracy, *measures = curve.columns[1:]
    figure, axes = canvas(10, 7.5, "AB\nCD")
    ring = {"markerfacecolor": "none", "markersize": 11, "marker": "o", "linestyle": ""}
    for one, measure in zip(axes.values(), measures, strict=True):
        line = {"color": OF_CURVE, "marker": ".", "label": f"{found.turned}, dial turned"}
        one.plot(curve[accuracy], curve[measure], **line)
        for (colour, shape), row in zip(MARKS, others.to_dict("records"), strict=False):
            place = {"color": colour, "marker": shape, "markersize": 9, "linestyle": ""}
            one.plot(row[accuracy], row[measure], label=row["model"], **place)
            same = rows[rows.matched == row["model"]]
            one.plot(same[accuracy], same[measure], markeredgecolor=colour, **ring)
        one.set_title(measure, loc="left", color=INK)
        one.set_xlabel(accuracy)
        one.grid(color=PALE)
    named = f"{found.turned} as accurate as that colour"
    axes["A"].plot([], [], markeredgecolor=MUTED, label=named, **ring)
    handles, labels = axes["A"].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    if title:
        figure.suptitle(title, x=0.01, ha="left", color=INK, fontsize="x-large")
    save(figure, path)


def _pooled(rows: Any, metric: str, size: int) -> tuple[Any, Any]:
    """First openings and mean answers of so many slices together, where there is an answer."""
    rows = rows[rows.users > 0]
    pools = rows.assign(total=rows[metric] * rows.users).groupby((rows.slice - 1) // size)
    return pools.opening.first(), pools.total.sum() / pools.users.sum()


def _priced(axes: Any, summary: Any, found: Replayed) -> None:
    """What a policy has above the first one, with its interval, and in words what it took."""
    for place, row in enumerate(summary.to_dict("records")):
        gain, colour = row["gain"], OF_POLICY[row["policy"]]
        spread = [[gain - row["gain_low"]], [row["gain_high"] - gain]]
        axes.errorbar(gain, place, xerr=spread, fmt="o", color=colour, capsize=4, linewidth=2)
        words = f"{row[f'ndcg@{found.k}']:.4f}, {price(row, found.dates)}"
        axes.text(1.02, place, words, color=INK, va="center", transform=axes.get_yaxis_transform())
    axes.axvline(0, color=MUTED, linewidth=1)
    axes.set_yticks(range(len(summary)), summary.policy, color=INK)
    axes.set_ylim(len(summary) - 0.5, -0.5)
    axes.grid(axis="x", color=PALE)
    axes.set_axisbelow(True)
    axes.ticklabel_format(axis="x", style="plain", useOffset=False)
    axes.set_title(
        f"NDCG@{found.k} above that of {summary.policy[0]}, 95% interval; level and price",
        loc="left",
        color=INK,
    )


def price(row: dict[str, Any], dates: bool) -> str:
    """Seconds and staleness of a policy in words."""
    age = span(row["age"]) if dates else f"{row['age']:.3g}"
    return f"{span(row['seconds'])}, {age} old"


def span(seconds: float) -> str:
    """A length of time in the largest unit of which it has one: 2.5 d, 3 h, 10 min, 7 s."""
    for unit, size in SPANS:
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"
