"""The last choice of a search: its best trials and the model as given, fitted with other seeds.

The best value of many noisy ones is mostly luck. Values of further fits had no part in the choice
of who is fitted again, so that their mean tells whose luck it was.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from typing import Any

from hyperrank.trials import Row

TURNS = 2  # further fits of each


def finalists(study: Any, most: int) -> list[Any]:
    """The best complete trials, so many, and that of the model as given; none where that is all."""
    complete = [trial for trial in study.get_trials(deepcopy=False) if trial.value is not None]
    complete = [trial for trial in complete if trial.state.name == "COMPLETE"]
    best = sorted(complete, key=lambda trial: (-trial.value, trial.number))[:most]
    given = [trial for trial in complete if trial.user_attrs.get("given") and trial not in best]
    found = best + given[:1]
    return found if len(found) > 1 else []


def play(study: Any, chosen: list[Any], fit: Callable[[Any, int], Row]) -> Iterator[None]:
    """Fits every one of the trials again, ``fit(trial, turn)``, where the study has not kept it."""
    for turn in range(TURNS):
        for trial in chosen:
            if (key := _key(trial.number, turn)) not in study.user_attrs:
                study.set_user_attr(key, fit(trial, turn))
            yield


def standings(study: Any) -> list[Row]:
    """A row for each trial that was fitted again: number, given, values, mean, epochs; best first.

    One that failed once has no mean, and is last.
    """
    kept, rows = study.user_attrs, []
    for trial in study.get_trials(deepcopy=False):
        fits = [kept.get(_key(trial.number, turn)) for turn in range(TURNS)]
        if None in fits:
            continue
        values = [fit["value"] for fit in fits]
        rows.append(
            {
                "number": trial.number,
                "given": bool(trial.user_attrs.get("given")),
                "mean": None if None in values else statistics.fmean(values),
                "values": values,
                "epochs": [fit["epochs"] for fit in fits],
            }
        )
    return sorted(rows, key=lambda row: (row["mean"] is None, -(row["mean"] or 0.0)))


def _key(number: int, turn: int) -> str:
    return f"trial {number} again {turn}"
