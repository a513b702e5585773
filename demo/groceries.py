"""The year of baskets: its log, its product names, and three households to follow."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

import data
from recsys import Interactions

NO_GROCERIES = {"FUEL", "MISCELLANEOUS", "COUPON", "TRAVEL & LEISURE", "POSTAL CENTER"}
QUANTILES = (0.25, 0.5, 0.9)  # a small, a middling and a large household, by products bought


class Groceries(NamedTuple):
    """The parts of the year that the demo uses."""

    before: Interactions  # until the cut, products of the assortment
    fresh: Interactions  # after it, products the household has not bought before
    after: Interactions  # after it, every purchase from the assortment
    products: pd.DataFrame  # one row per item: title, category, department
    rows: int  # purchases in the source
    outside: int  # later purchases, new to the household, outside the assortment


def load(share: float, households: int) -> Groceries:
    """The purchases before and after one moment, which leaves ``share`` of them before.

    The assortment is what at least ``households`` households bought before the moment: nothing
    that comes later decides what the models see.
    """
    products = data.items("completejourney").set_index("item")
    whole = data.log("completejourney")
    dropped = products.department.isin(NO_GROCERIES) | (products.category == "COUPON/MISC ITEMS")
    groceries = products.index[~dropped]
    log = whole.select(_of_items(whole, groceries))
    before, fresh = log.split_by_time(share)
    after = log.split_by_time(share, repeats="keep")[1]
    before = before.k_core(5, households)
    fresh, after = (part.reindex(before.users, before.items) for part in (fresh, after))
    return Groceries(before, fresh, after, products, len(whole), fresh.dropped)


def _of_items(log: Interactions, items: pd.Index) -> torch.Tensor:
    kept = torch.from_numpy(np.isin(log.items.ids, items))
    return kept[log.events.keys % log.n_items]


def followed(groceries: Groceries) -> list[int]:
    """Three households that shop after the cut too: by size, without looking at any list."""
    count = groceries.before.pairs.query_degrees.numpy()
    active = np.flatnonzero(groceries.fresh.pairs.query_degrees.numpy() > 0)
    by_size = active[np.argsort(count[active], kind="stable")]
    rows = [by_size[int(share * (len(by_size) - 1))] for share in QUANTILES]
    return [int(groceries.before.users.ids[row]) for row in rows]


def beyond_best_sellers(log: Interactions, most: int) -> np.ndarray:
    """All products but the ``most`` that most households bought."""
    falling = torch.argsort(log.pairs.candidate_degrees, descending=True, stable=True)
    return log.items.take(falling[most:])


def habits(log: Interactions, products: pd.DataFrame, household: int, most: int = 4) -> str:
    """The categories from which a household bought most often."""
    frame = log.to_frame()
    mine = frame[frame.user == household]
    categories = products.category.reindex(mine.item).value_counts().head(most)
    return ", ".join(str(name).lower() for name in categories.index)


def label(products: pd.DataFrame, item: int) -> str:
    """Title and category of a product, in one line."""
    row = products.loc[item]
    return f"{str(row.title)[:40]:<40}  {str(row.category).lower()[:28]}"
