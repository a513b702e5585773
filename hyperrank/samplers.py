"""What draws and seeds the trials of a study.

Optuna comes as an argument from ``hyperrank.search``, which alone imports it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hyperrank.spaces import within

FIRST = 10  # trials that stay near the best so far, before TPE has enough to go by


def sampler(optuna: Any, random_state: int) -> Any:
    """TPE whose draws for a trial depend on the seed, its number and the trials before it alone.

    The first trials change a quarter of the parameters of the best so far, at first of the model as
    given, where TPE's own draw all of them anew: what a package or a user sets is seldom far off.
    """

    class Sampler(optuna.samplers.BaseSampler):  # type: ignore[misc]
        def before_trial(self, study: Any, trial: Any) -> None:
            seed = seeds(random_state, trial.number)[1]
            self.own = optuna.samplers.TPESampler(seed=seed, n_startup_trials=FIRST)
            first, generator = trial.number < FIRST, np.random.default_rng(seed)
            self.kept = _kept(study, generator) if first else {}

        def infer_relative_search_space(self, study: Any, trial: Any) -> Any:
            return self.own.infer_relative_search_space(study, trial)

        def sample_relative(self, study: Any, trial: Any, search_space: Any) -> Any:
            return self.own.sample_relative(study, trial, search_space)

        def sample_independent(self, study: Any, trial: Any, name: str, kind: Any) -> Any:
            if within({name: kind}, name, self.kept.get(name)):
                return self.kept[name]
            return self.own.sample_independent(study, trial, name, kind)

    return Sampler()


def _kept(study: Any, generator: np.random.Generator) -> dict[str, Any]:
    """All parameters of the best trial so far but a drawn quarter, one at least."""
    complete = [t for t in study.get_trials(deepcopy=False) if t.state.name == "COMPLETE"]
    if not complete:
        return {}
    best = max(complete, key=lambda trial: trial.value).params
    drawn = generator.permutation(list(best))[: max(1, round(len(best) / 4))]
    return {name: value for name, value in best.items() if name not in drawn}


def seeds(random_state: int, number: int) -> list[int]:
    """Of a trial's model, and of what is suggested for it."""
    found: list[int] = np.random.SeedSequence([random_state, number]).generate_state(2).tolist()
    return found
