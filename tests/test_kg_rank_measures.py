"""Measures of ranks: known answers."""

from __future__ import annotations

import pytest
import torch

from kg.rank_measures import parse_all, per_fact


def measured(name, rank, rivals):
    value, weight = per_fact(name, torch.tensor(rank).double(), torch.tensor(rivals))
    return float((value * weight).sum() / weight.sum())


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("mrr", (1 + 0.5 + 0.25 + 0.1) / 4), ("hits@2", 0.5), ("hits@4", 0.75), ("mean_rank", 4.25)],
)
def test_means_over_ranks(name, wanted):
    assert measured(name, [[1, 2], [4, 10]], [[9, 9], [9, 9]]) == pytest.approx(wanted)


def test_adjusted_index_is_one_for_the_best_and_zero_for_the_middle():
    assert measured("amri", [[1, 1]], [[8, 4]]) == 1
    assert measured("amri", [[5, 3]], [[8, 4]]) == 0
    assert measured("amri", [[9, 5]], [[8, 4]]) == -1
    assert measured("amri", [[1, 3], [1, 1]], [[8, 4], [0, 0]]) == pytest.approx(1 - 4 / 12)


def test_names_are_read_once_each():
    assert parse_all(["MRR", "hits@10", "mrr "]) == ["mrr", "hits@10"]
    assert parse_all("amri") == ["amri"]
