"""TuckER: link prediction by a Tucker decomposition of the facts (Balazevic et al. 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from hyperrank.devices import seeded
from hyperrank.parameters import bounded
from kg.trained import TrainedPredictor
from kg.triples import Triples
from kg.tucker_module import CoreNoise, CoreStart, TuckerModule, TuckerShape


@dataclass(kw_only=True, eq=False)
class TuckER(TrainedPredictor):
    """Entities and relations as vectors that a shared core tensor joins.

    Departures from the published code: logits against all entities are never dense targets on the
    host; the core is contracted once for each relation of a batch, and its dropout is drawn for
    each query by the sum that it leaves ("gaussian"), of equal mean and variance; batches of nearly
    equal size; early stopping looks at ``validation``, never at test facts.

    Those of ``TrainedPredictor``, and:

    Attributes:
        entity_dim: Size of an entity's vector.
        relation_dim: Size of a relation's vector.
        input_dropout: Chance that a number of the given entity is dropped in training.
        core_dropout: The same of the contracted core, each query's its own.
        output_dropout: The same of what meets the answers.
        core_noise: How the core is dropped: "gaussian", the normal limit for each query; by masks
            for each "relation" of a batch; or for each "query", as published, at batch_size times
            the memory of a matrix.
        batch_norm: Whether both sides of the core are normalized over the batch.
        core_scale: Entries of the core start between minus and plus this.
        core_start: Whether they are "uniform" between, or those of "complex" multiplication, for
            blocks of 2 numbers: then the start is a ComplEx (Trouillon et al. 2016).
        blocks: Equal parts of the vectors, each of which meets its own through the same small core
            (Tran & Takasu 2020): 1 is TuckER, and of parts of 2 numbers is ComplEx one.
        n3: Strength of the sum of cubes of each fact's vectors: of their numbers, or the norms of
            several blocks.
        dura: Strength of the squares of each fact's entities and of what meets the answers (DURA,
            Zhang et al. 2020).
        relation_weight: Weight of predicting the relation between both entities too, for one answer
            of each query (Chen et al. 2021).
    """

    entity_dim: int = bounded(200, least=1)
    relation_dim: int = bounded(30, least=1)
    input_dropout: float = bounded(0.2, least=0, most=0.99)
    core_dropout: float = bounded(0.2, least=0, most=0.99)
    output_dropout: float = bounded(0.3, least=0, most=0.99)
    core_noise: CoreNoise = "gaussian"
    batch_norm: bool = True
    core_scale: float = bounded(1.0, above=0)
    core_start: CoreStart = "uniform"
    blocks: int = bounded(1, least=1)
    n3: float = bounded(0.0, least=0)
    dura: float = bounded(0.0, least=0)
    relation_weight: float = bounded(0.0, least=0)

    def _check_params(self) -> None:
        super()._check_params()
        if self.entity_dim % self.blocks or self.relation_dim % self.blocks:
            raise ValueError(
                f"{type(self).__name__}: entity_dim={self.entity_dim} and relation_dim="
                f"{self.relation_dim} must be multiples of blocks={self.blocks}"
            )
        sizes = self.entity_dim, self.relation_dim
        if self.core_start == "complex" and sizes != (2 * self.blocks,) * 2:
            raise ValueError(
                f"{type(self).__name__}: core_start='complex' takes blocks of 2 numbers, so "
                f"entity_dim and relation_dim of {2 * self.blocks} with blocks={self.blocks}, got "
                f"{sizes[0]} and {sizes[1]}"
            )

    def _learn(self, train: Triples, validation: Triples | None, **given: Any) -> nn.Module:
        """All tables; see ``TrainedPredictor`` for what is set."""
        generator = seeded(self.random_state, self._device())
        module = self.module(train.n_entities, train.n_relations, generator)
        return self._train(module, train, validation, generator, **given)

    def module(self, n_entities: int, n_relations: int, generator: torch.Generator) -> TuckerModule:
        """The untrained tables and their loss, for loops of one's own."""
        shape = TuckerShape(
            n_entities,
            2 * n_relations,
            self.entity_dim,
            self.relation_dim,
            self.input_dropout,
            self.core_dropout,
            self.output_dropout,
            self.core_noise,
            self.batch_norm,
            self.core_scale,
            self.blocks,
            self.core_start,
        )
        objective = self._objective(self.n3, self.dura, self.relation_weight)
        return TuckerModule(shape, objective, generator)

    def _empty(self, n_entities: int, n_relations: int) -> nn.Module:
        return self.module(n_entities, n_relations, seeded(0, self._device()))
