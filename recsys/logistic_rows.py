"""Rows of a factor table solved against the other, frozen one: UltraGCN's loss, exactly.

With one table frozen, each row e of the other minimizes a function of its own,

    f(e) = sum_p w_p softplus(-e . v_p)
           + sum_j (base flat_j + slope steep_j) softplus(e . v_j) + l2 / 2 |e|^2:

weighted logistic positives, the expectation of the sampled negatives over the whole table, and L2.
It is l2-strongly convex, so a row is a function of its own history alone, and solving it is the
full training of that row. ``solve`` finds it by Newton steps with exact gradients; the Hessian of
the negatives is that at the nearest of a few centres (``Expansion``, made once for a frozen table),
so a step costs 4 n d operations a row instead of n d^2. ``solve_cached`` takes the gradient of the
negatives from there too: approximate, at a cost that does not depend on n.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hyperrank.products import fast_products
from hyperrank.sparse import SparseMatrix
from recsys.warm_start import blocks, row_grams

Slope = Callable[[Tensor, Tensor], Tensor]  # (which rows, their values) -> one result each
LONGEST_STEP = 3.0  # a Newton step from far away may overshoot; methods of the field cap it so


@dataclass(frozen=True, eq=False)
class FrozenTable:
    """The vectors that rows are solved against, and how much each weighs as a negative."""

    vectors: Float[Tensor, "n d"]
    flat: Float[Tensor, " n"]
    steep: Float[Tensor, " n"]
    l2: float


class RowProblems(NamedTuple):
    """The positives and the negative weights of b rows."""

    positives: SparseMatrix  # b x n; its values are the weights
    base: Float[Tensor, " b"]
    slope: Float[Tensor, " b"]

    def select(self, chosen: Int[Tensor, " c"]) -> RowProblems:
        """The problems of these rows."""
        return RowProblems(self.positives.select(chosen), self.base[chosen], self.slope[chosen])


class Solution(NamedTuple):
    """Rows, and how far each may be from its minimum: at most ``residual / l2``."""

    vectors: Float[Tensor, "b d"]
    residual: Float[Tensor, " b"]  # norm of the gradient
    steps: int


@dataclass(frozen=True, eq=False)
class Expansion:
    """The negatives' gradient and Hessian at a few centres, per unit of ``base`` and ``slope``."""

    centres: Float[Tensor, "k d"]
    gradients: Float[Tensor, "2 k d"]
    hessians: Float[Tensor, "2 k d d"]

    def nearest(self, rows: Float[Tensor, "b d"]) -> Int[Tensor, " b"]:
        """The centre closest to each row."""
        return torch.cdist(rows, self.centres).argmin(1)

    def hessian(self, problems: RowProblems, centre: Int[Tensor, " b"]) -> Float[Tensor, "b d d"]:
        """Of the negatives of each row, at its centre."""
        flat, steep = self.hessians[0][centre], self.hessians[1][centre]
        return problems.base[:, None, None] * flat + problems.slope[:, None, None] * steep

    def gradient(
        self, problems: RowProblems, rows: Float[Tensor, "b d"], centre: Int[Tensor, " b"]
    ) -> Float[Tensor, "b d"]:
        """Of the negatives, to first order around the centre."""
        flat, steep = self.gradients[0][centre], self.gradients[1][centre]
        there = problems.base[:, None] * flat + problems.slope[:, None] * steep
        way = (rows - self.centres[centre]).unsqueeze(2)
        return there + (self.hessian(problems, centre) @ way).squeeze(2)


@torch.no_grad()
def expand(table: FrozenTable, centres: Float[Tensor, "k d"]) -> Expansion:
    """The negatives at these centres: 2 k n d^2 multiply-adds, 8 k d^2 bytes."""
    d = table.vectors.shape[1]
    gradients = table.vectors.new_empty(2, len(centres), d)
    hessians = table.vectors.new_empty(2, len(centres), d, d)
    with fast_products():
        for k, centre in enumerate(centres):
            chance = torch.sigmoid(table.vectors @ centre)
            for part, weight in enumerate((table.flat, table.steep)):
                gradients[part, k] = (weight * chance) @ table.vectors
                bend = (weight * chance * (1 - chance))[:, None]
                hessians[part, k] = table.vectors.T @ (bend * table.vectors)
    return Expansion(centres, gradients, hessians)


@torch.no_grad()
def spread_centres(
    rows: Float[Tensor, "b d"], k: int, *, generator: torch.Generator, rounds: int = 5
) -> Float[Tensor, "k d"]:
    """The mean of all rows and ``k - 1`` cluster means (Lloyd's rounds from random rows)."""
    mean = rows.mean(0, keepdim=True)
    k = min(k - 1, len(rows))
    if k < 1:
        return mean
    draw = torch.randperm(len(rows), generator=generator, device=rows.device)
    centres = rows[draw[:k]]
    for _ in range(rounds):
        nearest = torch.cdist(rows, centres).argmin(1)
        count = torch.bincount(nearest, minlength=k)
        total = torch.zeros_like(centres).index_add_(0, nearest, rows)
        centres = torch.where(count[:, None] > 0, total / count.clamp_min(1)[:, None], centres)
    return torch.cat([mean, centres])


@torch.no_grad()
def gradient(
    table: FrozenTable, problems: RowProblems, rows: Float[Tensor, "b d"]
) -> Float[Tensor, "b d"]:
    """The exact gradient of each row's function: 4 n d operations a row, in blocks of 64 MB."""
    found = _positive_gradient(table, problems, rows) + table.l2 * rows
    with fast_products():
        for part in blocks(len(rows), len(table.vectors), rows.device):
            chance = torch.sigmoid_(rows[part] @ table.vectors.T)
            chance *= _negative_weight(table, problems.base[part], problems.slope[part])
            found[part] += chance @ table.vectors
    return found


@torch.no_grad()
def exact_hessian(
    table: FrozenTable, problems: RowProblems, rows: Float[Tensor, "b d"]
) -> Float[Tensor, "b d d"]:
    """The exact Hessian of each row's function: n d^2 multiply-adds a row."""
    found = _positive_hessian(table, problems, rows)
    with fast_products():
        for part in blocks(len(rows), table.vectors.numel(), rows.device):
            chance = torch.sigmoid(rows[part] @ table.vectors.T)
            bend = chance * (1 - chance)
            bend *= _negative_weight(table, problems.base[part], problems.slope[part])
            found[part] += table.vectors.T @ (bend.unsqueeze(2) * table.vectors)
    return _with_l2(found, table.l2)


def solve(
    table: FrozenTable,
    problems: RowProblems,
    start: Float[Tensor, "b d"],
    expansion: Expansion | None,
    *,
    tolerance: float = 1e-4,
    steps: int = 50,
) -> Solution:
    """The minimum of each row's function, from ``start``.

    Args:
        table: The frozen side.
        problems: Positives and negative weights of the rows.
        start: First guess of each row; the minimum does not depend on it.
        expansion: Where the Hessian of the negatives comes from; None makes it exactly, at n d^2
            a row and step, and converges quadratically.
        tolerance: A row is left once it is certified to be within ``tolerance * (1 + |e|)`` of its
            minimum.
        steps: Most steps; rows that are not there by then keep a larger ``residual``.
    """

    def of_block(block: RowProblems, first: Tensor) -> Solution:
        def slope(chosen: Tensor, rows: Tensor) -> Tensor:
            return gradient(table, block.select(chosen), rows)

        def curvature(chosen: Tensor, rows: Tensor) -> Tensor:
            some = block.select(chosen)
            if expansion is None:
                return exact_hessian(table, some, rows)
            negatives = expansion.hessian(some, expansion.nearest(rows))
            return _with_l2(negatives + _positive_hessian(table, some, rows), table.l2)

        return _descend(first, slope, curvature, tolerance * table.l2, steps)

    return _in_blocks(problems, start, of_block)


def solve_cached(
    table: FrozenTable,
    problems: RowProblems,
    start: Float[Tensor, "b d"],
    expansion: Expansion,
    *,
    tolerance: float = 1e-4,
    steps: int = 20,
) -> Solution:
    """The minimum with the negatives to second order around the centre nearest to ``start``.

    Costs the positives and d^2 a row, whatever the size of the table. ``residual`` is of the
    approximate function; ``gradient`` tells the distance from the exact one.
    """

    def of_block(block: RowProblems, first: Tensor) -> Solution:
        centre = expansion.nearest(first)

        def slope(chosen: Tensor, rows: Tensor) -> Tensor:
            some = block.select(chosen)
            negatives = expansion.gradient(some, rows, centre[chosen])
            return _positive_gradient(table, some, rows) + negatives + table.l2 * rows

        def curvature(chosen: Tensor, rows: Tensor) -> Tensor:
            some = block.select(chosen)
            negatives = expansion.hessian(some, centre[chosen])
            return _with_l2(negatives + _positive_hessian(table, some, rows), table.l2)

        return _descend(first, slope, curvature, tolerance * table.l2, steps)

    return _in_blocks(problems, start, of_block)


def _in_blocks(
    problems: RowProblems, start: Tensor, solve_block: Callable[[RowProblems, Tensor], Solution]
) -> Solution:
    """All rows, so many at a time that their Hessians take 64 MB."""
    parts = [
        solve_block(problems.select(rows), start[rows])
        for rows in blocks(len(start), start.shape[1] ** 2, start.device)
    ]
    return Solution(
        torch.cat([part.vectors for part in parts]),
        torch.cat([part.residual for part in parts]),
        max(part.steps for part in parts),
    )


@torch.no_grad()
def _descend(start: Tensor, slope: Slope, curvature: Slope, enough: float, steps: int) -> Solution:
    """BFGS from the given Hessian (Nocedal and Wright 2006, eq. 6.17), all rows at once.

    Along a step the slope of a convex function rises; where it ends above half of where it began,
    with the other sign, the step is cut to where the secant is zero. Rows that are there stay.
    """
    rows, moving = start.clone(), torch.arange(len(start), device=start.device)
    found, taken = slope(moving, rows), 0
    inverse = start.new_empty(0)
    while taken < steps:
        far = ~(found[moving].norm(dim=1) <= enough * (1 + rows[moving].norm(dim=1)))
        moving = moving[far]
        if not len(moving):
            break
        if taken:
            inverse = inverse[far]
        else:
            inverse = torch.cholesky_inverse(torch.linalg.cholesky(curvature(moving, rows[moving])))
        here, taken = found[moving], taken + 1
        step = -(inverse @ here.unsqueeze(2)).squeeze(2)
        step *= LONGEST_STEP / step.norm(dim=1, keepdim=True).clamp_min(LONGEST_STEP)
        before = (here * step).sum(1)
        there = slope(moving, rows[moving] + step)
        after = (there * step).sum(1)
        long = after > -0.5 * before
        if bool(long.any()):
            step[long] *= (before[long] / (before[long] - after[long]))[:, None]
            there[long] = slope(moving[long], rows[moving[long]] + step[long])
        rows[moving] += step
        found[moving] = there
        _learn_curvature(inverse, step, there - here)
    return Solution(rows, found.norm(dim=1), taken)


def _learn_curvature(inverse: Tensor, step: Tensor, bend: Tensor) -> None:
    """Makes each inverse Hessian, in place, take ``bend`` to ``step``; flat rows are left out."""
    along = (step * bend).sum(1)
    tame = along > 1e-6 * step.norm(dim=1) * bend.norm(dim=1)
    share = torch.where(tame, 1 / along, 0)[:, None, None]
    image = inverse @ bend.unsqueeze(2)
    column, row = step.unsqueeze(2), step.unsqueeze(1)
    both = image @ row
    inverse -= share * (both + both.mT)
    twist = (bend.unsqueeze(1) @ image) * share.square() + share
    inverse += twist * (column @ row)


def _negative_weight(table: FrozenTable, base: Tensor, slope: Tensor) -> Float[Tensor, "b n"]:
    return torch.addcmul(base[:, None] * table.flat, slope[:, None], table.steep)


def _pull(table: FrozenTable, positives: SparseMatrix, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Weight times chance of a miss of each positive, and that times the chance of a hit."""
    position = positives.row_numbers
    scores = (rows[position] * table.vectors[positives.columns]).sum(1)
    miss = torch.sigmoid(-scores)
    return positives.values * miss, positives.values * miss * (1 - miss)


def _positive_gradient(table: FrozenTable, problems: RowProblems, rows: Tensor) -> Tensor:
    pull, _ = _pull(table, problems.positives, rows)
    return problems.positives.with_values(-pull) @ table.vectors


def _positive_hessian(table: FrozenTable, problems: RowProblems, rows: Tensor) -> Tensor:
    _, bend = _pull(table, problems.positives, rows)
    return row_grams(problems.positives.with_values(bend), table.vectors)


def _with_l2(hessian: Tensor, l2: float) -> Tensor:
    hessian.diagonal(dim1=1, dim2=2).add_(l2)
    return hessian
