"""TriplH's rows: each has its share of the whole loss, and no search finds a lower value."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor

from hyperrank.batches import draw_chances
from hyperrank.pairs import PairSet, pair_set
from recsys import triplet_rows
from recsys.histories import Record
from recsys.triplet_rows import TripletRows, frozen_side
from recsys.triplet_scores import SCORES
from recsys.triplet_updates import RowLoss
from recsys.updates import Base
from tests.reference_rows import triplh_epoch_loss

N_USERS, N_ITEMS, DIM = 14, 9, 4
GEOMETRIES = ("triangle", "cosine", "inner", "lorentzian")
every_geometry = pytest.mark.parametrize("geometry", GEOMETRIES)


@pytest.fixture
def pairs(generator: torch.Generator) -> PairSet:
    dense = torch.rand(N_USERS, N_ITEMS, generator=generator) < 0.4
    dense[:, 0], dense[:, 8] = True, False  # nobody is without items; one item is nobody's
    user, item = dense.nonzero(as_tuple=True)
    return pair_set(user, item, n_queries=N_USERS, n_candidates=N_ITEMS)


@pytest.fixture
def tables(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    users, items = (torch.randn(n, DIM, generator=generator) for n in (N_USERS, N_ITEMS))
    return users, items


def loss_of(geometry: str, power: float = 0.0, hidden: bool = False) -> RowLoss:
    return RowLoss(SCORES[geometry], 1.5, 0.3, power, hidden, length=0.0)


def base_of(loss: RowLoss, pairs: PairSet, tables: tuple[Tensor, Tensor]) -> Base:
    degrees = pairs.query_degrees, pairs.candidate_degrees
    bare = Base(*tables, *degrees, tables[0].mean(0))
    return Base(*tables, *degrees, tables[0].mean(0), totals=loss.totals(bare, pairs))


def whole_slopes(
    loss: RowLoss, pairs: PairSet, tables: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    users, items = (table.double().requires_grad_() for table in tables)
    total = triplh_epoch_loss(
        users,
        items,
        pairs.to_csr().to_dense(),
        loss.score,
        scale=loss.scale,
        l2=loss.l2,
        drawn=draw_chances(pairs.candidate_degrees, loss.negative_power),
        hidden=loss.exclude_seen,
    )
    of_users, of_items = torch.autograd.grad(total, (users, items))
    return of_users.float(), of_items.float()


@every_geometry
@pytest.mark.parametrize(("power", "hidden"), [(0.0, False), (0.5, True)])
def test_slopes_are_those_of_the_whole_loss(
    geometry: str,
    power: float,
    hidden: bool,
    pairs: PairSet,
    tables: tuple[Tensor, Tensor],
) -> None:
    loss = loss_of(geometry, power, hidden)
    base, record = base_of(loss, pairs, tables), Record(pairs, None, 1.0)
    for_users, for_items = whole_slopes(loss, pairs, tables)
    rows = torch.tensor([7, 0, 3])
    of_users = loss.user_rows(record.of_users(rows, base.item_degree), base, base.items)
    found = of_users.look(base.users[rows]).slope
    torch.testing.assert_close(found, for_users[rows], rtol=1e-4, atol=1e-4)
    of_items = loss.item_rows(record.of_items(rows, base.user_degree), base, base.users)
    found = of_items.look(base.items[rows]).slope
    torch.testing.assert_close(found, for_items[rows], rtol=1e-4, atol=1e-4)


@every_geometry
def test_no_search_goes_lower(geometry: str, pairs: PairSet, tables: tuple[Tensor, Tensor]) -> None:
    loss = loss_of(geometry)
    base, record = base_of(loss, pairs, tables), Record(pairs, None, 1.0)
    if geometry == "cosine":  # whose lengths say nothing
        loss = RowLoss(SCORES[geometry], 1.5, 0.3, 0.0, False, length=1.0)
    rows = torch.arange(6)
    histories = record.of_users(rows, base.item_degree)
    liked = pairs.to_csr().to_dense().double()
    found = loss.solved_users(histories, base, base.items, base.users[rows], "exact").vectors
    for row in rows.tolist():

        def value(free: np.ndarray, row: int = row) -> float:
            return float(
                triplh_epoch_loss(
                    torch.from_numpy(free)[None],
                    base.items.double(),
                    liked[row : row + 1],
                    loss.score,
                    scale=loss.scale,
                    l2=0.0,
                    drawn=torch.full((N_ITEMS,), 1 / N_ITEMS),
                    hidden=False,
                )
            ) + (not loss.length) * loss.l2 / 2 * float(liked[row].sum()) * float(free @ free)

        best = minimize(value, base.users[row].double().numpy(), method="BFGS", tol=1e-8)
        assert value(found[row].double().numpy()) <= best.fun + 1e-5 * (1 + abs(best.fun))


def test_an_update_of_all_items_at_once_lowers_the_whole_loss(
    pairs: PairSet, tables: tuple[Tensor, Tensor]
) -> None:
    loss = loss_of("triangle")
    base, record = base_of(loss, pairs, tables), Record(pairs, None, 1.0)

    def whole(items: Tensor) -> float:
        dense, drawn = pairs.to_csr().to_dense(), torch.full((N_ITEMS,), 1 / N_ITEMS)
        return float(
            triplh_epoch_loss(
                base.users, items, dense, loss.score, scale=1.5, l2=0.3, drawn=drawn, hidden=False
            )
        )

    rows = torch.arange(N_ITEMS)
    histories = record.of_items(rows, base.user_degree)
    found = loss.solved_items(histories, base, base.users, base.items, "usual").vectors
    assert whole(found) < whole(base.items)


def test_a_large_catalogue_is_a_sample_of_itself(
    monkeypatch: pytest.MonkeyPatch, generator: torch.Generator
) -> None:
    score, n = SCORES["triangle"], 4_000
    items = score.items(torch.randn(n, DIM, generator=generator))
    users = torch.randn(5, DIM, generator=generator)
    user = torch.arange(5)
    pairs = pair_set(user, user, n_queries=5, n_candidates=n)
    history = Record(pairs, None, 1.0).matrix()

    def problems() -> TripletRows:
        side = frozen_side(
            items, torch.zeros(n), users[0], score.users, 3.0, one_sum=True, hidden=False
        )
        return TripletRows(side, history, torch.ones(5))

    whole = problems().look(users)
    monkeypatch.setattr(triplet_rows, "MOST_NEGATIVES", 1_000)
    sampled, again = problems(), problems()
    assert len(sampled.side.negatives) == 1_000
    assert torch.equal(sampled.side.negatives, again.side.negatives)
    torch.testing.assert_close(sampled.look(users).value, whole.value, rtol=0.05, atol=0)
    torch.testing.assert_close(sampled.look(users).slope, whole.slope, rtol=0, atol=0.2)


def test_someone_who_knows_everything_is_pulled_by_nothing() -> None:
    score = SCORES["inner"]
    items = torch.eye(3)
    pairs = pair_set(torch.zeros(3).long(), torch.arange(3), n_queries=1, n_candidates=3)
    side = frozen_side(
        items, torch.zeros(3), torch.zeros(3), score.users, 1.0, one_sum=True, hidden=True
    )
    problems = TripletRows(side, Record(pairs, None, 1.0).matrix(), torch.full((1,), 0.5))
    found = problems.solved(torch.ones(1, 3), 1e-5)
    torch.testing.assert_close(found.vectors, torch.zeros(1, 3), atol=1e-4, rtol=0)
