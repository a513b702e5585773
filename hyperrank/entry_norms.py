"""Norms and bounds of the spectral norm that need the entries, and the Frobenius norm of a map."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from hyperrank.linear_map import LinearMap, check_estimable
from hyperrank.magnitudes import check_finite, check_products, to_unit_scale


class FrobeniusNorm(NamedTuple):
    """An estimate of ``|A|_F``; ``error`` is its standard error, 0 where it is exact."""

    value: Float[Tensor, ""]
    error: Float[Tensor, ""]
    products: int


def frobenius(a: LinearMap, budget: int = 64, *, generator: torch.Generator) -> FrobeniusNorm:
    """The Frobenius norm, exact for factored maps and where the budget reaches the smaller side.

    Otherwise the root of the mean of ``|A g|^2`` over random signs g on the smaller side, whose
    square is unbiased (Hutchinson 1990). Differentiable in all its products, with slope zero at a
    zero map; at most ``budget``. Through factors u, v: (m + n) r^2 work in float64, no product, and
    right to about 1e-8 of ``|u| |v|``, which is what is left where columns cancel.

    Raises:
        ValueError: If the budget is below 2, the shape is empty, or a product or factor is not
            finite.
    """
    check_estimable(a, generator)
    if budget < 2:
        raise ValueError(f"budget must be at least 2 products, got {budget}")
    if a.factors is not None:
        value = _through_factors(*a.factors).to(a.dtype)
        check_products(value, a.shape)
        return FrobeniusNorm(value, torch.zeros_like(value), 0)
    product = a.matmat if a.shape[1] <= a.shape[0] else a.rmatmat
    side = min(a.shape)
    exact = budget >= side
    if exact:
        vectors, count = torch.eye(side, dtype=a.dtype, device=a.device), 1
    else:
        draws = torch.randint(0, 2, (side, budget), generator=generator, device=a.device)
        vectors, count = draws.to(a.dtype) * 2 - 1, budget
    image, size = to_unit_scale(product(vectors))
    size = size[0, 0].double()
    root = torch.linalg.vector_norm(image, dtype=torch.float64) / count**0.5
    value = (root * size).to(a.dtype)
    check_products(value, a.shape)
    if exact:
        return FrobeniusNorm(value, torch.zeros_like(value), side)
    spread = image.detach().double().square().sum(0).std() / budget**0.5
    error = spread / (2 * root.detach()).clamp_min(torch.finfo(torch.float64).tiny) * size
    return FrobeniusNorm(value, error.to(a.dtype), budget)


def _through_factors(u: Tensor, v: Tensor) -> Tensor:
    """``|u v^T|_F`` from the Gram matrices, in double precision."""
    (u, first), (v, second) = (to_unit_scale(factor.double()) for factor in (u, v))
    square = ((u.mT @ u) * (v.mT @ v)).sum()
    tiny = torch.finfo(torch.float64).tiny
    root = torch.where(square <= 0, torch.zeros_like(square), square.clamp_min(tiny).sqrt())
    return root * first[0, 0] * second[0, 0]


def one_infinity(matrix: Float[Tensor, "*batch m n"]) -> Float[Tensor, "*batch"]:
    """Upper bound ``sqrt(|A|_1 |A|_inf)`` on the spectral norm: column sums times row sums.

    Exact up to roundoff for nonnegative matrices of equal row and equal column sums.

    Raises:
        ValueError: If there is no row or no column, or an entry is NaN or infinite.
        TypeError: If the matrix is neither of float32 nor of float64.
    """
    matrix, size = _checked(matrix)
    entries = matrix.abs()
    return _root(entries.sum(-1).amax(-1) * entries.sum(-2).amax(-1)) * size


def gram_row_sum(matrix: Float[Tensor, "*batch m n"]) -> Float[Tensor, "*batch"]:
    """Upper bound ``sqrt(max_i sum_j |A^T A|_ij)`` on the spectral norm, on the smaller side.

    Never above ``one_infinity``; one product of the matrix with itself.

    Raises:
        ValueError: If there is no row or no column, or an entry is NaN or infinite.
        TypeError: If the matrix is neither of float32 nor of float64.
    """
    matrix, size = _checked(matrix)
    return _root(_small_gram(matrix).abs().sum(-1).amax(-1)) * size


def gelfand(matrix: Float[Tensor, "*batch m n"], doublings: int = 2) -> Float[Tensor, "*batch"]:
    """Upper bound ``|(A^T A)^k|_F^(1/2k)``, ``k = 2^doublings``, on the spectral norm.

    At most ``rank^(1/4k)`` times the norm. Costs ``doublings + 1`` products of the smaller side;
    scaled at every doubling, so that nothing overflows.

    Raises:
        ValueError: If ``doublings`` is negative, there is no row or no column, or an entry is NaN
            or infinite.
        TypeError: If the matrix is neither of float32 nor of float64.
    """
    if doublings < 0:
        raise ValueError(f"doublings must not be negative, got {doublings}")
    matrix, entry = _checked(matrix)
    power, tiny = _small_gram(matrix), torch.finfo(matrix.dtype).tiny
    bound = torch.ones_like(power[..., 0, 0])
    for doubling in range(doublings + 1):
        size = torch.linalg.matrix_norm(power, keepdim=True).clamp_min(tiny)
        bound = bound * size[..., 0, 0] ** (0.5 ** (doubling + 1))
        if doubling < doublings:
            power = power / size
            power = power @ power
    return bound * entry


def _checked(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """The matrices with a largest entry of 1, and that entry, one for each of the batch."""
    if matrix.ndim < 2 or 0 in matrix.shape[-2:]:
        raise ValueError(
            f"a bound needs matrices of at least one row and column, got shape "
            f"{tuple(matrix.shape)}"
        )
    if matrix.dtype not in {torch.float32, torch.float64}:
        raise TypeError(f"bounds need float32 or float64, got {matrix.dtype}; convert the matrix")
    matrix, size = to_unit_scale(matrix)
    check_finite(size, "the matrix")
    return matrix, size[..., 0, 0]


def _root(square: Tensor) -> Tensor:
    """The root, with slope zero at 0; there sqrt(tiny), which times a zero matrix's size is 0."""
    return square.clamp_min(torch.finfo(square.dtype).tiny).sqrt()


def _small_gram(matrix: Tensor) -> Tensor:
    if matrix.shape[-2] >= matrix.shape[-1]:
        return matrix.mT @ matrix
    return matrix @ matrix.mT
