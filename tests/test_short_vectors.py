"""Balanced tables: the same lists, by vectors that no others with these lists are shorter than."""

from __future__ import annotations

import pytest
import torch

from hyperrank import store
from hyperrank.estimator import NotFittedError
from hyperrank.gauges import balanced
from hyperrank.pairs import pair_set
from hyperrank.scorers import Factors
from recsys import EASE, Interactions, TriplH, UltraGCN
from recsys import balanced as balanced_model
from recsys.attacks import accuracy_under_attack


def tables(m: int = 30, n: int = 20, d: int = 5, dtype: torch.dtype = torch.float64) -> Factors:
    generator = torch.Generator().manual_seed(0)
    queries, candidates = (torch.randn(k, d, generator=generator, dtype=dtype) for k in (m, n))
    return Factors(queries, candidates + 2)


def size(factors: Factors) -> float:
    return float(factors.queries.square().sum() + factors.candidates.square().sum())


@pytest.mark.parametrize("shape", [(30, 20, 5), (3, 20, 5), (30, 4, 6), (1, 2, 3)])
def test_scores_differ_by_a_number_for_each_query(shape: tuple[int, int, int]) -> None:
    given = tables(*shape)
    query = torch.arange(shape[0])
    scores, same = given.score(query), balanced(given).score(query)
    torch.testing.assert_close(same, scores - scores.mean(1, keepdim=True))


def test_size_is_twice_the_nuclear_norm_of_the_centred_scores() -> None:
    given = tables()
    scores = given.score(torch.arange(30))
    least = 2 * torch.linalg.matrix_norm(scores - scores.mean(1, keepdim=True), "nuc")
    assert size(balanced(given)) == pytest.approx(float(least))


def test_no_other_tables_with_these_rankings_are_shorter() -> None:
    short, generator = balanced(tables()), torch.Generator().manual_seed(1)
    for _ in range(50):
        turn = torch.eye(5, dtype=torch.float64)
        turn += 0.2 * torch.randn(5, 5, generator=generator, dtype=torch.float64)
        shift = 0.2 * torch.randn(5, generator=generator, dtype=torch.float64)
        moved = Factors(short.queries @ turn, (short.candidates + shift) @ turn.inverse().T)
        assert size(moved) > size(short)


def test_both_tables_have_the_same_axes() -> None:
    short = balanced(tables())
    left, right = (table.T @ table for table in (short.queries, short.candidates))
    torch.testing.assert_close(left, right)
    torch.testing.assert_close(left, left.diag().diag())


def test_axes_without_weight_are_left_out() -> None:
    given = tables(d=2)
    doubled = Factors(given.queries.repeat(1, 3), given.candidates.repeat(1, 3))
    assert balanced(doubled).candidates.shape == (20, 2)


def test_equal_candidates_keep_no_axis() -> None:
    short = balanced(Factors(torch.randn(4, 3), torch.ones(6, 3)))
    assert short.queries.shape[1] == 0
    assert not short.score(torch.arange(4)).any()


@pytest.mark.parametrize("shape", [(0, 6, 3), (4, 0, 3), (0, 0, 3), (4, 6, 0), (4, 6, 3)])
def test_empty_and_zero_tables_keep_no_axis(shape: tuple[int, int, int]) -> None:
    m, n, d = shape
    short = balanced(Factors(torch.zeros(m, d), torch.zeros(n, d)))
    assert (short.queries.shape, short.candidates.shape) == ((m, 0), (n, 0))
    assert short.score(torch.arange(m)).tolist() == [[0.0] * n] * m


@pytest.fixture(scope="module")
def log() -> Interactions:
    """Even users like even items."""
    generator = torch.Generator().manual_seed(0)
    user = torch.randint(60, (700,), generator=generator)
    item = 2 * torch.randint(20, (700,), generator=generator) + user % 2
    return Interactions.from_pairs(pair_set(user, item, n_queries=60, n_candidates=40))


@pytest.mark.parametrize(
    "model",
    [
        UltraGCN(dim=8, epochs=10, batch_size=16, negatives=40),
        TriplH(dim=8, epochs=10, batch_size=16, negatives=40),
    ],
    ids=lambda model: type(model).__name__,
)
def test_lists_stay_and_attacks_do_less(
    model: UltraGCN | TriplH, log: Interactions, tmp_path: object
) -> None:
    train, test = log.split_random(0.3, random_state=0)
    model.fit(train)
    short = balanced_model(model)
    users = list(range(60))
    before, after = model.recommend(users, k=5), short.recommend(users, k=5)
    assert before["item"].tolist() == after["item"].tolist()
    store.save(short, f"{tmp_path}/short")
    again = store.load(f"{tmp_path}/short").recommend(users, k=5)
    assert again.equals(after)
    left = [
        accuracy_under_attack(one, train, test, (0.3,), ("pgd",))["value"].iloc[-1]
        for one in (model, short)
    ]
    assert left[1] >= left[0]


def test_models_without_vectors_are_refused(log: Interactions) -> None:
    with pytest.raises(TypeError, match="EASE learns no vectors"):
        balanced_model(EASE().fit(log))
    with pytest.raises(NotFittedError):
        balanced_model(UltraGCN())
