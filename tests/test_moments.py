"""Units of numbers that are times, by their size."""

from __future__ import annotations

import datetime as dt
import math

import numpy as np
import pytest

from recsys.moments import ahead_of, unit_of

NOW = dt.datetime(2024, 6, 1, 12, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("power", "unit"),
    [(0, "seconds"), (3, "milliseconds"), (6, "microseconds"), (9, "nanoseconds")],
)
def test_moments_of_a_century_have_their_unit(power: int, unit: str) -> None:
    for year in (1974, 2024, 2100):
        moment = dt.datetime(year, 1, 1, tzinfo=dt.UTC).timestamp() * 10**power
        assert unit_of(moment) == unit
    now = NOW.timestamp() * 10**power
    times = np.array([now - 10**power, now + 10**power, np.nan, 3.0])
    assert ahead_of(times, NOW) == ([1], unit)


def test_small_numbers_count_anything() -> None:
    assert unit_of(20240601) is None
    assert unit_of(-5.0) is None
    assert unit_of(math.nan) is None
    assert unit_of(1e30) == "nanoseconds"
    assert ahead_of(np.array([1.0, 2.0, 20240601.0, 1e12]), NOW) == ([], None), "by the median"
    assert ahead_of(np.array([np.nan, np.inf]), NOW) == ([], None)


def test_another_unit_among_seconds_is_in_the_future() -> None:
    assert ahead_of(np.array([1.7e9, 1.7e9, 1.7e12]), NOW) == ([2], "seconds")
