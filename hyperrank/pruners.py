"""What ends weak trials of a study, and the looks that it judges them by.

Optuna comes as an argument from ``hyperrank.search``, which alone imports it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from hyperrank.claims import sign

SIGN_EVERY = 60.0  # seconds
SPARED = 0.4  # of the usual epochs; benchmarks/RESULTS.md compares it with 0.5


def pruner_of(optuna: Any, name: str, model: Any) -> Any:
    """What ends weak trials of the model: the pruner "median", "hyperband" or "none"."""
    pruners = optuna.pruners
    every, most = getattr(model, "evaluate_every", 1), getattr(model, "epochs", 1)
    made: dict[str, Callable[[], Any]] = {
        "median": partial(_median, optuna, every),
        "hyperband": partial(pruners.HyperbandPruner, min_resource=every, max_resource=most),
        "none": pruners.NopPruner,
    }
    if name not in made:
        raise ValueError(f"pruner must be one of {', '.join(made)}, got {name!r}")
    return made[name]()


def _median(optuna: Any, every: int) -> Any:
    """Optuna's median pruner, which waits for the second look and for 0.4 of the usual epochs.

    Usual is the median of the epochs at which complete trials were best: a trial that learns slowly
    is behind the others for long, and may be the best in the end.
    """

    class Patient(optuna.pruners.MedianPruner):  # type: ignore[misc]
        def prune(self, study: Any, trial: Any) -> bool:
            trials = study.get_trials(deepcopy=False)
            looks = [t.intermediate_values for t in trials if t.state.name == "COMPLETE"]
            best = [max(seen, key=seen.get) for seen in looks if seen]
            early = trial.last_step <= max(every, SPARED * statistics.median(best or [0]))
            return not early and bool(super().prune(study, trial))

    return Patient()


class Looks:
    """Reports looks of early stopping to a trial, and ends it when it is weak or all must end.

    Steps are epochs since the trial began, also where training begins anew in a second stage.
    """

    def __init__(self, optuna: Any, trial: Any, stop: Any) -> None:
        self.optuna, self.trial, self.stop = optuna, trial, stop
        self.step = self.before = self.last = 0
        self.signed = time.time()

    def __call__(self, epochs: int, value: float) -> None:
        """Has the value after so many epochs; raises what ends the trial."""
        if epochs <= self.last:
            self.before += self.last
        self.last = epochs
        if self.stop.is_set():
            raise KeyboardInterrupt
        if time.time() > self.signed + SIGN_EVERY:
            self.signed = sign(self.trial)
        if self.before + epochs > self.step:
            self.step = self.before + epochs
            self.trial.report(value, self.step)
            if self.trial.should_prune():
                raise self.optuna.TrialPruned
