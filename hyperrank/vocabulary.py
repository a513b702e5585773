"""Vocabularies: outside ids <-> row numbers; they grow and never renumber."""

from __future__ import annotations

import difflib
import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn, TypeAlias

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from hyperrank import identifiers
from hyperrank.identifiers import EMPTY, Array, IdColumn

ArrowTable: TypeAlias = Any  # imported only where used: pandas and pyarrow take half a second
HashIndex: TypeAlias = Any

SEARCHED = 20_000  # ids looked through for a close name: a quarter of a second
INTEGERS = {"integer", "big integer"}
NAMED = 5  # ids that an error spells out


class UnknownIdError(KeyError, ValueError):
    """Raised when an id is not in the vocabulary."""

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True, eq=False, repr=False)
class Vocabulary:
    """Distinct outside ids of one kind; the position of an id is its row number.

    Costs 8 bytes an integer id and about 60 to 100 a text id, and as much again as 30 bytes an id
    for the hash index, which is built at the first lookup.
    """

    kind: str
    ids: Array

    @classmethod
    def from_ids(cls, ids: Any) -> Vocabulary:
        """The distinct ids in order of first appearance.

        Raises:
            TypeError: If the ids mix kinds (1 and "1"), or cannot be hashed.
            ValueError: If an id is missing (None or NaN).
        """
        return cls._of(identifiers.distinct_ids(ids)[1])

    @classmethod
    def _of(cls, column: IdColumn) -> Vocabulary:
        values = column.values.view()
        values.setflags(write=False)
        return cls(column.kind if len(values) else EMPTY, values)

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        shown = ", ".join(map(repr, self.ids[:3].tolist()))
        return f"Vocabulary({len(self)} {self.kind} ids: {shown}{', ...' * (len(self) > 3)})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Vocabulary):
            return NotImplemented
        return self is other or (
            self.kind == other.kind and np.array_equal(self.ids, other.ids)  # same rows too
        )

    def __hash__(self) -> int:
        return hash((self.kind, len(self)))

    def __contains__(self, one: Any) -> bool:
        try:
            return bool(self.rows([one], unknown="mark")[0] >= 0)
        except (TypeError, ValueError):
            return False

    @cached_property
    def _index(self) -> HashIndex:
        return _hash_index(self.ids)

    def rows(self, ids: Any, unknown: str = "raise") -> Int[Tensor, " n"]:
        """Row number of each id; -1 for an unknown one when ``unknown`` is "mark".

        Raises:
            UnknownIdError: If an id is unknown and ``unknown`` is "raise".
            TypeError: If the ids are of another kind than the vocabulary's.
        """
        if unknown not in ("raise", "mark"):
            raise ValueError(f"unknown must be 'raise' or 'mark', got {unknown!r}")
        codes, distinct = identifiers.distinct_ids(ids)
        rows = self._find(distinct)
        if unknown == "raise" and len(rows) and rows.min() < 0:
            self._raise_unknown(distinct.values[rows < 0])
        return torch.from_numpy(rows[codes])

    def _find(self, distinct: IdColumn) -> Array:
        if not len(self) or not len(distinct.values):
            return np.full(len(distinct.values), -1, dtype=np.int64)
        return _get_rows(self._index, self._same_kind(distinct).values)

    def _same_kind(self, column: IdColumn) -> IdColumn:
        """``column``, provided that it may stand among these ids."""
        if EMPTY in (self.kind, column.kind) or column.kind == self.kind:
            return column
        if self.kind == "big integer" and column.kind == "integer":
            return IdColumn(self.kind, column.values.astype(object))
        if self.kind == "integer" and column.kind == "big integer":
            return column  # none of them is here
        raise TypeError(
            f"this vocabulary holds {self.kind} ids such as {_first(self.ids)}, got {column.kind} "
            f"ids such as {_first(column.values)}; convert them first"
        )

    def _raise_unknown(self, unknown: Array) -> NoReturn:
        named = ", ".join(map(repr, unknown[:NAMED].tolist()))
        more = f" and {len(unknown) - NAMED} more" if len(unknown) > NAMED else ""
        message = f"{len(unknown)} unknown ids: {named}{more}"
        if len(unknown) == 1:
            message = f"unknown id {named}"
        if self.kind == "text":
            near = difflib.get_close_matches(unknown[0], self.ids[:SEARCHED].tolist(), n=3)
            if near:
                message += f"; closest to {unknown[0]!r}: {', '.join(map(repr, near))}"
        raise UnknownIdError(f"{message}; the vocabulary holds {len(self)} {self.kind} ids")

    def take(self, rows: Int[Tensor, "*shape"] | Array) -> Array:
        """The ids of these rows, in the same shape.

        Raises:
            IndexError: If a row number is negative or beyond the last.
        """
        where = rows.cpu().numpy() if isinstance(rows, Tensor) else np.asarray(rows)
        if where.size and (where.min() < 0 or where.max() >= len(self)):
            raise IndexError(
                f"rows run from {where.min()} to {where.max()}, but the vocabulary has rows "
                f"0..{len(self) - 1}"
            )
        ids: Array = self.ids[where]
        return ids

    def select(self, rows: Int[Tensor, " n"] | Array) -> Vocabulary:
        """The vocabulary of the ids in these distinct rows, in this order."""
        return self._of(IdColumn(self.kind, self.take(rows)))

    def extend(self, ids: Any) -> Vocabulary:
        """A vocabulary with the new ids after the old, which keep their rows.

        It is this very vocabulary when no id is new.

        Raises:
            TypeError: If the ids are of another kind.
            ValueError: If an id is missing.
        """
        distinct = self._same_kind(identifiers.distinct_ids(ids)[1])
        fresh = distinct.values[self._find(distinct) < 0]
        if not len(fresh):
            return self
        return self._of(_joined([IdColumn(self.kind, self.ids), IdColumn(distinct.kind, fresh)]))

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the kind and the ids in row order; equal exactly for equal vocabularies.

        Raises:
            TypeError: If ids of this kind have no form outside Python.
        """
        column = identifiers.to_arrow(IdColumn(self.kind, self.ids))
        seal = hashlib.sha256(f"{self.kind} {len(self)}\n".encode())
        for buffer in column.buffers():
            if buffer is not None and len(self):
                seal.update(buffer)
        return seal.hexdigest()

    def to_arrow(self) -> ArrowTable:
        """A table of one column, ``id``, whose metadata names the kind.

        Raises:
            TypeError: If ids of this kind have no form outside Python.
        """
        import pyarrow as pa

        column = identifiers.to_arrow(IdColumn(self.kind, self.ids))
        field = pa.field("id", column.type)
        return pa.table([column], schema=pa.schema([field], {"kind": self.kind}))

    @classmethod
    def from_arrow(cls, table: ArrowTable) -> Vocabulary:
        """The vocabulary that ``to_arrow`` wrote.

        Raises:
            ValueError: If the table is not one that ``to_arrow`` wrote.
        """
        kind = (table.schema.metadata or {}).get(b"kind", b"").decode()
        if table.column_names != ["id"] or not kind:
            raise ValueError(
                f"not a saved vocabulary: columns {table.column_names}, kind {kind!r}; expected "
                "the single column 'id' and the kind of id in the metadata"
            )
        return cls._of(identifiers.from_arrow(kind, table.column("id").combine_chunks()))


class VocabularyBuilder:
    """Rows of ids that arrive block by block.

    Keeps vocabularies of geometrically growing sizes, so that the whole costs a logarithmic number
    of insertions per id and of lookups per distinct id of a block.
    """

    def __init__(self, name: str = "ids") -> None:
        self.name = name
        self._parts: list[Vocabulary] = []

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    @property
    def kind(self) -> str:
        """Kind of the ids so far, that of the first block."""
        return self._parts[0].kind if self._parts else EMPTY

    def rows(self, ids: Any) -> Int[np.ndarray, " n"]:
        """Row number of each id of the block; new ids get the next rows.

        Raises:
            TypeError: If the ids are of another kind than those of earlier blocks.
            ValueError: If an id is missing.
        """
        codes, distinct = identifiers.distinct_ids(ids, name=self.name)
        rows = np.full(len(distinct.values), -1, dtype=np.int64)
        first = 0
        for part in self._parts:
            if distinct.kind not in (part.kind, EMPTY) and {distinct.kind, part.kind} != INTEGERS:
                raise TypeError(
                    f"{self.name}: {distinct.kind} ids such as {_first(distinct.values)} after "
                    f"{part.kind} ids such as {_first(part.ids)}; convert the column to one type "
                    "first"
                )
            unseen = np.flatnonzero(rows < 0)
            found = part._find(IdColumn(distinct.kind, distinct.values[unseen]))
            rows[unseen[found >= 0]] = first + found[found >= 0]
            first += len(part)
        fresh = rows < 0
        if fresh.any():
            rows[fresh] = np.arange(first, first + int(fresh.sum()))
            self._push(IdColumn(distinct.kind, distinct.values[fresh]))
        return rows[codes]

    def _push(self, column: IdColumn) -> None:
        while self._parts and len(self._parts[-1]) < 2 * len(column.values):
            last = self._parts.pop()
            column = _joined([IdColumn(last.kind, last.ids), column])
        self._parts.append(Vocabulary._of(column))

    def vocabulary(self) -> Vocabulary:
        """The ids of all blocks so far."""
        if len(self._parts) == 1:
            return self._parts[0]
        return Vocabulary._of(_joined([IdColumn(part.kind, part.ids) for part in self._parts]))


def _joined(columns: list[IdColumn]) -> IdColumn:
    """One column after the other; those of integers may differ in width."""
    columns = [column for column in columns if len(column.values)]
    if not columns:
        return IdColumn(EMPTY, np.empty(0, dtype=object))
    kinds = {column.kind for column in columns}
    kind = kinds.pop() if len(kinds) == 1 else "big integer"
    values = [column.values for column in columns]
    if kind == "big integer":
        values = [part.astype(object) for part in values]
    return IdColumn(kind, np.concatenate(values))


def _hash_index(values: Array) -> HashIndex:
    import pandas as pd

    view = identifiers.hashable_view(values)
    return pd.Index(view, tupleize_cols=False, dtype=view.dtype)


def _get_rows(index: HashIndex, values: Array) -> Array:
    return np.asarray(index.get_indexer(_hash_index(values)), dtype=np.int64)


def _first(values: Array) -> str:
    return repr(values[:1].tolist()[0])
