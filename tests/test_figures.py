"""Figures become files of the kinds that are known, or SVG in the colours of a page."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hyperrank.figures import (
    COLOURS,
    INK,
    MUTED,
    canvas,
    check,
    check_installed,
    label_logs,
    save,
    shades,
    svg,
)

pytest.importorskip("matplotlib")


def drawn() -> object:
    figure, parts = canvas(4, 3)
    parts["A"].plot([0, 1], [0, 1], color=COLOURS[0], label="a line")
    parts["A"].set_title("a title", color=INK)
    return figure


def test_svg_follows_the_page_and_is_the_same_each_time() -> None:
    text = svg(drawn())
    assert text.startswith("<svg ")
    assert text.rstrip().endswith("</svg>")
    assert 'viewBox="0 0 288 216"' in text
    assert 'width="288pt"' not in text
    assert "<!-- a title -->" in text
    for variable in ("var(--ink)", "var(--muted)", "var(--accent)"):
        assert variable in text
    assert not any(colour in text for colour in (INK, MUTED, "<metadata", "<?xml", "script"))
    assert svg(drawn()) == text


def test_shades_are_told_apart_in_grey() -> None:
    colours = shades()([n / 20 for n in range(21)])
    grey = [0.2126 * red + 0.7152 * green + 0.0722 * blue for red, green, blue, _ in colours]
    assert grey == sorted(grey, reverse=True)
    assert max(grey) < 0.85, "lost on white"
    assert min(b - a for a, b in zip(grey[1:], grey, strict=False)) > 0.01


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (1, 2000, ["1", "10", "100", "1,000"]),
        (3, 9, ["3", "4", "6"]),
        (0.002, 0.5, ["0.01", "0.1"]),
    ],
)
def test_plain_numbers_on_logarithmic_axes(low: float, high: float, labels: list[str]) -> None:
    figure, parts = canvas(6, 3)
    axis = parts["A"].xaxis
    parts["A"].set_xscale("log")
    parts["A"].set_xlim(low, high)
    label_logs(axis)
    figure.draw_without_rendering()
    ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
    shown = {
        tick.get_loc(): tick.label1.get_text() for tick in ticks if low <= tick.get_loc() <= high
    }
    assert [text for _, text in sorted(shown.items()) if text] == labels


def test_files_appear_whole(tmp_path: Path) -> None:
    save(drawn(), tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_other_endings_are_refused() -> None:
    with pytest.raises(ValueError, match=r"a\.gif: a plot is a file that ends in \.png, \.svg, "):
        check("a.gif")


def test_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"^a page needs matplotlib: pip install 'hyperrank\[plo"):
        check_installed("a page")
