"""Who may change a store of versions, and how: one at a time, in steps that a kill cannot halve.

A version is completed in a hidden folder, brought to the disk, renamed, and only then pointed at. A
batch is logged before the version that takes it in. What a killed writer left, half a version or a
batch that no version has, is undone before the next change, which begins from the version that
stands. See ``hyperrank.generations`` for what is in a store.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from hyperrank import durable, store
from hyperrank.arrivals import ArrivalLog, ArrowTable, digest_of
from hyperrank.generations import (
    ENTRY,
    LOG,
    DamagedRecordError,
    Generation,
    current,
    described,
    enter,
    is_pruned,
    log_of,
    names_of,
    of_plain,
    place_of,
    places_of,
    read_entry,
    resolved,
    size_of,
)
from hyperrank.store import StoreError

KEPT = 5  # versions that stay when one is added: a reader has four additions' time


class Taken(NamedTuple):
    """What ``Writer.take_in`` made."""

    generation: Generation
    batch: int  # its number in the log


@contextmanager
def writing(folder: str | Path, wait: float | None = None) -> Iterator[Writer]:
    """The only writer of a store during the block; others wait.

    Args:
        folder: A store of versions or a plain model folder.
        wait: Seconds to wait for another writer, a minute unless told.

    Raises:
        FileNotFoundError: If there is no store.
        StoreError: If it is damaged, or was written by a newer version of the code.
        TimeoutError: If another process writes all that time.
        PermissionError: If it is in a folder that cannot be written.
    """
    target = resolved(folder)
    with suppress(DamagedRecordError):  # others can still be rolled back to
        current(target)  # before a lock file is made beside nothing
    with durable.sole_writer(target, wait), ExitStack() as held:
        durable.sweep(target)
        if names := names_of(target):
            _sweep(target, names[1])
        yield Writer(target, held)


def add(
    model: Any, folder: str | Path, report: Mapping[str, Any] | None = None, keep: int = KEPT
) -> Generation:
    """Makes a newly fitted model the current version of a store; it has taken in no batches.

    Raises:
        FileNotFoundError: If there is no store; ``store.save`` begins one.
        StoreError: As ``store.save``.
        TimeoutError: If another process writes for a minute.
    """
    with writing(folder) as writer:
        made = writer.add(model, report or {})
        writer.prune(keep)
        return made


def rollback(folder: str | Path, version: str | None = None) -> Generation:
    """Makes an older version the current one, the parent unless told; returns it.

    Its files are compared with their digests first. No version and no batch is lost: the next
    update goes on from here, and takes in again what it is given again.

    Raises:
        FileNotFoundError: If there is no store.
        StoreError: If there is no such version, or it was pruned or is damaged.
        TimeoutError: If another process writes for a minute.
    """
    with writing(folder) as writer:
        return writer.rollback(version)


def compact(folder: str | Path, keep: int = KEPT) -> dict[str, int]:
    """Prunes all but the ``keep`` newest versions and the current one; joins files of the log.

    Returns how many versions and how many files of the log went, and the bytes that are free now.

    Raises:
        FileNotFoundError: If there is no store.
        ValueError: If ``keep`` is less than 1.
        TimeoutError: If another process writes for a minute.
    """
    with writing(folder) as writer:
        before = size_of(folder)
        pruned, joined = writer.prune(keep), log_of(folder).merge()
        return {"pruned": len(pruned), "joined": joined, "freed": before - size_of(folder)}


@dataclass(frozen=True)
class Writer:
    """The right to change a store, inside ``writing``."""

    target: Path
    held: ExitStack  # until the end of ``writing``

    @property
    def generation(self) -> Generation:
        """The current version."""
        return current(self.target)

    def load(self, device: str | None = None) -> Any:
        """The model of the current version."""
        return store.load(self.target, device=device)

    def take_in(
        self, model: Any, table: ArrowTable, report: Mapping[str, Any], notes: Mapping[str, Any]
    ) -> Taken:
        """Logs a batch and makes ``model``, which has taken it in, the current version.

        Args:
            model: Fitted, and updated with the rows of the batch.
            table: The rows; see ``ArrivalLog`` for what may be in it.
            report: JSON values to keep with the version.
            notes: JSON values to keep with the batch.

        Raises:
            StoreError: If the model cannot be written; nothing has changed then.
            OSError: If the disk is full; nothing has changed then.
        """
        before, digest = self.generation, digest_of(table)
        with self._versioned() as root:
            log = ArrivalLog(root / LOG)
            free = [n for n in log.find(digest) if n not in before.batches]
            old = len(log)
            try:
                number = free[0] if free else log.append(table, digest, notes).number
                batches = before.batches | {number}
                return Taken(_complete(root, model, "update", batches, report), number)
            except BaseException:
                names = names_of(root)
                if names is not None and names[0] == before.version:
                    log.remove_after(old)
                raise

    def add(self, model: Any, report: Mapping[str, Any]) -> Generation:
        """Makes a newly fitted ``model`` the current version.

        Raises:
            StoreError: If it cannot be written; nothing has changed then.
            OSError: If the disk is full; nothing has changed then.
        """
        with self._versioned() as root:
            return _complete(root, model, "fit", (), report)

    def amend(self, model: Any, made_by: str, report: Mapping[str, Any]) -> Generation:
        """Makes a changed ``model`` the current version; it has taken in the same batches.

        Raises:
            StoreError: If it cannot be written; nothing has changed then.
            OSError: If the disk is full; nothing has changed then.
        """
        batches = self.generation.batches
        with self._versioned() as root:
            return _complete(root, model, made_by, batches, report)

    def rollback(self, version: str | None = None) -> Generation:
        """Makes an older version the current one; see ``rollback``."""
        chosen = version or self.generation.parent
        if chosen is None:
            raise StoreError(
                f"{self.generation.version} of {self.target} has no parent; name a version"
            )
        place, names = place_of(self.target, chosen), names_of(self.target)
        store.verify(place)
        if names is not None:
            durable.point(self.target, chosen, names[1])
        return self.generation

    def prune(self, keep: int) -> list[str]:
        """Deletes the models of all versions but the ``keep`` newest and the current one.

        Their records stay. Returns the versions that went.

        Raises:
            ValueError: If ``keep`` is less than 1.
        """
        if keep < 1:
            raise ValueError(f"keep must be at least 1, got {keep}")
        names = names_of(self.target)
        if names is None:
            return []
        return self.drop([place.name for place in places_of(self.target, names[1])[:-keep]])

    def drop(self, versions: Collection[str]) -> list[str]:
        """Deletes the models of these versions, not of the current one; returns which went.

        Their records stay.
        """
        names = names_of(self.target)
        if names is None:
            return []
        _sweep(self.target, names[1])
        gone = [
            place
            for place in places_of(self.target, names[1])
            if place.name in versions and place.name != names[0] and not is_pruned(place)
        ]
        for place in gone:
            _hollow(place)
        return [place.name for place in gone]

    @contextmanager
    def _versioned(self) -> Iterator[Path]:
        """Where to add a version.

        That is the store itself, or what takes the place of a plain model folder after the block.
        """
        if names_of(self.target) is not None:
            yield self.target
            return
        with durable.whole_folder(self.target) as root:
            plain, others = of_plain(self.target), store.strangers(self.target)
            first = root / plain.version
            first.mkdir()
            for path in self.target.iterdir():
                place = root if path in others else first
                copy = shutil.copytree if path.is_dir() else durable.link
                copy(path, place / path.name)
            enter(first, plain)
            (root / LOG).mkdir(exist_ok=True)
            durable.point(root, plain.version, plain.version)
            self.held.enter_context(durable.lock_inside(root))
            yield root


def _complete(
    root: Path, model: Any, made_by: str, batches: Collection[int], report: Mapping[str, Any]
) -> Generation:
    """Adds a version and points at it; after an error nothing of it is left."""
    names = names_of(root)
    assert names is not None
    version = f"v{int(names[1][1:]) + 1:06d}"
    try:
        with durable.whole_folder(root / version) as fresh:
            store.write(model, fresh, root / names[0] if made_by == "update" else None)
            made = replace(
                described(fresh, version),
                parent=names[0],
                made_by=made_by,
                taken=_runs(batches),
                log_position=len(ArrivalLog(root / LOG)),
                report=dict(report),
            )
            made = enter(fresh, made)
        durable.point(root, version, version)
    except BaseException:
        if names_of(root) == names:
            shutil.rmtree(root / version, ignore_errors=True)
        raise
    return made


def _sweep(root: Path, newest: str) -> None:
    """Undoes what a killed writer left: half a version, a batch that no version has.

    Raises:
        StoreError: If there is more than that, as when the pointer was altered.
    """
    for left in [*root.glob(".*.writing"), *(root / LOG).glob(".*.writing")]:
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    places = places_of(root, None)
    done, log = places_of(root, newest), ArrivalLog(root / LOG)
    with suppress(DamagedRecordError):
        position = read_entry(root / newest).log_position
        if max(len(places) - len(done), len(log) - position) > 1:
            raise StoreError(
                f"{root / durable.POINTER} names {newest} as the newest version, but there are "
                f"{places[-1].name} and batch {len(log)}, which came later; write two lines into "
                f"it: the version to read, and {places[-1].name}"
            )
        log.remove_after(position)
        log.remove_shadowed()
    for place in places[len(done) :]:
        shutil.rmtree(place)
    for place in done:
        held = os.listdir(place)  # noqa: PTH208  # of thousands
        if store.MANIFEST not in held and len(held) > 1:
            _hollow(place)


def _hollow(place: Path) -> None:
    """Deletes the model; first its manifest, so that nobody takes the rest for one.

    What cannot be deleted now, as on a network drive while it is read, is left for the next time.
    """
    (place / store.MANIFEST).unlink(missing_ok=True)
    durable.sync(place)
    for path in place.iterdir():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name != ENTRY:
            with suppress(OSError):
                path.unlink()


def _runs(numbers: Collection[int]) -> tuple[tuple[int, int], ...]:
    """Consecutive numbers as first and last."""
    runs: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if runs and runs[-1][1] == number - 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return tuple(runs)
