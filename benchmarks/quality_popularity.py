"""At equal accuracy, whose lists are less of what everybody buys?

    python -m benchmarks.quality_popularity ml-1m-ultragcn

Coverage can be bought by making a model worse, so TriplH is compared with each other model at that
model's accuracy. Settings are those that the other ``quality_*`` scripts chose; TriplH and cosine
are the ablation's arms, of one loop and size. Every model is fitted on the validation split's
train; TriplH's popularity dial is turned to the lowest number at which its validation NDCG@20 still
is the other's. Then all are fitted on all of train and described once on test, TriplH at each of
these dials and along the whole dial: NDCG@20, and of lists of 10 coverage, Gini coefficient, mean
popularity and recall of the tail (all items but the 20% of most users). The plot is of these.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks import quality_baselines, quality_geometry, quality_ultragcn
from benchmarks.accuracy import PUBLISHED
from benchmarks.quality_baselines import FAMILIES, JUDGED_AS, validation_accuracy
from benchmarks.record import RESULTS, record
from benchmarks.splits import parts, validation
from hyperrank.rendering import records
from recsys import TriplH, UltraGCN, pictures
from recsys.exposure import matched_dial, tradeoff

QUESTION = "quality_popularity"
TURNED = "TriplH"
FROM_BASELINES = ("ImplicitBPR 64", "EASE", "ImplicitALS 64")


def makers(name: str) -> dict[str, Callable[[], Any]]:
    """Unfitted models by name, each with the setting that was chosen on validation."""
    found: dict[str, Callable[[], Any]] = {
        TURNED: lambda: TriplH(**quality_geometry.chosen(name, "triangle")),
        "cosine": lambda: TriplH(**quality_geometry.chosen(name, "cosine")),
    }
    ultragcn = "UltraGCN" if name in PUBLISHED else "UltraGCN 64"
    if name in PUBLISHED:
        found[ultragcn] = lambda: UltraGCN(**quality_ultragcn.chosen(name))
    families = FROM_BASELINES if name in PUBLISHED else (*FROM_BASELINES, ultragcn)
    for family in families:
        found[family] = lambda family=family: FAMILIES[family].kind(
            **FAMILIES[family].fixed,
            **quality_baselines.best_setting(name, family),
            **JUDGED_AS.get(family, {}),
        )
    return found


def main() -> None:
    """One line, and a plot beside it."""
    (name,) = sys.argv[1:]
    fit_on, held_out = validation(name)
    makes = makers(name)
    turned = makes[TURNED]().fit(fit_on)
    dials: dict[str, float] = {}
    reached: dict[str, float] = {}
    for other, make in makes.items():
        if other == TURNED:
            continue
        reached[other] = validation_accuracy(make().fit(fit_on), held_out)["ndcg@20"]
        dial = matched_dial(turned, held_out, reached[other])
        if dial is not None:
            dials[other] = dial
        print(other, reached[other], dial, flush=True)
    train, test = parts(name)
    begun = time.perf_counter()
    models = {other: make().fit(train) for other, make in makes.items()}
    found = tradeoff(models, test, turned=TURNED, match=dials)
    facts = {
        "validation": reached,
        "models": records(found.models),
        "curve": records(found.curve),
        "seconds": time.perf_counter() - begun,
    }
    record(QUESTION, step="tradeoff", data=name, **facts)
    pictures.tradeoff(found, RESULTS / f"popularity_{name}.png", name)


if __name__ == "__main__":
    main()
