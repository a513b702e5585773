"""TriplH's losses against slow ones, and that nothing in them runs away."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from hyperrank.batches import PairBatches, PickedBatches, QueryBatches
from hyperrank.devices import seeded
from hyperrank.pairs import PairSet, pair_set
from recsys import triplet_loss
from recsys.triplet import TriplH
from recsys.triplet_module import TripletModule
from recsys.triplet_negatives import Released, gumbel_noise
from reference import (
    softmax_plain,
    tetrahedron_plain,
    triplh_released_loss,
    triplh_released_negatives,
)

N_USERS, N_ITEMS = 9, 14


def small(generator: torch.Generator) -> PairSet:
    """9 x 14; the last item has no pair."""
    user = torch.randint(N_USERS, (40,), generator=generator)
    item = torch.randint(N_ITEMS - 1, (40,), generator=generator)
    return pair_set(user, item, n_queries=N_USERS, n_candidates=N_ITEMS)


def slopes(loss: torch.Tensor, *parameters: torch.Tensor) -> list[torch.Tensor]:
    found = torch.autograd.grad(loss, parameters)
    return [slope.to_dense() if slope.is_sparse else slope for slope in found]


def test_as_released_is_a_naive_transcription(generator: torch.Generator) -> None:
    """Drawn negatives, loss, slopes of tables and scalars, and tables after an epoch of SGD."""
    pairs, size = small(generator), 8
    model = TriplH.as_released(batch_size=size, dim=5)
    module = model.module(pairs, generator)
    users, items = (-module.users).detach().clone(), module.items.detach().clone()
    scalars = torch.tensor([1.0, 0.1, 0.0])  # a, c, d
    plain = [part.requires_grad_() for part in (users, items, scalars)]
    walk = model.batches(pairs, module, seeded(3))
    assert isinstance(walk, PickedBatches)
    assert isinstance(walk.pick, Released)
    steps = [torch.optim.SGD(parts, lr=0.5) for parts in (list(module.parameters()), plain)]
    for walked in PairBatches(pairs, size, walk.batches.sampler):
        twin = seeded(0).set_state(walk.pick.generator.get_state())
        noise = gumbel_noise(torch.empty(len(walked.query), N_ITEMS), twin)
        batch = walked._replace(negatives=walk.pick(walked))
        negatives = triplh_released_negatives(users, items, batch.query, noise).tolist()
        assert batch.negatives[:, 0].tolist() == negatives
        triples = list(zip(batch.query.tolist(), batch.positive.tolist(), negatives, strict=True))
        # the last batch is shorter, so its share of the released sum differs
        expected = triplh_released_loss(users, items, triples, *scalars, 1e-4 * size / len(triples))
        loss = module.loss(batch) / len(triples)
        torch.testing.assert_close(loss, expected)
        mine = slopes(loss, module.users, module.items, module.learned)
        theirs = list(torch.autograd.grad(expected, plain, retain_graph=True))
        theirs = [-theirs[0], theirs[1], theirs[2] * torch.tensor([1.0, -1.0, 1.0])]
        torch.testing.assert_close(mine, theirs)
        for step, value in zip(steps, (module.loss(batch) / len(triples), expected), strict=True):
            step.zero_grad()
            value.backward()
            step.step()
    torch.testing.assert_close(module.users, -users)
    torch.testing.assert_close(module.items, items)


def test_the_tetrahedron_is_the_released_formula(generator: torch.Generator) -> None:
    u, p, n = torch.randn(3, 6, 4, dtype=torch.double, generator=generator)
    made = triplet_loss.tetrahedron(-u, p, n[:, None], scale=1.3, item_weight=-0.4, margin=-0.2)
    z = torch.stack([tetrahedron_plain(*rows, 1.3, 0.4, 0.2) for rows in zip(u, p, n, strict=True)])
    torch.testing.assert_close(made, torch.nn.functional.softplus(-z).sum())


def test_the_triangle_loss_by_hand() -> None:
    positive, negative = torch.tensor([0.5]), torch.tensor([[0.1, 0.3]])
    between = torch.tensor([[1.0, 2.0]])
    made = triplet_loss.triangle(
        positive, negative, between, scale=2.0, item_weight=0.5, margin=0.1
    )
    z = [2 * 0.4 + 0.5 - 0.1, 2 * 0.2 + 1.0 - 0.1]
    assert float(made) == pytest.approx(sum(math.log1p(math.exp(-one)) for one in z) / 2)


def test_softmax_is_the_plain_one(generator: torch.Generator) -> None:
    negative = torch.randn(4, 7, dtype=torch.double, generator=generator)
    position = torch.tensor([0, 0, 2, 3, 3])
    positive = torch.randn(5, dtype=torch.double, generator=generator)
    made = triplet_loss.shared_softmax(positive, negative, position)
    torch.testing.assert_close(made, softmax_plain(positive, negative, position))
    between = torch.randn(5, 7, dtype=torch.double, generator=generator)
    made = triplet_loss.item_softmax(positive, negative[position], between, 0.3)
    expected = softmax_plain(positive, negative[position] - 0.3 * between, torch.arange(5))
    torch.testing.assert_close(made, expected)


def test_one_negative_makes_softmax_and_triangle_one(generator: torch.Generator) -> None:
    positive, negative, between = torch.randn(3, 6, generator=generator)
    columns = negative[:, None], between[:, None]
    torch.testing.assert_close(
        triplet_loss.item_softmax(positive, *columns, 0.7),
        triplet_loss.triangle(positive, *columns, item_weight=0.7),
    )


def test_a_row_without_negatives_costs_nothing() -> None:
    positive = torch.tensor([0.3, 0.2], requires_grad=True)
    negative = torch.full((2, 3), -torch.inf)
    negative[1, 1] = 0.1
    negative.requires_grad_()
    loss = triplet_loss.shared_softmax(positive, negative, torch.tensor([0, 1]))
    assert loss.item() == pytest.approx(math.log1p(math.exp(-0.1)))
    slope = torch.autograd.grad(loss, (positive, negative))
    assert all(one.isfinite().all() for one in slope)
    assert slope[0][0] == 0


@pytest.mark.parametrize("power", [0.0, 0.7, 1.0])
def test_corrected_sums_estimate_the_catalogue(power: float, generator: torch.Generator) -> None:
    """The mean of 4,000 sums of 16 draws lies within five standard errors of the full sum."""
    scores = torch.randn(30, generator=generator)
    chance = (torch.arange(30) + 1.0).pow(power)
    chance = chance / chance.sum()
    drawn = torch.multinomial(chance.expand(4_000, -1), 16, replacement=True, generator=generator)
    odds = triplet_loss.log_odds_of_draw(chance, 16)
    sums = (scores[drawn] + odds[drawn]).exp().sum(1)
    assert abs(sums.mean() - scores.exp().sum()) < 5 * sums.std() / 4_000**0.5


@pytest.mark.parametrize("gap", [-1e4, -100.0, 100.0, 1e4])
def test_losses_are_finite_where_the_released_one_is_not(gap: float) -> None:
    positive = torch.tensor([gap], requires_grad=True)
    zero = torch.zeros(1, 1)
    made = [
        triplet_loss.triangle(positive, zero, zero),
        triplet_loss.shared_softmax(positive, zero, torch.tensor([0])),
    ]
    for loss in made:
        assert loss.item() == pytest.approx(max(-gap, 0), abs=1e-6)
        assert torch.autograd.grad(loss, positive)[0].isfinite().all()


@pytest.mark.parametrize("size", [0.0, 1e-15, 1.0, 1e6, 1e15])
def test_the_tetrahedron_is_finite_at_every_norm(size: float, generator: torch.Generator) -> None:
    u, p, n = (size * torch.randn(3, 5, 4, generator=generator)).requires_grad_()
    loss = triplet_loss.tetrahedron(u, p, n[:, None], scale=3.0, item_weight=1.0)
    assert loss.isfinite()
    assert torch.autograd.grad(loss, u)[0].isfinite().all()


WAYS: list[dict[str, Any]] = [
    {"negatives": 99},
    {"negatives": 99, "exclude_seen": True},
    {"negatives": 99, "item_weight": 0.4},
    {"negatives": 99, "loss": "pairwise"},
    {"negatives": 99, "loss": "triangle", "item_weight": 0.3, "item_penalty": 0.1},
    {"negatives": 99, "loss": "tetrahedron"},
    {"negatives": 99, "geometry": "geodesic", "item_radius": True},
]


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_users_and_pairs_walk_to_the_same_sum(way: dict, generator: torch.Generator) -> None:
    """With all items as negatives the epoch's loss does not depend on its batches."""
    pairs = small(generator)
    model = TriplH(dim=4, init_scale=0.7, **way)
    module = model.module(pairs, generator)
    if module.radius is not None:
        module.radius.data.normal_(generator=generator)
    sampler = model.batches(pairs, module, generator).sampler
    found = []
    for batches in (
        PairBatches(pairs, 5, sampler),
        QueryBatches(pairs, 2, sampler),
        QueryBatches(pairs, 100, sampler),
    ):
        total = torch.stack([module.loss(batch) for batch in batches]).sum()
        tables = [part for part in module.parameters() if part is not module.learned]
        found.append([total.detach(), *slopes(total, *tables)])
    for other in found[1:]:
        torch.testing.assert_close(found[0], other, rtol=1e-4, atol=1e-4)


def test_the_default_is_the_plain_softmax_with_its_penalty(generator: torch.Generator) -> None:
    pairs = small(generator)
    module = TriplH(dim=3, scale=2.0, l2=0.4, init_scale=1.0).module(pairs, generator)
    assert isinstance(module, TripletModule)
    sampler = TriplH(dim=3).batches(pairs, module, generator).sampler
    total = torch.stack([module.loss(batch) for batch in QueryBatches(pairs, 4, sampler)]).sum()
    scores = 2.0 * module.block(torch.arange(N_USERS), torch.arange(N_ITEMS))
    user, item = pairs.queries, pairs.candidates
    expected = softmax_plain(scores[user, item], scores, user)
    squares = module.users[user].square().sum() + module.items[item].square().sum()
    squares = squares + len(pairs) * module.items.square().sum(1).mean()
    torch.testing.assert_close(total, expected + 0.2 * squares)
