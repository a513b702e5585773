"""Steps from the best trial so far: how far, of which kinds, and how many parameters."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

optuna = pytest.importorskip("optuna")

from hyperrank.samplers import FIRST, STEPS, sampler, seeds, stepped  # noqa: E402

Float, Int = optuna.distributions.FloatDistribution, optuna.distributions.IntDistribution


def steps(value: Any, kind: Any, count: int = 400) -> list[Any]:
    generator = np.random.default_rng(0)
    return [stepped(value, kind, generator) for _ in range(count)]


@pytest.mark.parametrize("log", [False, True])
def test_steps_have_all_scales_of_the_range(log: bool) -> None:
    kind = Float(1e-9, 1e9, log=True) if log else Float(-9.0, 9.0)
    found = np.array(steps(1.0 if log else 0.0, kind, 4000))
    moves = np.log10(found) / 18 if log else found / 18
    least, most = STEPS
    deviation = math.sqrt((most**2 - least**2) / (2 * math.log(most / least)))
    assert np.std(moves) == pytest.approx(deviation, rel=0.1)
    assert abs(np.mean(moves)) < 0.05 * np.std(moves)
    assert np.mean(abs(moves) < least) == pytest.approx(0.26, abs=0.03)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (0.9, Float(0.0, 1.0)),
        (1.0, Float(1.0, 1.0)),
        (0.5, Float(0.0, 1.0, step=0.25)),
        (3, Int(1, 9)),
        (900, Int(1, 1000, log=True)),
        (4, Int(0, 8, step=2)),
        (1, Int(1, 16, log=True)),
        (3, Int(1, 3)),
    ],
)
def test_a_step_stays_in_the_space(value: Any, kind: Any) -> None:
    found = steps(value, kind)
    assert all(type(new) is type(value) for new in found)
    assert all(kind._contains(kind.to_internal_repr(new)) for new in found)
    assert set(found) != {value} or kind.single()
    assert value not in found or kind.step is None or kind.single()


def test_a_choice_steps_to_another() -> None:
    kind = optuna.distributions.CategoricalDistribution
    assert set(steps(32, kind((32, 64, 128)))) == {64, 128}
    assert steps("a", kind(("a",)), 1) == ["a"]


def test_first_trials_and_every_other_change_a_quarter_of_the_best_so_far() -> None:
    def space(trial: Any) -> float:
        return -sum(trial.suggest_float(f"x{index}", -1.0, 1.0) ** 2 for index in range(8))

    def found(random_state: int) -> list[Any]:
        study = optuna.create_study(direction="maximize", sampler=sampler(optuna, random_state))
        study.enqueue_trial({f"x{index}": 0.5 for index in range(8)})
        study.optimize(space, n_trials=FIRST + 4)
        return list(study.trials)

    best, *rest = found(0)
    for trial in rest:
        same = len(best.params.items() & trial.params.items())
        assert same == (6 if trial.number < FIRST or trial.number % 2 else 0)
        best = max(best, trial, key=lambda one: one.value)
    assert best.value > -2
    assert [t.params for t in found(0)] == [t.params for t in found(0)]
    assert [t.params for t in found(0)][1:] != [t.params for t in found(1)][1:]
    assert seeds(0, 1) != seeds(1, 1)


def test_steps_with_hyperband_go_from_the_best_of_all_brackets() -> None:
    pruner = optuna.pruners.HyperbandPruner(min_resource=1, max_resource=27)
    study = optuna.create_study(direction="maximize", sampler=sampler(optuna, 0), pruner=pruner)
    study.enqueue_trial({f"x{index}": 0.5 for index in range(8)})
    for _ in range(FIRST):
        trial = study.ask()
        place = [trial.suggest_float(f"x{index}", -1.0, 1.0) for index in range(8)]
        before = [t for t in study.trials if t.state.name == "COMPLETE"]
        if before:
            best = max(before, key=lambda trial: trial.value).params
            assert sum(trial.params[name] == best[name] for name in best) == 6
        study.tell(trial, -sum(x**2 for x in place))


def test_what_the_best_lacks_is_drawn_and_none_is_a_choice() -> None:
    study = optuna.create_study(direction="maximize", sampler=sampler(optuna, 0))
    study.enqueue_trial({"x": 0.5})
    for turn in range(5):
        trial = study.ask()
        trial.suggest_float("x", 0.0, 1.0)
        if turn:
            assert trial.suggest_categorical("cut", (None, 1.0)) in (None, 1.0)
        study.tell(trial, float(turn == 0))
