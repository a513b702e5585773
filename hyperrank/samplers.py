"""What draws and seeds the trials of a study.

Optuna comes as an argument from ``hyperrank.search``, which alone imports it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from hyperrank.spaces import within

FIRST = 10  # trials before TPE has enough to go by
SHARE = 0.25  # of the parameters that a step changes, one at least
STEPS = 0.02, 0.3  # its standard deviation lies between, in parts of a parameter's range


def sampler(optuna: Any, random_state: int) -> Any:
    """Steps from the best trial so far, and TPE's draws.

    The first ten trials, and after these every other, step from the best trial so far, at first the
    model as given: a quarter of its parameters move, to another choice or by a normal number of
    0.02 to 0.3 of their range (of its logarithm where the space says so). How far the best is, is
    not known, so each move draws its scale, log-uniformly, as do the balls of Golovin et al. 2020
    (gradientless descent). The rest are TPE's (Bergstra et al. 2011). TPE alone begins with draws
    from all of the space, of which few come near a model whose parameters somebody has chosen well,
    and thirty trials are soon spent.

    What is drawn for a trial depends on the seed, its number and the trials before it alone.
    """

    class Sampler(optuna.samplers.BaseSampler):  # type: ignore[misc]
        def before_trial(self, study: Any, trial: Any) -> None:
            seed = seeds(random_state, trial.number)[1]
            self.tpe = optuna.samplers.TPESampler(seed=seed)
            self.generator = np.random.default_rng(seed)
            steps = trial.number < FIRST or trial.number % 2
            whole = optuna.study.Study.get_trials(study, deepcopy=False)  # of all brackets
            self.best = _best(whole) if steps else {}
            count = max(1, round(SHARE * len(self.best)))
            self.moved = self.generator.permutation(list(self.best))[:count].tolist()

        def infer_relative_search_space(self, study: Any, trial: Any) -> Any:
            return {} if self.best else self.tpe.infer_relative_search_space(study, trial)

        def sample_relative(self, study: Any, trial: Any, search_space: Any) -> Any:
            return {} if self.best else self.tpe.sample_relative(study, trial, search_space)

        def sample_independent(self, study: Any, trial: Any, name: str, kind: Any) -> Any:
            if name not in self.best or not within({name: kind}, name, self.best[name]):
                return self.tpe.sample_independent(study, trial, name, kind)
            value = self.best[name]
            return stepped(value, kind, self.generator) if name in self.moved else value

    return Sampler()


def _best(trials: Sequence[Any]) -> dict[str, Any]:
    """Parameters of the best trial so far; none before one is complete."""
    complete = [trial for trial in trials if trial.state.name == "COMPLETE"]
    return dict(max(complete, key=lambda trial: trial.value).params) if complete else {}


def stepped(value: Any, kind: Any, generator: np.random.Generator) -> Any:
    """Another value of a distribution, near one of it; of choices any other."""
    if hasattr(kind, "choices"):
        others = [choice for choice in kind.choices if choice != value] or [value]
        return others[generator.integers(len(others))]
    scale, back = (math.log, math.exp) if kind.log else (float, float)
    low, high = scale(kind.low), scale(kind.high)
    least, most = map(math.log, STEPS)
    deviation = math.exp(generator.uniform(least, most)) * (high - low)
    new = scale(value) + deviation * generator.normal()
    new = high - abs(high - (low + abs(new - low)))  # mirrored where it would leave
    new = back(max(new, low))
    if kind.step is not None:
        before, after = (round((x - kind.low) / kind.step) for x in (value, new))
        after += (after == before) * (1 if new > value else -1)
        new = kind.low + after * kind.step
    return type(value)(min(max(new, kind.low), kind.high))


def seeds(random_state: int, number: int) -> list[int]:
    """Of a trial's model, and of what is suggested for it."""
    found: list[int] = np.random.SeedSequence([random_state, number]).generate_state(2).tolist()
    return found
