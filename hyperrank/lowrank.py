"""Low-rank factors of large sparse matrices, from matrix products only."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from hyperrank.sparse import SparseMatrix


class SVD(NamedTuple):
    """``left @ diag(values) @ right.T``, singular values falling."""

    left: Float[Tensor, "m rank"]
    values: Float[Tensor, " rank"]
    right: Float[Tensor, "n rank"]


def randomized_svd(
    a: SparseMatrix,
    rank: int,
    *,
    generator: torch.Generator,
    oversampling: int = 10,
    iterations: int = 4,
) -> SVD:
    """Truncated SVD by randomized subspace iteration (Halko et al. 2011, algorithms 4.4, 5.1).

    Re-orthonormalized in every half step. Costs ``2 * iterations + 2`` products with ``rank +
    oversampling`` vectors and (m + n) x (rank + oversampling) memory. The leading values are
    accurate to the decay of the spectrum to the power ``2 * iterations + 1``.

    Raises:
        ValueError: If the rank is not between 1 and the smaller side, or ``a`` has no transpose.
    """
    smaller = min(a.shape)
    if not 1 <= rank <= smaller:
        raise ValueError(f"rank must lie in 1..{smaller} for shape {a.shape}, got {rank}")
    if a.T is None:
        raise ValueError("this matrix stores no transpose; build it with sparse.from_pairs")
    width = min(rank + oversampling, smaller)
    with torch.no_grad():
        start = torch.randn(
            a.shape[1], width, dtype=a.values.dtype, device=a.values.device, generator=generator
        )
        basis = torch.linalg.qr(a @ start).Q
        for _ in range(iterations):
            basis = torch.linalg.qr(a @ torch.linalg.qr(a.T @ basis).Q).Q
        right, values, small = torch.linalg.svd(a.T @ basis, full_matrices=False)
        left = basis @ small.mT
    return SVD(left[:, :rank], values[:rank], right[:, :rank])
