"""COALA: the low-rank weight matrix that changes what the weights do to given inputs least."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from hyperrank.magnitudes import check_factorable, check_finite


class ContextFactors(NamedTuple):
    """``left @ right.T``, the approximation of a weight matrix, and what it leaves."""

    left: Float[Tensor, "m rank"]  # orthonormal columns
    right: Float[Tensor, "n rank"]
    values: Float[Tensor, " all"]  # those after the first ``rank`` are the error, see ``loss``

    @property
    def loss(self) -> Float[Tensor, ""]:
        """Root of the least value of what ``coala`` minimizes."""
        rest: Tensor = torch.linalg.vector_norm(self.values[self.left.shape[1] :])
        return rest


def coala(
    weights: Float[Tensor, "m n"],
    inputs: Float[Tensor, "samples n"] | Iterable[Tensor],
    rank: int,
    ridge: float = 0.0,
) -> ContextFactors:
    """The rank-``rank`` matrix that changes what ``weights`` does to its inputs least.

    Minimizes ``|(W - W') X^T|_F^2 + ridge |W - W'|_F^2`` over W' of that rank, rows of X being
    ``inputs`` (COALA, arXiv:2507.07580). With R from the QR of X, below it sqrt(ridge) I, and U the
    leading left singular vectors of W R^T, W' = U U^T W; the root of the minimum is the norm of
    the other singular values. No Gram matrix and no inverse, so inputs of condition 1 / eps do.

    ``inputs`` may come as batches of rows, any iterable, read once: R is all that is kept, n x n.
    A batch of b rows costs O((n + b) n^2): let b reach n. The SVD costs O(m n min(m, n)).

    Raises:
        ValueError: If the rank is out of range or above the number of samples (with no ridge),
            the ridge is negative, widths or dtypes differ, or a number is NaN or infinite.
        TypeError: If the weights are neither of float32 nor of float64.
    """
    (m, n), dtype = weights.shape, weights.dtype
    if not 1 <= rank <= min(m, n):
        raise ValueError(f"rank must lie in 1..{min(m, n)} for shape {(m, n)}, got {rank}")
    if not 0 <= ridge < float("inf"):
        raise ValueError(f"ridge must be finite and not negative, got {ridge}")
    check_factorable(dtype)
    check_finite(weights, "the weights")
    size = n if ridge else 0
    triangle = ridge**0.5 * torch.eye(size, n, dtype=dtype, device=weights.device)
    for batch in [inputs] if isinstance(inputs, Tensor) else inputs:
        if batch.ndim != 2 or batch.shape[1] != n or batch.dtype != dtype:
            raise ValueError(
                f"weights of shape {(m, n)} and {dtype} take inputs of {n} columns of it, "
                f"got {tuple(batch.shape)} of {batch.dtype}"
            )
        stacked = torch.cat([triangle, check_finite(batch, "a batch of inputs")])
        triangle = torch.linalg.qr(stacked, mode="r").R
    if len(triangle) < rank:
        raise ValueError(
            f"{len(triangle)} samples do not determine a matrix of rank {rank}; "
            "give more inputs, or ridge > 0"
        )
    outer, values, _ = torch.linalg.svd(weights @ triangle.mT, full_matrices=False)
    left = outer[:, :rank]
    return ContextFactors(left, weights.mT @ left, values)
