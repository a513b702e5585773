"""Slow, obviously right versions of what ``kg`` does fast; tests hold the two together."""

from __future__ import annotations

from collections.abc import Iterable

Fact = tuple[int, int, int]


def answers_plain(facts: Iterable[Fact], n_relations: int) -> dict[tuple[int, int], set[int]]:
    """Who answers each directed query (anchor, relation), by a loop over the facts."""
    found: dict[tuple[int, int], set[int]] = {}
    for head, relation, tail in facts:
        found.setdefault((head, relation), set()).add(tail)
        found.setdefault((tail, relation + n_relations), set()).add(head)
    return found
