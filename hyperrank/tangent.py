"""Matrices of fixed rank as a manifold: its directions, gradients by one backward pass, steps.

A point is an ``SVD``, X = U diag(values) V^T with all values above zero; a direction that keeps
the rank is A V^T + U B^T with U^T A = 0. Everything costs O((m + n) r^2) and small matrices;
nothing of the size of the matrix is made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from hyperrank.linear_map import LinearMap
from hyperrank.lowrank import SVD

FactorLoss = Callable[[Tensor, Tensor], Tensor]  # (m, k) and (n, k) to a scalar of left @ right.T


@dataclass(frozen=True, eq=False)
class Tangent:
    """The direction ``left @ point.right.T + point.left @ right.T`` at a point.

    Inner products of directions at one point are those of the pairs (left, right), since
    ``left`` is orthogonal to ``point.left``.
    """

    point: SVD
    left: Float[Tensor, "m rank"]
    right: Float[Tensor, "n rank"]

    def factors(self) -> tuple[Float[Tensor, "m twice"], Float[Tensor, "n twice"]]:
        """A pair of twice the rank whose product ``left @ right.T`` is this direction."""
        left = torch.cat([self.left, self.point.left], 1)
        return left, torch.cat([self.point.right, self.right], 1)

    def dense(self) -> Float[Tensor, "m n"]:
        """The direction as a matrix."""
        left, right = self.factors()
        return left @ right.mT

    def norm(self) -> Float[Tensor, ""]:
        """Its Frobenius norm."""
        return torch.hypot(self.left.norm(), self.right.norm())


def gradient(loss: FactorLoss, point: SVD) -> tuple[Float[Tensor, ""], Tangent]:
    """The loss at a point, and the projection of its gradient on the tangent space.

    Riemannian automatic differentiation (arXiv:2103.14974): ``loss`` is called once, with the pair
    [Z1, U], [V, Z2] at Z1 = 0, Z2 = V diag(values), whose product is X; one backward pass gives
    G V and G^T U. It must be a function of ``left @ right.T`` alone, for any number of columns.
    Costs one forward and backward pass at twice the rank. Nothing is inverted, so small singular
    values do no harm, where the slopes of a pair (A, B) have to be divided by them.

    Raises:
        ValueError: If the loss is not a scalar.
    """
    fixed = SVD(*(part.detach() for part in point))
    first = torch.zeros_like(fixed.left).requires_grad_()
    second = (fixed.right * fixed.values).requires_grad_()
    with torch.enable_grad():
        value = loss(torch.cat([first, fixed.left], 1), torch.cat([fixed.right, second], 1))
        if value.ndim:
            raise ValueError(f"the loss must be a scalar, got shape {tuple(value.shape)}")
        left, right = torch.autograd.grad(value, (first, second), materialize_grads=True)
    return value.detach(), Tangent(fixed, _without(left, fixed.left), right)


def gradient_of_slopes(
    left: Float[Tensor, "m rank"],
    right: Float[Tensor, "n rank"],
    left_slope: Float[Tensor, "m rank"],
    right_slope: Float[Tensor, "n rank"],
) -> Tangent:
    """The tangent gradient at X = ``left @ right.T`` from ordinary slopes of the two factors.

    For optimizers, which get ``.grad`` and no loss to call. ``left_slope`` is G right; with right =
    V R it gives G V = left_slope R^-1, and the other side the same. The triangular solve is exact
    to rounding for each column when the columns of each factor are nearly orthogonal, however
    different their lengths, as in ``balanced``; from other pairs it loses the digits of their
    condition.

    Raises:
        ValueError: If X has a lower rank than its factors have columns.
    """
    outer, outer_root = torch.linalg.qr(left)
    inner, inner_root = torch.linalg.qr(right)
    for name, root in (("left", outer_root), ("right", inner_root)):
        size, length = root.diagonal().abs(), root.norm(dim=0)
        rounding = len(size) * torch.finfo(root.dtype).eps
        if not bool((size > rounding * length).all()):  # NaN is not above anything either
            raise ValueError(
                f"the {name} factor has columns that are zero, dependent or NaN: the pair is no "
                f"matrix of rank {len(size)}; start from one, as riemannion.initial_pair makes"
            )
    u, values, v = torch.linalg.svd(outer_root @ inner_root.mT)
    solve = torch.linalg.solve_triangular
    along = solve(inner_root, left_slope, upper=True, left=False) @ v.mT  # G V
    across = solve(outer_root, right_slope, upper=True, left=False) @ u  # G^T U
    point = SVD(outer @ u, values, inner @ v.mT)
    return Tangent(point, _without(along, point.left), across)


def project(point: SVD, a: LinearMap) -> Tangent:
    """The tangent direction nearest to a matrix; two products with ``rank`` vectors.

    Raises:
        ValueError: If the shapes differ.
    """
    if a.shape != (len(point.left), len(point.right)):
        raise ValueError(
            f"the map has shape {a.shape}, the point {(len(point.left), len(point.right))}"
        )
    return Tangent(point, _without(a @ point.right, point.left), a.T @ point.left)


def project_factors(point: SVD, left: Float[Tensor, "m k"], right: Float[Tensor, "n k"]) -> Tangent:
    """The tangent direction nearest to ``left @ right.T``.

    With ``factors`` of a direction at another point this is its transport to this one.
    """
    along = left @ (right.mT @ point.right)
    return Tangent(point, _without(along, point.left), right @ (left.mT @ point.left))


def retract(tangent: Tangent, step: float = 1.0, *, shrink: float = 1.0) -> SVD:
    """The matrix of the point's rank nearest to ``shrink * point + step * tangent``.

    Two thin QRs of twice the rank and a small SVD (Absil and Oseledets 2015, section 3.2).
    Deviates from the straight line in second order of ``step``.
    """
    point, r = tangent.point, len(tangent.point.values)
    outer, outer_root = torch.linalg.qr(torch.cat([point.left, tangent.left], 1))
    inner, inner_root = torch.linalg.qr(torch.cat([point.right, tangent.right], 1))
    eye = step * torch.eye(r, dtype=point.values.dtype, device=point.values.device)
    core = torch.cat(
        [
            torch.cat([shrink * torch.diag(point.values), eye], 1),
            torch.cat([eye, torch.zeros_like(eye)], 1),
        ]
    )
    u, values, v = torch.linalg.svd(outer_root @ core @ inner_root.mT, full_matrices=False)
    return SVD(outer @ u[:, :r], values[:r], inner @ v[:r].mT)


def balanced(point: SVD) -> tuple[Float[Tensor, "m rank"], Float[Tensor, "n rank"]]:
    """The pair of factors of this product that share its singular values evenly."""
    root = point.values.sqrt()
    return point.left * root, point.right * root


def gradient_map(
    loss: FactorLoss, shape: tuple[int, int], *, dtype: torch.dtype, device: torch.device
) -> LinearMap:
    """The loss's gradient at the zero matrix, as a map; each product is one backward pass.

    G x is the slope in Z of loss(Z, x) at Z = 0, and G^T y that of loss(y, Z). ``loss`` is as in
    ``gradient`` and must be the same function at every call: one batch, no dropout. It decides
    what the zero matrix means, for one a change of a weight that it holds.
    """

    def slope(rows: int, other: Tensor, zero_left: bool) -> Tensor:
        zero = torch.zeros(rows, other.shape[1], dtype=dtype, device=device, requires_grad=True)
        fixed = other.detach()
        with torch.enable_grad():
            value = loss(zero, fixed) if zero_left else loss(fixed, zero)
            return torch.autograd.grad(value, zero, materialize_grads=True)[0]

    return LinearMap(
        shape,
        lambda x: slope(shape[0], x, True),
        lambda y: slope(shape[1], y, False),
        dtype,
        device,
    )


def _without(block: Tensor, basis: Tensor) -> Tensor:
    """What is left of a block outside the span of an orthonormal basis."""
    return block - basis @ (basis.mT @ block)
