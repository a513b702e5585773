"""Files and frames on their way in: blocks, ids as written, bad input."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperrank import tables
from hyperrank.vocabulary import Vocabulary
from recsys import intake
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


def use(role: str) -> dict[str, str]:
    return {role: role}


def weights(*first: float | None) -> dict[str, list[float | None]]:
    return {"weight": [*first, 1.0, 1.0, 1.0]}


@settings(deadline=None, max_examples=15)
@given(events, st.integers(150, 900))
def test_files_in_blocks_equal_the_frame(
    tmp_path_factory: Any, rows: list[tuple[int, int, int, int]], block: int
) -> None:
    frame = log_of(rows).to_frame("pandas").sample(frac=1, random_state=0)
    folder = tmp_path_factory.mktemp("files")
    whole = Interactions.from_frame(frame, time="time", weight="weight")
    for name in ("log.csv", "log.parquet", "log.jsonl"):
        tables.write(frame, folder / name)
        roles = intake.Roles("user", "item", "time", "weight")
        read = Interactions._of(intake.gather_files(folder / name, roles, block))
        assert read.users == whole.users
        assert read.items == whole.items
        for one, other in zip(read.events, whole.events, strict=True):
            assert torch.equal(one, other)


def test_read_of_files_lists_and_folders(tmp_path: Path) -> None:
    frame = pd.DataFrame(ROWS)
    frame[:3].to_csv(tmp_path / "1.csv", index=False)
    frame[3:].to_csv(tmp_path / "2.csv.gz", index=False)
    whole = Interactions.from_frame(frame, time="time", weight="weight", repeated="max")
    for place in (tmp_path, [tmp_path / "1.csv", str(tmp_path / "2.csv.gz")]):
        log = Interactions.read(place, time="time", weight="weight", repeated="max")
        assert (log.users, log.items) == (whole.users, whole.items)
        assert torch.equal(log.weight, whole.weight)


def test_text_files_keep_ids_as_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("user,item\n1,007\n2,7\n-3,18446744073709551615\n")
    log = Interactions.read(path)
    assert log.users.ids.tolist() == [1, 2, -3]
    assert log.items.ids.tolist() == ["007", "7", "18446744073709551615"]


def test_text_after_many_integers_keeps_the_rows(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    ids = [*map(str, range(100)), "ann", "007", *map(str, range(150))]
    path.write_text("user,item\n" + "".join(f"{one},{one}\n" for one in ids))
    gathered = intake.gather_files(path, intake.Roles("user", "item", None, None), 64)
    assert gathered.users == Vocabulary.from_ids(ids)
    assert (gathered.keys % len(gathered.items)).tolist() == gathered.users.rows(ids).tolist()


def test_whole_numbers_before_fractions_in_text_files(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("user,item,t,w\n" + "a,b,1,1\n" * 200 + "a,c,2.5,3.5\n")
    roles = intake.Roles("user", "item", "t", "w")
    gathered = intake.gather_files(path, roles, 256)
    assert gathered.time[-1] == 2.5
    assert gathered.weight[-1] == 3.5
    text = path.read_text().replace("2.5", "noon")
    path.write_text(text)
    with pytest.raises(ValueError, match=r"log\.csv, column 't': .*invalid value 'noon'"):
        intake.gather_files(path, roles, 256)


def test_json_lines_with_dates_as_ids(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    rows = [{"user": "2024-01-01", "item": 1, "x": [1]}, {"item": 2, "user": "ann"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert Interactions.read(path).users.ids.tolist() == ["2024-01-01", "ann"]


@pytest.mark.parametrize("kind", FRAMES)
@pytest.mark.parametrize(
    ("change", "arguments", "error", "message"),
    [
        ({"user": None}, {}, ValueError, "no column 'user'; .*it has 'item', 'time', 'weight'"),
        ({}, {"time": "tme"}, ValueError, "no column 'tme'; did you mean 'time'"),
        ({"item": [1, 2, None, 4, 5]}, {}, ValueError, "'item': 1 of 5 ids are missing .* row 2;"),
        (
            weights(1.0, None),
            use("weight"),
            ValueError,
            "1 of 5 weights are missing, NaN or infinite",
        ),
        (
            weights(1.0, np.inf),
            use("weight"),
            ValueError,
            r"first in row 1 \(inf\); drop these rows",
        ),
        (
            weights(1.0, 1e39),
            use("weight"),
            ValueError,
            r"first in row 1 \(1e\+39\); drop these rows",
        ),
        (
            weights(1.0, -1.0),
            use("weight"),
            ValueError,
            r"'weight': 1 of 5 weights are negative, .* 1 ",
        ),
        (
            weights(1.0, -1.0),
            use("weight"),
            ValueError,
            "a weight is the strength of an interaction",
        ),
        ({"weight": [*"abcde"]}, use("weight"), TypeError, "'weight' holds String, expected num"),
        ({"time": [*"abcde"]}, use("time"), TypeError, "'time' holds String, expected numbers or"),
        ({"time": [1.0, None, 3, 4, 5]}, use("time"), ValueError, "1 of 5 times are missing"),
        ({"time": [1.0, np.inf, 3, 4, 5]}, use("time"), ValueError, "1 of 5 times are missing"),
    ],
)
def test_bad_frames(kind: str, change: Any, arguments: Any, error: Any, message: str) -> None:
    rows = {name: column for name, column in {**ROWS, **change}.items() if column is not None}
    with pytest.raises(error, match=message):
        Interactions.from_frame(FRAMES[kind](rows), **arguments)


@pytest.mark.parametrize("kind", FRAMES)
def test_a_frame_without_rows(kind: str) -> None:
    frame = FRAMES[kind]({"user": [], "item": []})
    with pytest.raises(ValueError, match="the frame holds no rows; expected at least one interact"):
        Interactions.from_frame(frame)


def test_ids_of_mixed_kinds_in_one_column() -> None:
    frame = pd.DataFrame({"user": [1, "1"], "item": [1, 2]})
    message = r"the frame, column 'user': ids mix integer \(1\) and text \('1'\); 1 and '1' would"
    with pytest.raises(TypeError, match=message):
        Interactions.from_frame(frame)


def test_doubled_columns() -> None:
    frame = pd.DataFrame([[1, 2, 3]], columns=["user", "user", "item"])
    for doubled in (frame, pa.Table.from_arrays([[1], [2], [3]], names=["user", "user", "item"])):
        with pytest.raises(
            ValueError, match="the frame has more than one column 'user'; rename or"
        ):
            Interactions.from_frame(doubled)


def test_bad_files(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    for text, message in (
        ("", r"log\.csv is empty; expected rows"),
        ("user,item\n", r"log\.csv holds no rows; expected at least one interaction"),
        ("user,item,item\n1,2,3\n", "more than one column 'item'"),
        ("users,item\n1,2\n", "has no column 'user'; did you mean 'users'"),
        ("user,item\n1,2\n,3\n", r"log\.csv, column 'user': 1 of 2 ids are missing .* in row 1"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            Interactions.read(path)
    path.write_text("user,item,w\n1,2,nan\n")
    with pytest.raises(
        ValueError, match=r"column 'w': 1 of 1 weights are missing, NaN or infinite"
    ):
        Interactions.read(path, weight="w")
    with pytest.raises(FileNotFoundError, match="there is no file"):
        Interactions.read(tmp_path / "none.csv")


def test_errors_in_later_blocks_say_where(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("user,item\n" + "a,b\n" * 100 + "a,\n")
    message = r"column 'item', from row \d+: 1 of \d+ ids are missing"
    with pytest.raises(ValueError, match=message):
        intake.gather_files(path, intake.Roles("user", "item", None, None), 64)


def test_files_of_different_types(tmp_path: Path) -> None:
    rows = {"user": [1], "item": [1]}
    tables.write(pa.table({**rows, "t": [1]}), tmp_path / "1.parquet")
    tables.write(pa.table({**rows, "t": [dt.datetime(2024, 1, 1)]}), tmp_path / "2.parquet")
    message = r"2\.parquet, column 't': times are datetimes after int64; convert every part to one"
    with pytest.raises(TypeError, match=message):
        Interactions.read(tmp_path, time="t")
    tables.write(pa.table({"user": ["1"], "item": [1]}), tmp_path / "2.parquet")
    message = r"2\.parquet, column 'user': text ids such as '1' after integer ids such as 1"
    with pytest.raises(TypeError, match=message):
        Interactions.read(tmp_path)


@pytest.mark.parametrize("block", [64, tables.BLOCK_BYTES])
def test_text_files_are_read_like_another_log(tmp_path: Path, block: int) -> None:
    path = tmp_path / "log.csv"
    path.write_text("user,item\n" + "".join(f"{n % 9},2024-05-0{n % 3 + 1}\n" for n in range(60)))
    roles = intake.Roles("user", "item", None, None)
    users, items = Vocabulary.from_ids(["a"]), Vocabulary.from_ids([dt.date(2024, 5, 2)])
    found = intake.gather_files(path, roles, block, (users, items))
    assert (found.users.kind, found.items.kind) == ("text", "date")
    assert found.users.ids.tolist() == [str(n) for n in range(9)]
    assert found.items.rows([dt.date(2024, 5, 2)]).tolist() == [1]
    found = intake.gather_files(path, roles, block, (Vocabulary.from_ids([4]), users))
    assert (found.users.kind, found.items.kind) == ("integer", "text")
    path.write_text("user,item\n7,a\n,b\n")
    with pytest.raises(ValueError, match="1 of 2 ids are missing"):
        intake.gather_files(path, roles, block, (Vocabulary.from_ids([4]), users))
