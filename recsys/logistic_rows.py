"""Rows of a factor table solved against the other, frozen one: UltraGCN's loss, exactly.

With one table frozen, each row e of the other minimizes a function of its own,

    f(e) = sum_p w_p softplus(-e . v_p)
           + sum_j (base flat_j + slope steep_j) softplus(e . v_j) + l2 / 2 |e|^2:

weighted logistic positives, the expectation of the sampled negatives over the whole table, and L2.
It is l2-strongly convex, so a row is a function of its own history alone, and solving it is the
full training of that row; ``recsys.row_solvers`` does it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hyperrank.products import fast_products
from hyperrank.sparse import SparseMatrix
from recsys.warm_start import blocks, row_grams

ROWS_CLUSTERED = 8192


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


@dataclass(frozen=True, eq=False)
class Expansion:
    """The negatives' gradient and Hessian at a few centres, per unit of ``base`` and ``slope``."""

    centres: Float[Tensor, "k d"]
    gradients: Float[Tensor, "2 k d"]
    hessians: Float[Tensor, "2 k d d"]
    masses: Float[Tensor, "2 k"]  # what the negatives weigh in the Hessians, in all

    def nearest(self, rows: Float[Tensor, "b d"]) -> Int[Tensor, " b"]:
        """The centre closest to each row."""
        return torch.cdist(rows, self.centres).argmin(1)

    def hessian(self, problems: RowProblems, centre: Int[Tensor, " b"]) -> Float[Tensor, "b d d"]:
        """Of the negatives of each row, at its centre."""
        flat, steep = self.hessians[0][centre], self.hessians[1][centre]
        return problems.base[:, None, None] * flat + problems.slope[:, None, None] * steep

    def mass(self, problems: RowProblems, centre: Int[Tensor, " b"]) -> Float[Tensor, " b"]:
        """What the negatives of each row weigh in its Hessian at its centre."""
        return problems.base * self.masses[0][centre] + problems.slope * self.masses[1][centre]

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
    masses = table.vectors.new_empty(2, len(centres))
    with fast_products():
        for k, centre in enumerate(centres):
            chance = torch.sigmoid(table.vectors @ centre)
            for part, weight in enumerate((table.flat, table.steep)):
                gradients[part, k] = (weight * chance) @ table.vectors
                bend = weight * chance * (1 - chance)
                masses[part, k] = bend.sum()
                hessians[part, k] = table.vectors.T @ (bend[:, None] * table.vectors)
    return Expansion(centres, gradients, hessians, masses)


@torch.no_grad()
def spread_centres(
    rows: Float[Tensor, "b d"], k: int, *, generator: torch.Generator, rounds: int = 5
) -> Float[Tensor, "k d"]:
    """The mean of all rows and ``k - 1`` cluster means of at most 8,192 random ones (Lloyd)."""
    mean = rows.mean(0, keepdim=True)
    k = min(k - 1, len(rows))
    if k < 1:
        return mean
    draw = torch.randperm(len(rows), generator=generator, device=rows.device)
    rows = rows[draw[:ROWS_CLUSTERED]]
    centres = rows[:k]
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
    pull, _ = pull_of(table, problems.positives, rows)
    found = table.l2 * rows - problems.positives.with_values(pull) @ table.vectors
    with fast_products():
        for part in blocks(len(rows), len(table.vectors), rows.device):
            chance = torch.sigmoid_(rows[part] @ table.vectors.T)
            chance *= negative_weight(table, problems.base[part], problems.slope[part])
            found[part] += chance @ table.vectors
    return found


@torch.no_grad()
def exact_hessian(
    table: FrozenTable, problems: RowProblems, rows: Float[Tensor, "b d"]
) -> Float[Tensor, "b d d"]:
    """The exact Hessian of each row's function: n d^2 multiply-adds a row."""
    found = positive_hessian(table, problems, rows)
    with fast_products():
        for part in blocks(len(rows), table.vectors.numel(), rows.device):
            chance = torch.sigmoid(rows[part] @ table.vectors.T)
            bend = chance * (1 - chance)
            bend *= negative_weight(table, problems.base[part], problems.slope[part])
            found[part] += table.vectors.T @ (bend.unsqueeze(2) * table.vectors)
    return found


def negative_weight(table: FrozenTable, base: Tensor, slope: Tensor) -> Float[Tensor, "b n"]:
    """Of each negative, for each row."""
    return torch.addcmul(base[:, None] * table.flat, slope[:, None], table.steep)


def pull_at(positives: SparseMatrix, scores: Float[Tensor, " nnz"]) -> tuple[Tensor, Tensor]:
    """Weight times chance of a miss of each positive, and that times the chance of a hit."""
    miss = torch.sigmoid(-scores)
    pull = positives.values * miss
    return pull, pull * (1 - miss)


def pull_of(table: FrozenTable, positives: SparseMatrix, rows: Tensor) -> tuple[Tensor, Tensor]:
    """As ``pull_at``, from the rows."""
    scores = (rows[positives.row_numbers] * table.vectors[positives.columns]).sum(1)
    return pull_at(positives, scores)


def positive_hessian(table: FrozenTable, problems: RowProblems, rows: Tensor) -> Tensor:
    """Of the positives and of L2."""
    _, bend = pull_of(table, problems.positives, rows)
    return with_l2(row_grams(problems.positives.with_values(bend), table.vectors), table.l2)


def with_l2(hessian: Tensor, l2: float) -> Tensor:
    """Hessians with L2 added in place."""
    hessian.diagonal(dim1=1, dim2=2).add_(l2)
    return hessian
