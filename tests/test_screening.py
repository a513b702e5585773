"""Rows that cannot be taken in: which, why and in which line, in every format."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import uuid
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from hyperrank.vocabulary import Vocabulary
from recsys.intake import Roles
from recsys.screening import Screen, Screened, quarantine_lines

NOW = dt.datetime(2024, 6, 1, 12, tzinfo=dt.UTC)
KNOWN: dict[str, list[Any]] = {
    "text": ["ann", "bob"],
    "integer": [1, 2],
    "date": [dt.date(2024, 1, 1)],
    "uuid": [uuid.UUID(int=1)],
    "empty": [],
}


def screen(users: str = "text", items: str = "integer", **roles: str | None) -> Screen:
    chosen = {"user": "user", "item": "item", "time": None, "weight": None} | roles
    known = [Vocabulary.from_ids(KNOWN[kind]) for kind in (users, items)]
    return Screen(Roles(**chosen), *known, "sum", NOW)  # type: ignore[arg-type]


def found(log: Screened) -> list[tuple[int, str]]:
    return [(one.line, one.reason) for one in log.bad]


def rows(log: Screened) -> list[tuple[Any, ...]]:
    frame = log.log.to_frame("pandas")
    return sorted(map(tuple, frame.astype(object).to_numpy().tolist()))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


CSV = """user,item,note
ann,1,x
,2,x
bob,two,x
cem,3

"dee
dee",4,"a, b"
eve,5,x,y
fay,007,x
"""


def test_bad_rows_of_text_files(folder: Path) -> None:
    Path("new.csv").write_text(CSV)
    Path("new.tsv").write_text(CSV.replace('"a, b"', "ab").replace(",", "\t"))
    Path("new.csv.gz").write_bytes(gzip.compress(CSV.encode()))
    for name in ("new.csv", "new.tsv", "new.csv.gz"):
        log = screen().read(name, "skip")
        kind = "those known are of kind integer, such as 1"
        assert found(log) == [
            (3, "the user is missing"),
            (4, f"'two' cannot be the id of items: {kind}"),
            (5, "it has 2 values, the header has 3"),
            (9, "it has 4 values, the header has 3"),
        ]
        assert rows(log) == [("ann", 1), ("dee\ndee", 4), ("fay", 7)]
        assert {one.source for one in log.bad} == {name}
    lines = [
        json.loads(line)
        for line in quarantine_lines(screen().read("new.csv", "skip").bad).splitlines()
    ]
    assert lines[1]["row"] == "bob,two,x"
    assert set(lines[0]) == {"source", "line", "reason", "row"}


def test_failing_names_the_first_lines(folder: Path) -> None:
    Path("new.csv").write_text("user,item\nann,1\n" + ",2\n" * 8)
    message = (
        r"8 of 9 rows cannot be taken in: new\.csv, line 3: the user is missing; .*line 7: [^;]*; "
        r"and 3 more; mend them, or choose --on-bad-rows skip or quarantine"
    )
    with pytest.raises(ValueError, match=message):
        screen().read("new.csv")
    Path("new.csv").write_text("user,item\nann,x\n")
    for how in ("fail", "skip", "quarantine"):
        with pytest.raises(ValueError, match=r"none of the 1 rows can be taken in: new\.csv, line"):
            screen().read("new.csv", how)  # type: ignore[arg-type]


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
def test_good_rows_read_as_they_do_elsewhere(suffix: str, folder: Path) -> None:
    frame = pd.DataFrame(
        {"user": ["ann", "cem"], "item": [1, 3], "w": [0.5, 2.0], "t": [1717000000, 5]}
    )
    path = f"new.{suffix}"
    if suffix == "jsonl":
        frame.to_json(path, orient="records", lines=True)
    elif suffix == "parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, sep="," if suffix == "csv" else "\t", index=False)
    log = screen(time="t", weight="w").read(path)
    assert rows(log) == [("ann", 1, 0.5, 1717000000), ("cem", 3, 2.0, 5)]
    assert log.log.time_unit is None
    assert log.bad == []


def test_json_lines(folder: Path) -> None:
    lines = [
        '{"user": "ann", "item": 1}',
        '{"user": "ann", "item": "1"}',
        '{"user": 7, "item": 1}',
        "",
        '{"user": "bob"}',
        "[1]",
        '{"user": "bob", ',
        '{"user": ["bob"], "item": 1}',
        '{"item": 2, "user": "bob"}',
    ]
    Path("new.jsonl").write_text("\n".join(lines))
    log = screen().read("new.jsonl", "skip")
    assert [line for line, _ in found(log)] == [2, 3, 5, 6, 7, 8]
    reasons = dict(found(log))
    assert reasons[2] == (
        "'1' cannot be the id of items: those known are of kind integer, such as 1"
    )
    assert reasons[3] == "7 cannot be the id of users: those known are of kind text, such as 'ann'"
    assert reasons[5] == "the item is missing"
    assert reasons[6] == "it is no JSON object"
    assert reasons[7].startswith("it is no JSON: ")
    assert reasons[8] == "its 'user' is not a single value"
    assert rows(log) == [("ann", 1), ("bob", 2)]
    Path("nested.jsonl").write_text('{"user": ["ann"], "item": 1}\n{"user": "ann", "item": 1}\n')
    assert rows(screen().read("nested.jsonl", "skip")) == [("ann", 1)]


def test_bad_rows_of_parquet_are_numbered(folder: Path) -> None:
    frame = pd.DataFrame({"user": ["ann", None, "bob"], "item": [1, 2, 3], "w": [1.0, 1.0, 0.0]})
    frame.to_parquet("new.parquet")
    log = screen(weight="w").read("new.parquet", "skip")
    assert found(log) == [(2, "the user is missing"), (3, "the weight 0.0 is not above 0")]
    assert json.loads(log.bad[1].row) == {"user": "bob", "item": 3, "w": 0.0}
    frame["user"] = [1, 2, 3]
    frame.to_parquet("new.parquet")
    with pytest.raises(ValueError, match=r"none of the 3 rows.*1 cannot be the id of users: those"):
        screen().read("new.parquet", "skip")
    Path("new.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(ValueError, match=r"new\.parquet cannot be read"):
        screen().read("new.parquet", "skip")


def test_weights(folder: Path) -> None:
    given = ["1", "0", "-2", "nan", "", "much", "1e300", "2.5"]
    Path("new.csv").write_text("user,item,w\n" + "".join(f"ann,1,{w}\n" for w in given))
    log = screen(weight="w").read("new.csv", "skip")
    assert [(line, reason) for line, reason in found(log)] == [
        (3, "the weight '0' is not above 0"),
        (4, "the weight '-2' is not above 0"),
        (5, "the weight 'nan' is no number"),
        (6, "the weight (nothing) is no number"),
        (7, "the weight 'much' is no number"),
        (8, "the weight '1e300' is no number"),
    ]
    assert rows(log) == [("ann", 1, 1.0), ("ann", 1, 2.5)]


def test_times(folder: Path) -> None:
    def read(*times: str) -> Screened:
        Path("new.csv").write_text("user,item,t\n" + "".join(f"ann,1,{t}\n" for t in times))
        return screen(time="t").read("new.csv", "skip")

    log = read("2024-06-01", "2024-05-31T10:00:00Z", "2024-05-31 10:00", "soon", "", "2024-06-03")
    assert log.log.time_unit == "us"
    assert len(log.log) == 3
    assert found(log) == [
        (5, "the time 'soon' is none that can be read"),
        (6, "the time (nothing) is none that can be read"),
        (7, "the time 2024-06-03 00:00:00 is in the future"),
    ]
    log = read("1", "2.5", "inf", "soon", "2024-06-01")
    assert [line for line, _ in found(log)] == [4, 5, 6]
    assert rows(log) == [("ann", 1, 1.0), ("ann", 1, 2.5)]
    frame = pd.DataFrame(
        {"user": ["ann", "bob"], "item": 1, "t": [pd.Timestamp("2024-01-01"), None]}
    )
    frame.to_parquet("new.parquet")
    log = screen(time="t").read("new.parquet", "skip")
    assert [line for line, _ in found(log)] == [2]


def test_ids_of_other_kinds(folder: Path) -> None:
    text = f"user,item\n2024-01-02,{uuid.UUID(int=2)}\nann,{uuid.UUID(int=3)}\n"
    Path("new.csv").write_text(text)
    log = screen("date", "uuid").read("new.csv", "skip")
    assert rows(log)[0][1] == uuid.UUID(int=2)
    assert [line for line, _ in found(log)] == [3]
    Path("new.jsonl").write_text(json.dumps({"user": "2024-01-02", "item": str(uuid.UUID(int=2))}))
    assert rows(screen("date", "uuid").read("new.jsonl")) == rows(log)
    assert rows(screen("empty", "text").read("new.jsonl"))[0][0] == "2024-01-02"
    Path("big.csv").write_text(f"user,item\nann,{2**70}\n")
    assert rows(screen().read("big.csv")) == [("ann", 2**70)]


def test_bytes_that_are_no_text(folder: Path) -> None:
    Path("new.csv").write_bytes(b"user,item\nann,1\n\xff\xfe,2\n")
    log = screen().read("new.csv", "skip")
    assert found(log) == [(3, "it is not UTF-8 text")]
    assert log.bad[0].row == "\\xff\\xfe,2"
    Path("new.jsonl").write_bytes(b'{"user": "ann", "item": 1}\n{"user": "\xff", "item": 1}\n')
    assert found(screen().read("new.jsonl", "skip")) == [(2, "it is not UTF-8 text")]


def test_columns_that_are_not_there(folder: Path) -> None:
    Path("new.csv").write_text("User,item\nann,1\n")
    Path("new.jsonl").write_text('{"usr": "ann", "item": 1}\n')
    for name, near in (("new.csv", "User"), ("new.jsonl", "usr")):
        with pytest.raises(
            ValueError, match=rf"{name} has no column 'user'; did you mean '{near}'"
        ):
            screen().read(name, "skip")
    Path("empty.csv").write_text("user,item\n")
    with pytest.raises(ValueError, match=r"empty\.csv holds no rows; expected at least one"):
        screen().read("empty.csv")


def test_a_folder_is_one_log(folder: Path) -> None:
    Path("in").mkdir()
    Path("in/a.csv").write_text("user,item\nann,1\n,2\n")
    Path("in/b.jsonl").write_text('{"user": "bob", "item": 2}\n')
    Path("in/a.csv.bad").write_text("no log")
    log = screen().read("in", "skip")
    assert rows(log) == [("ann", 1), ("bob", 2)]
    assert [(one.source, one.line) for one in log.bad] == [("a.csv", 3)]


@pytest.mark.parametrize("name", ["new.csv", "new.tsv"])
def test_files_that_are_written_otherwise(name: str, folder: Path) -> None:
    Path(name).write_bytes("user,item\nann,1\n".encode("utf-16"))
    with pytest.raises(ValueError, match=rf"{name} is not UTF-8 text; write it as UTF-8"):
        screen().read(name, "skip")
    Path(name).write_text("user;item\nann;1\n")
    message = rf"{name} has a single column, 'user;item', whose parts seem to be separated by ';'"
    with pytest.raises(ValueError, match=message):
        screen().read(name, "skip")


def test_a_quote_that_is_not_closed(folder: Path) -> None:
    Path("new.csv").write_text('user,item\nann,1\n"bob,2\ncem,3\n')
    log = screen().read("new.csv", "skip")
    assert found(log) == [(3, "it has 1 values, if the quote closes in line 4, the header has 2")]


def test_numbers_in_the_future(folder: Path) -> None:
    def read(*times: str) -> Screened:
        Path("new.csv").write_text("user,item,t\n" + "".join(f"ann,1,{t}\n" for t in times))
        return screen(time="t").read("new.csv", "skip")

    log = read("1717243200", "1717243200.5", "1817243200", "soon")
    assert found(log) == [
        (4, "the time '1817243200', in seconds since 1970, is in the future"),
        (5, "the time 'soon' is none that can be read"),
    ]
    assert len(read("1717243200000", "1717243200001").log) == 2
    assert found(read("1717243200000", "1717243200001", "1717243200000000")) == [
        (4, "the time '1717243200000000', in milliseconds since 1970, is in the future")
    ]
    assert read("1", "2", "30000000").bad == []
    frame = pd.DataFrame({"user": ["ann"] * 2, "item": [1, 2], "t": [1717243200, 1917243200]})
    frame.to_parquet("new.parquet")
    assert [one.line for one in screen(time="t").read("new.parquet", "skip").bad] == [2]
