"""How accurate is UltraGCN on the published splits, chosen on validation and judged once on test?

    python -m benchmarks.quality_ultragcn search gowalla     # each setting on a validation part
    python -m benchmarks.quality_ultragcn judge gowalla      # the best of them, all of train, test

``search`` holds out 10% of each user's training items, fits every setting of ``GRID`` on the rest
and records the validation NDCG@20 and the epoch it was best at. ``judge`` takes the recorded
setting of the best validation NDCG@20, fits it on all of train for that number of epochs and
evaluates it once on test: Recall@20 and NDCG@20, all items ranked, training items left out, the
mean over users with test items. The published numbers picked their epoch on test.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import data
from benchmarks.accuracy import PUBLISHED
from benchmarks.quality_baselines import validation_accuracy
from benchmarks.record import peak_memory, record, recorded
from recsys import UltraGCN, evaluate

QUESTION = "quality_ultragcn"
# W, dimension and item weight of the released configurations, except where their item-item term is
# too small to matter; around their L2 per epoch (gamma times batches: .158, .121, .059, .078)
FIXED: dict[str, dict[str, Any]] = {
    "gowalla": {"negative_weight": 300.0, "epochs": 40, "item_weight": 0.0},
    "yelp2018": {"negative_weight": 300.0, "epochs": 40, "item_weight": 0.0},
    "amazon-cds": {"negative_weight": 1000.0, "epochs": 25, "item_weight": 1.0},
    "ml-1m-ultragcn": {
        "dim": 128,
        "negative_weight": 200.0,
        "epochs": 15,
        "item_weight": 1e-3,
        "batch_size": 32,
        "negatives": 4096,  # more than the catalogue: all items, exactly
    },
}
# the released walk, batches of pairs, from a start so small that early epochs learn the strongest
# directions first; with a rate that falls to zero
BY_PAIRS: dict[str, Any] = {"init_scale": 0.02, "batch_by": "pairs", "batch_size": 1024}
STOPPED: dict[str, Any] = {"lr": 1e-3, "lr_decay": False, "epochs": 80}
VARIED: dict[str, list[dict[str, Any]]] = {
    "gowalla": [{"lr": 4e-3, "l2": 0.16}, *({"lr": 8e-3, "l2": g} for g in (0.16, 0.2))],
    "yelp2018": [
        *({"lr": 8e-3, "l2": g} for g in (0.12, 0.17, 0.22, 0.28)),
        {"lr": 8e-3, "l2": 0.21, "epochs": 70},
        {"lr": 8e-3, "l2": 0.22, "item_weight": 0.3},
        {**BY_PAIRS, **STOPPED, "l2": 0.12, "negatives": 800},
        {**BY_PAIRS, "lr": 2e-3, "l2": 0.22, "epochs": 30, "init_scale": 0.1, "negatives": 800},
    ],
    "amazon-cds": [
        *({"lr": 8e-3, "l2": g} for g in (0.06, 0.1, 0.16, 0.24, 0.4)),
        {"lr": 8e-3, "l2": 0.24, "item_weight": 2.5},
        {"lr": 8e-3, "l2": 0.24, "init_scale": 0.3},
        {"lr": 8e-3, "l2": 0.12, "init_scale": 0.1},
        {"lr": 2e-3, "lr_decay": False, "l2": 0.1, "epochs": 80, "init_scale": 0.02},
        *({**BY_PAIRS, **STOPPED, "l2": g, "negatives": 1000} for g in (0.06, 0.12)),
        {**BY_PAIRS, "lr": 1.5e-3, "l2": 0.14, "epochs": 36, "negatives": 1000},
    ],
    "ml-1m-ultragcn": [
        {"l2": 0.06},
        {"l2": 0.08},
        {"l2": 0.11},
        {"l2": 0.14},
        {"l2": 0.11, "item_weight": 0.02},
        {"l2": 0.11, "negative_weight": 100.0},
        {"l2": 0.16, "positive_base": 2e-3, "negative_base": 2e-3},
        {"l2": 0.1, "lr": 2e-3},
        {"l2": 0.1, "lr": 8e-3, "batch_size": 64},
        {"l2": 0.13, "positive_base": 2e-3, "negative_base": 2e-3},
        {"l2": 0.2, "positive_base": 5e-3, "negative_base": 5e-3},
        {"l2": 0.17, "positive_base": 5e-3, "negative_base": 5e-3},
        {"l2": 0.15, "lr": 2e-3, "epochs": 20, "positive_base": 4e-3, "negative_base": 4e-3},
        {"l2": 0.12, "negative_weight": 300.0},
        {"l2": 0.12, "lr": 2e-3, "epochs": 20, "positive_base": 1e-3, "negative_base": 1e-3},
        {"l2": 0.1, "lr": 2e-3, "batch_size": 64, "epochs": 20},
        {"l2": 0.1, "lr": 1e-3, "epochs": 25},
        {**BY_PAIRS, "lr": 2e-3, "l2": 0.14, "epochs": 30, "negatives": 1024},
    ],
}


def search(name: str) -> None:
    """Records the validation accuracy of every setting not yet tried, and its best epoch."""
    train, _ = data.split(name)
    fit_on, held_out = train.split_random(0.1, random_state=0)
    done = [line["setting"] for line in searched(name)]
    for varied in VARIED[name]:
        setting = {**FIXED[name], **varied}
        if setting in done:
            continue
        start = time.perf_counter()
        model = UltraGCN(**setting, patience=2, progress=True).fit(fit_on, held_out)
        seconds = time.perf_counter() - start
        facts = {"seconds": seconds, "best_epoch": model.best_epoch_}
        accuracy = validation_accuracy(model, held_out)
        record(QUESTION, step="search", data=name, setting=setting, **facts, **accuracy)


def searched(name: str) -> list[dict[str, Any]]:
    """The recorded lines of ``search`` on a data set."""
    return recorded(QUESTION, step="search", data=name)


def chosen(name: str) -> dict[str, Any]:
    """The recorded setting of the best validation NDCG@20, its epochs those it was best at.

    Raises:
        SystemExit: If no search is recorded.
    """
    known = searched(name)
    if not known:
        sys.exit(f"no search on {name} is recorded; run `search {name}` first")
    best = max(known, key=lambda line: line["ndcg@20"])
    return {**best["setting"], "epochs": best["best_epoch"]}


def judge(name: str) -> None:
    """Fits the chosen setting on all of train and records its accuracy on test."""
    train, test = data.split(name)
    setting = chosen(name)
    model = UltraGCN(**setting, progress=True)
    with peak_memory() as peak:
        start = time.perf_counter()
        model.fit(train)
        seconds = time.perf_counter() - start
    table = evaluate(model, test, metrics=["recall@20", "ndcg@20"])
    accuracy = {
        row.metric: {"value": row.value, "low": row.low, "high": row.high, "users": row.n}
        for row in table.itertuples()
    }
    share = {
        metric: accuracy[metric]["value"] / published
        for metric, published in zip(("recall@20", "ndcg@20"), PUBLISHED[name], strict=True)
    }
    facts = {"seconds": seconds, "peak_gb": peak.gb, "share_of_published": share}
    record(QUESTION, step="judge", data=name, setting=setting, accuracy=accuracy, **facts)


def main() -> None:
    """Runs the step for the data sets named, or for all."""
    step, *names = sys.argv[1:]
    for name in names or PUBLISHED:
        {"search": search, "judge": judge}[step](name)


if __name__ == "__main__":
    main()
