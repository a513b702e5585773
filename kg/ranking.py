"""Filtered ranks of facts: tensors and modules only, so that early stopping can use them too."""

from __future__ import annotations

from typing import Any

from jaxtyping import Float, Int
from torch import Tensor, nn

from hyperrank.pairs import PairSet
from hyperrank.ranking import Ties, ranks
from kg.queries import Queries


def filtered_ranks(
    module: nn.Module,
    queries: Queries,
    known: PairSet | None = None,
    *,
    ties: Ties = "realistic",
    chunk: int | None = None,
) -> Float[Tensor, " n_answers"]:
    """1-based rank of each answer among the entities neither known nor true, in key order.

    Queries of one relation are scored together where they can be.

    Args:
        module: A ``Completion`` in eval mode, on the device of the queries.
        queries: The facts to judge, as ``facts.queries()`` has them: both ways.
        known: Answers to hide besides these, as ``queries.answers(facts)`` has them.
        ties: As ``hyperrank.ranking.ranks``.
        chunk: As ``hyperrank.ranking.ranks``.

    Raises:
        ValueError: If the module is in training mode, or as ``hyperrank.ranking.ranks``.
    """
    if module.training:  # dropout would blur the scores
        raise ValueError("the module is in training mode; call module.eval() before ranking")

    of_queries: Any = module.score

    def score(query: Int[Tensor, " b"]) -> Float[Tensor, "b n"]:
        scores: Tensor = of_queries(queries.anchor[query], queries.relation[query])
        return scores

    return ranks(score, queries, known, ties=ties, alike=queries.relation, chunk=chunk)
