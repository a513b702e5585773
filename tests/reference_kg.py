"""Slow, obviously right versions of what ``kg`` does fast; tests hold the two together."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
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


def tucker_plain(entities: Tensor, relations: Tensor, core: Tensor, fact: Fact) -> float:
    """The Tucker product of one fact, without normalization: a triple loop."""
    head, relation, tail = fact
    d, cube = entities.shape[1], core.view(len(core), entities.shape[1], -1)
    return sum(
        float(cube[k, i, j] * relations[relation, k] * entities[head, i] * entities[tail, j])
        for k in range(len(core))
        for i in range(d)
        for j in range(d)
    )


def tucker_blocks_plain(
    entities: Tensor, relations: Tensor, core: Tensor, fact: Fact, blocks: int
) -> float:
    """The same of blocks that share a core: every ``blocks``-th number is of one."""
    return sum(
        tucker_plain(entities[:, k::blocks], relations[:, k::blocks], core, fact)
        for k in range(blocks)
    )


def edges_plain(u: Tensor, r: Tensor, v: Tensor, beta: float) -> tuple[Tensor, Tensor]:
    """MIG-TF's signed sum over the six edges of the tetrahedron (o, u, r, v), and its divisor."""

    def time(x: Tensor) -> Tensor:
        return (beta + x.square().sum(-1)).sqrt()

    def edge(x: Tensor, y: Tensor) -> Tensor:
        return time(x) * time(y) - (x * y).sum(-1) - beta

    o = torch.zeros_like(u)
    plus, minus = edge(u, r) + edge(o, v), edge(u, v) + edge(r, v) + edge(o, u) + edge(o, r)
    return plus - minus, time(u) * time(r) + time(u) * time(v) + time(r) * time(v)
