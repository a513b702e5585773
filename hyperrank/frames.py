"""Columns asked for by name, and frames of every kind opened with them checked."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Sequence
from typing import Any


class MissingColumnError(ValueError):
    """A table lacks ``column``."""

    def __init__(self, message: str, column: Any) -> None:
        super().__init__(message)
        self.column = column


def require_columns(available: Sequence[Any], wanted: Sequence[Any], place: str) -> None:
    """Passes when every wanted column is there once.

    Raises:
        MissingColumnError: If one is missing, naming the closest.
        ValueError: If one is there twice.
    """
    for name in wanted:
        if name not in available:
            lowered = [str(column).lower() for column in available]
            near = difflib.get_close_matches(str(name).lower(), lowered, n=1)
            close = [c for c in available if str(c).lower() in near]
            hint = f"did you mean {close[0]!r}? " if close else ""
            raise MissingColumnError(
                f"{place} has no column {name!r}; {hint}it has {', '.join(map(repr, available))}",
                name,
            )
    twice = [name for name, count in Counter(available).items() if count > 1 and name in wanted]
    if twice:
        raise ValueError(
            f"{place} has more than one column {twice[0]!r}; rename or drop all but one"
        )


def open_frame(frame: Any, columns: Sequence[Any], advice: str = "") -> tuple[Any, str]:
    """The frame as narwhals has it, in memory, and its kind: "pandas", "polars" or "pyarrow".

    Raises:
        TypeError: If the frame is no frame; ``advice`` ends the message.
        ValueError: If a column is missing or doubled.
    """
    import narwhals as nw
    import pandas as pd

    names = getattr(frame, "column_names", None)  # Arrow has it; pandas has no other name for it
    if names is None and isinstance(frame, pd.DataFrame):
        names = frame.columns
    if names is not None:
        require_columns(list(names), columns, "the frame")
    try:
        known = nw.from_native(frame)
    except TypeError:
        raise TypeError(
            f"expected a pandas, polars or Arrow table, got {type(frame).__name__}"
            + (f"; {advice}" if advice else "")
        ) from None
    if isinstance(known, nw.LazyFrame):
        known = known.collect()
    require_columns(list(known.columns), columns, "the frame")
    backend = known.implementation.value
    return known, backend if backend in ("polars", "pyarrow") else "pandas"
