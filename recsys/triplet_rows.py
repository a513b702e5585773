"""TriplH's softmax loss seen from one row: a user with the items frozen, an item with the users.

With s the scaled score, Z_u the sum of e^s over the negatives of user u, and h known items, a free
vector x of a user has the loss

    f(x) = sum_p log(1 + Z_u(x) / e^s_p) + l2 h / 2 |x|^2,

its sampled negatives replaced by their expectation: all items, or a fixed random sample of a large
catalogue. An item is a positive of its takers and a negative of everybody, and all of a user's
items share one Z_u. Its own part,

    f(x) = sum_u c_u e^s_u + sum over takers t of log(1 + Z_t / e^s_t) + l2 (h + draws) / 2 |x|^2,

c_u = sum_p 1 / (e^s_p + Z_u), with Z and c as they stand, has the slope of the whole loss there and
lies above it as a negative, where log is under its tangent: many items may move at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from hyperrank.devices import seeded
from hyperrank.sparse import SparseMatrix
from recsys.row_descent import Look, descend
from recsys.row_solvers import Solution, in_blocks
from recsys.triplet_scores import Mapped, Rows
from recsys.warm_start import blocks

MOST_NEGATIVES = 2**15  # of a row; more are estimated by so many


@dataclass(frozen=True, eq=False)
class FrozenSide:
    """What rows are solved against, and how their free vectors meet it.

    Attributes:
        vectors: Mapped vectors of the whole side.
        negatives: Those of the negatives.
        weight: Log of what each negative weighs.
        place: Of each vector among the negatives, -1 for none of them; None where positives are
            negatives of their row too.
        one_sum: Whether all positives of a row share the sum Z of its negatives, as a user's do.
        rows: Maps the free vectors that are solved.
        scale: What scores are multiplied with.
        bend: Hessian of the negatives in mapped vectors near a typical row, a unit of their pull.
    """

    vectors: Float[Tensor, "n m"]
    negatives: Float[Tensor, "k m"]
    weight: Float[Tensor, " k"]
    place: Int[Tensor, " n"] | None
    one_sum: bool
    rows: Callable[[Rows], Mapped]
    scale: float
    bend: Float[Tensor, "m m"]


def frozen_side(
    vectors: Float[Tensor, "n m"],
    weight: Float[Tensor, " n_base"],
    typical: Float[Tensor, " d"],
    rows: Callable[[Rows], Mapped],
    scale: float,
    *,
    one_sum: bool,
    hidden: bool,
) -> FrozenSide:
    """A side whose first ``n_base`` vectors are negatives of that log weight, or a sample of them.

    The sample is uniform, the same whenever ``n_base`` is, and each of it stands for as many as it
    leaves out. ``typical`` is a row near those that will be solved. Where ``hidden``, positives are
    no negatives of their row.
    """
    n, device = len(weight), vectors.device
    chosen = torch.arange(n, device=device)
    negatives = vectors[:n]
    if n > MOST_NEGATIVES:
        draw = torch.randperm(n, generator=seeded(0, device), device=device)
        chosen = draw[:MOST_NEGATIVES].sort().values
        negatives, weight = vectors[chosen], weight[chosen] + math.log(n / MOST_NEGATIVES)
    place = chosen.new_full((len(vectors),), -1)
    place[chosen] = torch.arange(len(chosen), device=device)
    if not n:  # one that weighs nothing
        negatives, weight = (
            vectors.new_zeros(1, vectors.shape[1]),
            weight.new_full((1,), -torch.inf),
        )
    share = (scale * (negatives @ rows(typical)) + weight).softmax(0).nan_to_num()
    apart = negatives - share @ negatives if one_sum else negatives
    bend = scale**2 * (apart.T @ (share[:, None] * apart))
    return FrozenSide(
        vectors, negatives, weight, place if hidden else None, one_sum, rows, scale, bend
    )


class Pulls(NamedTuple):
    """What the scores do to the functions of rows, lengths apart."""

    value: Float[Tensor, " b"]
    slope: Float[Tensor, "b m"]  # in the mapped rows
    log_sum: Float[Tensor, " b"]  # of the negatives
    mass: Float[Tensor, " b"]  # sum of the slopes on their scores


@dataclass(frozen=True, eq=False)
class TripletRows:
    """The functions of b rows.

    Attributes:
        side: The frozen side.
        positives: Known pairs of the rows, b x n; where the side has not ``one_sum``, values are
            log Z of the takers, else they mean nothing.
        strength: Of the pull of each row to its length.
        length: 0, which is L2; or 1, where a score does not depend on it and it must be held.
    """

    side: FrozenSide
    positives: SparseMatrix
    strength: Float[Tensor, " b"]
    length: float = 0.0

    def select(self, chosen: Int[Tensor, " c"]) -> TripletRows:
        """The functions of these rows."""
        positives, strength = self.positives.select(chosen), self.strength[chosen]
        return replace(self, positives=positives, strength=strength)

    def look(self, rows: Float[Tensor, "b d"]) -> Look:
        """The functions at these rows; see ``row_descent.Functions``."""
        with torch.enable_grad():
            free = rows.detach().requires_grad_()
            mapped, penalty = self.side.rows(free), self._penalty(free)
            found = self.pulls(mapped.detach())
            (slope,) = torch.autograd.grad(
                [mapped, penalty], free, [found.slope, torch.ones_like(penalty)]
            )
        return Look(found.value + penalty.detach(), slope)

    def bends(self, rows: Float[Tensor, "b d"]) -> Float[Tensor, "b d d"]:
        """Hessians with the side's bend for the negatives, none for the positives.

        The bend of the map itself is left out where it would make one indefinite.
        """
        found = self.pulls(self.side.rows(rows))

        def hessians(chosen: Tensor, slope: Tensor) -> Tensor:
            some, mass = self.select(chosen), found.mass[chosen]

            def near(free: Tensor) -> Tensor:
                mapped = self.side.rows(free)
                apart = mapped - mapped.detach()
                square = mass * ((apart @ self.side.bend) * apart).sum(1)
                return (slope * mapped).sum(1) + square / 2 + some._penalty(free)

            return _hessians(near, rows[chosen])

        bends = hessians(torch.arange(len(rows), device=rows.device), found.slope)
        bad = (torch.linalg.cholesky_ex(bends).info > 0).nonzero().squeeze(1)
        if len(bad):
            bends[bad] = hessians(bad, torch.zeros_like(found.slope[bad]))
        return bends

    def _penalty(self, free: Tensor) -> Tensor:
        square = free.square().sum(1)
        if self.length:
            square = (free.norm(dim=1) - self.length).square()
        return self.strength / 2 * square

    def pulls(self, mapped: Float[Tensor, "b m"]) -> Pulls:
        """Of positives and negatives at these mapped rows."""
        side, row, column = self.side, self.positives.row_numbers, self.positives.columns
        good = side.scale * (mapped[row] * side.vectors[column]).sum(1)
        bad = torch.addmm(side.weight, mapped, side.negatives.T, alpha=side.scale)
        if side.place is not None:
            place = side.place[column]
            bad[row[place >= 0], place[place >= 0]] = -torch.inf
        top = bad.amax(1).clamp_min(torch.finfo(bad.dtype).min)
        pull = bad.sub_(top[:, None]).exp_()
        total = pull.sum(1).clamp_min_(torch.finfo(bad.dtype).tiny)
        log_sum = top + total.log()
        surprise = (log_sum[row] if side.one_sum else self.positives.values) - good
        value = torch.zeros_like(top).index_add_(0, row, nn.functional.softplus(surprise))
        miss = surprise.sigmoid()
        if side.one_sum:
            mass = torch.zeros_like(top).index_add_(0, row, miss)
        else:
            mass = log_sum.exp()
            value = value + mass
        slope = pull.mul_((mass / total)[:, None]) @ side.negatives
        slope -= self.positives.with_values(miss) @ side.vectors
        return Pulls(value, side.scale * slope, log_sum, mass)

    def solved(self, start: Float[Tensor, "b d"], tolerance: float) -> Solution:
        """A minimum of each function, downhill from ``start``."""

        def of_block(block: TripletRows, first: Tensor) -> Solution:
            return descend(block, first, tolerance=tolerance)

        return in_blocks(self, start, len(self.side.negatives), of_block)

    @torch.no_grad()
    def totals(self, rows: Float[Tensor, "b d"]) -> Float[Tensor, "b 2"]:
        """Log Z and log c of users as they are."""
        found = []
        for part in blocks(len(rows), len(self.side.negatives), rows.device):
            pulls = self.select(part).pulls(self.side.rows(rows[part]))
            found.append(torch.stack([pulls.log_sum, pulls.mass.log() - pulls.log_sum], 1))
        return torch.cat(found)


def _hessians(
    functions: Callable[[Tensor], Tensor], rows: Float[Tensor, "b d"]
) -> Float[Tensor, "b d d"]:
    """Of a function of each row; one backward pass a coordinate."""
    with torch.enable_grad():
        rows = rows.detach().requires_grad_()
        (slope,) = torch.autograd.grad(functions(rows).sum(), rows, create_graph=True)
        columns = [
            torch.autograd.grad(part.sum(), rows, retain_graph=True)[0] for part in slope.unbind(1)
        ]
    return torch.stack(columns, 1).detach()
