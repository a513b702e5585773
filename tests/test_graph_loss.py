"""UltraGCN's batches add up to the released loss, whatever their size and order."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from hyperrank.batches import NegativeSampler, PairBatches, QueryBatches
from hyperrank.pairs import PairSet, pair_set
from recsys.graph_loss import LossWeights, UltraGCNModule, popularity_log_odds
from recsys.item_graph import item_neighbours
from recsys.spectral import spectral_tables
from reference import ultragcn_epoch_loss

N_USERS, N_ITEMS, DIM = 15, 12, 4
WEIGHTS = LossWeights(0.3, 1.1, 0.2, 0.7, negative=30.0, item=0.6, l2=0.4)


def small(generator: torch.Generator) -> PairSet:
    """15 x 12; the last user and the last item have no pair."""
    user = torch.randint(N_USERS - 1, (60,), generator=generator)
    item = torch.randint(N_ITEMS - 1, (60,), generator=generator)
    return pair_set(user, item, n_queries=N_USERS, n_candidates=N_ITEMS)


def module_of(
    pairs: PairSet, sampler: NegativeSampler, generator: torch.Generator
) -> UltraGCNModule:
    users, items = (torch.randn(n, DIM, generator=generator) for n in (N_USERS, N_ITEMS))
    return UltraGCNModule(
        users,
        items,
        pairs=pairs,
        pair_weight=None,
        weights=WEIGHTS,
        neighbours=item_neighbours(pairs, 3, "code"),
        draw_chance=sampler.probabilities,
    )


def epoch(module: UltraGCNModule, batches: Any) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Loss and dense gradients of a whole epoch."""
    module.zero_grad()
    total = torch.stack([module.loss(batch) for batch in batches]).sum()
    total.backward()
    slopes = [p.grad.to_dense() if p.grad.is_sparse else p.grad for p in module.parameters()]
    return total.detach(), slopes


def expected(module: UltraGCNModule, pairs: PairSet) -> tuple[torch.Tensor, list[torch.Tensor]]:
    users, items = (p.detach().clone().requires_grad_() for p in module.parameters())
    # a user without pairs is in no batch, so its row carries no L2
    active = (pairs.query_degrees > 0)[:, None]
    loss = ultragcn_epoch_loss(
        users * active,
        items,
        pairs.to_csr().to_dense(),
        positive=(WEIGHTS.positive_base, WEIGHTS.positive_degree),
        negative=(WEIGHTS.negative_base, WEIGHTS.negative_degree),
        negative_weight=WEIGHTS.negative,
        item_weight=WEIGHTS.item,
        neighbours=3,
        l2=WEIGHTS.l2,
    )
    return loss.detach(), list(torch.autograd.grad(loss, (users, items)))


@pytest.mark.parametrize("walk", [PairBatches, QueryBatches])
@pytest.mark.parametrize("size", [1, 4, 100])
def test_an_epoch_with_all_items_is_the_released_loss(
    walk: Any, size: int, generator: torch.Generator
) -> None:
    pairs = small(generator)
    sampler = NegativeSampler(pairs, N_ITEMS, generator)
    module = module_of(pairs, sampler, generator)
    loss, slopes = epoch(module, walk(pairs, size, sampler))
    true_loss, true_slopes = expected(module, pairs)
    torch.testing.assert_close(loss, true_loss)
    torch.testing.assert_close(slopes, true_slopes, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("walk", [PairBatches, QueryBatches])
@pytest.mark.parametrize("shared", [True, False])
def test_drawn_negatives_keep_the_expectation(
    walk: Any, shared: bool, generator: torch.Generator
) -> None:
    """300 epochs: the mean gradient lies within five standard errors of the full one."""
    pairs = small(generator)
    sampler = NegativeSampler(pairs, 4, generator, shared=shared)
    module = module_of(pairs, sampler, generator)
    draws = [epoch(module, walk(pairs, 7, sampler)) for _ in range(300)]
    true_loss, true_slopes = expected(module, pairs)
    losses = torch.stack([loss for loss, _ in draws])
    assert abs(losses.mean() - true_loss) < 5 * losses.std() / 300**0.5
    for place, truth in enumerate(true_slopes):
        seen = torch.stack([slopes[place] for _, slopes in draws])
        spread = seen.std(0) / 300**0.5
        assert ((seen.mean(0) - truth).abs() <= 5 * spread + 1e-3).all()


def test_rows_of_a_pair_weight_scale_their_pair(generator: torch.Generator) -> None:
    pairs = small(generator)
    sampler = NegativeSampler(pairs, N_ITEMS, generator)
    module = module_of(pairs, sampler, generator)
    module.neighbours = None
    plain, _ = epoch(module, QueryBatches(pairs, 5, sampler))
    module.pair_weight = torch.full((len(pairs),), 3.0)
    heavier, _ = epoch(module, QueryBatches(pairs, 5, sampler))
    user, item = pairs.queries, pairs.candidates
    scores = (module.users[user] * module.items[item]).sum(1).detach()
    beta = module.user_factor[user] * module.item_factor[item]
    fit = ((0.3 + 1.1 * beta) * torch.nn.functional.softplus(-scores)).sum()
    torch.testing.assert_close(heavier - plain, 2 * fit, rtol=1e-4, atol=1e-3)


def test_log_odds_minimize_the_loss_of_user_free_scores(generator: torch.Generator) -> None:
    """For the convex loss of one score per item, the odds formula is where the slope is zero."""
    pairs = small(generator)
    chance = torch.full((N_ITEMS,), 1 / N_ITEMS)
    odds = popularity_log_odds(pairs, WEIGHTS, chance).requires_grad_()
    dense = pairs.to_csr().to_dense()
    no_extra = {"item_weight": 0.0, "neighbours": 1, "l2": 0.0}
    users = torch.ones(N_USERS, 1)
    loss = ultragcn_epoch_loss(
        users,
        odds[:, None],
        dense,
        positive=(0.3, 1.1),
        negative=(0.2, 0.7),
        negative_weight=30.0,
        **no_extra,
    )
    slope = torch.autograd.grad(loss, odds)[0]
    # exact for log(p / n); the logistic optimum is the same: sigma(s) / sigma(-s) = p / n
    assert slope[dense.sum(0) > 0].abs().max() < 1e-3


def test_the_spectral_start_separates_a_checkerboard(checkerboard: Any) -> None:
    pairs = checkerboard.pairs
    chance = torch.full((pairs.n_candidates,), 1 / pairs.n_candidates)
    odds = popularity_log_odds(pairs, WEIGHTS, chance)
    generator = torch.Generator().manual_seed(0)
    users, items = spectral_tables(pairs, 3, odds, scale=1.0, generator=generator)
    torch.testing.assert_close((users[0, 0] * items[:, 0]), odds)
    best = (users @ items.T).topk(5).indices
    parity = torch.as_tensor(checkerboard.items.ids.astype(int))[best] % 2
    own = torch.as_tensor(checkerboard.users.ids.astype(int))[:, None] % 2
    assert (parity == own).float().mean() > 0.9


def test_more_dimensions_than_the_rank(generator: torch.Generator) -> None:
    pairs = pair_set(torch.tensor([0, 1]), torch.tensor([0, 1]), n_queries=2, n_candidates=3)
    users, items = spectral_tables(pairs, 8, torch.zeros(3), scale=1.0, generator=generator)
    assert users.shape == (2, 8)
    assert items.shape == (3, 8)
    assert users.isfinite().all()
    assert items.isfinite().all()
