"""What is known of a model's robustness, as an answer of a command and as a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import narwhals as nw
import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from hyperrank import figures, norms, operators, pages
from hyperrank.certificates import quotient
from hyperrank.rendering import Answer, plain, records, table

Row = dict[str, Any]
NAMES = {
    "fgsm": "FGSM",
    "pgd": "PGD-10",
    "random": "random direction",
    "balanced pgd": "PGD-10, balanced vectors",
}
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
RADII = {  # of a certificate -> what it says
    "relative_radius": "same list (tight)",
    "relative_radius_2k": "still in the top 2k",
    "relative_global_radius": "same list (cheap bound)",
}
LEAST_SHARE = 0.01  # of lists, of still smaller radii, that the figure leaves out
FRAGILE = 10  # lists of the smallest radius that are shown


class Findings(NamedTuple):
    """What was measured.

    Attributes:
        metric: By which accuracy is told.
        curve: Rows epsilon, method, value and absolute radii, the clean one first; none where
            nothing was held out.
        lists: A row for each certified list: ids, then radii; see ``certified``.
        norms: Rows of, norm, lower, upper.
        k: Length of the lists.
        noun: What has a list, in the plural.
    """

    metric: str
    curve: list[Row]
    lists: pd.DataFrame
    norms: list[Row]
    k: int
    noun: str


def norm_rows(
    factors: Mapping[str, tuple[Tensor, Tensor]], generator: torch.Generator
) -> list[Row]:
    """The norms of each left @ right.T by name, exact (both ends equal) or in a bracket.

    The spectral norm is above its bracket in one case of a thousand.
    """
    rows = []
    for name, pair in factors.items():
        product = operators.from_factors(*pair)
        largest = norms.two_to_infinity(product, generator=generator).value
        spectral = norms.spectral(product, tol=0.01, generator=generator)
        entries = norms.frobenius(product, generator=generator).value
        ends = {
            "two to infinity": (largest, largest),
            "spectral": (spectral.lower, spectral.upper),
            "Frobenius": (entries, entries),
        }
        rows += [norm_row(name, norm, *both) for norm, both in ends.items()]
    return rows


def alone(table: Float[Tensor, "n d"]) -> tuple[Float[Tensor, "n d"], Float[Tensor, "d d"]]:
    """A table as such a product, whose norms are its own."""
    return table, torch.eye(table.shape[1], dtype=table.dtype, device=table.device)


def norm_row(name: str, norm: str, lower: Any, upper: Any) -> Row:
    """One row of ``Findings.norms``."""
    return {"of": name, "norm": norm, "lower": float(lower), "upper": float(upper)}


def certified(frame: Any, lengths: Float[Tensor, " q"]) -> pd.DataFrame:
    """A frame of certificates, radii also over the lengths of the queries' vectors."""
    found = nw.from_native(frame).to_pandas()
    for name in ("radius_2k", "global_radius"):
        radii = torch.tensor(found[name].to_numpy(), device=lengths.device)
        found[f"relative_{name}"] = quotient(radii, lengths.double()).cpu().numpy()
    return found


def fragile(lists: pd.DataFrame) -> list[Row]:
    """The lists that the least move changes: their ids, and the radii that say so."""
    ids = [name for name in lists if "radius" not in name]
    shown = lists[[*ids, "relative_radius", "relative_radius_2k"]]
    there = shown[np.isfinite(shown["relative_radius"])]
    return records(there.sort_values("relative_radius", kind="stable").head(FRAGILE))


def quantiles(lists: pd.DataFrame) -> list[Row]:
    """The distribution of each relative radius; lists that nothing can change count as infinite."""
    found = []
    for name, label in RADII.items():
        values = lists[name]
        at = np.quantile(values, QUANTILES, method="lower") if len(values) else []
        cells = {f"{share:.0%}": float(v) for share, v in zip(QUANTILES, at, strict=False)}
        found.append({"radius": label, **cells})
    return found


def answer(title: str, found: Findings, report: str | None) -> Answer:
    """Tables, and the page where one is asked for."""
    tables = {
        "norms": found.norms,
        "radii": quantiles(found.lists),
        "fragile": fragile(found.lists),
    }
    if all(row["deviation"] is None for row in found.curve):  # of one seed
        curve = [{n: row[n] for n in row if n != "deviation"} for row in found.curve]
        found = found._replace(curve=curve)
    text = [f"{found.metric} under attack\n{table(found.curve)}"] if found.curve else []
    text += [
        f"radii of the lists of {found.k}, relative to the vector that asks\n"
        + table(tables["radii"]),
        f"the most fragile {found.noun}\n{table(tables['fragile'])}",
        f"norms\n{table(found.norms)}",
    ]
    if report:
        pages.write(report, title, _parts(found, tables))
        text.append(f"wrote {report}")
    told = {"metric": found.metric, "curve": found.curve, **tables, "report": report}
    return Answer(plain(told), "\n\n".join(text))


def _parts(found: Findings, tables: Mapping[str, list[Row]]) -> list[str]:
    certain = found.lists["relative_radius"].to_numpy()
    told: Row = {f"{found.noun} with a certified list of {found.k}": len(found.lists)}
    if np.isfinite(certain).any():
        told["median relative radius"] = float(np.quantile(certain, 0.5, method="lower"))
    parts = [
        pages.paragraph(
            "How much accuracy is lost when vectors are moved on purpose, how far they may move "
            "before a list must change, and how large the tables are that make the scores.",
            "lead",
        )
    ]
    if found.curve:
        clean = found.curve[0]["value"]
        balanced = any(row["method"] == "balanced pgd" for row in found.curve)
        worst = min(found.curve, key=lambda row: float(row["value"]))
        told = {f"{found.metric}, clean": clean, f"lowest {found.metric}": worst["value"]} | told
        parts += [
            pages.tiles(told),
            pages.heading("Accuracy under attack"),
            pages.paragraph(
                "Every vector moves within a ball whose radius is epsilon times the root mean "
                "square length of its table's rows. FGSM takes one step along the gradient, PGD "
                "ten projected ones, both up a loss, not the measure, so that either may do more "
                "harm; of two losses the worse is told. The random direction of equal length is "
                "the control."
                + " Balanced vectors are the shortest that give the same lists."
                * balanced
            ),
            pages.figure(figures.svg(curve_figure(found)), f"{found.metric} against epsilon"),
            pages.table(
                across(found.curve),
                "Radii are absolute" + ", those of the model's own vectors" * balanced + ".",
            ),
        ]
    else:
        parts += [pages.tiles(told), pages.paragraph("Nothing held out was given: no accuracy.")]
    parts += [
        pages.heading("Certified radii"),
        pages.paragraph(
            f"A list of {found.k} certainly stays while the vector that asks moves by less than "
            "its radius, here relative to that vector's length. At the tight radius another list "
            "is reached."
        ),
        *_radii(found, tables),
        pages.heading("Norms"),
        pages.table(
            found.norms,
            "Exact where both ends are equal; a spectral norm is above its bracket in one case of "
            "a thousand.",
        ),
    ]
    return parts


def _radii(found: Findings, tables: Mapping[str, list[Row]]) -> list[str]:
    """The distribution and the smallest, or a sentence where no list can change."""
    if not np.isfinite(found.lists["relative_radius"]).any():
        return [
            pages.paragraph(
                f"None of the {len(found.lists):,} lists can change, whatever the move: each holds "
                f"all that can be listed, which is at most {found.k}."
            )
        ]
    return [
        pages.figure(
            figures.svg(radii_figure(found)),
            f"Share of {found.noun} whose list certainly survives a move of that relative length",
        ),
        pages.table(tables["radii"], f"Quantiles over {len(found.lists):,} lists."),
        pages.heading(f"The most fragile {found.noun}"),
        pages.table(tables["fragile"], "A radius of 0 is a tie at the last place of the list."),
    ]


def across(curve: Sequence[Row]) -> list[Row]:
    """The rows of a curve side by side: a row for each epsilon, a column for each method."""
    clean, *rest = curve
    beside: dict[float, Row] = {}
    for row in rest:
        method: str = row["method"]
        name = NAMES.get(method, method)
        beside.setdefault(row["epsilon"], {})[name] = row["value"]
    radii = {
        row["epsilon"]: {n: row[n] for n in row if n.endswith("radius")} for row in reversed(curve)
    }
    first = dict.fromkeys(next(iter(beside.values())), clean["value"])
    told = {clean["epsilon"]: first} | beside
    return [{"epsilon": epsilon, **told[epsilon], **radii[epsilon]} for epsilon in told]


def curve_figure(found: Findings) -> Any:
    """Accuracy against epsilon, a line a method; the clean one as a line across."""
    figure, parts = figures.canvas(8, 3.9)
    axes, (clean, *rows) = parts["A"], found.curve
    dashes = {"linewidth": 1, "linestyle": (0, (4, 3)), "label": "clean"}
    axes.axhline(clean["value"], color=figures.MUTED, **dashes)
    methods = list(dict.fromkeys(row["method"] for row in rows))
    for method, colour, mark in zip(methods, figures.COLOURS, figures.MARKS, strict=False):
        points = [(0.0, clean["value"])]
        points += [(row["epsilon"], row["value"]) for row in rows if row["method"] == method]
        name = NAMES.get(method, method)
        axes.plot(*zip(*points, strict=True), color=colour, marker=mark, linewidth=2, label=name)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("epsilon, relative to the root mean square row")
    axes.set_ylabel(found.metric)
    _finish(axes)
    return figure


def radii_figure(found: Findings) -> Any:
    """The share of lists above each relative radius, of every kind of radius."""
    figure, parts = figures.canvas(8, 3.9)
    axes = parts["A"]
    for (name, label), colour, dash in zip(
        RADII.items(), figures.COLOURS, ("-", "--", ":"), strict=False
    ):
        values = np.sort(found.lists[name])
        drawn = values[np.isfinite(values) & (values > 0)]
        if len(drawn):
            share = 1 - np.searchsorted(values, drawn, side="right") / len(values)
            axes.step(
                drawn, share, where="post", color=colour, linestyle=dash, linewidth=2, label=label
            )
    axes.set_xscale("log")
    tight = found.lists["relative_radius"].to_numpy()
    if len(tight := tight[np.isfinite(tight) & (tight > 0)]):
        axes.set_xlim(left=np.quantile(tight, LEAST_SHARE) / 3)
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    axes.set_xlabel("length of the move, relative to the vector that asks")
    axes.set_ylabel(f"share of {found.noun}")
    _finish(axes)
    return figure


def _finish(axes: Any) -> None:
    axes.grid(color=figures.PALE)
    axes.set_axisbelow(True)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(
            frameon=False,
            ncols=5,
            loc="lower left",
            bbox_to_anchor=(0, 1.01),
            borderaxespad=0,
            labelcolor=figures.INK,
            fontsize="small",
        )
