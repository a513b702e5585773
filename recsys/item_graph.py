"""The weights of UltraGCN's two graphs: user-item (beta) and item-item (omega)."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from hyperrank.neighbours import Neighbours, strongest_neighbours
from hyperrank.pairs import PairSet


def degree_factors(
    pairs: PairSet,
) -> tuple[Float[Tensor, " n_users"], Float[Tensor, " n_items"]]:
    """Vectors b_u, b_i with beta_ui = b_u b_i (arXiv:2110.15114, eq. 5).

    b_u = sqrt(d_u + 1) / d_u and b_i = 1 / sqrt(d_i + 1). A user without items gets b_u = 1, as
    with one item less than none would be: the paper's formula divides by zero there.
    """
    return user_factor(pairs.query_degrees), item_factor(pairs.candidate_degrees)


def user_factor(degree: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
    """b_u of users with so many items."""
    return (degree.float() + 1).sqrt() / degree.clamp_min(1)


def item_factor(degree: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
    """b_i of items with so many users."""
    return (degree.float() + 1).rsqrt()


def item_neighbours(
    pairs: PairSet, k: int, formula: Literal["code", "paper"], include_self: bool = True
) -> Neighbours:
    """The k items of largest omega_ij for every item i, from G = R^T R with row sums g.

    "code" is what the released code computes, diagonal and all:
    omega_ij = G_ij sqrt(g_i + 1) / g_i / sqrt(g_j + 1); with ``include_self`` an item is nearly
    always its own first neighbour. "paper" is eq. 8: omega_ij = G_ij / (g_i - G_ii)
    sqrt(g_i / g_j), never with the item itself. Weights are not normalized.
    """
    degree = pairs.query_degrees.cpu().numpy()
    sums = np.bincount(
        pairs.candidates.cpu().numpy(),
        weights=degree[pairs.queries.cpu().numpy()],
        minlength=pairs.n_candidates,
    )
    own = pairs.candidate_degrees.cpu().numpy()

    def code(i: np.ndarray, j: np.ndarray, count: np.ndarray) -> np.ndarray:
        weight = count * (np.sqrt(sums + 1) / np.maximum(sums, 1))[i] / np.sqrt(sums + 1)[j]
        return weight if include_self else np.where(i == j, 0, weight)

    def paper(i: np.ndarray, j: np.ndarray, count: np.ndarray) -> np.ndarray:
        others, root = np.maximum(sums - own, 1), np.sqrt(sums)
        return np.where(i == j, 0, count * (root / others)[i] / root[j])

    near = strongest_neighbours(pairs, k, {"code": code, "paper": paper}[formula])
    return Neighbours(near.nearest, near.weight.to(torch.float32))
