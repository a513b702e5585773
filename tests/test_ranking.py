"""Ranks by counting: against a plain count, under ties, the scores untouched, bad input refused."""

from __future__ import annotations

import inspect

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperrank import ranking
from hyperrank.pairs import pair_set
from hyperrank.ranking import ranks
from hyperrank.scorers import Constant
from reference import rank_plain


def pairs_of(mask):
    query, candidate = mask.nonzero().unbind(1)
    return pair_set(query, candidate, n_queries=mask.shape[0], n_candidates=mask.shape[1])


@given(
    seed=st.integers(0, 1000),
    levels=st.sampled_from([1, 2, 4, 1000]),
    ties=st.sampled_from(["optimistic", "realistic", "pessimistic"]),
    chunk=st.sampled_from([1, 3, 100]),
    with_known=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_ranks_agree_with_counting_by_hand(seed, levels, ties, chunk, with_known):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(levels, (7, 12), generator=generator).float()
    scores[torch.rand(scores.shape, generator=generator) < 0.1] = -torch.inf
    truth = torch.rand(7, 12, generator=generator) < 0.2
    truth[0, 0] = True
    known = torch.rand(7, 12, generator=generator) < 0.3
    found = ranks(
        lambda query: scores[query],
        pairs_of(truth),
        pairs_of(known) if with_known else None,
        chunk=chunk,
        ties=ties,
    )
    wanted = []
    for query, candidate in truth.nonzero().tolist():
        hidden = truth[query] | (known[query] & with_known)
        hidden = set(hidden.nonzero().squeeze(1).tolist())
        wanted.append(rank_plain(scores[query].tolist(), candidate, hidden, ties))
    assert found.tolist() == wanted


def test_realistic_rank_is_the_mean_of_the_others(generator):
    scores = torch.randint(3, (5, 20), generator=generator).float()
    truth = pairs_of(torch.rand(5, 20, generator=generator) < 0.3)
    low, mean, high = (
        ranks(lambda query: scores[query], truth, ties=rule)
        for rule in ("optimistic", "realistic", "pessimistic")
    )
    torch.testing.assert_close(mean, (low + high) / 2)


def test_all_equal_scores_rank_in_the_middle():
    truth = pairs_of(torch.eye(4, 9, dtype=torch.bool))
    found = ranks(Constant(torch.zeros(9)).score, truth)
    assert found.tolist() == [5.0] * 4


def test_labels_and_dtypes_change_no_rank(generator):
    """Scores in quarters are the same numbers in every dtype."""
    scores = torch.randint(-40, 40, (9, 30), generator=generator) / 4
    truth = pairs_of(torch.rand(9, 30, generator=generator) < 0.3)
    label = torch.randint(3, (9,), generator=generator)
    plain = ranks(lambda query: scores[query], truth)
    for dtype in (torch.bfloat16, torch.float64):
        table = scores.to(dtype)
        assert torch.equal(ranks(lambda q, t=table: t[q], truth, alike=label, chunk=4), plain)


def test_counts_in_small_pieces_are_the_same(monkeypatch, generator):
    scores = torch.randint(9, (8, 20), generator=generator).float()
    truth = pairs_of(torch.rand(8, 20, generator=generator) < 0.3)
    whole = ranks(lambda query: scores[query], truth)
    monkeypatch.setattr(ranking, "COUNTED_AT_ONCE", {"cpu": 50})
    assert torch.equal(ranks(lambda query: scores[query], truth), whole)


def test_every_query_is_scored_once_and_equal_labels_together(generator):
    truth = pairs_of(torch.eye(8, dtype=torch.bool))
    asked = []

    def score(query):
        asked.append(query.tolist())
        return torch.zeros(len(query), 8)

    ranks(score, truth, alike=torch.tensor([1, 0] * 4), chunk=4)
    assert asked == [[1, 3, 5, 7], [0, 2, 4, 6]]


def test_ranks_leave_the_scores_alone(generator):
    scores = torch.randn(3, 5, generator=generator)
    before = scores.clone()
    ranks(lambda query: scores, pairs_of(torch.ones(3, 5, dtype=torch.bool)))
    assert torch.equal(scores, before)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"chunk": 0}, "chunk must be at least 1 query, got 0"),
        ({"truth": pairs_of(torch.zeros(2, 3, dtype=torch.bool))}, "truth holds no pairs"),
        ({"score": lambda q: torch.full((len(q), 3), torch.nan)}, "score returned NaN"),
        ({"score": lambda q: torch.zeros(len(q), 4)}, "score gave 4 candidates, but truth has 3"),
    ],
)
def test_bad_arguments_of_ranks_are_refused(change, said):
    asked = {
        "score": lambda q: torch.zeros(len(q), 3),
        "truth": pairs_of(torch.ones(2, 3, dtype=torch.bool)),
        **change,
    }
    with pytest.raises(ValueError, match=said):
        ranks(**asked)


def test_unknown_tie_rule_is_refused():
    """Past the type check, as a caller without one would have it."""
    unchecked = inspect.unwrap(ranks)
    with pytest.raises(ValueError, match="ties must be one of optimistic, realistic, pessimistic"):
        unchecked(lambda q: torch.zeros(len(q), 3), pairs_of(torch.ones(2, 3).bool()), ties="fair")
