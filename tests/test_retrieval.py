"""Exact top-k: against a sort, under ties, masks, chunks and bad input."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperrank import retrieval
from hyperrank.pairs import pair_set
from hyperrank.retrieval import TopK, largest, top_k
from hyperrank.scorers import Constant, Factors
from reference import sorted_top_k


class Table:
    """A scorer of given scores; not a module, so the query says where it lives."""

    def __init__(self, scores):
        self.scores = scores

    def score(self, query):
        return self.scores[query]


def some_known(n_queries, n_candidates, share, generator):
    mask = torch.rand(n_queries, n_candidates, generator=generator) < share
    query, candidate = mask.nonzero().unbind(1)
    return pair_set(query, candidate, n_queries=n_queries, n_candidates=n_candidates)


@given(
    n=st.sampled_from([1, 2, 7, 63, 64, 65, 700, 1500]),
    levels=st.sampled_from([1, 2, 5, 1000]),
    k=st.sampled_from([1, 2, 5, 11, 80]),
    share=st.sampled_from([0.0, 0.3, 1.0]),
    chunk=st.sampled_from([None, 1, 4]),
    some=st.booleans(),
    seed=st.integers(0, 10),
)
@settings(max_examples=150, deadline=None)
def test_agrees_with_a_sort(n, levels, k, share, chunk, some, seed):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(levels, (6, n), generator=generator).float() - 3
    scores[torch.rand(scores.shape, generator=generator) < 0.05] = -torch.inf
    known = some_known(6, n, share, generator)
    allowed = torch.randint(n, (max(1, n // 2),), generator=generator) if some else None
    query = torch.tensor([5, 0, 0, 3, 1])
    found = top_k(Table(scores), query, k, known=known, allowed=allowed, chunk=chunk)
    candidates, values = sorted_top_k(scores, query, k, known, allowed)
    assert found.candidates.tolist() == candidates
    assert found.scores.tolist() == values


def test_factors_agree_with_their_scores(generator):
    scorer = Factors(
        torch.randn(30, 8, generator=generator), torch.randn(900, 8, generator=generator)
    )
    known = some_known(30, 900, 0.1, generator)
    query = torch.randperm(30, generator=generator)
    for allowed in (None, torch.tensor([5, 3, 3, 800, *range(100, 400)])):
        plain = top_k(Table(scorer.score(torch.arange(30))), query, 7, known=known, allowed=allowed)
        for chunk in (None, 1, 7, 30, 1000):
            found = top_k(scorer, query, 7, known=known, allowed=allowed, chunk=chunk)
            assert torch.equal(found.candidates, plain.candidates)
            torch.testing.assert_close(found.scores, plain.scores)


def test_all_equal_scores_give_the_lowest_numbers_not_known():
    known = pair_set(torch.tensor([0, 0]), torch.tensor([0, 2]), n_queries=2, n_candidates=2000)
    found = top_k(Constant(torch.zeros(2000)), torch.arange(2), 3, known=known)
    assert found.candidates.tolist() == [[1, 3, 4], [0, 1, 2]]


def test_a_query_that_knows_everything_gets_nothing():
    known = pair_set(torch.zeros(5).long(), torch.arange(5), n_queries=2, n_candidates=5)
    found = top_k(Constant(torch.arange(5.0)), torch.arange(2), 2, known=known)
    assert found.candidates.tolist() == [[-1, -1], [4, 3]]
    assert found.scores[0].tolist() == [-torch.inf, -torch.inf]


def test_k_beyond_the_catalogue_is_filled():
    found = top_k(Constant(torch.tensor([1.0, 2.0])), torch.tensor([0]), 4)
    assert found.candidates.tolist() == [[1, 0, -1, -1]]
    assert found.scores.tolist() == [[2.0, 1.0, -torch.inf, -torch.inf]]


def test_no_queries_and_no_candidates():
    empty = torch.tensor([], dtype=torch.long)
    assert top_k(Constant(torch.ones(3)), empty, 2).candidates.shape == (0, 2)
    assert top_k(Constant(torch.ones(0)), torch.arange(2), 2).candidates.tolist() == [[-1, -1]] * 2
    assert largest(torch.empty(0, 9), 2).candidates.shape == (0, 2)


@pytest.mark.parametrize("n", [5, 5000])
def test_nan_is_refused_wherever_it_is(n):
    scores = torch.zeros(3, n)
    scores[1, n // 2] = torch.nan
    with pytest.raises(ValueError, match=r"scores of 1 of 3 queries hold NaN; .* diverged"):
        top_k(Table(scores), torch.arange(3), 2)
    masked = pair_set(torch.tensor([1]), torch.tensor([n // 2]), n_queries=3, n_candidates=n)
    assert top_k(Table(scores), torch.arange(3), 1, known=masked).candidates.tolist() == [[0]] * 3


def test_infinite_scores_rank():
    found = top_k(Constant(torch.tensor([0.0, torch.inf, -torch.inf])), torch.tensor([0]), 3)
    assert found.candidates.tolist() == [[1, 0, -1]]


def test_arguments_stay_as_they_were(generator):
    scores = torch.randn(4, 50, generator=generator)
    before = scores.clone()
    top_k(Table(scores), torch.arange(4), 3, known=some_known(4, 50, 0.5, generator))
    values = Constant(scores[0])
    top_k(values, torch.arange(4), 3, known=some_known(4, 50, 0.5, generator))
    assert torch.equal(scores, before)


def test_whole_number_scores_and_double_precision_are_kept():
    counts = top_k(Table(torch.tensor([[3, 9, 4]])), torch.tensor([0]), 2)
    assert counts.candidates.tolist() == [[1, 2]]
    close = torch.tensor([1.0, 1.0 + 1e-12], dtype=torch.float64)
    assert top_k(Constant(close), torch.tensor([0]), 1).candidates.tolist() == [[1]]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"k": 0}, "k must be at least 1, got 0"),
        ({"chunk": 0}, "chunk must be at least 1 query, got 0"),
        ({"query": torch.tensor([0, 9])}, "query numbers run from 0 to 9, but only 0..3 exist"),
        ({"query": torch.tensor([-1])}, "query numbers run from -1 to -1"),
        ({"allowed": torch.tensor([], dtype=torch.long)}, "allowed holds no candidate"),
        ({"allowed": torch.tensor([6])}, "candidate numbers run from 6 to 6, but only 0..5 exist"),
        (
            {"known": pair_set(torch.tensor([0]), torch.tensor([0]), n_queries=4, n_candidates=7)},
            "known holds pairs with 7 candidates, but the scorer scores 6",
        ),
        (
            {
                "known": pair_set(
                    torch.tensor([0]), torch.tensor([0]), n_queries=2, n_candidates=6
                ),
                "query": torch.tensor([3]),
            },
            "query numbers run from 3 to 3, but only 0..1 exist",
        ),
    ],
)
def test_bad_arguments_are_refused(change, said):
    given_ = {"query": torch.arange(4), "k": 2, **change}
    with pytest.raises(ValueError, match=said):
        top_k(Factors(torch.ones(4, 2), torch.ones(6, 2)), **given_)


def test_ties_across_the_edge_are_read_in_parts(monkeypatch, generator):
    """A tie in every one of many rows: the slow reading works in blocks of rows too."""
    scores = torch.randint(3, (40, 300), generator=generator).float()
    whole = largest(scores, 5)
    order = scores.sort(dim=1, descending=True, stable=True)
    assert isinstance(whole, TopK)
    assert torch.equal(whole.candidates, order.indices[:, :5])
    monkeypatch.setattr(retrieval, "TIED_AT_ONCE", 700)
    assert torch.equal(largest(scores, 5).candidates, whole.candidates)


@pytest.mark.gpu
def test_the_gpu_gives_the_same_lists(generator):
    scorer = Factors(
        torch.randn(50, 16, generator=generator), torch.randn(5000, 16, generator=generator)
    ).double()
    known = some_known(50, 5000, 0.05, generator)
    here = top_k(scorer, torch.arange(50), 20, known=known)
    there = top_k(scorer.cuda(), torch.arange(50), 20, known=known)
    assert there.candidates.device.type == "cuda"
    assert torch.equal(there.candidates.cpu(), here.candidates)
    torch.testing.assert_close(there.scores.cpu(), here.scores)
