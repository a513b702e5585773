"""Filtered ranks of facts, and their measures, such as "mrr" and "hits@10"."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

from jaxtyping import Float, Int
from torch import Tensor, nn

from hyperrank.pairs import PairSet
from hyperrank.ranking import Ties, ranks
from kg.queries import AskedScorer, Queries

NAMES = ("mrr", "hits", "mean_rank", "amri")


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
    score = AskedScorer(module, queries).score
    return ranks(score, queries, known, ties=ties, alike=queries.relation, chunk=chunk)


def parse_all(names: str | Sequence[str]) -> list[str]:
    """The measures meant, in small letters, each once; a single name is a list of one.

    Raises:
        ValueError: If there is none, or one is unknown, saying what there is.
    """
    listed = [names] if isinstance(names, str) else list(names)
    found = list(dict.fromkeys(str(name).strip().lower() for name in listed))
    for name in found:
        if re.fullmatch(r"mrr|mean_rank|amri|hits@[1-9]\d*", name):
            continue
        near = difflib.get_close_matches(name.split("@")[0], NAMES, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(
            f"unknown metric {name!r}; {hint}there are mrr, mean_rank, amri, and hits with a "
            "cutoff, as in 'hits@10'"
        )
    if not found:
        raise ValueError("no metric was named; give some, such as ['mrr', 'hits@10']")
    return found


def parse_larger(name: str) -> str:
    """A measure that is larger for better ranks, each of which adds its share: "mrr" or "hits@k".

    Raises:
        ValueError: If it is another, or unknown.
    """
    (found,) = parse_all(name)
    if found in ("mean_rank", "amri"):
        raise ValueError(f"expected 'mrr' or hits with a cutoff, as in 'hits@10', got {name!r}")
    return found


def shares(name: str, rank: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """What each rank adds to a measure of ``parse_larger``."""
    return per_fact(parse_larger(name), rank[:, None], rank.long()[:, None])[0]


def per_fact(
    name: str, rank: Float[Tensor, "n sides"], rivals: Int[Tensor, "n sides"]
) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """A value for each fact, and its weight in their mean, which is the measure.

    - "mrr": mean of 1 / rank; "hits@k": share of ranks of at most k; "mean_rank".
    - "amri": the adjusted mean rank index (Berrendorf et al. 2020), 1 minus the mean of rank - 1
      over the same for random scores, which is half the rivals: 1 is perfect, 0 is chance.
    """
    even = rank.new_ones(len(rank))
    if name == "amri":
        weight = rivals.sum(1).double()
        return 1 - 2 * (rank - 1).sum(1) / weight.clamp_min(1), weight  # no rivals, no weight
    if name == "mean_rank":
        return rank.mean(1), even
    if name == "mrr":
        return (1 / rank).mean(1), even
    return (rank <= int(name.removeprefix("hits@"))).double().mean(1), even
