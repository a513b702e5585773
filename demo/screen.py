"""What the demo prints: headings, timed steps, tables."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

WIDTH = 88


def heading(number: int, text: str) -> None:
    """A numbered heading."""
    print(f"\n{number}. {text}\n{'-' * WIDTH}", flush=True)


def say(text: str = "") -> None:
    """One line, shown at once."""
    print(text, flush=True)


@contextmanager
def step(text: str) -> Iterator[None]:
    """A line that says what is going on, and how long it took once it is done."""
    on_screen = sys.stdout.isatty()
    if on_screen:
        print(f"  {text} ...", end="", flush=True)
    start = time.perf_counter()
    yield
    seconds = f"{time.perf_counter() - start:.1f} s"
    print(f"{chr(13) if on_screen else ''}  {text:<{WIDTH - 12}}{seconds:>8}", flush=True)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as their longest cell; the first to the left, the others to the right."""
    cells = [list(header), *(list(row) for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    for number, row in enumerate(cells):
        padded = [row[0].ljust(widths[0])]
        padded += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        say("  " + "   ".join(padded).rstrip())
        if not number:
            say("  " + "   ".join("-" * width for width in widths))
