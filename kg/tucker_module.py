"""The tensors of TuckER, their scores and what is minimized on a batch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from hyperrank.answer_losses import dot_products
from hyperrank.group_products import Groups
from kg.answer_batches import AnswerBatch, Objective

CoreNoise: TypeAlias = Literal["gaussian", "relation", "query"]
CoreStart: TypeAlias = Literal["uniform", "complex"]
COMPLEX_PRODUCT = ((1.0, 0.0, 0.0, 1.0), (0.0, 1.0, -1.0, 0.0))  # by parts of the relation
LEVELS = 2**16  # of a random number of 16 bits
embedding = nn.functional.embedding


@dataclass(frozen=True)
class TuckerShape:
    """Sizes and regularization of a ``TuckerModule``; see ``TuckER`` for each."""

    n_entities: int
    n_relations: int  # directed
    entity_dim: int
    relation_dim: int
    input_dropout: float
    core_dropout: float
    output_dropout: float
    core_noise: CoreNoise
    batch_norm: bool
    core_scale: float
    blocks: int
    core_start: CoreStart


def dropped(x: Tensor, chance: float, generator: torch.Generator) -> Tensor:
    """``x`` with each entry 0 by that chance, and else larger, so that its mean is ``x``.

    The chance is rounded to 1/65536: each random number of 64 bits decides on four entries.
    """
    if not chance:
        return x
    limit = round(chance * LEVELS)
    words = torch.empty(-(-x.numel() // 4), dtype=torch.int64, device=x.device)
    words.random_(-(2**63), None, generator=generator)
    kept = words.view(torch.int16)[: x.numel()].view(x.shape) >= limit - LEVELS // 2
    return x * kept.to(x.dtype).mul_(LEVELS / (LEVELS - limit))


class SingleAnswers(nn.Module):
    """A module whose ``logits`` of single answers serve to score facts too."""

    logits: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]

    @torch.no_grad()
    def score_triples(
        self, anchor: Int[Tensor, " p"], relation: Int[Tensor, " p"], answer: Int[Tensor, " p"]
    ) -> Float[Tensor, " p"]:
        """The same logits of single answers."""
        return self.logits(
            anchor, relation, torch.arange(len(anchor), device=anchor.device), answer
        )


class TuckerModule(SingleAnswers):
    """TuckER: logits ``y . E[t]`` with y = norm(norm(E[h]) (sum_k R[r, k] W[k])).

    Balazevic et al. 2019, with the dropouts and normalizations of its code. One table serves both
    sides; answers are taken from it as they are. Of several blocks the k-th is every ``blocks``-th
    number of each vector, from the k-th on, and the logit is the sum of theirs.
    """

    def __init__(self, shape: TuckerShape, objective: Objective, generator: torch.Generator):
        super().__init__()
        self.shape, self.objective, self.generator = shape, objective, generator
        d, k, device = shape.entity_dim, shape.relation_dim, generator.device
        side = d // shape.blocks

        def xavier(n: int, m: int) -> nn.Parameter:
            spread = math.sqrt(2 / (n + m))
            return nn.Parameter(spread * torch.randn(n, m, generator=generator, device=device))

        self.entities = xavier(shape.n_entities, d)
        self.relations = xavier(shape.n_relations, k)
        core = (
            2 * torch.rand(k // shape.blocks, side * side, generator=generator, device=device) - 1
        )
        if shape.core_start == "complex":
            core = torch.tensor(COMPLEX_PRODUCT, device=device)
        self.core = nn.Parameter(shape.core_scale * core)
        self.last = (torch.zeros(0, dtype=torch.int64, device=device),) * 2
        self.norm_in, self.norm_out = (
            nn.BatchNorm1d(d, device=device) if shape.batch_norm else nn.Identity()
            for _ in range(2)
        )

    def loss(self, batch: AnswerBatch) -> Float[Tensor, ""]:
        """Sum over the batch, in the units of ``Objective.fit``."""
        self.last = batch.anchor, batch.relation
        given = self.given(batch.anchor)
        y = self.wanted(given, batch.relation)
        fit = self.objective.fit(dot_products, (y,), (self.entities,), batch)
        return fit + self.penalties(batch, given, y)

    def given(self, anchor: Int[Tensor, " b"]) -> Float[Tensor, "b d"]:
        """The vectors of the entities that are given, as the core meets them."""
        x = self.norm_in(embedding(anchor, self.entities))
        return self._dropped(x, self.shape.input_dropout)

    def wanted(
        self, given: Float[Tensor, "b d"], relation: Int[Tensor, " b"]
    ) -> Float[Tensor, "b d"]:
        """The vectors y whose products with entities are the logits.

        The core is contracted once for each distinct relation.
        """
        groups = Groups.of(relation)
        matrices = self._matrices(embedding(groups.members, self.relations))
        y = self._contracted(groups, given, matrices.to(given.dtype)).to(given.dtype)
        return self._dropped(self.norm_out(y), self.shape.output_dropout)

    def answering(
        self, anchor: Int[Tensor, " b"], relation: Int[Tensor, " b"]
    ) -> tuple[Float[Tensor, "b d"], Float[Tensor, "n d"]]:
        """The vectors of questions and of entities, whose products are the logits."""
        return self.wanted(self.given(anchor), relation), self.entities

    def slopes(self, relation: Int[Tensor, " g"]) -> Float[Tensor, "g d d"]:
        """What a move of a given entity's vector is multiplied with, in eval mode; float64."""
        d, own = self.shape.entity_dim, self._matrices(self.relations[relation].double())
        matrices = torch.diag_embed(own).movedim(3, 2).reshape(-1, d, d)
        for norm, axis in ((self.norm_in, 2), (self.norm_out, 1)):
            if isinstance(norm, nn.BatchNorm1d) and isinstance(norm.running_var, Tensor):
                slope = norm.weight.double() * (norm.running_var.double() + norm.eps).rsqrt()
                matrices = matrices * slope.unsqueeze(axis - 1)
        return matrices

    def _matrices(self, relations: Float[Tensor, "g k"]) -> Float[Tensor, "g side side blocks"]:
        """The core contracted with relations' vectors, block by block."""
        side, parts = self.shape.entity_dim // self.shape.blocks, self._parts(relations)
        matrices = (parts.mT @ self.core.to(parts.dtype)).mT
        return matrices.reshape(-1, side, side, self.shape.blocks)

    def _parts(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n side blocks"]:
        """A column for each block."""
        return x.view(len(x), -1, self.shape.blocks)

    def _contracted(
        self, groups: Groups, x: Float[Tensor, "b d"], matrices: Float[Tensor, "g side side blocks"]
    ) -> Float[Tensor, "b d"]:
        """Rows times their relation's matrices, whose entries are dropped while training."""
        chance = self.shape.core_dropout if self.training else 0.0
        if not chance:
            return self._products(groups, x, matrices)
        if self.shape.core_noise == "relation":
            return self._products(groups, x, dropped(matrices, chance, self.generator))
        if self.shape.core_noise == "query":
            own = dropped(matrices.index_select(0, groups.group), chance, self.generator)
            return self._row_products(x, own)
        mean = self._products(groups, x, matrices)
        variance = self._products(groups, x * x, matrices * matrices) * (chance / (1 - chance))
        noise = torch.randn(mean.shape, generator=self.generator, device=mean.device)
        return mean + variance.clamp_min(torch.finfo(variance.dtype).tiny).sqrt() * noise

    def _products(
        self, groups: Groups, x: Float[Tensor, "b d"], matrices: Float[Tensor, "g side side blocks"]
    ) -> Float[Tensor, "b d"]:
        """Rows times the matrices of their group, block by block."""
        if matrices.shape[1] < self.shape.blocks:  # small ones: a copy for each row is no more
            return self._row_products(x, matrices.index_select(0, groups.group))
        blocks = zip(self._parts(x).unbind(2), matrices.unbind(3), strict=True)
        return torch.stack([groups.products(*block) for block in blocks], 2).flatten(1)

    def _row_products(
        self, x: Float[Tensor, "b d"], own: Float[Tensor, "b side side blocks"]
    ) -> Float[Tensor, "b d"]:
        """Rows times matrices of their own, block by block."""
        if self.shape.blocks == 1:
            return torch.bmm(x.unsqueeze(1), own.squeeze(3)).squeeze(1)
        return (self._parts(x).unsqueeze(2) * own).sum(1).flatten(1)

    def penalties(
        self, batch: AnswerBatch, given: Float[Tensor, "b d"], y: Float[Tensor, "b d"]
    ) -> Float[Tensor, ""]:
        """Regularization for each fact, and what the prediction of relations loses."""
        total, objective = y.new_zeros(()), self.objective
        if objective.n3 or objective.dura:
            counts = batch.counts.to(y.dtype)
            anchor = embedding(batch.anchor, self.entities)
            answer = embedding(batch.positive, self.entities)
            relation = embedding(batch.relation, self.relations)
            cubes = sum(counts @ self._cubes(x) for x in (anchor, relation))
            squares = sum(counts @ x.square().sum(1) for x in (anchor, y))
            total = total + objective.n3 * (cubes + self._cubes(answer).sum())
            total = total + objective.dura * (squares + answer.square().sum())
        if objective.relation_weight:
            total = total + objective.relation_weight * self._relation_loss(batch, given)
        return total

    def _cubes(self, x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """Sum of the cubed norms of the blocks; of the cubed numbers where there is one."""
        if self.shape.blocks == 1:
            return x.abs().pow(3).sum(1)
        return self._parts(x).square().sum(1).pow(1.5).sum(1)

    def _relation_loss(self, batch: AnswerBatch, given: Float[Tensor, "b d"]) -> Float[Tensor, ""]:
        """Softmax over all directed relations, of one drawn answer of each query."""
        answer = embedding(batch.positive[batch.draw], self.entities)
        norm = self.norm_out  # as it stands; its shift is of no relation
        if isinstance(norm, nn.BatchNorm1d) and isinstance(norm.running_var, Tensor):
            answer = answer * (norm.weight * (norm.running_var + norm.eps).rsqrt())
        pairs = self._parts(given).unsqueeze(2) * self._parts(answer).unsqueeze(1)
        met = (pairs.flatten(1, 2).mT @ self.core.T).mT.flatten(1)
        logits = (met @ self.relations.T).to(given.dtype)
        lost = nn.functional.cross_entropy(logits, batch.relation, reduction="none")
        return self.objective.weights(batch) @ lost

    def factors(self) -> tuple[Float[Tensor, "b d"], Float[Tensor, "n d"]]:
        """Vectors y of the last batch's queries, as they would be served, and entities."""
        training = {module: module.training for module in self.modules()}
        self.eval()
        y = self.wanted(self.given(self.last[0]), self.last[1])
        for module, mode in training.items():
            module.training = mode
        return y, self.entities

    def _dropped(self, x: Tensor, chance: float) -> Tensor:
        return dropped(x, chance, self.generator) if self.training else x

    @torch.no_grad()
    def score(self, anchor: Int[Tensor, " b"], relation: Int[Tensor, " b"]) -> Float[Tensor, "b n"]:
        """Logits of all entities as answers."""
        return dot_products(self.wanted(self.given(anchor), relation), self.entities)

    def logits(
        self,
        anchor: Int[Tensor, " b"],
        relation: Int[Tensor, " b"],
        position: Int[Tensor, " p"],
        answer: Int[Tensor, " p"],
    ) -> Float[Tensor, " p"]:
        """Logits of single answers to the questions at these positions, with their slopes."""
        y = self.wanted(self.given(anchor), relation)
        return (embedding(position, y) * embedding(answer, self.entities)).sum(1)

    def vectors(self) -> Float[Tensor, "n d"]:
        """A vector for each entity."""
        return self.entities.detach()
