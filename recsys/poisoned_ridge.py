"""What fake users should have: item-item ridge regression, differentiated by their histories."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hyperrank import sparse
from hyperrank.lowrank import randomized_svd
from hyperrank.pairs import PairSet
from hyperrank.retrieval import top_k
from hyperrank.scorers import Factors
from hyperrank.sparse import SparseMatrix

DIM = 64  # singular vectors of the real log
STEPS = 20  # of the search
# share of the items that each fake user draws from: all alike would be a taste of their own
POOL = 0.2
LISTED = 10  # length of the list whose last item a target should overtake
SOFT, SHARP = 0.5, 0.05  # where overtaking fades, first and last, in typical scores of last items


@dataclass(frozen=True, eq=False)
class RidgeSurrogate:
    """Item-item ridge regression on a real log, and on that log with fake rows below it.

    A stand-in for whatever will be trained; a fake user costs some n_items numbers. Scores are
    x_u B, B = I - l2 P, P = (X^T X + l2 I)^-1, of X^T X only what its first singular vectors V
    hold; ``l2`` is the square of the least singular value s kept. Fake rows F change P by
    Woodbury's identity: with H = V diag(s^2 / (s^2 + l2)) V^T and W = F - F H,
    x_u B' e_t = x_u H e_t + x_u W^T (l2 I + F W^T)^-1 W e_t for an item t that u does not have.
    """

    matrix: SparseMatrix
    right: Float[Tensor, "n d"]
    kept: Float[Tensor, " d"]  # s^2 / (s^2 + l2)
    l2: Float[Tensor, ""]
    last: Float[Tensor, " m"]  # score of the last item in each list
    targets: Int[Tensor, " t"]
    owners: Bool[Tensor, "m t"]  # who has which target

    @classmethod
    def of(cls, pairs: PairSet, targets: Int[Tensor, " t"], generator: torch.Generator) -> Self:
        """The regression on these pairs."""
        matrix = sparse.from_pairs(pairs)
        rank = min(DIM, pairs.n_queries, pairs.n_candidates)
        found = randomized_svd(matrix.linear_map(), rank, generator=generator)
        right, squares = found.right.contiguous(), found.values.square()
        l2 = squares[-1]
        kept = squares / (squares + l2)
        every = torch.arange(pairs.n_queries, device=pairs.device)
        k = min(LISTED, pairs.n_candidates)
        scorer = Factors((matrix @ right) * kept, right)
        last = top_k(scorer, every, k, known=pairs).scores[:, -1]
        owners = pairs.contains(*torch.broadcast_tensors(every[:, None], targets))
        return cls(matrix, right, kept, l2, last, targets, owners)

    def margins(self, fakes: Float[Tensor, "f n"]) -> Float[Tensor, "m t"]:
        """How far each target would be above the last item of each real user's list."""
        rest = fakes - (fakes @ self.right * self.kept) @ self.right.T
        system = fakes @ rest.T + self.l2 * torch.eye(len(fakes), device=fakes.device)
        pull = torch.linalg.solve(system, rest[:, self.targets])
        column = (self.right * self.kept) @ self.right[self.targets].T + rest.T @ pull
        above: Tensor = self.matrix @ column - self.last[:, None]
        return above

    def fillers(
        self,
        own: Bool[Tensor, "f t"],
        start: Bool[Tensor, "f n"],
        generator: torch.Generator,
    ) -> Bool[Tensor, "f n"]:
        """As many items a row as ``start`` has, no targets; from a drawn pool while it lasts.

        The most lists that a target enters, by the steps of Frank and Wolfe (1956); entering is a
        sigmoid of the margin, sharper with every step.
        """
        count = start.sum(1)
        typical = self.last[self.last.isfinite()].median().abs()
        reachable = ~self.owners & self.last.isfinite()[:, None]
        pushed = torch.zeros(start.shape, device=start.device)
        pushed[:, self.targets] = own.float()
        outside = torch.rand(start.shape, generator=generator, device=start.device) > POOL
        found = start.float()
        for step in range(STEPS):
            width = typical * SOFT * (SHARP / SOFT) ** (step / (STEPS - 1))
            free = found.requires_grad_()
            entered = (self.margins(free + pushed) / width).sigmoid().where(reachable, 0).sum()
            (slope,) = torch.autograd.grad(entered, free)
            slope -= outside * (slope.amax() - slope.amin())
            slope[:, self.targets] = -torch.inf
            found = found.detach().lerp(largest(slope, count).float(), 2 / (step + 2))
        found[:, self.targets] = -torch.inf
        return largest(found, count)


def largest(scores: Float[Tensor, "f n"], count: Int[Tensor, " f"]) -> Bool[Tensor, "f n"]:
    """The so many largest entries of each row, those of -inf left out."""
    best = scores.topk(min(max(int(count.max()), 1), scores.shape[1]), dim=1)
    place = torch.arange(best.indices.shape[1], device=scores.device)
    taken = (place < count[:, None]) & best.values.isfinite()
    return torch.zeros_like(scores, dtype=torch.bool).scatter_(1, best.indices, taken)
