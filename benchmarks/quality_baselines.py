"""How accurate are the baselines on the published splits, chosen on validation, judged on test?

    python -m benchmarks.quality_baselines search gowalla            # every model's settings
    python -m benchmarks.quality_baselines judge gowalla             # the best of each, once
    python -m benchmarks.quality_baselines search gowalla EASE       # one model only

``search`` fits every setting on the validation split's train (``benchmarks.splits``) and records
the validation NDCG@20. ``judge`` takes the recorded setting of each model that was best there,
fits it on all of train and evaluates it once on test, by the data set's metrics
(``benchmarks.accuracy``): all items ranked, training items left out, the mean over users with test
items (of a split in time: over those whom train knows).

EASE, whose cost grows with the cube of the catalogue, is tried on the 10,000 items with most users
and judged with the 20,000 of most users (all, where there are fewer); the rest of the catalogue it
can then not recommend.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from itertools import product
from typing import Any, NamedTuple

from benchmarks.accuracy import METRICS, OTHERS, figures, unknown
from benchmarks.record import peak_memory, record, recorded
from benchmarks.splits import parts, validation
from hyperrank.evaluation import top_k_hits
from hyperrank.metrics import ndcg, recall
from recsys import (
    EASE,
    ImplicitALS,
    ImplicitBPR,
    Interactions,
    ItemKNN,
    Popularity,
    PureSVD,
    UltraGCN,
    evaluate,
)
from recsys.recommender import Recommender

QUESTION = "quality_baselines"


class Family(NamedTuple):
    """A model and the values tried for its parameters."""

    kind: type[Recommender]
    fixed: dict[str, Any]
    grid: dict[str, list[Any]]

    def settings(self) -> Iterator[dict[str, Any]]:
        """Every combination."""
        for values in product(*self.grid.values()):
            yield dict(zip(self.grid, values, strict=True))


FAMILIES = {
    "Popularity": Family(Popularity, {}, {}),
    "ItemKNN": Family(
        ItemKNN,
        {},
        {"neighbours": [100, 400], "shrinkage": [0.0, 20.0], "popularity_power": [0.5]},
    ),
    "PureSVD": Family(PureSVD, {}, {"dim": [64, 128, 256]}),
    "EASE": Family(EASE, {}, {"l2": [30.0, 100.0, 300.0, 1000.0]}),
    # unobserved pairs have weight 1 in implicit: alpha is 1 / a0 of iALS, and regularization is
    # its lambda for a row of median size, times alpha
    "ImplicitALS 64": Family(
        ImplicitALS,
        {"dim": 64},
        {"alpha": [10.0, 40.0, 100.0], "regularization": [10.0, 50.0, 160.0]},
    ),
    "ImplicitALS 256": Family(
        ImplicitALS,
        {"dim": 256},
        {"alpha": [10.0, 40.0, 100.0], "regularization": [50.0, 160.0]},
    ),
    "ImplicitBPR 64": Family(
        ImplicitBPR,
        {"dim": 64, "num_threads": 0},
        {"lr": [0.05], "regularization": [0.01, 0.03, 0.1], "iterations": [100]},
    ),
    # where benchmarks.quality_ultragcn has no search of its own
    "UltraGCN 64": Family(UltraGCN, {"lr": 8e-3, "epochs": 30}, {"l2": [0.06, 0.2]}),
}
TRIED_AS: dict[str, dict[str, Any]] = {"EASE": {"max_items": 10_000}}
JUDGED_AS: dict[str, dict[str, Any]] = {"EASE": {"max_items": 20_000}}


def search(name: str, families: list[str]) -> None:
    """Records the validation accuracy of every setting."""
    fit_on, held_out = validation(name)
    for family in families:
        kind, fixed, _ = FAMILIES[family]
        tried_as = TRIED_AS.get(family, {})
        for setting in FAMILIES[family].settings():
            start = time.perf_counter()
            model = kind(**fixed, **setting, **tried_as).fit(fit_on)
            seconds = time.perf_counter() - start
            found = validation_accuracy(model, held_out)
            facts = {"setting": setting, "tried_as": tried_as, "seconds": seconds, **found}
            record(QUESTION, step="search", data=name, model=family, **facts)


def validation_accuracy(model: Recommender, held_out: Interactions) -> dict[str, float]:
    """Recall@20 and NDCG@20 without intervals."""
    truth = held_out.reindex(model.users_, model.items_).pairs
    hits = top_k_hits(model.scorer_, truth.to(model.seen_.device), 20, known=model.seen_)
    return {"recall@20": float(recall(hits, 20).mean()), "ndcg@20": float(ndcg(hits, 20).mean())}


def best_setting(name: str, family: str) -> dict[str, Any]:
    """The recorded setting of the best validation NDCG@20; without a grid there is nothing to ask.

    Raises:
        SystemExit: If no search is recorded.
    """
    if not FAMILIES[family].grid:
        return {}
    known = recorded(QUESTION, step="search", data=name, model=family)
    if not known:
        sys.exit(f"no search of {family} on {name} is recorded; run `search {name} {family!r}`")
    best: dict[str, Any] = max(known, key=lambda line: line["ndcg@20"])["setting"]
    return best


def judge(name: str, families: list[str]) -> None:
    """Fits each model's best setting on all of train and records its accuracy on test."""
    train, test = parts(name)
    for family in families:
        setting = best_setting(name, family)
        with peak_memory() as peak:
            start = time.perf_counter()
            model = (
                FAMILIES[family]
                .kind(**FAMILIES[family].fixed, **setting, **JUDGED_AS.get(family, {}))
                .fit(train)
            )
            seconds = time.perf_counter() - start
        accuracy = figures(evaluate(model, test, metrics=METRICS[name], unknown=unknown(name)))
        facts = {"setting": setting, "seconds": seconds, "peak_gb": peak.gb, "accuracy": accuracy}
        record(QUESTION, step="judge", data=name, model=family, **facts)


def main() -> None:
    """Reads the command line."""
    steps = {"search": search, "judge": judge}
    usage = f"usage: {' | '.join(steps)}, one of {', '.join(METRICS)}, models of {list(FAMILIES)}"
    step, name, *chosen = sys.argv[1:] if len(sys.argv) > 2 else ("", "")
    if step not in steps or name not in METRICS or not set(chosen) <= set(FAMILIES):
        sys.exit(usage)
    usual = [family for family in FAMILIES if name in OTHERS or family != "UltraGCN 64"]
    steps[step](name, chosen or usual)


if __name__ == "__main__":
    main()
