"""Which trial of a study is whose: processes sign what they run, and take up what the dead left.

A trial counts unless it failed without a reason: its process ended, or it was one too many.
"""

from __future__ import annotations

import platform
import time
from contextlib import suppress
from typing import Any

import psutil

UNSIGNED = 10.0  # seconds for a process to sign the trial that it has begun
SAME = 3.0  # seconds by which clocks tell the start of one process differently
SILENCE = 3600.0  # seconds without a sign after which a process on another host counts as dead


def live(study: Any) -> list[Any]:
    """Trials that count, in order: not those that were lost or too many."""
    trials = study.get_trials(deepcopy=False)
    return [trial for trial in trials if trial.state.name != "FAIL" or "reason" in trial.user_attrs]


def is_surplus(study: Any, trial: Any, most: int) -> bool:
    """Whether others took the last place, or began with the model as given, at the same time."""
    before = [one for one in live(study) if one.number < trial.number]
    twice = trial.user_attrs.get("given") and any(one.user_attrs.get("given") for one in before)
    return bool(twice) or len(before) >= most


def sign(trial: Any) -> float:
    """Puts this process's name to the trial; the time."""
    now, process = time.time(), psutil.Process()
    name = {"host": platform.node(), "pid": process.pid, "began": process.create_time()}
    trial.set_user_attr("signed", name | {"time": now})
    return now


def signed(trial: Any) -> bool:
    """Whether a process has put its name to the trial."""
    return "signed" in trial.user_attrs


def take_up_lost(study: Any, seen: dict[int, float]) -> None:
    """Puts back every trial whose process has ended.

    Whose process has not signed for long may have died before it could: ``seen`` is where who asks
    keeps when it first saw each such trial, since the clocks of hosts differ.
    """
    for trial in study.get_trials(deepcopy=False):
        if trial.state.name == "RUNNING" and _is_lost(trial, seen):
            put_back(study, trial, type(trial.state)["FAIL"])


def _is_lost(trial: Any, seen: dict[int, float]) -> bool:
    name = trial.user_attrs.get("signed")
    if name is None:
        now = time.monotonic()
        return now > seen.setdefault(trial.number, now) + UNSIGNED
    if name["host"] != platform.node():
        return bool(time.time() > name["time"] + SILENCE)
    try:
        process = psutil.Process(name["pid"])
        same = abs(process.create_time() - name["began"]) < SAME
        return not same or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def put_back(study: Any, trial: Any, failed: Any) -> None:
    """Gives a running trial up, and has its parameters tried again, once."""
    with suppress(ValueError, RuntimeError):  # another process has told how it ended
        study.tell(trial.number, state=failed)
        kept = {key: trial.user_attrs[key] for key in ("given",) if key in trial.user_attrs}
        if "again" not in trial.user_attrs:
            study.enqueue_trial(dict(trial.params), user_attrs=kept | {"again": trial.number})
