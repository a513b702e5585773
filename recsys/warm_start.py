"""Vectors of users from their histories, item vectors frozen: one closed form for each loss.

Each takes the users' full histories as a b x n_items ``SparseMatrix`` whose values are weights, and
treats all users at once. Which is exact depends on the loss that made the item vectors:

- squared loss on all entries (PureSVD): ``ridge``, and ``pseudo_inverse``, its limit;
- squared loss with confidences (ALS): ``confidence_weighted``;
- UltraGCN's weighted logistic loss: ``recsys.row_solvers.solve``;
- ``degree_weighted`` is the published update (Yusupov, Rakhuba, Frolov, CIKM 2025,
  arXiv:2509.01549). It is linear in the history, so it suits squared-loss vectors only: a logistic
  model has a score offset that no linear map of a 0/1 row can reproduce.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hyperrank.sparse import SparseMatrix

NUMBERS_AT_ONCE = 2**24  # of a block: 64 MB of float32


def projection(history: SparseMatrix, items: Float[Tensor, "n d"]) -> Float[Tensor, "b d"]:
    """The weighted sum of the history's item vectors; exact where the columns are orthonormal."""
    return history @ items


def ridge(history: SparseMatrix, items: Float[Tensor, "n d"], l2: float) -> Float[Tensor, "b d"]:
    """The e of least |r - V e|^2 + l2 |e|^2 for each row r of the history.

    Costs n d^2 for the Gram matrix, in float64, and d per interaction.

    Raises:
        ValueError: If ``l2`` is not positive; ``pseudo_inverse`` is for 0.
    """
    if not l2 > 0:
        raise ValueError(f"l2 must be positive, got {l2}; use pseudo_inverse without it")
    gram = (items.T @ items).double()
    gram.diagonal().add_(l2)
    factor = torch.linalg.cholesky(gram)
    found: Tensor = torch.cholesky_solve((history @ items).T.double(), factor).T.to(items.dtype)
    return found


def pseudo_inverse(items: Float[Tensor, "n d"], *, cutoff: float = 1e-4) -> Float[Tensor, "n d"]:
    """The transposed pseudo-inverse of the items: its ``projection`` is the least-squares vector.

    That is the shortest e of least |r - V e|; directions under ``cutoff`` of the largest singular
    value are left out. One thin SVD, n d^2, for as long as the items stay.
    """
    left, values, right = torch.linalg.svd(items, full_matrices=False)
    kept = values > cutoff * values[:1]
    inverse = torch.where(kept, 1 / values.where(kept, torch.ones_like(values)), 0)
    found: Tensor = left * inverse @ right
    return found


def degree_weighted(
    history: SparseMatrix,
    inverse: Float[Tensor, "n d"],
    user_factor: Float[Tensor, " b"],
    item_factor: Float[Tensor, " n"],
    *,
    offset: float = 1.0,
) -> Float[Tensor, "b d"]:
    """The published update: the pseudo-inverse of the items on r_i / (offset + b_u b_i).

    The released script never defines its ``lam``, here ``offset``; with 1 the degree weights hardly
    matter, near 0 they favour popular items. ``user_factor`` and ``item_factor`` are b_u and b_i of
    ``recsys.item_graph.degree_factors``; the script takes those of training. ``inverse`` is
    ``pseudo_inverse(items)``; a user then costs d per interaction.

    Raises:
        ValueError: If ``offset`` is negative.
    """
    if offset < 0:
        raise ValueError(f"offset must not be negative, got {offset}")
    beta = user_factor[history.row_numbers] * item_factor[history.columns]
    return projection(history.with_values(history.values / (offset + beta)), inverse)


class Whitened(NamedTuple):
    """Items as confidence-weighted solves use them; made once for as long as they stay."""

    factor: Float[Tensor, "d d"]  # L of L L^T = V^T V + regularization I
    vectors: Float[Tensor, "n d"]  # L^-1 v of each item
    n_negatives: int  # the first so many items weigh 1 where they are not observed, others 0

    def extended(self, more: Float[Tensor, "m d"]) -> Whitened:
        """With items that are no negatives."""
        return self._replace(vectors=torch.cat([self.vectors, _whiten(self.factor, more)]))


def whitened(items: Float[Tensor, "n d"], regularization: float) -> Whitened:
    """The items for ``confidence_weighted``; n d^2.

    Raises:
        ValueError: If ``regularization`` is not positive.
    """
    if not regularization > 0:
        raise ValueError(f"regularization must be positive, got {regularization}")
    gram = items.T @ items
    gram.diagonal().add_(regularization)
    factor = torch.linalg.cholesky(gram)
    return Whitened(factor, _whiten(factor, items), len(items))


def _whiten(factor: Tensor, items: Tensor) -> Tensor:
    found: Tensor = torch.linalg.solve_triangular(factor, items.T, upper=False).T
    return found.contiguous()


def confidence_weighted(history: SparseMatrix, items: Whitened) -> Float[Tensor, "b d"]:
    """One ALS half-step (Hu, Koren, Volinsky 2008, eq. 4) for each row of confidences.

    The e of least sum_j c_j (p_j - v_j . e)^2 + regularization |e|^2, where the values of the
    history are the confidences c of the observed items (p = 1), and c = 1, p = 0 elsewhere: what
    ``implicit`` solves.

    With y = L^-1 v, a user of k items is a system of size min(k, d), since
    (I + Y^T W Y)^-1 Y^T = Y^T (I + W Y Y^T)^-1: k^2 d + k^3 a user, k d^2 + d^3 where k > d.
    """
    d = items.vectors.shape[1]
    above = history.values - (history.columns < items.n_negatives).float()
    found = items.vectors.new_zeros(history.shape[0], d)
    for rows, spot, inside in alike(history, d):
        taken = items.vectors[history.columns[spot]]
        weight = torch.where(inside, above[spot], 0).unsqueeze(2)
        wanted = torch.where(inside, history.values[spot], 0).unsqueeze(2)
        if spot.shape[1] <= d:
            system = weight * (taken @ taken.mT)
            system.diagonal(dim1=1, dim2=2).add_(1)
            found[rows] = (taken.mT @ torch.linalg.solve(system, wanted)).squeeze(2)
        else:
            system = taken.mT @ (weight * taken)
            system.diagonal(dim1=1, dim2=2).add_(1)
            found[rows] = torch.linalg.solve(system, taken.mT @ wanted).squeeze(2)
    vectors: Tensor = torch.linalg.solve_triangular(items.factor.T, found.T, upper=True)
    return vectors.T.contiguous()


def row_grams(history: SparseMatrix, items: Float[Tensor, "n d"]) -> Float[Tensor, "b d d"]:
    """Sum of weight v v^T over each row's items: d^2 multiply-adds per interaction.

    Rows of like length go together, padded to the longest of them, as batched products.
    """
    b, d = history.shape[0], items.shape[1]
    found = items.new_zeros(b, d, d)
    for rows, spot, inside in alike(history, d):
        vectors = items[history.columns[spot]]
        weight = torch.where(inside, history.values[spot], 0)
        found[rows] = vectors.mT @ (vectors * weight.unsqueeze(2))
    return found


def alike(
    history: SparseMatrix, d: int
) -> Iterator[tuple[Int[Tensor, " c"], Int[Tensor, "c k"], Bool[Tensor, "c k"]]]:
    """Rows of like length together, at d numbers a place and at most 64 MB of them.

    Yields row numbers, where their entries stand among the non-zeros, padded to the longest, and
    which of those are no padding. Empty rows do not come.
    """
    degree, order = history.starts.diff().sort(descending=True)
    longest, first = degree.tolist(), 0
    while first < len(longest) and longest[first]:
        rows = order[first : first + max(NUMBERS_AT_ONCE // (longest[first] * d), 1)]
        # from half of the longest on, padding would be most of the work
        rows = rows[degree[first : first + len(rows)] > longest[first] // 2]
        place = torch.arange(longest[first], device=degree.device)
        inside = place < degree[first : first + len(rows), None]
        spot = (history.starts[rows, None] + place).clamp_max(len(history.values) - 1)
        yield rows, spot, inside
        first += len(rows)


def blocks(n: int, numbers: int, device: torch.device) -> tuple[Int[Tensor, " b"], ...]:
    """Row numbers 0..n-1 in blocks of at most 64 MB, at so many ``numbers`` of float32 a row."""
    size = max(NUMBERS_AT_ONCE // max(numbers, 1), 1)
    parts: tuple[Tensor, ...] = torch.arange(n, device=device).split(size)
    return parts
