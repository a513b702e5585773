"""Updates of saved models: events go in, a version comes out, once and whole."""

from __future__ import annotations

import errno
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from hyperrank import generations, store, writers
from hyperrank.devices import seeded
from recsys.event_tables import to_table
from recsys.interactions import Interactions
from recsys.updatable import UpdatableRecommender
from recsys.updates import RefitRule, UpdateReport

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
        taken: False where an equal batch was in already, so that nothing was done.
        report: What ``partial_fit`` reported; None where nothing was done.
        check: The comparison that was asked for.
        late: Events older than the latest one of the batches before.
        pruned: Versions whose models were deleted.
    """

    version: str
    batch: int | None
    taken: bool
    report: UpdateReport | None = None
    check: Check | None = None
    late: int = 0
    pruned: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Update:
    """An update of a saved model, as it is asked for.

    Attributes:
        rule: When the verdict is "refit".
        check: How many touched users to solve again exactly, for comparison.
        keep: Versions whose models are kept, the new one included.
        again: Take in also a batch that has been taken in.
        dry_run: Only try: nothing is written and no lock taken.
        device: Replaces the model's.
        wait: Seconds to wait for another writer.
        notes: Kept with the batch.
        stage: Told what is done next.
    """

    rule: RefitRule = field(default_factory=RefitRule)
    check: int = 0
    keep: int = writers.KEPT
    again: bool = False
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
            model = store.load(target, device=self.device)
            if not isinstance(model, UpdatableRecommender):
                raise TypeError(
                    f"{folder} holds a {type(model).__name__}, which cannot be updated; fit it "
                    "again on all events, or use UltraGCN"
                )
            self.stage("read")
            log = events(model)
            table, before = to_table(log), generations.current(target)
            there = None if self.again else generations.taken_as(target, table)
            if there is not None:
                return Outcome(before.version, there, taken=False)
            late, latest = _lateness(log, before.report.get("latest"))
            self.stage("solve")
            report = model.partial_fit(log, self.rule)
            self.stage("check")
            check = check_users(model, log, self.check) if self.check else None
            if writer is None:
                return Outcome(before.version, None, True, report, check, late)
            self.stage("write")
            kept = report.to_dict() | {"late": late, "latest": latest}
            try:
                made = writer.take_in(model, table, kept, self.notes)
            except OSError as error:
                if error.errno not in NO_ROOM or writer.generation != before:
                    raise
                raise OSError(
                    f"no room on the disk of {folder} ({error.strerror}); it is as it was, at "
                    f"{before.version}: make room, or run recsys compact"
                ) from error
            version, pruned = made.generation.version, []
            try:
                pruned = writer.prune(self.keep)
            except OSError as error:
                warnings.warn(
                    f"{version} was made, but older versions could not be pruned ({error}); run "
                    "recsys compact",
                    stacklevel=2,
                )
            return Outcome(version, made.batch, True, report, check, late, pruned)


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
    exact = model._folded(model._record(), rows, "exact").vectors
    found = tables.queries[rows]
    apart = (found - exact).norm(dim=1) / (1 + exact.norm(dim=1))
    scores = ((found - exact) @ tables.candidates.T).abs()
    return Check(len(rows), float(apart.max()), float(scores.max()))


def _lateness(log: Interactions, before: Any) -> tuple[int, Any]:
    """How many events are older than the latest before, and the latest now with its unit."""
    if log.events.time is None:
        return 0, before
    times = log.events.time.numpy()  # which compares whole numbers as such
    latest = [times.max().item(), log.time_unit]
    if before is None:
        return 0, latest
    if before[1] != log.time_unit:
        kinds = ["dates" if unit else "plain numbers" for unit in (log.time_unit, before[1])]
        raise ValueError(
            f"times are {kinds[0]} here and were {kinds[1]} before; convert them to one type"
        )
    late = int((times < before[0]).sum())
    if late:
        warnings.warn(
            f"{late} of {len(log)} events are older than the latest of the batches before; they "
            "are taken in all the same",
            stacklevel=2,
        )
    return late, latest if latest[0] > before[0] else before
