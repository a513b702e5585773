"""Columns asked for by name, and frames opened."""

from __future__ import annotations

from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from hyperrank.frames import MissingColumnError, open_frame, require_columns

COLUMNS = {"who": ["a", "b"], "age": [1, 2]}


@pytest.mark.parametrize(
    ("frame", "kind"),
    [
        (pd.DataFrame(COLUMNS), "pandas"),
        (pl.DataFrame(COLUMNS), "polars"),
        (pl.LazyFrame(COLUMNS), "polars"),
        (pa.table(COLUMNS), "pyarrow"),
    ],
)
def test_every_frame_opens(frame: Any, kind: str) -> None:
    opened, backend = open_frame(frame, ["age"])
    assert backend == kind
    assert opened["age"].to_list() == [1, 2]
    with pytest.raises(
        MissingColumnError, match=r"no column 'Who'; did you mean 'who'. it has"
    ) as got:
        open_frame(frame, ["Who"])
    assert got.value.column == "Who"


def test_no_frame() -> None:
    with pytest.raises(TypeError, match=r"a pandas, polars or Arrow table, got list; use read$"):
        open_frame([1], ["age"], "use read")


def test_columns_there_twice() -> None:
    require_columns(["a", "b", "b"], ["a"], "the file")
    with pytest.raises(ValueError, match="the file has more than one column 'b'; rename or drop"):
        require_columns(["a", "b", "b"], ["b"], "the file")
    twice = pd.DataFrame([[1, 2]], columns=["a", "a"])
    with pytest.raises(ValueError, match="the frame has more than one column 'a'"):
        open_frame(twice, ["a"])
