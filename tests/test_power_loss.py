"""What the disk holds when the power fails at any moment of a change to a store.

Simulated in the process: file contents last until the next power failure from their ``fsync`` on;
names from the ``fsync`` of their folder on, or at once, as file systems differ. Both are rebuilt
after every call that changes or syncs something, and the store found there must be whole, old or
new, and take the next update.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hyperrank import durable, generations, store, writers
from tests.test_generations import (  # noqa: F401  # fixtures too
    _counter_may_be_saved,
    batch,
    plain,
    shop,
    take,
    total,
)

CHANGES = ("rename", "replace", "link", "unlink", "mkdir", "rmdir")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs numbers of files")


class Disk:
    """Contents and names below a folder that would outlast a power failure."""

    def __init__(self, root: Path) -> None:
        self.root, self.contents, self.names = root, dict[int, bytes](), dict[int, dict[str, int]]()
        for path in [root, *root.rglob("*")]:
            self.synced(path)

    def synced(self, path: Path) -> None:
        if path.is_dir():
            self.names[path.stat().st_ino] = _names(path)
        else:
            self.contents[path.stat().st_ino] = path.read_bytes()

    def rebuild(self, target: Path, *, names_at_once: bool) -> None:
        """The tree after a power failure; files whose content is not there are empty."""
        now = {path.stat().st_ino: path for path in [self.root, *self.root.rglob("*")]}
        self._copy(self.root.stat().st_ino, target, now if names_at_once else {})

    def _copy(self, number: int, target: Path, now: dict[int, Path]) -> None:
        there = now.get(number)
        if number in self.names or (there is not None and there.is_dir()):
            target.mkdir()
            held = self.names.get(number, {}) if there is None else _names(there)
            for name, inner in held.items():
                self._copy(inner, target / name, now)
        else:
            target.write_bytes(self.contents.get(number, b""))


def _names(folder: Path) -> dict[str, int]:
    return {path.name: path.lstat().st_ino for path in folder.iterdir()}


@contextmanager
def watched(
    disk: Disk, monkeypatch: pytest.MonkeyPatch, look: Callable[[], None]
) -> Iterator[None]:
    """Calls ``look`` after each call that changes names or syncs something below the disk."""

    def after(real: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            found = real(*arguments, **options)
            look()
            return found

        return wrapped

    def synced(path: Path) -> None:
        if path == disk.root or disk.root in path.parents:
            disk.synced(path)

    with monkeypatch.context() as patched:
        for name in CHANGES:
            patched.setattr(os, name, after(getattr(os, name)))
        patched.setattr(durable, "_exchange", after(durable._exchange))
        patched.setattr(durable, "sync", after(synced))
        patched.setattr(writers.durable, "sync", durable.sync)
        patched.setattr("hyperrank.arrivals.sync", durable.sync)
        yield


@pytest.mark.parametrize("change", ["first update", "update", "prune", "compact", "save"])
def test_a_power_failure_at_any_step(
    change: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = "plain" if change in ("first update", "save") else "shop"
    found = request.getfixturevalue(name)
    root = tmp_path / "disk"
    root.mkdir()
    folder = root / "m"
    shutil.move(found, folder)
    if change == "prune":
        take(folder, 4)
    before, steps, looking = total(folder), 0, [False]
    disk = Disk(root)

    def look() -> None:
        nonlocal steps
        if looking[0]:
            return
        looking[0] = True
        steps += 1
        for at_once in (False, True):
            copy = tmp_path / f"{steps}{at_once}"
            disk.rebuild(copy, names_at_once=at_once)
            stands = total(copy / "m")
            assert stands in (before, before + 77)
            assert generations.verify(copy / "m") == []
            if steps % 4 == 0:
                take(copy / "m", 77)
                assert total(copy / "m") == (stands if change == "save" else before) + 77
                assert generations.verify(copy / "m") == []
            shutil.rmtree(copy)
        looking[0] = False

    with watched(disk, monkeypatch, look):
        if change == "compact":
            writers.compact(folder, keep=1)
        elif change == "save":
            store.save(store.load(folder).take(batch(77)), folder)
        else:
            take(folder, 77)
    assert steps > 5
    if change != "compact":
        disk.rebuild(tmp_path / "end", names_at_once=False)
        assert total(tmp_path / "end" / "m") == before + 77
