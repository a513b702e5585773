"""Slow, obviously right versions of what ``kg`` does fast; tests hold the two together."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from torch import Tensor

from reference import rank_plain

Fact = tuple[int, int, int]


def answers_plain(facts: Iterable[Fact], n_relations: int) -> dict[tuple[int, int], set[int]]:
    """Who answers each directed query (anchor, relation), by a loop over the facts."""
    found: dict[tuple[int, int], set[int]] = {}
    for head, relation, tail in facts:
        found.setdefault((head, relation), set()).add(tail)
        found.setdefault((tail, relation + n_relations), set()).add(head)
    return found


def filtered_ranks_plain(
    score: Callable[[int, int], list[float]],  # of all entities, for (anchor, directed relation)
    judged: Iterable[Fact],
    known: Iterable[Fact],
    n_relations: int,
    ties: str,
    exclude_given: bool = False,
) -> dict[Fact, tuple[float, float]]:
    """The rank of the head and that of the tail of each fact, a fact at a time."""
    answers, found = answers_plain([*judged, *known], n_relations), {}
    for head, relation, tail in judged:
        ranks = []
        for anchor, directed, answer in (
            (tail, relation + n_relations, head),
            (head, relation, tail),
        ):
            hidden = answers[anchor, directed] | ({anchor} if exclude_given else set())
            ranks.append(rank_plain(score(anchor, directed), answer, hidden, ties))
        found[head, relation, tail] = (ranks[0], ranks[1])
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
