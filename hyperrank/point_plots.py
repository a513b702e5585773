"""Pictures of a table's rows as points: where they lie, and whether popular ones lie elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from hyperrank.devices import seeded
from hyperrank.figures import COLOURS, INK, MARKS, MUTED, PALE, SHEET, canvas, label_logs, shades
from hyperrank.hyperbolic import radius as distance_of
from hyperrank.layout import Layout, layout, rim_of
from hyperrank.plots import LEGEND, Names, Picture, entitle

MOST_POINTS = 5000  # that are drawn
MOST_GROUPS = 6
LONGEST = 28  # letters of a name in the legend
OTHERS = "other"
BINS = 12  # of popularity, at most
LEAST_OF_BIN = 3
RINGS = (0.5, 1, 2, 3, 4, 6, 8)  # hyperbolic distances, drawn where rows lie
OF_RINGS = "#c3c8d0"
APART = 0.06  # between two rings, in radii of the disk
VECTOR_POINTS = 1000  # of more, points are pixels in SVG and PDF


@dataclass(frozen=True)
class Table:
    """Rows of a fitted model that can be looked at.

    Attributes:
        rows: Vectors; with a curvature space parts of points of a hyperboloid.
        degree: How popular each is.
        names: Words for them.
        curvature: None for Euclidean ones.
        others: Rows of the other side, in the same space.
    """

    rows: Float[Tensor, "n d"]
    degree: Int[Tensor, " n"]
    names: Names
    curvature: float | None = None
    others: Float[Tensor, "m d"] | None = None

    @property
    def distance(self) -> Float[Tensor, " n"]:
        """Of each row from the origin, hyperbolic where it is curved; in float64."""
        rows = self.rows.double()
        return (
            rows.norm(dim=1)
            if self.curvature is None
            else distance_of(rows, curvature=self.curvature)
        )

    @property
    def distance_name(self) -> str:
        """In words."""
        return (
            "length of the vector"
            if self.curvature is None
            else "hyperbolic distance from the origin"
        )


def disk(
    table: Table,
    groups: Sequence[str | None] | None = None,
    *,
    others: bool = False,
    random_state: int = 0,
) -> Picture:
    """The rows on the Poincare disk, or on two principal axes; see ``hyperrank.layout``.

    Args:
        table: Coloured by how popular a row is.
        groups: Of each row, instead: the six most frequent get a colour and a mark, and the rest
            are "other", as is None.
        others: Whether the rows of the other side are drawn, as crosses beneath.
        random_state: Of the sample of 5,000 rows that is drawn where there are more.
    """
    names, plan = table.names, layout(table.rows, table.curvature)
    distance = table.distance
    chosen = _sampled(len(table.rows), random_state)
    places = plan.places(table.rows[chosen]).cpu().numpy()
    degree = table.degree[chosen].cpu().numpy()
    figure, parts = canvas(8, 7.2)
    axes = parts["A"]
    numbers: dict[str, Any] = {
        names.rows: len(table.rows),
        "drawn": len(places),
        "size": table.rows.shape[1],
        "curvature": table.curvature,
        "share_of_axes": plan.share,
        "median_distance": float(distance.median()),
        "largest_distance": float(distance.max()),
    }
    if table.curvature is None:
        _draw_plane(axes)
    else:
        _draw_disk(axes, float(distance.max()), table.curvature)
    if others and table.others is not None:
        besides = table.others[_sampled(len(table.others), random_state)]
        cross = {"color": MUTED, "marker": "x", "linewidth": 0.6, "alpha": 0.5, "zorder": 2}
        many = len(besides) > VECTOR_POINTS
        axes.scatter(*plan.places(besides).cpu().numpy().T, s=9, rasterized=many, **cross)
        numbers[f"{names.lists}_drawn"] = len(besides)
    if groups is None:
        size = min(max(9000 / len(places), 5), 36)
        order = degree.argsort(kind="stable")  # the most popular on top
        shown = axes.scatter(
            *places[order].T,
            c=degree[order].clip(1),
            norm="log" if degree.max() > 1 else None,
            cmap=shades(),
            s=size,
            linewidth=0,
            zorder=3,
            rasterized=len(places) > VECTOR_POINTS,
        )
        bar = figure.colorbar(shown, ax=axes, shrink=0.7)
        bar.set_label(names.degree, color=MUTED)
        if degree.max() > 1:
            label_logs(bar.ax.yaxis)
        bar.ax.tick_params(colors=MUTED, which="both")
        bar.outline.set_visible(False)
    else:
        known = np.array([OTHERS if group is None else group for group in groups], dtype=object)
        numbers["groups"] = _draw_groups(figure, axes, places, known, chosen.numpy())
    what = "two principal axes" if table.curvature is None else "the Poincaré disk"
    entitle(
        figure,
        axes,
        f"{names.model}: {len(table.rows):,} {names.rows} on {what}",
        _note(table, plan, numbers, others and table.others is not None),
    )
    return Picture(figure, numbers, f"The {names.rows} on {what}")


def _note(table: Table, plan: Layout, numbers: dict[str, Any], others: bool) -> str:
    """What has to be known of the picture."""
    size = numbers["size"]
    if table.curvature is None:
        note = f"The two principal axes hold {plan.share:.0%} of the variance of {size} numbers."
    elif size <= 2:
        note = "Distances from the centre, which rings tell, and angles are exact."
    else:
        note = (
            "The distance from the centre is exact: rings tell it. The angle is that on the two\n"
            f"principal axes that hold {plan.share:.0%} of the directions in {size} dimensions."
        )
    if numbers["drawn"] < len(table.rows):
        note += f" Drawn: {numbers['drawn']:,} at random."
    return note + f"\nCrosses: {table.names.lists}." * others


def _sampled(n: int, random_state: int) -> Int[Tensor, " m"]:
    return torch.randperm(n, generator=seeded(random_state))[:MOST_POINTS].sort().values


def _draw_disk(axes: Any, farthest: float, curvature: float) -> None:
    """The disk, and rings at round distances as far as rows reach."""
    around = np.linspace(0, 2 * np.pi, 361)
    axes.fill(np.cos(around), np.sin(around), facecolor=SHEET, edgecolor=MUTED, zorder=0)
    marks, drawn = torch.tensor(RINGS, dtype=torch.float64) * (-curvature) ** -0.5, 0.0
    for mark, rim in zip(marks.tolist(), rim_of(marks, curvature).tolist(), strict=True):
        if mark > 1.5 * farthest or rim < drawn + APART:
            continue
        drawn = rim
        axes.plot(rim * np.cos(around), rim * np.sin(around), color=OF_RINGS, lw=0.8, zorder=1)
        boxed = {"facecolor": SHEET, "edgecolor": "none", "pad": 1, "alpha": 0.8}
        text = {"color": INK, "fontsize": "small", "ha": "center", "va": "center", "zorder": 4}
        axes.text(0, rim, f"{mark:.3g}", bbox=boxed, **text)
    axes.set_aspect("equal", anchor="W")
    axes.set_axis_off()
    axes.set(xlim=(-1.02, 1.02), ylim=(-1.02, 1.02))


def _draw_plane(axes: Any) -> None:
    axes.fill([0, 1, 1, 0], [0, 0, 1, 1], facecolor=SHEET, zorder=0, transform=axes.transAxes)
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_xlabel("first principal axis")
    axes.set_ylabel("second principal axis")


def _draw_groups(
    figure: Any,
    axes: Any,
    places: np.ndarray,
    groups: np.ndarray,
    drawn: np.ndarray,
) -> dict[str, int]:
    """Draws rows by group, a legend below; how many of all rows are in each."""
    names, counts = np.unique(groups[groups != OTHERS], return_counts=True)
    largest = names[np.argsort(-counts, kind="stable")][:MOST_GROUPS].tolist()
    known = np.where(np.isin(groups, largest), groups, OTHERS)
    looks = list(zip(largest, COLOURS, MARKS, strict=False))
    looks += [(OTHERS, MUTED, ".")] * (OTHERS in known)
    size = min(max(24000 / len(places), 10), 40)
    dot = {"s": size, "linewidth": 0, "alpha": 0.85, "rasterized": len(places) > VECTOR_POINTS}
    for name, colour, mark in looks:
        there = known[drawn] == name
        look = {"color": colour, "marker": mark, "zorder": 2.5 if name == OTHERS else 3}
        axes.scatter(*places[there].T, label=shortened(name), **look, **dot)
    scale = (40 / size) ** 0.5
    figure.legend(loc="outside lower left", ncols=3, markerscale=scale, **LEGEND)
    return {name: int((known == name).sum()) for name, *_ in looks}


def shortened(name: str) -> str:
    """A name that three columns of a legend have room for."""
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1].rstrip()}…"


def radius(table: Table, *, random_state: int = 0) -> Picture:
    """How far rows lie from the origin against how popular they are, with medians and quartiles.

    Spearman's correlation of both stands in the title. Rows that nobody knows are left out.
    """
    from scipy.stats import spearmanr

    names, known = table.names, (table.degree > 0).nonzero()[:, 0]
    degree = table.degree[known].cpu().numpy()
    distance = table.distance[known].cpu().numpy()
    varied = len(np.unique(degree)) > 1 and len(np.unique(distance)) > 1
    found = cast("Any", spearmanr(degree, distance)).statistic if varied else float("nan")
    bins = quartiles(degree, distance)
    figure, parts = canvas(8, 5.6)
    axes = parts["A"]
    chosen = _sampled(len(known), random_state).numpy()
    size = min(max(9000 / len(chosen), 4), 30)
    look = {"s": size, "linewidth": 0, "alpha": 0.4, "rasterized": len(chosen) > VECTOR_POINTS}
    axes.scatter(degree[chosen], distance[chosen], color=COLOURS[0], **look)
    if bins:
        at, low, middle, high = (list(column) for column in zip(*bins, strict=True))
        axes.fill_between(at, low, high, color=COLOURS[1], alpha=0.25, label="middle half")
        line = {"color": COLOURS[1], "marker": MARKS[1], "markersize": 5, "linewidth": 2}
        axes.plot(at, middle, label="median", **line)
        axes.legend(loc="best", **LEGEND)
    if len(degree) and degree.max() > 1:
        axes.set_xscale("log")
        label_logs(axes.xaxis)
    axes.set_xlabel(names.degree)
    axes.set_ylabel(table.distance_name)
    axes.grid(color=PALE)
    axes.set_axisbelow(True)
    note = f"{len(degree):,} {names.rows}"
    if len(chosen) < len(degree):
        note += f", of which {len(chosen):,} are drawn at random"
    if len(degree) < len(table.degree):
        note += f"; {len(table.degree) - len(degree):,} without training are left out"
    what = "length" if table.curvature is None else "distance"
    said = f"Spearman {found:+.2f}" if varied else "all alike"
    title = f"{names.model}: {what} against popularity, {said}"
    entitle(figure, axes, title, note + ".")
    numbers = {
        names.rows: len(degree),
        "drawn": len(chosen),
        "spearman": float(found),
        "measure": table.distance_name,
        "bins": [
            dict(zip(("popularity", "low", "median", "high"), row, strict=True)) for row in bins
        ],
    }
    return Picture(figure, numbers, f"How far popular {names.rows} lie from the origin")


def quartiles(degree: np.ndarray, value: np.ndarray) -> list[tuple[float, float, float, float]]:
    """For bins of like degree: its geometric mean, and the quartiles of the values.

    At most twelve bins of equal width on a logarithmic axis; those of fewer than three are left
    out.
    """
    if not len(degree):
        return []
    logs = np.log(degree)
    edges = np.linspace(logs.min(), logs.max(), BINS + 1)
    place = np.digitize(logs, edges[1:-1])
    found = []
    for number in range(BINS):
        there = place == number
        if there.sum() >= LEAST_OF_BIN:
            low, middle, high = np.quantile(value[there], (0.25, 0.5, 0.75))
            found.append((float(np.exp(logs[there].mean())), low, middle, high))
    return [tuple(map(float, row)) for row in found]  # type: ignore[misc]
