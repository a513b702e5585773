"""Questions put to a model: columns of ids, wherever they come from, and how many answers."""

from __future__ import annotations

from typing import Any

import narwhals as nw
import numpy as np


def whole(name: str, value: Any) -> int:
    """``value`` as a positive int.

    Raises:
        TypeError: If it is no whole number.
        ValueError: If it is less than 1.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name} must be a whole number, got {value!r}")
    if value < 1:
        raise ValueError(f"{name} must be at least 1, got {value}")
    return int(value)


def column_of(ids: Any, name: str) -> Any:
    """``ids`` itself where it is one column, else the column ``name`` of the frame.

    A frame of a single column may call it anything.

    Raises:
        ValueError: If the frame has several columns and none of that name.
    """
    native = nw.from_native(ids, allow_series=True, pass_through=True)
    if isinstance(native, nw.LazyFrame):
        native = native.collect()
    if not isinstance(native, nw.DataFrame):
        return ids
    if name in native.columns:
        return native[name].to_native()
    if len(native.columns) == 1:
        return native[native.columns[0]].to_native()
    raise ValueError(
        f"the frame has no column {name!r}, it has {native.columns}; give a column of ids"
    )


def backend_of(ids: Any) -> str | None:
    """The kind of frame that ``ids`` is or comes from; None for lists and arrays."""
    native = nw.from_native(ids, allow_series=True, pass_through=True)
    if not isinstance(native, nw.DataFrame | nw.LazyFrame | nw.Series):
        return None
    kind = native.implementation.value
    return kind if kind in ("polars", "pyarrow") else "pandas"
