"""Accidents of stores of versions: foreign files, altered pointers, namesakes, links, mounts."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from hyperrank import durable, generations, store, writers
from hyperrank.store import StoreError
from tests.test_generations import (  # noqa: F401  # fixtures too
    Counter,
    _counter_may_be_saved,
    contents,
    failing,
    names,
    plain,
    shop,
    take,
    total,
)


def test_files_that_lie_in_a_model_folder_stay(plain: Path) -> None:  # noqa: F811
    (plain / "new.csv").write_text("n\n1\n")
    (plain / "notes").mkdir()
    (plain / "notes" / "why").write_text("because")
    with pytest.raises(StoreError, match=r"m holds new\.csv, notes beside a model, and would lose"):
        store.save(Counter().fit(), plain)
    take(plain, 1)
    assert (plain / "new.csv").read_text() == "n\n1\n"
    assert (plain / "notes" / "why").read_text() == "because"
    assert generations.verify(plain) == []
    (plain / "v000001" / "list").mkdir()
    (plain / "v000001" / "list" / "part").touch()
    assert "v000001 holds list, which is not of it" in generations.verify(plain)[0]
    for number in (2, 3):
        take(plain, number)
    assert names(plain) == ["v000002", "v000003", "v000004"]
    assert [path.name for path in (plain / "v000001").iterdir()] == [generations.ENTRY]


def test_a_namesake_is_written_undisturbed(tmp_path: Path) -> None:
    with durable.new_folder(tmp_path / "shop.v2") as fresh:
        (fresh / "a").touch()
        with durable.new_folder(tmp_path / "shop") as other:
            (other / "b").touch()
        assert (fresh / "a").exists()
    assert {path.name for path in (tmp_path / "shop.v2").iterdir()} == {"a"}


def test_a_save_that_waited_for_an_update_does_not_undo_it(plain: Path) -> None:  # noqa: F811
    refused: list[StoreError] = []

    def save() -> None:
        try:
            store.save(Counter().fit(), plain)
        except StoreError as error:
            refused.append(error)

    with writers.writing(plain):
        thread = threading.Thread(target=save)
        thread.start()
        shutil.copytree(plain, plain.parent / "other")
        take(plain.parent / "other", 5)
        os.rename(plain, plain.parent / "gone")  # noqa: PTH104
        os.rename(plain.parent / "other", plain)  # noqa: PTH104
    thread.join()
    assert "is a store of versions; add one with" in str(refused[0])
    assert total(plain) == 5


def test_an_altered_pointer_costs_nothing(shop: Path) -> None:  # noqa: F811
    take(shop, 3)
    before = contents(shop)
    pointer = shop / durable.POINTER
    whole = pointer.read_text()
    pointer.write_text(whole.replace("v000004", "v000003", 1))
    with pytest.raises(StoreError, match=r"CURRENT is damaged"):
        total(shop)
    pointer.write_text("v000002\nv000002\n")
    expected = (
        r"CURRENT names v000002 as the newest version, but there are v000004 and batch 3, which "
        r"came later; write two lines into it: the version to read, and v000004"
    )
    for action in (lambda: take(shop, 9), lambda: writers.compact(shop)):
        with pytest.raises(StoreError, match=expected):
            action()
    pointer.write_text(whole)
    assert contents(shop) == before
    pointer.write_text("v000003 v000004")  # as by hand
    take(shop, 4)
    assert total(shop) == 7


def test_from_a_damaged_record_one_can_roll_back(shop: Path) -> None:  # noqa: F811
    (shop / "v000003" / generations.ENTRY).write_text("{")
    with pytest.raises(StoreError, match=r"generation\.json is damaged; roll back to another ver"):
        take(shop, 9)
    assert writers.rollback(shop, "v000002").version == "v000002"
    take(shop, 9)
    assert total(shop) == 10
    shutil.rmtree(shop / "v000003")
    assert generations.verify(shop) == [f"{shop} lacks v000003, or its record"]


def test_a_full_disk_after_the_pointer_moved(
    shop: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = durable.sync

    def fails(path: Path) -> None:
        real(path)
        if path == shop and total(shop) == 77:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(durable, "sync", fails)
    monkeypatch.setattr(writers, "_hollow", fails)
    with pytest.raises(OSError, match="No space left"):
        take(shop, 74)
    assert total(shop) == 77
    assert generations.verify(shop) == []


def test_what_cannot_be_deleted_holds_up_nobody(
    shop: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    busy, real = shop / "v000001" / ".nfs0001", Path.unlink
    busy.touch()

    def unlink(self: Path, missing_ok: bool = False) -> None:
        if self == busy:
            raise OSError(errno.EBUSY, "Device or resource busy")
        real(self, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", unlink)
    for number in (3, 4):
        take(shop, number)
    assert total(shop) == 10
    monkeypatch.undo()
    monkeypatch.setattr(store, "PACKAGES", (Counter.__module__.partition(".")[0],))
    writers.compact(shop)
    assert not busy.exists()


def test_writers_under_two_names_of_a_store_exclude_each_other(
    shop: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (shop.parent / "mounted").mkdir()
    (shop.parent / "mounted" / "store").symlink_to(shop)
    monkeypatch.setattr(generations, "resolved", Path)  # as a second mount is not resolved
    monkeypatch.setattr(writers, "resolved", Path)
    with writers.writing(shop):
        assert durable.writer_of(shop.parent / "mounted" / "store") is not None
        with pytest.raises(TimeoutError), writers.writing(shop.parent / "mounted" / "store", 0.01):
            pass


def test_the_first_update_keeps_others_away_to_its_end(plain: Path) -> None:  # noqa: F811
    with writers.writing(plain) as writer:
        writer.add(Counter(step=2).fit(), {})
        with pytest.raises(TimeoutError), writers.writing(plain, 0.01):
            pass
    take(plain, 1)


def test_a_writer_who_waited_finds_the_new_lock(plain: Path) -> None:  # noqa: F811
    with FileLock(plain.parent / ".m.lock"):
        thread = threading.Thread(target=take, args=(plain, 2))
        thread.start()
        shutil.copytree(plain, plain.parent / "other")
        take(plain.parent / "other", 5)
        os.rename(plain, plain.parent / "gone")  # noqa: PTH104
        os.rename(plain.parent / "other", plain)  # noqa: PTH104
        inside = FileLock(plain / ".lock")
        inside.acquire()
    thread.join(0.2)
    assert thread.is_alive()
    inside.release()
    thread.join()
    assert total(plain) == 7


def test_the_owner_of_a_free_lock_is_nobody(shop: Path) -> None:  # noqa: F811
    mine = f'{{"pid": {os.getpid()}, "host": "elsewhere", "since": "2024"}}'
    (shop / ".owner").write_text(mine)  # a process of that number may live, here or elsewhere
    assert durable.writer_of(shop) is None
    with FileLock(shop / ".lock"):
        owner = durable.writer_of(shop)
    assert owner is not None
    assert owner["since"] == "2024"


def test_a_lock_is_let_go_though_its_owner_cannot_be_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any, **options: Any) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched, durable.sole_writer(tmp_path / "m"):
        patched.setattr(Path, "unlink", refuse)
    with durable.sole_writer(tmp_path / "m", 0.01):
        pass


def test_a_mount_point_is_not_replaced(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setattr(Path, "is_mount", lambda self: self == plain)
    message = r"m is a mount point, whose place no folder can take; choose a folder in it"
    with pytest.raises(PermissionError, match=message):
        take(plain, 1)
    with pytest.raises(PermissionError, match=message):
        store.save(Counter().fit(), plain)


def test_new_folders_above_reach_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced, real = list[Path](), durable.sync
    monkeypatch.setattr(durable, "sync", lambda path: (synced.append(path), real(path)))
    with durable.new_folder(tmp_path / "a" / "b" / "c"):
        pass
    assert {tmp_path, tmp_path / "a", tmp_path / "a" / "b"} <= set(synced)
