"""Epochs cover every pair once; negatives have the stated distribution, shared or not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hyperrank.batches import NegativeSampler, PairBatches, PickedBatches, QueryBatches
from hyperrank.pairs import PairSet, pair_set

N_QUERIES, N_CANDIDATES = 9, 7


def pairs_of(drawn: set[tuple[int, int]]) -> PairSet:
    columns = torch.tensor(sorted(drawn)).view(-1, 2)
    return pair_set(columns[:, 0], columns[:, 1], n_queries=N_QUERIES, n_candidates=N_CANDIDATES)


some_pairs = st.sets(
    st.tuples(st.integers(0, N_QUERIES - 1), st.integers(0, N_CANDIDATES - 1)), min_size=1
)


@given(some_pairs, st.sampled_from([PairBatches, QueryBatches]), st.integers(1, 5))
def test_an_epoch_is_every_pair_once(drawn: set, walk: type, size: int) -> None:
    pairs = pairs_of(drawn)
    sampler = NegativeSampler(pairs, 3, torch.Generator().manual_seed(0))
    batches = walk(pairs, size, sampler)
    seen, mass, n_batches = Counter(), torch.zeros(N_QUERIES), 0
    for batch in batches:
        n_batches += 1
        query = batch.query[batch.position]
        seen.update(zip(query.tolist(), batch.positive.tolist(), strict=True))
        mass.index_add_(0, batch.query, batch.mass)
        assert (batch.position.diff() >= 0).all()
        assert torch.equal(pairs.candidates[batch.spot], batch.positive)
    assert seen == Counter(drawn)
    assert n_batches == len(batches)
    assert torch.equal(mass, pairs.query_degrees.float())


@pytest.mark.parametrize("power", [0.0, 0.75])
@pytest.mark.parametrize("shared", [True, False])
def test_draws_follow_the_stated_chances(
    power: float, shared: bool, seeded: Callable[[int], torch.Generator]
) -> None:
    pairs = pairs_of({(q, c) for q in range(N_QUERIES) for c in range(q % N_CANDIDATES + 1)})
    sampler = NegativeSampler(pairs, 5, seeded(1), power=power, shared=shared)
    query = torch.arange(N_QUERIES)
    draws = torch.cat([sampler.draw(query).flatten() for _ in range(2000)])
    share = torch.bincount(draws, minlength=N_CANDIDATES) / len(draws)
    expected = pairs.candidate_degrees.double() ** power
    expected = (expected / expected.sum()).float()
    torch.testing.assert_close(sampler.probabilities, expected)
    # 10,000 draws or more: five standard errors of the likeliest candidate
    assert (share - expected).abs().max() < 5 * (0.25 / len(draws)) ** 0.5


def test_a_shared_pool_as_large_as_the_catalogue_is_the_catalogue(
    generator: torch.Generator,
) -> None:
    pairs = pairs_of({(0, 0), (1, 3)})
    sampler = NegativeSampler(pairs, N_CANDIDATES + 5, generator)
    assert torch.equal(sampler.draw(torch.arange(2)), torch.arange(N_CANDIDATES))


def test_rejection_makes_known_pairs_rare(generator: torch.Generator) -> None:
    pairs = pairs_of({(0, c) for c in range(4)})
    sampler = NegativeSampler(pairs, 50, generator, shared=False, reject=8)
    query = torch.zeros(100, dtype=torch.int64)
    drawn = sampler.draw(query)
    known = pairs.contains(query[:, None].expand_as(drawn), drawn).float().mean()
    assert known < 0.02  # (4 / 7) ** 9 = 0.0065 expected


def test_a_shared_pool_cannot_reject(generator: torch.Generator) -> None:
    with pytest.raises(ValueError, match="cannot reject the known pairs of one row"):
        NegativeSampler(pairs_of({(0, 0)}), 3, generator, reject=1)


def test_no_negatives_is_refused(generator: torch.Generator) -> None:
    with pytest.raises(ValueError, match="at least 1 negative, got 0"):
        NegativeSampler(pairs_of({(0, 0)}), 0, generator)


def test_the_same_seed_gives_the_same_epoch() -> None:
    pairs = pairs_of({(q, c) for q in range(N_QUERIES) for c in range(3)})

    def epoch() -> list:
        sampler = NegativeSampler(pairs, 4, torch.Generator().manual_seed(3))
        return [tuple(map(torch.Tensor.tolist, batch)) for batch in PairBatches(pairs, 5, sampler)]

    assert epoch() == epoch()


def test_picked_negatives_see_their_batch(generator: torch.Generator) -> None:
    pairs = pair_set(torch.arange(6) % 3, torch.arange(6), n_queries=3, n_candidates=6)
    batches = PairBatches(pairs, 4, NegativeSampler(pairs, 1, generator))
    picked = PickedBatches(batches, lambda batch: batch.positive[:1])
    assert picked.pairs is pairs
    assert len(picked) == len(batches) == 2
    for batch in picked:
        assert torch.equal(batch.negatives, batch.positive[:1])
