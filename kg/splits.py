"""Facts held out for judging."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from kg.triples import Triples


def random(
    facts: Triples, fraction: float = 0.1, random_state: int = 0, *, cover: bool = True
) -> tuple[Triples, Triples]:
    """Train and test on the vocabularies of the whole: this fraction of the facts is held out.

    With ``cover`` every entity and relation of these facts stays in train, as link prediction
    among known entities needs it: one random fact of each is never held out.

    Raises:
        ValueError: If the fraction is not between 0 and 1, nothing is held out, or less than this
            fraction can be.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"fraction must be between 0 and 1, got {fraction}")
    wanted = round(fraction * len(facts))
    if not wanted:
        raise ValueError(
            f"a fraction of {fraction} holds out nothing of {len(facts)} facts; ask for a larger "
            "fraction"
        )
    generator = torch.Generator().manual_seed(random_state)
    order = torch.randperm(len(facts), generator=generator)
    free = order[~_firsts(facts, order)] if cover else order
    if len(free) < wanted:
        raise ValueError(
            f"a fraction of {fraction} holds out {wanted} of {len(facts)} facts, but only "
            f"{len(free)} can be while every entity and relation stays in train; ask for less, or "
            "give cover=False"
        )
    held = torch.zeros(len(facts), dtype=torch.bool)
    held[free[:wanted]] = True
    return facts.select(~held), facts.select(held)


def _firsts(facts: Triples, order: Int[Tensor, " n"]) -> Bool[Tensor, " n"]:
    """Whether a fact is the first in this order with its head or tail, or with its relation."""
    place = torch.arange(len(order))
    ids = torch.stack([facts.head, facts.tail, facts.relation + facts.n_entities])[:, order]
    first = torch.full((facts.n_entities + facts.n_relations,), len(order))
    first.scatter_reduce_(0, ids.ravel(), place.repeat(3), "amin")
    return (first[ids] == place).any(0)
