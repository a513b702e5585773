"""A folder into which files of events are put: which are there to be taken, each of them once."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from hyperrank.durable import new_file

SUFFIXES = (".parquet", ".csv", ".tsv", ".jsonl")
Mark = tuple[int, int, int]  # size, time of the last change, mode


@dataclass
class Watched:
    """Files of a folder, and what became of them.

    A file is ready once two looks in a row found it alike. Names that begin with a dot, and all
    without a suffix of ``SUFFIXES`` (``.part`` and ``.tmp`` so), are passed over.

    Attributes:
        folder: Where files are put.
        record: File that keeps what was done from one watch to the next; None for none. Whatever
            is lost with it is read again and found to have been taken.
        terms: What the files were read with; one that was refused is tried again under others.
        fresh: Whether what was done before is not looked at.
    """

    folder: Path
    record: Path | None = None
    terms: str = ""
    fresh: bool = False
    _done: dict[str, tuple[Mark, str | None]] = field(default_factory=dict)  # terms of a refusal
    _seen: dict[str, Mark] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.folder.is_dir():
            raise NotADirectoryError(f"there is no folder {self.folder} to watch; make it first")
        self.folder = self.folder.resolve()
        self._done = {} if self.fresh else self._recorded().get(str(self.folder), {})

    def ready(self) -> list[Path]:
        """New or changed files, alike since the last look: oldest first, then by name."""
        now = {path.name: mark for path in self.folder.iterdir() if (mark := _mark(path))}
        found = [
            name
            for name, mark in now.items()
            if self._seen.get(name) == mark and not self._is_done(name, mark)
        ]
        self._seen = now
        return [self.folder / name for name in sorted(found, key=lambda one: (now[one][1], one))]

    def taken(self, path: Path) -> None:
        """Passes over the file from now on, until it changes."""
        self._note(path, None)

    def refused(self, path: Path) -> None:
        """Passes over the file until it changes, or is read under other terms."""
        self._note(path, self.terms)

    def _is_done(self, name: str, mark: Mark) -> bool:
        before, terms = self._done.get(name, (None, None))
        return before == mark and terms in (None, self.terms)

    def _note(self, path: Path, terms: str | None) -> None:
        self._done[path.name] = self._seen[path.name], terms
        if self.record is None:
            return
        there = {name: one for name, one in self._done.items() if name in self._seen}
        whole = self._recorded() | {str(self.folder): there}
        with suppress(OSError), new_file(self.record) as fresh:  # it only saves work
            fresh.write_text(json.dumps(whole), encoding="utf-8")

    def _recorded(self) -> dict[str, dict[str, tuple[Mark, str | None]]]:
        """By folder and name; nothing where there is no record that can be read."""
        try:
            raw = json.loads(self.record.read_bytes()) if self.record else {}
            return {
                folder: {name: ((*mark,), terms) for name, (mark, terms) in files.items()}
                for folder, files in raw.items()
            }
        except (OSError, ValueError, TypeError, AttributeError):
            return {}


def record_beside(store: str | Path) -> Path:
    """Where what became of watched files is kept, beside the store."""
    target = Path(store).expanduser().resolve()
    return target.parent / f".{target.name}.watched"


def _mark(path: Path) -> Mark | None:
    """Changes where the file does; None for what is no file of events."""
    if path.name.startswith(".") or path.suffix.lower() not in SUFFIXES:
        return None
    try:
        found = path.stat()
        return (found.st_size, found.st_mtime_ns, found.st_mode) if path.is_file() else None
    except OSError:  # gone meanwhile
        return None
