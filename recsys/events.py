"""Events sorted by pair: sorting, one weight per pair, and the k-core of the pairs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from hyperrank.identifiers import Array
from hyperrank.pairs import PairSet


class Events(NamedTuple):
    """Every single interaction, sorted by key, then time, then the order in which it came."""

    keys: Int[Tensor, " n"]  # user row * n_items + item row, nondecreasing
    weight: Float[Tensor, " n"] | None  # float32, at least 0
    time: Shaped[Tensor, " n"] | None  # int64 or float64


def run_starts(keys: Array) -> Array:
    """True where a key differs from the one before it."""
    starts = np.ones(len(keys), dtype=bool)
    np.not_equal(keys[1:], keys[:-1], out=starts[1:])
    return starts


def sorted_events(keys: Array, weight: Array | None, time: Array | None) -> Events:
    """Events by key, then time, then the order in which they came."""
    if weight is None and time is None:
        return Events(torch.from_numpy(np.sort(keys)), None, None)
    order = np.argsort(keys)  # not stable, but several times as fast; repeats are put right below
    keys = keys[order]
    starts = run_starts(keys)
    repeats = ~starts
    repeats[:-1] |= ~starts[1:]
    tied = order[repeats]
    if len(tied):
        within = (tied, keys[repeats]) if time is None else (tied, time[tied], keys[repeats])
        order[repeats] = tied[np.lexsort(within)]
    ordered = (None if c is None else torch.from_numpy(c[order]) for c in (weight, time))
    return Events(torch.from_numpy(keys), *ordered)


def pair_weights(
    events: Events, firsts: Int[Tensor, " n_pairs"], rule: str
) -> Float[Tensor, " n_pairs"] | None:
    """Weight of each pair, whose events begin at ``firsts``, by one of the rules for repeats."""
    counts = torch.diff(firsts, append=torch.tensor([len(events.keys)]))
    if rule == "count":
        return counts.float()
    weight = events.weight
    if weight is None or len(firsts) == len(weight):
        return weight
    if rule in ("first", "last"):
        return weight[firsts if rule == "first" else firsts + counts - 1]
    if rule == "max":
        return torch.from_numpy(np.maximum.reduceat(weight.numpy(), firsts.numpy()))
    total = np.add.reduceat(weight.numpy(), firsts.numpy(), dtype=np.float64)
    if rule == "mean":
        total /= counts.numpy()
    return torch.from_numpy(total.astype(np.float32))


def core(pairs: PairSet, user_at_least: int, item_at_least: int) -> Bool[Tensor, " n_pairs"]:
    """True for the pairs of the largest part in which all users and items have so many partners.

    Each round drops those who have too few, until nobody has.
    """
    user, item = pairs.queries, pairs.candidates
    alive = torch.arange(len(pairs))
    while len(alive):
        of_user, of_item = torch.bincount(user[alive]), torch.bincount(item[alive])
        enough = (of_user >= user_at_least)[user[alive]] & (of_item >= item_at_least)[item[alive]]
        if enough.all():
            break
        alive = alive[enough]
    kept = torch.zeros(len(pairs), dtype=torch.bool)
    kept[alive] = True
    return kept


def check_same_columns(one: Events, other: Events) -> None:
    """Passes when both have weights or neither, and times of one type or none.

    Raises:
        ValueError: If only one has weights, or times.
        TypeError: If the times are of different types.
    """
    for name in ("weight", "time"):
        if (getattr(one, name) is None) != (getattr(other, name) is None):
            raise ValueError(f"only one of the two logs has a {name} per event; give it to both")
    if one.time is not None and other.time is not None and one.time.dtype != other.time.dtype:
        raise TypeError(
            f"times are {one.time.dtype} here and {other.time.dtype} there; use one type"
        )
