"""How long is an epoch of TriplH, against BPR-MF and the released algorithm written plainly?

ml-1m-ultragcn's training pairs, 64 dimensions, one optimizer for ours and BPR-MF (RowAdam). Cases:

- equal negatives: batches of 4,096 pairs with 4 drawn negatives each, TriplH by its pairwise,
  triangle and softmax losses against BPR-MF;
- released: the algorithm of the released code (one negative from a row of Gumbel-perturbed
  distances to all items, three learned scalars, Adam on whole tables) as its line of code reads,
  against ``TriplH.as_released()`` and the default TriplH, which take all items as negatives.

Times are of ``--steps`` batches of the pairs' walk, or of as many pairs where batches are of users.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

import data
from benchmarks.record import compared, record, turn_by_turn, under_both_heaps
from hyperrank.batches import NegativeSampler, PairBatches
from hyperrank.devices import seeded
from hyperrank.optim import RowAdam
from hyperrank.pairs import PairSet
from hyperrank.products import fast_products
from recsys import TriplH
from recsys.bpr import BPRModule

BATCH, NEGATIVES, DIM = 4096, 4, 64
EQUAL: dict[str, Any] = {
    "batch_by": "pairs", "batch_size": BATCH, "negatives": NEGATIVES, "shared_negatives": False,
}  # fmt: skip


def walk(module: Any, batches: Any, n_pairs: int) -> Callable[[], None]:
    """A call that trains on batches of about so many pairs."""
    optimizer = RowAdam(module.parameters(), lr=1e-3)
    steps = max(round(len(batches) * n_pairs / len(batches.pairs)), 1)

    def run() -> None:
        with fast_products():
            for batch in islice(batches, steps):
                optimizer.zero_grad(set_to_none=True)
                module.loss(batch).backward()
                optimizer.step()

    return run


def ours(pairs: PairSet, model: TriplH, n_pairs: int) -> Callable[[], None]:
    """The walk of a TriplH."""
    generator = seeded(0)
    module = model.module(pairs, generator)
    return walk(module, model.batches(pairs, module, generator), n_pairs)


def bpr(pairs: PairSet, n_pairs: int) -> Callable[[], None]:
    """The walk of BPR-MF."""
    generator = seeded(0)
    sampler = NegativeSampler(pairs, NEGATIVES, generator, shared=False)
    module = BPRModule(pairs, DIM, 0.01, generator)
    return walk(module, PairBatches(pairs, BATCH, sampler), n_pairs)


def plain(pairs: PairSet, n_pairs: int, size: int = 2048) -> Callable[[], None]:
    """The released algorithm: its formulas as they stand, everything inside automatic slopes."""
    generator = seeded(0)
    users, items = (
        nn.Parameter(0.02 * torch.randn(n, DIM, generator=generator))
        for n in (pairs.n_queries, pairs.n_candidates)
    )
    scalars = nn.Parameter(torch.tensor([1.0, 0.1, 0.0]))
    adam = torch.optim.Adam([users, items, scalars], lr=1e-3, weight_decay=1e-6)

    def inner(x: Tensor, y: Tensor) -> Tensor:
        return ((x + y).square().sum(-1) - x.square().sum(-1) - y.square().sum(-1)) / 2

    def time(x: Tensor) -> Tensor:
        return (1 + x.square().sum(-1)).sqrt()

    def triangle(x: Tensor, y: Tensor) -> Tensor:
        return 1 + (1 - inner(x, y) - time(x) - time(y)) / (time(x) * time(y))

    def run() -> None:
        for spot in torch.arange(n_pairs).split(size):
            u, p = users[pairs.queries[spot]], items[pairs.candidates[spot]]
            cosh = time(u)[:, None] * time(items) - u @ items.T
            noise = -(-torch.rand(cosh.shape, generator=generator).log()).log()
            n = items[(cosh + noise).argmin(1)]
            a, c, d = scalars
            z = a * triangle(u, p) - a * triangle(u, n) - c * triangle(p, n) - d
            loss = -z.sigmoid().log().mean() + 1e-4 * inner(p, n).square().sum()
            adam.zero_grad()
            loss.backward()
            adam.step()

    return run


def main() -> None:
    """Both cases, one JSON line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    pairs, n_pairs = data.split("ml-1m-ultragcn")[0].pairs, options.steps * BATCH
    sizes = {"pairs": n_pairs, "users": pairs.n_queries, "items": pairs.n_candidates, "dim": DIM}
    equal = {
        loss: ours(pairs, TriplH(**EQUAL, loss=loss), n_pairs)
        for loss in ("pairwise", "triangle", "softmax")
    }
    times = turn_by_turn({"BPR-MF": bpr(pairs, n_pairs), **equal}, repeats=options.repeats)
    facts = compared(times, ours="pairwise", base="BPR-MF")
    record("triplh_epoch", case="equal negatives", sizes=sizes, **facts)
    sides = {
        "released, plainly": plain(pairs, n_pairs),
        "as_released": ours(pairs, TriplH.as_released(), n_pairs),
        "default": ours(pairs, TriplH(), n_pairs),
    }
    times = turn_by_turn(sides, repeats=options.repeats)
    facts = compared(times, ours="default", base="released, plainly")
    record("triplh_epoch", case="released", sizes=sizes, **facts)


if __name__ == "__main__":
    under_both_heaps(main)
