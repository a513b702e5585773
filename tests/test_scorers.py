"""Every scorer's answers agree with each other and with plain matrices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from hyperrank import scorers
from hyperrank.pairs import PairSet, pair_set

N_QUERIES, N_CANDIDATES = 9, 7


def seeded(number: int) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def histories(number: int = 0) -> PairSet:
    """Random pairs; query 3 has none."""
    draw = torch.rand(N_QUERIES, N_CANDIDATES, generator=seeded(number)) < 0.4
    draw[3] = False
    query, candidate = torch.nonzero(draw, as_tuple=True)
    return pair_set(query, candidate, n_queries=N_QUERIES, n_candidates=N_CANDIDATES)


def factors() -> scorers.Factors:
    queries = torch.randn(N_QUERIES, 4, generator=seeded(1))
    return scorers.Factors(queries, torch.randn(N_CANDIDATES, 4, generator=seeded(2)))


def dense() -> scorers.HistoryWeights:
    pairs = histories()
    weights = torch.randn(N_CANDIDATES, N_CANDIDATES, generator=seeded(3))
    return scorers.HistoryWeights(pairs.starts, pairs.candidates, weights)


def partial(pairs: PairSet | None = None) -> scorers.HistoryWeights:
    """Weights among candidates 1, 2, 4 and 6 only."""
    pairs = pairs or histories()
    place = torch.tensor([-1, 0, 1, -1, 2, -1, 3])
    row = place[pairs.candidates]
    kept = pair_set(pairs.queries[row >= 0], row[row >= 0], n_queries=N_QUERIES, n_candidates=4)
    weights = torch.randn(4, 4, generator=seeded(4))
    return scorers.HistoryWeights(kept.starts, kept.candidates, weights, place)


def few() -> scorers.NeighbourWeights:
    pairs = histories()
    index = torch.randint(N_CANDIDATES, (N_CANDIDATES, 3), generator=seeded(5))
    weight = torch.rand(N_CANDIDATES, 3, generator=seeded(6))
    return scorers.NeighbourWeights(pairs.starts, pairs.candidates, index, weight)


def constant() -> scorers.Constant:
    return scorers.Constant(torch.randn(N_CANDIDATES, generator=seeded(7)))


SCORERS: dict[str, Callable[[], Any]] = {
    "Factors": factors,
    "HistoryWeights": dense,
    "HistoryWeights of some": partial,
    "NeighbourWeights": few,
    "Constant": constant,
}
every_scorer = pytest.mark.parametrize("name", SCORERS)
EVERY = torch.arange(N_QUERIES)


def plain_history() -> Tensor:
    return histories().to_csr().to_dense()


@every_scorer
def test_rows_and_pairs_agree(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = SCORERS[name]()
    whole = scorer.score(EVERY)
    assert whole.shape == (N_QUERIES, N_CANDIDATES)
    torch.testing.assert_close(scorer.score(EVERY[[5, 5, 3]]), whole[[5, 5, 3]])
    query = torch.randint(N_QUERIES, (40,), generator=seeded(8))
    candidate = torch.randint(N_CANDIDATES, (40,), generator=seeded(9))
    for at_once in (1 << 24, 14, 1):  # in one block, in several, one by one
        monkeypatch.setattr(scorers, "PAIR_SCORES_AT_ONCE", at_once)
        torch.testing.assert_close(scorer.score_pairs(query, candidate), whole[query, candidate])
    assert scorer.score_pairs(query[:0], candidate[:0]).shape == (0,)


@every_scorer
def test_state_rebuilds_it(name: str) -> None:
    scorer = SCORERS[name]()
    again = type(scorer)(**scorer.state_dict())
    assert torch.equal(again.score(EVERY), scorer.score(EVERY))


def test_history_weights_is_a_product() -> None:
    scorer = dense()
    torch.testing.assert_close(scorer.score(EVERY), plain_history() @ scorer.weights)
    assert torch.equal(scorer.score(torch.tensor([3])), torch.zeros(1, N_CANDIDATES))


def test_partial_weights_are_a_product_where_there_are_some() -> None:
    scorer = partial()
    chosen = [1, 2, 4, 6]
    scores = scorer.score(EVERY)
    torch.testing.assert_close(scores[:, chosen], plain_history()[:, chosen] @ scorer.weights)
    assert (scores[:, [0, 3, 5]] == -torch.inf).all()


def test_neighbour_weights_is_a_product() -> None:
    scorer = few()
    weights = torch.zeros(N_CANDIDATES, N_CANDIDATES)
    rows = torch.arange(N_CANDIDATES)[:, None].expand(-1, 3)
    weights.index_put_((rows, scorer.nearest), scorer.weight, accumulate=True)
    torch.testing.assert_close(scorer.score(EVERY), plain_history() @ weights)
    torch.testing.assert_close(scorer.candidate_similarity().score(EVERY[:7]), weights)


@pytest.mark.parametrize("name", ["HistoryWeights", "HistoryWeights of some", "NeighbourWeights"])
def test_contributions_sum_to_the_score(name: str) -> None:
    scorer = SCORERS[name]()
    for query in range(N_QUERIES):
        history = histories().rows(torch.tensor([query]))[1]
        for candidate in (1, 4, 6):
            one, other = torch.tensor([query]), torch.tensor([candidate])
            share = scorer.contributions(one, other, history)
            torch.testing.assert_close(share.sum(), scorer.score(one)[0, candidate])


def test_factor_contributions_sum_to_the_score_of_the_spanned_part() -> None:
    scorer = factors()
    for history in (torch.tensor([0, 1, 2, 3, 4]), torch.tensor([5, 2]), torch.tensor([1, 1])):
        share = scorer.contributions(torch.tensor([2]), torch.tensor([6]), history)
        rows = scorer.candidates[history].double()
        spanned = torch.linalg.lstsq(rows.T, scorer.queries[2].double(), driver="gelsd")
        part = rows.T @ spanned.solution
        torch.testing.assert_close(share.sum().double(), part @ scorer.candidates[6].double())
    empty = torch.empty(0, dtype=torch.int64)
    assert len(scorer.contributions(torch.tensor([2]), torch.tensor([6]), empty)) == 0
    assert (constant().contributions(torch.tensor([2]), torch.tensor([6]), history) == 0).all()


@pytest.mark.parametrize("name", ["HistoryWeights", "HistoryWeights of some", "NeighbourWeights"])
def test_other_histories(name: str) -> None:
    scorer = SCORERS[name]()
    torch.testing.assert_close(scorer.with_histories(histories()).score(EVERY), scorer.score(EVERY))
    swapped = scorer.with_histories(
        pair_set(torch.tensor([0]), torch.tensor([4]), n_queries=1, n_candidates=N_CANDIDATES)
    )
    row = scorer.candidate_similarity().score(torch.tensor([4]))
    torch.testing.assert_close(swapped.score(torch.tensor([0])), row)


def test_likeness_of_vectors_is_the_cosine() -> None:
    scorer = factors()
    cosine = torch.nn.functional.cosine_similarity
    expected = cosine(scorer.candidates[:, None], scorer.candidates[None], dim=2)
    torch.testing.assert_close(scorer.candidate_similarity().score(EVERY[:7]), expected)
    expected = cosine(scorer.queries[:, None], scorer.queries[None], dim=2)
    torch.testing.assert_close(scorer.query_similarity().score(EVERY), expected)


def test_likeness_of_sets_is_the_cosine() -> None:
    history = plain_history()
    sizes = history.sum(1).clamp_min(1)
    expected = history @ history.T / (sizes[:, None] * sizes).sqrt()
    torch.testing.assert_close(scorers.PairCosine(histories()).score(EVERY), expected)


def test_candidates_without_weights_are_like_nothing() -> None:
    rows = partial().candidate_similarity().score(torch.tensor([0, 1]))
    assert (rows[0] == -torch.inf).all()
    assert rows[1].isfinite().sum() == 4
    assert constant().candidate_similarity() is None
    assert constant().query_similarity() is dense().query_similarity() is None
