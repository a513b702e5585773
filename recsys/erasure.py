"""People leave a store: the model at once, and where that is asked for its past too."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from hyperrank import generations, writers
from hyperrank.rendering import plain
from hyperrank.vocabulary import UnknownIdError, Vocabulary
from recsys.event_tables import from_table
from recsys.store_updates import as_it_was, updatable
from recsys.updatable import UpdatableRecommender

ArrowTable: TypeAlias = Any
CARRIED = ("latest", "drift", "verdict", "reason")  # of the report of the version before
REFIT_ONLY = (
    "only a refit removes their part in the vectors of items, which they helped to learn, and in "
    "the means that new users start from"
)
OUTSIDE = (
    "files that the events came from, rows put apart, exported lists and indices are not looked at"
)


@dataclass(frozen=True)
class Forgotten:
    """What became of people who were to be forgotten.

    Attributes:
        version: The version that stands now.
        users: How many were removed from the model.
        pairs: How many of their pairs went with them.
        unknown: How many of those named nothing in the store holds.
        batches: Batches of the log with events of theirs: rewritten, or still holding them.
        versions: Older versions that know them: deleted, or still holding them.
        erased: Whether these were rewritten and deleted.
    """

    version: str
    users: int
    pairs: int
    unknown: int
    batches: list[int]
    versions: list[str]
    erased: bool

    def told(self, dry_run: bool = False) -> str:
        """What was done, what still holds them, and what only a refit removes; a line each."""
        would = "would be " if dry_run else ""
        gone = f"{self.users:,} users {would}forgotten, {self.pairs:,} pairs {would}removed"
        said = [f"{self.version}: {gone}"]
        past = [f"versions {', '.join(self.versions)}"] if self.versions else []
        past += [f"{len(self.batches):,} batches of the log"] if self.batches else []
        if past and self.erased:
            said.append(f"{would}erased from {' and '.join(past)}")
        elif past:
            said.append(f"still in {' and '.join(past)}; --erase removes them there")
        if self.unknown:
            said.append(f"{self.unknown:,} users are not known here")
        return "\n".join([*said, REFIT_ONLY, OUTSIDE])


@dataclass(frozen=True, kw_only=True)
class Erasure:
    """The removal of people from a store, as it is asked for.

    The model without them becomes a new version. Older versions and the log of batches go on
    holding them until ``erase``, which rewrites these batches and deletes the models of these
    versions. Of a rewritten batch the number stays, and the digest that it arrived with, so that
    the same batch is not taken in again; of a deleted version the record, which names nobody.
    When it is killed it can be repeated.

    Attributes:
        erase: Whether the past is changed too.
        unknown: What becomes of people whom nothing holds: "raise" an error, or "skip" them.
        dry_run: Only tell: nothing is written and no lock taken.
        device: Replaces the model's.
        wait: Seconds to wait for another writer.
    """

    erase: bool = False
    unknown: Literal["raise", "skip"] = "raise"
    dry_run: bool = False
    device: str | None = None
    wait: float = 60.0

    def apply(
        self, folder: str | Path, people: Callable[[UpdatableRecommender], list[Any]]
    ) -> Forgotten:
        """Removes people from a store. After an error in the first step it is as it was.

        Args:
            folder: The store.
            people: Gives their ids, once it knows the model whose ids they should match.

        Raises:
            UnknownIdError: If nothing in the store holds one of them, and ``unknown`` says so.
            ValueError: If nobody is named, or nobody would be left.
            FileNotFoundError: If there is no store.
            StoreError: If it is damaged, or was written by a newer version of the code.
            TypeError: If the model cannot forget, or an id is of another kind.
            TimeoutError: If another process writes all that time.
            OSError: If the disk is full or the folder cannot be written.
        """
        writing = nullcontext() if self.dry_run else writers.writing(folder, self.wait)
        with writing as writer:
            model = updatable(folder, self.device)
            named = Vocabulary.from_ids(people(model))
            if not len(named):
                raise ValueError("nobody is named; give the ids of those to forget")
            if writer is not None and self.erase:
                writer.drop([])  # finishes what was killed
            before = generations.current(folder)
            known = (model.users_.rows(named.ids, unknown="mark") >= 0).nonzero().squeeze(1)
            users = named.take(known)
            traces = _Traces.of(folder, named, before.version)
            unknown = _left(named, known, *traces.rows)
            if unknown and self.unknown == "raise":
                raise UnknownIdError(_unknown(unknown, folder))
            pairs = model.forget(users) if len(users) else 0
            version = before.version
            if writer is not None and len(users):
                counts = {"users_forgotten": len(users), "pairs_removed": pairs}
                report = {k: before.report[k] for k in CARRIED if k in before.report} | counts
                with as_it_was(folder, before.version):
                    version = writer.amend(model, "forget", report).version
            past = [*traces.versions, *([before.version] if len(users) else [])]
            if writer is not None and self.erase:
                writer.drop(past)
                generations.log_of(folder).rewrite(lambda table: _without(table, named))
            return Forgotten(
                version, len(users), pairs, len(unknown), traces.batches, past, self.erase
            )


class _Traces(NamedTuple):
    """What holds people beside the current model, and which of them: rows of those named."""

    versions: list[str]
    batches: list[int]
    rows: list[Tensor]

    @classmethod
    def of(cls, folder: str | Path, named: Vocabulary, current: str) -> _Traces:
        traces = cls([], [], [])
        for made, pruned in generations.versions(folder):
            if pruned or made.version == current:
                continue
            rows = _rows_in_version(named, generations.place_of(folder, made.version))
            traces.versions.extend([made.version] if len(rows) else [])
            traces.rows.append(rows)
        log = generations.log_of(folder)
        for batch, table in log.read(range(1, len(log) + 1)):
            rows = _rows_in(named, from_table(table).user)
            traces.batches.extend([batch.number] if bool((rows >= 0).any()) else [])
            traces.rows.append(rows)
        return traces


def _rows_in_version(named: Vocabulary, place: Path) -> Tensor:
    """Rows of those whom a version knows; of all where that cannot be read."""
    try:
        rows = _rows_in(named, Vocabulary.from_arrow(pq.read_table(place / "users.parquet")).ids)
    except (OSError, ValueError, pa.ArrowException):
        return torch.arange(len(named))
    return rows[rows >= 0]


def _rows_in(named: Vocabulary, ids: Any) -> Tensor:
    """Row of each id among those named, -1 for others."""
    try:
        return named.rows(ids, unknown="mark")
    except TypeError:  # ids of another kind
        return torch.full((len(ids),), -1)


def _left(named: Vocabulary, *found: Tensor) -> list[Any]:
    """Those named whose row is nowhere."""
    left = torch.ones(len(named), dtype=torch.bool)
    rows = torch.cat(found)
    left[rows[rows >= 0]] = False
    return list(named.take(left.nonzero().squeeze(1)).tolist())


def _unknown(ids: list[Any], folder: str | Path) -> str:
    more = f" and {len(ids) - 1} more" if len(ids) > 1 else ""
    return (
        f"nothing in {folder} holds the user {plain(ids[0])!r}{more}; leave out whom nothing "
        "holds, or choose --unknown skip"
    )


def _without(table: ArrowTable, named: Vocabulary) -> ArrowTable:
    return table.filter(pa.array((_rows_in(named, from_table(table).user) < 0).numpy()))
