"""Does an epoch complete in 8 GB on 1,000,000 users x 200,000 items x 50,000,000 pairs?

A synthetic log: each user has 20 to 80 items, drawn with a popularity that falls as a power of the
rank. One epoch of UltraGCN as a user would run it, from the interactions to the fitted model, in a
process of its own; the figure is that process's peak resident memory, log included.

    python -m benchmarks.bench_memory            # or: ... 100000 20000 5000000, for a quick look
"""

from __future__ import annotations

import resource
import sys
import time

import torch

from benchmarks.record import peak_memory, record, under_both_heaps
from hyperrank.pairs import PairSet, pair_set
from recsys import Interactions, UltraGCN


def synthetic(n_users: int, n_items: int, n_pairs: int) -> PairSet:
    """About ``n_pairs`` distinct pairs; item chances fall as rank ** -0.5."""
    generator = torch.Generator().manual_seed(0)
    user = torch.randint(n_users, (n_pairs,), generator=generator, dtype=torch.int32)
    item = torch.rand(n_pairs, generator=generator).square_().mul_(n_items).int()
    return pair_set(user, item.clamp_(max=n_items - 1), n_queries=n_users, n_candidates=n_items)


def main() -> None:
    """Fits one epoch and records time and peak memory."""
    sizes = [int(text) for text in sys.argv[1:]] or [1_000_000, 200_000, 50_000_000]
    log = Interactions.from_pairs(synthetic(*sizes))
    made = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    model = UltraGCN(epochs=1, progress=True)
    start = time.perf_counter()
    with peak_memory(every=0.05) as peak:
        model.fit(log)
    record(
        "memory",
        sizes={"users": log.n_users, "items": log.n_items, "pairs": len(log.pairs)},
        model=repr(model),
        fit_s=time.perf_counter() - start,
        peak_gb=peak.gb,
        peak_making_the_log_gb=made,
        loss=model.history_,
    )


if __name__ == "__main__":
    under_both_heaps(main)
