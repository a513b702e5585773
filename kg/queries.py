"""Queries: the distinct questions that facts answer, numbered, and those put to a model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from hyperrank.pairs import PairSet
from hyperrank.questions import column_of
from hyperrank.vocabulary import Vocabulary

FACTS_AT_ONCE = 2**18  # looked up together: about 30 MB


@runtime_checkable
class Facts(Protocol):
    """Facts on vocabularies, read both ways."""

    @property
    def entities(self) -> Vocabulary:
        """The entity of each row number."""
        ...

    @property
    def relations(self) -> Vocabulary:
        """The relation of each row number."""
        ...

    def __len__(self) -> int:
        """How many there are."""
        ...

    def directed(self, part: slice = slice(None)) -> Int[Tensor, " two_n"]:
        """(anchor * 2 n_relations + directed relation) * n_entities + answer, ascending."""
        ...


@dataclass(frozen=True, eq=False)
class Queries(PairSet):
    """The distinct questions (anchor, relation) of some facts, and who answers them.

    A pair is a query number and an entity. Queries are sorted by anchor, then by relation; there
    are as many as are asked, not as many as could be.
    """

    anchor: Int[Tensor, " n_queries"]  # the entity that is given
    relation: Int[Tensor, " n_queries"]  # r asks for tails, r + n_relations for heads
    entities: Vocabulary
    relations: Vocabulary

    @classmethod
    def of(cls, facts: Facts) -> Queries:
        """The queries that these facts answer; one sort."""
        n_entities, ways = max(len(facts.entities), 1), 2 * max(len(facts.relations), 1)
        keys = facts.directed()
        code, number = torch.unique_consecutive(keys // n_entities, return_inverse=True)
        return cls(
            number * n_entities + keys % n_entities,
            len(code),
            len(facts.entities),
            anchor=code // ways,
            relation=code % ways,
            entities=facts.entities,
            relations=facts.relations,
        )

    def to(self, device: torch.device | str) -> Queries:
        """The same queries on ``device``; themselves when they are there already."""
        if torch.device(device) == self.device:
            return self
        moved = {name: getattr(self, name).to(device) for name in ("keys", "anchor", "relation")}
        return replace(self, **moved)

    def answers(self, facts: Facts) -> PairSet:
        """What other facts answer to these queries, by their numbers; the rest is left out.

        Memory: that of the answers, whatever the number of facts.

        Raises:
            ValueError: If the facts are on other vocabularies.
        """
        if facts.entities != self.entities or facts.relations != self.relations:
            raise ValueError(
                f"these facts have other rows for their {len(facts.entities)} entities and "
                f"{len(facts.relations)} relations than the queries for their "
                f"{len(self.entities)} and {len(self.relations)}; reindex them first"
            )
        n_entities, found = max(self.n_candidates, 1), [self.keys[:0]]
        for start in range(0, len(facts), FACTS_AT_ONCE):
            keys = facts.directed(slice(start, start + FACTS_AT_ONCE)).to(self.device)
            number = self._find(keys // n_entities)
            known = number >= 0
            found.append(number[known] * n_entities + keys[known] % n_entities)
        return PairSet(torch.cat(found).sort().values, self.n_queries, self.n_candidates)

    def number(self, anchor: Int[Tensor, " b"], relation: Int[Tensor, " b"]) -> Int[Tensor, " b"]:
        """The number of each query, -1 where it is not one of these."""
        return self._find(anchor * (2 * len(self.relations)) + relation)

    def holds(
        self, anchor: Int[Tensor, " b"], relation: Int[Tensor, " b"], answer: Int[Tensor, " b"]
    ) -> Bool[Tensor, " b"]:
        """Whether each fact, read either way, is among these."""
        return self.contains(self.number(anchor, relation), answer)

    def lookup(self, anchor: Int[Tensor, " b"], relation: Int[Tensor, " b"]) -> PairSet:
        """The answers here to any questions, by the position of the question there."""
        number = self.number(anchor, relation)
        asked = torch.nonzero(number >= 0).squeeze(1)
        position, answer = self.rows(number[asked])
        keys = asked[position] * self.n_candidates + answer
        return PairSet(keys, len(anchor), self.n_candidates)

    def _find(self, code: Int[Tensor, " b"]) -> Int[Tensor, " b"]:
        if not self.n_queries:
            return torch.full_like(code, -1)
        spot = torch.searchsorted(self._code, code).clamp_max(self.n_queries - 1)
        return torch.where(self._code[spot] == code, spot, -1)

    @cached_property
    def _code(self) -> Int[Tensor, " n_queries"]:
        """One number for each query, rising; kept, so that a lookup costs no pass over all."""
        return self.anchor * (2 * len(self.relations)) + self.relation


class Asked(NamedTuple):
    """Questions, one a row: which entities complete (anchor, directed relation)."""

    anchor: Int[Tensor, " n"]
    relation: Int[Tensor, " n"]  # r asks for the tails of a head, r + n_relations for heads


class AskedScorer(nn.Module):
    """A ``Completion`` asked by the position of a question, as the floor ranks and retrieves."""

    def __init__(self, module: Any, asked: Asked | Queries) -> None:
        super().__init__()
        self.module, self.asked = module, asked

    def score(self, query: Int[Tensor, " b"]) -> Float[Tensor, "b n"]:
        """Logits of all entities."""
        module: Any = self.module
        scores: Tensor = module.score(self.asked.anchor[query], self.asked.relation[query])
        return scores


def rows_of(known: Vocabulary, ids: Any, word: str) -> Int[Tensor, " n"]:
    """Row number of each id in a column, or in the column ``word`` of a frame.

    Raises:
        UnknownIdError: If an id is unknown; it says which as, and the closest known.
        TypeError: If the ids are of another kind than the known ones.
        ValueError: If an id is missing, or the frame has no such column.
    """
    try:
        return known.rows(column_of(ids, word))
    except (ValueError, TypeError) as error:
        raise type(error)(f"{word}: {error}") from None


def first_places(keys: Int[Tensor, " n"]) -> Int[Tensor, " m"]:
    """Where each distinct key appears first, in order of appearance."""
    first = np.unique(keys.cpu().numpy(), return_index=True)[1]
    return torch.from_numpy(np.sort(first)).to(keys.device)
