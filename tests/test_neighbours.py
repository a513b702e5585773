"""Strongest co-occurrences against the dense matrix, in blocks of any size."""

from __future__ import annotations

import pytest
import torch

from hyperrank import neighbours
from hyperrank.neighbours import strongest_neighbours
from hyperrank.pairs import PairSet, pair_set


def random_pairs(generator: torch.Generator, n: int = 300) -> PairSet:
    query = torch.randint(50, (n,), generator=generator)
    candidate = torch.randint(23, (n,), generator=generator)
    return pair_set(query, candidate, n_queries=50, n_candidates=24)


@pytest.mark.parametrize("products", [1, 100, 10**9])
def test_neighbours_are_those_of_the_dense_product(
    products: int, generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours, "PRODUCTS_PER_BLOCK", products)
    pairs, k = random_pairs(generator), 5
    dense = pairs.to_csr().to_dense()
    gram = dense.T @ dense
    found = strongest_neighbours(pairs, k, lambda i, j, count: count)
    for i, row in enumerate(gram.tolist()):
        best = sorted((j for j, value in enumerate(row) if value), key=lambda j: (-row[j], j))[:k]
        filler = k - len(best)
        assert found.nearest[i].tolist() == best + [i] * filler
        assert found.weight[i].tolist() == [row[j] for j in best] + [0] * filler


def test_weights_of_zero_are_filler(generator: torch.Generator) -> None:
    found = strongest_neighbours(random_pairs(generator), 30, lambda i, j, count: count * (i != j))
    own = found.nearest == torch.arange(24)[:, None]
    assert (found.weight[own] == 0).all()


def test_no_pairs_leave_only_filler() -> None:
    none = pair_set(torch.zeros(0).long(), torch.zeros(0).long(), n_queries=3, n_candidates=4)
    found = strongest_neighbours(none, 2, lambda i, j, count: count)
    assert (found.weight == 0).all()


def test_no_neighbours_asked_for_is_refused(generator: torch.Generator) -> None:
    with pytest.raises(ValueError, match="at least 1 neighbour, got 0"):
        strongest_neighbours(random_pairs(generator), 0, lambda i, j, count: count)
