"""Studies of Optuna: where they lie, and what they are of.

The package comes as an argument from ``hyperrank.search``, which alone imports it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock

DRIVERS = {"psycopg": "'psycopg[binary]'", "psycopg2": "psycopg2-binary", "MySQLdb": "mysqlclient"}
MEMORY = re.compile(r"sqlite(\+\w+)?://(/:memory:)?")  # a connection has one of its own
LOCK_SECONDS = 60.0  # to wait for a journal that is held for milliseconds


def hidden(text: str) -> str:
    """The text, an address or one with an address in it, with its passwords out of sight."""
    text = re.sub(r"(://[^:/@\s]*):.*@", r"\1:***@", text)
    return re.sub(r"(?i)([?&]\w*pass\w*=)[^&\s]*", r"\1***", text)


def open_study(
    optuna: Any,
    storage: str | Path | None,
    *,
    name: str,
    of: dict[str, Any],
    kinds: dict[str, Any],
    sampler: Any,
    pruner: Any,
) -> Any:
    """The study of that name, new or continued; ``of`` says what it is of, ``kinds`` its space.

    Raises:
        ValueError: If the storage cannot be used, or holds a study of anything else.
    """
    from sqlalchemy.exc import SQLAlchemyError

    told = _place(storage)
    broken = (OSError, ImportError, ValueError, KeyError, SQLAlchemyError)
    try:
        with quiet(optuna):
            study = optuna.create_study(
                study_name=name,
                storage=_storage(optuna, storage),
                direction="maximize",
                load_if_exists=True,
                sampler=sampler,
                pruner=pruner,
            )
            _check_study(study, of, f"the study {name!r} in {told}")
            _check_kinds(optuna, study, kinds, f"the study {name!r} in {told}")
    except StudyError:
        raise
    except (*broken, optuna.exceptions.OptunaError) as error:
        raise ValueError(
            f"cannot use {told} as the storage of a study: {_reason(error)}; give a file that can "
            "be written, or the address of a database that can be reached"
        ) from None
    return study


@contextmanager
def reached(optuna: Any, storage: str | Path | None) -> Iterator[None]:
    """Inside, a database that is lost is told in one sentence.

    Raises:
        ConnectionError: If it is.
    """
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        raise ConnectionError(
            f"{_place(storage)} was lost during the search: {_reason(error)}; trials that had "
            "ended are in it: search again to go on"
        ) from None


def _place(storage: str | Path | None) -> str:
    return "memory" if storage is None else hidden(str(storage))


def _reason(error: BaseException) -> str:
    """What was wrong at the root, in a line."""
    while error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, ImportError) and error.name:
        return f"{error.name} is not installed; pip install {DRIVERS.get(error.name, error.name)}"
    return hidden(str(error).strip().partition("\n")[0]) or type(error).__name__


class StudyError(ValueError):
    """A study that this search cannot continue."""


def _check_study(study: Any, wanted: dict[str, Any], told: str) -> None:
    """Writes what the study is of, or refuses one of anything else."""
    found = study.user_attrs.get("of")
    if found is None and not study.get_trials(deepcopy=False):
        study.set_user_attr("of", wanted)
        return
    if found is None or study.direction.name != "MAXIMIZE":
        raise StudyError(f"{told} was not made by this search; give another name or storage")
    for key in ("model", "metric", "data"):
        if found[key] != wanted[key]:
            raise StudyError(
                f"{told} is of the {key} {found[key]}, not {wanted[key]}; give another name or "
                "storage"
            )
    given = wanted["given"]
    if other := [k for k in given if found["given"].get(k) != given[k]]:
        raise StudyError(
            f"{told} began with {other[0]}={found['given'].get(other[0])}, not "
            f"{given[other[0]]}; give the same model, or another name or storage"
        )


def _check_kinds(optuna: Any, study: Any, kinds: dict[str, Any], told: str) -> None:
    """Refuses other choices of a parameter than a study has, which keeps what it began with."""
    for trial in study.get_trials(deepcopy=False):
        for name in trial.distributions.keys() & kinds.keys():
            old, new = trial.distributions[name], kinds[name]
            try:
                optuna.distributions.check_distribution_compatibility(old, new)
            except ValueError:
                raise StudyError(
                    f"{told} drew {name} from {old}, not from {new}; give another name or storage"
                ) from None


def _storage(optuna: Any, storage: str | Path | None) -> Any:
    if storage is None:
        return optuna.storages.InMemoryStorage()
    if "://" in str(storage):
        from sqlalchemy.pool import NullPool

        # no connection is held during a trial, which may outlast it
        pool = {} if MEMORY.fullmatch(str(storage)) else {"poolclass": NullPool}
        return optuna.storages.RDBStorage(str(storage), engine_kwargs=pool)
    path = Path(storage).expanduser().absolute()
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent}")
    journal = optuna.storages.journal
    return journal.JournalStorage(journal.JournalFileBackend(str(path), lock_obj=_Lock(path)))


class _Lock:
    """A lock of a journal that its holder's death opens; a torn last line is taken away."""

    def __init__(self, path: Path) -> None:
        self.path, self.lock = path, FileLock(f"{path}.lock", timeout=LOCK_SECONDS)

    def acquire(self) -> bool:
        """True, once the lock is held."""
        Path(self.lock.lock_file).touch()  # it would wait where none can be made
        self.lock.acquire()
        with self.path.open("r+b") as journal:
            end = journal.seek(0, os.SEEK_END)
            if end and not _ends_a_line(journal, end):
                journal.seek(0)
                journal.truncate(journal.read().rfind(b"\n") + 1)
        return True

    def release(self) -> None:
        """Lets go."""
        self.lock.release()


def _ends_a_line(journal: Any, end: int) -> bool:
    journal.seek(end - 1)
    return bool(journal.read(1) == b"\n")


@contextmanager
def quiet(optuna: Any) -> Iterator[None]:
    """Inside, Optuna says nothing but warnings."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
