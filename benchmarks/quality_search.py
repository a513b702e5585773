"""Is what a search of thirty trials finds better on test, and what does pruning cost and save?

    python -m benchmarks.quality_search judge "ml-100k random" TriplH
    python -m benchmarks.quality_search judge groceries UltraGCN     # Complete Journey, as the demo
    python -m benchmarks.quality_search judge umls TuckER            # again, to judge it again
    python -m benchmarks.quality_search prune umls TuckER            # five seeds, or those named

``judge``: the model with its defaults, and the best of thirty trials of its default space, which
learned from a part of train and were judged, and stopped early, on the rest of it. Both are fitted
anew for their best epochs on all of train (of a graph: on its train), with three seeds, and
evaluated on test; the gain of the first seed is paired over users (facts). Of a graph test facts
are left out where validation facts are ranked, as in LibKGE and the code of TuckER.

``prune``: a search with the median pruner and without any, once for each seed: the best value of
validation, of which no other facts are left out, and the epochs of all trials.

A search lives in a file of ``build/studies``, and goes on there after a kill.
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path
from typing import Any, NamedTuple

import data
import kg
import recsys
from benchmarks.record import record, recorded
from benchmarks.splits import parts, validation
from demo import groceries
from demo.__main__ import HOUSEHOLDS, SHARE
from hyperrank.pruners import SPARED
from hyperrank.search import search
from hyperrank.trials import Searched, epochs_run
from kg import spaces as of_predictors
from recsys import spaces as of_recommenders

QUESTION = "quality_search"
STUDIES = Path("build/studies")
TRIALS = 30
SEEDS = 3
PRUNED_SEEDS = 5


class Task(NamedTuple):
    """A model, its space, and the data that it is searched and judged on."""

    model: Any
    space: Any
    metric: str
    package: Any  # whose evaluate and compare
    fit_on: Any
    judge_on: Any
    train: Any
    test: Any
    known: dict[str, Any]  # what else is left out of the answers on test
    fit_params: dict[str, Any]  # and on validation, where a search is judged


def task(name: str, kind: str) -> Task:
    """What is searched, by the data set's name and the model's class."""
    if kind in ("TuckER", "MIGTF"):
        graph = data.graph(name)
        space = getattr(of_predictors, kind.lower())
        hidden = {"known": [graph[1]]}
        model = getattr(kg, kind)(random_state=0)
        beside = {"known": graph[2]}
        return Task(model, space, "mrr", kg, graph[0], graph[1], graph[0], graph[2], hidden, beside)
    space, model = getattr(of_recommenders, kind.lower()), getattr(recsys, kind)(random_state=0)
    if name == "groceries":
        baskets = groceries.load(SHARE, HOUSEHOLDS)
        train, test = baskets.before, baskets.fresh
        fit_on, judge_on = train.split_by_time(SHARE)
    else:
        (train, test), (fit_on, judge_on) = parts(name), validation(name)
    return Task(model, space, "ndcg@20", recsys, fit_on, judge_on, train, test, {}, {})


def found(of: Task, name: str, **options: Any) -> Any:
    """The best model of a search, as it learned from the part."""
    STUDIES.mkdir(parents=True, exist_ok=True)
    return search(
        of.model,
        of.space,
        of.fit_on,
        of.judge_on,
        metric=of.metric,
        trials=TRIALS,
        storage=STUDIES / f"{name.replace(' ', '-')}.log",
        progress=sys.stderr.isatty(),
        **options,
    )


def facts_of(told: Searched) -> dict[str, Any]:
    """What is recorded of every search."""
    seconds = sum(row["seconds"] or 0.0 for row in told.trials)
    return {"trials": told.counts, "epochs": epochs_run(told.trials), "seconds": seconds}


def judge(name: str, kind: str, *again: str) -> None:
    """Records test figures of the defaults and of what a search found."""
    turns = 1 + len(recorded(QUESTION, step="judge", data=name, model=kind))
    if turns > 1 and again != ("again",):
        sys.exit(f"{kind} on {name} is recorded; a test part is judged once, or again and said so")
    of = task(name, kind)
    best = found(of, f"{name} {kind}{' hidden' * bool(of.fit_params)}", fit_params=of.fit_params)
    told = best.searched
    changes = {key: value for key, value in told.changes.items() if key != "random_state"}
    given = type(best)(**of.model.get_params() | {"monitor": of.metric})
    given.fit(of.fit_on, of.judge_on, **of.fit_params)
    arms = {"defaults": given}
    if changes:
        arms["found"] = best
    judged: dict[str, Any] = {}
    first: dict[str, Any] = {}
    for arm, early in arms.items():
        settings = early.get_params() | {"epochs": early.best_epoch_}
        values = []
        for seed in range(SEEDS):
            model = type(early)(**settings | {"random_state": seed}).fit(of.train)
            table = of.package.evaluate(model, of.test, metrics=[of.metric], **of.known)
            values.append(float(table["value"][0]))
            first.setdefault(arm, model)
        judged[arm] = {
            "validation": max(value for _, value in early.validation_history_),
            "test": statistics.fmean(values),
            "deviation": statistics.stdev(values),
            "best_epoch": early.best_epoch_,
        }
    judged.setdefault("found", judged["defaults"])  # where the search kept the model as given
    p_value = 1.0
    if changes:
        table = of.package.compare(first, of.test, metrics=[of.metric], **of.known)
        p_value = float(table["p_value"].iloc[-1])
    record(
        QUESTION,
        step="judge",
        data=name,
        model=kind,
        metric=of.metric,
        turn=turns,
        hidden=bool(of.fit_params),
        changes=changes,
        p_value=p_value,
        finalists=told.finalists,
        **facts_of(told),
        **judged,
    )


def prune(name: str, kind: str, *seeds: str) -> None:
    """Records the best value and the epochs of a search with and without pruning, by seed."""
    of = task(name, kind)
    for seed in map(int, seeds or range(PRUNED_SEEDS)):
        for pruner, rule in {"median": f"median from {SPARED}", "none": "none"}.items():
            asked = {"step": "prune", "data": name, "model": kind, "seed": seed, "pruner": rule}
            if recorded(QUESTION, **asked):
                continue
            asks = {"pruner": pruner, "random_state": seed, "finalists": 0, "refit": False}
            best = found(of, f"{name} {kind} {rule} {seed}", **asks)
            told = best.searched
            record(QUESTION, **asked, metric=of.metric, value=told.value, **facts_of(told))


def main() -> None:
    """Runs one step for a model on a data set."""
    step, *options = sys.argv[1:]
    steps: dict[str, Any] = {"judge": judge, "prune": prune}
    steps[step](*options)


if __name__ == "__main__":
    main()
