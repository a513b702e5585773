"""A row's problem is that row's share of the whole loss."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hyperrank.pairs import PairSet, pair_set
from hyperrank.sparse import SparseMatrix, from_pairs
from recsys.graph_loss import LossWeights
from recsys.graph_rows import (
    frozen_items,
    frozen_users,
    item_problems,
    neighbourhood_pull,
    own_pull,
    user_problems,
)
from recsys.item_graph import item_neighbours
from recsys.logistic_rows import gradient
from tests.reference import ultragcn_epoch_loss

N_USERS, N_ITEMS, DIM = 12, 9, 4


def weights(item: float) -> LossWeights:
    return LossWeights(0.3, 1.0, 0.2, 0.7, 5.0, item, 0.4)


@pytest.fixture
def pairs(generator: torch.Generator) -> PairSet:
    dense = torch.rand(N_USERS, N_ITEMS, generator=generator) < 0.4
    dense[:, 0] = True  # nobody is without items
    user, item = dense.nonzero(as_tuple=True)
    return pair_set(user, item, n_queries=N_USERS, n_candidates=N_ITEMS)


@pytest.fixture
def tables(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    users, items = (torch.randn(n, DIM, generator=generator) for n in (N_USERS, N_ITEMS))
    return users, items


def whole_gradients(
    pairs: PairSet, tables: tuple[Tensor, Tensor], own: LossWeights, neighbours: int
) -> tuple[Tensor, Tensor]:
    users, items = (table.double().requires_grad_() for table in tables)
    loss = ultragcn_epoch_loss(
        users,
        items,
        pairs.to_csr().to_dense(),
        positive=(own.positive_base, own.positive_degree),
        negative=(own.negative_base, own.negative_degree),
        negative_weight=own.negative,
        item_weight=own.item,
        neighbours=neighbours,
        l2=own.l2,
    )
    of_users, of_items = torch.autograd.grad(loss, (users, items))
    return of_users.float(), of_items.float()


@pytest.mark.parametrize("item_weight", [0.0, 0.8])
def test_of_users(pairs: PairSet, tables: tuple[Tensor, Tensor], item_weight: float) -> None:
    own, (users, items) = weights(item_weight), tables
    degree = pairs.candidate_degrees
    chance = torch.full((N_ITEMS,), 1 / N_ITEMS)
    neighbours = item_neighbours(pairs, 3, "code") if item_weight else None
    problems = user_problems(from_pairs(pairs), degree, neighbours, own)
    found = gradient(frozen_items(items, degree, chance, own), problems, users)
    expected, _ = whole_gradients(pairs, tables, own, neighbours=3)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("item_weight", [0.0, 0.8])
def test_of_items(pairs: PairSet, tables: tuple[Tensor, Tensor], item_weight: float) -> None:
    own, (users, items) = weights(item_weight), tables
    whole = from_pairs(pairs.transpose())
    chance = torch.full((N_ITEMS,), 1 / N_ITEMS)
    rows = torch.tensor([7, 0, 3])
    pull = None
    if item_weight:
        pull = neighbourhood_pull(whole, rows, item_neighbours(pairs, 3, "code"))
    problems = item_problems(whole.select(rows), pairs.query_degrees, chance[rows], pull, own)
    found = gradient(frozen_users(users, pairs.query_degrees, own), problems, items[rows])
    _, expected = whole_gradients(pairs, tables, own, neighbours=3)
    torch.testing.assert_close(found, expected[rows], rtol=1e-4, atol=1e-5)


def test_of_items_that_no_neighbourhood_holds(
    pairs: PairSet, tables: tuple[Tensor, Tensor]
) -> None:
    own, (users, items) = weights(0.8), tables
    # with one neighbour that is the item itself, no other item's neighbourhood reaches it
    nearest = item_neighbours(pairs, 1, "code").nearest[:, 0]
    alone = nearest == torch.arange(N_ITEMS)
    alone &= torch.bincount(nearest, minlength=N_ITEMS) == 1
    assert alone.any()
    transposed: SparseMatrix = from_pairs(pairs.transpose())
    chance = torch.full((N_ITEMS,), 1 / N_ITEMS)
    pull = own_pull(transposed, pairs.query_degrees)
    problems = item_problems(transposed, pairs.query_degrees, chance, pull, own)
    found = gradient(frozen_users(users, pairs.query_degrees, own), problems, items)
    _, expected = whole_gradients(pairs, tables, own, neighbours=1)
    torch.testing.assert_close(found[alone], expected[alone], rtol=1e-4, atol=1e-5)
