"""Interactions: doors in and out, reindexing, extension."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperrank.pairs import pair_set
from hyperrank.vocabulary import Vocabulary
from recsys.interactions import Interactions

FRAMES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "pandas": pd.DataFrame,
    "polars": pl.DataFrame,
    "polars lazy": pl.LazyFrame,
    "pyarrow": pa.table,
}
ROWS = {
    "user": ["bob", "ann", "bob", "bob", "cid"],
    "item": [7, 7, 5, 7, 9],
    "time": [30, 10, 20, 10, 50],
    "weight": [1.0, 2.0, 3.0, 4.0, 0.0],
}
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


@pytest.mark.parametrize("kind", FRAMES)
def test_every_frame_gives_the_same_log(kind: str) -> None:
    log = Interactions.from_frame(FRAMES[kind](ROWS), time="time", weight="weight")
    assert log.users == Vocabulary.from_ids(["bob", "ann", "cid"])
    assert log.items == Vocabulary.from_ids([7, 5, 9])
    assert log.backend == kind.removesuffix(" lazy")
    assert len(log) == 5
    assert named_pairs(log) == [("bob", 7), ("bob", 5), ("ann", 7), ("cid", 9)]
    assert log.weight is not None
    assert log.time is not None
    assert log.weight.tolist() == [5, 3, 2, 0]
    assert log.weight.dtype == torch.float32
    assert log.time.tolist() == [10, 20, 10, 50]
    assert log.events.time is not None
    assert log.events.time.tolist() == [10, 30, 20, 10, 50]
    text = "Interactions(5 events, 4 pairs, 3 users, 3 items, weight, time)"
    assert repr(log) == text


@pytest.mark.parametrize("kind", FRAMES)
def test_a_log_goes_back_to_its_own_kind(kind: str) -> None:
    frame = FRAMES[kind](ROWS)
    log = Interactions.from_frame(frame, time="time", weight="weight")
    back = log.to_frame()
    assert nw.from_native(back).implementation.value == kind.removesuffix(" lazy")
    given_rows = sorted(zip(*ROWS.values(), strict=True))
    got = nw.from_native(back, eager_only=True).to_dict(as_series=False)
    assert sorted(zip(*(got[name] for name in ROWS), strict=True)) == given_rows
    assert isinstance(log.to_frame("pyarrow"), pa.Table)


def test_only_the_columns_named_are_used() -> None:
    frame = pd.DataFrame({"shopper": [1, 1], "sku": ["a", "b"], "weight": ["x", None]})
    log = Interactions.from_frame(frame, user="shopper", item="sku")
    assert log.weight is None
    assert log.time is None
    assert list(log.to_frame().columns) == ["user", "item"]


@settings(deadline=None, max_examples=40)
@given(events)
def test_pairs_are_the_set_of_pairs(rows: list[tuple[int, int, int, int]]) -> None:
    log = log_of(rows)
    assert set(named_pairs(log)) == {row[:2] for row in rows}
    assert len(log.pairs) == len({row[:2] for row in rows})
    assert int(log.counts.sum()) == len(log) == len(rows)


def test_counts_need_no_weights() -> None:
    frame = pd.DataFrame(ROWS)
    assert Interactions.from_frame(frame, repeated="count").weight.tolist() == [2, 1, 1, 1]
    assert Interactions.from_frame(frame).weight is None
    with pytest.raises(ValueError, match=r"repeated must be one of sum, last, .*, got 'median'"):
        Interactions.from_frame(frame, repeated="median")


def test_matrix_round_trip() -> None:
    dense = np.array([[0, 2, 0], [0, 0, 0], [1, 0, 3]], dtype=np.float32)
    log = Interactions.from_matrix(scipy.sparse.csr_array(dense))
    assert (log.n_users, log.n_items) == (3, 3)
    assert np.array_equal(log.to_scipy().toarray(), dense)
    for kind in (scipy.sparse.csc_matrix, scipy.sparse.coo_array, scipy.sparse.lil_array):
        assert np.array_equal(Interactions.from_matrix(kind(dense)).to_scipy().toarray(), dense)
    named = Interactions.from_matrix(
        scipy.sparse.csr_array(dense), users=list("abc"), items=[5, 6, 7]
    )
    assert named_pairs(named) == [("a", 6), ("c", 5), ("c", 7)]


def test_matrix_of_marks_and_stored_zeros() -> None:
    marks = Interactions.from_matrix(scipy.sparse.csr_array(np.eye(3, dtype=bool)))
    assert marks.weight is None
    entries = (np.array([0.0, 1.0, 2.0]), (np.array([0, 1, 1]), np.array([0, 1, 1])))
    log = Interactions.from_matrix(scipy.sparse.coo_array(entries, shape=(2, 2)))
    assert len(log) == 2
    assert log.weight.tolist() == [3.0]
    assert len(Interactions.from_matrix(scipy.sparse.csr_array((0, 0)))) == 0


def test_from_pairs() -> None:
    pairs = pair_set(torch.tensor([1, 0]), torch.tensor([2, 1]), n_queries=3, n_candidates=4)
    log = Interactions.from_pairs(pairs)
    assert torch.equal(log.pairs.keys, pairs.keys)
    assert log.users.ids.tolist() == [0, 1, 2]
    message = "got 2 distinct ids of users, expected 3"
    with pytest.raises(ValueError, match=message):
        Interactions.from_pairs(pairs, users=["a", "b"])


@settings(deadline=None, max_examples=40)
@given(events, st.permutations(range(6)), st.integers(0, 6))
def test_reindex_keeps_events_by_name(
    rows: list[tuple[int, int, int, int]], order: list[int], known: int
) -> None:
    log = log_of(rows)
    users = Vocabulary.from_ids(order[:known])
    items = Vocabulary.from_ids(order[::-1])
    moved = log.reindex(users, items)
    kept = sorted(row for row in rows if row[0] in order[:known])
    frame = moved.to_frame("pandas")[["user", "item", "time", "weight"]]
    assert sorted(frame.itertuples(index=False, name=None)) == kept
    assert moved.dropped == len(rows) - len(kept)
    assert moved.users is users
    assert (moved.events.keys.diff() >= 0).all()


@settings(deadline=None, max_examples=40)
@given(events, events)
def test_extend_is_the_log_of_all_rows(
    first: list[tuple[int, int, int, int]], second: list[tuple[int, int, int, int]]
) -> None:
    both = log_of(first).extend(log_of(second))
    whole = log_of(first + second)
    assert (both.users, both.items) == (whole.users, whole.items)
    for one, other in zip(both.events, whole.events, strict=True):
        assert torch.equal(one, other)


def test_extend_needs_the_same_columns() -> None:
    plain = Interactions.from_frame(pd.DataFrame(ROWS))
    timed = Interactions.from_frame(pd.DataFrame(ROWS), time="time")
    with pytest.raises(ValueError, match="only one of the two logs has a time per event; give it"):
        plain.extend(timed)
    frame = pd.DataFrame({**ROWS, "time": pd.to_datetime(ROWS["time"])})
    with pytest.raises(TypeError, match="times are plain numbers here and us there; use one type"):
        timed.extend(Interactions.from_frame(frame, time="time"))
    frame = pd.DataFrame({**ROWS, "time": np.array(ROWS["time"]) / 2})
    with pytest.raises(TypeError, match=r"times are torch\.int64 here and torch\.float64 there"):
        timed.extend(Interactions.from_frame(frame, time="time"))


def test_one_user_one_item(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("user,item\na,b\n")
    log = Interactions.read(tmp_path / "log.csv")
    assert (len(log), log.n_users, log.n_items, len(log.pairs)) == (1, 1, 1, 1)
    assert len(log.k_core(1, 1)) == 1


def test_not_a_frame() -> None:
    with pytest.raises(TypeError, match="expected a pandas, polars or Arrow table, got list"):
        Interactions.from_frame([[1, 2]])
    with pytest.raises(
        TypeError, match=r"expected a SciPy sparse matrix, got ndarray; wrap it with"
    ):
        Interactions.from_matrix(np.eye(2))
    with pytest.raises(TypeError, match="matrix entries are complex128, expected real numbers"):
        Interactions.from_matrix(scipy.sparse.csr_array(np.eye(2) * 1j))
    bad = scipy.sparse.csr_array(np.diag([np.nan, 1.0]))
    with pytest.raises(ValueError, match="the matrix: 1 of 2 weights are missing, NaN or infinite"):
        Interactions.from_matrix(bad)


def test_real_logs(shared_data: Path) -> None:
    folder = shared_data / "recsys"
    log = Interactions.read(folder / "gowalla" / "train.parquet")
    assert (log.n_users, log.n_items, len(log.pairs)) == (29_858, 40_981, 810_128)
    path = folder / "ml-100k" / "interactions.parquet"
    log = Interactions.read(path, time="timestamp", weight="rating")
    assert (log.n_users, log.n_items, len(log)) == (943, 1_682, 100_000)
    frame = pd.read_parquet(path)
    assert log.weight.double().mean().item() == pytest.approx(frame["rating"].mean())
