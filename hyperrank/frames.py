"""Frames of every kind, opened with their columns checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hyperrank.tables import require_columns


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
