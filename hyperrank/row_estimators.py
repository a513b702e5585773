"""Estimates of all squared row norms of a map from products with random vectors.

Each takes a number of products to spend at most. What they return ranks the rows; which row is
largest is settled by ``hyperrank.row_norms``, which evaluates the leading ones exactly.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from hyperrank.linear_map import LinearMap


@dataclass(frozen=True)
class RowEstimates:
    """Estimated squared norms of the rows, in double precision, and what bounds them.

    A squared row norm is ``known + rest`` with ``degrees * mean(residuals^2)`` over ``rest``
    distributed as chi-square, exactly and whatever the map: Gaussian probes, independent of how
    ``known`` was found. ``degrees`` is 0 where the method gives no such bound.
    """

    squares: Float[Tensor, " m"]
    known: Float[Tensor, " m"]
    rest: Float[Tensor, " m"]
    degrees: int
    products: int

    def bounds(self, alpha: float) -> Float[Tensor, " m"]:
        """Squared norms that all rows stay below with probability ``1 - alpha``: a union bound."""
        from scipy.special import gammaincinv

        quantile = 2 * float(gammaincinv(self.degrees / 2, alpha / len(self.squares)))
        return self.known + self.degrees * self.rest / quantile


def twinest(a: LinearMap, products: int, generator: torch.Generator) -> RowEstimates:
    """The Hutchinson diagonal of A A^T: mean of ``x * A A^T x`` over random signs x in R^m.

    TwINEst (arXiv:2508.04444), its first stage; unbiased. Two products a vector. The variance of
    row i is ``sum_(j != i) (a_i . a_j)^2`` over the number of vectors: small for few, nearly
    orthogonal rows.
    """
    count = _at_least_one(products, 2, "twinest")
    signs = _signs(a, a.shape[0], count, generator)
    squares = (signs * _outer_gram(a, signs)).mean(1)
    return _unbounded(squares, 2 * count)


def twinest_plus(a: LinearMap, products: int, generator: torch.Generator) -> RowEstimates:
    """The diagonal of A A^T, exact on a sketched subspace and Hutchinson beyond it.

    TwINEst++ (arXiv:2508.04444), its first stage: Q an orthonormal basis of A A^T S for k random
    sign vectors S, ``diag(A A^T Q Q^T)`` exactly, and the mean of ``x * A A^T (I - Q Q^T) x``
    over k more. Six products for each of k; exact once k reaches the rank.
    """
    count = _at_least_one(products, 6, "twinest++")
    sketch = _outer_gram(a, _signs(a, a.shape[0], count, generator))
    basis = torch.linalg.qr(_unit_scale(sketch)).Q.to(a.dtype)
    exact = (basis * _outer_gram(a, basis)).sum(1)
    signs = _signs(a, a.shape[0], count, generator)
    outside = signs - basis @ (basis.mT @ signs)
    return _unbounded(exact + (signs * _outer_gram(a, outside)).mean(1), 6 * count)


def row_sketch(a: LinearMap, products: int, generator: torch.Generator) -> RowEstimates:
    """Mean of ``(A g)^2`` over Gaussian g in R^n: one product a vector, no adjoint.

    Unbiased with relative variance ``2 / products`` whatever the map, and chi-square exactly.
    """
    squares = a.matmat(_gaussian(a, products, generator)).double().square().mean(1)
    return RowEstimates(squares, torch.zeros_like(squares), squares, products, products)


def xrownorm(a: LinearMap, products: int, generator: torch.Generator) -> RowEstimates:
    """XRowNorm: for each of s probes, exact on the other probes' subspace and sketched beyond it.

    Epperly, "Make the most of what you have" (arXiv:2512.15929): G = A W, A^T G = Q R, Z = A Q;
    leaving probe i out of Q is a rank-one change along the i-th normalized column of R^-T.
    Unbiased; three products a probe; exact once s reaches the rank. Gaussian probes in place of
    spherical ones, so that G alone is a row sketch with its chi-square bound.
    """
    count = _at_least_one(min(products, 3 * min(a.shape)), 3, "xrownorm")
    probes = _gaussian(a, count, generator)
    image = a.matmat(probes)
    deflation = _Deflation.of(a, image)
    squares, sketch = deflation.leave_one_out(probes, image), image.double().square().mean(1)
    return RowEstimates(squares, torch.zeros_like(sketch), sketch, count, 3 * count)


def adaptive(a: LinearMap, products: int, generator: torch.Generator) -> RowEstimates:
    """The estimator that a pilot finds best for this map; at most ``products``.

    A pilot row sketch takes a sixth of the products. Two more give ``A A^T`` at its largest row i
    and with it the variance ``h = sum_(j != i) (a_i . a_j)^2 / |a_i|^4`` of the Hutchinson
    diagonal; where ``2 h`` a pair of products beats the sketch's 2 a product, the rest goes to
    TwINEst, and both are averaged by their precision. Elsewhere the pilot's subspace is split off,
    and where less than ``1 / sqrt(3)`` of the large rows is left of them, the rest goes to
    XRowNorm (three products for a probe, against one), otherwise to a sketch of what is left.
    """
    pilot = products // 6
    if pilot < 2:
        return row_sketch(a, products, generator)
    probes = _gaussian(a, pilot, generator)
    image = a.matmat(probes)
    sketch = image.double().square().mean(1)
    left, found = products - pilot - 2, RowEstimates(sketch, sketch * 0, sketch, pilot, pilot + 2)
    variance = _hutchinson_variance(a, int(sketch.argmax()))
    if variance < 1:
        other = twinest(a, left, generator)
        weights = pilot / 2, (left // 2) / max(variance, 1e-9)
        mixed = (weights[0] * sketch + weights[1] * other.squares) / sum(weights)
        return replace(found, squares=mixed, products=found.products + other.products)
    deflation = _Deflation.of(a, image)
    pilot_squares, left = deflation.leave_one_out(probes, image), left - 2 * pilot
    large = pilot_squares.topk(min(8, len(sketch))).indices
    share = 1 - deflation.inside[large].sum() / pilot_squares[large].sum()
    count = left // 3 if float(share) < 3**-0.5 else left
    count = min(count, min(a.shape) - pilot)
    spent = found.products + 2 * pilot
    if count < 1:
        return replace(found, squares=pilot_squares, products=spent)
    more = _gaussian(a, count, generator)
    image_more = a.matmat(more)
    rest = deflation.outside(more, image_more).square().mean(1)
    if count == left:
        squares = (pilot * pilot_squares + count * (deflation.inside + rest)) / (pilot + count)
        return RowEstimates(squares, deflation.inside, rest, count, spent + count)
    wide = deflation.extended(a, image_more)
    squares = wide.leave_one_out(torch.cat([probes, more], 1), torch.cat([image, image_more], 1))
    return RowEstimates(squares, deflation.inside, rest, count, spent + 3 * count)


@dataclass(frozen=True)
class _Deflation:
    """A subspace of R^n that captures much of the rows, and the map on it."""

    basis: Tensor  # Q, (n, s), orthonormal
    triangle: Tensor  # R with A^T G = Q R
    image: Tensor  # Z = A Q

    @classmethod
    def of(cls, a: LinearMap, sketch: Tensor) -> _Deflation:
        basis, triangle = torch.linalg.qr(a.rmatmat(_unit_scale(sketch)))
        return cls(basis, triangle, a.matmat(basis))

    def extended(self, a: LinearMap, sketch: Tensor) -> _Deflation:
        """With further columns of G; products only for these."""
        added = a.rmatmat(_unit_scale(sketch))
        first = self.basis.mT @ added
        added = added - self.basis @ first
        second = self.basis.mT @ added  # again, for the digits that the first pass cancelled
        basis, corner = torch.linalg.qr(added - self.basis @ second)
        upper = torch.cat([self.triangle, first + second], 1)
        lower = torch.cat([corner.new_zeros(len(corner), self.basis.shape[1]), corner], 1)
        return _Deflation(
            torch.cat([self.basis, basis], 1),
            torch.cat([upper, lower]),
            torch.cat([self.image, a.matmat(basis)], 1),
        )

    @property
    def inside(self) -> Tensor:
        """Squared norms of the rows' parts in the subspace."""
        squares: Tensor = self.image.double().square().sum(1)
        return squares

    def outside(self, probes: Tensor, images: Tensor) -> Tensor:
        """``A (I - Q Q^T) W`` from ``A W``."""
        inner: Tensor = self.basis.mT @ probes
        return images.double() - self.image.double() @ inner.double()

    def leave_one_out(self, probes: Tensor, images: Tensor) -> Tensor:
        """Mean over the probes i that made this subspace of |A Q_i|^2 + (A (I - Q_i Q_i^T) w_i)^2.

        Where the probes found the whole range, R is singular, and what is inside is all.
        """
        diagonal = self.triangle.diagonal().abs()
        rounding = 10 * len(diagonal) * torch.finfo(self.triangle.dtype).eps
        if float(diagonal.min()) <= rounding * float(diagonal.max()):
            return self.inside
        eye = torch.eye(len(diagonal), dtype=torch.float64, device=diagonal.device)
        missing = torch.linalg.solve_triangular(self.triangle.double().mT, eye, upper=False)
        missing = missing / missing.norm(dim=0)
        weights = (self.basis.mT @ probes).double()
        weights = weights - missing * (weights * missing).sum(0)
        image = self.image.double()
        lost, rest = image @ missing, images.double() - image @ weights
        correction: Tensor = (rest.square() - lost.square()).mean(1)
        return self.inside + correction


def _outer_gram(a: LinearMap, vectors: Tensor) -> Tensor:
    """``A A^T`` times vectors, in double precision; float32 would overflow on large entries."""
    image = a.rmatmat(vectors)
    size = image.abs().max().double()
    return a.matmat(_unit_scale(image)).double() * size


def _unit_scale(block: Tensor) -> Tensor:
    """The block with its largest entry scaled to 1."""
    return block / block.abs().max().clamp_min(torch.finfo(block.dtype).tiny)


def _hutchinson_variance(a: LinearMap, row: int) -> float:
    """``sum_(j != i) (a_i . a_j)^2 / |a_i|^4`` of row i; two products."""
    unit = torch.zeros(a.shape[0], 1, dtype=a.dtype, device=a.device)
    unit[row] = 1
    overlaps = _outer_gram(a, unit)[:, 0]
    own = float(overlaps[row])
    return float((overlaps / own).square().sum() - 1) if own > 0 else 0.0


def _unbounded(squares: Tensor, products: int) -> RowEstimates:
    return RowEstimates(squares, squares * 0, squares * 0, 0, products)


def _at_least_one(products: int, each: int, method: str) -> int:
    if products < each:
        raise ValueError(
            f"{method} needs at least {each} products besides the candidate rows, got {products}; "
            "raise budget or lower candidates"
        )
    return products // each


def _signs(a: LinearMap, size: int, count: int, generator: torch.Generator) -> Tensor:
    draws = torch.randint(0, 2, (size, count), generator=generator, device=a.device)
    return draws.to(a.dtype) * 2 - 1


def _gaussian(a: LinearMap, count: int, generator: torch.Generator) -> Tensor:
    shape = (a.shape[1], count)
    return torch.randn(shape, dtype=a.dtype, device=a.device, generator=generator)
