"""Studies of Optuna: where they lie, what they are of, and what draws and seeds their trials.

The package comes as an argument from ``hyperrank.search``, which alone imports it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock


def hidden(text: str) -> str:
    """The text with passwords of addresses in it out of sight."""
    return re.sub(r"(://[^:/@\s]*):[^\s]*@", r"\1:***@", text)


def open_study(
    optuna: Any,
    storage: str | Path | None,
    *,
    name: str,
    of: dict[str, Any],
    pruner: Any,
    random_state: int,
) -> Any:
    """The study of that name, new or continued; ``of`` says what it is of.

    Raises:
        ValueError: If the storage cannot be used, or holds a study of anything else.
    """
    from sqlalchemy.exc import SQLAlchemyError

    told = "memory" if storage is None else hidden(str(storage))
    broken = (OSError, ImportError, ValueError, KeyError, SQLAlchemyError)
    try:
        with quiet(optuna):
            study = optuna.create_study(
                study_name=name,
                storage=_storage(optuna, storage),
                direction="maximize",
                load_if_exists=True,
                sampler=_sampler(optuna, random_state),
                pruner=pruner,
            )
            _check_study(study, of, f"the study {name!r} in {told}")
    except StudyError:
        raise
    except (*broken, optuna.exceptions.OptunaError) as error:
        reason = hidden(str(error).strip().partition("\n")[0]) or type(error).__name__
        raise ValueError(
            f"cannot use {told} as the storage of a study: {reason}; give a file in a folder that "
            "is there, or the address of a database that can be reached"
        ) from None
    return study


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


def _storage(optuna: Any, storage: str | Path | None) -> Any:
    if storage is None or "://" in str(storage):
        return optuna.storages.get_storage(storage)
    path = Path(storage).expanduser().absolute()
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent}")
    journal = optuna.storages.journal
    return journal.JournalStorage(journal.JournalFileBackend(str(path), lock_obj=_Lock(path)))


class _Lock:
    """A lock of a journal that its holder's death opens; a torn last line is taken away."""

    def __init__(self, path: Path) -> None:
        self.path, self.lock = path, FileLock(f"{path}.lock")

    def acquire(self) -> bool:
        """True, once the lock is held."""
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


def _sampler(optuna: Any, random_state: int) -> Any:
    """TPE whose draws for a trial depend on the seed, its number and the trials before it alone."""

    class Sampler(optuna.samplers.BaseSampler):  # type: ignore[misc]
        def before_trial(self, study: Any, trial: Any) -> None:
            del study
            own = optuna.samplers.TPESampler(seed=seeds(random_state, trial.number)[1])
            for step in ("infer_relative_search_space", "sample_relative", "sample_independent"):
                setattr(self, step, getattr(own, step))

        def infer_relative_search_space(self, study: Any, trial: Any) -> Any: ...
        def sample_relative(self, study: Any, trial: Any, search_space: Any) -> Any: ...
        def sample_independent(self, study: Any, trial: Any, name: Any, kind: Any) -> Any: ...

    return Sampler()


def seeds(random_state: int, number: int) -> list[int]:
    """Of a trial's model, and of what is suggested for it."""
    found: list[int] = np.random.SeedSequence([random_state, number]).generate_state(2).tolist()
    return found


@contextmanager
def quiet(optuna: Any) -> Iterator[None]:
    """Inside, Optuna says nothing but warnings."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
