"""How much longer is an epoch with a penalty, or with adversarial training?

Each named penalty as ``hyperrank.penalties.named`` schedules it, and one attack of one step, over
the plain epoch: the same module, batches and row-wise Adam, a part of an epoch of each turn by
turn, which is a multiple of the calls between two evaluations of a penalty. The target is at most
1.15 for a penalty; adversarial training computes two losses.

    python -m benchmarks.bench_penalty ml-1m-ultragcn yelp2018
"""

from __future__ import annotations

import itertools
import sys
from typing import Any

import data
from benchmarks.record import record, turn_by_turn, under_both_heaps
from hyperrank.batches import NegativeSampler, PairBatches, QueryBatches
from hyperrank.devices import seeded
from hyperrank.optim import RowAdam
from hyperrank.products import fast_products
from hyperrank.training import train
from recsys import BPRMF, UltraGCN
from recsys.bpr import BPRModule
from recsys.trained import TrainedRecommender

TITLE = "An epoch with each penalty, and with adversarial training, over the plain epoch."
STEPS, REPEATS = 32, 5
SIDES: dict[str, dict[str, Any]] = {
    "plain": {},
    **{
        name: {"robustness": name, "robustness_weight": 1e-4}
        for name in ("cvar", "rows", "frobenius", "factors", "spectral")
    },
    "adversarial": {"adversarial_weight": 1.0},
}
Module = tuple[Any, QueryBatches | PairBatches]


def ultragcn(log: Any) -> Module:
    """UltraGCN with its defaults."""
    model, generator = UltraGCN(), seeded(0)
    sampler = NegativeSampler(log.pairs, model.negatives, generator)
    batches = QueryBatches(log.pairs, model.rows_a_step(log.n_users), sampler)
    return model.module(log.pairs, log, sampler, generator), batches


def bprmf(log: Any) -> Module:
    """BPRMF with its defaults."""
    model, generator = BPRMF(), seeded(0)
    sampler = NegativeSampler(
        log.pairs, model.negatives, generator, shared=False, reject=model.reject
    )
    batches = PairBatches(log.pairs, model.batch_size, sampler)
    return BPRModule(log.pairs, model.dim, model.l2, generator), batches


def side(made: Module, settings: dict[str, Any]) -> Any:
    """Runs some steps of the epoch so trained."""
    module, batches = made
    optimizer = RowAdam(module.parameters(), lr=1e-3)
    robust = TrainedRecommender(**settings)._robust(module, ("users", "items"))
    stream = itertools.chain.from_iterable(itertools.repeat(batches))
    return lambda: train(module, itertools.islice(stream, STEPS), optimizer, epochs=1, **robust)


def main() -> None:
    """A record for each data set, model and side."""
    for name in sys.argv[1:] or ["ml-1m-ultragcn", "yelp2018"]:
        log, _ = data.split(name)
        for make in (ultragcn, bprmf)[: 2 if name.startswith("ml-1m") else 1]:
            sides = {key: side(make(log), settings) for key, settings in SIDES.items()}
            with fast_products():
                times = turn_by_turn(sides, repeats=REPEATS)
            medians = {key: timing.summary() for key, timing in times.items()}
            record(
                "penalty",
                title=TITLE,
                case=f"{make.__name__}, {name}",
                steps=STEPS,
                **{
                    f"over_plain{of}": {
                        key: median[kind] / medians["plain"][kind]
                        for key, median in medians.items()
                    }
                    for of, kind in (("", "median_s"), ("_cpu", "cpu_s"))
                },
                times=medians,
            )


if __name__ == "__main__":
    under_both_heaps(main)
