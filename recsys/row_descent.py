"""Minima of many smooth functions at a time, convex or not: one row of a table each.

``recsys.row_solvers`` searches along each step for the bottom of a convex function, whose slopes
say all. Here values say whether a step is taken, so no function ever rises, whatever its shape.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol, Self, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hyperrank.products import fast_products
from recsys.row_solvers import FARTHEST, Solution, inverted, learn_curvature

SURE = 1e-4  # of the fall that the slope promises; so much must come true
SHORTER = 0.25  # a step that fell too little is tried again at this length
SHORTEST = SHORTER**10  # below it, what is left is rounding


class Look(NamedTuple):
    """Functions at their rows."""

    value: Float[Tensor, " b"]
    slope: Float[Tensor, "b d"]


@runtime_checkable
class Functions(Protocol):
    """A function of each of b rows; NaN and infinity are too high."""

    def look(self, rows: Float[Tensor, "b d"]) -> Look:
        """The functions at these rows."""

    def bends(self, rows: Float[Tensor, "b d"]) -> Float[Tensor, "b d d"]:
        """Their Hessians, or definite matrices near them."""

    def select(self, chosen: Int[Tensor, " c"]) -> Self:
        """The functions of these rows."""


@torch.no_grad()
@fast_products()
def descend(
    functions: Functions,
    start: Float[Tensor, "b d"],
    *,
    tolerance: float,
    steps: int = 100,
) -> Solution:
    """A minimum of each row's function, downhill from ``start``.

    BFGS from the bends at the start; one look a round for every row that is still moving.

    Args:
        functions: What is to be minimized.
        start: Where each row starts; a function of many minima may end in another from elsewhere.
        tolerance: A row is left once its Newton step, an estimate of the distance to the minimum,
            is as short as ``tolerance * (1 + |e|)``.
        steps: Most looks after the first; rows that are not there by then keep a larger
            ``residual``.
    """
    rows, residual = start.clone(), start.new_zeros(len(start))
    moving, here, taken = torch.arange(len(start), device=start.device), start, 0
    value, slope = functions.look(here)
    least = slope.norm(dim=1) / (FARTHEST * (1 + here.norm(dim=1)))
    least.clamp_min_(torch.finfo(least.dtype).eps)  # of a function that is flat everywhere
    length, inverse = torch.ones_like(value), inverted(functions.bends(here), least)
    while True:
        step = -(inverse @ slope[:, :, None]).squeeze(2)
        near = step.norm(dim=1) <= tolerance * (1 + here.norm(dim=1))
        rows[moving], residual[moving] = here, slope.norm(dim=1)
        far = (~(near | (length < SHORTEST))).nonzero().squeeze(1)
        if not len(far) or taken == steps:
            return Solution(rows, residual, taken)
        if len(far) < len(moving):
            functions = functions.select(far)
            moving, here, value, slope, length, inverse, step = (
                part[far] for part in (moving, here, value, slope, length, inverse, step)
            )
        way, taken = length[:, None] * step, taken + 1
        there = functions.look(here + way)
        slack = 8 * torch.finfo(value.dtype).eps * value.abs()
        lower = there.value <= value + SURE * (way * slope).sum(1) + slack
        way, turn = (torch.where(lower[:, None], x, 0) for x in (way, there.slope - slope))
        here, slope, value = here + way, slope + turn, torch.where(lower, there.value, value)
        length = torch.where(lower, 1, length * SHORTER)
        learn_curvature(inverse, way, turn)
