"""Trials that count, that are one too many, that are taken up again; flags between processes."""

from __future__ import annotations

import multiprocessing
from typing import Any

import pytest

optuna = pytest.importorskip("optuna")

from hyperrank import claims, spaces, workers  # noqa: E402

FAIL = optuna.trial.TrialState.FAIL


@pytest.fixture
def study() -> Any:
    return optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))


def numbers(study: Any) -> list[int]:
    return [trial.number for trial in claims.live(study)]


def test_failures_without_a_reason_do_not_count(study: Any) -> None:
    for reason in (None, "MemoryError: none left", None):
        trial = study.ask()
        if reason:
            trial.set_user_attr("reason", reason)
        study.tell(trial, state=FAIL)
    study.tell(study.ask(), 1.0)
    study.ask()
    assert numbers(study) == [1, 3, 4]


def test_who_comes_late_is_one_too_many(study: Any) -> None:
    trials = [study.ask() for _ in range(4)]
    assert [claims.is_surplus(study, trial, 3) for trial in trials] == [False] * 3 + [True]
    study.tell(trials[1], state=FAIL)  # lost, so that there is room again
    assert not claims.is_surplus(study, trials[3], 3)


def test_the_model_as_given_begins_once(study: Any) -> None:
    study.enqueue_trial({}, user_attrs={"given": True})
    study.enqueue_trial({}, user_attrs={"given": True})
    first, second, other = study.ask(), study.ask(), study.ask()
    assert [claims.is_surplus(study, one, 9) for one in (first, second, other)] == [False, True, 0]
    study.tell(first, state=FAIL)
    assert not claims.is_surplus(study, second, 9)


def test_what_is_given_up_is_tried_again_once(study: Any) -> None:
    study.enqueue_trial({}, user_attrs={"given": True})
    for _ in range(2):
        trial = study.ask()
        x = trial.suggest_float("x", 0.0, 1.0)
        claims.put_back(study, study.trials[trial.number], FAIL)
    assert [trial.state.name for trial in study.trials] == ["FAIL", "FAIL"]
    assert [trial.params["x"] for trial in study.trials] == [x, x]
    assert study.trials[1].user_attrs == {"given": True, "again": 0}


def test_who_does_not_sign_for_long_is_given_up(study: Any, monkeypatch: Any) -> None:
    seen: dict[int, float] = {}
    late = study.ask()
    claims.take_up_lost(study, seen)
    claims.take_up_lost(study, seen)
    assert study.trials[0].state.name == "RUNNING", "seen for a moment, whenever it began"
    monkeypatch.setattr(claims, "UNSIGNED", -1.0)
    claims.take_up_lost(study, seen)
    assert [trial.state.name for trial in study.trials] == ["FAIL", "WAITING"]
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        claims.sign(late)


def test_a_trial_signed_by_this_process_is_not_lost(study: Any) -> None:
    trial = study.ask()
    assert not claims.signed(trial)
    told = claims.sign(trial)
    assert claims.signed(trial)
    assert trial.user_attrs["signed"]["time"] == told
    claims.take_up_lost(study, {})
    assert numbers(study) == [0]
    assert study.trials[0].state.name == "RUNNING"


def test_flags() -> None:
    for told, flag in ((False, workers.Flag()), (True, workers.Followed(workers.Flag()))):
        assert flag.is_set() is told, "a process without a parent ends"
    alone = workers.Flag()
    alone.set()
    assert alone.is_set()
    assert multiprocessing.parent_process() is None


def test_a_distribution_suggests_what_it_is(study: Any) -> None:
    kinds = {
        "dim": optuna.distributions.CategoricalDistribution((32, 64)),
        "lr": optuna.distributions.FloatDistribution(1e-3, 1e-1, log=True),
        "share": optuna.distributions.FloatDistribution(0.0, 1.0, step=0.1),
        "layers": optuna.distributions.IntDistribution(1, 9, step=2),
    }
    for _ in range(20):
        trial = study.ask()
        for name, kind in kinds.items():
            assert spaces.within(kinds, name, spaces.suggest(trial, name, kind))
        assert trial.distributions == kinds
    outside = {"dim": 33, "lr": 0.2, "share": 0.35, "layers": 2, "other": 1}
    assert not any(spaces.within(kinds, name, value) for name, value in outside.items())
