"""Versions of a model: what is added, pointed at, rolled back, pruned and refused."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pytest
import torch
from filelock import FileLock

from hyperrank import durable, generations, store, writers
from hyperrank.estimator import Estimator
from hyperrank.store import State, StoreError
from hyperrank.vocabulary import Vocabulary


@dataclass(kw_only=True, eq=False)
class Counter(Estimator):
    """Adds up the numbers that it is given."""

    step: Any = 1

    def fit(self) -> Self:
        self.total_, self.names_ = torch.zeros(100), Vocabulary.from_ids(["ann"])
        return self

    def take(self, table: pa.Table) -> Self:
        self.total_ = self.total_ + sum(table.column("n").to_pylist())
        return self

    def _state(self) -> State:
        return State({"total": self.total_}, {"names": self.names_}, {})

    def _restore(self, state: State) -> None:
        self.total_, self.names_ = state.tensors["total"], state.vocabularies["names"]


@pytest.fixture(autouse=True)
def _counter_may_be_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "PACKAGES", (Counter.__module__.partition(".")[0],))


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """A plain model folder."""
    store.save(Counter().fit(), tmp_path / "m")
    return tmp_path / "m"


def batch(*numbers: int) -> pa.Table:
    return pa.table({"n": list(numbers)})


def take(folder: Path, *numbers: int) -> writers.Taken | int:
    """One update, as a command does it: the number of an equal batch where one was taken in."""
    table = batch(*numbers)
    with writers.writing(folder) as writer:
        there = generations.taken_as(folder, table)
        if there is not None:
            return there
        taken = writer.take_in(writer.load().take(table), table, {"sum": sum(numbers)}, {})
        writer.prune(3)
        return taken


def total(folder: Path) -> float:
    model = store.load(folder)
    assert len(set(model.total_.tolist())) == 1
    return float(model.total_[0])


def names(folder: Path) -> list[str]:
    return [made.version for made, pruned in generations.versions(folder) if not pruned]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def shop(plain: Path) -> Path:
    """A store of versions 1 to 3, whose model is at 3."""
    take(plain, 1)
    take(plain, 2)
    return plain


def test_a_plain_folder_is_a_store_of_one_version(plain: Path) -> None:
    made = generations.current(plain)
    assert not generations.is_versioned(plain)
    assert (made.version, made.parent, made.made_by, made.taken) == ("v000001", None, "fit", ())
    assert made.model == store.describe(plain).digest
    assert names(plain) == ["v000001"]
    assert generations.place_of(plain, "v000001") == plain
    assert generations.verify(plain) == []
    assert writers.rollback(plain, "v000001").version == "v000001"
    assert writers.compact(plain) == {"pruned": 0, "joined": 0, "freed": 0}
    with pytest.raises(StoreError, match=r"v000001 of .*m has no parent; name a version"):
        writers.rollback(plain)
    assert not generations.is_versioned(plain)


def test_an_update_adds_a_version(plain: Path) -> None:
    old = store.describe(plain).digest
    taken = take(plain, 1, 2)
    assert isinstance(taken, writers.Taken)
    assert (taken.batch, taken.generation.version) == (1, "v000002")
    made = generations.current(plain)
    assert made == taken.generation
    assert (made.parent, made.made_by, made.taken) == ("v000001", "update", ((1, 1),))
    assert (made.log_position, made.report) == (1, {"sum": 3})
    assert made.config == generations.versions(plain)[0][0].config
    assert set(made.written) == {"time", "hyperrank", "torch", "python"}
    assert total(plain) == 3
    assert total(generations.place_of(plain, "v000001")) == 0
    assert store.describe(generations.place_of(plain, "v000001")).digest == old
    assert generations.verify(plain) == []
    inside = {path.name for path in plain.iterdir()}
    assert inside == {".lock", "CURRENT", "log", "v000001", "v000002"}


def test_the_same_batch_twice_is_nothing(shop: Path) -> None:
    before = contents(shop)
    assert take(shop, 2) == 2
    assert contents(shop) == before
    take(shop, 1, 2)
    assert take(shop, 2, 1) == 3


def test_rollback_and_on(shop: Path) -> None:
    assert writers.rollback(shop).version == "v000002"
    assert total(shop) == 1
    taken = take(shop, 10)
    assert isinstance(taken, writers.Taken)
    assert (taken.generation.version, taken.generation.parent) == ("v000004", "v000002")
    assert taken.generation.taken == ((1, 1), (3, 3))
    assert total(shop) == 11
    assert take(shop, 1) == 1  # in the lineage
    again = take(shop, 2)  # not in it: taken in again, logged once
    assert isinstance(again, writers.Taken)
    assert (again.batch, again.generation.taken) == (2, ((1, 3),))
    assert (total(shop), len(generations.log_of(shop))) == (13, 3)
    with pytest.raises(StoreError, match=r"has no version v000009; it has v000003, v000004, v0000"):
        writers.rollback(shop, "v000009")


def test_pruned_versions_keep_their_record(shop: Path) -> None:
    take(shop, 4)
    take(shop, 5)
    assert names(shop) == ["v000003", "v000004", "v000005"]
    listed = [made.version for made, _ in generations.versions(shop)]
    assert listed == [f"v00000{n}" for n in range(1, 6)]
    with pytest.raises(StoreError, match=r"v000001 of .* was pruned; only its record is left"):
        writers.rollback(shop, "v000001")
    writers.rollback(shop, "v000003")
    freed = writers.compact(shop, keep=1)
    assert names(shop) == ["v000003", "v000005"]
    assert (freed["pruned"], freed["joined"]) == (1, 3)
    assert freed["freed"] > 0
    assert generations.verify(shop) == []
    with pytest.raises(ValueError, match="keep must be at least 1, got 0"):
        writers.compact(shop, keep=0)


def test_a_new_fit_is_a_version(shop: Path) -> None:
    made = writers.add(Counter(step=2).fit(), shop, {"why": float("nan")})
    assert (made.version, made.made_by, made.batches) == ("v000004", "fit", set())
    assert (made.log_position, total(shop)) == (2, 0)
    before = generations.versions(shop)[0][0]
    assert made.config != before.config
    assert isinstance(take(shop, 2), writers.Taken)
    with pytest.raises(
        StoreError, match=r"is a store of versions; add one with hyperrank\.writers\.add\("
    ):
        store.save(Counter().fit(), shop)


def test_a_reader_of_a_pruned_version_is_led_to_the_current_one(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, moved = store._read_model, []

    def overtaken(place: Path, *rest: Any) -> Any:
        if not moved:
            moved.append(place)
            for number in (4, 5, 6):
                take(shop, number)
        return real(place, *rest)

    monkeypatch.setattr(store, "_read_model", overtaken)
    assert total(shop) == 18
    assert moved[0].name == "v000003"


def test_a_reader_of_a_plain_folder_that_becomes_a_store(
    plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, moved = store._read_model, []

    def overtaken(place: Path, *rest: Any) -> Any:
        if not moved:
            moved.append(place)
            take(plain, 5)
        return real(place, *rest)

    monkeypatch.setattr(store, "_read_model", overtaken)
    assert total(plain) == 5


def test_two_writers_lose_nothing(plain: Path) -> None:
    done = []

    def work(first: int) -> None:
        for number in range(first, first + 8):
            take(plain, number)
        done.append(first)

    threads = [threading.Thread(target=work, args=(first,)) for first in (0, 100)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        total(plain)
    assert sorted(done) == [0, 100]
    assert total(plain) == sum(range(8)) + sum(range(100, 108))
    assert generations.current(plain).taken == ((1, 16),)
    assert generations.verify(plain) == []


def test_a_live_lock_names_its_owner(shop: Path) -> None:
    assert durable.writer_of(shop) is None
    with writers.writing(shop):
        owner = durable.writer_of(shop)
        assert owner is not None
        assert owner["pid"] == os.getpid()
        expected = rf"writing .*m for 0 s \(process {os.getpid()} on .*, since 20.*\); wait for it"
        with pytest.raises(TimeoutError, match=expected), writers.writing(shop, wait=0.01):
            pass
    assert durable.writer_of(shop) is None
    stale = {"pid": 2**22 + 1, "host": os.uname().nodename, "since": "2024-01-01"}
    (shop / ".owner").write_text(json.dumps(stale))
    assert durable.writer_of(shop) is None  # that process is gone
    take(shop, 3)
    with FileLock(shop / ".lock"):
        (shop / ".owner").write_text("half")
        with pytest.raises(TimeoutError, match=r"for 0 s; wait"), writers.writing(shop, wait=0.01):
            pass


@contextmanager
def failing(
    monkeypatch: pytest.MonkeyPatch, module: Any, name: str, after: int, error: OSError
) -> Iterator[list[int]]:
    """``module.name`` raises at its call number ``after``."""
    real, calls = getattr(module, name), [0]

    def wrapped(*arguments: Any, **options: Any) -> Any:
        calls[0] += 1
        if calls[0] == after:
            raise error
        return real(*arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(module, name, wrapped)
        yield calls


FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("versioned", [False, True])
def test_a_full_disk_leaves_the_store_as_it_was(
    versioned: bool, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = request.getfixturevalue("shop" if versioned else "plain")
    before = contents(folder)
    for step in range(1, 100):
        disk = failing(monkeypatch, os, "fsync", step, FULL)
        with disk as calls, contextlib.suppress(OSError):
            take(folder, 77)
        if calls[0] < step:
            break
        if contents(folder) != before:  # the last step, after the pointer has moved
            assert total(folder) == 77 + 3 * versioned
            break
        assert [p.name for p in folder.parent.iterdir() if p.name.endswith(".writing")] == []
    assert step > 5
    assert generations.verify(folder) == []


def test_a_disk_that_takes_no_more_bytes(shop: Path) -> None:
    resource = pytest.importorskip("resource", reason="limits of file size need Unix")
    before = contents(shop)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for most in (0, 100, 450):
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
        try:
            with pytest.raises(OSError, match=r"File too large|cannot be written"):
                take(shop, 77)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert contents(shop) == before
    take(shop, 77)


def test_a_folder_that_cannot_be_written(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any, **options: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(FileLock, "acquire", refuse)
    message = r"cannot be written \(Read-only file system\); change its rights, or choose"
    with pytest.raises(PermissionError, match=message):
        take(shop, 9)
    assert total(shop) == 3


def rewrite(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    raw = json.loads(path.read_text())
    change(raw)
    raw["digest"] = store.digest_of({k: v for k, v in raw.items() if k != "digest"})
    path.write_text(json.dumps(raw))


def test_a_store_of_a_newer_version_is_refused(shop: Path) -> None:
    entry = shop / "v000003" / generations.ENTRY
    rewrite(entry, lambda raw: raw.update(format=generations.FORMAT + 1, novelty=1))
    message = r"is written in format 2 of versions, but this version of hyperrank reads up to 1; up"
    before = contents(shop)
    for action in (generations.current, generations.versions, writers.rollback):
        with pytest.raises(StoreError, match=message):
            action(shop)
    with pytest.raises(StoreError, match=message):
        take(shop, 5)
    assert "upgrade hyperrank" in generations.verify(shop)[0]
    assert contents(shop) == before


def test_damage_is_told(shop: Path) -> None:
    for path in [p for p in shop.rglob("*") if p.is_file() and p.name != ".lock"]:
        whole = path.read_bytes()
        flipped = [whole[:n] + bytes([whole[n] ^ 1]) + whole[n + 1 :] for n in (5, len(whole) // 2)]
        for broken in (b"", whole[:-1], whole[: len(whole) // 2], *flipped):
            path.write_bytes(broken)
            if path.name == durable.POINTER and broken.split()[:2] == whole.split()[:2]:
                continue  # the names are whole
            assert generations.verify(shop), path
        path.write_bytes(whole)  # under all of its names
        path.unlink()
        assert generations.verify(shop) or path.name == store.MANIFEST, path
        path.write_bytes(whole)
        assert generations.verify(shop) == []
    (shop / durable.POINTER).write_text("v000001 ../../secret")
    for action in (store.load, generations.current):
        with pytest.raises(StoreError, match=r"CURRENT is damaged; write two lines into it"):
            action(shop)
    (shop / durable.POINTER).write_text("left right")
    with pytest.raises(StoreError, match="which are no versions"):
        generations.current(shop)
    (shop / durable.POINTER).write_text("v000009 v000003")
    assert "names v000009, which is not there" in generations.verify(shop)[0]


def test_another_model_than_the_record_says(shop: Path) -> None:
    rewrite(shop / "v000002" / generations.ENTRY, lambda raw: raw.update(model="0" * 64))
    assert "holds another model than its generation.json says" in generations.verify(shop)[0]
    rewrite(shop / "v000003" / generations.ENTRY, lambda raw: raw.update(log_position=3))
    assert "knows batch 3, which the log lacks" in generations.verify(shop)[1]


def test_nothing_is_made_beside_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no saved model at"):
        take(tmp_path / "none", 1)
    assert list(tmp_path.iterdir()) == []
