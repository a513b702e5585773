"""Does an inner-product index serve TriplH exactly, and what do raw hyperbolic points cost?

Items and users of a mixture of tastes, their norms as popularity has them: ``--items`` free vectors
of 64 dimensions, ``--users`` that ask for their 10 best. Truth is the model's own score in float64.
Recall@10 of faiss, exact (Flat) and approximate (HNSW32, for ``--graph`` items; 0 items leave one
out), of

- mapped: ``TriplH.item_vectors_`` by inner product, asked with ``query_vectors``;
- lifted: the points (x0, x) of the hyperboloid by inner product, asked with (u0, u);
- raw: the free vectors by inner product;
- ball: the points of the Poincare ball by Euclidean distance.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import faiss
import numpy as np
import torch
from torch import Tensor

from benchmarks.record import record
from hyperrank.hyperbolic import lift, to_ball
from recsys.triplet_scores import triangle_rows

DIM, K, TASTES = 64, 10, 50
WAYS: dict[str, tuple[Any, int]] = {
    "mapped": (triangle_rows, faiss.METRIC_INNER_PRODUCT),
    "lifted": (lambda x: lift(x, curvature=-1.0), faiss.METRIC_INNER_PRODUCT),
    "raw": (lambda x: x, faiss.METRIC_INNER_PRODUCT),
    "ball": (lambda x: to_ball(x, curvature=-1.0), faiss.METRIC_L2),
}


def points(n: int, tastes: Tensor, generator: torch.Generator) -> Tensor:
    """Free vectors around directions of taste, of log-normal norms with median 1.2."""
    own = tastes[torch.randint(len(tastes), (n,), generator=generator)]
    mixed = own + 0.7 * torch.randn(n, DIM, generator=generator)
    norm = 1.2 * (0.5 * torch.randn(n, 1, generator=generator)).exp()
    return norm * torch.nn.functional.normalize(mixed)


def truth(users: Tensor, items: Tensor) -> np.ndarray:
    """The 10 best items of each user by the score in float64."""
    right = triangle_rows(items.double())
    best = [(triangle_rows(part.double()) @ right.T).topk(K).indices for part in users.split(50)]
    return torch.cat(best).numpy()


def searched(kind: str, way: str, users: Tensor, items: Tensor) -> tuple[np.ndarray, float]:
    """What an index finds, and seconds per thousand queries."""
    rows, metric = WAYS[way]
    index = faiss.index_factory(rows(items[:1]).shape[1], kind, metric)
    index.add(rows(items).numpy())
    if kind.startswith("HNSW"):
        index.hnsw.efSearch = 128
    queries = rows(users).numpy()
    begun = time.perf_counter()
    found = index.search(queries, K)[1]
    return found, 1000 * (time.perf_counter() - begun) / len(users)


def recall(found: np.ndarray, true: np.ndarray) -> float:
    """Share of the true lists that was found."""
    hits = [len(set(a) & set(b)) for a, b in zip(found.tolist(), true.tolist(), strict=True)]
    return float(np.mean(hits)) / K


def main() -> None:
    """One JSON line for the exact index, one for the graph."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--graph", type=int, default=1_000_000)
    parser.add_argument("--users", type=int, default=200)
    options = parser.parse_args()
    faiss.omp_set_num_threads(torch.get_num_threads())
    generator = torch.Generator().manual_seed(0)
    tastes = torch.randn(TASTES, DIM, generator=generator)
    users = points(options.users, tastes, generator)
    for kind, n in (("Flat", options.items), ("HNSW32", options.graph)):
        if not n:
            continue
        items = points(n, tastes, generator)
        true = truth(users, items)
        figures = {}
        for way in WAYS:
            found, seconds = searched(kind, way, users, items)
            figures[way] = {"recall@10": recall(found, true), "s_per_1000_users": seconds}
        sizes = {"items": n, "users": len(users), "dim": DIM}
        record("triplh_index", case=kind, sizes=sizes, **figures)


if __name__ == "__main__":
    main()
