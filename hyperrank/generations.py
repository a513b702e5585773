"""Versions of a saved model in one folder, and the batches that made one from the other.

A store of versions is a folder with

- ``v000001``, ``v000002``, ...: each a model folder as ``hyperrank.store`` writes it, and beside
  the model ``generation.json``: parent, batches taken in, checksums, what made it and its report;
- ``CURRENT``: the version that readers load, and the newest that was completed;
- ``log``: the batches that arrived, see ``hyperrank.arrivals``.

``store.load(folder)`` reads the current version; a plain model folder is a store of one version and
becomes a folder as above when a second is added. A version is complete, and on the disk, before
``CURRENT`` moves to it, and is never changed, so readers need no lock and never see half of one;
they may take as long as the versions that are kept last. Who changes a store is in
``hyperrank.writers``.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from hyperrank import durable, store
from hyperrank.arrivals import ArrivalLog, ArrowTable, digest_of
from hyperrank.store import StoreError

FORMAT = 1
ENTRY, LOG = "generation.json", "log"
NAME = re.compile(r"v\d{6,}")


class DamagedRecordError(StoreError):
    """A version whose record cannot be read; the others are none the worse."""


@dataclass(frozen=True)
class Generation:
    """What a version says about itself."""

    format: int
    version: str
    parent: str | None
    made_by: str  # "fit" or "update"
    taken: tuple[tuple[int, int], ...]  # first and last number of each run of batches in it
    log_position: int  # the last batch that was logged when it was made, in it or not
    model: str  # digest of the model folder
    config: str  # SHA-256 of the class and its parameters
    report: dict[str, Any]
    written: dict[str, str]  # when, and by which versions of the code
    digest: str

    @property
    def batches(self) -> set[int]:
        """Numbers of the batches that this version has taken in."""
        return {number for first, last in self.taken for number in range(first, last + 1)}


def is_versioned(folder: str | Path) -> bool:
    """Whether the folder is a store of versions; a plain model folder is not."""
    return (durable.standing(resolved(folder)) / durable.POINTER).exists()


def place_of(folder: str | Path, version: str) -> Path:
    """The model folder of a version, for ``store.load``.

    Raises:
        FileNotFoundError: If there is no store.
        StoreError: If there is no such version, or it was pruned.
    """
    target = durable.standing(resolved(folder))
    names = names_of(target)
    places = [target / "v000001"] if names is None else places_of(target, names[1])
    kept = [place.name for place in places if names is None or not is_pruned(place)]
    if target / version not in places:
        raise StoreError(f"{folder} has no version {version}; it has {', '.join(kept)}")
    if version not in kept:
        raise StoreError(f"{version} of {folder} was pruned; only its record is left")
    return target if names is None else target / read_entry(target / version).version


def current(folder: str | Path) -> Generation:
    """The version that readers load.

    Raises:
        FileNotFoundError: If there is no store.
        StoreError: If it is damaged, or was written by a newer version of the code.
    """
    target = durable.standing(resolved(folder))
    names = names_of(target)
    return of_plain(target) if names is None else read_entry(target / names[0])


def versions(folder: str | Path) -> list[tuple[Generation, bool]]:
    """All versions that were completed, oldest first, and whether only the record is left.

    Raises:
        FileNotFoundError: If there is no store.
        StoreError: If one is damaged, or was written by a newer version of the code.
    """
    target = durable.standing(resolved(folder))
    names = names_of(target)
    if names is None:
        return [(of_plain(target), False)]
    return [(read_entry(place), is_pruned(place)) for place in places_of(target, names[1])]


def log_of(folder: str | Path) -> ArrivalLog:
    """The batches that arrived."""
    return ArrivalLog(durable.standing(resolved(folder)) / LOG)


def taken_as(folder: str | Path, table: ArrowTable) -> int | None:
    """The batch of the current version with these rows, in any order; None if it has none."""
    among = current(folder).batches
    return next((n for n in log_of(folder).find(digest_of(table)) if n in among), None)


def verify(folder: str | Path) -> list[str]:
    """What is wrong with a store, a sentence each: every file is compared with its digest.

    Raises:
        FileNotFoundError: If there is no store.
    """
    target = durable.standing(resolved(folder))
    try:
        names = names_of(target)
        if names is None:
            store.verify(target)
            return []
    except StoreError as error:
        return [str(error)]
    wrong, places, log = list[str](), places_of(target, names[1]), log_of(target)
    if target / names[0] not in places or is_pruned(target / names[0]):
        wrong.append(f"{target / durable.POINTER} names {names[0]}, which is not there")
    numbers = {int(place.name[1:]) for place in places}
    lost = sorted({*range(1, int(names[1][1:]))} - numbers)
    wrong += [f"{target} lacks v{number:06d}, or its record" for number in lost]
    batches = len(log)
    for place in places:
        try:
            wrong += [f"{place} {said}" for said in _mistakes(place, batches)]
        except (StoreError, OSError) as error:
            if not is_pruned(place) or isinstance(error, DamagedRecordError):
                wrong.append(str(error))  # not pruned while it was read
    return wrong + log.verify()


def _mistakes(place: Path, batches: int) -> Iterator[str]:
    entry = read_entry(place)
    if entry.log_position > batches:
        yield f"knows batch {entry.log_position}, which the log lacks"
    if is_pruned(place):
        return
    manifest = store.verify(place)
    if (manifest.digest, manifest.written) != (entry.model, entry.written):
        yield f"holds another model than its {ENTRY} says"
    for path in store.strangers(place):
        if path.name != ENTRY and not path.name.startswith("."):
            yield f"holds {path.name}, which is not of it"


def size_of(folder: str | Path) -> int:
    """Bytes of all files in a store, of those with several names once."""
    sizes = {}
    for path in durable.standing(resolved(folder)).rglob("*"):
        with suppress(FileNotFoundError):  # pruned meanwhile
            if path.is_file():
                found = path.stat()
                sizes[found.st_dev, found.st_ino] = found.st_size
    return sum(sizes.values())


# parts, for writers too


def resolved(folder: str | Path) -> Path:
    """The full path."""
    return Path(folder).expanduser().resolve()


def names_of(target: Path) -> tuple[str, str] | None:
    """The current and the newest version; None for a plain model folder."""
    try:
        names = durable.pointed(target)
        if names is not None and not all(map(NAME.fullmatch, names)):
            raise ValueError(f"{target / durable.POINTER} names {names}, which are no versions")
    except ValueError as error:
        raise StoreError(str(error)) from None
    return names


def places_of(target: Path, newest: str | None) -> list[Path]:
    """Folders of the versions up to the newest that was completed, or of all, oldest first."""
    numbers = {int(p.name[1:]): p for p in target.iterdir() if NAME.fullmatch(p.name)}
    last = max(numbers, default=0) if newest is None else int(newest[1:])
    return [numbers[n] for n in sorted(numbers) if n <= last]


def is_pruned(place: Path) -> bool:
    """Whether only the record of a version is left."""
    return not os.path.exists(f"{place}/{store.MANIFEST}")  # noqa: PTH110  # of thousands


def of_plain(target: Path) -> Generation:
    """A plain model folder as a version."""
    return _signed(described(target, "v000001"))


def described(place: Path, version: str) -> Generation:
    """The record of a fitted model in ``place``, not signed."""
    manifest = store.describe(place)
    params = store.encode(manifest.params, "parameters")
    config = store.digest_of({"name": manifest.name, "params": params})
    return Generation(
        FORMAT, version, None, "fit", (), 0, manifest.digest, config, {}, dict(manifest.written), ""
    )


def _signed(made: Generation) -> Generation:
    return replace(made, digest=store.digest_of(_body(made)))


def _body(made: Generation) -> dict[str, Any]:
    raw = asdict(made)
    raw["taken"] = [list(run) for run in made.taken]
    raw["report"] = store.encode(made.report, "report")
    del raw["digest"]
    return raw


def enter(place: Path, made: Generation) -> Generation:
    """Writes a record into the folder of its version, signed."""
    signed = _signed(made)
    raw = _body(signed) | {"digest": signed.digest}
    (place / ENTRY).write_text(json.dumps(raw, indent=1), encoding="utf-8")
    return signed


def read_entry(place: Path) -> Generation:
    """The record in the folder of a version.

    Raises:
        DamagedRecordError: If it is damaged.
        StoreError: If it was written by a newer version of the code.
    """
    damaged = DamagedRecordError(
        f"{place / ENTRY} is damaged; roll back to another version, by its name"
    )
    try:
        raw = json.loads((place / ENTRY).read_bytes())
        number = raw["format"]
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
        raise damaged from None
    if not isinstance(number, int) or number > FORMAT:
        raise StoreError(
            f"{place} is written in format {number} of versions, but this version of hyperrank "
            f"reads up to {FORMAT}; upgrade hyperrank"
        )
    body = {key: value for key, value in raw.items() if key != "digest"}
    if {*raw} != {f.name for f in fields(Generation)} or store.digest_of(body) != raw["digest"]:
        raise damaged
    raw["taken"] = tuple((first, last) for first, last in raw["taken"])
    raw["report"] = store.decode(raw["report"])
    return Generation(**raw)
