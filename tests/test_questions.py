"""Columns of ids, wherever they come from."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from hyperrank.questions import backend_of, column_of, whole

COLUMNS = {"user": ["a", "b"], "age": [1, 2]}
FRAMES = {"pandas": pd.DataFrame(COLUMNS), "polars": pl.DataFrame(COLUMNS)}
FRAMES["pyarrow"] = pa.table(COLUMNS)


@pytest.mark.parametrize("kind", FRAMES)
def test_a_frame_gives_its_column(kind: str) -> None:
    frame = FRAMES[kind]
    assert list(pa.array(column_of(frame, "user")).to_pylist()) == ["a", "b"]
    assert backend_of(frame) == kind
    assert backend_of(column_of(frame, "user")) == kind
    with pytest.raises(ValueError, match=r"no column 'item', it has \['user', 'age'\]; give"):
        column_of(frame, "item")


def test_the_only_column_may_have_any_name() -> None:
    assert column_of(pl.DataFrame({"who": [3]}), "user").to_list() == [3]
    assert column_of(pl.LazyFrame({"who": [3]}), "user").to_list() == [3]


@pytest.mark.parametrize("ids", [["a"], np.array([1]), ("a", "b"), pa.array([1])])
def test_columns_pass(ids: Any) -> None:
    assert column_of(ids, "user") is ids
    assert backend_of(ids) in (None, "pyarrow")


def test_whole() -> None:
    assert whole("k", np.int64(3)) == 3
    for bad, error, message in (
        (0, ValueError, "k must be at least 1, got 0"),
        (2.0, TypeError, "k must be a whole number, got 2.0"),
        (True, TypeError, "k must be a whole number, got True"),
    ):
        with pytest.raises(error, match=message):
            whole("k", bad)
