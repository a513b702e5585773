"""Ids typed as text become ids of the model's kind."""

from __future__ import annotations

import datetime as dt
import uuid
from pathlib import Path
from typing import Any

import pytest

from hyperrank import tables
from hyperrank.vocabulary import Vocabulary
from hyperrank.written_ids import columns_in, read_ids

KINDS: list[tuple[list[Any], str]] = [
    (["ann", "bob"], "bob"),
    ([3, 4], "4"),
    ([3, 2**70], str(2**70)),
    ([1.5, 2.5], "2.5"),
    ([b"ab", b"c"], "c"),
    ([dt.date(2024, 5, 1)], "2024-05-01"),
    ([dt.datetime(2024, 5, 1, 12)], "2024-05-01T12:00"),
    ([uuid.UUID(int=5)], str(uuid.UUID(int=5))),
    ([("a", 1), ("b", 2)], "('b', 2)"),
]


@pytest.mark.parametrize(("ids", "text"), KINDS, ids=str)
def test_every_kind_is_found_again(ids: list[Any], text: str) -> None:
    vocabulary = Vocabulary.from_ids(ids)
    assert vocabulary.rows(read_ids(vocabulary, [text])).tolist() == [len(ids) - 1]


def test_what_is_no_such_id_is_named() -> None:
    with pytest.raises(
        ValueError, match=r"^'ann' cannot be an id beside the known ones, .* integer, such as 3$"
    ):
        read_ids(Vocabulary.from_ids([3]), ["4", "ann"])
    with pytest.raises(ValueError, match=r"^a\.csv: '\(' cannot be an id beside .* kind tuple"):
        read_ids(Vocabulary.from_ids([(1, 2)]), ["("], "a.csv")


def test_a_file_is_read_once_for_all_its_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, stream = [], tables.stream

    def counted(path: Any, *given: Any, **named: Any) -> Any:
        read.append(path)
        return stream(path, *given, **named)

    monkeypatch.setattr(tables, "stream", counted)
    numbers, words = Vocabulary.from_ids([1]), Vocabulary.from_ids(["a"])
    file = tmp_path / "asked.csv"
    file.write_text('n,w\n3,b\n4,"a,b"\n')
    wanted = [("n", numbers), ("w", words), ("n", words)]
    assert columns_in(str(file), wanted) == [[3, 4], ["b", "a,b"], ["3", "4"]]
    assert read == [str(file)]
    file.write_text("n,w\n3,\n")
    with pytest.raises(ValueError, match="row 0 of column 'w' is missing"):
        columns_in(str(file), wanted)
