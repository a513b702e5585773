"""Files and folders that appear whole or not at all, also when the process is killed."""

from __future__ import annotations

import ctypes
import glob
import os
import platform
import secrets
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

LOCK_SECONDS = 60.0  # a writer holds the lock for one write of one model, seconds at most
POLL_SECONDS = 0.002  # short against a write, so that one who waits gets a turn among busy writers


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """An empty folder that takes the place of ``target`` once the block ends without an error.

    Everything in it reaches the disk before the name changes. On Linux the old and the new folder
    change names in one system call; elsewhere there is a moment without ``target``, during which
    ``standing`` finds the old one. Writers of one target take turns through a lock file beside it;
    what a killed writer left is swept away by the next one.

    Raises:
        TimeoutError: If another writer holds the lock for a minute.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with sole_writer(target):
        _sweep(target)
        fresh = target.parent / f".{target.name}.{secrets.token_hex(4)}.writing"
        fresh.mkdir()
        try:
            yield fresh
            for path in sorted(fresh.rglob("*")):
                _sync(path)
            _sync(fresh)
            _take_place(fresh, target)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)  # after an exchange it holds the old folder


@contextmanager
def sole_writer(target: Path) -> Iterator[None]:
    """Nobody else writes ``target`` during the block.

    Raises:
        TimeoutError: If another writer holds the lock for a minute.
    """
    lock = FileLock(target.parent / f".{target.name}.lock", timeout=LOCK_SECONDS)
    try:
        lock.acquire(poll_interval=POLL_SECONDS)
    except Timeout:
        raise TimeoutError(
            f"another process has been writing {target} for {LOCK_SECONDS:.0f} s; wait for it, "
            "or choose another folder"
        ) from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def new_file(target: Path) -> Iterator[Path]:
    """A path beside ``target`` whose file takes that name once the block ends without an error.

    The folder is made if it is not there. What a killed writer on this computer left is swept away
    by the next one, while others go on writing.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    mine = f".{target.name}.{zlib.crc32(platform.node().encode()):08x}-"
    for left in target.parent.glob(f"{glob.escape(mine)}*.writing"):
        process = left.name.removeprefix(mine).partition(".")[0]
        if process.isdigit() and not psutil.pid_exists(int(process)):
            left.unlink(missing_ok=True)
    fresh = target.parent / f"{mine}{os.getpid()}.{secrets.token_hex(4)}.writing"
    try:
        yield fresh
        _sync(fresh)
        fresh.replace(target)
        _sync(target.parent)
    finally:
        fresh.unlink(missing_ok=True)


def standing(target: Path) -> Path:
    """Where the last complete folder stands: ``target``, or its old self mid-replacement."""
    return target if target.exists() or not _previous(target).exists() else _previous(target)


def _previous(target: Path) -> Path:
    return target.parent / f".{target.name}.previous"


def _sweep(target: Path) -> None:
    """Undo or finish what a killed writer began; the caller holds the lock."""
    for left in target.parent.glob(f".{glob.escape(target.name)}.*.writing"):
        shutil.rmtree(left, ignore_errors=True)
    previous = _previous(target)
    if previous.exists():
        if target.exists():
            shutil.rmtree(previous)
        else:
            previous.rename(target)


def _take_place(fresh: Path, target: Path) -> None:
    if not target.exists():
        fresh.rename(target)
    elif not _exchange(fresh, target):
        target.rename(_previous(target))
        fresh.rename(target)
        shutil.rmtree(_previous(target))
    _sync(target.parent)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two names in one step; False where the system or the file system cannot."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE in <linux/fs.h>
    return bool(rename(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0)


def _sync(path: Path) -> None:
    if os.name == "nt" and path.is_dir():
        return  # Windows has no handle to flush for a folder
    handle = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
