"""Scores of pairs of free vectors: the hyperbolic triangle score and its twins.

A free vector x of R^d is the space part of a point of the unit hyperboloid, of height
x0 = sqrt(1 + |x|^2). Every score here is a dot product of mapped vectors, or a rising function of
one, so that any inner-product index serves it. None has a curvature: a hyperboloid of another
radius gives the same scores of scaled vectors, at another scale of the loss.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

GeometryName = Literal["triangle", "cosine", "inner", "lorentzian", "geodesic"]
Rows = Float[Tensor, "*b d"]
Mapped = Float[Tensor, "*b m"]
Numbers = Float[Tensor, "*b"]


@dataclass(frozen=True)
class PairScore:
    """How free vectors become scores: ``scores(users(u) . items(i))``.

    Attributes:
        users: Maps the free vectors of users.
        items: Maps those of items.
        free_users: Free vectors of mapped users; of length 1 where lengths play no part.
        free_items: Those of mapped items.
        mirror: Of mapped items, so that ``mirror(items(i)) . items(j)`` grows with the separation
            of two items.
        link: Rising function of the product; None where the product is the score.
    """

    users: Callable[[Rows], Mapped]
    items: Callable[[Rows], Mapped]
    free_users: Callable[[Mapped], Rows]
    free_items: Callable[[Mapped], Rows]
    mirror: Callable[[Mapped], Mapped]
    link: Callable[[Tensor], Tensor] | None = None

    def scores(self, products: Tensor) -> Tensor:
        """Scores from the products of mapped vectors."""
        return products if self.link is None else self.link(products)

    def separation(self, products: Tensor) -> Tensor:
        """How far two items are apart, from their products with one of them mirrored."""
        return -self.scores(-products)


def inverse_height(x: Rows) -> Float[Tensor, "*b 1"]:
    """1/x0, in (0, 1]; right to some eps for norms up to 1e19 in float32."""
    return (1 + x.square().sum(-1, keepdim=True)).rsqrt()


def triangle_rows(x: Rows) -> Mapped:
    """The d + 1 numbers (1 - 1/x0, x/x0), whose dot products are triangle scores.

    The score of a user u and an item v is (1 - 1/u0)(1 - 1/v0) + <u, v>/(u0 v0), from -1/2 to 2.
    With the user's vector reflected, to -u, it is the score T = (1 - <u, v>_L - u0 - v0)/(u0 v0) of
    LorentzFM (Xu and Wu 2020, arXiv:1911.09821) and of TriplH (Yusupov et al. 2025,
    arXiv:2508.11978), which cancels where this does not: 1 - 1/x0 is |x/x0|^2 / (1 + 1/x0).
    """
    h = inverse_height(x)
    klein = x * h
    return torch.cat([klein.square().sum(-1, keepdim=True) / (1 + h), klein], -1)


def _free_triangle(rows: Mapped) -> Rows:
    """What ``triangle_rows`` was made of; right to some eps times the height of x."""
    h = (1 - rows[..., :1]).clamp_min(torch.finfo(rows.dtype).eps)
    return rows[..., 1:] / h


def lorentzian_users(x: Rows) -> Mapped:
    """(2x, -2a, -2a, 1) for a = x0 - 1: products with ``lorentzian_items`` are minus D.

    D = 2(x0 y0 - <x, y> - 1) is the squared Lorentzian distance, 4 sinh(d/2)^2.
    """
    a = _rise(x)
    return torch.cat([2 * x, -2 * a, -2 * a, torch.ones_like(a)], -1)


def lorentzian_items(x: Rows) -> Mapped:
    """(x, a, 1, -2a) for a = x0 - 1."""
    a = _rise(x)
    return torch.cat([x, a, torch.ones_like(a), -2 * a], -1)


def _free_lorentzian_users(rows: Mapped) -> Rows:
    return rows[..., :-3] / 2


def _free_lorentzian_items(rows: Mapped) -> Rows:
    return rows[..., :-3]


def _rise(x: Rows) -> Float[Tensor, "*b 1"]:
    """x0 - 1, without cancellation."""
    square = x.square().sum(-1, keepdim=True)
    return square / ((1 + square).sqrt() + 1)


def _mirror_triangle(rows: Mapped) -> Mapped:
    return torch.cat([rows[..., :1], -rows[..., 1:]], -1)


def _mirror_lorentzian(rows: Mapped) -> Mapped:
    x, a = rows[..., :-3], rows[..., -3:-2]
    return torch.cat([-2 * x, 2 * a, 2 * a, -torch.ones_like(a)], -1)


def _minus_distance(minus_square: Tensor) -> Tensor:
    """-d from -D = -4 sinh(d/2)^2; rounding above 0 gives 0, with gradient 0."""
    apart = minus_square < 0
    return torch.where(apart, -2 * (torch.where(apart, -minus_square, 1).sqrt() / 2).asinh(), 0)


def _itself(x: Tensor) -> Tensor:
    return x


def _minus(x: Tensor) -> Tensor:
    return -x


def _unit(x: Rows) -> Mapped:
    return nn.functional.normalize(x, dim=-1)


LORENTZIAN = (
    lorentzian_users,
    lorentzian_items,
    _free_lorentzian_users,
    _free_lorentzian_items,
    _mirror_lorentzian,
)
SCORES: dict[str, PairScore] = {
    "triangle": PairScore(
        triangle_rows, triangle_rows, _free_triangle, _free_triangle, _mirror_triangle
    ),
    "cosine": PairScore(_unit, _unit, _itself, _itself, _minus),
    "inner": PairScore(_itself, _itself, _itself, _itself, _minus),
    "lorentzian": PairScore(*LORENTZIAN),
    "geodesic": PairScore(*LORENTZIAN, link=_minus_distance),
}


class _MetricScaled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.view_as(x)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *above: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors  # type: ignore[attr-defined]
        slope = above[0]
        scaled: Tensor = slope + x * (x * slope).sum(-1, keepdim=True)
        return scaled


def metric_scaled(x: Rows) -> Rows:
    """``x``, whose gradient g becomes g + x <x, g>: the inverse metric of the hyperboloid times g.

    The direction of a Riemannian gradient step, written in the flat chart.
    """
    scaled: Tensor = _MetricScaled.apply(x)  # type: ignore[no-untyped-call]
    return scaled
