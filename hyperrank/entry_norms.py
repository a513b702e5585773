"""Norms and bounds of the spectral norm that need the entries, and the Frobenius norm of a map."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from hyperrank.operators import LinearMap, check_estimable


class FrobeniusNorm(NamedTuple):
    """An estimate of ``|A|_F``; ``error`` is its standard error, 0 where it is exact."""

    value: Float[Tensor, ""]
    error: Float[Tensor, ""]
    products: int


def frobenius(a: LinearMap, budget: int = 64, *, generator: torch.Generator) -> FrobeniusNorm:
    """The Frobenius norm, exact for factored maps and where the budget reaches the smaller side.

    Otherwise the root of the mean of ``|A g|^2`` over random signs g on the smaller side, whose
    square is unbiased (Hutchinson 1990). Differentiable in all its products; at most ``budget``.
    Through factors: (m + n) r^2 work, no product.

    Raises:
        ValueError: If the budget is below 2, the shape is empty, or a product is not finite.
    """
    check_estimable(a, generator)
    if budget < 2:
        raise ValueError(f"budget must be at least 2 products, got {budget}")
    if a.factors is not None:
        u, v = a.factors
        square = ((u.mT @ u) * (v.mT @ v)).sum().clamp_min(0)
        return FrobeniusNorm(square.sqrt(), torch.zeros_like(square), 0)
    product = a.matmat if a.shape[1] <= a.shape[0] else a.rmatmat
    side = min(a.shape)
    if budget >= side:
        value = torch.linalg.vector_norm(product(torch.eye(side, dtype=a.dtype, device=a.device)))
        _check_finite(value, a)
        return FrobeniusNorm(value, torch.zeros_like(value), side)
    draws = torch.randint(0, 2, (side, budget), generator=generator, device=a.device)
    squares = product(draws.to(a.dtype) * 2 - 1).square().sum(0)
    value = squares.mean().sqrt()
    _check_finite(value, a)
    error = squares.detach().std() / budget**0.5 / (2 * value.detach()).clamp_min(1e-30)
    return FrobeniusNorm(value, error, budget)


def one_infinity(matrix: Float[Tensor, "*batch m n"]) -> Float[Tensor, "*batch"]:
    """Upper bound ``sqrt(|A|_1 |A|_inf)`` on the spectral norm: column sums times row sums.

    Exact up to roundoff for nonnegative matrices of equal row and equal column sums.
    """
    size = matrix.abs()
    return (size.sum(-1).amax(-1) * size.sum(-2).amax(-1)).sqrt()


def gram_row_sum(matrix: Float[Tensor, "*batch m n"]) -> Float[Tensor, "*batch"]:
    """Upper bound ``sqrt(max_i sum_j |A^T A|_ij)`` on the spectral norm, on the smaller side.

    Never above ``one_infinity``; one product of the matrix with itself.
    """
    return _small_gram(matrix).abs().sum(-1).amax(-1).sqrt()


def gelfand(matrix: Float[Tensor, "*batch m n"], doublings: int = 2) -> Float[Tensor, "*batch"]:
    """Upper bound ``|(A^T A)^k|_F^(1/2k)``, ``k = 2^doublings``, on the spectral norm.

    At most ``rank^(1/4k)`` times the norm. Costs ``doublings + 1`` products of the smaller side;
    scaled at every doubling, so that nothing overflows.

    Raises:
        ValueError: If ``doublings`` is negative.
    """
    if doublings < 0:
        raise ValueError(f"doublings must not be negative, got {doublings}")
    entry = matrix.detach().abs().amax((-2, -1), keepdim=True)
    entry = entry.clamp_min(torch.finfo(matrix.dtype).tiny)
    power = _small_gram(matrix / entry)
    bound = torch.ones_like(power[..., :1, :1])
    for doubling in range(doublings + 1):
        size = torch.linalg.matrix_norm(power, keepdim=True)
        bound = bound * size ** (0.5 ** (doubling + 1))
        if doubling < doublings:
            power = power / size.clamp_min(torch.finfo(matrix.dtype).tiny)
            power = power @ power
    return (bound * entry)[..., 0, 0]


def _small_gram(matrix: Tensor) -> Tensor:
    if matrix.shape[-2] >= matrix.shape[-1]:
        return matrix.mT @ matrix
    return matrix @ matrix.mT


def _check_finite(value: Tensor, a: LinearMap) -> None:
    if not bool(value.isfinite()):
        raise ValueError(
            f"a product of this map of shape {a.shape} is not finite; look for NaN or "
            "infinite entries"
        )
