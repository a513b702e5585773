"""Updates of saved models: events go in, a version comes out, once and whole."""

from __future__ import annotations

import errno
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from hyperrank import generations, store, writers
from hyperrank.arrivals import ARRIVED, digest_of
from hyperrank.devices import seeded
from recsys.event_tables import to_table
from recsys.interactions import Interactions
from recsys.lateness import OnLate, timely
from recsys.updatable import UpdatableRecommender
from recsys.updates import RefitRule, UpdateReport
from recsys.vector_delta import new_delta, write_delta

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
Stage = Callable[[str], None]


def _silent(stage: str) -> None:
    del stage


@dataclass(frozen=True)
class Check:
    """How touched users compare with what an exact solution from elsewhere gives.

    Attributes:
        users: How many were looked at.
        vector: Largest distance of a vector, over one plus its length.
        score: Largest difference of a score over all their items.
    """

    users: int
    vector: float
    score: float


@dataclass(frozen=True)
class Outcome:
    """What came of an update.

    Attributes:
        version: The version that stands now.
        batch: Number of the batch in the log: of this one, or of the equal one taken in before;
            None for one that was only tried.
        taken: False where nothing was done: an equal batch was in already, or all events were late
            and are left out.
        report: What ``partial_fit`` reported; None where nothing was done.
        check: The comparison that was asked for.
        late: Events older than the latest one of the batches before.
        pruned: Versions whose models were deleted.
        delta: How many vectors were written; None where none were to be.
    """

    version: str
    batch: int | None
    taken: bool
    report: UpdateReport | None = None
    check: Check | None = None
    late: int = 0
    pruned: list[str] = field(default_factory=list)
    delta: int | None = None


@dataclass(frozen=True, kw_only=True)
class Update:
    """An update of a saved model, as it is asked for.

    Attributes:
        rule: When the verdict is "refit".
        sweeps: Rounds over all that was touched since the fit, see ``partial_fit``.
        check: How many touched users to solve again exactly, for comparison.
        keep: Versions whose models are kept, the new one included.
        again: Take in also a batch that has been taken in.
        late: What becomes of events older than the latest of the batches before, see ``timely``.
        delta: File for the vectors that change, see ``vector_delta``. It is written also for a
            batch that was taken in last, so that an update that was killed can be repeated.
        dry_run: Only try: nothing is written and no lock taken.
        device: Replaces the model's.
        wait: Seconds to wait for another writer.
        notes: Kept with the batch.
        stage: Told what is done next.
    """

    rule: RefitRule = field(default_factory=RefitRule)
    sweeps: int = 0
    check: int = 0
    keep: int = writers.KEPT
    again: bool = False
    late: OnLate = "take"
    delta: str | Path | None = None
    dry_run: bool = False
    device: str | None = None
    wait: float = 60.0
    notes: dict[str, Any] = field(default_factory=dict)
    stage: Stage = _silent

    def apply(
        self, folder: str | Path, events: Callable[[UpdatableRecommender], Interactions]
    ) -> Outcome:
        """Takes new events into the model of a store, as a new version of it.

        A plain model folder becomes a store of versions by this. A batch that the current version
        has, rows in whatever order, is left out. After an error the store is as it was.

        Args:
            folder: The store.
            events: Gives the new events, once it knows the model whose ids they should match.

        Raises:
            FileNotFoundError: If there is no store.
            StoreError: If it is damaged, or was written by a newer version of the code.
            TypeError: If the model cannot be updated; as ``partial_fit``.
            ValueError: As ``partial_fit``, and if times are of another kind than before.
            TimeoutError: If another process writes all that time.
            OSError: If the disk is full or the folder cannot be written.
        """
        target = generations.resolved(folder)  # once: links and the working folder may change
        if self.keep < 2:
            raise ValueError(f"keep must be at least 2, got {self.keep}; readers need a moment")
        writing = nullcontext() if self.dry_run else writers.writing(target, self.wait)
        with writing as writer:
            self.stage("load")
            model = updatable(target, self.device)
            self.stage("read")
            log = events(model)
            table, before = to_table(log), generations.current(target)
            there = None if self.again else generations.taken_as(target, table)
            if there is not None:
                delta = None if writer is None else self._delta_again(target, there, model)
                return Outcome(before.version, there, taken=False, delta=delta)
            found = timely(log, before.report.get("latest"), self.late)
            if found.log is None:
                return Outcome(before.version, None, taken=False, late=found.late)
            self.stage("solve")
            tables = model._factors()
            report = model.partial_fit(found.log, self.rule, sweeps=self.sweeps)
            self.stage("check")
            check = check_users(model, found.log, self.check) if self.check else None
            if writer is None:
                return Outcome(before.version, None, True, report, check, found.late)
            self.stage("write")
            kept = report.to_dict() | {"late": found.late, "latest": found.latest}
            notes = dict(self.notes)
            if found.log is not log:
                notes[ARRIVED], table = digest_of(table), to_table(found.log)
            path = self.delta
            with (
                nullcontext() if path is None else new_delta(path, tables, model) as delta,
                as_it_was(folder, before.version),
            ):
                made = writer.take_in(model, table, kept, notes)
            version, pruned = made.generation.version, []
            try:
                pruned = writer.prune(self.keep)
            except OSError as error:
                warnings.warn(
                    f"{version} was made, but older versions could not be pruned ({error}); run "
                    "recsys compact",
                    stacklevel=2,
                )
            return Outcome(version, made.batch, True, report, check, found.late, pruned, delta)

    def _delta_again(
        self, folder: str | Path, batch: int, model: UpdatableRecommender
    ) -> int | None:
        """Writes the vectors that this batch changed, if it came last and its parent is kept."""
        made = generations.current(folder)
        kept = {
            found.version: found for found, pruned in generations.versions(folder) if not pruned
        }
        parent = kept.get(made.parent or "")
        if self.delta is None or parent is None or made.batches - parent.batches != {batch}:
            return None
        old = store.load(generations.place_of(folder, parent.version), device=self.device)
        return write_delta(self.delta, old._factors(), model)


def updatable(folder: str | Path, device: str | None = None) -> UpdatableRecommender:
    """The model of a store, if it takes updates.

    Raises:
        FileNotFoundError: If there is no store.
        StoreError: If it is damaged, or was written by a newer version of the code.
        TypeError: If the model cannot be updated.
    """
    model = store.load(folder, device=device)
    if not isinstance(model, UpdatableRecommender):
        raise TypeError(
            f"{folder} holds a {type(model).__name__}, which cannot be updated; fit it "
            "again on all events, or use UltraGCN"
        )
    model.check_updatable()
    return model


@contextmanager
def as_it_was(folder: str | Path, version: str) -> Iterator[None]:
    """Says of an error for want of room that the store stands as before."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM or generations.current(folder).version != version:
            raise
        raise OSError(
            f"no room on the disk of {folder} ({os.strerror(error.errno)}); it is as it was, at "
            f"{version}: make room, or run recsys compact"
        ) from error


@torch.no_grad()
def check_users(model: UpdatableRecommender, log: Interactions, n: int) -> Check:
    """Solves ``n`` random users of a log that was taken in exactly, from elsewhere, and compares.

    Raises:
        ValueError: If ``n`` is less than 1.
    """
    if n < 1:
        raise ValueError(f"expected at least 1 user to check, got {n}")
    tables = model._factors()
    rows = model.users_.rows(log.users.ids).to(tables.queries.device)
    order = torch.randperm(len(rows), generator=seeded(0, rows.device), device=rows.device)
    rows = rows[order[:n]]
    exact = model._user_vectors(model._folded(model._record(), rows, "exact").vectors)
    found = tables.queries[rows]
    apart = (found - exact).norm(dim=1) / (1 + exact.norm(dim=1))
    scores = ((found - exact) @ tables.candidates.T).abs()
    return Check(len(rows), float(apart.max()), float(scores.max()))
