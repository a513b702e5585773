"""Searches: trial zero, seeds, pruning, failures, resumption, several processes, refusals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

optuna = pytest.importorskip("optuna")

from hyperrank import claims, samplers, spaces, studies  # noqa: E402
from hyperrank.search import search  # noqa: E402
from hyperrank.trials import best_so_far, epochs_run, epochs_saved  # noqa: E402
from recsys import spaces as of_recommenders  # noqa: E402
from recsys.models import MODELS, make_model  # noqa: E402
from searched_models import Hill, line  # noqa: E402

DATA = ("train", "valid")


def found(model: Hill | None = None, space: Any = line, **options: Any) -> Any:
    settings: dict[str, Any] = {"metric": "height", "trials": 12, "finalists": 0} | options
    return search(Hill() if model is None else model, space, *DATA, **settings)


def values(model: Any) -> list[float | None]:
    return [row["value"] for row in model.searched.trials]


def test_the_model_as_given_is_trial_zero_and_the_best_comes_back_fitted() -> None:
    best = found()
    told = best.searched
    assert told.trials[0]["params"] == {"x": 0.2}
    assert told.trials[0]["value"] == pytest.approx(0.75)
    assert best.height_ == told.value == max(v for v in values(best) if v is not None)
    assert best.x == told.changes["x"] == told.trials[told.best]["params"]["x"]
    assert told.value > 0.9
    assert isinstance(told.study, optuna.Study)
    assert told.importance == {"x": 1.0}


def test_a_model_outside_of_its_space_is_trial_zero_too() -> None:
    def aside(trial: Any) -> dict[str, Any]:
        return {"x": trial.suggest_float("x", 0.5, 1.0)}

    told = found(space=aside, trials=2).searched
    assert told.trials[0]["params"] == {}
    assert told.trials[0]["value"] == pytest.approx(0.75)
    assert 0.5 <= told.trials[1]["params"]["x"] <= 1


def test_equal_seeds_give_equal_searches_and_each_trial_a_seed_of_its_own() -> None:
    one, two, other = found(), found(), found(random_state=1)
    assert values(one) == values(two) != values(other)
    told = [trial.user_attrs["changes"]["value"] for trial in one.searched.study.trials]
    seeds = [changes.get("random_state", 0) for changes in told]
    assert len(set(seeds)) == len(seeds)
    assert seeds[1] == samplers.seeds(0, 1)[0] != samplers.seeds(1, 1)[0]


def test_weak_trials_are_pruned_at_the_looks_of_early_stopping() -> None:
    full, short = found(trials=30, pruner="none"), found(trials=30).searched
    assert full.searched.counts == {"complete": 30}
    assert epochs_run(full.searched.trials) == 180
    assert epochs_saved(full.searched.trials) == 0
    assert short.counts["pruned"] > 5
    pruned = [row for row in short.trials if row["state"] == "pruned"]
    assert {row["epochs"] for row in pruned} == {4}, "the second look"
    assert epochs_run(short.trials) + epochs_saved(short.trials) == 180
    assert short.value == pytest.approx(full.searched.value, abs=0.02)
    assert found(trials=9, pruner="hyperband").searched.counts


def test_steps_go_on_where_training_begins_anew() -> None:
    class Twice(Hill):
        def fit(self, fit_on: Any, judge_on: Any) -> Hill:
            super().fit(fit_on, judge_on)
            return super().fit(fit_on, judge_on)

    told = found(Twice(), trials=1).searched
    assert list(told.study.trials[0].intermediate_values) == [2, 4, 6, 8, 10, 12]
    assert told.trials[0]["epochs"] == 12


def test_failures_are_kept_with_their_reason_and_the_search_goes_on() -> None:
    told = found(Hill(fail="memory")).searched
    failed = [row for row in told.trials if row["state"] == "failed"]
    assert failed
    assert {row["reason"] for row in failed} == {"MemoryError: no room for 3 TB"}
    assert len(told.trials) == 12
    nan = found(Hill(fail="nan"), trials=3).searched
    assert nan.trials[1]["reason"] == "FloatingPointError: height is nan"
    with pytest.raises(RuntimeError, match="none of 3 trials came to an end; the first: Floating"):
        found(Hill(fail="fall"), trials=3)


def test_a_check_refuses_models_before_they_are_fitted() -> None:
    def low(model: Hill) -> None:
        if model.x > 0.5:
            raise ValueError("no room so high")

    fits: list[float] = []
    told = found(Hill(fits=fits), check=low).searched
    reasons = {row["reason"] for row in told.trials if row["state"] == "failed"}
    assert reasons == {"ValueError: no room so high"}
    assert max(fits) <= 0.5
    with pytest.raises(ValueError, match=r"^no room so high$"):
        found(Hill(x=0.6), check=low, storage="/nowhere/study.log")


def test_as_fitted_or_refitted() -> None:
    fits: list[float] = []
    as_fitted = found(Hill(fits=fits), trials=3, refit=False)
    assert len(fits) == 3
    again = found(Hill(fits=fits), trials=3)
    assert len(fits) == 7
    assert as_fitted.height_ == again.height_


def test_every_fit_has_what_else_it_takes() -> None:
    class Told(Hill):
        def fit(self, fit_on: Any, judge_on: Any, known: Any = None) -> Hill:
            if known != "test":
                raise TypeError("a fit was not told")
            return super().fit(fit_on, judge_on)

    best = found(Told(), fit_params={"known": "test"}, finalists=2, refit=True)
    assert len(best.fits) > len(best.searched.trials), "finals and the last fit too"


def test_a_search_goes_on_where_it_was(tmp_path: Path) -> None:
    storage = tmp_path / "study.log"
    first = found(trials=5, storage=storage)
    whole = found(trials=12, storage=storage)
    assert values(whole)[:5] == values(first)
    assert values(whole) == values(found())
    assert values(found(trials=3, storage=storage)) == values(whole), "nothing more to do"
    with storage.open("ab") as journal:
        journal.write(b'{"op_code":5,"wor')  # torn by a kill or a full disk
    assert len(values(found(trials=14, storage=f"{storage}"))) == 14
    assert len(values(found(trials=2, storage=f"sqlite:///{tmp_path}/study.db"))) == 2


def test_a_trial_that_others_gave_up_before_it_was_signed_is_taken_up_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given_up: list[int] = []

    def late(trial: Any) -> float:
        if trial.number == 2:
            given_up.append(trial.number)
            claims.put_back(trial.study, trial, optuna.trial.TrialState.FAIL)
        return claims.sign(trial)

    monkeypatch.setattr("hyperrank.search.sign", late)
    told = found(trials=5, pruner="none").searched
    assert given_up == [2]
    assert told.counts == {"complete": 5, "lost": 1}


def test_a_trial_of_a_dead_process_is_taken_up_again_once(tmp_path: Path) -> None:
    storage = tmp_path / "study.log"
    study = found(trials=3, storage=storage).searched.study
    gone = {"host": claims.platform.node(), "pid": 2**22 + 1, "began": 0.0, "time": 0.0}
    trial = study.ask()
    x = trial.suggest_float("x", -1.0, 1.0)
    trial.set_user_attr("signed", gone)
    told = found(trials=5, storage=storage).searched
    assert told.trials[3]["state"] == "lost"
    assert told.trials[3]["reason"] == "its process ended"
    assert told.trials[4]["params"] == {"x": x}
    assert told.counts == {"complete": 5, "lost": 1}
    claims.put_back(study, study.trials[3], optuna.trial.TrialState.FAIL)
    assert len(study.trials) == 6, "it has ended, so nothing is put back"
    away = study.ask()
    away.set_user_attr("signed", gone | {"host": "elsewhere", "time": time.time()})
    claims.take_up_lost(study, {})
    assert study.trials[6].state.name == "RUNNING"


def test_an_interrupt_ends_it_with_the_best_so_far() -> None:
    class Stopped(Hill):
        def fit(self, fit_on: Any, judge_on: Any) -> Hill:
            if len(self.fits) == 3:
                self.fits.append(0)
                raise KeyboardInterrupt
            return super().fit(fit_on, judge_on)

    best = found(Stopped())
    assert best.searched.interrupted
    assert best.searched.counts == {"complete": 3, "lost": 1, "waiting": 1}
    assert best.height_ == best.searched.value


def test_the_model_as_given_is_known_when_its_first_trial_was_interrupted(tmp_path: Path) -> None:
    class Stopped(Hill):
        def fit(self, fit_on: Any, judge_on: Any) -> Hill:
            if turns.pop(0):
                raise KeyboardInterrupt
            return super().fit(fit_on, judge_on)

    turns, storage = [True] + 9 * [False], tmp_path / "study.log"
    with pytest.raises(KeyboardInterrupt):
        found(Stopped(), storage=storage)
    told = found(Stopped(), storage=storage, trials=4).searched
    assert [row["given"] for row in told.trials] == [True, True, False, False, False]
    assert told.as_given == told.trials[1]["value"] == pytest.approx(0.75)


def test_no_trial_begins_after_the_timeout() -> None:
    began = len(found(Hill(pause=0.01), trials=10**6, timeout=1.0).searched.trials)
    assert 0 < began < 40


SCRIPT = """
import sys
from searched_models import Hill, line
from hyperrank.search import search
if __name__ == "__main__":
    model, at = Hill(pause=0.01), sys.argv[1]
    search(model, line, "train", "valid", metric="height", trials=40, storage=at)
"""


def begin(storage: Path, script: str = SCRIPT, **how: Any) -> subprocess.Popen[bytes]:
    places = os.pathsep.join(map(str, (Path(__file__).parent, Path(__file__).parents[1])))
    environment = os.environ | {"PYTHONPATH": places}
    told = [sys.executable, "-c", script, str(storage)]
    return subprocess.Popen(told, env=environment, **how)


@pytest.mark.slow
def test_processes_share_a_study_and_one_is_killed(tmp_path: Path) -> None:
    storage = tmp_path / "study.log"
    both = [begin(storage) for _ in range(2)]
    while (
        not storage.exists()
        or storage.read_bytes().count(b"COMPLETE") + storage.read_bytes().count(b'"state":1') < 5
    ):
        time.sleep(0.02)
    both[0].send_signal(signal.SIGKILL)
    both[0].wait()
    assert both[1].wait(60) == 0
    told = found(Hill(pause=0.01), trials=40, storage=storage).searched
    ended = [row for row in told.trials if row["state"] in ("complete", "pruned")]
    assert len(ended) == 40
    assert len({row["params"]["x"] for row in ended}) == 40
    assert told.counts.get("lost", 0) <= 1


@pytest.mark.slow
def test_processes_of_one_call(tmp_path: Path) -> None:
    best = found(trials=14, n_jobs=2, storage=tmp_path / "study.log")
    assert len(best.searched.trials) == 14
    workers = {trial.user_attrs["signed"]["pid"] for trial in best.searched.study.trials}
    assert os.getpid() in workers


@pytest.mark.slow
def test_an_interrupt_while_others_end_keeps_the_best(tmp_path: Path) -> None:
    script = SCRIPT.replace("Hill", "Late").replace("pause=0.01", f"folder={str(tmp_path)!r}")
    script = script.replace("    search(", "    best = search(")
    script += "    print(best.searched.interrupted, best.searched.counts['complete'])\n"
    storage = tmp_path.parent / f"{tmp_path.name}.log"
    script = script.replace("trials=40", "trials=8, n_jobs=2, pruner='none'")
    with begin(storage, script, stdout=subprocess.PIPE) as one:
        while not storage.exists() or storage.read_bytes().count(b'"state":1') < 7:
            assert one.poll() is None
            time.sleep(0.05)
        one.send_signal(signal.SIGINT)
        assert one.communicate(timeout=60)[0].split() == [b"True", b"7"]
    assert one.returncode == 0


def unknown(trial: Any) -> dict[str, Any]:
    return {"xx": trial.suggest_float("xx", 0.0, 1.0)}


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"space": unknown}, "the space names 'xx', but Hill has no such parameter; did you mean 'x'"),
    ({"space": lambda trial: {}}, "suggests nothing"),
    ({"space": lambda trial: {"x": 7.0}}, "the space does not fit the model: Hill: x must be at"),
    ({"metric": "width"}, "unknown metric 'width'"),
    ({"fit_params": {"nown": 1}}, "called as fit(fit_on, judge_on, nown=...): got an"),
    ({"model": Hill(fail="given")}, "these do not go together"),
    ({"trials": 0}, "trials and n_jobs must be at least 1, got 0 and 1"),
    ({"n_jobs": 2}, "n_jobs=2 makes processes that meet in a storage"),
    ({"n_jobs": 2, "storage": "x", "space": lambda trial: {}}, "cannot be given test_search"),
    ({"n_jobs": 2, "storage": "x", "check": lambda model: None}, "cannot be given test_search"),
    ({"random_state": -1}, "random_state and finalists must be at least 0, got -1 and 0"),
    ({"pruner": "best"}, "pruner must be one of median, hyperband, none, got 'best'"),
    ({"storage": "/nowhere/study.log"}, "cannot use /nowhere/study.log as the storage of a study"),
    ({"storage": "nosuch://a:secret@b/c"}, "cannot use nosuch://a:***@b/c as the storage"),
]


@pytest.mark.parametrize(("options", "message"), REFUSED, ids=[text for _, text in REFUSED])
def test_refusals_come_before_the_first_trial(options: dict[str, Any], message: str) -> None:
    fits: list[float] = []
    model = replace(options.pop("model", Hill()), fits=fits)
    if "cannot be given" in message:
        message = "which cannot be given <lambda>"
    with pytest.raises(ValueError, match=r".") as told:
        found(model, **options)
    assert message in str(told.value)
    assert "secret" not in str(told.value)
    assert fits == []


def test_a_study_of_something_else_is_refused(tmp_path: Path) -> None:
    storage = tmp_path / "study.log"
    found(trials=1, storage=storage)

    class Slope(Hill):
        pass

    for model, options, message in (
        (Slope(), {}, "is of the model searched_models:Hill, not test_search"),
        (Hill(), {"metric": "depth"}, "is of the metric height, not depth"),
        (Hill(epochs=3), {}, "began with epochs=6, not 3"),
    ):
        with pytest.raises(ValueError, match=message):
            found(model, storage=storage, **options)
    with pytest.raises(ValueError, match="is of the data 'train', judged on 'valid'"):
        search(Hill(), line, "others", "valid", metric="height", storage=storage)

    def others(trial: Any) -> dict[str, Any]:
        return {"x": trial.suggest_categorical("x", (0.2, 0.4))}

    with pytest.raises(ValueError, match=r"drew x from Float.*, not from Categorical"):
        found(space=others, storage=storage)
    optuna.create_study(storage=studies._storage(optuna, storage), study_name="own").ask()
    with pytest.raises(ValueError, match=r"the study 'own' in .* was not made by this search"):
        found(storage=storage, name="own")
    Path(storage).write_text("no journal\n")
    with pytest.raises(ValueError, match="as the storage of a study"):
        found(storage=storage)


def test_what_is_held_is_not_suggested() -> None:
    def plane(trial: Any) -> dict[str, Any]:
        return line(trial) | {"epochs": trial.suggest_int("epochs", 1, 9)}

    told = found(space=spaces.held(plane, {"epochs": 6}), trials=3).searched
    assert [list(row["params"]) for row in told.trials] == [["x"]] * 3


def test_a_space_that_turns_what_it_is_suggested_into_something_else() -> None:
    def doubled(trial: Any) -> dict[str, Any]:
        return line(trial) | {"epochs": 2 ** trial.suggest_int("epochs", 1, 4)}

    told = found(space=doubled, trials=3).searched
    assert [sorted(row["params"]) for row in told.trials] == [
        ["x"],
        ["epochs", "x"],
        ["epochs", "x"],
    ]
    assert told.trials[0]["epochs"] == 6


def test_passwords_stay_out_of_sight() -> None:
    text = studies.hidden("recsys search --storage postgresql://me:p@ss@host/db --out x")
    assert text == "recsys search --storage postgresql://me:***@host/db --out x"


def test_best_so_far() -> None:
    rows = [{"number": n, "state": "complete", "value": v} for n, v in enumerate((1, 0, 2, 2))]
    assert best_so_far(rows) == [(0, 1), (2, 2)]


@pytest.mark.parametrize("name", [name for name in MODELS if name != "popularity"])
def test_every_recommender_has_a_space_that_fits_it(name: str) -> None:
    model, space = make_model(name), getattr(of_recommenders, name)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    kinds = spaces.suggested_by(optuna, space, model)
    for _ in range(20):
        changes = space(study.ask())
        replace(model, **changes)._check_params()
        assert changes.keys() == kinds.keys()
    for key in kinds:
        assert spaces.within(kinds, key, getattr(model, key)), f"the default {key} lies outside"
