"""Files in and out: formats, blocks, damage, names of columns."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import narwhals as nw
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pyarrow import parquet

from hyperrank import tables

NAMES = ["log.csv", "log.tsv", "log.parquet", "log.pq", "log.jsonl", "log.ndjson"]
NAMES += ["log.csv.gz", "log.tsv.bz2", "log.jsonl.gz", "log.CSV.zst"]


def example(rows: int = 5) -> pa.Table:
    return pa.table(
        {
            "who": [f'u,"{row % 3}\t\n' for row in range(rows)],
            "what": list(range(rows)),
            "score": [row / 7 for row in range(rows)],
        }
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("backend", ["pandas", "polars", "pyarrow"])
def test_round_trip_of_every_format_and_frame(tmp_path: Path, name: str, backend: str) -> None:
    columns = {column: example()[column].to_numpy() for column in example().column_names}
    frame = tables.to_backend(columns, backend)
    tables.write(frame, tmp_path / name)
    assert [p.name for p in tmp_path.iterdir()] == [name]
    back = tables.read(tmp_path / name, backend=backend)
    assert type(back) is type(frame)
    assert nw.from_native(back).to_arrow().to_pylist() == example().to_pylist()
    assert tables.header(tmp_path / name) == ["who", "what", "score"]
    some = tables.read(tmp_path / name, ["score", "who"], backend="pyarrow")
    assert some.column_names == ["score", "who"]


@pytest.mark.parametrize("name", ["log.csv", "log.parquet", "log.jsonl.gz", "log.tsv.gz"])
def test_stream_gives_all_rows_in_many_blocks(tmp_path: Path, name: str) -> None:
    table = example(5000)
    tables.write(table, tmp_path / name)
    blocks = list(tables.stream(tmp_path / name, ["score", "who"], block_bytes=4096))
    assert len(blocks) > 10
    assert max(map(len, blocks)) < 1000
    together = pa.Table.from_batches(blocks)
    assert together.to_pylist() == table.select(["score", "who"]).to_pylist()


def test_ids_of_text_files_stay_text(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text('user,item\n007,2024-01-01\nNA,""\n,1e5\n')
    (block,) = tables.stream(path, ["user", "item"], ids=["user", "item"])
    assert block.to_pylist() == [
        {"user": "007", "item": "2024-01-01"},
        {"user": "NA", "item": ""},
        {"user": None, "item": "1e5"},
    ]


def test_byte_order_mark_is_no_part_of_a_name(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes(b"\xef\xbb\xbfuser,item\n1,2\n")
    assert tables.header(path) == ["user", "item"]
    assert next(tables.stream(path, ["user"])).to_pylist() == [{"user": 1}]


@pytest.mark.parametrize("name", ["log.csv", "log.jsonl"])
def test_later_values_of_a_wider_type(tmp_path: Path, name: str) -> None:
    table = pa.table({"u": ["a"] * 500, "t": pa.array([1.0] * 499 + [1.5])})
    lines = [json.dumps(r) for r in table.to_pylist()]
    text = "u,t\n" + "a,1\n" * 499 + "a,1.5\n"
    if name == "log.jsonl":
        text = "".join(line.replace("1.0", "1") + "\n" for line in lines)
    (tmp_path / name).write_text(text)
    with pytest.raises(tables.ColumnTypeError, match=r"log\.\w+, .*1\.5") as caught:
        list(tables.stream(tmp_path / name, ["u", "t"], ids=["u"], block_bytes=512))
    assert caught.value.types == {"t": "double"}
    types = caught.value.types
    blocks = tables.stream(tmp_path / name, ["u", "t"], ids=["u"], types=types, block_bytes=512)
    assert pa.Table.from_batches(list(blocks)).equals(table)


def test_wrong_number_names_file_and_column(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("u,w\na,1\nb,many\n")
    with pytest.raises(ValueError, match=r"log\.csv, column 'w': .* invalid value 'many'"):
        list(tables.stream(path, ["w"], types={"w": "double"}))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", r"a\.csv is empty; expected rows"),
        ("a.csv.gz", gzip.compress(b"", mtime=0), r"a\.csv\.gz is empty; expected rows"),
        ("a.jsonl", b"", r"a\.jsonl is empty"),
        ("a.parquet", b"", r"a\.parquet is empty; expected a Parquet file"),
        ("a.parquet", b"PAR1 cut short", r"a\.parquet cannot be read: "),
        ("a.csv", b"user,item\n1,2\n3\n", r"a\.csv cannot be read: .*Expected 2 columns, got 1"),
        ("a.csv", b"us\xff,item\n1,2\n", r"a\.csv is not UTF-8 text"),
        ("a.jsonl", b'{"user": 1, \n', r"a\.jsonl cannot be read: JSON parse error"),
        (
            "a.jsonl",
            b'{"user": 1, "item": 1}\n{"user": "a"}',
            r"a\.jsonl cannot be read: JSON pars",
        ),
        ("a.csv", b"user,user,item\n1,2,3\n", "more than one column 'user'; rename or drop all"),
        (
            "a.csv",
            b"User,item\n1,2\n",
            "has no column 'user'; did you mean 'User'. it has 'User', ",
        ),
        ("a.csv", b"usr_id,item\n1,2\n", "no column 'user'; did you mean 'usr_id'. it h"),
        ("a.xlsx", b"user", r"a\.xlsx: unknown suffix '\.xlsx'; the name must end in \.csv, \.tsv"),
        ("a", b"user", "unknown suffix ''"),
        ("a.parquet.gz", b"user", r"unknown suffix '\.parquet\.gz'"),
    ],
)
def test_bad_files(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        list(tables.stream(tmp_path / name, ["user", "item"]))
    with pytest.raises(ValueError, match=message):
        tables.read(tmp_path / name, ["user", "item"])


def test_truncated_compressed_file(tmp_path: Path) -> None:
    content = gzip.compress(np.random.default_rng(0).integers(0, 9, 9999).astype("S1").tobytes())
    (tmp_path / "a.csv.gz").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"a\.csv\.gz cannot be read: "):
        tables.read(tmp_path / "a.csv.gz")


def test_duplicate_column_of_parquet(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["user", "user"])
    parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="more than one column 'user'"):
        tables.read(tmp_path / "a.parquet")


def test_missing_file_names_the_closest(tmp_path: Path) -> None:
    (tmp_path / "events.csv").write_text("a\n")
    with pytest.raises(
        FileNotFoundError, match=r"no file .*event\.csv; did you mean 'events\.csv'"
    ):
        tables.files_of(tmp_path / "event.csv")


def test_folders_and_lists(tmp_path: Path) -> None:
    for name in ("b.csv", "a.csv", "_done", ".hidden.csv", "notes.txt"):
        (tmp_path / name).write_text("user\n1\n")
    assert [p.name for p in tables.files_of(tmp_path)] == ["a.csv", "b.csv"]
    assert len(tables.files_of([tmp_path, tmp_path / "a.csv"])) == 3
    (tmp_path / "none").mkdir()
    with pytest.raises(ValueError, match=r"none holds no file that ends in \.csv, \.tsv"):
        tables.files_of(tmp_path / "none")


def test_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    tables.write(example(), path)
    with pytest.raises(
        TypeError, match=r"a\.parquet cannot be written: .*convert the column first"
    ):
        tables.write(pd.DataFrame({"a": [object()]}), path)
    assert tables.read(path, backend="pyarrow").equals(example())
    with pytest.raises(ValueError, match="unknown suffix"):
        tables.write(example(), tmp_path / "a.xlsx")
    assert [p.name for p in tmp_path.iterdir()] == ["a.parquet"]


def test_kinds_of_frames() -> None:
    columns = {"user": np.array(["a", "b"], dtype=object), "score": np.array([1.5, 2.5])}
    kinds = {"pandas": pd.DataFrame, "polars": pl.DataFrame, "pyarrow": pa.Table}
    for backend, kind in kinds.items():
        frame = tables.to_backend(columns, backend)
        assert isinstance(frame, kind)
        expected = {"user": ["a", "b"], "score": [1.5, 2.5]}
        assert nw.from_native(frame).to_dict(as_series=False) == expected
    for give in (
        lambda: tables.to_backend(columns, "excel"),
        lambda: tables.read("x", backend="R"),
    ):
        with pytest.raises(ValueError, match="backend must be pandas, polars or pyarrow, got"):
            give()


def test_files_without_a_header(tmp_path: Path) -> None:
    for name, text in (("a.txt", "x\ty\nx\tz\n"), ("a.csv", "x,y\nx,z\n")):
        (tmp_path / name).write_text(text)
        (batch,) = tables.stream(tmp_path / name, ["1", "0"], ids=["0", "1"], headless=True)
        assert batch.to_pydict() == {"1": ["y", "z"], "0": ["x", "x"]}
    with pytest.raises(ValueError, match=r"a\.csv has no column '2'; it has '0', '1'"):
        list(tables.stream(tmp_path / "a.csv", ["2"], headless=True))
    tables.write(pd.DataFrame({"x": [1]}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"has names for its columns, \['x'\]; give these"):
        list(tables.stream(tmp_path / "a.parquet", ["0"], headless=True))
