"""The log of arrived batches: content, order, merging, damage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperrank import arrivals
from hyperrank.arrivals import ArrivalLog, LogError, digest_of


def rows(*pairs: tuple[str, int], **more: list[Any]) -> pa.Table:
    names, numbers = zip(*pairs, strict=True)
    table = pa.table({"name": pa.array(names, pa.large_string()), "number": list(numbers), **more})
    return table.replace_schema_metadata({"kinds": "text integer"})


def append(log: ArrivalLog, table: pa.Table) -> arrivals.Batch:
    return log.append(table, digest_of(table), {"source": "test"})


@pytest.fixture
def log(tmp_path: Path) -> ArrivalLog:
    return ArrivalLog(tmp_path / "log")


@given(
    st.lists(st.tuples(st.text(max_size=3), st.integers(-3, 3)), min_size=1, max_size=8),
    st.randoms(),
)
@settings(max_examples=50)
def test_a_digest_is_of_the_rows_whatever_their_order(
    pairs: list[tuple[str, int]], random: Any
) -> None:
    shuffled = list(pairs)
    random.shuffle(shuffled)
    assert digest_of(rows(*pairs)) == digest_of(rows(*shuffled))
    chunked = pa.concat_tables([rows(one) for one in shuffled])
    assert digest_of(rows(*pairs)) == digest_of(chunked)
    assert digest_of(rows(*pairs)) != digest_of(rows(*pairs, pairs[0]))


def test_a_digest_tells_values_names_and_types_apart() -> None:
    columns: list[Any] = [
        pa.array([1, 2]),
        pa.array([1, 3]),
        pa.array([1.0, 2.0]),
        pa.array([True, False]),
        pa.array(["1", "2"]),
        pa.array(["12", ""]),
        pa.array([b"1", b"2"]),
        pa.array([b"1" * 16, b"2" * 16], pa.binary(16)),
        pa.array(np.array(["2024-01-01", "2024-01-02"], "datetime64[us]")),
        pa.array(np.array(["2024-01-01", "2024-01-02"], "datetime64[D]")),
    ]
    digests = [digest_of(pa.table({"a": column})) for column in columns]
    digests += [digest_of(pa.table({"b": columns[0]})), digest_of(pa.table({"a": columns[0][:0]}))]
    assert len(set(digests)) == len(digests)
    sliced = pa.table({"a": pa.array(["x", "1", "2"])[1:]})
    assert digest_of(sliced) == digests[4]


def test_batches_come_back(log: ArrivalLog) -> None:
    assert len(log) == 0
    tables = [rows(("ann", n), ("bob", -n)) for n in range(3)]
    for number, table in enumerate(tables, 1):
        batch = append(log, table)
        assert (batch.number, batch.rows, batch.notes) == (number, 2, {"source": "test"})
    assert len(log) == 3
    assert log.find(digest_of(tables[1])) == [2]
    assert log.find(digest_of(rows(("new", 1)))) == []
    assert [table for _, table in log.read({3, 2})] == tables[1:]
    assert next(table for _, table in log.read({1})).schema.metadata[b"kinds"] == b"text integer"
    assert [batch.number for batch in log.batches()] == [1, 2, 3]
    log.remove_after(1)
    assert len(log) == 1
    assert log.verify() == []
    with pytest.raises(ValueError, match="holds no rows; there is nothing to log"):
        append(log, tables[0][:0])


def test_merged_files_read_the_same(log: ArrivalLog, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = [rows(("ann", n), ("bob", -n)) for n in range(4)]
    tables += [rows(("ann", 7), time=[n]) for n in range(2)]  # of another schema
    for table in tables:
        append(log, table)
    before = log.batches()
    copies = {path.name: path.read_bytes() for path in log.folder.iterdir()}
    assert log.merge() == 4
    assert log.merge() == 0
    assert log.batches() == before
    assert [table for _, table in log.read(range(1, 7))] == tables
    assert log.find(digest_of(tables[2])) == [3]
    assert log.verify() == []
    for name, content in copies.items():  # as a kill before the removal leaves it
        (log.folder / name).write_bytes(content)
    assert log.batches() == before
    assert append(log, rows(("ann", 1), time=[9])).number == 7
    assert log.merge() == 7
    assert len(log) == 7
    monkeypatch.setattr(arrivals, "MOST_MERGED", 3)
    assert log.merge() == 0  # what is merged stays merged


def test_merges_have_limits(log: ArrivalLog, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(6):
        append(log, rows(("ann", n), ("bob", n)))
    monkeypatch.setattr(arrivals, "ROWS_MERGED", 4)
    assert log.merge() == 3
    monkeypatch.setattr(arrivals, "MOST_MERGED", 4)
    monkeypatch.setattr(arrivals, "ROWS_MERGED", 100)
    assert log.merge() == 1
    assert log.verify() == []
    assert [batch.number for batch in log.batches()] == [1, 2, 3, 4, 5, 6]


def test_damage_is_told(log: ArrivalLog) -> None:
    for n in range(3):
        append(log, rows(("ann", n)))
    first, second, third = sorted(log.folder.iterdir())
    whole = second.read_bytes()
    second.write_bytes(whole[:-9])
    assert [str(second) in said for said in log.verify()] == [True]
    with pytest.raises(LogError, match=r"cannot be read .*; restore it from a copy"):
        list(log.read({2}))
    second.unlink()
    assert "lacks batches 2 to 2" in log.verify()[0]
    with pytest.raises(LogError, match="lacks batch 2; restore it from a copy"):
        list(log.read({2}))
    second.write_bytes(first.read_bytes())
    assert log.verify()
    second.write_bytes(whole)
    assert log.verify() == []
    assert third.exists()


def test_rows_that_are_not_those_logged_are_told(log: ArrivalLog) -> None:
    log.append(rows(("ann", 1)), digest_of(rows(("ann", 2))), {})
    assert log.verify() == ["batch 1 does not match its digest"]


def test_an_altered_head_is_told(log: ArrivalLog) -> None:
    append(log, rows(("ann", 1)))
    (path,) = log.folder.iterdir()
    table = pq.read_table(path)
    said = {key: value.replace(b"test", b"text") for key, value in table.schema.metadata.items()}
    pq.write_table(table.replace_schema_metadata(said), path)
    assert ["its head does not match its digest" in said for said in log.verify()] == [True]


def test_files_that_are_not_of_the_log_are_told(log: ArrivalLog) -> None:
    for n in range(2):
        append(log, rows(("ann", n)))
    first, second = sorted(log.folder.iterdir())
    (log.folder / "copy.parquet").write_bytes(first.read_bytes())
    twin = log.folder / f"000002-{'f' * 16}.parquet"
    twin.write_bytes(second.read_bytes())
    said = [
        f"{log.folder} holds {name}, which is not of it" for name in (twin.name, "copy.parquet")
    ]
    assert log.verify() == said
    second.unlink()
    assert log.verify() == ["batch 2 does not match its digest", said[1]]


def test_readers_follow_a_merge(log: ArrivalLog) -> None:
    tables = [rows(("ann", n)) for n in range(4)]
    for table in tables:
        append(log, table)
    reading = log.read({2, 3, 4})
    assert next(reading)[1] == tables[1]
    log.merge()
    assert [table for _, table in reading] == tables[2:]


def test_rows_of_no_text_are_told(log: ArrivalLog) -> None:
    table = rows(("ann", 1))
    log.append(table.set_column(0, "name", table.column("name").cast("binary")), "0" * 64, {})
    (path,) = log.folder.iterdir()
    whole = path.read_bytes()
    for spot in range(4, len(whole), 3):
        path.write_bytes(whole[:spot] + bytes([whole[spot] ^ 0x80]) + whole[spot + 1 :])
        assert log.verify()


def test_rows_are_left_out(log: ArrivalLog) -> None:
    tables = [rows(("ann", n), ("bob", n)) for n in range(4)] + [rows(("ann", 9))]
    for table in tables[:2]:
        append(log, table)
    log.merge()
    for table in tables[2:]:
        append(log, table)
    schema = next(table for _, table in log.read({1})).schema

    def without(name: str) -> Callable[[pa.Table], pa.Table]:
        return lambda table: table.filter(pc.not_equal(table.column("name"), name))

    assert log.rewrite(without("zed")) == []
    assert log.rewrite(without("ann")) == [1, 2, 3, 4, 5]
    assert log.rewrite(without("ann")) == []
    assert log.verify() == []
    assert [batch.rows for batch in log.batches()] == [1, 1, 1, 1, 0]
    assert [set(table.column("name").to_pylist()) for _, table in log.read({1, 3})] == [{"bob"}] * 2
    assert all(table.schema.equals(schema) for _, table in log.read({1, 3, 5}))
    assert [log.find(digest_of(table)) for table in tables] == [[n] for n in range(1, 6)]
    assert log.find(digest_of(rows(("bob", 2)))) == [3], "and as it is now"
    assert log.rewrite(without("bob")) == [1, 2, 3, 4]
    assert log.find(digest_of(tables[2])) == [3], "still as it arrived"
    assert log.merge() == 3
    assert log.verify() == []
    assert [log.find(digest_of(table)) for table in tables] == [[n] for n in range(1, 6)]
    assert len(list(log.folder.iterdir())) == 1


def test_a_killed_rewriting_leaves_old_rows_until_the_next(log: ArrivalLog) -> None:
    append(log, rows(("ann", 1), ("bob", 1)))
    (path,) = log.folder.iterdir()
    content = path.read_bytes()
    log.rewrite(lambda table: table.slice(1))
    path.write_bytes(content)
    assert [batch.rows for batch in log.batches()] == [1]
    log.rewrite(lambda table: table)
    assert not path.exists()


def test_a_batch_that_arrived_with_more_is_known_by_both(log: ArrivalLog) -> None:
    whole, part = rows(("ann", 1), ("bob", 1)), rows(("bob", 1))
    log.append(part, digest_of(part), {arrivals.ARRIVED: digest_of(whole)})
    assert log.find(digest_of(whole)) == log.find(digest_of(part)) == [1]
    assert log.verify() == []
    assert append(log, rows(("cem", 1))).number == 2
    log.remove_after(0)
    assert len(log) == 0
