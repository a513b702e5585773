"""Columns of ids in normal form; most of their laws stand in test_vocabulary."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from hyperrank.identifiers import distinct_ids, from_arrow, id_column, to_arrow


@pytest.mark.parametrize(
    ("ids", "kind", "dtype"),
    [
        ([1, 2, 1], "integer", "int64"),
        ([2**63, 1, 1], "big integer", "object"),
        ([0.5, 1.5, 0.5], "float", "float64"),
        (["a", "b", "a"], "text", "object"),
        (pa.array(["a", "b", "a"]), "text", "object"),
        ([dt.date(2024, 1, 1)] * 3, "date", "datetime64[D]"),
        ([dt.datetime(2024, 1, 1)] * 3, "datetime", "datetime64[us]"),
        ([(1, "a"), (1, "b"), (1, "a")], "tuple", "object"),
        ([], "empty", "object"),
    ],
)
def test_normal_form(ids: Any, kind: str, dtype: str) -> None:
    column = id_column(ids)
    assert (column.kind, column.values.dtype) == (kind, np.dtype(dtype))
    expected = ids.to_pylist() if isinstance(ids, pa.Array) else ids
    assert column.values.tolist() == expected
    codes, distinct = distinct_ids(ids)
    assert distinct.values[codes].tolist() == expected
    back = from_arrow(kind, to_arrow(column))
    assert back.kind == kind
    assert back.values.tolist() == expected
