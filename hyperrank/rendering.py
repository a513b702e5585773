"""Rows and values as JSON and as text."""

from __future__ import annotations

import math
from typing import Any, NamedTuple


class Answer(NamedTuple):
    """What a command prints: ``data`` with --json, else ``text``."""

    data: dict[str, Any]
    text: str
    code: int = 0


def records(frame: Any) -> list[dict[str, Any]]:
    """Rows of any frame as dictionaries of plain values."""
    import narwhals as nw

    rows = nw.from_native(frame).rows(named=True)
    return [{key: plain(value) for key, value in row.items()} for row in rows]


def plain(value: Any) -> Any:
    """A value that JSON can hold, to any depth; NaN and infinities become None."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    known = value is None or isinstance(value, bool | int | float | str)
    return value if known else str(value)


def table(rows: list[dict[str, Any]]) -> str:
    """Rows as aligned columns; numbers to the right."""
    if not rows:
        return "no rows"
    cells = [list(rows[0]), *([shown(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    right = [isinstance(value, int | float) for value in rows[0].values()]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in cells
    )


def lines(data: dict[str, Any]) -> str:
    """Names and values, one a line."""
    width = max(map(len, data))
    return "\n".join(f"{name.ljust(width)}  {shown(value)}" for name, value in data.items())


def shown(value: Any) -> str:
    """One value as text, numbers to four digits."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "-"}[value]
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        small = 0 < abs(value) < 1e-3
        return f"{value:.2g}" if small else f"{value:.4{'g' if abs(value) >= 1 else 'f'}}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {shown(one)}" for key, one in value.items())
    return str(value)
