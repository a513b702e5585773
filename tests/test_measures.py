"""Weights and times: units, types, bad values."""

from __future__ import annotations

import datetime as dt

import narwhals as nw
import numpy as np
import pandas as pd
import polars as pl
import pytest

from recsys.interactions import Interactions
from recsys.measures import check_weights, times_of


@pytest.mark.parametrize(
    "column",
    [
        pd.to_datetime(pd.Series(["2024-01-01 00:00:01", "2023-01-01 00:00:00"])),
        pd.to_datetime(pd.Series(["2024-01-01 00:00:01", "2023-01-01 00:00:00"])).astype(
            "datetime64[ns]"
        ),
        pd.to_datetime(pd.Series(["2024-01-01 02:00:01+0200", "2023-01-01 02:00:00+0200"])),
        pl.Series([dt.datetime(2024, 1, 1, 0, 0, 1), dt.datetime(2023, 1, 1)]).to_pandas(),
        pd.Series([dt.datetime(2024, 1, 1, 0, 0, 1), dt.datetime(2023, 1, 1)], dtype=object),
    ],
)
def test_datetimes_become_microseconds_in_utc(column: pd.Series) -> None:
    log = Interactions.from_frame(
        pd.DataFrame({"user": [1, 2], "item": [1, 1], "t": column}), time="t"
    )
    assert log.time_unit == "us"
    assert log.time.tolist() == [1_704_067_201_000_000, 1_672_531_200_000_000]
    assert log.to_frame("pyarrow")["time"].to_pylist()[1] == dt.datetime(2023, 1, 1)


def test_dates_and_fractions_as_times() -> None:
    frame = pl.DataFrame({"user": [1], "item": [1], "day": [dt.date(1970, 1, 2)], "x": [1.5]})
    assert Interactions.from_frame(frame, time="day").time.tolist() == [86_400_000_000]
    log = Interactions.from_frame(frame, time="x")
    assert log.time_unit is None
    assert log.time.tolist() == [1.5]


def test_times_of_mixed_types_in_one_column() -> None:
    rows = {"user": [1, 2], "item": [1, 2]}
    for times in ([dt.datetime(2024, 1, 1), 5], ["2024-01-01", 5]):
        frame = pd.DataFrame({**rows, "t": pd.Series(times, dtype=object)})
        with pytest.raises(
            TypeError, match=r"column 't' holds (datetime, int|int, str), expected n"
        ):
            Interactions.from_frame(frame, time="t")


def test_weights_are_finite_floats_of_32_bits() -> None:
    assert check_weights(np.array([0, 3]), "w").dtype == np.float32
    assert check_weights(np.array([True, False]), "w").tolist() == [1.0, 0.0]
    with pytest.raises(ValueError, match=r"w: 1 of 2 weights are missing, NaN or inf.* in row 1"):
        check_weights(np.array([1.0, np.nan]), "w")


def test_times_of_unsigned_and_small_integers() -> None:
    for dtype in (np.uint32, np.int8, np.uint64):
        times, unit = times_of(
            nw.from_native(pd.Series([1, 2], dtype=dtype), series_only=True), "t"
        )
        assert (times.dtype, times.tolist(), unit) == (np.int64, [1, 2], None)
