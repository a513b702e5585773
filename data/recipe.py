"""What a data set is, who published it, and how its files become tables."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa

Tables = dict[str, pa.Table]


@dataclass(frozen=True)
class Checksum:
    """A digest stated by the publisher."""

    kind: Literal["md5", "sha256"]
    hexdigest: str


@dataclass(frozen=True)
class Source:
    """Where the publisher keeps the files, and what makes tables of them.

    Attributes:
        urls: Address of each file, by the name under which it is stored while it is converted.
        tables: Makes the tables, by name, from the stored files.
        checksums: The publisher's digests, by the same names. A file without one is not verified
            against its publisher; its SHA-256 is recorded when it first comes, and a later copy
            must equal it.
        same_edition: True where the publisher's file holds the very events that the recipe counts,
            so that the converted tables are checked against its sizes (and digests of pairs).
    """

    urls: Mapping[str, str]
    tables: Callable[[Mapping[str, Path]], Tables]
    checksums: Mapping[str, Checksum] = field(default_factory=dict)
    same_edition: bool = True


@dataclass(frozen=True, kw_only=True)
class DataSet(ABC):
    """What every data set has.

    Attributes:
        name: Its name here and the name of its folder.
        publisher: Who made it, and the page to read and to cite.
        licence: Terms as known; no legal advice.
        note: What to know before using it.
        source: Where it is published, or None where no stable address is known.
        digests: SHA-256 of the rows of each part, as ``digest`` computes it.
        package: Module of an installed package that carries the data, or None.
        read: Reads one table from that package.
    """

    family: ClassVar[str]  # folder of HYPERRANK_DATA that it may stand in
    reader: ClassVar[str]  # what reads other files of its kind
    columns: ClassVar[tuple[str, ...]]  # of each part
    text: ClassVar[str]  # what a part holds as a .txt file

    name: str
    publisher: str
    licence: str
    note: str = ""
    source: Source | None = None
    digests: Mapping[str, str] = field(default_factory=dict)
    package: str | None = None
    read: Callable[[str], pa.Table] | None = None

    @property
    @abstractmethod
    def parts(self) -> tuple[str, ...]:
        """Tables that must be there."""

    @property
    @abstractmethod
    def sizes(self) -> dict[str, int]:
        """How many there are of what."""

    @abstractmethod
    def counted(self, parts: Sequence[pa.Table]) -> dict[str, int]:
        """The same of these tables."""

    @abstractmethod
    def digest(self, part: pa.Table) -> str:
        """SHA-256 of the rows, whatever their order, other columns or the file format."""


@dataclass(frozen=True, kw_only=True)
class Recipe(DataSet):
    """Interactions of users and items.

    Attributes:
        kind: "log" (one table of events) or "split" (the published train and test parts).
        users: Distinct users, over both parts of a split.
        items: Distinct items, likewise.
        events: Rows, over both parts of a split.
        time: Column of times or positions in time; the first that is there counts.
        weight: Column of weights, or None.
    """

    family: ClassVar[str] = "recsys"
    reader: ClassVar[str] = "Interactions.read"
    columns: ClassVar[tuple[str, ...]] = ("user", "item")
    text: ClassVar[str] = "one user and its items per line"

    kind: Literal["log", "split"]
    users: int
    items: int
    events: int
    time: tuple[str, ...] = ()
    weight: str | None = None

    @property
    def parts(self) -> tuple[str, ...]:
        """Tables that must be there."""
        return ("train", "test") if self.kind == "split" else ("interactions",)

    @property
    def sizes(self) -> dict[str, int]:
        """Users, items and events."""
        return {"users": self.users, "items": self.items, "events": self.events}

    def counted(self, parts: Sequence[pa.Table]) -> dict[str, int]:
        """Users, items and events of these tables."""
        every = pa.concat_tables([part.select(["user", "item"]) for part in parts])
        users, items = (len(every[name].unique()) for name in ("user", "item"))
        return {"users": users, "items": items, "events": len(every)}

    def digest(self, part: pa.Table) -> str:
        """SHA-256 of the sorted (user, item) pairs of integer ids below 2**31, repeats kept."""
        user, item = (part.column(name).to_numpy().astype(np.int64) for name in ("user", "item"))
        return hashlib.sha256(np.sort(user << 32 | item).astype("<i8").tobytes()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Graph(DataSet):
    """A knowledge graph in its published train, validation and test parts.

    Attributes:
        entities: Distinct heads and tails over all parts.
        relations: Distinct relations over all parts.
        facts: Rows of train, valid and test.
    """

    family: ClassVar[str] = "kg"
    reader: ClassVar[str] = "Triples.read_parts"
    columns: ClassVar[tuple[str, ...]] = ("head", "relation", "tail")
    text: ClassVar[str] = "head, relation and tail between tabs"
    kind: ClassVar[str] = "graph"
    parts: ClassVar[tuple[str, ...]] = ("train", "valid", "test")

    entities: int
    relations: int
    facts: tuple[int, int, int]

    @property
    def sizes(self) -> dict[str, int]:
        """Entities, relations, facts of all parts and of each."""
        facts = {"facts": sum(self.facts), **dict(zip(self.parts, self.facts, strict=True))}
        return {"entities": self.entities, "relations": self.relations, **facts}

    def counted(self, parts: Sequence[pa.Table]) -> dict[str, int]:
        """The same of these tables."""
        every = pa.concat_tables([part.select(self.columns) for part in parts])
        ends = pa.chunked_array([*every["head"].chunks, *every["tail"].chunks])
        found = {"entities": len(ends.unique()), "relations": len(every["relation"].unique())}
        return {**found, "facts": len(every), **dict(zip(self.parts, map(len, parts), strict=True))}

    def digest(self, part: pa.Table) -> str:
        """SHA-256 of the sorted lines of head, relation and tail between tabs."""
        columns = [part.column(name).cast(pa.string()).to_pylist() for name in self.columns]
        lines = sorted("\t".join(row) + "\n" for row in zip(*columns, strict=True))
        return hashlib.sha256("".join(lines).encode()).hexdigest()


def check_tables(recipe: DataSet, tables: Tables) -> None:
    """Nothing, when the tables are those that the recipe describes.

    Raises:
        ValueError: If a table is missing, or sizes or rows differ.
    """
    missing = [part for part in recipe.parts if part not in tables]
    if missing:
        raise ValueError(f"{recipe.name}: the publisher's files gave no table {missing}")
    advice = (
        f"results would not compare. Put the known files into HYPERRANK_DATA, or read the new ones "
        f"with {recipe.reader}"
    )
    found = recipe.counted([tables[part] for part in recipe.parts])
    if found != recipe.sizes:
        raise ValueError(
            f"{recipe.name}: the publisher's files hold {_said(found)}, but {_said(recipe.sizes)} "
            f"are known for this data set; the publisher has changed it, so {advice}"
        )
    for part, digest in recipe.digests.items():
        if recipe.digest(tables[part]) != digest:
            raise ValueError(
                f"{recipe.name}: the rows of {part} differ from the known ones although their "
                f"number is the same; {advice}"
            )


def _said(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{number:,} {name}" for name, number in sizes.items())
