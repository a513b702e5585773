"""Files and folders that appear whole or not at all, also when the process is killed."""

from __future__ import annotations

import ctypes
import errno
import glob
import hashlib
import json
import os
import platform
import re
import secrets
import shutil
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from filelock import FileLock, Timeout

POINTER = "CURRENT"  # in a folder of folders: which of them stands
SEAL = 16  # hex digits of a digest of the pointer: 64 bits
LOCK_SECONDS = 60.0  # a writer holds the lock for one write of one model, seconds at most
CONTENTS = "_parts.json"  # readers of Parquet folders pass over names that begin with _ or .
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
    _make(target.parent)
    with sole_writer(target), whole_folder(target) as fresh:
        yield fresh


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """As ``new_folder``, for one who is the only writer already.

    Raises:
        PermissionError: If ``target`` is a mount point.
    """
    if target.is_mount():
        raise PermissionError(
            f"{target} is a mount point, whose place no folder can take; choose a folder in it"
        )
    sweep(target)
    fresh = target.parent / f".{target.name}.{secrets.token_hex(4)}.writing"
    fresh.mkdir()
    try:
        yield fresh
        for path in sorted(fresh.rglob("*")):
            sync(path)
        sync(fresh)
        _take_place(fresh, target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)  # after an exchange it holds the old folder


@contextmanager
def sole_writer(target: Path, seconds: float | None = None) -> Iterator[None]:
    """Nobody else writes ``target`` during the block.

    The system lets go of the lock when its holder dies, however it dies. Who holds it is told by a
    file beside it, see ``writer_of``.

    Args:
        target: File or folder; it need not exist, its parent must.
        seconds: How long to wait for another writer; ``LOCK_SECONDS`` unless told.

    Raises:
        TimeoutError: If another writer holds the lock for so long.
        PermissionError: If the folder of the lock cannot be written.
    """
    patience = LOCK_SECONDS if seconds is None else seconds
    signs = _signs(target)
    lock = _acquired(target, patience)
    while _signs(target) != signs:  # it became a folder of folders meanwhile
        lock.release()
        signs = _signs(target)
        lock = _acquired(target, patience)
    mine = {
        "pid": os.getpid(),
        "host": platform.node(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    try:
        with suppress(OSError):  # it only informs, and a full disk must not stop who makes room
            signs.owner.write_text(json.dumps(mine), encoding="utf-8")
        yield
    finally:
        with suppress(OSError):
            signs.owner.unlink()
        lock.release()


def lock_inside(folder: Path) -> FileLock:
    """The lock of a folder of folders, for one who is its only writer already."""
    return FileLock(_signs(folder).lock, timeout=0)


def writer_of(target: Path) -> dict[str, Any] | None:
    """Process (``pid``, ``host``, ``since``) that writes ``target`` now, None for nobody."""
    signs = _signs(target)
    try:
        found: dict[str, Any] = json.loads(signs.owner.read_bytes())
        _described(found)
    except (OSError, ValueError, KeyError, TypeError):  # none, or one who is just signing
        return None
    try:
        with FileLock(signs.lock, timeout=0):
            return None  # who signed has died without a word
    except OSError:  # held, or not ours to try
        return found


def _signs(target: Path) -> _Signs:
    """In a folder of folders, which stays; else beside what may be replaced.

    What stands inside holds for all who see the folder, under whichever name it is mounted.
    """
    if (target / POINTER).exists():
        return _Signs(target / ".lock", target / ".owner")
    hidden = target.parent / f".{target.name}"
    return _Signs(Path(f"{hidden}.lock"), Path(f"{hidden}.owner"))


class _Signs(NamedTuple):
    """Files that keep other writers away and say who does."""

    lock: Path
    owner: Path


def _acquired(target: Path, patience: float) -> FileLock:
    path = _signs(target).lock
    lock = FileLock(path, timeout=patience)
    try:
        lock.acquire(poll_interval=POLL_SECONDS)
    except Timeout:
        raise TimeoutError(
            f"another process has been writing {target} for {patience:.0f} s"
            f"{_described(writer_of(target))}; wait for it, or choose another folder"
        ) from None
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        raise PermissionError(
            f"{path.parent} cannot be written ({error.strerror}); change its rights, or choose "
            "another folder"
        ) from error
    return lock


def _described(owner: dict[str, Any] | None) -> str:
    if owner is None:
        return ""
    return f" (process {owner['pid']} on {owner['host']}, since {owner['since']})"


@contextmanager
def new_file(target: Path) -> Iterator[Path]:
    """A path beside ``target`` whose file takes that name once the block ends without an error.

    The folder is made if it is not there. What a killed writer on this computer left is swept away
    by the next one, while others go on writing.
    """
    _make(target.parent)
    mine = f".{target.name}.{zlib.crc32(platform.node().encode()):08x}-"
    for left in target.parent.glob(f"{glob.escape(mine)}*.writing"):
        process = left.name.removeprefix(mine).partition(".")[0]
        if process.isdigit() and not psutil.pid_exists(int(process)):
            left.unlink(missing_ok=True)
    fresh = target.parent / f"{mine}{os.getpid()}.{secrets.token_hex(4)}.writing"
    try:
        yield fresh
        sync(fresh)
        fresh.replace(target)
        sync(target.parent)
    finally:
        fresh.unlink(missing_ok=True)


def agree(place: Path, wanted: dict[str, Any], free: Collection[str] = ()) -> dict[str, Any]:
    """What a folder of parts is for, after saying so in it; the first process to say so decides.

    Args:
        place: The folder, made if it is not there.
        wanted: What this process is about to write, as JSON holds it.
        free: Keys in which it follows the first one.

    Raises:
        ValueError: If it holds something else, or parts of another run.
    """
    path = place / CONTENTS
    if place.exists() and not place.is_dir():
        raise ValueError(f"{place} is a file; give a folder for the parts")
    place.mkdir(parents=True, exist_ok=True)
    with FileLock(place / ".lock"):
        if not path.exists():
            strange = [p.name for p in place.iterdir() if not p.name.startswith(".")]
            if strange:
                raise ValueError(
                    f"{place} holds other files, such as {strange[0]}; choose a new folder"
                )
            with new_file(path) as fresh:
                fresh.write_text(json.dumps(wanted, indent=1))
    there: dict[str, Any] = json.loads(path.read_text())
    for key, value in wanted.items():
        if key not in free and there.get(key) != value:
            raise ValueError(
                f"{place} holds parts of another run: {key} is {there.get(key)} there and {value} "
                "here; choose a new folder"
            )
    return there


def point(folder: Path, name: str, newest: str) -> None:
    """Makes ``name`` the inner folder that ``pointed`` finds, in one step.

    ``newest`` is the last inner folder that was completed; what is newer was never pointed at.
    """
    with new_file(folder / POINTER) as fresh:
        words = (name, newest, _seal(name, newest))
        fresh.write_text("".join(f"{word}\n" for word in words), encoding="utf-8")


def pointed(folder: Path) -> tuple[str, str] | None:
    """What ``point`` wrote last: the inner folder that stands and the newest; None for neither.

    Two names without a seal, as written by hand, are taken as they are.

    Raises:
        ValueError: If the pointer is damaged.
    """
    try:
        words = (folder / POINTER).read_bytes().decode(errors="replace").split()
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not all(word.isalnum() for word in words) or (
        len(words) != 2 and (len(words) != 3 or words[2] != _seal(words[0], words[1]))
    ):
        raise ValueError(
            f"{folder / POINTER} is damaged; write two lines into it: the version to read, such "
            "as v000001, and the newest there is"
        )
    return words[0], words[1]


def _seal(name: str, newest: str) -> str:
    return hashlib.sha256(f"{name} {newest}".encode()).hexdigest()[:SEAL]


def standing(target: Path) -> Path:
    """Where the last complete folder stands: ``target``, or its old self mid-replacement."""
    return target if target.exists() or not _previous(target).exists() else _previous(target)


def _previous(target: Path) -> Path:
    return target.parent / f".{target.name}.previous"


def sweep(target: Path) -> None:
    """Undo or finish what a killed writer began; the caller holds the lock."""
    left = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]{{8}}\.writing")  # and no namesake's
    for path in target.parent.iterdir():
        if left.fullmatch(path.name):
            shutil.rmtree(path, ignore_errors=True)
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
    sync(target.parent)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two names in one step; False where the system or the file system cannot."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE in <linux/fs.h>
    return bool(rename(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0)


def link(source: Path, target: Path) -> None:
    """The same file under a second name; a copy where the file system has no such thing."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def sync(path: Path) -> None:
    """Returns once the file, or the names in the folder, are on the disk."""
    if os.name == "nt" and path.is_dir():
        return  # Windows has no handle to flush for a folder
    handle = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _make(folder: Path) -> None:
    """Makes a folder, and those above it that are not there; their names reach the disk."""
    if not folder.is_dir():
        _make(folder.parent)
        folder.mkdir(exist_ok=True)
        sync(folder.parent)
