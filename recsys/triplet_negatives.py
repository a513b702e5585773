"""Negatives that are picked by the model as it stands, or from the batch itself."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hyperrank.batches import PairBatch
from hyperrank.hyperbolic import height
from hyperrank.pairs import PairSet
from recsys.triplet_module import TripletModule


@dataclass(frozen=True, eq=False)
class InBatch:
    """``count`` of the batch's positives, or all where there are fewer; shared by the batch.

    An item is drawn with probability proportional to its popularity.
    """

    count: int
    generator: torch.Generator

    def __call__(self, batch: PairBatch) -> Int[Tensor, " k"]:
        """The items."""
        n, device = len(batch.positive), batch.positive.device
        order = torch.randperm(n, generator=self.generator, device=device)
        return batch.positive[order[: self.count]]


@dataclass(frozen=True, eq=False)
class Gumbel:
    """For each row ``count`` distinct places of the batch's pool, the higher-scored the likelier.

    Two stages: the pool is drawn for the batch, then each row takes the largest of
    temperature * score + Gumbel noise, which is sampling without replacement from the softmax of
    temperature * score. Known pairs are taken only where the pool has too few others.

    Attributes:
        module: Whose scores count, as they are now.
        pairs: The known pairs.
        count: Negatives of a row.
        temperature: 0 is uniform; the larger, the harder the negatives.
        generator: Of the noise; on the device of ``pairs``.
    """

    module: TripletModule
    pairs: PairSet
    count: int
    temperature: float
    generator: torch.Generator

    @torch.no_grad()
    def __call__(self, batch: PairBatch) -> Int[Tensor, "b k"]:
        """The items."""
        pool, rows = batch.negatives, batch.query
        scores = self.temperature * self.module.block(rows, pool)
        scores = scores + gumbel_noise(scores, self.generator)
        known = self.pairs.contains(rows[:, None].expand_as(scores), pool.expand_as(scores))
        best = scores.masked_fill_(known, -torch.inf).topk(min(self.count, len(pool)), dim=1)
        return pool[best.indices]


@dataclass(frozen=True, eq=False)
class Released:
    """One item for each row by the released line: argmin of cosh d(u, i) + Gumbel noise, all items.

    It was meant to draw with probability proportional to exp(-cosh d), which takes argmax of
    -cosh d + noise. With users as released, not reflected, small distances are low scores: these
    are easy negatives. Known pairs are not left out. Costs a row of scores for each pair.
    """

    module: TripletModule
    generator: torch.Generator

    @torch.no_grad()
    def __call__(self, batch: PairBatch) -> Int[Tensor, "b 1"]:
        """The items."""
        user, items = self.module.users[batch.query], self.module.items
        u0, v0 = (height(x, curvature=-1.0) for x in (user, items))
        cosh = torch.outer(u0, v0).addmm_(user, items.T)  # the user is stored reflected
        return cosh.add_(gumbel_noise(cosh, self.generator)).argmin(1, keepdim=True)


def gumbel_noise(like: Float[Tensor, "b k"], generator: torch.Generator) -> Float[Tensor, "b k"]:
    """Standard Gumbel numbers, none infinite."""
    uniform = torch.rand(like.shape, dtype=like.dtype, generator=generator, device=like.device)
    tiny = torch.finfo(like.dtype).tiny
    return uniform.clamp_min_(tiny).log_().neg_().log_().neg_()
