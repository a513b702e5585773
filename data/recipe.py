"""What a data set is, who published it, and how its files become tables."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

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


@dataclass(frozen=True)
class Recipe:
    """One data set.

    Attributes:
        name: Its name here and the name of its folder.
        kind: "log" (one table of events) or "split" (the published train and test parts).
        users: Distinct users, over both parts of a split.
        items: Distinct items, likewise.
        events: Rows, over both parts of a split.
        publisher: Who made it, and the page to read and to cite.
        licence: Terms as known; no legal advice.
        note: What to know before using it.
        time: Column of times or positions in time; the first that is there counts.
        weight: Column of weights, or None.
        source: Where it is published, or None where no stable address is known.
        digests: SHA-256 of the pairs of each part, as ``pair_digest`` computes it.
        package: Module of an installed package that carries the data, or None.
        read: Reads one table from that package.
    """

    name: str
    kind: Literal["log", "split"]
    users: int
    items: int
    events: int
    publisher: str
    licence: str
    note: str = ""
    time: tuple[str, ...] = ()
    weight: str | None = None
    source: Source | None = None
    digests: Mapping[str, str] = field(default_factory=dict)
    package: str | None = None
    read: Callable[[str], pa.Table] | None = None

    @property
    def parts(self) -> tuple[str, ...]:
        """Tables that must be there."""
        return ("train", "test") if self.kind == "split" else ("interactions",)


def pair_digest(table: pa.Table) -> str:
    """SHA-256 of the sorted (user, item) pairs of integer ids below 2**31, repeats kept.

    It depends on the pairs alone: not on row order, other columns or the file format.
    """
    user, item = (table.column(name).to_numpy().astype(np.int64) for name in ("user", "item"))
    return hashlib.sha256(np.sort(user << 32 | item).astype("<i8").tobytes()).hexdigest()


def check_tables(recipe: Recipe, tables: Tables) -> None:
    """Nothing, when the tables are those that the recipe describes.

    Raises:
        ValueError: If a table is missing, or sizes or pairs differ.
    """
    missing = [part for part in recipe.parts if part not in tables]
    if missing:
        raise ValueError(f"{recipe.name}: the publisher's files gave no table {missing}")
    parts = [tables[part] for part in recipe.parts]
    every = pa.concat_tables([part.select(["user", "item"]) for part in parts])
    found = (len(every["user"].unique()), len(every["item"].unique()), len(every))
    stated = (recipe.users, recipe.items, recipe.events)
    if found != stated:
        raise ValueError(
            f"{recipe.name}: the publisher's files hold {found} users, items and events, but "
            f"{stated} are known for this data set; the publisher has changed it, so results would "
            "not compare. Put the known files into HYPERRANK_DATA, or read the new ones with "
            "Interactions.read"
        )
    for part, digest in recipe.digests.items():
        if pair_digest(tables[part]) != digest:
            raise ValueError(
                f"{recipe.name}: the pairs of {part} differ from the known ones although their "
                "number is the same; results would not compare. Put the known files into "
                "HYPERRANK_DATA, or read the new ones with Interactions.read"
            )
