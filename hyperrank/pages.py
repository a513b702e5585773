"""Pages to look at: one HTML file each, without scripts and without anything from elsewhere.

A page is a title and parts; each part is a piece of HTML that a function here makes from plain
values, all text escaped::

    write("report.html", "Title", [paragraph("..."), table(rows), figure(svg(drawn), "caption")])
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from hyperrank.durable import new_file
from hyperrank.rendering import shown

STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --muted: #5f6774; --pale: #e3e6ea;
  --paper: #fbfbfa; --card: #ffffff; --accent: #0072b2; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8eaed; --muted: #a3abb6; --pale: #3a4048;
  --paper: #16181c; --card: #1e2126; --accent: #6fb8e6; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .4rem; letter-spacing: -.01em; }
h2 { font-size: 1.25rem; margin: 2.6rem 0 .5rem; }
p { max-width: 46rem; margin: .5rem 0; }
.lead { color: var(--muted); margin-bottom: 1.4rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: .8rem;
  margin: 1.4rem 0; }
.tile, figure, .table { background: var(--card); border: 1px solid var(--pale);
  border-radius: .6rem; }
.tile { padding: .8rem 1rem; }
.tile b { display: block; font-size: 1.55rem; line-height: 1.25; color: var(--accent);
  font-variant-numeric: tabular-nums; }
.tile span { color: var(--muted); font-size: .87rem; }
figure { margin: 1rem 0; padding: 1rem; overflow-x: auto; }
figure svg { display: block; width: 100%; min-width: 34rem; height: auto; }
figcaption, .note { color: var(--muted); font-size: .9rem; margin-top: .6rem; }
.table { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; }
th, td { padding: .45rem .9rem; text-align: left; white-space: nowrap; }
th { color: var(--muted); font-weight: 600; border-bottom: 1px solid var(--pale); }
tbody tr + tr td { border-top: 1px solid var(--pale); }
.number { text-align: right; font-variant-numeric: tabular-nums; }
@media print { body { background: none; } figure, .table { break-inside: avoid; } }
"""


def check(path: str | Path) -> None:
    """Passes when a page can be written there.

    Raises:
        ValueError: If it is a folder or in what is none, or the suffix is none of a page.
    """
    place = Path(path)
    if place.is_dir():
        raise ValueError(f"{path} is a folder; name a file in it, such as {place / 'report.html'}")
    if place.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"{path}: a page is a file that ends in .html")
    there = next(parent for parent in place.resolve().parents if parent.exists())
    if not there.is_dir():
        raise ValueError(f"{path}: {there} is a file, no folder; name another place for the page")


def write(path: str | Path, title: str, parts: Sequence[str]) -> None:
    """Writes the page; the file appears whole or not at all.

    Raises:
        ValueError: As ``check``.
    """
    check(path)
    with new_file(Path(path).resolve()) as fresh:
        fresh.write_text(page(title, parts), encoding="utf-8")


def page(title: str, parts: Sequence[str]) -> str:
    """The whole page."""
    first = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}</style>'
    narrow = '<meta name="viewport" content="width=device-width, initial-scale=1">'
    body = "\n".join([f"<h1>{escape(title)}</h1>", *parts])
    return (
        f'<!doctype html>\n<html lang="en">\n<head>{first}{narrow}</head>\n'
        f"<body><main>\n{body}\n</main></body>\n</html>\n"
    )


def heading(text: str) -> str:
    """A heading of a section."""
    return f"<h2>{escape(text)}</h2>"


def paragraph(text: str, kind: str = "") -> str:
    """Plain text; ``kind`` is "lead" under the title, or "note" under a table."""
    return f'<p class="{escape(kind)}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def tiles(values: Mapping[str, Any]) -> str:
    """The few figures that matter, large, each over its name."""
    cells = (
        f'<div class="tile"><b>{escape(shown(value))}</b><span>{escape(name)}</span></div>'
        for name, value in values.items()
    )
    return f'<div class="tiles">{"".join(cells)}</div>'


def table(rows: Sequence[Mapping[str, Any]], note: str = "") -> str:
    """Rows by the names of the first; columns of numbers to the right."""
    if not rows:
        return paragraph("no rows", "note")
    right = {name: isinstance(value, int | float) for name, value in rows[0].items()}

    def cells(tag: str, texts: Mapping[str, str]) -> str:
        classes = {name: ' class="number"' * right[name] for name in texts}
        found = (f"<{tag}{classes[name]}>{escape(text)}</{tag}>" for name, text in texts.items())
        return f"<tr>{''.join(found)}</tr>"

    names = cells("th", {name: name.replace("_", " ") for name in right})
    body = "\n".join(cells("td", {name: shown(row[name]) for name in right}) for row in rows)
    drawn = (
        f'<div class="table"><table><thead>{names}</thead><tbody>\n{body}\n</tbody></table></div>'
    )
    return drawn + (paragraph(note, "note") if note else "")


def figure(svg: str, caption: str) -> str:
    """A figure of ``hyperrank.figures.svg``; its caption is also read to those who cannot see."""
    labelled = svg.replace("<svg", f'<svg role="img" aria-label="{escape(caption)}"', 1)
    return f"<figure>{labelled}<figcaption>{escape(caption)}</figcaption></figure>"
