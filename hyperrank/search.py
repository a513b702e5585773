"""Hyperparameter search: trials of an estimator in an Optuna study, which this file alone imports.

A study is a list of trials in a storage that processes share. A trial's number is given out once; a
trial whose process ended is lost, and its parameters are taken up again, once, by whoever sees it.
"""

from __future__ import annotations

import math
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from hyperrank import finals, store
from hyperrank.claims import is_surplus, live, put_back, sign, signed, take_up_lost
from hyperrank.plans import Plan
from hyperrank.pruners import Looks, pruner_of
from hyperrank.samplers import sampler, seeds
from hyperrank.spaces import Space, check_sendable, suggest, suggested_by, within
from hyperrank.studies import open_study, reached
from hyperrank.training import watched
from hyperrank.trials import Row, Searched, row
from hyperrank.workers import workers

NAME = "search"  # of a study where none is given
FAILURES = (ArithmeticError, MemoryError, RuntimeError, ValueError)
LEAST_FOR_IMPORTANCE = 4  # complete trials
FURTHER = 10**9  # numbers of seeds that no trial has


def search(  # noqa: PLR0913 - by name, and most have a default
    model: Any,
    space: Space,
    fit_on: Any,
    judge_on: Any,
    *,
    metric: str,
    fit_params: Mapping[str, Any] | None = None,
    trials: int = 50,
    timeout: float | None = None,
    storage: str | Path | None = None,
    name: str = NAME,
    n_jobs: int = 1,
    pruner: str = "median",
    random_state: int = 0,
    finalists: int = 3,
    refit: bool = True,
    check: Callable[[Any], None] | None = None,
    progress: bool = False,
) -> Any:
    """The best of many trials of ``model``, fitted, with what was found as ``searched``.

    Trial zero is the model as given; every other changes what ``space`` suggests, by steps from the
    best so far or draws of TPE (``hyperrank.samplers``), and its seed, which derives from
    ``random_state`` and the number of the trial. A trial's value is the best look of its early
    stopping, which watches ``metric``, or else the model's score. Trials that diverge, run out of
    memory or get parameters that do not go together fail, and are kept with the reason. An
    interrupt (Ctrl-C) ends the search as a timeout would, at once.

    Args:
        model: An estimator whose ``fit`` and ``score`` take both parts of the data, as those of
            recsys and kg do; it is not changed.
        space: Makes parameters from a trial: ``lambda trial: {"lr": trial.suggest_float(...)}``;
            ``recsys.spaces`` and ``kg.spaces`` have one for each model.
        fit_on: What trials learn from.
        judge_on: What they stop early on and are judged by.
        metric: A measure of the model's that is larger for better models.
        fit_params: What ``fit`` takes beside both, by name, such as ``{"known": test}`` of kg.
        trials: Of the whole study, those of other processes and of earlier calls included.
        timeout: Seconds after which no trial begins.
        storage: A file, made where there is none, or the address of any Optuna storage; a study
            that is there is continued. None keeps it in memory.
        name: Of the study in its storage.
        n_jobs: Processes that this call makes of itself; others may join by ``storage``.
        pruner: What ends weak trials early: below the "median" of others at that epoch, from its
            second look and 0.4 of the usual epochs on, once five trials are complete;
            "hyperband", brackets of growing budgets; or "none".
        random_state: Start of all suggestions and seeds.
        finalists: How many of the best trials, and the model as given, are fitted twice more in
            the end, with other seeds: the best is that of the best mean of these. Without this, 0,
            and for models without a ``random_state``, it is the trial of the best value, which of
            many noisy ones is mostly luck.
        refit: Whether the best trial is fitted anew; otherwise it comes as fitted where this
            process fitted it, at the price of one more model in memory.
        check: Has the model of each trial before it is fitted; what it raises, such as that memory
            would not do, fails the trial, and refuses the search for the model as given.
        progress: Whether to show a bar on stderr.

    Raises:
        ValueError: Before the first trial, if ``check`` says so, the metric is unknown, the space
            names an unknown parameter or suggests nothing, ``fit`` does not take ``fit_params``,
            the storage cannot be used, or holds a study of another model, metric or data; or if the
            model as given does not fit the data.
        RuntimeError: If every trial failed.
        ConnectionError: If the storage is lost during the search.
        ImportError: If Optuna is not installed.
    """
    if n_jobs < 1 or trials < 1:
        raise ValueError(f"trials and n_jobs must be at least 1, got {trials} and {n_jobs}")
    if random_state < 0 or finalists < 0:
        told = f"{random_state} and {finalists}"
        raise ValueError(f"random_state and finalists must be at least 0, got {told}")
    if n_jobs > 1 and storage is None:
        raise ValueError(
            f"n_jobs={n_jobs} makes processes that meet in a storage; give storage=..."
        )
    if n_jobs > 1:
        check_sendable(space)
        check_sendable(check)
    deadline = math.inf if timeout is None else time.time() + timeout
    base = _prepared(model, metric)
    if check is not None:
        check(base)
    plan = Plan(
        base,
        space,
        suggested_by(_optuna(), space, base),
        fit_on,
        judge_on,
        dict(fit_params or {}),
        metric,
        trials,
        deadline,
        random_state,
        check,
    )
    plan.check_fit()
    study = _study(plan, storage, name, pruner)
    best, interrupted = _Best(keep=not refit), False
    try:
        with (
            tqdm(total=trials, desc="search", unit="trial", disable=not progress, leave=False) as b,
            reached(_optuna(), storage),
            workers(n_jobs - 1, _join, (plan, storage, name, pruner)) as stop,
        ):
            _work(plan, study, stop, partial(_show, b, plan, study), best)
        with reached(_optuna(), storage):
            _finals(plan, study, finalists, progress)
    except KeyboardInterrupt:
        interrupted = True
    with reached(_optuna(), storage):
        found = _searched(plan, study, interrupted, finalists)
    fitted = best.model
    if fitted is None or best.number != found.best:
        fitted = replace(base, **found.changes)
        plan.fit(fitted)
    if hasattr(model, "progress"):
        fitted.set_params(progress=model.progress)
    fitted.searched = found  # no underscore: it is not saved with the model
    return fitted


# before the first trial


@dataclass
class _Best:
    """The best trial that this process fitted."""

    keep: bool
    number: int = -1
    value: float = -math.inf
    model: Any = None


def _prepared(model: Any, metric: str) -> Any:
    """The model as trials have it: stopping early by ``metric``, without a bar of its own."""
    model._check_metric(metric)
    own = {"monitor": metric, "progress": False}
    known = model.get_params()
    base = replace(model, **{name: value for name, value in own.items() if name in known})
    base._check_params()
    return base


def _study(plan: Plan, storage: str | Path | None, name: str, pruner: str) -> Any:
    """The study of that name, new or continued, if it is of the same."""
    kind, unlike = type(plan.model), ("device", "progress", "random_state")
    beside = "".join(f", {name} {value!r}" for name, value in plan.fit_params.items())
    given = {k: repr(v) for k, v in plan.model.get_params().items() if k not in unlike}
    of = {
        "model": f"{kind.__module__}:{kind.__qualname__}",
        "metric": plan.metric,
        "data": f"{plan.fit_on!r}, judged on {plan.judge_on!r}{beside}"[:500],
        "given": given,
    }
    optuna, weak = _optuna(), pruner_of(_optuna(), pruner, plan.model)
    draws = sampler(optuna, plan.random_state)
    kinds = plan.kinds
    return open_study(optuna, storage, name=name, of=of, kinds=kinds, sampler=draws, pruner=weak)


# trials


def _work(
    plan: Plan, study: Any, stop: Any, show: Callable[[], None], best: _Best | None = None
) -> None:
    """Runs trials until the study has enough, time is up or ``stop`` is set."""
    gone, seen = _optuna().exceptions.UpdateFinishedTrialError, dict[int, float]()
    while time.time() < plan.deadline and not stop.is_set():
        take_up_lost(study, seen)
        counted = live(study)
        if not any(trial.user_attrs.get("given") for trial in counted):
            near = {k: v for k, v in plan.model.get_params().items() if within(plan.kinds, k, v)}
            study.enqueue_trial(near, user_attrs={"given": True})
            counted = live(study)
        states = [trial.state.name for trial in counted[: plan.trials]]
        if len(states) == plan.trials and "WAITING" not in states:
            if any(trial.state.name == "RUNNING" and not signed(trial) for trial in counted):
                time.sleep(1)  # its process may have died before it could sign
                continue
            break
        trial = study.ask()
        try:
            sign(trial)
        except gone:  # it took so long that others gave it up
            continue
        if is_surplus(study, trial, plan.trials):
            trial.set_user_attr("surplus", True)
            study.tell(trial, state=_failed())
            continue
        try:
            _run(plan, study, trial, stop, best)
        except BaseException:
            put_back(study, trial, _failed())
            raise
        show()


def _run(plan: Plan, study: Any, trial: Any, stop: Any, best: _Best | None) -> None:
    """One trial, from its parameters to its end in the study."""
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()  # what the last trial had, which would count as taken
    optuna, given = _optuna(), bool(trial.user_attrs.get("given"))
    gone, looks = optuna.exceptions.UpdateFinishedTrialError, Looks(optuna, trial, stop)
    with suppress(gone):  # told meanwhile: given up by who saw no sign of this process for long
        try:
            changes = _changes(plan, trial, given)
            trial.set_user_attr("changes", store.encode(changes, "parameters of the trial"))
            with watched(looks):
                fitted = replace(plan.model, **changes)
                if plan.check is not None:
                    plan.check(fitted)
                plan.fit(fitted)
            value = plan.value(fitted)
        except optuna.TrialPruned:
            trial.set_user_attr("epochs", looks.step)
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        except gone:
            raise
        except FAILURES as error:
            if given and isinstance(error, ValueError):
                raise  # the data or the model as given, not the search
            trial.set_user_attr("epochs", looks.step)
            trial.set_user_attr("reason", f"{type(error).__name__}: {error}"[:500])
            study.tell(trial, state=_failed())
        else:
            trial.set_user_attr("epochs", looks.step or len(getattr(fitted, "history_", ())))
            study.tell(trial, value)
            if best is not None and best.keep and value > best.value:
                best.number, best.value, best.model = trial.number, value, fitted


def _changes(plan: Plan, trial: Any, given: bool) -> Row:
    """Parameters of the trial that differ from the model's; of the model as given, none."""
    if given:
        for name, kind in plan.kinds.items():
            if within(plan.kinds, name, getattr(plan.model, name, None)):
                suggest(trial, name, kind)
        return {}
    changes = dict(plan.space(trial))
    if "random_state" in plan.model.get_params():
        changes.setdefault("random_state", seeds(plan.random_state, trial.number)[0])
    return changes


def _join(plan: Plan, storage: str | Path | None, name: str, pruner: str, stop: Any) -> None:
    """What another process of the search does."""
    try:
        with reached(_optuna(), storage):
            _work(plan, _study(plan, storage, name, pruner), stop, lambda: None)
    except ConnectionError as error:
        sys.exit(str(error))  # no traceback of a process that nobody began by hand


# what was found


def _finals(plan: Plan, study: Any, most: int, progress: bool) -> None:
    """Fits the best trials and the model as given with other seeds, while there is time."""
    chosen = finals.finalists(study, most) if most else []
    if "random_state" not in plan.model.get_params() or time.time() > plan.deadline:
        return

    def fit(trial: Any, turn: int) -> Row:
        seed = seeds(plan.random_state, FURTHER + turn)[0]
        fitted = replace(plan.model, **_kept_changes(trial) | {"random_state": seed})
        try:
            plan.fit(fitted)
            value = plan.value(fitted)
        except FAILURES:
            return {"value": None, "epochs": None}
        return {"value": value, "epochs": getattr(fitted, "best_epoch_", None)}

    fits = finals.play(study, chosen, fit)
    total = finals.TURNS * len(chosen)
    for _ in tqdm(fits, "finals", total, disable=not progress, unit="fit", leave=False):
        if time.time() > plan.deadline:
            break


def _kept_changes(trial: Any) -> Row:
    return {k: store.decode(v) for k, v in trial.user_attrs["changes"]["value"].items()}


def _show(bar: Any, plan: Plan, study: Any) -> None:
    counted = live(study)
    bar.n = min(sum(trial.state.is_finished() for trial in counted), plan.trials)
    values = [trial.value for trial in counted if trial.state.name == "COMPLETE"]
    if values:
        bar.set_postfix_str(f"best {plan.metric} {max(values):.4f}", refresh=False)
    bar.refresh()


def _searched(plan: Plan, study: Any, interrupted: bool, finalists: int) -> Searched:
    trials = study.get_trials(deepcopy=False)
    rows = [row(trial) for trial in trials if not trial.user_attrs.get("surplus")]
    complete = [trial for trial in trials if trial.state.name == "COMPLETE"]
    if not complete:
        if interrupted:
            raise KeyboardInterrupt
        reasons = [row["reason"] for row in rows if row["reason"]]
        running = any(row["state"] == "running" for row in rows)
        told = ", as other processes run them still" if running else ", as time was up"
        told = f"; the first: {reasons[0]}" if reasons else told
        raise RuntimeError(f"none of {len(rows)} trials came to an end{told}")
    best = max(complete, key=lambda trial: (trial.value, -trial.number))
    ranks = finals.standings(study) if finalists else []
    if len(ranks) < 2 or ranks[0]["mean"] is None:
        ranks = []  # stopped before there was a choice, or all failed
    else:
        best = trials[ranks[0]["number"]]
    importance: dict[str, float] = {}
    if len(complete) >= LEAST_FOR_IMPORTANCE:
        told = _optuna().importance
        evaluator = told.PedAnovaImportanceEvaluator()
        with warnings.catch_warnings(category=UserWarning, action="ignore"):  # of few trials
            importance = told.get_param_importances(study, evaluator=evaluator)
    found = best.number, _kept_changes(best)
    return Searched(study, plan.metric, rows, *found, ranks, importance, interrupted)


def _failed() -> Any:
    return _optuna().trial.TrialState.FAIL


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise ImportError("a search needs Optuna: pip install 'hyperrank[hpo]'") from error
    return optuna
