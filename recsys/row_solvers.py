"""Rows solved against a frozen table: the minima of ``recsys.logistic_rows``, many at a time.

``solve`` takes Newton steps with exact gradients; in the Hessian the negatives that bend most count
exactly and the others as at the nearest of a few centres (``Expansion``, made once for a frozen
table), so a step costs 4 n d operations a row instead of n d^2. ``solve_cached`` takes all
negatives to second order around that centre: approximate, at a cost that does not depend on n.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol, Self, TypeVar, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hyperrank.products import fast_products
from recsys.logistic_rows import (
    Expansion,
    FrozenTable,
    RowProblems,
    exact_hessian,
    negative_weight,
    positive_hessian,
    pull_at,
    pull_of,
    with_l2,
)
from recsys.warm_start import blocks, row_grams

SHARPEST = 64  # negatives of a row that count exactly in its Hessian
FRESH = 3  # first steps with a Hessian of their own; later ones learn it from the gradients
NUMBERS_AT_ONCE, ROWS_AT_ONCE = 2**21, 16  # of scores, 8 MB; at least so many rows
LEAST_BEND = 1e-5  # of a Hessian's largest diagonal entry; less is rounding in float32
LOOKS = 10  # along a Newton step; they cost no product
FARTHEST = 2.0**LOOKS  # a first step, in sizes of a row: what so many halvings make up for


class Solution(NamedTuple):
    """Rows, and how far each may be from its minimum: at most ``residual / l2``."""

    vectors: Float[Tensor, "b d"]
    residual: Float[Tensor, " b"]  # norm of the gradient
    steps: int


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
        expansion: Where the Hessian of the flat negatives comes from; None makes all of it
            exactly, at n d^2 a row in each of the first steps.
        tolerance: A row is left once it is certified to be within ``tolerance * (1 + |e|)`` of its
            minimum, or once its Newton step, an estimate of that distance, is as short as that:
            where ``l2`` is small, the certificate is more than float32 sums can give.
        steps: Most steps; rows that are not there by then keep a larger ``residual``.
    """

    def of_block(block: RowProblems, first: Tensor) -> Solution:
        scores = first @ table.vectors.T
        return _descend(_Scored(table, block, first, scores, expansion), tolerance, steps)

    return in_blocks(problems, start, len(table.vectors), of_block)


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
        return _descend(_Cached(table, block, first, centre, expansion), tolerance, steps)

    return in_blocks(problems, start, 0, of_block)


@runtime_checkable
class _Rows(Protocol):
    """Something about many rows, of which some can be taken."""

    def select(self, chosen: Tensor) -> Self:
        """These rows."""


Rows = TypeVar("Rows", bound=_Rows)


def in_blocks(
    problems: Rows,
    start: Tensor,
    numbers: int,
    solve_block: Callable[[Rows, Tensor], Solution],
) -> Solution:
    """All rows, so many at a time that their Hessians and ``numbers`` a row stay in cache."""
    size = max(NUMBERS_AT_ONCE // max(start.shape[1] ** 2, numbers), ROWS_AT_ONCE)
    parts = [
        solve_block(problems.select(rows), start[rows])
        for rows in torch.arange(len(start), device=start.device).split(size)
    ]
    return Solution(
        torch.cat([part.vectors for part in parts]),
        torch.cat([part.residual for part in parts]),
        max(part.steps for part in parts),
    )


@runtime_checkable
class _Place(Protocol):
    """Where a block of rows stands in the landscape of their functions."""

    @property
    def table(self) -> FrozenTable: ...

    @property
    def rows(self) -> Tensor: ...

    def look(self, curved: bool) -> tuple[Tensor, Tensor | None]:
        """The gradients here; where ``curved``, the Hessians too, or something near them."""

    def along(self, step: Tensor) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], _Place]]:
        """The slope of each function at ``rows + t * step``, and that place, as functions of t."""

    def select(self, chosen: Tensor) -> _Place:
        """Some of the rows."""


@torch.no_grad()
@fast_products()
def _descend(place: _Place, tolerance: float, steps: int) -> Solution:
    """Newton steps with a search along each, all rows at once; rows that are there stay."""
    rows, l2 = place.rows.clone(), place.table.l2
    moving, taken = torch.arange(len(rows), device=rows.device), 0
    residual, length = rows.new_zeros(len(rows)), rows.new_full((len(rows),), torch.inf)
    slope, bend = place.look(curved=True)
    inverse = rows.new_empty(0)
    while True:
        residual[moving] = slope.norm(dim=1)
        near = tolerance * (1 + place.rows.norm(dim=1))
        far = (~((residual[moving] <= l2 * near) | (length <= near))).nonzero().squeeze(1)
        if not len(far) or taken == steps:
            return Solution(rows, residual, taken)
        moving, slope, place = moving[far], slope[far], place.select(far)
        if bend is not None:
            inverse = inverted(
                bend[far], slope.norm(dim=1) / (FARTHEST * (1 + place.rows.norm(dim=1)))
            )
        elif len(far) < len(inverse):
            inverse = inverse[far]
        step = -(inverse @ slope[:, :, None]).squeeze(2)
        slope_at, arrive = place.along(step)
        t = _bottom(slope_at, (slope * step).sum(1))
        inverse[t == 0] /= FARTHEST
        length, taken = step.norm(dim=1), taken + 1
        place, before = arrive(t), slope
        slope, bend = place.look(curved=taken < FRESH)
        if bend is None:
            learn_curvature(inverse, place.rows - rows[moving], slope - before)
        rows[moving] = place.rows


def inverted(hessian: Float[Tensor, "b d d"], least: Float[Tensor, " b"]) -> Tensor:
    """The inverses of Hessians that need not be definite in float32; ``least`` is added to them."""
    diagonal = hessian.diagonal(dim1=1, dim2=2)
    diagonal += (LEAST_BEND * diagonal.amax(1) + least)[:, None]
    return torch.cholesky_inverse(torch.linalg.cholesky(hessian))


def learn_curvature(inverse: Tensor, step: Tensor, bend: Tensor) -> None:
    """Makes each inverse Hessian, in place, take ``bend`` to ``step``; flat rows are left out.

    The update of BFGS (Nocedal and Wright 2006, eq. 6.17).
    """
    along = (step * bend).sum(1)
    size = step.norm(dim=1)
    tame = along > 1e-6 * size * (bend.norm(dim=1) + 1e-6 * size)
    share = torch.where(tame, 1 / along, 0)[:, None, None]
    image = inverse @ bend.unsqueeze(2)
    column, row = step.unsqueeze(2), step.unsqueeze(1)
    both = image @ row
    inverse -= share * (both + both.mT)
    twist = (bend.unsqueeze(1) @ image) * share.square() + share
    inverse += twist * (column @ row)


def _bottom(slope: Callable[[Tensor], Tensor], first: Tensor) -> Float[Tensor, " b"]:
    """How far along its step each convex function has lost half of its first slope, or more.

    Full steps where that is so; else doubling, and halving of what brackets the bottom. A search
    that comes to no such place ends where the function still fell, never higher.
    """
    low, t, high = torch.zeros_like(first), torch.ones_like(first), first.new_full((), torch.inf)
    high = high.expand_as(first)
    for _ in range(LOOKS):
        here = slope(t)
        steep = here.abs() > 0.5 * first.abs()
        if not steep.any():
            break
        low, high = torch.where(here < 0, t, low), torch.where(here < 0, high, t)
        between = torch.where(high.isfinite(), (low + high) / 2, 2 * t)
        t = torch.where(steep, between, t)
    return torch.where(steep, low, t)


@dataclass(frozen=True, eq=False)
class _Scored:
    """Rows with their scores of the whole table; nothing is approximate but the Hessian."""

    table: FrozenTable
    problems: RowProblems
    rows: Float[Tensor, "b d"]
    scores: Float[Tensor, "b n"]
    expansion: Expansion | None  # None: the Hessian is exact too

    def look(self, curved: bool) -> tuple[Tensor, Tensor | None]:
        table, problems = self.table, self.problems
        known, known_bend = self._pull()
        slope = table.l2 * self.rows - problems.positives.with_values(known) @ table.vectors
        chance = self.scores.sigmoid()
        pull = negative_weight(table, problems.base, problems.slope).mul_(chance)
        slope = torch.addmm(slope, pull, table.vectors)
        if not curved:
            return slope, None
        if self.expansion is None:
            return slope, exact_hessian(table, problems, self.rows)
        bend = row_grams(problems.positives.with_values(known_bend), table.vectors)
        pull.mul_(chance.neg_().add_(1))
        bend += _negative_hessian(table, problems, self.rows, pull, self.expansion)
        return slope, with_l2(bend, table.l2)

    def _pull(self) -> tuple[Tensor, Tensor]:
        positives = self.problems.positives
        return pull_at(positives, self.scores[positives.row_numbers, positives.columns])

    def along(self, step: Tensor) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], _Place]]:
        table, (positives, base, slope) = self.table, self.problems
        way = step @ table.vectors.T
        row, weights = positives.row_numbers, torch.stack([table.flat, table.steep], 1)
        here, ahead = (part[row, positives.columns] for part in (self.scores, way))
        down, square = (self.rows * step).sum(1), step.square().sum(1)

        def slope_at(t: Tensor) -> Tensor:
            chance = torch.addcmul(self.scores, t[:, None], way).sigmoid_().mul_(way)
            flat, steep = (chance @ weights).unbind(1)
            miss = torch.sigmoid(-(here + t[row] * ahead)) * positives.values * ahead
            found = base * flat + slope * steep + table.l2 * (down + t * square)
            return found.index_add(0, row, -miss)

        def arrive(t: Tensor) -> _Scored:
            scores = torch.addcmul(self.scores, t[:, None], way)
            return replace(self, rows=self.rows + t[:, None] * step, scores=scores)

        return slope_at, arrive

    def select(self, chosen: Tensor) -> _Scored:
        return replace(
            self,
            problems=self.problems.select(chosen),
            rows=self.rows[chosen],
            scores=self.scores[chosen],
        )


@dataclass(frozen=True, eq=False)
class _Cached:
    """Rows with the negatives to second order around a centre."""

    table: FrozenTable
    problems: RowProblems
    rows: Float[Tensor, "b d"]
    centre: Int[Tensor, " b"]
    expansion: Expansion

    def look(self, curved: bool) -> tuple[Tensor, Tensor | None]:
        pull, _ = pull_of(self.table, self.problems.positives, self.rows)
        slope = self.expansion.gradient(self.problems, self.rows, self.centre)
        slope += self.table.l2 * self.rows
        slope -= self.problems.positives.with_values(pull) @ self.table.vectors
        if not curved:
            return slope, None
        bend = positive_hessian(self.table, self.problems, self.rows)
        return slope, bend + self.expansion.hessian(self.problems, self.centre)

    def along(self, step: Tensor) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], _Place]]:
        table, positives = self.table, self.problems.positives
        row = positives.row_numbers
        taken = table.vectors[positives.columns]
        here, ahead = ((part[row] * taken).sum(1) for part in (self.rows, step))
        frozen = self.expansion.gradient(self.problems, self.rows, self.centre)
        hessian = self.expansion.hessian(self.problems, self.centre)
        down = ((table.l2 * self.rows + frozen) * step).sum(1)
        bend = ((hessian @ step[:, :, None]).squeeze(2) * step).sum(1)
        bend += table.l2 * step.square().sum(1)

        def slope_at(t: Tensor) -> Tensor:
            miss = torch.sigmoid(-(here + t[row] * ahead)) * positives.values * ahead
            return (down + t * bend).index_add(0, row, -miss)

        def arrive(t: Tensor) -> _Cached:
            return replace(self, rows=self.rows + t[:, None] * step)

        return slope_at, arrive

    def select(self, chosen: Tensor) -> _Cached:
        return replace(
            self,
            problems=self.problems.select(chosen),
            rows=self.rows[chosen],
            centre=self.centre[chosen],
        )


def _negative_hessian(
    table: FrozenTable, problems: RowProblems, rows: Tensor, bend: Tensor, expansion: Expansion
) -> Float[Tensor, "b d d"]:
    """Of the sharpest negatives exactly, of the others as at the nearest centre."""
    sharpest, d = min(SHARPEST, bend.shape[1]), rows.shape[1]
    found = rows.new_empty(len(rows), d, d)
    for part in blocks(len(rows), sharpest * d, rows.device):
        weight, spot = bend[part].topk(sharpest, sorted=False)
        sharp, some = table.vectors[spot], problems.select(part)
        centre = expansion.nearest(rows[part])
        mass = expansion.mass(some, centre).clamp_min_(torch.finfo(rows.dtype).tiny)
        rest = (bend[part].sum(1) - weight.sum(1)).clamp_min_(0) / mass
        found[part] = sharp.mT @ (weight[:, :, None] * sharp)
        found[part] += rest[:, None, None] * expansion.hessian(some, centre)
    return found
