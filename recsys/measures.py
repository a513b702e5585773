"""Columns of weights and times as users have them, checked and made compact."""

from __future__ import annotations

from typing import Any

import numpy as np

from hyperrank.identifiers import Array

TIME_UNIT = "us"  # what datetime columns become: whole microseconds since 1970 in UTC


def weights_of(series: Any, name: str) -> Array:
    """The weights as float32, checked.

    Raises:
        TypeError: If they are no numbers.
        ValueError: If one is missing, NaN, infinite or negative.
    """
    dtype = series.dtype
    if not (dtype.is_numeric() or str(dtype) == "Boolean"):
        raise TypeError(
            f"{name} holds {dtype}, expected numbers as weights; convert it, or pass weight=None"
        )
    return check_weights(numbers_of(series, np.float64), name)


def check_weights(values: Array, name: str) -> Array:
    """The weights as float32.

    Raises:
        ValueError: If one is NaN, infinite (as float32 too) or negative.
    """
    with np.errstate(over="ignore"):
        weights = values.astype(np.float32)
    bad = ~np.isfinite(weights)
    if bad.any():
        first = int(bad.argmax())
        raise ValueError(
            f"{name}: {int(bad.sum())} of {len(bad)} weights are missing, NaN or infinite, the "
            f"first in row {first} ({values[first]}); drop these rows or fill them in"
        )
    bad = weights < 0
    if bad.any():
        first = int(bad.argmax())
        raise ValueError(
            f"{name}: {int(bad.sum())} of {len(bad)} weights are negative, the first in row "
            f"{first} ({values[first]}); a weight is the strength of an interaction, at least 0: "
            "drop these rows or shift the scale"
        )
    return weights


def times_of(series: Any, name: str) -> tuple[Array, str | None]:
    """The times as int64 or float64, and their unit where it is known.

    Dates and datetimes become microseconds since 1970 in UTC (finer digits are cut off, a datetime
    without zone counts as UTC); numbers stay as they are, in the caller's unit.

    Raises:
        TypeError: If they are neither numbers nor datetimes.
        ValueError: If one is missing or infinite.
    """
    dtype = series.dtype
    kind = str(dtype).split("(")[0]
    if kind == "Object":
        series, kind = _parsed_objects(series, name)
    unit = TIME_UNIT if kind in ("Date", "Datetime") else None
    if unit is None and not dtype.is_numeric():
        raise TypeError(
            f"{name} holds {dtype}, expected numbers or datetimes as times; "
            "convert it (pandas.to_datetime reads text), or pass time=None"
        )
    missing = np.asarray(series.is_null().to_numpy(), dtype=bool)
    if unit is not None and not missing.any():
        moments = series.to_arrow().cast(f"timestamp[{TIME_UNIT}]", safe=False)
        return moments.cast("int64").to_numpy(), unit
    if not missing.any():
        target = np.float64 if dtype.is_float() else np.int64
        values = numbers_of(series, target)
        missing = ~np.isfinite(values)
        if not missing.any():
            return values, None
    raise ValueError(
        f"{name}: {int(missing.sum())} of {len(missing)} times are missing, NaN or "
        f"infinite, the first in row {int(missing.argmax())}; drop these rows or pass time=None"
    )


def _parsed_objects(series: Any, name: str) -> tuple[Any, str]:
    """A column of Python datetimes as a datetime column; itself when it is anything else."""
    import datetime as dt

    import narwhals as nw
    import pandas as pd

    kinds = set(map(type, series.to_list()))
    if not kinds or not all(issubclass(kind, dt.date) for kind in kinds):
        found = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise TypeError(
            f"{name} holds {found}, expected numbers or datetimes as times; "
            "convert every row to one type"
        )
    try:
        parsed = pd.to_datetime(pd.Series(series.to_list(), name=series.name), utc=True)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} cannot be read as datetimes: {error}; convert it first") from None
    return nw.from_native(parsed, series_only=True), "Datetime"


def numbers_of(series: Any, dtype: Any) -> Array:
    """The column as a NumPy vector; missing values become NaN where the type has it."""
    values = series.to_numpy()
    if values.dtype == object:  # pandas columns that can hold pandas.NA
        values = series.to_arrow().to_numpy(zero_copy_only=False)
    return np.ascontiguousarray(values, dtype=dtype)
