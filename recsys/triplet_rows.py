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
from recsys.triplet_scores import Mapped, PairScore, Rows
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
        score: Whose scores they are.
        scale: What scores are multiplied with.
        bend: Hessian of the negatives in mapped vectors near a typical row, a unit of their pull.
    """

    vectors: Float[Tensor, "n m"]
    negatives: Float[Tensor, "k m"]
    weight: Float[Tensor, " k"]
    place: Int[Tensor, " n"] | None
    one_sum: bool
    rows: Callable[[Rows], Mapped]
    score: PairScore
    scale: float
    bend: Float[Tensor, "m m"]


def frozen_side(
    vectors: Float[Tensor, "n m"],
    weight: Float[Tensor, " n_base"],
    typical: Float[Tensor, " d"],
    rows: Callable[[Rows], Mapped],
    score: PairScore,
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
    with torch.enable_grad():
        product = (negatives @ rows(typical)).requires_grad_()
        scores = scale * score.scores(product)
        (slope,) = torch.autograd.grad(scores.sum(), product)
    share = (scores.detach() + weight).softmax(0)
    steep = slope[:, None] * negatives
    if one_sum:
        steep = steep - share @ steep
    bend = steep.T @ (share[:, None] * steep)
    kept = place if hidden else None
    return FrozenSide(vectors, negatives, weight, kept, one_sum, rows, score, scale, bend)


class Pulls(NamedTuple):
    """What positive and negative scores do to the functions of rows."""

    value: Float[Tensor, " b"]
    log_sum: Float[Tensor, " b"]  # of the negatives
    miss: Float[Tensor, " nnz"]  # minus the slope on each positive
    pull: Float[Tensor, "b k"]  # the slope on each negative
    mass: Float[Tensor, " b"]  # those slopes' sum


@dataclass(frozen=True, eq=False)
class TripletRows:
    """The functions of b rows.

    Attributes:
        side: The frozen side.
        positives: Known pairs of the rows, b x n; where the side has not ``one_sum``, values are
            log Z of the takers, else they mean nothing.
        l2: Strength for each row.
    """

    side: FrozenSide
    positives: SparseMatrix
    l2: Float[Tensor, " b"]

    def select(self, chosen: Int[Tensor, " c"]) -> TripletRows:
        """The functions of these rows."""
        return replace(self, positives=self.positives.select(chosen), l2=self.l2[chosen])

    def look(self, rows: Float[Tensor, "b d"]) -> Look:
        """The functions at these rows; see ``row_descent.Functions``."""
        with torch.enable_grad():
            free = rows.detach().requires_grad_()
            mapped = self.side.rows(free)
        found, way = self._fall(mapped.detach())
        (slope,) = torch.autograd.grad(mapped, free, way)
        value = found.value + self.l2 / 2 * rows.square().sum(1)
        return Look(value, slope + self.l2[:, None] * rows)

    def bends(self, rows: Float[Tensor, "b d"]) -> Float[Tensor, "b d d"]:
        """Hessians with the side's bend for the negatives, none for the positives.

        The bend of the map itself is left out where it would make one indefinite.
        """
        found, way = self._fall(self.side.rows(rows))

        def hessians(chosen: Tensor, way: Tensor) -> Tensor:
            def near(free: Tensor) -> Tensor:
                mapped = self.side.rows(free)
                apart = mapped - mapped.detach()
                square = found.mass[chosen] * ((apart @ self.side.bend) * apart).sum(1)
                return (way * mapped).sum(1) + (square + self.l2[chosen] * free.square().sum(1)) / 2

            return _hessians(near, rows[chosen])

        bends = hessians(torch.arange(len(rows), device=rows.device), way)
        bad = (torch.linalg.cholesky_ex(bends).info > 0).nonzero().squeeze(1)
        if len(bad):
            bends[bad] = hessians(bad, torch.zeros_like(way[bad]))
        return bends

    def _fall(self, mapped: Float[Tensor, "b m"]) -> tuple[Pulls, Float[Tensor, "b m"]]:
        """The pulls at these mapped rows, and the functions' slopes in them, L2 apart."""
        with torch.enable_grad():
            mapped = mapped.detach().requires_grad_()
            good, bad = self._scores(mapped)
        found = self._pulls(good.detach(), bad.detach())
        (way,) = torch.autograd.grad([good, bad], mapped, [-found.miss, found.pull])
        return found, way

    def _scores(self, mapped: Tensor) -> tuple[Float[Tensor, " nnz"], Float[Tensor, "b k"]]:
        """Scaled, of positives and negatives."""
        side, positives = self.side, self.positives
        taken = side.vectors[positives.columns]
        good = (nn.functional.embedding(positives.row_numbers, mapped) * taken).sum(1)
        bad = mapped @ side.negatives.T
        return side.scale * side.score.scores(good), side.scale * side.score.scores(bad)

    def _pulls(self, good: Float[Tensor, " nnz"], bad: Float[Tensor, "b k"]) -> Pulls:
        side, row = self.side, self.positives.row_numbers
        bad = bad + side.weight
        if side.place is not None:
            place = side.place[self.positives.columns]
            bad[row[place >= 0], place[place >= 0]] = -torch.inf
        top = bad.amax(1).clamp_min(torch.finfo(bad.dtype).min)
        pull = bad.sub_(top[:, None]).exp_()
        total = pull.sum(1).clamp_min_(torch.finfo(bad.dtype).tiny)
        log_sum = top + total.log()
        surprise = (log_sum[row] if side.one_sum else self.positives.values) - good
        value = top.new_zeros(len(top)).index_add_(0, row, nn.functional.softplus(surprise))
        miss = surprise.sigmoid()
        if side.one_sum:
            mass = top.new_zeros(len(top)).index_add_(0, row, miss)
        else:
            mass = log_sum.exp()
            value = value + mass
        return Pulls(value, log_sum, miss, pull.mul_((mass / total)[:, None]), mass)

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
            some = self.select(part)
            pulls = some._pulls(*some._scores(self.side.rows(rows[part])))
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
