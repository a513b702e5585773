"""Vocabularies: ids of every kind, growth, errors, files."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal
from enum import Enum
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from hyperrank.vocabulary import UnknownIdError, Vocabulary, VocabularyBuilder

KINDS = {
    "integer": st.integers(-(2**63), 2**63 - 1),
    "big integer": st.integers(2**63, 2**70),
    "text": st.text(max_size=5),
    "bytes": st.binary(max_size=5),
    "float": st.floats(allow_nan=False).map(lambda x: x + 0.0),  # no negative zero: it equals zero
    "boolean": st.booleans(),
    "date": st.dates(),
    "datetime": st.datetimes(),
    "uuid": st.uuids(),
    "tuple": st.tuples(st.integers(), st.text(max_size=3), st.dates(), st.binary(max_size=2)),
}
columns = st.sampled_from(sorted(KINDS)).flatmap(
    lambda kind: st.tuples(st.just(kind), st.lists(KINDS[kind], max_size=20))
)
Colour = Enum("Colour", "RED BLUE")


@settings(deadline=None)  # the first lookup imports pandas
@given(columns)
def test_ids_become_rows_in_order_of_first_appearance_and_come_back(column: Any) -> None:
    kind, ids = column
    vocabulary = Vocabulary.from_ids(ids)
    expected = list(dict.fromkeys(ids))
    assert vocabulary.ids.tolist() == expected
    assert vocabulary.kind == (kind if ids else "empty")
    rows = vocabulary.rows(ids)
    assert rows.dtype == torch.int64
    assert rows.tolist() == [expected.index(one) for one in ids]
    assert vocabulary.take(rows).tolist() == ids
    assert all(one in vocabulary for one in ids)


@settings(deadline=None)  # the first lookup imports pandas
@given(columns, st.data())
def test_extend_keeps_every_row(column: Any, data: Any) -> None:
    kind, ids = column
    more = data.draw(st.lists(KINDS[kind], max_size=20))
    old = Vocabulary.from_ids(ids)
    grown = old.extend(more)
    assert grown.ids.tolist() == list(dict.fromkeys([*ids, *more]))
    assert grown.ids[: len(old)].tolist() == old.ids.tolist()
    assert grown.extend(more) is grown
    assert grown.extend(ids) is grown
    assert (grown == old) == (grown.digest == old.digest) == (len(grown) == len(old))


@settings(deadline=None)  # the first lookup imports pandas
@given(columns)
def test_arrow_round_trip(column: Any) -> None:
    vocabulary = Vocabulary.from_ids(column[1])
    back = Vocabulary.from_arrow(vocabulary.to_arrow())
    assert back == vocabulary
    assert hash(back) == hash(vocabulary)
    assert back.digest == vocabulary.digest
    assert list(map(type, back.ids.tolist())) == list(map(type, vocabulary.ids.tolist()))


@settings(deadline=None)  # the first lookup imports pandas
@given(columns, st.integers(1, 7))
def test_builder_equals_the_whole(column: Any, size: int) -> None:
    _, ids = column
    builder = VocabularyBuilder()
    blocks = [ids[start : start + size] for start in range(0, len(ids), size)]
    rows = [row for block in blocks for row in builder.rows(block).tolist()]
    whole = Vocabulary.from_ids(ids)
    assert builder.vocabulary() == whole
    assert rows == whole.rows(ids).tolist()
    assert len(builder) == len(whole)


def test_parquet_round_trip(tmp_path: Any) -> None:
    vocabulary = Vocabulary.from_ids([(1, "a", (2.5, uuid.UUID(int=3))), (2, "b")])
    parquet.write_table(vocabulary.to_arrow(), tmp_path / "ids.parquet")
    back = Vocabulary.from_arrow(parquet.read_table(tmp_path / "ids.parquet"))
    assert back.ids.tolist() == vocabulary.ids.tolist()
    assert back.digest == vocabulary.digest


@pytest.mark.parametrize(
    "ids",
    [
        np.array(["b", "a", "b"]),
        np.array(["b", "a", "b"], dtype=object),
        pd.Series(["b", "a", "b"]),
        pd.Series(["b", "a", "b"], dtype=object),
        pd.Series(["b", "a", "b"], dtype="category"),
        pd.Index(["b", "a", "b"]),
        pl.Series(["b", "a", "b"]),
        pl.Series(["b", "a", "b"]).cast(pl.Categorical),
        pa.array(["b", "a", "b"]),
        pa.array(["b", "a", "b"], pa.string_view()),
        pa.chunked_array([["b"], ["a", "b"]]),
        pa.chunked_array([["b"], ["a", "b"]]).dictionary_encode(),
        iter(["b", "a", "b"]),
    ],
)
def test_one_vocabulary_from_every_container(ids: Any) -> None:
    assert Vocabulary.from_ids(ids) == Vocabulary.from_ids(["b", "a"])


@pytest.mark.parametrize(
    "ids",
    [
        torch.tensor([3, 1]),
        np.array([3, 1], dtype=np.uint8),
        np.array([3, 1], dtype=np.uint64),
        pd.Series([3, 1], dtype="Int64"),
        pl.Series([3, 1], dtype=pl.Int16),
        pa.array([3, 1], pa.int32()),
        [np.int32(3), 1],
        range(3, 0, -2),
    ],
    ids=str,
)
def test_integers_of_every_width_are_the_same_ids(ids: Any) -> None:
    vocabulary = Vocabulary.from_ids(ids)
    assert vocabulary == Vocabulary.from_ids([3, 1])
    assert vocabulary.rows(ids).tolist() == [0, 1]


def test_categories_not_in_use_are_no_ids() -> None:
    series = pd.Series(["b"], dtype=pd.CategoricalDtype(["a", "b", "c"]))
    assert Vocabulary.from_ids(series).ids.tolist() == ["b"]


def test_dates_of_every_container() -> None:
    day = dt.date(2024, 2, 29)
    for ids in ([day], pl.Series([day]), pa.array([day]), np.array([day], dtype="datetime64[D]")):
        assert Vocabulary.from_ids(ids).ids.tolist() == [day]
    moment = dt.datetime(2024, 2, 29, 1, 2, 3, 4)
    for ids in ([moment], pl.Series([moment]), pd.Series([moment]), pa.array([moment])):
        assert Vocabulary.from_ids(ids).ids.tolist() == [moment]


def test_uuid_columns_of_arrow() -> None:
    one = uuid.UUID(int=7)
    assert Vocabulary.from_ids(pa.array([one.bytes], pa.binary(16))).kind == "bytes"
    column = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([one.bytes], pa.binary(16)))
    assert Vocabulary.from_ids(column).ids.tolist() == [one]


def test_other_hashables_work_in_memory_but_not_in_files() -> None:
    vocabulary = Vocabulary.from_ids([Colour.RED, Colour.BLUE, Colour.RED])
    assert vocabulary.rows([Colour.BLUE]).tolist() == [1]
    with pytest.raises(TypeError, match=r"ids of kind 'object .*Colour' cannot be saved; use int"):
        vocabulary.to_arrow()
    with pytest.raises(TypeError, match="cannot be saved"):
        _ = vocabulary.digest
    with pytest.raises(
        TypeError, match=r"tuples holding 'object decimal\.Decimal' cannot be saved"
    ):
        Vocabulary.from_ids([(Decimal(1),)]).to_arrow()


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([1, "1"], r"ids mix integer \(1\) and text \('1'\); 1 and '1' would be two ids, so conv"),
        ([1, 2.5], r"ids mix float \(2\.5\) and integer \(1\)"),
        ([True, 1], r"ids mix boolean \(True\) and integer \(1\)"),
        ("ann", r"got the single id 'ann'; give a list of ids, \['ann'\]"),
        ([[1], [2]], "every id must be hashable; unhashable type: 'list'"),
        (np.zeros((2, 2)), r"ids must be one column, got an array of shape \(2, 2\)"),
        (5, "expected a column of ids, got int"),
        (np.array([1j]), "cannot use NumPy type complex128 as ids"),
        ([dt.datetime(2024, 1, 1, tzinfo=dt.UTC)], "time zone are not supported; convert them to"),
        (pa.array([0], pa.timestamp("us", "UTC")), "time zone are not supported"),
    ],
)
def test_ids_of_wrong_type(ids: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        Vocabulary.from_ids(ids)


@pytest.mark.parametrize(
    "ids",
    [
        [1, None],
        [1.0, float("nan")],
        ["a", None],
        [(1, 2), None],
        pd.Series([1, None]),
        pd.Series(["a", None]),
        pd.Series([1, None], dtype="Int64"),
        pd.Series(["a", None], dtype="category"),
        pl.Series(["a", None]),
        pl.Series([1, None]),
        pa.array([1, None]),
        pa.chunked_array([["a"], [None]]),
        np.array(["2024-01-01", "NaT"], dtype="datetime64[D]"),
    ],
    ids=str,
)
def test_missing_ids(ids: Any) -> None:
    message = r"1 of 2 ids are missing \(None or NaN\), the first in row 1; drop these rows or give"
    with pytest.raises(ValueError, match=message):
        Vocabulary.from_ids(ids)


def test_datetimes_finer_than_a_microsecond() -> None:
    with pytest.raises(ValueError, match="finer than a microsecond; use integers as ids instead"):
        Vocabulary.from_ids(np.array([1], dtype="datetime64[ns]"))


def test_unknown_ids() -> None:
    vocabulary = Vocabulary.from_ids(["anna", "bob"])
    message = "unknown id 'ann'; closest to 'ann': 'anna'; the vocabulary holds 2 text ids"
    with pytest.raises(UnknownIdError) as caught:
        vocabulary.rows(["bob", "ann"])
    assert str(caught.value) == message
    assert isinstance(caught.value, KeyError)
    assert isinstance(caught.value, ValueError)
    with pytest.raises(UnknownIdError, match=r"8 unknown ids: 0, 1, 2, 3, 4 and 3 more; the voc"):
        Vocabulary.from_ids([10]).rows(range(8))
    assert vocabulary.rows(["bob", "ann"], unknown="mark").tolist() == [1, -1]
    assert vocabulary.rows([]).tolist() == []
    assert Vocabulary.from_ids([]).rows(["a"], unknown="mark").tolist() == [-1]
    assert "ann" not in vocabulary
    assert 1 not in vocabulary
    assert None not in vocabulary


def test_another_kind_of_id() -> None:
    vocabulary = Vocabulary.from_ids([1, 2])
    message = "holds integer ids such as 1, got text ids such as '1'; convert them first"
    with pytest.raises(TypeError, match=message):
        vocabulary.rows(["1"], unknown="mark")
    with pytest.raises(TypeError, match=message):
        vocabulary.extend(["1"])
    builder = VocabularyBuilder("column 'user'")
    builder.rows([1])
    message = "column 'user': text ids such as '1' after integer ids such as 1; convert the column"
    with pytest.raises(TypeError, match=message):
        builder.rows(["1"])


def test_integers_on_both_sides_of_63_bits() -> None:
    small = Vocabulary.from_ids([5])
    assert small.rows([2**63], unknown="mark").tolist() == [-1]
    grown = small.extend([2**63])
    assert grown.ids.tolist() == [5, 2**63]
    assert grown.rows([2**63, 5]).tolist() == [1, 0]
    assert Vocabulary.from_ids(np.array([5, 2**64 - 1], dtype=np.uint64)).ids[1] == 2**64 - 1
    builder = VocabularyBuilder()
    assert [*builder.rows([5]), *builder.rows([2**63, 5]), *builder.rows([5])] == [0, 1, 0, 0]
    assert builder.vocabulary() == grown


def test_rows_out_of_range() -> None:
    vocabulary = Vocabulary.from_ids(["a", "b"])
    assert vocabulary.take(torch.tensor([[1, 0], [0, 0]])).tolist() == [["b", "a"], ["a", "a"]]
    assert vocabulary.select(torch.tensor([1])) == Vocabulary.from_ids(["b"])
    for row in (-1, 2):
        with pytest.raises(IndexError, match=f"rows run from {row} to {row}, but the vocabulary h"):
            vocabulary.take(torch.tensor([row]))


def test_vocabulary_does_not_change() -> None:
    vocabulary = Vocabulary.from_ids(["a", "b"])
    with pytest.raises(ValueError, match="read-only"):
        vocabulary.ids[0] = "c"
    assert repr(vocabulary) == "Vocabulary(2 text ids: 'a', 'b')"
    assert vocabulary != Vocabulary.from_ids(["b", "a"])
    assert vocabulary != ["a", "b"]


def test_not_a_saved_vocabulary() -> None:
    with pytest.raises(ValueError, match=r"not a saved vocabulary: columns \['x'\], kind ''"):
        Vocabulary.from_arrow(pa.table({"x": [1]}))
    with pytest.raises(ValueError, match="unknown must be 'raise' or 'mark', got 'skip'"):
        Vocabulary.from_ids([1]).rows([1], unknown="skip")
