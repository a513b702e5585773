"""Triples: facts of head, relation and tail on vocabularies, and the queries that they answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from os import PathLike
from typing import Any, Self

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from hyperrank import tables
from hyperrank.frames import open_frame
from hyperrank.pairs import PairSet
from hyperrank.vocabulary import UnknownIdError, Vocabulary
from kg.intake import Gatherer, gather_files
from kg.queries import Queries

__all__ = ["Queries", "Triples"]

Paths = str | PathLike[str] | Sequence[str | PathLike[str]]
Vocabularies = tuple[Vocabulary, Vocabulary]  # of entities and of relations


@dataclass(frozen=True, eq=False, repr=False)
class Triples:
    """A set of facts (head, relation, tail); heads and tails share one vocabulary.

    Costs 8 bytes a fact beside the vocabularies, and as much again for each of ``head``,
    ``relation`` and ``tail`` once asked for.

    Attributes:
        entities: The entity of each row number.
        relations: The relation of each row number.
        keys: (head * n_relations + relation) * n_entities + tail, strictly increasing.
        duplicates: Rows that repeated a fact, collapsed.
        backend: The kind of frame that the facts came in: "pandas", "polars" or "pyarrow".
        dropped: Facts that ``reindex`` left out because an id was unknown.
    """

    entities: Vocabulary
    relations: Vocabulary
    keys: Int[Tensor, " n"]
    duplicates: int = 0
    backend: str = "pandas"
    dropped: int = 0

    def __len__(self) -> int:
        return len(self.keys)

    def __repr__(self) -> str:
        counts = f"{len(self)} facts, {self.n_entities} entities, {self.n_relations} relations"
        return f"Triples({counts})"

    @property
    def n_entities(self) -> int:
        """Entities, those without any fact included."""
        return len(self.entities)

    @property
    def n_relations(self) -> int:
        """Relations, those without any fact included; each counts once, not once a direction."""
        return len(self.relations)

    @cached_property
    def head(self) -> Int[Tensor, " n"]:
        """Entity row of each head, nondecreasing."""
        return self.keys // max(self.n_entities * self.n_relations, 1)

    @cached_property
    def relation(self) -> Int[Tensor, " n"]:
        """Relation row of each fact, nondecreasing within a head."""
        return self.keys // max(self.n_entities, 1) % max(self.n_relations, 1)

    @cached_property
    def tail(self) -> Int[Tensor, " n"]:
        """Entity row of each tail, increasing within a head and relation."""
        return self.keys % max(self.n_entities, 1)

    @classmethod
    def from_frame(
        cls,
        frame: Any,
        head: str | int = "head",
        relation: str | int = "relation",
        tail: str | int = "tail",
    ) -> Self:
        """The facts in a pandas, polars or Arrow table, or any frame that narwhals knows.

        Ids become rows in order of first appearance, a head before its tail.

        Raises:
            ValueError: If a column is missing or doubled, there is no row, or an id is missing.
            TypeError: If the frame is no frame, or ids mix kinds.
        """
        advice = "Triples.read takes a path, from_arrays three columns"
        names = (head, relation, tail)
        known, backend = open_frame(frame, names, advice)
        gatherer = Gatherer()
        columns = [known.get_column(name).to_native() for name in names]
        gatherer.add(columns, [f"the frame, column {name!r}" for name in names])
        gatherer.finish("the frame")
        return cls._of(gatherer, backend)[0]

    @classmethod
    def from_arrays(cls, heads: Any, relations: Any, tails: Any) -> Self:
        """The facts in three columns of equal length: lists, arrays, series or tensors of ids.

        Raises:
            ValueError: If the lengths differ, there is no row, or an id is missing.
            TypeError: If ids mix kinds, or cannot be hashed.
        """
        gatherer = Gatherer()
        gatherer.add((heads, relations, tails), ["heads", "relations", "tails"])
        gatherer.finish("the columns")
        return cls._of(gatherer)[0]

    @classmethod
    def read(
        cls,
        path: Paths,
        head: str | int = "head",
        relation: str | int = "relation",
        tail: str | int = "tail",
        like: Vocabularies | None = None,
    ) -> Self:
        """The facts in a file, a folder of files or a list of files, read in blocks.

        Columns given by number, ``Triples.read("train.txt", 0, 1, 2)``, say that a CSV or TSV file
        (``.txt`` is one too) has no header. Ids from CSV and TSV become integers where all of them
        are written so, else text, unless ``like`` gives the entities and the relations of other
        facts or of a model: then they become ids of the same kinds.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: As ``from_frame``, or if the suffix is unknown, the file is damaged or a
                line has another number of columns.
            TypeError: As ``from_frame``.
        """
        return cls.read_parts([path], head, relation, tail, like)[0]

    @classmethod
    def read_parts(
        cls,
        paths: Sequence[Paths],
        head: str | int = "head",
        relation: str | int = "relation",
        tail: str | int = "tail",
        like: Vocabularies | None = None,
    ) -> tuple[Self, ...]:
        """The facts of train, validation and test files, on the vocabulary of them all.

        Raises:
            FileNotFoundError: As ``read``.
            ValueError: As ``read``.
            TypeError: As ``read``.
        """
        files = [tables.files_of(path) for path in paths]
        return cls._of(gather_files(files, (head, relation, tail), like))

    @classmethod
    def _of(cls, gatherer: Gatherer, backend: str = "pandas") -> tuple[Self, ...]:
        entities, relations, parts = gatherer.result()
        columns = ([torch.from_numpy(column) for column in rows] for rows in parts)
        found = (cls.from_rows(entities, relations, *rows) for rows in columns)
        return tuple(replace(one, backend=backend) for one in found)

    @classmethod
    def from_rows(
        cls,
        entities: Vocabulary,
        relations: Vocabulary,
        head: Int[Tensor, " n"],
        relation: Int[Tensor, " n"],
        tail: Int[Tensor, " n"],
    ) -> Self:
        """The facts in three columns of row numbers of these vocabularies.

        Raises:
            ValueError: If there are so many entities and relations that the keys would not fit.
        """
        n_entities, n_relations = len(entities), len(relations)
        if 2 * n_relations * n_entities**2 >= 2**63:  # queries count each relation twice
            raise ValueError(
                f"{n_entities} entities x {2 * n_relations} directed relations x {n_entities} "
                "entities exceed 2**63 possible facts; leave out entities or relations, or split "
                "the graph"
            )
        keys = torch.unique((head.long() * n_relations + relation) * n_entities + tail)
        return cls(entities, relations, keys, duplicates=len(head) - len(keys))

    def directed(self, part: slice = slice(None)) -> Int[Tensor, " two_n"]:
        """Keys of the facts, or a part of them, read both ways, ascending.

        Each is (anchor * 2 n_relations + directed relation) * n_entities + answer.
        """
        n_entities, ways = self.n_entities, 2 * self.n_relations
        few = replace(self, keys=self.keys[part])  # keeps its columns for no longer than this
        onward = (few.head * ways + few.relation) * n_entities + few.tail
        back = (few.tail * ways + few.relation + self.n_relations) * n_entities + few.head
        return torch.cat([onward, back]).sort().values

    def queries(self) -> Queries:
        """What these facts answer, both ways: (h, r) -> t, and (t, r + n_relations) -> h."""
        return Queries.of(self)

    def to_frame(self, backend: str | None = None) -> Any:
        """One row per fact: head, relation, tail.

        The frame is of the kind that the facts came in unless ``backend`` says otherwise.
        """
        columns = {
            "head": self.entities.take(self.head),
            "relation": self.relations.take(self.relation),
            "tail": self.entities.take(self.tail),
        }
        return tables.to_backend(columns, backend or self.backend)

    def reindex(self, entities: Vocabulary, relations: Vocabulary, unknown: str = "raise") -> Self:
        """The same facts on these vocabularies; ``dropped`` counts those left out as unknown.

        Raises:
            UnknownIdError: If an id is unknown and ``unknown`` is "raise".
            TypeError: If the ids are of another kind.
            ValueError: If ``unknown`` is neither "raise" nor "drop".
        """
        if unknown not in ("raise", "drop"):
            raise ValueError(f"unknown must be 'raise' or 'drop', got {unknown!r}")
        if self.entities == entities and self.relations == relations:
            return replace(self, entities=entities, relations=relations, dropped=0)
        head, relation, tail = self._rows_in(entities, relations, unknown)
        kept = (head >= 0) & (relation >= 0) & (tail >= 0)
        moved = self.from_rows(entities, relations, head[kept], relation[kept], tail[kept])
        dropped = len(self) - len(moved)
        return replace(moved, duplicates=self.duplicates, backend=self.backend, dropped=dropped)

    def _rows_in(
        self, entities: Vocabulary, relations: Vocabulary, unknown: str
    ) -> tuple[Int[Tensor, " n"], Int[Tensor, " n"], Int[Tensor, " n"]]:
        """Rows of every fact in other vocabularies, -1 for unknown ids unless they raise."""
        used = torch.cat([self.head, self.tail])
        entity = _moved(self.entities, entities, used, "entities", unknown)
        relation = _moved(self.relations, relations, self.relation, "relations", unknown)
        return entity[self.head], relation[self.relation], entity[self.tail]

    def known_to(self, other: Triples) -> Bool[Tensor, " n"]:
        """Which of these facts are among the other ones too, by their ids.

        Raises:
            TypeError: If ids are of other kinds.
        """
        head, relation, tail = self._rows_in(other.entities, other.relations, "drop")
        inside = (head >= 0) & (relation >= 0) & (tail >= 0)
        n_entities, n_relations = other.n_entities, other.n_relations
        facts = PairSet(other.keys, n_entities * n_relations, n_entities)
        return inside & facts.contains(head * n_relations + relation, tail)

    def select(self, chosen: Bool[Tensor, " n"]) -> Self:
        """The chosen facts, on the same vocabularies."""
        return replace(self, keys=self.keys[chosen], duplicates=0, dropped=0)

    def split_random(
        self, fraction: float = 0.1, random_state: int = 0, *, cover: bool = True
    ) -> tuple[Triples, Triples]:
        """Train and test: this fraction of the facts is held out, see ``splits.random``."""
        from kg import splits

        return splits.random(self, fraction, random_state, cover=cover)

    @classmethod
    def align(cls, *parts: Triples) -> tuple[Triples, ...]:
        """The same facts on the vocabulary of all parts, which starts with that of the first.

        Raises:
            TypeError: If ids are of other kinds.
        """
        entities, relations = parts[0].entities, parts[0].relations
        for part in parts[1:]:
            entities = entities.extend(part.entities.ids)
            relations = relations.extend(part.relations.ids)
        return tuple(part.reindex(entities, relations) for part in parts)

    def union(self, other: Triples) -> Triples:
        """The facts of both; ids of this one keep their rows, new ones follow.

        ``duplicates`` counts the repeats within and between the two.

        Raises:
            TypeError: If ids are of other kinds.
        """
        mine, theirs = Triples.align(self, other)
        keys = torch.unique(torch.cat([mine.keys, theirs.keys]))
        repeats = self.duplicates + other.duplicates + len(self) + len(other) - len(keys)
        return replace(mine, keys=keys, duplicates=repeats)


def listed(known: Triples | Iterable[Triples]) -> list[Triples]:
    """Known facts, of one kind or several, in a list.

    Raises:
        TypeError: If one of them is not ``Triples``.
    """
    given: Any = known if isinstance(known, (list, tuple, Iterator)) else [known]
    every = list(given)
    for number, facts in enumerate(every):
        check_kind(f"known[{number}]", facts)
    return every


def known_on(
    known: Triples | Iterable[Triples], entities: Vocabulary, relations: Vocabulary
) -> list[Triples]:
    """The same on these vocabularies; facts that have other ids are left out.

    Raises:
        TypeError: If one of them is not ``Triples``, or its ids are of another kind.
        ValueError: If one of them holds facts, but none on these vocabularies.
    """
    found = []
    for number, facts in enumerate(listed(known)):
        try:
            found.append(facts.reindex(entities, relations, unknown="drop"))
        except TypeError as error:
            raise TypeError(f"known[{number}]: {error}") from None
        if len(facts) and not len(found[-1]):
            raise ValueError(
                f"none of the {len(facts)} facts of known[{number}] has its head, relation and "
                f"tail among the {len(entities)} entities and {len(relations)} relations that were "
                "learned; is it another graph?"
            )
    return found


def check_kind(name: str, facts: Any) -> None:
    """Passes for ``Triples``.

    Raises:
        TypeError: If it is something else.
    """
    if not isinstance(facts, Triples):
        raise TypeError(
            f"{name} must be Triples, got {type(facts).__name__}; build them with "
            "Triples.from_frame(frame, head=..., relation=..., tail=...) or Triples.read(path)"
        )


def _moved(
    old: Vocabulary, new: Vocabulary, used: Int[Tensor, " u"], name: str, unknown: str
) -> Int[Tensor, " n"]:
    """Row in ``new`` of each row of ``old`` that is used; -1 elsewhere."""
    rows = torch.full((len(old),), -1)
    used = torch.unique(used)
    try:
        rows[used] = new.rows(old.take(used), unknown="raise" if unknown == "raise" else "mark")
    except UnknownIdError as error:
        raise UnknownIdError(f"{name}: {error}") from None
    return rows
