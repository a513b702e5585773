"""The spectral norm of a map known by its products: lower and upper bounds with their vectors."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from hyperrank.calibration import (
    Calibration,
    chi_square,
    exceeds,
    krylov_bound,
    overlap_quantile,
)
from hyperrank.linear_map import LinearMap, check_estimable
from hyperrank.magnitudes import check_products, column_norms

LEAST_DELTA = 1e-100  # the quantile of a squared normal goes with its square


class SpectralNorm(NamedTuple):
    """A bracket of the spectral norm and the vectors that certify its lower end.

    ``lower`` is ``left^T A right`` with constant vectors, so its gradient in A is ``left right^T``.
    ``upper`` is ``lower`` times a constant. The vectors are unit; both bounds and ``left`` are zero
    where no probe found anything but zero.
    """

    lower: Float[Tensor, ""]
    upper: Float[Tensor, ""]
    left: Float[Tensor, "m 1"]
    right: Float[Tensor, "n 1"]
    products: int


def spectral(
    a: LinearMap,
    tol: float = 0.05,
    delta: float = 1e-3,
    *,
    generator: torch.Generator,
    budget: int | None = None,
) -> SpectralNorm:
    """Bounds ``lower <= |A|_2 <= upper <= (1 + tol) lower``, of which the upper one fails rarely.

    ``upper`` is below the norm with probability at most ``delta``, whatever the matrix; ``lower``
    never exceeds the norm but by roundoff. Golub-Kahan bidiagonalization with full
    reorthogonalization from a Gaussian vector on the smaller side, until ``krylov_bound`` closes
    the bracket. At most ``arccosh(q^-1/2) / arccosh(1 + tol)`` products, rounded up to odd (see
    ``lanczos_factor``), which for 1 % at 1e-3 are 83, 99 and 115 at 10^3, 10^5 and 10^7; a third of
    that or less where the spectrum decays. One more where gradients are recorded. Keeps every
    vector: about ``products / 2`` of each side.

    The bound is sharp for Chebyshev spectra, where it fails as often as it may; so half of
    ``delta`` is spent on it and half kept in reserve, for about one product more.

    Bounds from independent Gaussian blocks (``block_power``) are not mixed in: on the same start
    vector the single-vector ones are never tighter, and blocks would cost further products.

    ``delta`` must stay well above the rounding unit of the map, 6e-8 in float32: smaller overlaps
    than that are not seen. ``upper`` allows for roundoff: where the Krylov space ends early, as for
    low rank, a float32 bracket may stay a few per cent wide.

    Args:
        a: The map, of float32 or float64.
        tol: Relative width of the bracket.
        delta: Probability allowed for ``upper`` to lie below the norm.
        generator: Source of the start vector, on the map's device.
        budget: Most products, ending with a wider bracket; None for as many as ``tol`` needs.

    Raises:
        ValueError: If ``tol``, ``delta``, ``budget`` or the shape is out of range, or a product
            is not finite.
    """
    check_estimable(a, generator)
    if not tol > 0:
        raise ValueError(f"tol must be positive, got {tol}")
    _check_delta(delta)
    if budget is not None and budget < 1:
        raise ValueError(f"budget must be at least one product, got {budget}")
    turned = a.shape[0] < a.shape[1]
    with torch.no_grad():
        run = _GolubKahan(a.T if turned else a, generator)
        upper = run.until(tol, delta / 2, budget)
        end, start = run.vectors()
    left, right = (start, end) if turned else (end, start)
    lower = torch.tensor(run.lowest, dtype=a.dtype, device=a.device)
    return _bracket(a, lower, upper / run.lowest if run.lowest else 1.0, left, right, run.products)


class _GolubKahan:
    """Bidiagonalization of a map with no more columns than rows, one product at a time."""

    def __init__(self, a: LinearMap, generator: torch.Generator) -> None:
        start = torch.randn(a.shape[1], dtype=a.dtype, device=a.device, generator=generator)
        self.a, self.lowest, self.products = a, 0.0, 0
        self.coefficients: list[float] = []
        self.sides: tuple[list[Tensor], list[Tensor]] = ([start / start.norm()], [])
        self.ritz = [1.0]
        self.rounding = 8 * torch.finfo(a.dtype).eps

    def until(self, tol: float, delta: float, budget: int | None) -> float:
        """Runs to a bracket of relative width ``tol``, or to the budget; returns the upper end."""
        floor, slack = overlap_quantile(delta, self.a.shape[1]), 1 + self.rounding
        while budget is None or self.products < budget:
            if not self._step():
                break
            if exceeds(self.coefficients, self.lowest * (1 + tol) / slack, 1 / floor):
                break
        if not self.lowest:
            return 0.0
        return krylov_bound(self.coefficients, self.lowest, floor) * slack

    def _step(self) -> bool:
        """One product; False where it leads out of the vectors so far by no more than roundoff."""
        forward = self.products % 2 == 0
        own, other = self.sides[forward], self.sides[not forward]
        product = self.a.matmat if forward else self.a.rmatmat
        image = product(other[-1][:, None])[:, 0]
        self.products += 1
        if own:
            basis = torch.stack(own)
            for _ in range(2):  # twice is enough (Giraud, Langou, Rozloznik 2005)
                image = image - basis.mT @ (basis @ image)
        size = float(_sizes(self.a, image[:, None]))
        least = self.rounding * self.lowest * math.sqrt(len(image))
        if size <= least:
            if self.lowest:
                # what is seen, and what may hide in the roundoff of the product
                self.coefficients.append(size + self.rounding / 4 * self.lowest)
            return False
        self.coefficients.append(size)
        own.append((image.double() / size).to(image.dtype))
        self._update_ritz()
        return True

    def _update_ritz(self) -> None:
        """Largest singular value of the bidiagonal: an eigenvalue of its Jordan-Wielandt form."""
        import numpy as np
        from scipy.linalg import eigh_tridiagonal

        size = len(self.coefficients)
        scale = max(self.coefficients)
        edge = np.array(self.coefficients) / scale
        values, vectors = eigh_tridiagonal(
            np.zeros(size + 1), edge, select="i", select_range=(size, size)
        )
        self.lowest, self.ritz = float(values[0]) * scale, vectors[:, 0].tolist()

    def vectors(self) -> tuple[Tensor, Tensor]:
        """The Ritz vectors: of the rows' side, and of the columns' side; (m, 1) and (n, 1)."""
        if not self.lowest:
            right = self.sides[0][0][:, None]
            return right.new_zeros(self.a.shape[0], 1), right
        found = []
        for parity in (1, 0):
            basis = torch.stack(self.sides[parity])
            weights = torch.tensor(self.ritz[parity::2], dtype=self.a.dtype, device=self.a.device)
            vector = basis.mT @ weights[:, None]
            found.append(vector / vector.norm())
        return found[0], found[1]


def block_power(
    a: LinearMap,
    *,
    probes: int = 4,
    power: int = 4,
    delta: float = 1e-3,
    calibration: Calibration = chi_square,
    generator: torch.Generator,
) -> SpectralNorm:
    """A bracket from ``probes`` Gaussian vectors under ``power`` alternating products A, A^T, ...

    ``upper``, by the calibration, is below the norm with probability at most ``delta``; ``lower``
    is the largest image of a unit vector in the last product. ``power = 1`` with ``halko``,
    ``half_normal`` or ``chi_square`` are the classical one-pass bounds. All products of one power
    are one block, which suits a GPU; the bracket is wide: prefer ``spectral`` from nine products
    on. Costs ``probes * power`` products, and one where gradients are recorded.

    Raises:
        ValueError: If a count is below 1, ``delta`` or the shape is out of range, or a product is
            not finite.
    """
    check_estimable(a, generator)
    _check_delta(delta)
    for name, count in (("probes", probes), ("power", power)):
        if count < 1:
            raise ValueError(f"{name} must be at least 1, got {count}")
    with torch.no_grad():
        block, logs, step = _gaussian(a, probes, generator), torch.zeros(()), 0
        for step in range(power + 1):  # the first only normalizes, so that sizes are |A x|, |x| = 1
            before = block
            if step:
                block = (a.matmat if step % 2 else a.rmatmat)(block)
            sizes = _sizes(a, block)
            logs = logs + sizes.log()
            block = block / sizes.clamp_min(torch.finfo(a.dtype).tiny).to(a.dtype)
        best = int(sizes.argmax())
        pair = block[:, best : best + 1], before[:, best : best + 1]
    left, right = pair if power % 2 else pair[::-1]
    lower, factor = float(sizes[best]), 1.0
    if lower:
        top = float(logs.max())
        upper = calibration((logs - top).exp().tolist(), power, delta) * math.exp(top / power)
        factor = max(upper / lower, 1.0) * (1 + 8 * torch.finfo(a.dtype).eps)
    return _bracket(a, sizes[best].to(a.dtype), factor, left, right, probes * power)


def power(
    a: LinearMap,
    *,
    iterations: int = 8,
    generator: torch.Generator,
    start: Float[Tensor, "n 1"] | None = None,
) -> SpectralNorm:
    """A lower bound by the power method; ``upper`` is infinite.

    For training: pass the last ``right`` as ``start`` and one iteration follows a slowly moving
    map. Costs ``2 * iterations + 1`` products (one where the first is zero), and one where
    gradients are recorded.

    Raises:
        ValueError: If ``iterations`` is negative, the start has another shape, dtype or device
            than the map takes, or a product is not finite.
    """
    check_estimable(a, generator)
    if iterations < 0:
        raise ValueError(f"iterations must not be negative, got {iterations}")
    if start is not None and start.shape != (a.shape[1], 1):
        raise ValueError(f"start must have shape {(a.shape[1], 1)}, got {tuple(start.shape)}")
    if start is not None and (start.dtype != a.dtype or start.device != a.device):
        raise ValueError(
            f"start must be {a.dtype} on {a.device} as the map is, got {start.dtype} on "
            f"{start.device}; convert it"
        )

    def unit(image: Tensor) -> tuple[Tensor, Tensor]:
        size = _sizes(a, image)
        return image / size.clamp_min(torch.finfo(a.dtype).tiny).to(a.dtype), size[0]

    with torch.no_grad():
        right, _ = unit(_gaussian(a, 1, generator) if start is None else start)
        left, size = unit(a.matmat(right))
        products = 1
        for _ in range(iterations):
            if not size:
                break
            right, _ = unit(a.rmatmat(left))
            left, size = unit(a.matmat(right))
            products += 2
    return _bracket(a, size.to(a.dtype), math.inf, left, right, products)


def _bracket(
    a: LinearMap, lower: Tensor, factor: float, left: Tensor, right: Tensor, products: int
) -> SpectralNorm:
    """The result; where gradients are recorded, ``lower`` is made again so that one flows."""
    if torch.is_grad_enabled():
        lower, products = (left * a.matmat(right)).sum(), products + 1
    upper = lower * factor if math.isfinite(factor) else torch.full_like(lower, math.inf)
    return SpectralNorm(lower, upper, left, right, products)


def _gaussian(a: LinearMap, count: int, generator: torch.Generator) -> Tensor:
    return torch.randn(a.shape[1], count, dtype=a.dtype, device=a.device, generator=generator)


def _sizes(a: LinearMap, image: Tensor) -> Tensor:
    sizes = column_norms(image)
    check_products(sizes, a.shape)
    return sizes


def _check_delta(delta: float) -> None:
    if not 0 < delta < 1:
        raise ValueError(f"delta is a probability between 0 and 1, got {delta}")
    if delta < LEAST_DELTA:
        raise ValueError(
            f"delta must be at least {LEAST_DELTA:g}, got {delta}; the quantile of a smaller one "
            "underflows"
        )
