"""Logs, models and a comparison for the tests of updates."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from recsys import ImplicitALS, Interactions, PureSVD, SquaredUltraGCN, TriplH, UltraGCN
from recsys.updatable import UpdatableRecommender

N_USERS, N_ITEMS = 40, 25


def events(seed: int, n: int, users: int = N_USERS, items: int = N_ITEMS) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {"user": rng.integers(users, size=n), "item": (rng.random(n) ** 2 * items).astype(int)}
    )


def log(*frames: pd.DataFrame, weight: bool = False) -> Interactions:
    frame = pd.concat(frames)
    return Interactions.from_frame(frame, weight="weight" if weight else None)


BASE = events(0, 300)
NEWS = pd.concat(  # known and new users and items, repeats, and cold ones of both sides
    [
        events(1, 30),
        events(2, 25, N_USERS + 6, N_ITEMS + 4),
        pd.DataFrame({"user": [100, 0, 101, 101], "item": [3, 200, 200, 201]}),
    ]
).reset_index(drop=True)


@lru_cache
def fitted(**changes: float) -> UltraGCN:
    settings = {"dim": 6, "epochs": 15, "l2": 0.3, "negatives": 100, "item_weight": 0.05} | changes
    return UltraGCN(**settings).fit(log(BASE))  # type: ignore[arg-type]


def fitted_triplet(**changes: Any) -> TriplH:
    """Learned for a moment; ``changes`` as they are hashable."""
    return _fitted_triplet(tuple(sorted(changes.items())))


@lru_cache
def _fitted_triplet(changes: tuple[tuple[str, Any], ...]) -> TriplH:
    settings = {"dim": 6, "epochs": 8, "batch_size": 8, "lr": 0.1, "l2": 0.1} | dict(changes)
    return TriplH(**settings).fit(log(BASE))


TRIPLETS = {
    "TriplH": fitted_triplet,
    "TriplH cosine": lambda: fitted_triplet(geometry="cosine"),
    "TriplH lorentzian, unseen negatives": lambda: fitted_triplet(
        geometry="lorentzian", scale=1.0, exclude_seen=True, negative_power=0.5, negatives=20
    ),
}

OTHERS = {
    "PureSVD": lambda: PureSVD(dim=6).fit(log(BASE)),
    "SquaredUltraGCN": lambda: SquaredUltraGCN(dim=6).fit(log(BASE)),
    "SquaredUltraGCN as published": lambda: SquaredUltraGCN(
        dim=6, fold_in_by="published", offset=0.1
    ).fit(log(BASE)),
    "ImplicitALS": lambda: ImplicitALS(dim=6, regularization=1.0, alpha=5.0).fit(log(BASE)),
}


def vectors(model: UpdatableRecommender) -> tuple[pd.DataFrame, pd.DataFrame]:
    tables = model._factors()
    pairs = ((model.users_, tables.queries), (model.items_, tables.candidates))
    users, items = (pd.DataFrame(table.numpy(), index=ids.ids).sort_index() for ids, table in pairs)
    return users, items


def assert_same(one: UpdatableRecommender, other: UpdatableRecommender) -> None:
    """Equal up to what the solver certifies: 1e-4 of a row's size, on both sides of a row."""
    for mine, theirs in zip(vectors(one), vectors(other), strict=True):
        pd.testing.assert_frame_equal(mine, theirs, rtol=0, atol=1e-3, check_index_type=False)
    assert len(one.seen_) == len(other.seen_)
