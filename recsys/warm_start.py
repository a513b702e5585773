"""Vectors of users from their histories, item vectors frozen: one closed form for each loss.

Each takes the users' full histories as a b x n_items ``SparseMatrix`` whose values are weights, and
treats all users at once. Which is exact depends on the loss that made the item vectors:

- squared loss on all entries (PureSVD): ``ridge``, and ``pseudo_inverse``, its limit;
- squared loss with confidences (ALS): ``confidence_weighted``;
- UltraGCN's weighted logistic loss: ``recsys.logistic_rows.solve``;
- ``degree_weighted`` is the published update (Yusupov, Rakhuba, Frolov, CIKM 2025,
  arXiv:2509.01549). It is linear in the history, so it suits squared-loss vectors only: a logistic
  model has a score offset that no linear map of a 0/1 row can reproduce.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
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


def pseudo_inverse(
    history: SparseMatrix, items: Float[Tensor, "n d"], *, cutoff: float = 1e-4
) -> Float[Tensor, "b d"]:
    """The shortest e of least |r - V e|; directions under ``cutoff`` of the largest are left out.

    Costs one thin SVD, n d^2, and d per interaction.
    """
    left, values, right = torch.linalg.svd(items, full_matrices=False)
    kept = values > cutoff * values[:1]
    inverse = torch.where(kept, 1 / values.where(kept, torch.ones_like(values)), 0)
    found: Tensor = (history @ left) * inverse @ right
    return found


def degree_weighted(
    history: SparseMatrix,
    items: Float[Tensor, "n d"],
    user_factor: Float[Tensor, " b"],
    item_factor: Float[Tensor, " n"],
    *,
    offset: float = 1.0,
    cutoff: float = 1e-4,
) -> Float[Tensor, "b d"]:
    """The published update: the pseudo-inverse of the items on r_i / (offset + b_u b_i).

    The released script never defines its ``lam``, here ``offset``; with 1 the degree weights hardly
    matter, near 0 they favour popular items. ``user_factor`` and ``item_factor`` are b_u and b_i of
    ``recsys.item_graph.degree_factors``; the script takes those of training.

    Raises:
        ValueError: If ``offset`` is negative.
    """
    if offset < 0:
        raise ValueError(f"offset must not be negative, got {offset}")
    beta = user_factor[history.row_numbers] * item_factor[history.columns]
    weighted = history.with_values(history.values / (offset + beta))
    return pseudo_inverse(weighted, items, cutoff=cutoff)


def confidence_weighted(
    history: SparseMatrix,
    items: Float[Tensor, "n d"],
    regularization: float,
    *,
    n_negatives: int | None = None,
) -> Float[Tensor, "b d"]:
    """One ALS half-step (Hu, Koren, Volinsky 2008, eq. 4) for each row of confidences.

    argmin over e of sum_j c_j (p_j - v_j . e)^2 + regularization |e|^2, where the values of the
    history are the confidences c of the observed items (p = 1), and c = 1, p = 0 elsewhere: what
    ``implicit`` solves. Costs n d^2 once, then d^2 per interaction and d^3 per user. Items
    weigh 1 where they are not observed; from number ``n_negatives`` on, if given, they weigh 0.

    Raises:
        ValueError: If ``regularization`` is negative.
    """
    if regularization < 0:
        raise ValueError(f"regularization must not be negative, got {regularization}")
    unseen = items[:n_negatives]
    gram = unseen.T @ unseen
    gram.diagonal().add_(regularization)
    wanted = history @ items
    found = torch.empty_like(wanted)
    for rows in blocks(len(wanted), items.shape[1] ** 2, items.device):
        some = history.select(rows)
        above = some.values - (some.columns < len(unseen)).float()
        systems = row_grams(some.with_values(above), items).add_(gram)
        found[rows] = torch.linalg.solve(systems, wanted[rows])
    return found


def row_grams(history: SparseMatrix, items: Float[Tensor, "n d"]) -> Float[Tensor, "b d d"]:
    """Sum of weight v v^T over each row's items: d^2 multiply-adds per interaction.

    Rows of like length go together, padded to the longest of them, as batched products.
    """
    b, d = history.shape[0], items.shape[1]
    found = items.new_zeros(b, d, d)
    degree, order = history.starts.diff().sort(descending=True)
    longest, first = degree.tolist(), 0
    while first < b and longest[first]:
        chosen = order[first : first + max(NUMBERS_AT_ONCE // (longest[first] * d), 1)]
        place = torch.arange(longest[first], device=items.device)
        inside = place < degree[first : first + len(chosen), None]
        spot = (history.starts[chosen, None] + place).clamp_max(len(history.values) - 1)
        vectors = items[history.columns[spot]]
        weight = torch.where(inside, history.values[spot], 0)
        found[chosen] = vectors.mT @ (vectors * weight.unsqueeze(2))
        first += len(chosen)
    return found


def blocks(n: int, numbers: int, device: torch.device) -> tuple[Int[Tensor, " b"], ...]:
    """Row numbers 0..n-1 in blocks of at most 64 MB, at so many ``numbers`` of float32 a row."""
    size = max(NUMBERS_AT_ONCE // max(numbers, 1), 1)
    parts: tuple[Tensor, ...] = torch.arange(n, device=device).split(size)
    return parts
