"""Ids typed as text, read as the kind of id that a model holds."""

from __future__ import annotations

import ast
import datetime as dt
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hyperrank import tables
from hyperrank.identifiers import Array
from hyperrank.vocabulary import Vocabulary, VocabularyBuilder

READERS: dict[str, Callable[[str], Any]] = {
    "text": str,
    "empty": str,
    "integer": int,
    "big integer": int,
    "float": float,
    "bytes": str.encode,
    "boolean": {"true": True, "false": False}.__getitem__,
    "date": dt.date.fromisoformat,
    "datetime": dt.datetime.fromisoformat,
    "uuid": uuid.UUID,
    "tuple": ast.literal_eval,
}


def read_ids(vocabulary: Vocabulary, texts: Sequence[str], place: str = "") -> list[Any]:
    """The texts as ids of the vocabulary's kind; whether they are known is not asked.

    Args:
        vocabulary: Says which kind.
        texts: As typed, or from a text file.
        place: Where they were found, for the message.

    Raises:
        ValueError: If a text does not read as such an id.
    """
    read = READERS.get(vocabulary.kind, str)
    try:
        return [read(text) for text in texts]
    except (ValueError, KeyError, SyntaxError):
        wrong = next(text for text in texts if not _reads(read, text))
        known = ", ".join(map(str, vocabulary.ids[:1].tolist()))
        raise ValueError(
            f"{place + ': ' if place else ''}{wrong!r} cannot be an id beside the known ones, "
            f"which are of kind {vocabulary.kind}, such as {known}"
        ) from None


def split_ids(texts: str) -> list[str]:
    """The ids of a list with commas."""
    return [text.strip() for text in texts.split(",")]


def ids_in(path: str, column: str | int, known: Vocabulary) -> list[Any]:
    """The ids in a column of a file; see ``columns_in``."""
    return columns_in(path, [(column, known)])[0]


def columns_in(path: str, wanted: Sequence[tuple[str | int, Vocabulary]]) -> list[list[Any]]:
    """The ids in some columns of a file, read once; text is of the kind of the known ones.

    Columns given by number, from 0, say that a CSV or TSV file has no header.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a column or a value is missing, or an id is of another kind.
    """
    names = [str(column) for column, _ in wanted]
    headless = all(isinstance(column, int) for column, _ in wanted)
    batches = tables.stream(path, list(dict.fromkeys(names)), ids=names, headless=headless)
    found: list[list[Any]] = [[] for _ in wanted]
    for batch in batches:
        for ids, name in zip(found, names, strict=True):
            ids.extend(batch.column(name).to_pylist())
    for ids, (column, _) in zip(found, wanted, strict=True):
        if None in ids:
            raise ValueError(f"{path}: row {ids.index(None)} of column {column!r} is missing")
    if not tables.is_text(Path(path)):
        return found
    return [read_ids(known, ids, path) for ids, (_, known) in zip(found, wanted, strict=True)]


def _reads(read: Callable[[str], Any], text: str) -> bool:
    try:
        read(text)
    except (ValueError, KeyError, SyntaxError):
        return False
    return True


def builder_of_texts(like: Vocabulary | None) -> VocabularyBuilder:
    """Takes ids that come as text, and reads them as the kind in ``like``, if there is one."""
    return TextIdBuilder() if like is None else LikeIdBuilder(like)


class LikeIdBuilder(VocabularyBuilder):
    """Rows of ids that come as text and are read as the kind of id in another vocabulary."""

    def __init__(self, like: Vocabulary) -> None:
        super().__init__()
        self._like = like

    def rows(self, ids: Any) -> Array:
        """Row number (int64) of each id of the block; new ids get the next rows."""
        encoded = _encoded(ids)
        if encoded is None or self._like.kind == "text":
            return super().rows(ids)
        texts = encoded.dictionary
        distinct = integers_written_as(texts) if self._like.kind == "integer" else None
        if distinct is None:
            distinct = read_ids(self._like, texts.to_pylist(), self.name)
        rows: Array = super().rows(distinct)
        codes: Array = encoded.indices.to_numpy()
        return rows[codes]


class TextIdBuilder(VocabularyBuilder):
    """Rows of ids that come as text, which are integers as long as all are written as such.

    An integer and its usual form say the same, so the rows stay when text has to take over.
    """

    def rows(self, ids: Any) -> Array:
        """Row number (int64) of each id of the block; new ids get the next rows."""
        encoded = _encoded(ids)
        if encoded is None:
            return super().rows(ids)
        codes: Array = encoded.indices.to_numpy()
        numbers = None if self.kind == "text" else integers_written_as(encoded.dictionary)
        if numbers is not None:
            rows: Array = super().rows(numbers)
            return rows[codes]
        if self.kind == "integer":
            texts = self.vocabulary().ids.astype(str)
            self._parts.clear()
            super().rows(texts)
        rows = super().rows(encoded.dictionary)
        return rows[codes]


def _encoded(ids: Any) -> Any:
    """The column by its distinct texts; None where it is none of text, or lacks a value."""
    import pyarrow as pa

    encoded = ids.combine_chunks().dictionary_encode()
    return encoded if encoded.type.value_type == pa.string() and not encoded.null_count else None


def integers_written_as(texts: Any) -> Any:
    """The integers (Arrow, below 2**63) whose usual forms the texts are; None if one is not."""
    import pyarrow as pa

    try:
        numbers = texts.cast(pa.int64())
    except pa.ArrowInvalid:
        return None
    return numbers if numbers.cast(texts.type).equals(texts) else None
