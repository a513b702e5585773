"""How fast are new interactions folded in, and how does the time grow?

    python -m benchmarks.bench_update            # or some of: solvers, growth, many, refit

``solvers``: 1,000 users of gowalla against vectors of ALS: our confidence-weighted solve against
implicit's ``recalculate_user``, and the published linear update for all users at once against its
loop over users. ``growth``: seconds of UltraGCN's exact and cached solve for 1,000 users among more
users and more items. ``many``: a thousand updates against one, with memory and the size on disk.
``refit``: 1,000 users of gowalla with a fifth of their items hidden and revealed, ``partial_fit``
against training again, and what both are worth on test.
"""

from __future__ import annotations

import copy
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import scipy.sparse
import torch
from torch import Tensor

import data
from benchmarks.record import compared, record, turn_by_turn, under_both_heaps
from hyperrank import store
from hyperrank.sparse import SparseMatrix, from_pairs
from recsys import ImplicitALS, Interactions, UltraGCN, evaluate
from recsys.item_graph import item_factor, user_factor
from recsys.logistic_rows import FrozenTable, RowProblems, expand, spread_centres
from recsys.row_solvers import solve, solve_cached
from recsys.warm_start import confidence_weighted, degree_weighted, pseudo_inverse, whitened

USERS, LOOPED, DIM, LENGTH = 1_000, 50, 64, 30
GOWALLA: dict[str, Any] = {"epochs": 40, "item_weight": 0.0, "lr": 8e-3, "l2": 0.2}


def solvers() -> None:
    """Closed forms for squared losses, on gowalla."""
    train = data.split("gowalla")[0]
    model = ImplicitALS(dim=DIM, regularization=10.0, alpha=40.0, iterations=3).fit(train)
    items, seen = model._factors().candidates, model.seen_
    chosen = torch.randperm(seen.n_queries, generator=torch.Generator().manual_seed(0))[:USERS]
    history = from_pairs(seen).select(chosen)
    confident = history.with_values(history.values * 40.0)
    matrix = scipy.sparse.csr_matrix(
        (confident.values.numpy(), confident.columns.numpy(), confident.starts.numpy()),
        shape=confident.shape,
    )
    peer, rows = _peer(items, regularization=10.0), np.arange(USERS)
    known = whitened(items, 10.0)  # made once, like the Gram matrix that implicit keeps
    sides = {
        "ours": lambda: confidence_weighted(confident, known),
        "implicit": lambda: peer.recalculate_user(rows, matrix),
    }
    gap = np.abs(sides["implicit"]() - sides["ours"]().numpy()).max()
    times = turn_by_turn(sides, repeats=7)
    facts = compared(times, ours="ours", base="implicit")
    record("update", case="ALS, 1,000 users", largest_gap=float(gap), **facts)

    owners, others = user_factor(history.starts.diff()), item_factor(seen.candidate_degrees)
    dense = torch.zeros(LOOPED, history.shape[1])
    part = history.select(torch.arange(LOOPED))
    dense[part.row_numbers, part.columns] = 1.0
    table = pseudo_inverse(items)  # made once, like the loop's own
    inverse = table.T.contiguous()

    def loop() -> Tensor:  # as published: a d x m matrix is scaled for each user
        return torch.stack(
            [(inverse / (1.0 + owners[u] * others)) @ dense[u] for u in range(LOOPED)]
        )

    sides = {
        "ours": lambda: degree_weighted(history, table, owners, others),
        "loop": loop,
    }
    gap = (sides["loop"]() - sides["ours"]()[:LOOPED]).abs().max()
    times = turn_by_turn(sides, repeats=7)
    facts = compared(times, ours="ours", base="loop")
    facts["ratio"] *= USERS / LOOPED  # the loop took 50 users
    facts["ratio_cpu"] *= USERS / LOOPED
    record("update", case="published update, 1,000 users", largest_gap=float(gap), **facts)


def _peer(items: Tensor, regularization: float) -> Any:
    from implicit.cpu.als import AlternatingLeastSquares
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, "blas"):
        peer = AlternatingLeastSquares(factors=DIM, regularization=regularization)
    peer.item_factors = items.numpy()
    return peer


def growth() -> None:
    """The same 1,000 problems among more items; more users do not enter a solve at all."""
    seconds: dict[str, dict[str, float]] = {"exact": {}, "cached": {}}
    generator = torch.Generator().manual_seed(0)
    for n_items in (10_000, 100_000, 1_000_000):
        table, problems, start = _synthetic(n_items, generator)
        begin = time.perf_counter()
        expansion = expand(table, spread_centres(start, 16, generator=generator))
        made = time.perf_counter() - begin
        sides = {
            "cached": lambda a=table, p=problems, s=start, e=expansion: solve_cached(a, p, s, e)
        }
        if n_items <= 100_000:
            sides["exact"] = lambda a=table, p=problems, s=start, e=expansion: solve(a, p, s, e)
        times = turn_by_turn(sides, repeats=3)
        for name, timing in times.items():
            seconds[name][str(n_items)] = timing.summary()["median_s"]
        seconds.setdefault("expansion", {})[str(n_items)] = made
    record("update", case="growth in items", users=USERS, length=LENGTH, seconds=seconds)
    whole: dict[str, dict[str, float]] = {}
    for n_users in (10_000, 100_000, 1_000_000):
        whole[str(n_users)] = _updated_among(n_users)
    record("update", case="growth in untouched users", users=USERS, seconds=whole)


def _synthetic(n_items: int, generator: torch.Generator) -> tuple[FrozenTable, RowProblems, Tensor]:
    vectors = torch.randn(n_items, DIM, generator=generator) * 0.3
    vectors[:, 0] = -3
    flat = torch.full((n_items,), 1 / n_items)
    columns = torch.randint(n_items, (USERS * LENGTH,), generator=generator)
    starts = torch.arange(USERS + 1) * LENGTH
    positives = SparseMatrix(starts, columns, torch.full((USERS * LENGTH,), 0.05), (USERS, n_items))
    share = torch.full((USERS,), 300.0 * LENGTH)
    problems = RowProblems(positives, share * 1e-6, share * 0.02)
    start = torch.randn(USERS, DIM, generator=generator) * 0.3
    start[:, 0] = 1
    return FrozenTable(vectors, flat, flat, 0.2), problems, start


def _updated_among(n_users: int) -> dict[str, float]:
    """Seconds by stage of an update of 1,000 users, items 10,000, ten pairs a user."""
    rng = np.random.default_rng(0)
    base = _log(np.repeat(np.arange(n_users), 10), rng.integers(10_000, size=10 * n_users))
    model = UltraGCN(epochs=1, dim=16, item_weight=0.0, batch_size=n_users // 100, negatives=256)
    model.fit(base)
    news = _log(rng.integers(n_users, size=USERS), rng.integers(10_000, size=USERS))
    copy.copy(model).partial_fit(news)  # makes what is made once
    return copy.copy(model).partial_fit(news).seconds


def _log(users: Any, items: Any) -> Interactions:
    return Interactions.from_frame(pd.DataFrame({"user": users, "item": items}))


def many() -> None:
    """A thousand updates of ten events against one update with all of them, on ml-100k."""
    frame = data.log("ml-100k").to_frame("pandas").sort_values("time", kind="stable")
    frame = frame[["user", "item"]]
    model = UltraGCN(epochs=10).fit(Interactions.from_frame(frame[:-10_000]))
    news = frame[-10_000:]
    at_once, one_by_one = copy.copy(model), copy.copy(model)
    at_once.partial_fit(Interactions.from_frame(news))
    held = []
    begin = time.perf_counter()
    for step in range(1_000):
        one_by_one.partial_fit(Interactions.from_frame(news[10 * step : 10 * step + 10]))
        held.append(psutil.Process().memory_info().rss / 1e9)
    seconds = time.perf_counter() - begin
    gaps = {}
    for side in ("queries", "candidates"):
        ours, theirs = (getattr(m._factors(), side) for m in (one_by_one, at_once))
        ids = (
            (one_by_one.users_, at_once.users_)
            if side == "queries"
            else (one_by_one.items_, at_once.items_)
        )
        theirs = theirs[ids[1].rows(ids[0].ids)]
        gaps[side] = float(((ours - theirs).norm(dim=1) / theirs.norm(dim=1)).max())
    with tempfile.TemporaryDirectory() as folder:
        sizes = []
        for kept in (model, one_by_one):
            store.save(kept, Path(folder) / "m")
            sizes.append(sum(p.stat().st_size for p in (Path(folder) / "m").iterdir()))
    record(
        "update",
        case="a thousand updates",
        largest_relative_gap=gaps,
        ms_per_update=seconds,  # of a thousand
        resident_gb_after_100_and_1000=[held[99], held[-1]],
        bytes_before_and_after=sizes,
        pairs_before_and_after=[len(model.seen_), len(one_by_one.seen_)],
    )


def refit() -> None:
    """``partial_fit`` against training again, on gowalla."""
    train, test = data.split("gowalla")
    frame = train.to_frame("pandas")
    rng = np.random.default_rng(0)
    warm = rng.choice(frame.user.unique(), USERS, replace=False)
    hidden = frame.user.isin(warm) & (rng.random(len(frame)) < 0.2)
    model = UltraGCN(**GOWALLA).fit(Interactions.from_frame(frame[~hidden]))
    news = Interactions.from_frame(frame[hidden])
    copy.copy(model).partial_fit(news)  # makes what is made once
    updated = copy.copy(model)
    begin = time.perf_counter()
    report = updated.partial_fit(news)
    folded = time.perf_counter() - begin
    swept = copy.copy(model)
    begin = time.perf_counter()
    swept.partial_fit(news, sweeps=1)
    sweeping = time.perf_counter() - begin
    again = UltraGCN(**GOWALLA)
    begin = time.perf_counter()
    again.fit(train)
    refitted = time.perf_counter() - begin
    stale = copy.copy(model)
    known = train.reindex(model.users_, model.items_).pairs
    stale._settle(model.users_, model.items_, known, model.backend_, model.scorer_)
    wanted = test.to_frame("pandas")
    wanted = Interactions.from_frame(wanted[wanted.user.isin(warm)])
    accuracy = {}
    for name, one in (
        ("stale", stale),
        ("updated", updated),
        ("swept", swept),
        ("refit", again),
    ):
        table = evaluate(one, wanted, ["recall@20", "ndcg@20"])
        accuracy[name] = {row.metric: [row.value, row.low, row.high] for row in table.itertuples()}
    record(
        "update",
        case="1,000 users of gowalla",
        users=report.users_touched,
        pairs=report.pairs_added,
        seconds={"partial_fit": folded, "one sweep": sweeping, "refit": refitted, **report.seconds},
        ratio=refitted / folded,
        ratio_of="partial_fit against training again",
        score_error=report.score_error,
        accuracy=accuracy,
    )


PARTS = {"solvers": solvers, "growth": growth, "many": many, "refit": refit}


def main() -> None:
    """The parts named, or all."""
    for name in sys.argv[1:] or PARTS:
        PARTS[name]()


if __name__ == "__main__":
    under_both_heaps(main)
