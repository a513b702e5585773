"""How fast are the 20 best unseen items of all Gowalla users, against implicit on the same factors?

    HYPERRANK_DATA=... python -m benchmarks.bench_topk [--repeats 7] [--heap kept|default]

Both sides get implicit's own trained ALS factors (64 dims; on random ones implicit looks twice as
slow), the same threads and the same known pairs, and take turns in one process. The lists are
compared place by place; where they differ, the scores of the two items must be equal to rounding.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
import torch

from benchmarks.record import compared, peak_memory, record, turn_by_turn, under_both_heaps
from hyperrank.pairs import PairSet, pair_set
from hyperrank.products import fast_products
from hyperrank.retrieval import TopK, top_k
from hyperrank.scorers import Factors

K, DIM = 20, 64


def gowalla() -> PairSet:
    """Training pairs of the LightGCN split."""
    import pandas as pd

    folder = os.environ.get("HYPERRANK_DATA")
    if not folder:
        raise SystemExit("set HYPERRANK_DATA to the folder of data sets")
    train, test = (
        pd.read_parquet(Path(folder) / "recsys" / "gowalla" / f"{part}.parquet")
        for part in ("train", "test")
    )
    n_users, n_items = (
        int(max(train[column].max(), test[column].max())) + 1 for column in ("user", "item")
    )
    user, item = (torch.tensor(train[column].to_numpy()) for column in ("user", "item"))
    return pair_set(user, item, n_queries=n_users, n_candidates=n_items)


def als(matrix: Any) -> Any:
    """ALS of implicit at the setting that does best on this log among those tried."""
    from implicit.cpu.als import AlternatingLeastSquares

    model = AlternatingLeastSquares(
        factors=DIM, regularization=50.0, alpha=80.0, iterations=15, random_state=0
    )
    model.fit(matrix, show_progress=False)
    return model


def agreement(ours: TopK, peer: tuple[Any, Any], model: Any) -> dict[str, float]:
    """Share of equal places, and the largest relative score gap where the items differ."""
    mine, theirs = ours.candidates.numpy(), np.asarray(peer[0])
    row, place = np.nonzero(mine != theirs)
    gap = 0.0
    if len(row):
        users = model.user_factors[row].astype(np.float64)
        a, b = (
            (users * model.item_factors[items[row, place]].astype(np.float64)).sum(1)
            for items in (mine, theirs)
        )
        gap = float((abs(a - b) / abs(a).clip(1e-12)).max())
    return {
        "equal_places": float((mine == theirs).mean()),
        "equal_lists": float((mine == theirs).all(1).mean()),
        "largest_score_gap": gap,
    }


def main() -> None:
    """Times both, checks the lists, records."""
    from threadpoolctl import threadpool_limits

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    known = gowalla()
    matrix = scipy.sparse.csr_matrix(known.to_scipy())  # implicit takes no csr_array
    with threadpool_limits(1, "blas"):  # implicit runs its own threads, each calling BLAS
        model = als(matrix)
    model.num_threads = options.threads
    scorer = Factors(torch.from_numpy(model.user_factors), torch.from_numpy(model.item_factors))
    query, rows = torch.arange(known.n_queries), np.arange(known.n_queries)

    def ours() -> TopK:
        with fast_products():
            return top_k(scorer, query, K, known=known)

    def plain() -> TopK:
        return top_k(scorer, query, K, known=known)

    def peer() -> Any:
        with threadpool_limits(1, "blas"):
            return model.recommend(rows, matrix, N=K, filter_already_liked_items=True)

    # memory first: a kept heap would hide what a later call takes
    with peak_memory() as peak:
        found = ours()
    with peak_memory() as peer_peak:
        theirs = peer()
    times = turn_by_turn(
        {"ours": ours, "implicit": peer, "ours_mkl": plain}, repeats=options.repeats
    )
    same = agreement(found, theirs, model)
    if same["largest_score_gap"] > 1e-5:
        raise SystemExit(f"the lists differ beyond rounding: {same}")
    with fast_products() as fast:
        pass
    record(
        "topk",
        title="The 20 best unseen items of every Gowalla user, against implicit's recommend.",
        sizes={"queries": known.n_queries, "candidates": known.n_candidates, "dim": DIM, "k": K},
        **compared(times, ours="ours", base="implicit"),
        onednn=fast,
        agreement=same,
        peak_gb=peak.gb,
        peak_added_gb=peak.above_start_gb,
        implicit_peak_added_gb=peer_peak.above_start_gb,
    )


if __name__ == "__main__":
    under_both_heaps(main)
