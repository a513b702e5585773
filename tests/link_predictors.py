"""A link predictor that needs no training, and facts that anything learns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hyperrank.vocabulary import Vocabulary
from kg.predictor import LinkPredictor
from kg.triples import Triples


class PathsModule(nn.Module):
    """Counts of paths of three facts, to, fro and to, of one relation."""

    rows: Tensor

    def __init__(self, rows: Tensor) -> None:
        super().__init__()
        self.register_buffer("rows", rows)  # directed relation, anchor, answer

    def score(self, anchor: Tensor, relation: Tensor) -> Tensor:
        table = self.rows[relation]
        there = table[torch.arange(len(anchor)), anchor]
        back = torch.einsum("bn,bmn->bm", there, table)
        return torch.einsum("bm,bmn->bn", back, table)

    def score_triples(self, anchor: Tensor, relation: Tensor, answer: Tensor) -> Tensor:
        return self.score(anchor, relation)[torch.arange(len(anchor)), answer]

    def vectors(self) -> Tensor:
        return self.rows.transpose(0, 1).flatten(1)


@dataclass(kw_only=True, eq=False)
class Paths(LinkPredictor):
    """Exact, dense, for a few dozen entities."""

    random_state: int = 0
    progress: bool = False

    def _learn(self, train: Triples, validation: Triples | None, **given: Any) -> PathsModule:
        self.heard_, self.validation_size_ = list(given), len(validation or ())
        module, facts = self._empty(train.n_entities, train.n_relations), train.queries()
        query = facts.queries
        module.rows[facts.relation[query], facts.anchor[query], facts.candidates] = 1.0
        return module

    def _empty(self, n_entities: int, n_relations: int) -> PathsModule:
        return PathsModule(torch.zeros(2 * n_relations, n_entities, n_entities))


@dataclass(kw_only=True, eq=False)
class Fixed(LinkPredictor):
    """Logits that are given, directed relation by anchor by answer, to look at the doors alone."""

    values: Any = None

    def _learn(self, train: Triples, validation: Triples | None, **given: Any) -> nn.Module:
        values = torch.zeros(2 * train.n_relations, train.n_entities, train.n_entities)
        return FixedModule(values if self.values is None else torch.as_tensor(self.values))


class FixedModule(nn.Module):
    values: Tensor

    def __init__(self, values: Tensor) -> None:
        super().__init__()
        self.register_buffer("values", values)

    def score(self, anchor: Tensor, relation: Tensor) -> Tensor:
        return self.values[relation, anchor]

    def score_triples(self, anchor: Tensor, relation: Tensor, answer: Tensor) -> Tensor:
        return self.values[relation, anchor, answer]


def parity_facts(n_facts: int = 400, n_entities: int = 30, number: int = 0) -> Triples:
    """``like`` joins entities of one parity, ``unlike`` those of different; ids e0, e1, ..."""
    source = torch.Generator().manual_seed(number)
    head = torch.randint(n_entities, (n_facts,), generator=source)
    relation = torch.randint(2, (n_facts,), generator=source)
    tail = 2 * torch.randint(n_entities // 2, (n_facts,), generator=source)
    entities = Vocabulary.from_ids([f"e{number}" for number in range(n_entities)])
    relations = Vocabulary.from_ids(["like", "unlike"])
    tail = tail + (head + relation) % 2
    return Triples.from_rows(entities, relations, head, relation, tail)
