"""Low-rank factors: truncated SVDs by products only, their error, updates and inverses, COALA."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from hyperrank.coala import ContextFactors, coala
from hyperrank.linear_map import LinearMap
from hyperrank.magnitudes import check_factorable, check_finite, column_norms
from hyperrank.operators import from_factors

__all__ = [
    "SVD",
    "ContextFactors",
    "ResidualBound",
    "add_low_rank",
    "append_columns",
    "append_rows",
    "coala",
    "exact_svd",
    "pseudo_inverse",
    "randomized_svd",
    "residual_bound",
]


class SVD(NamedTuple):
    """``left @ diag(values) @ right.T``: orthonormal columns, singular values falling."""

    left: Float[Tensor, "m rank"]
    values: Float[Tensor, " rank"]
    right: Float[Tensor, "n rank"]

    def dense(self) -> Float[Tensor, "m n"]:
        """The matrix itself."""
        return (self.left * self.values) @ self.right.mT

    def linear_map(self) -> LinearMap:
        """The matrix by its products, (m + n) * rank multiplications a vector; factored."""
        return from_factors(self.left * self.values, self.right)


class ResidualBound(NamedTuple):
    """A bracket of ``|A - svd|_2``."""

    lower: Float[Tensor, ""]  # always true
    upper: Float[Tensor, ""]  # true but for the failure probability asked
    products: int


def exact_svd(matrix: Float[Tensor, "m n"], rank: int | None = None) -> SVD:
    """The leading ``rank`` singular triplets of a dense matrix, all by default.

    Costs m n min(m, n) multiplications, some tens of times.

    Raises:
        ValueError: If there are not two axes, the rank is out of range, or an entry is NaN or
            infinite.
        TypeError: If the matrix is neither of float32 nor of float64.
    """
    if matrix.ndim != 2:
        raise ValueError(f"exact_svd needs a matrix of two axes, got shape {_shape(matrix)}")
    check_factorable(matrix.dtype)
    smaller = min(matrix.shape)
    rank = smaller if rank is None else rank
    if not 0 <= rank <= smaller:
        raise ValueError(f"rank must lie in 0..{smaller} for shape {_shape(matrix)}, got {rank}")
    check_finite(matrix, "the matrix")
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    return SVD(left[:, :rank], values[:rank], right[:rank].mT)


def randomized_svd(
    a: LinearMap,
    rank: int,
    *,
    generator: torch.Generator,
    oversampling: int = 10,
    iterations: int = 4,
) -> SVD:
    """Truncated SVD by randomized subspace iteration (Halko et al. 2011, algorithms 4.4, 5.1).

    Re-orthonormalized in every half step. Costs ``2 * iterations + 2`` products with ``rank +
    oversampling`` vectors and (m + n) x (rank + oversampling) memory. The leading values are
    accurate to the decay of the spectrum to the power ``2 * iterations + 1``, and exact up to
    rounding where ``rank + oversampling`` reaches the rank of ``a``; ``residual_bound`` says
    afterwards how far the result is from ``a``. It carries no gradient.

    Raises:
        ValueError: If the rank is not between 1 and the smaller side, a budget is negative, or
            the map returns NaN or infinity.
        TypeError: If the map is neither of float32 nor of float64.
    """
    smaller = min(a.shape)
    if not 1 <= rank <= smaller:
        raise ValueError(f"rank must lie in 1..{smaller} for shape {a.shape}, got {rank}")
    if oversampling < 0 or iterations < 0:
        raise ValueError(
            f"oversampling and iterations must not be negative, got {oversampling}, {iterations}"
        )
    check_factorable(a.dtype)
    width = min(rank + oversampling, smaller)
    with torch.no_grad():
        start = torch.randn(a.shape[1], width, dtype=a.dtype, device=a.device, generator=generator)
        basis = torch.linalg.qr(check_finite(a @ start, "a product of the map")).Q
        for _ in range(iterations):
            basis = torch.linalg.qr(a @ torch.linalg.qr(a.T @ basis).Q).Q
        last = check_finite(a.T @ basis, "a product of the map")
        right, values, small = torch.linalg.svd(last, full_matrices=False)
        left = basis @ small.mT
    return SVD(left[:, :rank], values[:rank], right[:, :rank])


def residual_bound(
    a: LinearMap,
    svd: SVD,
    *,
    generator: torch.Generator,
    probes: int = 10,
    delta: float = 1e-3,
) -> ResidualBound:
    """A bracket of the spectral norm of ``a - svd``, whatever the spectrum.

    Halko et al. 2011, section 4.3 and lemma 4.1, for the residual R: with standard normal w_j,
    ``|R|_2 <= max_j |R w_j| / t`` but with probability ``delta``. After ``randomized_svd`` R is
    A - Q Q^T A for Q = ``svd.left``, and the bound is that of the paper. Departures: t is
    sqrt(2) erfinv(delta^(1 / probes)), exact for |R|_2 |g| <= |R w|, g normal, where the lemma's
    delta^(1 / probes) sqrt(pi / 2) is its lower bound; the lower end is max_j |R w_j| / |w_j|; and
    both ends allow for the rounding of A w_j and of its approximation, eps sqrt(m + n) times their
    lengths (a seventh of that was the most seen). The upper end exceeds the norm by a factor that
    is about the root of the residual's stable rank.

    Costs ``probes`` products with ``a``. The draws must not be those that made ``svd``: pass the
    same generator on, or another seed.

    Raises:
        ValueError: If the shapes differ, ``probes`` is below 1, ``delta`` outside (0, 1), or a
            product is NaN or infinite.
    """
    if (len(svd.left), len(svd.right)) != a.shape:
        raise ValueError(
            f"the map has shape {a.shape}, the SVD {(len(svd.left), len(svd.right))}; "
            "bound the map that was factored"
        )
    if probes < 1 or not 0 < delta < 1:
        raise ValueError(f"need probes >= 1 and delta in (0, 1), got {probes} and {delta}")
    with torch.no_grad():
        w = torch.randn(a.shape[1], probes, dtype=a.dtype, device=a.device, generator=generator)
        image, known = a @ w, svd.linear_map() @ w
        lengths = column_norms(check_finite(image - known, "a product of the map or of the SVD"))
        unit = torch.finfo(a.dtype).eps * sum(a.shape) ** 0.5
        rounding = unit * (column_norms(image) + column_norms(known))
        tiny = torch.finfo(torch.float64).tiny  # a map of no columns has no length to divide by
        lower = ((lengths - rounding).clamp_min(0) / column_norms(w).clamp_min(tiny)).max()
        least = torch.special.erfinv(torch.tensor(delta ** (1 / probes), dtype=torch.float64))
        upper = (lengths + rounding).max() / (2**0.5 * float(least))
        return ResidualBound(lower.to(a.dtype), upper.to(a.dtype), probes)


def pseudo_inverse(svd: SVD, *, rtol: float | None = None) -> SVD:
    """The Moore-Penrose inverse, as factors; singular values at or below the cut count as zero.

    The cut is ``rtol`` times the largest one, by default max(m, n) * eps as in LAPACK's rank
    decisions: what lies below is rounding, and its inverse would be noise of size 1 / eps. The
    result has one column for each value kept, so the inverse of a zero matrix has none.

    Raises:
        ValueError: If a singular value is NaN or infinite, or ``rtol`` is negative.
    """
    if rtol is not None and rtol < 0:
        raise ValueError(f"rtol must not be negative, got {rtol}")
    values = check_finite(svd.values, "the singular values")
    if rtol is None:
        rtol = max(len(svd.left), len(svd.right)) * torch.finfo(values.dtype).eps
    kept = int((values > rtol * values[:1]).sum())
    order = torch.arange(kept - 1, -1, -1, device=values.device)  # the smallest has largest inverse
    return SVD(svd.right[:, order], 1 / values[order], svd.left[:, order])


def append_rows(svd: SVD, rows: Float[Tensor, "k n"], *, rank: int | None = None) -> SVD:
    """Truncated SVD of the matrix with ``rows`` below it, of the old rank unless told.

    The best approximation of that rank to [svd; rows] (Brand 2006, eq. 2 and 4), hence exact where
    the rows lie in the span of ``svd.right``, and for ``rank = old + k``. What the SVD itself left
    out of an earlier matrix stays out. Costs O((m + n) (r + k)^2), no pass over the old matrix.

    Departure: the basis [right, rows^T] is orthonormalized by one Householder QR, where Brand
    projects first; the two cost the same order, and after projection rows that lie in the span
    leave rounding noise, whose basis is not orthogonal to ``right``.

    Raises:
        ValueError: If the rows are no matrix, have another width, dtype or device than the SVD,
            hold NaN or infinity, or the rank is out of range.
    """
    _check_block(rows, 1, len(svd.right), svd, "rows")
    check_finite(rows, "the rows")
    (m, r), k = svd.left.shape, len(rows)
    basis, coordinates = torch.linalg.qr(torch.cat([svd.right, rows.mT], 1))
    core = torch.cat([svd.values[:, None] * coordinates[:, :r].mT, coordinates[:, r:].mT])
    outer, values, inner = _leading(core, r if rank is None else rank)
    left = torch.cat([svd.left @ outer[:r], outer[r:]])
    assert left.shape[0] == m + k
    return SVD(left, values, basis @ inner)


def append_columns(svd: SVD, columns: Float[Tensor, "m k"], *, rank: int | None = None) -> SVD:
    """Truncated SVD of the matrix with ``columns`` at its right; see ``append_rows``.

    Raises:
        ValueError: If the columns are no matrix, have another height, dtype or device than the
            SVD, hold NaN or infinity, or the rank is out of range.
    """
    _check_block(columns, 0, len(svd.left), svd, "columns")
    turned = append_rows(SVD(svd.right, svd.values, svd.left), columns.mT, rank=rank)
    return SVD(turned.right, turned.values, turned.left)


def add_low_rank(
    svd: SVD,
    left: Float[Tensor, "m k"],
    right: Float[Tensor, "n k"],
    *,
    rank: int | None = None,
) -> SVD:
    """Truncated SVD of ``svd + left @ right.T``, of the old rank unless told (Brand 2006, eq. 2).

    The best approximation of that rank to the sum; a changed row i is ``left = e_i``. Costs
    O((m + n) (r + k)^2). Orthonormalized as in ``append_rows``.

    Raises:
        ValueError: If a factor is no matrix, has another size, dtype or device than the SVD, holds
            NaN or infinity, or the rank is out of range.
    """
    _check_block(left, 0, len(svd.left), svd, "left")
    _check_block(right, 0, len(svd.right), svd, "right")
    check_finite(left, "left")
    check_finite(right, "right")
    r = len(svd.values)
    outer_basis, outer = torch.linalg.qr(torch.cat([svd.left, left], 1))
    inner_basis, inner = torch.linalg.qr(torch.cat([svd.right, right], 1))
    core = (outer[:, :r] * svd.values) @ inner[:, :r].mT + outer[:, r:] @ inner[:, r:].mT
    u, values, v = _leading(core, r if rank is None else rank)
    return SVD(outer_basis @ u, values, inner_basis @ v)


def _leading(core: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    most = min(core.shape)
    if not 0 <= rank <= most:
        raise ValueError(f"rank must lie in 0..{most} after this update, got {rank}")
    left, values, right = torch.linalg.svd(core, full_matrices=False)
    return left[:, :rank], values[:rank], right[:rank].mT


def _check_block(block: Tensor, axis: int, size: int, svd: SVD, name: str) -> None:
    at = svd.values
    if block.ndim != 2:
        raise ValueError(
            f"{name} must be a matrix with {size} numbers along axis {axis}, got shape "
            f"{_shape(block)}; a single vector needs a second axis of one"
        )
    if block.shape[axis] != size or block.dtype != at.dtype or block.device != at.device:
        raise ValueError(
            f"{name} must have {size} numbers each, {at.dtype} on {at.device}, as this SVD asks; "
            f"got {block.shape[axis]}, {block.dtype} on {block.device}"
        )


def _shape(block: Tensor) -> tuple[int, ...]:
    return tuple(block.shape)
