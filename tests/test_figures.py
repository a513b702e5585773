"""Figures become files of the kinds that are known, or SVG in the colours of a page."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hyperrank.figures import COLOURS, INK, MUTED, canvas, check, check_installed, save, svg

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
