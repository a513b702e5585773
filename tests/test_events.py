"""Events sorted by pair: order, one weight per pair, k-core."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.events import sorted_events
from recsys.interactions import Interactions

ROWS = {"user": ["bob", "ann"], "item": [7, 7]}
events = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 9), st.integers(0, 7)),
    min_size=1,
    max_size=60,
)


def log_of(rows: list[tuple[int, int, int, int]], **settings: Any) -> Interactions:
    frame = pd.DataFrame(rows, columns=["user", "item", "time", "weight"])
    return Interactions.from_frame(frame, time="time", weight="weight", **settings)


def named_pairs(log: Interactions) -> list[tuple[Any, Any]]:
    users = log.users.take(log.pairs.queries).tolist()
    return list(zip(users, log.items.take(log.pairs.candidates).tolist(), strict=True))


@settings(deadline=None, max_examples=40)
@given(events, st.sampled_from(["sum", "last", "first", "max", "mean", "count"]))
def test_rules_for_repeats(rows: list[tuple[int, int, int, int]], rule: str) -> None:
    log = log_of(rows, repeated=rule)
    groups: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    for user, item, time, weight in rows:
        groups[user, item].append((time, weight))
    pick = {
        "sum": sum,
        "last": lambda w: w[-1],
        "first": lambda w: w[0],
        "max": max,
        "mean": lambda w: sum(w) / len(w),
        "count": len,
    }[rule]
    for pair, weight, time in zip(named_pairs(log), log.weight, log.time, strict=True):
        group = sorted(groups[pair], key=lambda event: event[0])  # stable: then as they came
        assert weight.item() == pytest.approx(pick([w for _, w in group]))
        assert time.item() == group[0][0]


@settings(deadline=None, max_examples=40)
@given(events, st.integers(1, 3), st.integers(1, 3))
def test_k_core_against_a_plain_loop(
    rows: list[tuple[int, int, int, int]], per_user: int, per_item: int
) -> None:
    alive, before = {row[:2] for row in rows}, None
    while alive != before:
        before = alive
        users, items = [u for u, _ in alive], [i for _, i in alive]
        alive = {
            (u, i) for u, i in alive if users.count(u) >= per_user and items.count(i) >= per_item
        }
    if not alive:
        with pytest.raises(ValueError, match=r"no pair is left of .* ask for less"):
            log_of(rows).k_core(per_user, per_item)
        return
    core = log_of(rows).k_core(per_user, per_item)
    assert set(named_pairs(core)) == alive
    assert len(core) == sum(row[:2] in alive for row in rows)
    assert set(core.users.ids.tolist()) == {u for u, _ in alive}
    assert set(core.items.ids.tolist()) == {i for _, i in alive}


def test_k_core_of_less_than_one() -> None:
    with pytest.raises(ValueError, match="expected numbers from 1, got 0, 5"):
        Interactions.from_frame(pd.DataFrame(ROWS)).k_core(user_at_least=0)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3)), max_size=60), st.booleans())
def test_events_are_sorted_by_key_time_and_arrival(rows: Any, timed: bool) -> None:
    keys = np.array([key for key, _ in rows], dtype=np.int64)
    times = np.array([time for _, time in rows], dtype=np.int64)
    arrival = np.arange(len(rows), dtype=np.float32)
    got = sorted_events(keys, arrival, times if timed else None)
    order = sorted(range(len(rows)), key=lambda row: rows[row] if timed else rows[row][0])
    assert got.keys.tolist() == [rows[row][0] for row in order]
    assert got.weight is not None
    assert got.weight.tolist() == order
    assert (got.time is None) == (not timed)
