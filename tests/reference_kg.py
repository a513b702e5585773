"""Slow, obviously right versions of what ``kg`` computes, to hold the fast against."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from reference import rank_plain

Fact = tuple[int, int, int]


def filtered_ranks_plain(score, judged, known, n_entities, n_relations, ties, exclude_given=False):
    """{(head, relation, tail): (rank of the head, rank of the tail)}, a fact at a time.

    ``score(anchor, directed relation)`` is a list; facts are tuples of row numbers.
    """
    every = {*judged, *known}
    found = {}
    for head, relation, tail in judged:
        tails = {t for h, r, t in every if (h, r) == (head, relation)}
        heads = {h for h, r, t in every if (r, t) == (relation, tail)}
        if exclude_given:
            tails, heads = tails | {head}, heads | {tail}
        found[head, relation, tail] = (
            rank_plain(score(tail, relation + n_relations)[:n_entities], head, heads, ties),
            rank_plain(score(head, relation)[:n_entities], tail, tails, ties),
        )
    return found


def answers_plain(facts: Iterable[Fact], n_relations: int) -> dict[tuple[int, int], set[int]]:
    """Who answers each directed query (anchor, relation), by a loop over the facts."""
    found: dict[tuple[int, int], set[int]] = {}
    for head, relation, tail in facts:
        found.setdefault((head, relation), set()).add(tail)
        found.setdefault((tail, relation + n_relations), set()).add(head)
    return found


def answer_loss_plain(
    kind: str,
    scores: Tensor,
    position: Tensor,
    candidate: Tensor,
    kept: float,
    floor: Tensor,
) -> Tensor:
    """Cross-entropy against a dense target matrix, cell by cell."""
    target = floor[:, None].expand_as(scores).clone()
    for p, c in zip(position.tolist(), candidate.tolist(), strict=True):
        target[p, c] += kept
    if kind == "softmax":
        return -(target * scores.log_softmax(1)).sum()
    p = scores.sigmoid()
    return -(target * p.log() + (1 - target) * (1 - p).log()).sum()
