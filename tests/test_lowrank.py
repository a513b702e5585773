"""Randomized SVD on a matrix of chosen spectrum."""

from __future__ import annotations

import pytest
import torch

from hyperrank.lowrank import randomized_svd
from hyperrank.pairs import PairSet
from hyperrank.sparse import SparseMatrix, from_pairs


def full(m: int, n: int, values: torch.Tensor, generator: torch.Generator) -> SparseMatrix:
    """A matrix with all entries stored, of the singular values given."""
    left = torch.linalg.qr(torch.randn(m, len(values), generator=generator)).Q
    right = torch.linalg.qr(torch.randn(n, len(values), generator=generator)).Q
    dense = left @ torch.diag(values) @ right.T
    return from_pairs(PairSet(torch.arange(m * n), m, n), dense.flatten())


def test_leading_triplets(generator: torch.Generator) -> None:
    values = 2.0 ** -torch.arange(10.0)
    a = full(40, 30, values, generator)
    svd = randomized_svd(a, 5, generator=generator)
    torch.testing.assert_close(svd.values, values[:5], rtol=1e-4, atol=1e-6)
    eye = torch.eye(5)
    torch.testing.assert_close(svd.left.T @ svd.left, eye, rtol=0, atol=1e-5)
    torch.testing.assert_close(svd.right.T @ svd.right, eye, rtol=0, atol=1e-5)
    torch.testing.assert_close(a @ svd.right, svd.left * svd.values, rtol=0, atol=1e-4)


@pytest.mark.parametrize("rank", [0, 31])
def test_a_rank_out_of_range_is_refused(rank: int, generator: torch.Generator) -> None:
    a = full(40, 30, torch.ones(3), generator)
    with pytest.raises(ValueError, match=rf"rank must lie in 1..30 .* got {rank}"):
        randomized_svd(a, rank, generator=generator)


def test_full_rank_and_a_single_entry(generator: torch.Generator) -> None:
    a = from_pairs(PairSet(torch.tensor([0]), 1, 1), torch.tensor([-3.0]))
    svd = randomized_svd(a, 1, generator=generator)
    torch.testing.assert_close(svd.left * svd.values @ svd.right.T, torch.tensor([[-3.0]]))


def test_the_transpose_is_needed(generator: torch.Generator) -> None:
    transpose = full(4, 3, torch.ones(2), generator).T
    assert transpose is not None
    with pytest.raises(ValueError, match="stores no transpose"):
        randomized_svd(transpose, 1, generator=generator)
