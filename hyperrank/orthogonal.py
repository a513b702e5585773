"""Polar factors, orthonormal bases, Stiefel retraction, Procrustes; the polynomials behind them."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from hyperrank import polar_routes as routes
from hyperrank.polar_routes import MARGIN, Polar, apply_schedule
from hyperrank.polynomials import (
    converging_schedule,
    delta_schedule,
    evaluate,
    minimax,
    minimax_schedule,
    with_margin,
)
from hyperrank.products import fast_products

__all__ = [
    "apply_schedule",
    "converging_schedule",
    "delta_schedule",
    "evaluate",
    "minimax",
    "minimax_schedule",
    "norm_bound",
    "normalized",
    "orthonormal_basis",
    "polar",
    "procrustes",
    "project_tangent",
    "retract",
    "with_margin",
]

Bound = Literal["frobenius", "gelfand", "one-infinity"]
Method = Literal["auto", "direct", "gram", "eigenvectors", "halley", "svd"]
Route = Callable[[Tensor], Polar]

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
# on one core the Cholesky route overtakes SVD with one polishing step near this side, in float32
LARGE_SQUARE = 900
SAFE = (1e-9, 1e9)  # entries whose squares and their sums float32 holds with room
FAR = 1e3  # float32 keeps four digits of x in x + t
NOISE = 16  # times eps sqrt(n) of the largest: singular values of 0 showed up to 6 in Q^T x
ACCEPTED = 1e-2  # an error above this is no rounding: a singular value was out of the route's reach


def polar(
    x: Tensor, *, method: Method = "auto", low: float = 1e-3, degree: int = 5
) -> Float[Tensor, "*batch m n"]:
    """Nearest matrix with orthonormal columns (rows, where x is wide): U V^T of the SVD U S V^T.

    |Q^T Q - I|_F / sqrt(n) stays within a few rounding units: below 5e-7 in float32 (measured up to
    1024 columns). The distance from the exact factor grows with the condition times the rounding
    unit, as for every method: at condition 1e3 in float32 it was 1e-5 (tall) and 1.5e-4
    (``"halley"``; SVD 2e-5). Half types are computed in float32 and rounded at the end.

    ``"auto"`` always gives orthonormal columns, for matrices of deficient rank (zero too) one of
    the nearest. It takes the route that was fastest on one core, condition unknown:

    - at least twice as many rows as columns, on the CPU: ``"eigenvectors"``, x times the inverse
      square root of its Gram matrix. Two tall products up to condition 5 (2.5 and 4.5 times as
      fast as QR on 14,541 x 200 and 100,000 x 64), four up to 30; beyond, up to 1.6 times the
      time of QR.
    - nearer to square, on the CPU: SVD with one Newton-Schulz step; for 900 columns and more in
      float32 ``"halley"``, rational steps by Cholesky factors (half of the time of SVD).
    - on other devices: ``"halley"``, whose parts are products and Cholesky factors; not timed.

    ``"eigenvectors"`` and ``"halley"``, by name too, hand what they could not finish to ``"svd"``,
    matrix by matrix. Two methods use matrix products only and hand nothing on; they want ``low``,
    the smallest singular value over the largest. Those below it come out between 0 and 1, 0 stays
    0. A ``low`` far below the truth costs digits, not only steps: the first polynomial then sends
    the largest singular values close to 0.

    - ``"direct"``: minimax polynomials of ``degree`` 3, 5 or 7 (CANS, arXiv:2506.10935) on x, after
      division by 1.01 times a Gelfand bound.
    - ``"gram"``: minimax cubics on the Gram matrix in float64 and one tall product, then
      cubics on the result. The square of the condition enters: ``low`` of 1e-2 or more.

    The gradient is that of the exact factor, whatever the method (one eigendecomposition of
    n x n). Where two singular values add up to 0 it is infinite, and given as 0; so it is for those
    below 16 sqrt(n) rounding units of the largest, which are not told from 0.

    Raises:
        TypeError: If x is not of a real floating type.
        ValueError: If x has fewer than two axes or holds NaN or infinity, ``method`` is unknown,
            or ``low`` does not lie in (0, 1].
    """
    _check_low(low)
    choices: dict[str, Route] = {
        "auto": _auto,
        "direct": partial(routes.direct, low=low, degree=degree),
        "gram": partial(routes.by_gram_products, low=low),
        "eigenvectors": partial(_finished, route=routes.by_eigenvectors),
        "halley": partial(_finished, route=routes.by_halley),
        "svd": routes.by_svd,
    }
    if method not in choices:
        raise ValueError(f"method must be one of {sorted(choices)}, got {method!r}")
    return _through(_checked("polar", x), choices[method])


def orthonormal_basis(x: Tensor) -> Float[Tensor, "*batch m k"]:
    """Orthonormal columns, min(m, n) of them, whose span holds every column of x.

    The polar factor where x is not wide, so the basis nearest to x; else Q of a QR decomposition.
    Where the rank of x is less, the span is larger than that of x. Two to five tall products.

    Raises:
        TypeError: As ``polar``.
        ValueError: If x has fewer than two axes or holds NaN or infinity.
    """
    x = _checked("orthonormal_basis", x)
    if x.shape[-2] >= x.shape[-1]:
        return _through(x, _auto)
    wide = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
    basis: Tensor = torch.linalg.qr(wide).Q
    return basis.to(x.dtype)


def retract(x: Tensor, tangent: Tensor) -> Float[Tensor, "*batch m n"]:
    """Polar factor of ``x + tangent``: the polar retraction on the Stiefel manifold.

    ``x`` has orthonormal columns and ``tangent`` is tangent there, so x^T tangent is skew
    (``project_tangent`` makes it so); neither is checked. Then (x + t)^T (x + t) = I + t^T t, and
    all singular values lie in [1, sqrt(1 + |t|^2)]: minimax cubics on that interval need no guess.
    From orthonormality 1e-13, two cubics (four products) for |t| = 0.01 and four for 0.1. Where a
    bound on |t| exceeds 1e3 the sum has lost digits of x, and goes the way of ``polar``.

    Raises:
        TypeError: As ``polar``.
        ValueError: If the shapes or dtypes differ, x is wide, or the sum holds NaN or infinity.
    """
    if x.shape != tangent.shape or x.dtype != tangent.dtype:
        raise ValueError(
            f"retract needs a tangent like x, {tuple(x.shape)} {x.dtype}, "
            f"got {tuple(tangent.shape)} {tangent.dtype}"
        )
    moved = x + tangent
    _check_kind("retract", moved)
    if moved.shape[-2] < moved.shape[-1]:
        raise ValueError(
            f"retract needs orthonormal columns, and {tuple(x.shape)} has more columns than rows; "
            "transpose both"
        )
    if not bool(moved.isfinite().all()):
        raise ValueError("retract needs finite numbers; x + tangent holds NaN or infinity")

    def route(start: Tensor) -> Polar:
        norm = float(norm_bound(tangent.detach()).amax())
        if norm < FAR:
            return routes.polished(start, 1.0, math.hypot(1.0, norm))
        return _auto(start / _largest(start))

    return _through(moved, route)


def project_tangent(x: Tensor, direction: Tensor) -> Float[Tensor, "*batch m n"]:
    """The nearest tangent at x of the Stiefel manifold: direction - x sym(x^T direction)."""
    inner = x.mT @ direction
    return direction - x @ (inner + inner.mT) / 2


def procrustes(a: Tensor, b: Tensor) -> Float[Tensor, "*batch n n"]:
    """The orthogonal Q that brings ``a @ Q`` nearest to ``b``, both (m, n).

    The polar factor of a^T b. Not unique where a^T b is singular; then one of the best.
    Reflections are allowed.

    Raises:
        TypeError: As ``polar``.
        ValueError: If the shapes or dtypes differ, or a^T b holds NaN or infinity.
    """
    if a.ndim < 2 or a.shape != b.shape or a.dtype != b.dtype:
        raise ValueError(
            f"procrustes needs two matrices of one shape and dtype, got {tuple(a.shape)} {a.dtype} "
            f"and {tuple(b.shape)} {b.dtype}; pad the narrower one with zero columns"
        )
    a, b = (_checked("procrustes", side) for side in (a, b))
    return _through(_checked("procrustes", a.mT @ b), _auto)


def norm_bound(
    x: Tensor, bound: Bound = "gelfand", *, power: int = 2
) -> Float[Tensor, "*batch 1 1"]:
    """An upper bound on the spectral norm of each matrix, up to rounding.

    - ``"frobenius"``: too large by the square root of the stable rank; one pass.
    - ``"gelfand"``: |(X^T X)^power|_F^(1 / (2 power)), too large by at most
      rank^(1 / (4 power)); the Gram matrix of the smaller side and log2(power) products of it.
    - ``"one-infinity"``: sqrt(|X|_1 |X|_inf), for decaying or sparse matrices; one pass.

    Half types are computed in float32. Where no number of the dtype is as large: infinity.
    Of an empty matrix 0.

    Raises:
        TypeError: As ``polar``.
        ValueError: If x has fewer than two axes or holds NaN or infinity, the bound is unknown, or
            ``power`` is not a power of 2.
    """
    if power < 1 or power & (power - 1):
        raise ValueError(f"power must be a power of 2, got {power}")
    _check_kind("norm_bound", x)
    if not x.numel():
        return x.new_zeros(*x.shape[:-2], 1, 1)
    unit, scale = _unit_entries("norm_bound", x)
    return (scale * _bound(unit, bound, power)).to(x.dtype)


def normalized(
    x: Tensor, bound: Bound = "gelfand", *, margin: float = MARGIN
) -> Float[Tensor, "*batch m n"]:
    """``x`` over ``margin`` times a bound on its norm: singular values in [0, 1], zero stays zero.

    The margin is no decoration: a singular value 0.1% above the end of the interval of a minimax
    schedule that starts near 0 comes out with the wrong sign.

    Raises:
        TypeError: As ``polar``.
        ValueError: As ``norm_bound``; or if ``margin`` is below 1.
    """
    if not margin >= 1:
        raise ValueError(f"margin must be at least 1, got {margin}")
    _check_kind("normalized", x)
    if not x.numel():
        return x.clone()
    unit, _ = _unit_entries("normalized", x)
    least = torch.finfo(unit.dtype).tiny
    return (unit / (margin * _bound(unit, bound, 2)).clamp_min(least)).to(x.dtype)


def _bound(x: Tensor, bound: Bound, power: int) -> Tensor:
    """The bound of matrices whose largest entry is 1: no square of theirs overflows."""
    if bound == "frobenius":
        return routes.frobenius(x)
    if bound == "gelfand":
        return routes.gelfand_bound(x, power)
    if bound != "one-infinity":
        raise ValueError(f"bound must be frobenius, gelfand or one-infinity, got {bound!r}")
    absolute = x.abs()
    columns = absolute.sum(-2, keepdim=True).amax(-1, keepdim=True)
    rows = absolute.sum(-1, keepdim=True).amax(-2, keepdim=True)
    return columns.sqrt() * rows.sqrt()


def _auto(x: Tensor) -> Polar:
    """The route for this shape, finished."""
    rows, columns = x.shape[-2:]
    on_cpu = x.device.type == "cpu"
    if on_cpu and rows >= 2 * columns:
        return _finished(x, routes.by_eigenvectors)
    if on_cpu and (columns < LARGE_SQUARE or x.dtype == torch.float64):
        return routes.by_svd(x)
    return _finished(x, routes.by_halley)


def _finished(x: Tensor, route: Route) -> Polar:
    """What the route finds; matrices that it leaves unfinished go to the SVD."""
    found = route(x)
    failed = ~(found.error < ACCEPTED)  # NaN fails too
    if not bool(failed.any()):
        return found
    factor = found.factor.clone()
    factor[failed] = routes.by_svd(x[failed]).factor
    return Polar(factor, torch.where(failed, 0.0, found.error))


def _through(x: Tensor, route: Route) -> Tensor:
    """The factor by this route, of wide matrices by their transpose, in the dtype of x."""
    if not x.numel():
        return x.clone()
    if x.shape[-2] < x.shape[-1]:
        return _through(x.mT, route).mT
    computed = x if x.dtype in (torch.float32, torch.float64) else x.float()
    factor: Tensor = _Factor.apply(computed, route)  # type: ignore[no-untyped-call]
    return factor.to(x.dtype)


class _Factor(torch.autograd.Function):
    """A polar factor by any route, with the derivative of the exact one."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, route: Route) -> Tensor:
        with fast_products():
            factor = route(x).factor
        ctx.save_for_backward(x, factor)
        return factor

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None]:
        """With x = Q H: dQ = Q K + (I - Q Q^T) dx H^-1, H K + K H = Q^T dx - dx^T Q."""
        x, factor = ctx.saved_tensors
        inner = factor.mT @ x
        values, vectors = torch.linalg.eigh((inner + inner.mT) / 2)
        floor = NOISE * torch.finfo(x.dtype).eps * x.shape[-1] ** 0.5 * values[..., -1:]
        values = torch.where(values > floor, values, 0.0)
        sums = values[..., :, None] + values[..., None, :]
        turned = factor.mT @ slope
        skew = vectors.mT @ (turned - turned.mT) @ vectors
        inside = vectors @ torch.where(sums > 0, skew / sums, 0.0) @ vectors.mT
        inverse = torch.where(values > 0, 1 / values, 0.0)
        outside = (slope - factor @ turned) @ vectors * inverse[..., None, :]
        return factor @ inside + outside @ vectors.mT, None


def _checked(name: str, x: Tensor) -> Tensor:
    """``x``, each matrix over its largest entry where sums of squares could overflow or vanish."""
    _check_kind(name, x)
    if not x.numel():
        return x
    least = most = torch.stack(torch.aminmax(x.detach())).abs().amax()  # one pass, no copy
    if not bool(most.isfinite()):  # NaN comes through both ends
        raise ValueError(f"{name} needs finite numbers; the matrix holds NaN or infinity")
    if x.ndim > 2:
        least = _largest(x).amin()
    return x if SAFE[0] < float(least) and float(most) < SAFE[1] else x / _largest(x)


def _check_kind(name: str, x: Tensor) -> None:
    if x.dtype not in DTYPES:
        raise TypeError(f"{name} needs a real floating matrix, got {x.dtype}; convert it first")
    if x.ndim < 2:
        raise ValueError(f"{name} needs a matrix or a batch of them, got shape {tuple(x.shape)}")


def _unit_entries(name: str, x: Tensor) -> tuple[Tensor, Tensor]:
    """Each matrix over its largest entry, and that, in float32 or float64."""
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    scale = _largest(x)
    if not bool(scale.isfinite().all()):
        raise ValueError(f"{name} needs finite numbers; the matrix holds NaN or infinity")
    return x / scale, scale


def _largest(x: Tensor) -> Tensor:
    """The largest absolute entry of each matrix, 1 for a zero matrix: a scale to divide by."""
    largest = x.detach().abs().amax((-2, -1), keepdim=True)
    return torch.where(largest == 0, 1.0, largest).to(x.dtype)


def _check_low(low: float) -> None:
    if not 0 < low <= 1:
        raise ValueError(f"low must lie in (0, 1]: smallest singular value / largest, got {low}")
