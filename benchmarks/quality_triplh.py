"""How accurate is TriplH on the published splits and in time, and what does its dial do?

    python -m benchmarks.quality_triplh search ml-1m-ultragcn           # each setting, validation
    python -m benchmarks.quality_triplh judge ml-1m-ultragcn            # the best, its seeds, test
    python -m benchmarks.quality_triplh dial ml-1m-ultragcn             # popularity at query time

``search`` fits every setting on the validation split's train (``benchmarks.splits``) and records
the validation NDCG@20 and the epoch it was best at. ``judge`` takes the recorded setting of the
best validation NDCG@20, fits it on all of train for that number of epochs with each seed and
evaluates each once on test, by the data set's metrics (``benchmarks.accuracy``): all items ranked,
training items left out, the mean over users with test items (of a split in time: over those whom
train knows), and coverage. The interval is that of seed 0.

``dial`` fits the chosen setting once on the searched part of train and records, on the validation
part, what each turn of ``with_popularity`` does to accuracy, coverage and popularity.

What its score and its loss are worth: ``benchmarks.quality_geometry``.
"""

from __future__ import annotations

import statistics
import sys
import time
from typing import Any

from scipy.stats import spearmanr

from benchmarks.accuracy import METRICS, figures, unknown
from benchmarks.quality_baselines import validation_accuracy
from benchmarks.record import peak_memory, record, recorded
from benchmarks.splits import parts, validation
from recsys import TriplH, evaluate

QUESTION = "quality_triplh"
DIALS = (-1.5, -1.0, -0.5, 0.0, 0.5)
DIALLED = ("recall@20", "ndcg@20", "coverage@10", "gini@10", "popularity@10", "novelty@10")
Setting = dict[str, Any]

LARGE: Setting = {"dim": 64, "epochs": 40}
FIXED: dict[str, Setting] = {
    "ml-1m-ultragcn": {"dim": 128, "epochs": 40, "batch_size": 32, "lr": 0.03},
    "gowalla": LARGE,
    "amazon-cd-hgcf": LARGE,
    "amazon-beauty time": LARGE,
    "ml-100k time": {"dim": 64, "epochs": 30, "batch_size": 32},
}
VARIED: dict[str, list[Setting]] = {
    "ml-1m-ultragcn": [
        {"l2": 0.06},
        {"l2": 0.04, "scale": 6.0},
        {"l2": 0.06, "batch_size": 64, "lr": 0.04},
        {"l2": 0.08, "batch_size": 64, "lr": 0.04},
        {"l2": 0.06, "batch_size": 64, "lr": 0.04, "epochs": 60},
    ],
    "gowalla": [{"l2": 0.1, "scale": 9.0}, {"l2": 0.2, "scale": 9.0}],
    "amazon-cd-hgcf": [{"l2": 0.06}, {"l2": 0.12}, {"l2": 0.12, "scale": 10.0}],
    "amazon-beauty time": [{"l2": 0.06}, {"l2": 0.2}, {"l2": 0.2, "scale": 10.0}],
    "ml-100k time": [{"l2": 0.1}, {"l2": 0.2}, {"l2": 0.4}, {"l2": 0.2, "scale": 5.0}],
}
SEEDS = dict.fromkeys(FIXED, 5) | {"gowalla": 2, "amazon-cd-hgcf": 3, "amazon-beauty time": 3}


def settings(name: str, arm: str) -> list[Setting]:
    """What is tried of TriplH, or the one setting of its released form."""
    if arm == "released":
        return [TriplH.as_released().get_params()]
    return [{**FIXED[name], **varied} for varied in VARIED[name]]


def search(name: str, arm: str) -> None:
    """Records the validation accuracy of every setting not yet tried, and its best epoch."""
    fit_on, held_out = validation(name)
    done = [line["setting"] for line in searched(name, arm)]
    for setting in settings(name, arm):
        if setting in done:
            continue
        start = time.perf_counter()
        model = TriplH(**{**setting, "patience": 4}).fit(fit_on, held_out)
        facts = {"seconds": time.perf_counter() - start, "best_epoch": model.best_epoch_}
        accuracy = validation_accuracy(model, held_out)
        record(QUESTION, step="search", data=name, model=arm, setting=setting, **facts, **accuracy)


def searched(name: str, arm: str) -> list[dict[str, Any]]:
    """The recorded lines of ``search`` of an arm on a data set."""
    return recorded(QUESTION, step="search", data=name, model=arm)


def chosen(name: str, arm: str) -> Setting:
    """The recorded setting of the best validation NDCG@20, its epochs those it was best at.

    Raises:
        SystemExit: If no search is recorded.
    """
    known = searched(name, arm)
    if not known:
        sys.exit(f"no search of {arm} on {name} is recorded; run `search {name} {arm!r}` first")
    best = max(known, key=lambda line: line["ndcg@20"])
    return {**best["setting"], "epochs": best["best_epoch"]}


def judge(name: str, arm: str) -> None:
    """Fits the chosen setting on all of train, once a seed, and records its accuracy on test."""
    train, test = parts(name)
    setting = chosen(name, arm)
    metrics, tables, begun = METRICS[name], [], time.perf_counter()
    with peak_memory() as peak:
        for seed in range(SEEDS[name]):
            model = TriplH(**{**setting, "random_state": seed}).fit(train)
            tables.append(evaluate(model, test, metrics=metrics, unknown=unknown(name)))
    seconds = (time.perf_counter() - begun) / len(tables)
    values = {
        metric: [float(table.value[place]) for table in tables]
        for place, metric in enumerate(metrics)
    }
    means = {metric: statistics.fmean(seen) for metric, seen in values.items()}
    facts = {"seconds": seconds, "peak_gb": peak.gb, "seeds": values, "means": means}
    facts["accuracy"] = figures(tables[0])
    record(QUESTION, step="judge", data=name, model=arm, setting=setting, **facts)


def dial(name: str, arm: str) -> None:
    """Records accuracy, coverage and popularity at each turn of the popularity dial."""
    fit_on, held_out = validation(name)
    setting = chosen(name, arm)
    model = TriplH(**setting).fit(fit_on)
    share = model.item_vectors_[:, 0]
    degree = model.seen_.candidate_degrees.numpy()
    rank = spearmanr(share, degree).statistic
    for turn in DIALS:
        frame = evaluate(model.with_popularity(turn), held_out, metrics=DIALLED)
        found = dict(zip(frame["metric"], frame["value"].tolist(), strict=True))
        facts = {"dial": turn, "rank_correlation": float(rank), **found}
        record(QUESTION, step="dial", data=name, model=arm, setting=setting, **facts)


def main() -> None:
    """Runs the step for the arms named on one data set, or for TriplH."""
    step, name, *arms = sys.argv[1:]
    for arm in arms or ["TriplH"]:
        {"search": search, "judge": judge, "dial": dial}[step](name, arm)


if __name__ == "__main__":
    main()
