"""Logs cut into slices: what is known when, whatever comes later."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd
import pytest

from recsys import Interactions
from recsys.timeline import timeline

DAY = 86_400


def log(*rows: tuple[Any, Any, Any]) -> Interactions:
    return Interactions.from_frame(
        pd.DataFrame(rows, columns=["user", "item", "time"]), time="time"
    )


@pytest.fixture
def week() -> Interactions:
    """Not in order of time; day 3 has no event, and day 4 repeats a pair of day 0."""
    return log(
        ("dee", "x", 4 * DAY + 5),
        ("ann", "z", 4 * DAY),
        ("bob", "y", 0),
        ("ann", "z", 10),
        ("bob", "x", 2 * DAY),
        ("cem", "y", 2 * DAY + 1),
    )


def test_rows_follow_first_events(week: Interactions) -> None:
    line = timeline(week, 1.5 * DAY, "1d")
    assert line.log.users.ids.tolist() == ["bob", "ann", "cem", "dee"]
    assert line.log.items.ids.tolist() == ["y", "z", "x"]
    assert len(line.log) == len(week)


def test_slices_of_a_day_pass_over_those_without_events(week: Interactions) -> None:
    line = timeline(week, 2 * DAY, "1d")
    assert len(line) == 2
    assert line.starts.tolist() == [0, 2 * DAY, 4 * DAY]
    assert [len(line.between(n, n + 1)) for n in range(3)] == [2, 2, 2]
    assert [len(line.new(n)) for n in range(3)] == [2, 2, 1], "a pair is new once"
    assert [len(line.known(n)) for n in (1, 2)] == [2, 4]
    assert [line.n_items(n) for n in (1, 2)] == [2, 3]
    assert line.between(1, 2).users.ids.tolist() == ["bob", "cem"]
    assert str(line.opening(2)) == "1970-01-05T00:00:00.000000"


def test_what_is_known_is_the_first_rows(week: Interactions) -> None:
    line = timeline(week, 2 * DAY, "1d")
    for number in (1, 2):
        before = line.between(0, number)
        for side in ("users", "items"):
            known = getattr(before, side).ids.tolist()
            assert known == getattr(line.log, side).ids[: len(known)].tolist()
            assert (
                max(getattr(line.known(number), {"users": "queries", "items": "candidates"}[side]))
                == len(known) - 1
            )


def test_later_events_change_no_number(week: Interactions) -> None:
    rows = week.to_frame()
    rows.loc[rows.time >= 4 * DAY, ["user", "item"]] = [["zoe", "w"], ["abe", "a"]]
    other = timeline(Interactions.from_frame(rows.iloc[::-1], time="time"), 2 * DAY, "1d")
    line = timeline(week, 2 * DAY, "1d")
    assert other.log.users.ids[:3].tolist() == line.log.users.ids[:3].tolist()
    assert other.log.items.ids[:3].tolist() == line.log.items.ids[:3].tolist()


@pytest.mark.parametrize("every", ["1d", "24h", " 1440M ", dt.timedelta(days=1)])
@pytest.mark.parametrize("unit", ["dates", "seconds", "fractions"])
def test_lengths_and_kinds_of_time(week: Interactions, every: Any, unit: str) -> None:
    rows = week.to_frame()
    if unit == "dates":
        rows["time"] = pd.to_datetime(rows.time, unit="s")
    elif unit == "fractions":
        rows["time"] = rows.time + 0.5
    line = timeline(Interactions.from_frame(rows, time="time"), "1970-01-03", every)
    assert [len(line.between(n, n + 1)) for n in range(3)] == [2, 2, 2]
    assert line.dates
    half = 0.5 * (unit == "fractions")
    assert line.age(2, 1) == (2 * DAY + 2.5 + half, 2.5)
    assert line.age(2, 2) == (2.5 + half, 0.5)


def test_slices_of_events_end_where_the_time_changes() -> None:
    line = timeline(log(*((n, n, t) for n, t in enumerate([0, 1, 2, 2, 2, 3, 4]))), 1, 2)
    assert line.starts.tolist() == [0, 1, 3]
    assert np.bincount(line.event_slice).tolist() == [1, 4, 2]
    assert (line.dates, line.opening(1), line.age(2, 1)) == (False, 1, (2.5, 4.5))


def test_the_digest_is_of_events_and_slices(week: Interactions) -> None:
    first = timeline(week, 2 * DAY, "1d").digest
    assert timeline(week, 2 * DAY, "1d").digest == first
    rows = week.to_frame().iloc[::-1]
    assert timeline(Interactions.from_frame(rows, time="time"), 2 * DAY, "1d").digest == first
    assert timeline(week, 2 * DAY, "2d").digest == first, "the same slices"
    assert timeline(week, 2 * DAY, 1).digest != first


def test_bad_cuts_are_refused(week: Interactions) -> None:
    with pytest.raises(ValueError, match=r"cannot start at 0.5: this log has no times; load"):
        timeline(Interactions.from_frame(week.to_frame(), time=None), 0.5, "1d")
    for start, side in ((0, "before"), (5 * DAY, "from then on")):
        said = rf"a start at {start} leaves no event {side}: times run from 0 to 345605; choose one"
        with pytest.raises(ValueError, match=said):
            timeline(week, start, "1d")
    dated = week.to_frame().assign(time=pd.date_range("2024-01-01", periods=6))
    with pytest.raises(
        ValueError, match=r"times run from 2024-01-01T00:00:00.000000 to 2024-01-06"
    ):
        timeline(Interactions.from_frame(dated, time="time"), "2025-01-01", "1d")
    with pytest.raises(ValueError, match=r"cannot start at 'soon': cut 'soon' is no ISO date"):
        timeline(week, "soon", "1d")
    said = r"every 1w makes one slice of the 4 events from the start on, .* give a shorter time"
    with pytest.raises(ValueError, match=said):
        timeline(week, 2 * DAY, "1w")
    with pytest.raises(ValueError, match="every 100 makes one slice"):
        timeline(week, 2 * DAY, 100)


@pytest.mark.parametrize("every", ["", "d", "0d", "0", -1, "1.5d", "1y", dt.timedelta(0)])
def test_bad_lengths_are_refused(week: Interactions, every: Any) -> None:
    with pytest.raises(ValueError, match=r"every must be a length of time such as 30m, .* got"):
        timeline(week, 2 * DAY, every)


def test_milliseconds_are_no_seconds(week: Interactions) -> None:
    rows = week.to_frame()
    rows["time"] = (rows.time + 1_700_000_000) * 1000
    later = Interactions.from_frame(rows, time="time")
    with pytest.raises(
        ValueError, match=r"times run to 170034560\d+, which is no Unix second; make"
    ):
        timeline(later, 0.5, "1d")
    assert len(timeline(later, 0.5, 1)) > 1
