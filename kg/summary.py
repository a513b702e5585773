"""What a set of facts holds, in numbers."""

from __future__ import annotations

from typing import Any

import torch

from kg.triples import Triples


def summary(facts: Triples) -> dict[str, Any]:
    """Counts of facts, of entities by how they appear, and of relations."""
    seen = torch.zeros(2, facts.n_entities, dtype=torch.bool)
    seen[0, facts.head], seen[1, facts.tail] = True, True
    degree = torch.bincount(torch.cat([facts.head, facts.tail]), minlength=facts.n_entities)
    return {
        "facts": len(facts),
        "duplicates": facts.duplicates,
        "entities": facts.n_entities,
        "relations": facts.n_relations,
        "heads_only": int((seen[0] & ~seen[1]).sum()),
        "tails_only": int((seen[1] & ~seen[0]).sum()),
        "entities_of_one_fact": int((degree == 1).sum()),
        "median_degree": int(degree.median()),
        "largest_degree": int(degree.max()),
        "loops": int((facts.head == facts.tail).sum()),
    }


def by_relation(facts: Triples) -> list[dict[str, Any]]:
    """A row for each relation, of most facts first.

    ``reversed`` is the share of facts that also hold with head and tail exchanged.
    """
    queries, n = facts.queries(), facts.n_relations
    count = torch.bincount(facts.relation, minlength=n)
    head, tail = torch.bincount(queries.relation, minlength=2 * n).split(n)
    back = queries.holds(facts.tail, facts.relation, facts.head)
    both = torch.bincount(facts.relation, weights=back.double(), minlength=n)
    columns = {
        "facts": count,
        "heads": head,
        "tails": tail,
        "tails_per_head": count / head,
        "heads_per_tail": count / tail,
        "reversed": both / count,
    }
    order = count.argsort(descending=True, stable=True)
    names = facts.relations.take(order).tolist()
    values = zip(*(column[order].tolist() for column in columns.values()), strict=True)
    return [
        {"relation": name, **dict(zip(columns, row, strict=True))}
        for name, row in zip(names, values, strict=True)
    ]
