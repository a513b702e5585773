"""How much of a refit does folding in recover, in what time, when a log is cut at one moment?

    python -m benchmarks.quality_warm_start ml-100k          # or several, or all by default

The log is cut at the moment before which 90% of the first events of a pair lie. Models learn from
what is before. Of what a user does afterwards all but the last is revealed, the last is to be
predicted; all that is known is left out of the lists. Strata: warm users (events before the cut)
and cold ones, with targets that were there before the cut and new ones, each reported by itself.

Arms: every way to give touched users a vector with UltraGCN's items frozen, ``partial_fit`` of
UltraGCN, ALS and PureSVD, EASE with the longer histories, and each model fitted again on all that
is known. Settings are the defaults of each model, ``SETTINGS`` where a set needs others.
"""

from __future__ import annotations

import copy
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import pandas as pd
import torch
from torch import Tensor

import data
from benchmarks.record import record
from hyperrank.pairs import PairSet
from hyperrank.scorers import Factors
from recsys import EASE, ImplicitALS, Interactions, Popularity, PureSVD, UltraGCN, compare
from recsys import warm_start as closed
from recsys.graph_rows import frozen_items, user_problems
from recsys.item_graph import item_factor, user_factor
from recsys.recommender import Recommender
from recsys.row_solvers import solve

SETS = ("ml-100k", "movietweetings", "completejourney", "amazon-beauty")
METRICS = ["ndcg@10", "recall@10", "ndcg@20", "recall@20"]
MOST_ITEMS = 10_000  # of EASE, whose cost grows with their cube
SETTINGS: dict[str, Any] = {"negatives": 4096, "epochs": 30}


class Cut(NamedTuple):
    """A log before a moment, what is revealed after it, and the targets of each stratum."""

    before: Interactions
    revealed: Interactions
    targets: dict[str, Interactions]


def cut(name: str) -> Cut:
    """The protocol of the module's docstring; pairs count once, at their first event."""
    frame = data.log(name).to_frame("pandas")[["user", "item", "time"]]
    frame = frame.sort_values("time", kind="stable").drop_duplicates(["user", "item"])
    late = frame.time >= frame.time.quantile(0.9, interpolation="higher")
    before, after = frame[~late], frame[late]
    after = after[after.groupby("user").item.transform("size") >= 2]
    last = ~after.duplicated("user", keep="last")
    target, revealed = after[last], after[~last]
    warm, there = target.user.isin(set(before.user)), target.item.isin(set(before.item))
    strata = {
        "warm": target[warm & there],
        "cold": target[~warm & there],
        "new items": target[~there],
    }
    targets = {name: log(part) for name, part in strata.items() if len(part)}
    return Cut(log(before), log(revealed), targets)


def log(frame: pd.DataFrame) -> Interactions:
    """Without times, which no model here uses."""
    return Interactions.from_frame(frame[["user", "item"]])


class Arm(NamedTuple):
    """A model that answers with all that is known left out, and what it took to make it."""

    model: Recommender
    seconds: float
    users: int  # for whom something was computed


def timed(make: Callable[[], Recommender], users: int) -> Arm:
    """The arm that ``make`` makes."""
    start = time.perf_counter()
    model = make()
    return Arm(model, time.perf_counter() - start, users)


def arms(found: Cut) -> dict[str, Arm]:
    """Every way to answer after the cut."""
    everything = found.before.extend(found.revealed)
    touched = found.revealed.n_users
    made: dict[str, Arm] = {"popularity": timed(lambda: Popularity().fit(everything), 1)}
    base = UltraGCN(**SETTINGS).fit(found.before)
    made |= frozen_item_arms(base, found.revealed)
    for name, model in {
        "UltraGCN": base,
        "ALS": ImplicitALS(regularization=10.0, alpha=10.0).fit(found.before),
        "PureSVD": PureSVD().fit(found.before),
    }.items():
        made[f"{name} stale"] = Arm(with_vectors(model, found.revealed), 0.0, touched)
        made[f"{name} partial_fit"] = timed(lambda m=model: updated(m, found.revealed), touched)
        again = copy.copy(model)
        made[f"{name} refit"] = timed(lambda m=again: m.fit(everything), everything.n_users)
    made["EASE stale weights"] = timed(lambda: longer_histories(found, everything), touched)
    made["EASE refit"] = timed(
        lambda: EASE(max_items=MOST_ITEMS).fit(everything), everything.n_users
    )
    return made


def updated(model: Any, news: Interactions) -> Recommender:
    """A copy after ``partial_fit``."""
    other: Recommender = copy.copy(model)
    other.partial_fit(news)  # type: ignore[attr-defined]
    return other


def longer_histories(found: Cut, everything: Interactions) -> Recommender:
    """EASE's weights from before the cut, histories from all that is known."""
    model = EASE(max_items=MOST_ITEMS).fit(found.before)
    known = everything.reindex(everything.users, model.items_)
    seen = known.pairs.to(model.seen_.device)
    model._settle(
        known.users, model.items_, seen, model.backend_, model.scorer_.with_histories(seen)
    )
    return model


def with_vectors(
    model: Any, news: Interactions, vectors: Callable[[Tensor, Any], Tensor] | None = None
) -> Recommender:
    """The model with the news in its masks, touched users' vectors from ``vectors(rows, ...)``.

    Items that it does not know stay unknown.
    """
    other = copy.copy(model)
    users = model.users_.extend(news.users.ids)
    known = news.reindex(users, model.items_).pairs.to(model.seen_.device)
    seen: PairSet = model.seen_.resize(n_queries=len(users), n_candidates=len(model.items_))
    seen = seen.union(known)
    tables = model._factors()
    queries = model._grown(tables.queries, len(users))
    if vectors is not None:
        rows = torch.unique(known.queries)
        histories = model._histories(seen, None, rows)
        queries = queries.index_copy(0, rows, vectors(queries[rows], histories))
    other._settle(users, model.items_, seen, model.backend_, Factors(queries, tables.candidates))
    result: Recommender = other
    return result


def frozen_item_arms(model: UltraGCN, news: Interactions) -> dict[str, Arm]:
    """Ways to a user's vector with UltraGCN's items as they are."""
    items = model._factors().candidates
    degree = model._fit.item_degree

    def published(_: Tensor, histories: Any) -> Tensor:
        pairs = histories.pairs
        own = user_factor(pairs.starts.diff())
        return closed.degree_weighted(pairs, closed.pseudo_inverse(items), own, item_factor(degree))

    def newton(steps: int) -> Callable[[Tensor, Any], Tensor]:
        def vectors(start: Tensor, histories: Any) -> Tensor:
            weights = model._loss_weights()
            chance = torch.full((len(items),), 1 / len(items))
            table = frozen_items(items, degree, chance, weights)
            problems = user_problems(histories.pairs, degree, model._neighbours, weights)
            return solve(table, problems, start, None, steps=steps).vectors

        return vectors

    ways: dict[str, Callable[[Tensor, Any], Tensor]] = {
        "projection": lambda _, h: closed.projection(h.pairs, items),
        "pseudo-inverse": lambda _, h: closed.projection(h.pairs, closed.pseudo_inverse(items)),
        "ridge": lambda _, h: closed.ridge(h.pairs, items, 10.0),
        "published": published,
        **{f"Newton {steps}": newton(steps) for steps in (1, 2, 4)},
    }
    return {
        f"UltraGCN {name}": timed(lambda w=way: with_vectors(model, news, w), news.n_users)
        for name, way in ways.items()
    }


def recovered(table: pd.DataFrame, family: str) -> dict[str, float | None]:
    """The gap from stale to refit, and the share of it that partial_fit closed."""
    rows = table[table.metric == METRICS[0]].set_index("model")
    stale, new, again = (rows.value[f"{family} {arm}"] for arm in ("stale", "partial_fit", "refit"))
    gap = again - stale
    return {"gap": gap, "recovered": (new - stale) / gap if gap else None}


def run(name: str) -> None:
    """Records one line for a set."""
    found = cut(name)
    made = arms(found)
    strata: dict[str, Any] = {}
    for stratum, targets in found.targets.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # users without a vector get the popular items
            table = compare(
                {arm: one.model for arm, one in made.items()},
                targets,
                METRICS,
                baseline="UltraGCN stale",
                exclude_seen=True,
            )
        columns = ["value", "low", "high", "p_adjusted"]
        by_arm = {
            arm: {row.metric: [getattr(row, c) for c in columns] for row in part.itertuples()}
            for arm, part in table.groupby("model", sort=False)
        }
        gaps = {family: recovered(table, family) for family in ("UltraGCN", "ALS", "PureSVD")}
        strata[stratum] = {"users": targets.n_users, "arms": by_arm, "gaps": gaps}
    record(
        "quality_warm_start",
        data=name,
        sizes={
            "users": found.before.n_users,
            "items": found.before.n_items,
            "pairs": len(found.before.pairs),
            "revealed": len(found.revealed.pairs),
            "touched": found.revealed.n_users,
        },
        settings=repr(UltraGCN(**SETTINGS)),
        seconds={arm: one.seconds for arm, one in made.items()},
        ms_per_user={arm: 1e3 * one.seconds / one.users for arm, one in made.items()},
        strata=strata,
    )


def main() -> None:
    """Every set named, or all."""
    for name in sys.argv[1:] or SETS:
        run(name)


if __name__ == "__main__":
    main()
