"""From three columns as users have them to row numbers, block by block."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hyperrank import tables
from hyperrank.frames import MissingColumnError
from hyperrank.identifiers import Array
from hyperrank.vocabulary import Vocabulary, VocabularyBuilder
from hyperrank.written_ids import builder_of_texts

Columns = tuple[str | int, str | int, str | int]  # of head, relation and tail


class Gatherer:
    """Collects facts block by block, at 12 bytes a fact."""

    def __init__(self, builders: tuple[VocabularyBuilder, VocabularyBuilder] | None = None) -> None:
        self._entities, self._relations = builders or (VocabularyBuilder(), VocabularyBuilder())
        self._blocks: list[Array] = []
        self._parts: list[Array] = []

    def add(self, columns: Sequence[Any], names: Sequence[str]) -> None:
        """Takes in one block: heads, relations and tails of equal length, named for messages.

        Raises:
            ValueError: If the lengths differ, or an id is missing.
            TypeError: If ids mix kinds, or cannot be hashed.
        """
        found = []
        for column, name, builder in zip(
            columns, names, (self._entities, self._relations, self._entities), strict=True
        ):
            builder.name = name
            found.append(builder.rows(column).astype(np.int32))
        lengths = [len(rows) for rows in found]
        if len(set(lengths)) > 1:
            raise ValueError(f"{', '.join(names)} have {lengths} ids; expected as many of each")
        self._blocks.append(np.stack(found))

    def finish(self, place: str) -> None:
        """Ends one part: what was added since the last is its own set of facts.

        Raises:
            ValueError: If there is no row.
        """
        rows = np.concatenate([np.empty((3, 0), np.int32), *self._blocks], axis=1)
        self._blocks.clear()
        if not rows.size:
            raise ValueError(f"{place} holds no rows; expected at least one fact")
        self._parts.append(rows)

    def result(self) -> tuple[Vocabulary, Vocabulary, list[Array]]:
        """Entities and relations in order of first appearance, and the rows of each part.

        A head comes before its tail, wherever the blocks began and ended.
        """
        entities, relations = self._entities.vocabulary(), self._relations.vocabulary()
        first = np.full(len(entities), -1)
        met = np.concatenate([rows[[0, 2]].T.ravel() for rows in self._parts])
        first[met[::-1]] = np.arange(len(met))[::-1]  # the last to be written stays
        order = np.argsort(first)
        place = np.empty(len(order), dtype=np.int32)
        place[order] = np.arange(len(order))
        for rows in self._parts:
            rows[0], rows[2] = place[rows[0]], place[rows[2]]
        return entities.select(order), relations, self._parts


def gather_files(
    parts: Sequence[Sequence[Path]],
    columns: Columns,
    like: tuple[Vocabulary, Vocabulary] | None,
    block_bytes: int = tables.BLOCK_BYTES,
) -> Gatherer:
    """The facts of each part's files, read in blocks.

    Where some are CSV or TSV, text in any of them may turn out to be integers.

    Raises:
        ValueError: If a file is empty, damaged or of unknown suffix, lacks a column, or an id is
            missing or not of the kind asked for.
        TypeError: If ids mix kinds, or columns are given by name and by number.
    """
    gatherer = Gatherer()
    if any(tables.is_text(file) for files in parts for file in files):
        entities, relations = like or (None, None)
        gatherer = Gatherer((builder_of_texts(entities), builder_of_texts(relations)))
    for files in parts:
        for file in files:
            for block, names in _blocks(file, columns, block_bytes):
                gatherer.add(block, names)
        gatherer.finish(", ".join(map(str, files[:3])) + ", ..." * (len(files) > 3))
    return gatherer


def _blocks(
    file: Path, columns: Columns, block_bytes: int
) -> Iterator[tuple[list[Any], list[str]]]:
    """Three columns of each block, and what to call them."""
    import pyarrow as pa

    numbered = [isinstance(column, int) for column in columns]
    if any(numbered) and not all(numbered):
        raise TypeError(f"give all columns by name, or all by number, got {columns}")
    wanted = list(map(str, columns))
    row = 0
    try:
        for batch in tables.stream(
            file,
            list(dict.fromkeys(wanted)),
            ids=wanted,
            block_bytes=block_bytes,
            headless=all(numbered),
        ):
            table = pa.Table.from_batches([batch])
            since = f", from row {row}" if row else ""
            yield (
                [table.column(name) for name in wanted],
                [f"{file}, column {name!r}{since}" for name in columns],
            )
            row += len(batch)
    except MissingColumnError as error:
        if all(numbered) or not tables.is_text(file):
            raise
        message = f"{error}; if it has no header, give the columns by number: 0, 1, 2"
        raise MissingColumnError(message, error.column) from None
