"""How much of a refit does folding in recover, in what time, when a log is cut at one moment?

    python -m benchmarks.quality_warm_start ml-100k          # or several, or all by default
    python -m benchmarks.quality_warm_start tune ml-100k     # settings, by what is before the cut
    python -m benchmarks.quality_warm_start triplh movietweetings         # TriplH by itself
    python -m benchmarks.quality_warm_start tune-triplh movietweetings

The log is cut at the moment before which 90% of the first events of a pair lie. Models learn from
what is before. Of what a user does afterwards all but the last is revealed, the last is to be
predicted; all that is known is left out of the lists. Strata: warm users (events before the cut)
and cold ones, with targets that were there before the cut and new ones, each reported by itself.

Arms: every way to give touched users a vector with UltraGCN's items frozen, ``partial_fit`` of
UltraGCN, ALS and PureSVD without and with sweeps, UltraGCN trained on from its tables, EASE with
the longer histories, and each model fitted again on all that is known. UltraGCN's ``SETTINGS`` are
those of ``GRID`` whose refit is best for warm users when what is before the cut is cut in turn, and
so are TriplH's, whose arms are in lines of their own.
"""

from __future__ import annotations

import copy
import dataclasses
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
from recsys import (
    EASE,
    ImplicitALS,
    Interactions,
    Popularity,
    PureSVD,
    TriplH,
    UltraGCN,
    compare,
    evaluate,
)
from recsys import warm_start as closed
from recsys.graph_rows import frozen_items, user_problems
from recsys.histories import Record
from recsys.item_graph import item_factor, user_factor
from recsys.logistic_rows import gradient
from recsys.recommender import Recommender
from recsys.row_solvers import solve
from recsys.update_passes import grown

SETS = ("ml-100k", "movietweetings", "completejourney", "amazon-beauty")
METRICS = ["ndcg@10", "recall@10", "ndcg@20", "recall@20"]
MOST_ITEMS = 10_000  # of EASE, whose cost grows with their cube
EPOCHS = 10
GRID = [
    {"item_weight": item_weight, "l2": l2}
    for item_weight in (5e-4, 0.3, 1.0)
    for l2 in (0.04, 0.15)
]
SETTINGS: dict[str, dict[str, float]] = {
    "ml-100k": {"item_weight": 5e-4, "l2": 0.15},
    "movietweetings": {"item_weight": 1.0, "l2": 0.04},
    "amazon-beauty": {"item_weight": 1.0, "l2": 0.04},
    "completejourney": {"item_weight": 5e-4, "l2": 0.15},  # not searched: each fit takes minutes
}


TRIPLETS: dict[str, dict[str, float]] = {
    "movietweetings": {"scale": 7.0, "l2": 0.06},
    "amazon-beauty": {"scale": 7.0, "l2": 0.06},
}
TRIPLET_GRID = [{"scale": 5.0, "l2": 0.06}, {"scale": 7.0, "l2": 0.06}]
TRIPLET_EPOCHS = 15


class Cut(NamedTuple):
    """A log before a moment, what is revealed after it, and the targets of each stratum."""

    before: Interactions
    revealed: Interactions
    targets: dict[str, Interactions]


def events(name: str) -> pd.DataFrame:
    """First events of each pair, in the order of time."""
    frame = data.log(name).to_frame("pandas")[["user", "item", "time"]]
    return frame.sort_values("time", kind="stable").drop_duplicates(["user", "item"])


def is_late(frame: pd.DataFrame) -> Any:
    """Which rows are among the last tenth, or as late as its first."""
    return frame.time >= frame.time.quantile(0.9, interpolation="higher")


def cut(frame: pd.DataFrame) -> Cut:
    """The protocol of the module's docstring; pairs count once, at their first event."""
    late = is_late(frame)
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


def ultragcn(settings: dict[str, float]) -> UltraGCN:
    """As it is fitted here."""
    return UltraGCN(negatives=4096, epochs=EPOCHS, **settings)  # type: ignore[arg-type]


def arms(found: Cut, settings: dict[str, float]) -> dict[str, Arm]:
    """Every way to answer after the cut."""
    everything = found.before.extend(found.revealed)
    touched = found.revealed.n_users
    made: dict[str, Arm] = {"popularity": timed(lambda: Popularity().fit(everything), 1)}
    base = ultragcn(settings).fit(found.before)
    made |= frozen_item_arms(base, found.revealed)
    made["UltraGCN trained on 3 epochs"] = timed(
        lambda: trained_on(base, everything, epochs=3), everything.n_users
    )
    for name, model in {
        "UltraGCN": base,
        "ALS": ImplicitALS(regularization=10.0, alpha=10.0).fit(found.before),
        "PureSVD": PureSVD().fit(found.before),
    }.items():
        made |= updated_arms(name, model, found, everything)
    made["EASE stale weights"] = timed(lambda: longer_histories(found, everything), touched)
    made["EASE refit"] = timed(
        lambda: EASE(max_items=MOST_ITEMS).fit(everything), everything.n_users
    )
    return made


def updated_arms(name: str, model: Any, found: Cut, everything: Interactions) -> dict[str, Arm]:
    """As it was, after updates, and fitted again."""
    touched = found.revealed.n_users
    made = {f"{name} stale": Arm(with_vectors(model, found.revealed), 0.0, touched)}
    for sweeps, label in enumerate(("", ", 1 sweep", ", 2 sweeps", ", 3 sweeps")):
        made[f"{name} partial_fit{label}"] = timed(
            lambda n=sweeps: updated(model, found.revealed, n), touched
        )
    again = copy.copy(model)
    made[f"{name} refit"] = timed(lambda: again.fit(everything), everything.n_users)
    return made


def updated(model: Any, news: Interactions, sweeps: int) -> Recommender:
    """A copy after ``partial_fit``."""
    other: Recommender = copy.copy(model)
    other.partial_fit(news, sweeps=sweeps)  # type: ignore[attr-defined]
    return other


def trained_on(base: UltraGCN, everything: Interactions, epochs: int) -> Recommender:
    """Trained for some more epochs from its own tables, new rows at their means."""
    model = dataclasses.replace(base, epochs=epochs)
    tables = base._factors()
    starts = [
        torch.where(rows[:, None] < 0, table.mean(0), table[rows.clamp_min(0)])
        for table, rows in (
            (tables.queries, base.users_.rows(everything.users.ids, "mark")),
            (tables.candidates, base.items_.rows(everything.items.ids, "mark")),
        )
    ]
    model._start = lambda *_: tuple(starts)  # type: ignore[method-assign, assignment, return-value]
    return model.fit(everything)


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
    queries = grown(tables.queries, len(users), tables.queries.mean(0))
    if vectors is not None:
        rows = torch.unique(known.queries)
        histories = Record(seen, None, 1.0).of_users(rows, model._base.item_degree)
        queries = queries.index_copy(0, rows, vectors(queries[rows], histories))
    other._settle(users, model.items_, seen, model.backend_, Factors(queries, tables.candidates))
    result: Recommender = other
    return result


def frozen_item_arms(model: UltraGCN, news: Interactions) -> dict[str, Arm]:
    """Ways to a user's vector with UltraGCN's items as they are."""
    items = model._factors().candidates
    degree = model._base.item_degree

    def published(_: Tensor, histories: Any) -> Tensor:
        pairs = histories.pairs
        own = user_factor(pairs.starts.diff())
        return closed.degree_weighted(pairs, closed.pseudo_inverse(items), own, item_factor(degree))

    def newton(steps: int) -> Callable[[Tensor, Any], Tensor]:
        def vectors(start: Tensor, histories: Any) -> Tensor:
            return solve(*problem(histories), start, None, steps=steps).vectors

        return vectors

    def problem(histories: Any) -> tuple[Any, Any]:
        weights = model._loss_weights()
        chance = torch.full((len(items),), 1 / len(items))
        table = frozen_items(items, degree, chance, weights)
        return table, user_problems(histories.pairs, degree, model._base.neighbours, weights)

    def adam(start: Tensor, histories: Any) -> Tensor:
        rows, (table, problems) = start.clone().requires_grad_(), problem(histories)
        optimizer = torch.optim.Adam([rows], lr=0.1)
        for _ in range(20):
            rows.grad = gradient(table, problems, rows.detach())
            optimizer.step()
        return rows.detach()

    ways: dict[str, Callable[[Tensor, Any], Tensor]] = {
        "projection": lambda _, h: closed.projection(h.pairs, items),
        "pseudo-inverse": lambda _, h: closed.projection(h.pairs, closed.pseudo_inverse(items)),
        "ridge": lambda _, h: closed.ridge(h.pairs, items, 10.0),
        "published": published,
        "20 gradient steps": adam,
        **{f"Newton {steps}": newton(steps) for steps in (1, 2, 4)},
    }
    return {
        f"UltraGCN {name}": timed(lambda w=way: with_vectors(model, news, w), news.n_users)
        for name, way in ways.items()
    }


def recovered(table: pd.DataFrame, family: str) -> dict[str, float | None]:
    """The gap from stale to refit, and the share of it that partial_fit closed."""
    rows = table[table.metric == METRICS[0]].set_index("model")
    arms = ("stale", "partial_fit", "partial_fit, 2 sweeps", "refit")
    stale, new, swept, again = (rows.value[f"{family} {arm}"] for arm in arms)
    gap = again - stale
    shares = {"recovered": new, "recovered by 2 sweeps": swept}
    return {"gap": gap} | {k: (v - stale) / gap if gap else None for k, v in shares.items()}


def triplet(settings: dict[str, float]) -> TriplH:
    """As it is fitted here."""
    return TriplH(epochs=TRIPLET_EPOCHS, **settings)  # type: ignore[arg-type]


def tune(name: str, family: str = "UltraGCN") -> None:
    """Records a line for each setting of the grid, by what is before the cut."""
    frame = events(name)
    found = cut(frame[~is_late(frame)])
    everything = found.before.extend(found.revealed)
    make, grid = {"UltraGCN": (ultragcn, GRID), "TriplH": (triplet, TRIPLET_GRID)}[family]
    for settings in grid:
        start = time.perf_counter()
        model = make(settings).fit(everything)
        seconds = time.perf_counter() - start
        value = evaluate(model, found.targets["warm"], METRICS[:1], exclude_seen=True)
        record(
            "tune_warm_start",
            data=name,
            model=family,
            settings=settings,
            ndcg=float(value.value.iloc[0]),
            seconds=seconds,
        )


def tune_triplet(name: str) -> None:
    """``tune``, of TriplH."""
    tune(name, "TriplH")


def run(name: str) -> None:
    """Records one line for a set."""
    found = cut(events(name))
    made = arms(found, SETTINGS[name])
    families = ("UltraGCN", "ALS", "PureSVD")
    judged("quality_warm_start", name, found, made, families, ultragcn(SETTINGS[name]))


def run_triplet(name: str) -> None:
    """Records one line for a set, of TriplH and popularity."""
    found = cut(events(name))
    everything = found.before.extend(found.revealed)
    base = triplet(TRIPLETS[name]).fit(found.before)
    made = {"popularity": timed(lambda: Popularity().fit(everything), 1)}
    made |= updated_arms("TriplH", base, found, everything)
    judged("quality_warm_start_triplh", name, found, made, ("TriplH",), base)


def judged(
    question: str, name: str, found: Cut, made: dict[str, Arm], families: Any, model: Recommender
) -> None:
    """Records accuracy by stratum, and time; arms are held against the first family's stale one."""
    strata: dict[str, Any] = {}
    for stratum, targets in found.targets.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # users without a vector get the popular items
            table = compare(
                {arm: one.model for arm, one in made.items()},
                targets,
                METRICS,
                baseline=f"{families[0]} stale",
                exclude_seen=True,
            )
        columns = ["value", "low", "high", "p_adjusted"]
        by_arm = {
            arm: {row.metric: [getattr(row, c) for c in columns] for row in part.itertuples()}
            for arm, part in table.groupby("model", sort=False)
        }
        gaps = {family: recovered(table, family) for family in families}
        strata[stratum] = {"users": targets.n_users, "arms": by_arm, "gaps": gaps}
    record(
        question,
        data=name,
        sizes={
            "users": found.before.n_users,
            "items": found.before.n_items,
            "pairs": len(found.before.pairs),
            "revealed": len(found.revealed.pairs),
            "touched": found.revealed.n_users,
        },
        settings=repr(model),
        seconds={arm: one.seconds for arm, one in made.items()},
        ms_per_user={arm: 1e3 * one.seconds / one.users for arm, one in made.items()},
        strata=strata,
    )


def main() -> None:
    """Every set named, or all."""
    ways = {"tune": tune, "triplh": run_triplet, "tune-triplh": tune_triplet}
    words = sys.argv[1:]
    way = ways.get(words[0], run) if words else run
    for name in words[way is not run :] or (
        TRIPLETS if way in (run_triplet, tune_triplet) else SETS
    ):
        way(name)


if __name__ == "__main__":
    main()
