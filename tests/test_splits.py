"""Splits: they part the log, they obey their rule, and planted leaks are found."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from recsys.interactions import Interactions
from recsys.splits import LeakageError, check_no_leakage, warm_and_cold

Row = tuple[int, int, int]
logs = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 7), st.integers(0, 9)), min_size=1, max_size=60
)


def log_of(rows: list[Row]) -> Interactions:
    return Interactions.from_frame(
        pd.DataFrame(rows, columns=["user", "item", "time"]), time="time"
    )


def rows_of(log: Interactions) -> list[Row]:
    return sorted(log.to_frame("pandas").itertuples(index=False, name=None))


def pairs_of(log: Interactions) -> set[tuple[int, int]]:
    return {row[:2] for row in rows_of(log)}


def split_or_reject(split: Callable[[], Any]) -> tuple[Interactions, Interactions]:
    """The parts, where there are two: hypothesis drops logs too small to be split."""
    try:
        train, test = split()
    except LeakageError:
        raise
    except ValueError:
        assume(False)
    for part in (train, test):
        assert part.users.ids.tolist() == list(dict.fromkeys(part.users.ids.tolist()))
        assert set(part.users.ids.tolist()) == {row[0] for row in rows_of(part)}
        assert set(part.items.ids.tolist()) == {row[1] for row in rows_of(part)}
        assert (part.events.keys.diff() >= 0).all()
    return train, test


def count(rows: Any, user: int) -> int:
    return sum(row[0] == user for row in rows)


@settings(deadline=None, max_examples=30)
@given(logs, st.floats(0.01, 0.99), st.integers(0, 3))
def test_random_parts_the_pairs_of_each_user(rows: list[Row], fraction: float, seed: int) -> None:
    log = log_of(rows)
    train, test = split_or_reject(lambda: log.split_random(fraction, seed))
    assert sorted(rows_of(train) + rows_of(test)) == sorted(rows)
    assert not pairs_of(train) & pairs_of(test)
    for user in {row[0] for row in rows}:
        d = count(pairs_of(log), user)
        assert count(pairs_of(test), user) == min(round(np.float32(fraction) * d), d - 1)
    again = log.split_random(fraction, seed)
    assert rows_of(again[1]) == rows_of(test)


def test_random_draws_evenly_and_by_the_seed() -> None:
    log = log_of([(user, item, 0) for user in range(200) for item in range(10)])
    test = log.split_random(0.3, 0)[1]
    assert len(test) == 600
    per_item = np.bincount([row[1] for row in rows_of(test)], minlength=10)
    assert abs(per_item - 60).max() < 30  # six standard deviations of a hypergeometric draw, 6.5
    assert rows_of(log.split_random(0.3, 1)[1]) != rows_of(test)


@settings(deadline=None, max_examples=30)
@given(logs, st.integers(1, 3))
def test_leave_last_keeps_the_past_of_each_user(rows: list[Row], n: int) -> None:
    log = log_of(rows)
    train, test = split_or_reject(lambda: log.split_leave_last(n))
    assert not pairs_of(train) & pairs_of(test)
    assert pairs_of(train) | pairs_of(test) == pairs_of(log)
    for user in {row[0] for row in rows}:
        d = count(pairs_of(log), user)
        assert count(pairs_of(test), user) == min(n, d - 1)
        asked = [time for who, _, time in rows_of(test) if who == user]
        known = [time for who, _, time in rows_of(train) if who == user]
        assert max(known) <= min(asked, default=10)
        lost = set(rows) - set(rows_of(train)) - set(rows_of(test))
        assert all(time > min(asked) for who, _, time in lost if who == user)


@settings(deadline=None, max_examples=30)
@given(logs, st.integers(1, 3))
def test_leave_last_events_with_repeats_kept(rows: list[Row], n: int) -> None:
    log = log_of(rows)
    train, test = split_or_reject(lambda: log.split_leave_last(n, repeats="keep"))
    assert sorted(rows_of(train) + rows_of(test)) == sorted(rows)
    for user in {row[0] for row in rows}:
        times = sorted(time for who, _, time in rows if who == user)
        held = [time for who, _, time in rows_of(test) if who == user]
        assert sorted(held) == times[len(times) - min(n, len(times) - 1) :]


def test_leave_last_breaks_ties_by_the_later_item() -> None:
    train, test = log_of([(1, 30, 5), (1, 10, 5), (1, 20, 5)]).split_leave_last(1)
    assert rows_of(test) == [(1, 20, 5)]  # item 20 came last into the log
    assert len(train) == 2


def test_leave_last_drops_repeats_after_the_cut() -> None:
    log = log_of([(1, 1, 0), (1, 2, 5), (1, 1, 9), (1, 2, 9)])
    train, test = log.split_leave_last(1)
    assert rows_of(train) == [(1, 1, 0)]
    assert rows_of(test) == [(1, 2, 5), (1, 2, 9)]


@settings(deadline=None, max_examples=30)
@given(logs, st.one_of(st.integers(1, 9), st.floats(0.1, 0.9)))
def test_by_time_cuts_at_one_moment(rows: list[Row], cut: Any) -> None:
    log = log_of(rows)
    train, test = split_or_reject(lambda: log.split_by_time(cut))
    moment = cut
    if isinstance(cut, float):
        times = sorted(row[2] for row in rows)
        moment = times[min(int(np.ceil(cut * len(times))), len(times) - 1)]
    early = [row for row in rows if row[2] < moment]
    known = {row[:2] for row in early}
    assert rows_of(train) == sorted(early)
    late = [row for row in rows if row[2] >= moment]
    assert rows_of(test) == sorted(row for row in late if row[:2] not in known)
    kept = log.split_by_time(cut, repeats="keep")
    assert rows_of(kept[0]) == rows_of(train)
    assert rows_of(kept[1]) == sorted(late)


@pytest.mark.parametrize(
    "cut",
    [
        "2024-01-02",
        "2024-01-02T00:00:00",
        "2024-01-02T02:00:00+02:00",
        dt.date(2024, 1, 2),
        dt.datetime(2024, 1, 2),
        pd.Timestamp("2024-01-02"),
        np.datetime64("2024-01-02"),
        1_704_153_600_000_000,
    ],
)
def test_by_time_takes_dates(cut: Any) -> None:
    times = pd.to_datetime(["2024-01-01 23:59:59", "2024-01-02 00:00:00", "2024-01-03 00:00:00"])
    frame = pd.DataFrame({"user": [1, 1, 1], "item": [1, 2, 3], "when": times})
    train, test = Interactions.from_frame(frame, time="when").split_by_time(cut)
    assert (len(train), len(test)) == (1, 2)
    if not isinstance(cut, int):
        frame["when"] = times.astype("datetime64[s]").astype("int64")
        train, test = Interactions.from_frame(frame, time="when").split_by_time(cut)
        assert (len(train), len(test)) == (1, 2)


@settings(deadline=None, max_examples=30)
@given(logs, st.floats(0.01, 0.99), st.sampled_from([0, 1]))
def test_cold_splits_share_nothing(rows: list[Row], fraction: float, side: int) -> None:
    log = log_of(rows)
    method = (log.split_users, log.split_items)[side]
    train, test = split_or_reject(lambda: method(fraction))
    assert sorted(rows_of(train) + rows_of(test)) == sorted(rows)
    cold, everything = {r[side] for r in rows_of(test)}, {r[side] for r in rows}
    assert not cold & {r[side] for r in rows_of(train)}
    n = len(everything)
    assert len(cold) == min(max(round(fraction * n), 1), n - 1)


@settings(deadline=None, max_examples=30)
@given(logs, logs)
def test_warm_and_cold_part_the_test(known: list[Row], asked: list[Row]) -> None:
    users, items = {row[0] for row in known}, {row[1] for row in known}
    warm, cold_users, cold_items = warm_and_cold(log_of(known), log_of(asked))
    assert rows_of(warm) == sorted(r for r in asked if r[0] in users and r[1] in items)
    assert rows_of(cold_users) == sorted(r for r in asked if r[0] not in users)
    assert rows_of(cold_items) == sorted(r for r in asked if r[0] in users and r[1] not in items)


def test_planted_leaks_are_found() -> None:
    train = log_of([(1, 1, 0), (1, 2, 5), (2, 1, 3)])
    leaks = {
        "pairs": ((1, 2, 9), r"1 pairs of test are in train too, such as \(1, 2\); a score on"),
        "time": ((7, 7, 5), "1 events of train are not before the first of test, at 5; a score"),
        "user_time": ((1, 9, 4), "1 users have events in train later than some in test, such as 1"),
        "users": ((2, 9, 9), "1 users of test are in train too, such as 2"),
        "items": ((9, 1, 9), "1 items of test are in train too, such as 1"),
    }
    for rule, (leak, message) in leaks.items():
        check_no_leakage(train, log_of([(8, 8, 8)]), by=rule)
        with pytest.raises(LeakageError, match=message):
            check_no_leakage(train, log_of([(8, 8, 8), leak]), by=rule)
    with pytest.raises(ValueError, match="by must be pairs, time, user_time, users or items, got"):
        check_no_leakage(train, train, by="everything")


@settings(deadline=None, max_examples=30)
@given(logs, logs)
def test_leaks_are_found_exactly_where_they_are(known: list[Row], asked: list[Row]) -> None:
    leaks = {
        "pairs": bool({r[:2] for r in known} & {r[:2] for r in asked}),
        "time": max(r[2] for r in known) >= min(r[2] for r in asked),
        "user_time": any(k[0] == a[0] and k[2] > a[2] for k in known for a in asked),
        "users": bool({r[0] for r in known} & {r[0] for r in asked}),
        "items": bool({r[1] for r in known} & {r[1] for r in asked}),
    }
    for rule, leaking in leaks.items():
        try:
            check_no_leakage(log_of(known), log_of(asked), by=rule)
            assert not leaking
        except LeakageError:
            assert leaking


def test_times_in_different_units_are_not_compared() -> None:
    log = log_of([(1, 1, 1)])
    with pytest.raises(TypeError, match="times are plain numbers in train and us in test; use one"):
        check_no_leakage(log, replace(log, time_unit="us"), by="time")


TIMED = [(1, 1, 5), (1, 2, 5), (2, 1, 5)]


@pytest.mark.parametrize(
    ("rows", "split", "error", "message"),
    [
        (TIMED, ("random", 0.0), ValueError, "fraction must be between 0 and 1, got 0"),
        (TIMED, ("random", 1.0), ValueError, "fraction must be between 0 and 1, got 1"),
        (TIMED, ("random", 0.1), ValueError, "a fraction of 0.1 holds out nothing: the 2 users"),
        (TIMED, ("random", 0.1), ValueError, "have at most 2 pairs each; ask for a larger fract"),
        (TIMED[1:], ("leave_last", 1), ValueError, "leaving out the last 1 holds out nothing: the"),
        (TIMED, ("leave_last", 0), ValueError, "n must be at least 1, got 0"),
        (TIMED, ("by_time", 0.5), ValueError, "a cut at 5 leaves no event for train: times run fr"),
        (TIMED, ("by_time", 6), ValueError, "no event for test: times run from 5 to 5; choose one"),
        (
            [(1, 1, 0), (1, 1, 5)],
            ("by_time", 5),
            ValueError,
            "every pair from 5 on is in train too",
        ),
        (TIMED, ("by_time", "noonish"), ValueError, "cut 'noonish' is no ISO date or time"),
        (TIMED, ("by_time", float("inf")), ValueError, "cut must be finite, got inf"),
        (TIMED, ("by_time", None), TypeError, "cut must be a share between 0 and 1, a time, a dat"),
        (TIMED, ("by_time", True), TypeError, "cut must be a share .* got True"),
        (TIMED[:2], ("users",), ValueError, "cannot hold out some users of 1; at least two are"),
        (TIMED[::2], ("items",), ValueError, "cannot hold out some items of 1; at least two are"),
    ],
)
def test_splits_that_cannot_be(rows: Any, split: Any, error: Any, message: str) -> None:
    name, *arguments = split
    with pytest.raises(error, match=message):
        getattr(log_of(rows), f"split_{name}")(*arguments)


def test_unknown_rule_for_repeats() -> None:
    for split in (log_of(TIMED).split_by_time, log_of(TIMED).split_leave_last):
        with pytest.raises(ValueError, match="repeats must be 'drop' or 'keep', got 'all'"):
            split(repeats="all")


def test_splits_by_time_need_times() -> None:
    log = Interactions.from_frame(pd.DataFrame({"user": [1], "item": [1]}))
    for split in (log.split_by_time, log.split_leave_last):
        with pytest.raises(ValueError, match="this log has no times; load it with time='name of"):
            split()


def test_real_log(shared_data: Path) -> None:
    path = shared_data / "recsys" / "movietweetings" / "interactions.parquet"
    if not path.exists():
        pytest.skip(f"no {path}")
    log = Interactions.read(path, time="timestamp", weight="rating").k_core(5, 5)
    assert min(log.pairs.query_degrees.min(), log.pairs.candidate_degrees.min()) >= 5
    for train, test in (log.split_random(), log.split_leave_last(), log.split_by_time(0.9)):
        assert len(train) > len(test) > 0
        check_no_leakage(train, test)
