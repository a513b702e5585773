"""How much do the steps of a search gain over TPE alone, in thirty trials from a good start?

Hills of eight parameters between 0 and 1, minus a weighted sum of squared distances from their top;
a trial is exact and costs nothing. The model as given stands so far off the top in each parameter,
in deviations of a normal number. Told is the share of its loss that the best of thirty trials
leaves, the median of 24 hills, and the share of hills on which no trial was better.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
import optuna

from benchmarks.record import record
from hyperrank.samplers import sampler

OFF = (0.05, 0.1, 0.2, 0.4)
HILLS, SIZE, TRIALS = 24, 8, 30
TITLE = (
    "What the best of thirty trials leaves of the loss of a start so far off, on synthetic hills."
)


def left(seed: int, off: float, sampler: Any) -> float:
    """The loss of the best of all trials over that of the first, on one hill."""
    generator = np.random.default_rng(seed)
    top, weight = generator.uniform(0.2, 0.8, SIZE), generator.exponential(1, SIZE) ** 2
    given = np.clip(top + generator.normal(0, off, SIZE), 0, 1)
    names = [f"x{index}" for index in range(SIZE)]

    def loss(trial: Any) -> float:
        place = np.array([trial.suggest_float(name, 0, 1) for name in names])
        return -float((weight * (place - top) ** 2).sum())

    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.enqueue_trial(dict(zip(names, given.tolist(), strict=True)))
    study.optimize(loss, n_trials=TRIALS)
    return float(study.best_value / study.trials[0].value)


def main() -> None:
    """Records a line for each distance of the start."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sides: dict[str, Callable[[int], Any]] = {
        "steps and TPE": lambda seed: sampler(optuna, seed),
        "TPE alone": lambda seed: optuna.samplers.TPESampler(seed=seed),
    }
    for off in OFF:
        found = {}
        for name, made in sides.items():
            shares = [left(seed, off, made(seed)) for seed in range(HILLS)]
            found[name] = {
                "loss left": statistics.median(shares),
                "no better": statistics.fmean(share == 1 for share in shares),
            }
        record("sampler", title=TITLE, case=f"{off:g} off", **found)


if __name__ == "__main__":
    main()
