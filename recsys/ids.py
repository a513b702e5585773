"""Ids typed as text, read as the kind of id that a model holds."""

from __future__ import annotations

import ast
import datetime as dt
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hyperrank import tables
from hyperrank.vocabulary import Vocabulary

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


def ids_in(path: str, column: str, known: Vocabulary) -> list[Any]:
    """The ids in a column of a file; those of CSV and TSV are of the kind of the known ones.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the column or a value is missing, or an id is of another kind.
    """
    ids = [
        one
        for batch in tables.stream(path, [column], ids=[column])
        for one in batch.column(0).to_pylist()
    ]
    if None in ids:
        raise ValueError(f"{path}: row {ids.index(None)} of column {column!r} is missing")
    return read_ids(known, ids, path) if tables.is_text(Path(path)) else ids


def _reads(read: Callable[[str], Any], text: str) -> bool:
    try:
        read(text)
    except (ValueError, KeyError, SyntaxError):
        return False
    return True
