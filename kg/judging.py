"""Ranks of the facts of a test set under a model, and what makes them count or not."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import reduce
from typing import Any, Literal, NamedTuple, TypeAlias

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hyperrank.pairs import PairSet
from hyperrank.ranking import Ties
from hyperrank.vocabulary import UnknownIdError
from kg.predictor import LinkPredictor
from kg.queries import Queries
from kg.ranking import filtered_ranks
from kg.triples import Triples, check_kind, known_on

RankingProtocol: TypeAlias = Literal["filtered", "murp"]
SIDES = ("head", "tail")  # that are asked for, as columns


class Judged(NamedTuple):
    """The ranks of facts, a column for each side that is asked for."""

    rank: Float[Tensor, "n sides"]
    rivals: Int[Tensor, "n sides"]  # entities that could have ranked before
    relation: Int[Tensor, " n"]
    seen: Bool[Tensor, " n"]  # head, tail and relation all stand in some training fact
    dropped: int  # facts that could not be judged: the model does not know their ids

    def select(self, chosen: Bool[Tensor, " n"]) -> Judged:
        """The chosen facts only."""
        rank, rivals, relation, seen, dropped = self
        return Judged(rank[chosen], rivals[chosen], relation[chosen], seen[chosen], dropped)


def judge(
    model: LinkPredictor,
    test: Triples,
    known: Sequence[Triples],
    ties: Ties,
    protocol: RankingProtocol,
    others: Sequence[LinkPredictor] = (),
) -> Judged:
    """Ranks of both sides of every fact, on the CPU; each distinct query is scored once.

    Args:
        model: Fitted.
        test: Facts on any vocabularies.
        known: Facts whose answers are hidden, besides the training facts and ``test`` itself.
        ties: Whether entities of equal score stand before the answer.
        protocol: Whether the entity given in a query is hidden too ("murp").
        others: Models on the same vocabularies whose training facts are hidden too.

    Raises:
        TypeError: If ids are of another kind.
        UnknownIdError: If an id of ``test`` is not in the model's vocabularies.
        ValueError: If no fact can be judged, or none of one of ``known`` is on the vocabularies.
        NotFittedError: Before ``fit``.
    """
    trained: Queries = model._fitted("facts_")
    facts = _on_vocabulary_of(model, test)
    if not len(facts):
        lost = f"; the {test.dropped} that it had are of unknown ids" if test.dropped else ""
        raise ValueError(f"test holds no facts{lost}; there is nothing to judge")
    _warn_of_trained(facts, model)
    queries = facts.queries().to(trained.device)
    hidden = [
        one.facts_.to(trained.device).lookup(queries.anchor, queries.relation)
        for one in (model, *others)
    ]
    if protocol == "murp":
        hidden.append(_given(queries))
    hidden += map(queries.answers, known_on(known, model.entities_, model.relations_))
    hide = reduce(PairSet.union, hidden)
    rank = filtered_ranks(model.module_, queries, hide, ties=ties)
    rivals = queries.n_candidates - hide.union(queries).query_degrees
    spots = _spots(facts, queries)
    return Judged(
        rank[spots].cpu(),
        rivals[queries.queries[spots]].cpu(),
        facts.relation,
        _seen(facts, trained),
        test.dropped,
    )


def check_options(test: Any, **choices: tuple[Any, tuple[Any, ...]]) -> None:
    """Refuses what is no set of facts, and options that are none of those allowed.

    Raises:
        TypeError: If ``test`` is not ``Triples``.
        ValueError: If an option is unknown.
    """
    check_kind("test", test)
    for name, (given, allowed) in choices.items():
        if given not in allowed:
            raise ValueError(
                f"{name} must be one of {', '.join(map(repr, allowed))}, got {given!r}"
            )


def _spots(facts: Triples, queries: Queries) -> Int[Tensor, "n 2"]:
    """Where in ``queries.keys`` the head and the tail of each fact stand as answers."""
    head, relation, tail = (
        column.to(queries.device) for column in (facts.head, facts.relation, facts.tail)
    )
    heads = queries.find(queries.number(tail, relation + facts.n_relations), head)
    return torch.stack([heads, queries.find(queries.number(head, relation), tail)], dim=1)


def _warn_of_trained(facts: Triples, model: LinkPredictor) -> None:
    trained: Queries = model.facts_
    head, relation, tail = (
        column.to(trained.device) for column in (facts.head, facts.relation, facts.tail)
    )
    count = int(trained.holds(head, relation, tail).sum())
    if count:
        warnings.warn(
            f"{count} of {len(facts)} test facts are among those that this {type(model).__name__} "
            "was trained on; their ranks say nothing about new facts",
            stacklevel=4,
        )


def _on_vocabulary_of(model: LinkPredictor, test: Triples) -> Triples:
    entities, relations = model._fitted("entities_"), model.relations_
    try:
        return test.reindex(entities, relations)
    except (UnknownIdError, TypeError) as error:
        raise type(error)(
            f"test does not match the vocabulary of this {type(model).__name__}: {error}. Read "
            "train, validation and test together with Triples.read_parts, or leave such facts out "
            "first: reindex(model.entities_, model.relations_, unknown='drop')"
        ) from None


def _given(queries: Queries) -> PairSet:
    """The entity given in each query, as if it were an answer."""
    number = torch.arange(queries.n_queries, device=queries.device)
    keys = number * queries.n_candidates + queries.anchor
    return PairSet(keys, queries.n_queries, queries.n_candidates)


def _seen(facts: Triples, trained: Queries) -> Bool[Tensor, " n"]:
    """Whether head, tail and relation each stand in some training fact."""
    entity = torch.zeros(facts.n_entities, dtype=torch.bool)
    relation = torch.zeros(facts.n_relations, dtype=torch.bool)
    entity[trained.anchor.cpu()] = True
    relation[trained.relation.cpu() % facts.n_relations] = True
    return entity[facts.head] & entity[facts.tail] & relation[facts.relation]
