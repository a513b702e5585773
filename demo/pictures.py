"""Two plots: how good each model is, and how far into the assortment its lists reach."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from hyperrank.figures import INK, canvas, save
from recsys.pictures import COLOURS


def quality(scores: pd.DataFrame, metric: str, path: Path) -> None:
    """Bars of one metric with its 95% intervals; ``scores`` has model, metric, value, low, high."""
    rows = scores[scores.metric == metric].sort_values("value")
    figure, parts = canvas(7.5, 0.6 * len(rows) + 1.4)
    axes = parts["A"]
    colours = [COLOURS[0] if name == "UltraGCN" else "#9ca3af" for name in rows.model]
    spread = np.stack([rows.value - rows.low, rows.high - rows.value])
    axes.barh(rows.model, rows.value, color=colours, height=0.62)
    axes.errorbar(rows.value, rows.model, xerr=spread, fmt="none", ecolor=INK, capsize=4)
    for place, (value, high) in enumerate(zip(rows.value, rows.high, strict=True)):
        axes.text(high, place, f"  {value:.4f}", va="center", color=INK)
    axes.set_xlim(0, rows.high.max() * 1.18)
    axes.set_title(f"{metric} on products new to the household, with 95% intervals", loc="left")
    save(figure, path)


def reach(slots: dict[str, np.ndarray], path: Path) -> None:
    """How much of each model's lists its most frequent products fill.

    ``slots`` has, for each line, how often each product stands in a list (or was bought).
    """
    figure, parts = canvas(7.5, 4.8)
    axes = parts["A"]
    for place, (name, counts) in enumerate(slots.items()):
        colour = COLOURS[0] if name == "UltraGCN" else COLOURS[place]
        falling = np.sort(counts)[::-1]
        share = np.cumsum(falling) / falling.sum()
        style = {"color": INK, "linestyle": ":"} if name.startswith("bought") else {"color": colour}
        axes.plot(np.arange(1, len(share) + 1), share, label=name, linewidth=2, **style)
    axes.set_xscale("log")
    axes.set_xlim(1, max(len(counts) for counts in slots.values()))
    axes.set_ylim(0, 1.02)
    axes.yaxis.set_major_formatter("{x:.0%}")
    axes.set_xlabel("products, the most frequent first")
    axes.legend(frameon=False, loc="lower right")
    axes.set_title("How few products fill all the lists of 20", loc="left")
    save(figure, path)
