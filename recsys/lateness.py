"""Events older than the latest of the batches before: told, left out, or refused."""

from __future__ import annotations

import warnings
from typing import Any, Literal, NamedTuple

import torch

from recsys.interactions import Interactions
from recsys.moments import unit_of

OnLate = Literal["take", "skip", "fail"]


class Timely(NamedTuple):
    """What is to be taken in of new events."""

    log: Interactions | None  # None where all are late and left out
    late: int  # how many are older than the latest before
    latest: Any  # time and unit of the latest so far; None where no batch had times


def timely(log: Interactions, before: Any, on_late: OnLate = "take") -> Timely:
    """The events to take in, how many are late, and the latest time with its unit.

    Args:
        log: New events.
        before: Latest time of the batches before and its unit; None where they had no times.
        on_late: What becomes of late events: "take" takes them with a warning, "skip" leaves them
            out, "fail" refuses all events.

    Raises:
        ValueError: If times are of another kind than before, or some are late and ``on_late`` is
            "fail".
    """
    if log.events.time is None:
        return Timely(log, 0, before)
    time = log.events.time.numpy()  # which compares whole numbers as such
    latest = [time.max().item(), log.time_unit]
    if before is None:
        return Timely(log, 0, latest)
    _check_kind(latest, before)
    is_late = torch.from_numpy(time < before[0])
    late = int(is_late.sum())
    latest = latest if latest[0] > before[0] else before
    if not late or on_late == "take":
        if late:
            warnings.warn(f"{_counted(late, log)}; they are taken in all the same", stacklevel=3)
        return Timely(log, late, latest)
    if on_late == "fail":
        raise ValueError(f"{_counted(late, log)}; choose --late take or skip, or leave them out")
    rest = None if late == len(log) else log.select(~is_late)
    return Timely(rest, late, latest)


def _counted(late: int, log: Interactions) -> str:
    return f"{late} of {len(log)} events are older than the latest of the batches before"


def _check_kind(now: list[Any], before: Any) -> None:
    """Raises where times are dates here and numbers there, or numbers in another unit."""
    kinds = ["dates" if unit else "plain numbers" for _, unit in (now, before)]
    if kinds == ["plain numbers"] * 2:
        units = [unit_of(value) for value, _ in (now, before)]
        kinds = [str(unit) for unit in units] if all(units) else kinds
    if kinds[0] != kinds[1]:
        raise ValueError(
            f"times are {kinds[0]} here and were {kinds[1]} before; convert them to one type"
        )
