"""Negatives picked by the model or from the batch: where they come from, and how often."""

from __future__ import annotations

import torch

from hyperrank.batches import NegativeSampler, PairBatch, QueryBatches
from hyperrank.pairs import PairSet, pair_set
from recsys.triplet import TriplH
from recsys.triplet_negatives import Gumbel, InBatch, Released, gumbel_noise


def one_user(n_items: int, liked: list[int]) -> PairSet:
    return pair_set(
        torch.zeros(len(liked), dtype=torch.long),
        torch.tensor(liked),
        n_queries=1,
        n_candidates=n_items,
    )


def batch_of(pairs: PairSet, pool: int, generator: torch.Generator) -> PairBatch:
    return next(iter(QueryBatches(pairs, 10, NegativeSampler(pairs, pool, generator))))


def test_in_batch_are_positives_of_the_batch(generator: torch.Generator) -> None:
    pairs = one_user(9, [1, 4, 7, 8])
    batch = batch_of(pairs, 1, generator)
    some = InBatch(3, generator)(batch)
    assert len(some.unique()) == 3
    assert set(some.tolist()) <= {1, 4, 7, 8}
    assert sorted(InBatch(99, generator)(batch).tolist()) == [1, 4, 7, 8]


def test_gumbel_draws_from_the_softmax(generator: torch.Generator) -> None:
    """Chi-square of 4,000 single draws over 5 unseen items, at one in a thousand."""
    pairs = one_user(7, [0, 6])
    module = TriplH(dim=3, init_scale=2.0).module(pairs, generator)
    batch = batch_of(pairs, 99, generator)
    pick = Gumbel(module, pairs, 1, 1.5, generator)
    many = batch._replace(query=torch.zeros(4_000, dtype=torch.long))
    counts = torch.bincount(pick(many)[:, 0], minlength=7)
    assert counts[0] == counts[6] == 0
    scores = 1.5 * module.block(torch.tensor([0]), torch.arange(1, 6))[0]
    expected = 4_000 * scores.softmax(0)
    assert ((counts[1:6] - expected).square() / expected).sum() < 18.5


def test_gumbel_gives_distinct_places_and_the_hardest_when_cold(
    generator: torch.Generator,
) -> None:
    pairs = one_user(30, [2, 3])
    module = TriplH(dim=3, init_scale=2.0).module(pairs, generator)
    batch = batch_of(pairs, 99, generator)
    found = Gumbel(module, pairs, 6, 1e6, generator)(batch)[0]
    scores = module.block(torch.tensor([0]), torch.arange(30))[0]
    scores[[2, 3]] = -torch.inf
    assert set(found.tolist()) == set(scores.topk(6).indices.tolist())
    assert not set(Gumbel(module, pairs, 28, 0.0, generator)(batch)[0].tolist()) & {2, 3}


def test_the_released_line_is_not_the_softmax(generator: torch.Generator) -> None:
    """For cosh d of 1, 1.5 and 2.5 it draws .580, .340, .080, where .547, .331, .122 was meant."""
    pairs = one_user(3, [0])
    module = TriplH(dim=1).module(pairs, generator)
    with torch.no_grad():
        module.users.zero_()
        module.items[:, 0] = torch.tensor([0.0, 1.25**0.5, 5.25**0.5])
    batch = batch_of(pairs, 1, generator)
    many = batch._replace(query=torch.zeros(20_000, dtype=torch.long))
    drawn = Released(module, generator)(many)
    assert drawn.shape == (20_000, 1)
    share = torch.bincount(drawn[:, 0], minlength=3) / 20_000
    torch.testing.assert_close(share, torch.tensor([0.580, 0.340, 0.080]), rtol=0, atol=0.015)


def test_noise_is_finite_and_gumbel(generator: torch.Generator) -> None:
    noise = gumbel_noise(torch.empty(200, 500), generator)
    assert noise.isfinite().all()
    assert abs(noise.mean() - 0.5772) < 0.02
    assert abs(noise.std() - 1.2825) < 0.02
