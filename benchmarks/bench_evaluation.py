"""How long does a full evaluation of Gowalla take: six metrics with intervals, every item ranked?

    HYPERRANK_DATA=... python -m benchmarks.bench_evaluation [--repeats 5] [--heap kept|default]

The model is the ALS of implicit at 64 dims, behind our adapter. Timed is ``recsys.evaluate`` as a
whole: ids, scores, lists, metrics, 1000 bootstrap resamples. The measures of the lists alone
(coverage, novelty, diversity and so on) are timed apart.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import torch

from benchmarks.record import peak_memory, record, turn_by_turn, under_both_heaps

METRICS = ["recall@20", "ndcg@20", "precision@20", "hr@20", "mrr@20", "map@20"]
OF_LISTS = ["coverage@20", "gini@20", "novelty@20", "popularity_lift@20", "diversity@20"]
BUDGET = 15.0  # seconds


def main() -> None:
    """Times it, records."""
    from recsys.evaluation import evaluate
    from recsys.implicit_models import ImplicitALS
    from recsys.interactions import Interactions

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    data = os.environ.get("HYPERRANK_DATA")
    if not data:
        raise SystemExit("set HYPERRANK_DATA to the folder of data sets")
    folder = Path(data) / "recsys" / "gowalla"
    train, test = (Interactions.read(folder / f"{part}.parquet") for part in ("train", "test"))
    model = ImplicitALS(dim=64, regularization=50.0, alpha=80.0).fit(train)

    def full() -> Any:
        return evaluate(model, test, METRICS)

    def lists() -> Any:
        return evaluate(model, test, OF_LISTS)

    with peak_memory() as peak:
        frame = full()
    times = turn_by_turn({"evaluate": full, "of_lists": lists}, repeats=options.repeats)
    each = {name: timing.summary() for name, timing in times.items()}
    record(
        "evaluation",
        title="Full evaluation of Gowalla: six metrics with bootstrap intervals, under 15 s.",
        sizes={"users": test.n_users, "items": train.n_items, "test_pairs": len(test.pairs)},
        times=each,
        budget_s=BUDGET,
        within_budget=each["evaluate"]["median_s"] < BUDGET,
        values=dict(zip(frame["metric"], frame["value"], strict=True)),
        peak_gb=peak.gb,
        peak_added_gb=peak.above_start_gb,
        torch_threads=torch.get_num_threads(),
    )


if __name__ == "__main__":
    under_both_heaps(main)
