"""Scores that are less hyperbolic distances."""

from __future__ import annotations

import torch

from hyperrank.distance_scorer import Distances
from hyperrank.hyperbolic import distance
from hyperrank.retrieval import top_k


def test_scores_are_offsets_less_distances(generator: torch.Generator) -> None:
    left, right = torch.randn(4, 3, generator=generator), torch.randn(6, 3, generator=generator)
    offset = torch.randn(6, generator=generator)
    scorer = Distances(left, right, offset)
    query = torch.tensor([2, 0])
    expected = offset - distance(left[query][:, None], right, curvature=-1.0)
    torch.testing.assert_close(scorer.score(query), expected, rtol=1e-4, atol=1e-4)
    pairs = scorer.score_pairs(query, torch.tensor([5, 1]))
    torch.testing.assert_close(pairs, expected[[0, 1], [5, 1]])
    assert top_k(scorer, query, 1).candidates[:, 0].tolist() == expected.argmax(1).tolist()
    assert not scorer.contributions(query[:1], query[:1], torch.tensor([1, 2, 3])).any()


def test_the_likest_is_the_nearest(generator: torch.Generator) -> None:
    rows = torch.randn(5, 3, generator=generator)
    scorer = Distances(rows, rows.flip(0), torch.ones(5))
    every = torch.arange(5)
    for likeness in (scorer.candidate_similarity(), scorer.query_similarity()):
        assert likeness.score(every).argmax(1).tolist() == every.tolist()
        assert likeness.score(every).max() <= 1e-3
    again = Distances(**scorer.state_dict())
    assert torch.equal(again.score(every), scorer.score(every))
