"""Logs that the options of a command name: read, cut to a core, split."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recsys.interactions import Interactions


def read(options: Namespace, path: str, like: Any = None) -> Interactions:
    """The log at ``path``, its ids of the same kind as those of the vocabularies ``like``."""
    from recsys.interactions import Interactions

    roles = ("user", "item", "time", "weight", "repeated")
    return Interactions.read(path, **{role: getattr(options, role) for role in roles}, like=like)


def read_core(options: Namespace) -> Interactions:
    """The log to learn from or to look at, its k-core where that is asked for."""
    if options.k_core is None:
        return read(options, options.log)
    numbers = options.k_core.split(",")
    if len(numbers) != 2 or not all(one.strip().isdecimal() for one in numbers):
        raise ValueError(f"--k-core expects U,I, such as 5,10, got {options.k_core!r}")
    return read(options, options.log).k_core(*map(int, numbers))


def train_and_validation(options: Namespace) -> tuple[Interactions, Interactions | None]:
    """The logs to learn from and, where there is one, to stop by."""
    log = read_core(options)
    if options.validation and options.split != "none":
        raise ValueError("give --validation or --split, not both")
    if options.validation:
        return log, read(options, options.validation, like=(log.users, log.items))
    return (log, None) if options.split == "none" else split_by(log, options.split, options)


def split_by(log: Interactions, rule: str, options: Namespace) -> tuple[Interactions, Interactions]:
    """Both parts of a log, by a rule such as "time:0.9", "last:1" or "random:0.2"."""
    kind, _, value = rule.partition(":")
    if kind in ("time", "last") and log.events.time is None:
        raise ValueError(f"a split by {rule} needs times; name their column with --time")
    try:
        if kind == "time":
            return log.split_by_time(moment(value))
        if kind == "last":
            return log.split_leave_last(int(value))
        if kind == "random":
            return log.split_random(float(value), random_state=options.seed)
    except ValueError as error:
        raise ValueError(f"cannot split by {rule!r}: {error}") from error
    raise ValueError(f"a split is time:0.9, last:1 or random:0.2, got {rule!r}")


def moment(text: str) -> float | str:
    """A share or a date, as ``Interactions.split_by_time`` takes it."""
    try:
        return float(text)
    except ValueError:
        return text  # a date
