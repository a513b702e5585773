"""Figures: the one place that imports matplotlib. They become files, or SVG inside a page."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

from hyperrank.durable import new_file

INK, MUTED, PALE = "#1b1f24", "#6b7280", "#e5e7eb"
SHEET = "#f6f7f8"  # under points in many shades, in a dark page too
# colours and shapes that colour-blind readers tell apart (Okabe and Ito 2008)
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKS = ("o", "s", "^", "D", "v", "P")
FORMATS = ("png", "svg", "pdf")
# in a page they follow its colours, light or dark; see ``hyperrank.pages``
OF_PAGE = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    PALE: "var(--pale)",
    COLOURS[0].lower(): "var(--accent)",
}


def check(path: str | Path) -> None:
    """Passes when a plot can be written there.

    Raises:
        ValueError: If the suffix is unknown.
        ImportError: If matplotlib is not installed.
    """
    if Path(path).suffix.lower().removeprefix(".") not in FORMATS:
        raise ValueError(f"{path}: a plot is a file that ends in .{', .'.join(FORMATS)}")
    check_installed("a plot")


def check_installed(what: str) -> None:
    """Passes when figures can be drawn; ``what`` needs them.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise ImportError(f"{what} needs matplotlib: pip install 'hyperrank[plots]'") from error


def canvas(width: float, height: float, mosaic: str = "A", **settings: Any) -> tuple[Any, Any]:
    """An empty figure, and its axes by letter; nothing of pyplot is touched."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplot_mosaic(mosaic, **settings)
    for one in axes.values():
        one.spines[["top", "right"]].set_visible(False)
        one.spines[["left", "bottom"]].set_color(MUTED)
        one.tick_params(colors=MUTED, which="both")
        one.xaxis.label.set_color(MUTED)
        one.yaxis.label.set_color(MUTED)
    return figure, axes


def shades() -> Any:
    """Colours from yellow to dark blue, as grey too, none of them lost on ``SHEET``."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    return ListedColormap(colormaps["viridis_r"]([0.08 + 0.92 * n / 255 for n in range(256)]))


def label_logs(axis: Any) -> None:
    """Plain numbers on a logarithmic axis, between the powers of ten too where these are few."""
    from matplotlib.ticker import LogFormatter

    class Plain(LogFormatter):
        def __call__(self, x: float, pos: int | None = None) -> str:
            return f"{x:,.6g}" if super().__call__(x, pos) else ""

    axis.set_major_formatter(Plain())
    axis.set_minor_formatter(Plain())


def label_dates(axes: Any, most: int) -> None:
    """Dates on the axis below, at most so many."""
    from matplotlib import dates

    locator = dates.AutoDateLocator(maxticks=most)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator))


def save(figure: Any, path: str | Path) -> None:
    """Writes the figure; the file appears whole or not at all."""
    with new_file(Path(path).resolve()) as fresh:
        figure.savefig(fresh, dpi=150, format=Path(path).suffix.lower().removeprefix("."))


def svg(figure: Any) -> str:
    """The figure as an ``<svg>`` element without background, in the colours of a page.

    Equal figures give equal text: it holds no date and no random name.
    """
    import matplotlib as mpl

    text = io.StringIO()
    silent = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with mpl.rc_context({"svg.hashsalt": "hyperrank"}):
        figure.savefig(text, format="svg", transparent=True, metadata=silent, dpi=150)
    drawn = text.getvalue()
    drawn = drawn[drawn.index("<svg") :]
    for colour, variable in OF_PAGE.items():
        drawn = drawn.replace(colour, variable)
    return re.sub(r'(<svg\b[^>]*?) width="[^"]*"', r"\1", re.sub(r' height="[^"]*pt"', "", drawn))
