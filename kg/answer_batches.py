"""Batches of queries with all their answers, and what a model loses on them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hyperrank.answer_losses import Answers, Score, answer_loss
from kg.queries import Queries

LossName: TypeAlias = Literal["bce", "softmax"]
SmoothingRule: TypeAlias = Literal["conve", "uniform"]


class AnswerBatch(NamedTuple):
    """Queries and their answers."""

    anchor: Int[Tensor, " b"]
    relation: Int[Tensor, " b"]  # directed
    position: Int[Tensor, " p"]  # the query of each answer, nondecreasing
    positive: Int[Tensor, " p"]  # the entity that answers
    draw: Int[Tensor, " b"]  # of each query one of its answers, drawn: a place in ``positive``

    @property
    def counts(self) -> Int[Tensor, " b"]:
        """Answers of each query."""
        return torch.bincount(self.position, minlength=len(self.anchor))


@dataclass(frozen=True, eq=False)
class AnswerBatches:
    """All queries in random order, in parts of at least ``batch_size`` and nearly equal size.

    No part is a single query, of which batch normalization knows no variance.
    """

    queries: Queries
    batch_size: int
    generator: torch.Generator

    def __len__(self) -> int:
        return max(self.queries.n_queries // self.batch_size, 1)

    def __iter__(self) -> Iterator[AnswerBatch]:
        queries, device = self.queries, self.queries.device
        order = torch.randperm(queries.n_queries, generator=self.generator, device=device)
        for number in order.tensor_split(len(self)):
            position, positive = queries.rows(number)
            counts = queries.query_degrees[number]
            share = torch.rand(len(number), generator=self.generator, device=device)
            draw = counts.cumsum(0) - counts + (share * counts).long().clamp_max(counts - 1)
            yield AnswerBatch(
                queries.anchor[number], queries.relation[number], position, positive, draw
            )


@dataclass(frozen=True)
class Objective:
    """What is minimized; see ``TuckER`` for each."""

    loss: LossName
    smoothing: float
    smoothing_rule: SmoothingRule
    n3: float
    dura: float
    relation_weight: float
    chunk: int | None

    def fit(
        self,
        score: Score,
        queries: tuple[Tensor, ...],
        entities: tuple[Tensor, ...],
        batch: AnswerBatch,
    ) -> Float[Tensor, ""]:
        """Cross-entropy of a batch against all entities.

        "bce" sums over queries and entities. "softmax" sums over the facts, each of which is a
        choice among all entities; those of one query share the logits.
        """
        n = len(entities[0])
        spread = (1.0 if self.smoothing_rule == "conve" else self.smoothing) / n
        floor = queries[0].new_full((len(batch.anchor),), spread if self.smoothing else 0.0)
        if self.loss == "softmax":
            floor = floor * batch.counts
        answers = Answers(batch.position, batch.positive, 1 - self.smoothing, floor)
        return answer_loss(self.loss, score, queries, entities, answers, chunk=self.chunk)

    def weights(self, batch: AnswerBatch) -> Float[Tensor, " b"]:
        """What a query weighs: one, or its facts where each of them is a choice."""
        counts = batch.counts.float()
        return counts if self.loss == "softmax" else torch.ones_like(counts)
