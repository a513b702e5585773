"""Inequality of counts, against slow versions."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import reference_plots
from hyperrank.concentration import cumulative, gini, top

PAIRS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 4)), min_size=1, max_size=30)


@given(PAIRS)
def test_against_slow_versions(pairs: list[tuple[int, int]]) -> None:
    counts, popularity = map(list, zip(*pairs, strict=True))
    if not sum(counts):
        return
    held = cumulative(torch.tensor(counts), torch.tensor(popularity))
    assert float(gini(torch.tensor(counts))) == pytest.approx(
        reference_plots.gini(counts), abs=1e-12
    )
    for most in (1, (len(counts) + 1) // 2, len(counts)):
        slow = reference_plots.held_by_top(counts, popularity, most)
        assert float(held[most - 1]) == pytest.approx(slow)


def test_ends() -> None:
    assert float(gini(torch.full((7,), 3))) == pytest.approx(0)
    assert float(gini(torch.tensor([0, 5, 0, 0]))) == pytest.approx(3 / 4)
    assert math.isnan(gini(torch.zeros(3, dtype=torch.int64)))
    assert bool(cumulative(torch.zeros(3, dtype=torch.int64), torch.arange(3)).isnan().all())


def test_shares_of_a_catalogue() -> None:
    assert [top(0.01, n) for n in (1, 50, 100, 101, 1000)] == [1, 1, 1, 2, 10]
    assert [top(0.1, n) for n in (10, 30, 1682)] == [1, 3, 169]
