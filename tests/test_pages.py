"""Pages are well-formed, escaped, and need nothing from elsewhere."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from hyperrank.pages import check, figure, heading, page, paragraph, table, tiles, write

ALONE = {"meta", "br"}


class Nested(HTMLParser):
    """Fails where a tag is closed that was not the last to open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in ALONE:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data.strip())


PARTS = [
    heading("A <heading>"),
    paragraph("text & more", "lead"),
    tiles({"accuracy": 0.12345, "users": 7}),
    table([{"user_id": "<b>", "score": 0.5}, {"user_id": "x", "score": None}], "a note"),
    figure("<svg viewBox='0 0 1 1'></svg>", 'a "caption"'),
]


def test_pages_are_nested_and_escaped() -> None:
    text = page("Title & <co>", PARTS)
    reader = Nested()
    reader.feed(text)
    assert reader.open == []
    for word in ("Title & <co>", "A <heading>", "text & more", "0.1235", "user id", "<b>", "-"):
        assert word in reader.words
    assert text.startswith("<!doctype html>")
    assert not re.search(r"<script|https?://|@import|url\(", text)
    assert '<td class="number">0.5000</td>' in text
    assert 'aria-label="a &quot;caption&quot;"' in text
    assert "prefers-color-scheme: dark" in text


def test_a_table_without_rows_says_so() -> None:
    assert table([]) == '<p class="note">no rows</p>'


def test_written_whole(tmp_path: Path) -> None:
    write(tmp_path / "deep" / "a.html", "Title", PARTS)
    assert (tmp_path / "deep" / "a.html").read_text(encoding="utf-8") == page("Title", PARTS)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["a.html"]
    with pytest.raises(ValueError, match=r"^a\.pdf: a page is a file that ends in \.html$"):
        check("a.pdf")


def test_places_that_hold_no_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("reports", "deep.html"):
        Path(name).mkdir()
        with pytest.raises(ValueError, match=f"^{name} is a folder; name a file in it, such as "):
            check(name)
    Path("taken").touch()
    with pytest.raises(ValueError, match=r"^taken/b/a\.html: .*taken is a file, no folder; name"):
        check("taken/b/a.html")
    check("new/folder/a.html")
