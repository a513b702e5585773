"""Pictures of what a model has learned, from plain numbers; what is drawn is said in each.

Every function gives a ``Picture``, whose figure is of matplotlib, without pyplot. ``names`` are the
words of the domain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int
from torch import Tensor

from hyperrank.concentration import cumulative, gini, top
from hyperrank.figures import COLOURS, INK, MARKS, MUTED, PALE, canvas, label_logs
from hyperrank.spectrum import Spectrum

ENERGY = 0.9
TOPS = (0.01, 0.1)  # shares of the catalogue that are told
LEGEND = {"frameon": False, "labelcolor": INK}
WIDE = 30.0  # losses whose first is so many times the least have a logarithmic axis


class Names(NamedTuple):
    """Words of a domain.

    Attributes:
        model: What is looked at, such as "UltraGCN".
        rows: What the rows of its table are, in the plural.
        degree: What makes a row popular: those in training that are counted.
        lists: Whose lists are made, in the plural.
    """

    model: str
    rows: str
    degree: str
    lists: str


class Picture(NamedTuple):
    """A figure, the numbers that it tells, and what it shows in a sentence."""

    figure: Any
    numbers: dict[str, Any]
    caption: str


class NothingToDrawError(ValueError):
    """The model has not learned what a picture shows."""


def popularity(
    listed: Int[Tensor, " n"], degree: Int[Tensor, " n"], k: int, lists: str, names: Names
) -> Picture:
    """How much of lists of ``k`` goes to the most popular candidates, and how much of training.

    Args:
        listed: How many lists each candidate is in.
        degree: How popular each is.
        k: Length of the lists.
        lists: Whose they are, and how many.
        names: Words.

    Raises:
        NothingToDrawError: If all lists are empty.
    """
    if not bool(listed.any()):
        raise NothingToDrawError(
            f"the lists of {names.model} are empty: all {names.rows} are known to all {names.lists}"
        )
    n = len(degree)
    figure, parts = canvas(8, 5.8)
    axes, places = parts["A"], np.arange(1, n + 1) / n
    most = [top(part, n) for part in TOPS]
    numbers: dict[str, Any] = {names.rows: n, "k": k, "of": lists}
    numbers |= {"in_top_1": most[0], "in_top_10": most[1]}
    for name, said, counts, colour, dashes in (
        ("lists", f"lists of {k} for {lists}", listed, COLOURS[1], "-"),
        ("training", "training", degree, COLOURS[0], "--"),
    ):
        share = cumulative(counts, degree).cpu().numpy()
        tops = [float(share[count - 1]) for count in most]
        unequal = float(gini(counts))
        numbers[name] = {"top_1": tops[0], "top_10": tops[1], "gini": unequal}
        style = {"color": colour, "linestyle": dashes, "linewidth": 2.5}
        label = f"{said}: top 1% hold {tops[0]:.0%}, top 10% {tops[1]:.0%}; Gini {unequal:.2f}"
        axes.plot(places, share, label=label, **style)
        axes.plot([count / n for count in most], tops, "o", color=colour, markersize=6)
    axes.plot(places, places, color=MUTED, linestyle=":", label="if all had the same")
    for count in most:
        axes.axvline(count / n, color=PALE, linewidth=1.5, zorder=0)
    axes.set_xscale("log")
    axes.set_xlim(min(1 / n, 0.5), 1)
    axes.set_ylim(0, 1.02)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda share, _: f"{100 * share:.3g}%")
    axes.set_xlabel(f"share of the {n:,} {names.rows}, those of most {names.degree} first")
    axes.set_ylabel("share that they hold")
    figure.legend(loc="outside lower left", **LEGEND)
    first, second = (numbers[name]["top_10"] for name in ("lists", "training"))
    title = f"{names.model}: the top 10% of {names.rows} hold {first:.0%} of lists, {second:.0%} of"
    entitle(figure, axes, f"{title} training")
    return Picture(figure, numbers, f"Who fills the lists: the most popular {names.rows} first")


def spectra(tables: Mapping[str, Spectrum], names: Names) -> Picture:
    """Singular values of tables by name, with the effective rank and the rank for 90% of energy."""
    figure, parts = canvas(8, 5)
    axes, numbers, lowest = parts["A"], {}, [0.5]
    for colour, mark, (name, found) in zip(COLOURS, MARKS, tables.items(), strict=False):
        values = found.values.cpu().numpy()
        rank, most = found.effective_rank, found.rank_of(ENERGY)
        numbers[name] = {
            "size": len(values),
            "effective_rank": rank,
            "rank_90": most,
            "largest": float(values[0]),
            "smallest": float(values[-1]),
        }
        relative = values / (values[0] or 1)
        relative = relative[relative > np.finfo(np.float32).eps]  # what is below is rounding
        label = f"{name}: effective rank {rank:.1f} of {len(values)} (dashed), "
        label += f"{ENERGY:.0%} of energy in {most} (dotted)"
        style = {"color": colour, "marker": mark, "markersize": 4, "linewidth": 1}
        lowest.extend(relative[-1:].tolist())
        axes.plot(range(1, len(relative) + 1), relative, label=label, **style)
        axes.axvline(rank, color=colour, linestyle="--", linewidth=1.5)
        axes.axvline(most, color=colour, linestyle=":", linewidth=1.5)
    axes.set_yscale("log")
    axes.set_ylim(0.8 * min(lowest), 1.2)
    label_logs(axes.yaxis)
    axes.set_xlabel("number of the singular value")
    axes.set_ylabel("singular value / largest")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(axis="y", color=PALE)
    figure.legend(loc="outside lower left", **LEGEND)
    entitle(figure, axes, f"{names.model}: singular values")
    caption = "Singular values; the effective rank is exp of the entropy of their shares"
    return Picture(figure, numbers, caption)


def training(
    losses: Sequence[float],
    looks: Sequence[Sequence[float]],
    best: int,
    metric: str,
    names: Names,
) -> Picture:
    """Loss of each epoch; where there are ``looks``, (epoch, metric) pairs, also these.

    ``best`` is the epoch whose tables were kept.
    """
    figure, parts = canvas(8, 5.6 if looks else 3.6, "A\nB" if looks else "A", sharex=True)
    line: dict[str, Any] = {"linewidth": 2, "markersize": 4}
    parts["A"].plot(range(1, len(losses) + 1), losses, color=COLOURS[0], marker=MARKS[0], **line)
    parts["A"].set_ylabel("mean loss")
    if min(losses) > 0 and losses[0] > WIDE * min(losses):
        parts["A"].set_yscale("log")
        label_logs(parts["A"].yaxis)
    title = f"{names.model}: {len(losses)} epochs"
    numbers: dict[str, Any] = {
        "epochs": len(losses),
        "first_loss": losses[0],
        "last_loss": losses[-1],
    }
    if looks:
        epochs, values = zip(*looks, strict=True)
        reached = dict(zip(epochs, values, strict=True))[best]
        numbers |= {"metric": metric, "best_epoch": best, "best": reached}
        title += f", best at {best} with {metric} {reached:.4f}"
        axes = parts["B"]
        axes.plot(epochs, values, color=COLOURS[1], marker=MARKS[1], **line)
        star = {"marker": "*", "markersize": 14, "markeredgecolor": INK, "linestyle": ""}
        axes.plot([best], [reached], color=COLOURS[4], label="best, kept", **star)
        axes.set_ylabel(f"{metric}, validation")
        axes.legend(loc="best", **LEGEND)
        for one in parts.values():
            one.axvline(best, color=MUTED, linestyle=":", zorder=0)
    for one in parts.values():
        one.grid(axis="y", color=PALE)
        one.xaxis.get_major_locator().set_params(integer=True)
    parts["B" if looks else "A"].set_xlabel("epoch")
    entitle(figure, parts["A"], title, "" if looks else "No validation data was given.")
    told = "Mean loss of each epoch" + (", and the validation metric" if looks else "")
    return Picture(figure, numbers, told)


def entitle(figure: Any, axes: Any, title: str, note: str = "") -> None:
    """A title over all, and smaller what has to be known to read the picture."""
    figure.suptitle(title, x=0.01, ha="left", color=INK, fontsize="x-large")
    if note:
        axes.set_title(note, loc="left", color=MUTED, fontsize="medium")
