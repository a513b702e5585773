"""How unequally counts are spread over candidates, and over those that are popular."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

Counts = Int[Tensor, " n"]


def gini(counts: Counts) -> Float[Tensor, ""]:
    """Gini coefficient: 0 where all counts are equal, (n - 1)/n where one has all; NaN of zeros."""
    rising = counts.sort().values.double()
    n = len(rising)
    place = torch.arange(1, n + 1, device=rising.device)
    return 2 * (place * rising).sum() / (n * rising.sum()) - (n + 1) / n


def cumulative(counts: Counts, popularity: Counts) -> Float[Tensor, " n"]:
    """Share of all counts that the 1, 2, ... n most popular candidates hold; NaN of zeros.

    Equally popular ones stand in the order of their rows.
    """
    order = popularity.argsort(descending=True, stable=True)
    held = counts[order].double().cumsum(0)
    return held / held[-1]


def top(share: float, n: int) -> int:
    """How many of n candidates that share is; at least one."""
    return max(math.ceil(share * n - 1e-9), 1)
