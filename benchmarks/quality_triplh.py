"""How accurate is TriplH on the published splits, and which part of it is geometry?

    python -m benchmarks.quality_triplh search ml-1m-ultragcn           # each setting, validation
    python -m benchmarks.quality_triplh search ml-1m-ultragcn cosine    # a twin, by its arm's name
    python -m benchmarks.quality_triplh judge ml-1m-ultragcn            # the best, five seeds, test
    python -m benchmarks.quality_triplh dial ml-1m-ultragcn             # popularity at query time

``search`` holds out 10% of each user's training items, fits every setting of an arm on the rest
and records the validation NDCG@20 and the epoch it was best at. ``judge`` takes the arm's recorded
setting of the best validation NDCG@20, fits it on all of train for that number of epochs with five
seeds and evaluates each once on test: Recall@20 and NDCG@20, all items ranked, training items left
out, the mean over users with test items, and coverage@10. The interval is that of seed 0.

``dial`` fits the chosen setting once on the searched part of train and records, on the validation
part, what each turn of ``with_popularity`` does to accuracy, coverage and popularity.

Arms other than TriplH and its released form have one loop, one number of settings and the same
seeds: the ablation of score (triangle, cosine, inner, lorentzian, geodesic) and loss, or item bias.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from typing import Any

from scipy.stats import spearmanr

import data
from benchmarks.quality_baselines import validation_accuracy
from benchmarks.record import RESULTS, peak_memory, record
from recsys import TriplH, evaluate

QUESTION = "quality_triplh"
SEEDS = range(5)
DIALS = (-1.5, -1.0, -0.5, 0.0, 0.5)
DIALLED = ("recall@20", "ndcg@20", "coverage@10", "gini@10", "popularity@10", "novelty@10")
METRICS = ("recall@20", "ndcg@20", "coverage@10")
Setting = dict[str, Any]

FIXED: dict[str, Setting] = {
    "ml-1m-ultragcn": {"dim": 128, "epochs": 40, "batch_size": 32, "lr": 0.03},
}
VARIED: dict[str, list[Setting]] = {
    "ml-1m-ultragcn": [
        {"l2": 0.06},
        {"l2": 0.04, "scale": 6.0},
        {"l2": 0.06, "batch_size": 64, "lr": 0.04},
        {"l2": 0.08, "batch_size": 64, "lr": 0.04},
        {"l2": 0.06, "batch_size": 64, "lr": 0.04, "epochs": 60},
    ],
}
# one loop and six settings for every arm: scale by L2, in the units of its score
SCALES: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "triangle": ((6.0, 7.0, 8.0), (0.03, 0.06)),
    "cosine": ((4.5, 6.0, 7.5), (0.0, 0.01)),
    "inner": ((0.7, 1.0, 1.4), (0.06, 0.12)),
    "lorentzian": ((0.25, 0.5, 1.0), (0.03, 0.06)),
    "geodesic": ((2.0, 3.5, 5.0), (0.03, 0.06)),
}
LOSSES: dict[str, Setting] = {
    "softmax": {},
    "bias": {"item_radius": True},  # softmax too: is the triangle more than a cosine and a bias?
    "pairwise": {"loss": "pairwise", "negatives": 64},
    "triplet": {"loss": "triangle", "item_weight": 0.5, "negatives": 64},
}
LOOP: Setting = {"dim": 64, "epochs": 30, "batch_size": 64, "lr": 0.04}


def settings(name: str, arm: str) -> list[Setting]:
    """What is tried of an arm: "TriplH", "released", a score, or a score and a loss.

    Raises:
        SystemExit: If there is no such arm.
    """
    if arm == "TriplH":
        return [{**FIXED[name], **varied} for varied in VARIED[name]]
    if arm == "released":
        return [TriplH.as_released().get_params()]
    geometry, _, loss = arm.partition(" ")
    if geometry not in SCALES or (loss or "softmax") not in LOSSES:
        sys.exit(
            f"no arm {arm!r}; there are TriplH, released, and one of {', '.join(SCALES)}, "
            f"alone or with one of {', '.join(LOSSES)}"
        )
    base = {**LOOP, "geometry": geometry, **LOSSES[loss or "softmax"]}
    scales, strengths = SCALES[geometry]
    return [{**base, "scale": scale, "l2": l2} for scale in scales for l2 in strengths]


def search(name: str, arm: str) -> None:
    """Records the validation accuracy of every setting not yet tried, and its best epoch."""
    train, _ = data.split(name)
    fit_on, held_out = train.split_random(0.1, random_state=0)
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
    place = RESULTS / f"{QUESTION}.jsonl"
    lines = map(json.loads, place.read_text().splitlines()) if place.exists() else ()
    asked = ("search", name, arm)
    return [line for line in lines if (line["step"], line["data"], line["model"]) == asked]


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
    train, test = data.split(name)
    setting = chosen(name, arm)
    tables = []
    with peak_memory() as peak:
        start = time.perf_counter()
        for seed in SEEDS:
            model = TriplH(**{**setting, "random_state": seed}).fit(train)
            tables.append(evaluate(model, test, metrics=METRICS).set_index("metric"))
        seconds = (time.perf_counter() - start) / len(SEEDS)
    first = tables[0].loc[["recall@20", "ndcg@20"]]
    accuracy = {
        row.Index: {"value": row.value, "low": row.low, "high": row.high, "users": row.n}
        for row in first.itertuples()
    }
    values = {metric: [float(table.value[metric]) for table in tables] for metric in METRICS}
    means = {metric: statistics.fmean(seen) for metric, seen in values.items()}
    facts = {"seconds": seconds, "peak_gb": peak.gb, "seeds": values, "means": means}
    record(
        QUESTION, step="judge", data=name, model=arm, setting=setting, accuracy=accuracy, **facts
    )


def dial(name: str, arm: str) -> None:
    """Records accuracy, coverage and popularity at each turn of the popularity dial."""
    train, _ = data.split(name)
    fit_on, held_out = train.split_random(0.1, random_state=0)
    setting = chosen(name, arm)
    model = TriplH(**setting).fit(fit_on)
    share = model.item_vectors_[:, 0]
    degree = model.seen_.candidate_degrees.numpy()
    rank = spearmanr(share, degree).statistic
    for turn in DIALS:
        frame = evaluate(model.with_popularity(turn), held_out, metrics=DIALLED)
        figures = dict(zip(frame["metric"], frame["value"].tolist(), strict=True))
        facts = {"dial": turn, "rank_correlation": float(rank), **figures}
        record(QUESTION, step="dial", data=name, model=arm, setting=setting, **facts)


def main() -> None:
    """Runs the step for the arms named on one data set, or for TriplH."""
    step, name, *arms = sys.argv[1:]
    for arm in arms or ["TriplH"]:
        {"search": search, "judge": judge, "dial": dial}[step](name, arm)


if __name__ == "__main__":
    main()
