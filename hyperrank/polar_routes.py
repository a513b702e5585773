"""The ways to a polar factor of tall matrices: products, eigenvectors, Cholesky factors, SVD.

Every route takes (*batch, m, n), m >= n >= 1, float32 or float64, finite, and returns the factor
with its distance from orthonormal columns, |Q^T Q - I|_F / sqrt(n), one number for each matrix of
the batch. Which to take is decided in ``hyperrank.orthogonal``.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from hyperrank.polynomials import Polynomial, converging_schedule

NEWTON_SCHULZ = (1.5, -0.5)
MARGIN = 1.01  # on a norm bound: a value 0.1% above b can come out of a minimax cubic as -1
# square blocks of a symmetric product on the CPU; 64 to 128 were equally fast, halves slower
TRIANGLE = 128
ONE_APPLY = 5.0  # condition up to which the float32 Gram matrix leaves errors below 5e-7
TOP_MARGIN = 1.05  # on an estimate of the norm; a Halley step bears values a little beyond 1
REACHED = 0.6  # from here on a cubic costs less than a Halley step
STRIP = 4096  # rows of a tall matrix at a time, so that sums over more rows are in float64


class Polar(NamedTuple):
    """A polar factor and what is left of Q^T Q - I, by matrix."""

    factor: Float[Tensor, "*batch m n"]
    error: Float[Tensor, "*batch"]


def gram(x: Float[Tensor, "*batch m n"]) -> Float[Tensor, "*batch n n"]:
    """``x.mT @ x``; on the CPU only its lower blocks are computed, for 5/8 of the price."""
    n = x.shape[-1]
    if x.ndim > 2 or n < 2 * TRIANGLE or x.device.type != "cpu":
        return x.mT @ x
    product = x.new_empty(n, n)
    for start in range(0, n, TRIANGLE):
        stop = min(start + TRIANGLE, n)
        block = x[:, start:stop].mT @ x[:, :stop]
        product[start:stop, :stop] = block
        product[:start, start:stop] = block[:, :start].mT
    return product


def tall_gram(
    x: Float[Tensor, "*batch m n"], *, exact: bool = False
) -> Float[Tensor, "*batch n n"]:
    """``x.mT @ x`` in float64; unless ``exact``, products within a strip keep the dtype of x.

    So rounding grows with the strip, not with m, at the price of the dtype of x.
    """
    n, total = x.shape[-1], x.new_zeros(*x.shape[:-2], x.shape[-1], x.shape[-1], dtype=torch.double)
    width = TRIANGLE // 4 if x.device.type == "cpu" else n
    for strip in x.split(STRIP, dim=-2):
        rows = strip.double() if exact else strip
        for start in range(0, n, width):
            stop = min(start + width, n)
            total[..., start:stop, :stop] += rows[..., start:stop].mT @ rows[..., :stop]
    lower = total.tril(-1)
    return total.tril() + lower.mT


def apply_schedule(x: Tensor, schedule: list[Polynomial]) -> Float[Tensor, "*batch m n"]:
    """The matrix polynomials applied in turn to the singular values of x, in the dtype of x."""
    for coefficients in schedule:
        x = torch.matmul(x, _in_gram(gram(x), coefficients))
    return x


def rms_error(square: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch"]:
    """|G - I|_F / sqrt(n)."""
    off: Tensor = torch.linalg.matrix_norm(_shifted(square.clone(), -1.0))
    return off / math.sqrt(square.shape[-1])


def direct(x: Float[Tensor, "*batch m n"], low: float, degree: int) -> Polar:
    """Minimax polynomials on x itself, for singular values from ``low`` times the largest."""
    x = x / (MARGIN * gelfand_bound(x))
    # the bound exceeds the norm by at most rank^(1/8) for power 2, so low is divided by as much
    low = low / (MARGIN * x.shape[-1] ** 0.125)
    schedule = converging_schedule(low, 1.0, degree, error=0.01)
    return polished(apply_schedule(x, schedule), 0.99, 1.01)


def by_gram_products(x: Float[Tensor, "*batch m n"], low: float) -> Polar:
    """Minimax cubics on the Gram matrix in float64, one tall product, then polishing steps.

    Costs two tall products, and two for each polishing step; three of n^3 for each cubic. Rounding
    of the Gram matrix enters with the square of the condition, so ``low`` below 1e-3 is of no use.
    """
    square = tall_gram(x)
    trace = square.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]
    trace = trace.clamp_min(torch.finfo(x.dtype).tiny)
    square = square / trace
    bound = ((MARGIN * gelfand(square)) ** 2).clamp_min(1e-12)  # 0 for a zero matrix only
    square = square / bound
    root = _identity(square)
    low = low / (MARGIN * x.shape[-1] ** 0.125)
    for coefficients in converging_schedule(low, 1.0, 3, error=1e-7):
        factor = _in_gram(square, coefficients)
        root, square = root @ factor, factor @ square @ factor
        square = (square + square.mT) / 2
    return polished(x @ (root / (trace * bound).sqrt()).to(x.dtype), 0.5, 1.5)


def by_eigenvectors(x: Float[Tensor, "*batch m n"]) -> Polar:
    """``x`` times the inverse square root of its Gram matrix, from eigenvectors in float64.

    Two tall products where the condition is at most 5, four up to 30. In float32, Gram matrices of
    higher condition are made again from float64 products, and polished after that beyond 100.
    Beyond 1e4 (100 in float64, which has no wider type) too few digits would be left: the error
    is given as infinity.
    """
    values, vectors = torch.linalg.eigh(tall_gram(x))
    condition = _condition(values)
    unfit = not bool((condition <= ONE_APPLY).all())
    most, bare = (100.0, ONE_APPLY) if x.dtype == torch.double else (1e4, 100.0)
    if x.dtype == torch.float32 and not bool((condition <= 30).all()):
        values, vectors = torch.linalg.eigh(tall_gram(x, exact=True))
        condition = _condition(values)
        unfit = not bool((condition <= bare).all())
    usable = condition <= most
    safe = torch.where(usable[..., None], values, torch.ones_like(values))
    factor = x @ ((vectors * safe.rsqrt()[..., None, :]) @ vectors.mT).to(x.dtype)
    error = torch.finfo(x.dtype).eps * condition
    if unfit:
        factor, error = polished(factor, 0.9, 1.1)
    return Polar(factor, torch.where(usable, error, torch.inf).to(x.dtype))


def by_halley(x: Float[Tensor, "*batch m n"], *, start: float = 1e-3, most: int = 6) -> Polar:
    """Dynamically weighted Halley steps by Cholesky (Nakatsukasa, Bai, Gygi 2010), then polishing.

    A step sends s to s (a + b s^2) / (1 + c s^2), best for the singular values in [low, 1]. The
    paper starts from an estimate of the smallest; here from ``start``, and each step's inverse
    tells the next ``low``: its top eigenvectors are the smallest singular directions. That keeps c
    below 2e4, which float32 bears. A step costs 1.6 products of m n^2 and a Cholesky inverse;
    condition 1e3 takes two, 1e5 four.
    """
    square = gram(x)
    top = TOP_MARGIN * _lengths(x, square)[..., -1:, None]
    top = top.clamp_min(torch.finfo(x.dtype).tiny ** 0.5)
    x, square = x / top, square / top.square()
    low = torch.full_like(top, start)
    for _ in range(most):
        a, b, c, image = _halley_weights(low)
        inverse = torch.cholesky_inverse(torch.linalg.cholesky_ex(_in_gram(square, (1.0, c)))[0])
        x = x @ _in_gram(inverse, (b / c, a - b / c))
        seen = _lengths(x, inverse)[..., :1, None]
        low = torch.minimum(image, seen / 1.02).clamp(start, 1.0)
        if bool((low > REACHED).all()):
            break
        square = gram(x)
    return polished(x, max(float(low.amin()), REACHED), 1.01)


def by_svd(x: Float[Tensor, "*batch m n"]) -> Polar:
    """``U V^T``, of the triangular factor first where x is tall; a full basis for any rank."""
    if x.shape[-2] > x.shape[-1]:
        basis, triangle = torch.linalg.qr(x)
        left, _, right = torch.linalg.svd(triangle)
        factor = basis @ (left @ right)
    else:
        left, _, right = torch.linalg.svd(x)
        factor = left @ right
    return polished(factor, 0.99, 1.01)


def polished(x: Float[Tensor, "*batch m n"], low: float, high: float, *, extra: int = 3) -> Polar:
    """Minimax cubics for singular values in [low, high], until the error is that of rounding.

    The error is read from the Gram matrix that the step needs anyway: once its square is below
    rounding, one last Newton-Schulz step is taken and nothing is checked after it.
    """
    unit = torch.finfo(x.dtype).eps
    steps = converging_schedule(low, high, 3, error=unit) + [NEWTON_SCHULZ] * extra
    error = x.new_full(x.shape[:-2], torch.inf)
    for coefficients in steps:
        square = gram(x)
        error = rms_error(square)
        if not bool((error > 4 * unit).any()):
            break
        last = bool((error.square() * math.sqrt(x.shape[-1]) <= 4 * unit).all())
        x = x @ _in_gram(square, NEWTON_SCHULZ if last else coefficients)
        if last:
            return Polar(x, error.square())
    return Polar(x, error)


def gelfand(square: Tensor, power: int = 2) -> Float[Tensor, "*batch 1 1"]:
    """``|G^power|_F^(1 / (2 power))`` of a Gram matrix G: an upper bound on the norm behind it."""
    for _ in range(power.bit_length() - 1):
        square = square @ square
    return frobenius(square) ** (0.5 / power)


def gelfand_bound(x: Tensor, power: int = 2) -> Float[Tensor, "*batch 1 1"]:
    """The Gelfand bound of matrices of any shape whose squares neither overflow nor vanish."""
    whole = frobenius(x)
    x = x / whole
    least = torch.finfo(x.dtype).tiny  # of a zero matrix, so that one can divide by it
    square = gram(x if x.shape[-2] >= x.shape[-1] else x.mT)
    return (whole * gelfand(square, power)).clamp_min(least)


def frobenius(x: Tensor) -> Float[Tensor, "*batch 1 1"]:
    """Frobenius norm; of a zero matrix the least normal number, so that one can divide by it."""
    norm: Tensor = torch.linalg.matrix_norm(x, keepdim=True)
    return norm.clamp_min(torch.finfo(x.dtype).tiny)


def _in_gram(square: Tensor, coefficients: tuple[Tensor | float, ...]) -> Tensor:
    """c1 I + c3 G + c5 G^2 + ..., a polynomial of x over x."""
    total = square * coefficients[-1]
    for coefficient in coefficients[-2:0:-1]:
        total = _shifted(total, coefficient) @ square
    return _shifted(total, coefficients[0])


def _shifted(square: Tensor, amount: Tensor | float) -> Tensor:
    """``square + amount * I``, written into ``square``; pages of a new matrix cost a third more."""
    square.diagonal(dim1=-2, dim2=-1).add_(amount[..., 0] if isinstance(amount, Tensor) else amount)
    return square


def _identity(square: Tensor) -> Tensor:
    return torch.eye(square.shape[-1], dtype=square.dtype, device=square.device)


def _condition(values: Tensor) -> Tensor:
    """Of x, from the eigenvalues of its Gram matrix; infinite where rounding made one negative."""
    low, high = values[..., 0], values[..., -1]
    return torch.where(low > 0, (high / low.clamp_min(1e-300)).sqrt(), torch.inf)


def _halley_weights(low: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """a, b, c of the best Halley step on [low, 1] and the least value there."""
    square = low.square().clamp_max(1 - 1e-6)
    d = (4 * (1 - square) / square.square()) ** (1 / 3)
    root = (1 + d).sqrt()
    a = root + (8 - 4 * d + 8 * (2 - square) / (square * root)).sqrt() / 2
    b = (a - 1).square() / 4
    c = a + b - 1
    return a, b, c, low * (a + b * square) / (1 + c * square)


def _lengths(x: Tensor, square: Tensor, *, width: int = 4, sweeps: int = 3) -> Tensor:
    """The lengths, rising, that x gives to the top eigenvectors of ``square``.

    For its Gram matrix the last is a lower estimate of the norm of x; for the inverse of I and a
    multiple of that, the first is an upper estimate of the smallest singular value. Subspace
    iteration from the columns of largest diagonal, which lean most to the top.
    """
    width = min(width, square.shape[-1])
    chosen = square.diagonal(dim1=-2, dim2=-1).topk(width).indices
    block = square.gather(-1, chosen[..., None, :].expand(*square.shape[:-1], width))
    for _ in range(sweeps - 1):
        block = square @ torch.linalg.qr(block).Q
    image = x @ torch.linalg.qr(block).Q
    squares: Tensor = torch.linalg.eigvalsh(image.mT @ image)
    return squares.clamp_min(0).sqrt()
