"""From columns as users have them to checked rows, weights and times, block by block."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hyperrank import tables
from hyperrank.frames import open_frame, require_columns
from hyperrank.identifiers import Array
from hyperrank.vocabulary import Vocabulary, VocabularyBuilder
from hyperrank.written_ids import builder_of_texts
from recsys.measures import times_of, weights_of


class Roles(NamedTuple):
    """Which column plays which part."""

    user: str
    item: str
    time: str | None
    weight: str | None

    @property
    def columns(self) -> list[str]:
        """The columns in use."""
        return [name for name in self if name is not None]


class Gathered(NamedTuple):
    """Checked events in the order in which they came."""

    users: Vocabulary
    items: Vocabulary
    keys: Array  # user row * n_items + item row
    weight: Array | None
    time: Array | None
    time_unit: str | None


class Gatherer:
    """Collects events block by block, at 8 bytes an event, 4 more for a weight, 8 for a time."""

    def __init__(
        self, roles: Roles, builders: tuple[VocabularyBuilder, VocabularyBuilder] | None = None
    ) -> None:
        self.roles = roles
        self._users, self._items = builders or (VocabularyBuilder(), VocabularyBuilder())
        self._rows: list[tuple[Array, Array]] = []  # of users and items, int32
        self._weights: list[Array] = []  # float32
        self._times: list[Array] = []  # int64 or float64
        self._time_kind: tuple[str, str | None] | None = None

    def add(self, frame: Any, place: str, first_row: int = 0) -> None:
        """Take in one block: any eager frame that narwhals knows.

        Raises:
            ValueError: If a column is missing or doubled, an id, weight or time is missing, a
                weight is negative or infinite.
            TypeError: If ids mix kinds, or weights or times are no numbers.
        """
        roles = self.roles
        require_columns(list(frame.columns), roles.columns, place)
        if not len(frame):
            return

        def named(column: str) -> str:
            return f"{place}, column {column!r}" + (f", from row {first_row}" if first_row else "")

        self._users.name, self._items.name = named(roles.user), named(roles.item)
        user = self._users.rows(frame[roles.user].to_native()).astype(np.int32)
        item = self._items.rows(frame[roles.item].to_native()).astype(np.int32)
        if roles.weight is not None:
            self._weights.append(weights_of(frame[roles.weight], named(roles.weight)))
        if roles.time is not None:
            time, unit = times_of(frame[roles.time], named(roles.time))
            self._same_time_kind((time.dtype.name, unit), named(roles.time))
            self._times.append(time)
        self._rows.append((user, item))

    def _same_time_kind(self, kind: tuple[str, str | None], name: str) -> None:
        if self._time_kind is not None and self._time_kind != kind:
            shown = ["datetimes" if unit else dtype for dtype, unit in (self._time_kind, kind)]
            raise TypeError(
                f"{name}: times are {shown[1]} after {shown[0]}; convert every part to one type"
            )
        self._time_kind = kind

    def finish(self, place: str) -> Gathered:
        """All events; the blocks are given up one after the other.

        Raises:
            ValueError: If there is no event, or more than 2**63 pairs are possible.
        """
        if not self._rows:
            raise ValueError(f"{place} holds no rows; expected at least one interaction")
        users, items = self._users.vocabulary(), self._items.vocabulary()
        keys = np.empty(sum(len(user) for user, _ in self._rows), dtype=np.int64)
        end = len(keys)
        while self._rows:
            user, item = self._rows.pop()
            start = end - len(user)
            keys[start:end] = pair_keys(user, item, len(users), len(items))
            end = start
        weight, time = _one_column(self._weights), _one_column(self._times)
        unit = self._time_kind[1] if self._time_kind else None
        return Gathered(users, items, keys, weight, time, unit)


def pair_keys(user: Array, item: Array, n_users: int, n_items: int) -> Array:
    """``user * n_items + item`` as int64.

    Raises:
        ValueError: If the largest key would not fit.
    """
    if n_users * n_items >= 2**63:
        raise ValueError(f"{n_users} users x {n_items} items exceed 2**63 possible pairs")
    keys = user.astype(np.int64)
    keys *= max(n_items, 1)
    keys += item
    return keys


def _one_column(blocks: list[Array]) -> Array | None:
    column = np.concatenate(blocks) if blocks else None
    blocks.clear()
    return column


def gather_frame(frame: Any, roles: Roles) -> tuple[Gathered, str]:
    """The events of a frame, and its kind: "pandas", "polars" or "pyarrow".

    Raises:
        ValueError: As ``Gatherer.add``, or if there is no row.
        TypeError: As ``Gatherer.add``, or if the frame is no frame.
    """
    advice = "Interactions.read takes a path, from_matrix a sparse matrix"
    known, backend = open_frame(frame, roles.columns, advice)
    gatherer = Gatherer(roles)
    gatherer.add(known, "the frame")
    return gatherer.finish("the frame"), backend


def gather_files(
    path: str | PathLike[str] | Sequence[str | PathLike[str]],
    roles: Roles,
    block_bytes: int = tables.BLOCK_BYTES,
    like: tuple[Vocabulary, Vocabulary] | None = None,
) -> Gathered:
    """The events of a file, the files of a folder or a list of files, read in blocks.

    Ids from CSV and TSV are integers where each of them is written as an integer is (no leading
    zero, below 2**63), and text otherwise; with ``like``, of the kinds of these vocabularies.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: As ``Gatherer.add``, or if a file is empty, damaged or of unknown suffix, or an
            id is not of the kind asked for.
        TypeError: As ``Gatherer.add``.
    """
    files = tables.files_of(path)
    types: dict[str, str] = {} if roles.weight is None else {roles.weight: "double"}
    while True:
        try:
            return _gather_blocks(files, roles, types, block_bytes, like)
        except tables.ColumnTypeError as error:
            if not set(error.types) - set(types):
                raise
            types = {**types, **error.types}  # start again, reading these columns as wider types


def _gather_blocks(
    files: list[Path],
    roles: Roles,
    types: dict[str, str],
    block_bytes: int,
    like: tuple[Vocabulary, Vocabulary] | None,
) -> Gathered:
    import narwhals as nw
    import pyarrow as pa

    gatherer = Gatherer(roles)
    if all(map(tables.is_text, files)):
        users, items = like or (None, None)
        gatherer = Gatherer(roles, (builder_of_texts(users), builder_of_texts(items)))
    ids = (roles.user, roles.item)
    for file in files:
        row = 0
        columns = list(dict.fromkeys(roles.columns))
        for batch in tables.stream(file, columns, ids=ids, types=types, block_bytes=block_bytes):
            block = nw.from_native(pa.Table.from_batches([batch]), eager_only=True)
            gatherer.add(block, str(file), row)
            row += len(block)
    return gatherer.finish(", ".join(map(str, files[:3])) + ", ..." * (len(files) > 3))
