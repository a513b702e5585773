"""Closed forms of fold-in, against one user at a time and dense algebra."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
import torch
from torch import Tensor

from hyperrank.pairs import pair_set
from hyperrank.sparse import SparseMatrix, from_pairs
from recsys import PureSVD
from recsys.item_graph import item_factor, user_factor
from recsys.warm_start import (
    alike,
    blocks,
    confidence_weighted,
    degree_weighted,
    projection,
    pseudo_inverse,
    ridge,
    row_grams,
    whitened,
)

B, N, D = 15, 40, 6


@pytest.fixture
def items(generator: torch.Generator) -> Tensor:
    return torch.randn(N, D, generator=generator)


@pytest.fixture
def history(generator: torch.Generator) -> SparseMatrix:
    row = torch.randint(1, B, (90,), generator=generator)  # row 0 is empty
    row[:25] = 7  # one is long
    column = torch.randint(N, (90,), generator=generator)
    pairs = pair_set(row, column, n_queries=B, n_candidates=N)
    return from_pairs(pairs, 0.5 + torch.rand(len(pairs), generator=generator))


def dense(history: SparseMatrix) -> Tensor:
    found = torch.zeros(history.shape)
    found[history.row_numbers, history.columns] = history.values
    return found


def test_projection(history: SparseMatrix, items: Tensor) -> None:
    torch.testing.assert_close(projection(history, items), dense(history) @ items)


def test_ridge_is_the_penalized_least_squares(history: SparseMatrix, items: Tensor) -> None:
    tall = torch.cat([items, 0.7**0.5 * torch.eye(D)])
    target = torch.cat([dense(history).T, torch.zeros(D, B)])
    expected = torch.linalg.lstsq(tall, target).solution.T
    torch.testing.assert_close(ridge(history, items, 0.7), expected, rtol=1e-4, atol=1e-5)


def test_pseudo_inverse_is_that_of_the_table(history: SparseMatrix, items: Tensor) -> None:
    expected = dense(history) @ torch.linalg.pinv(items).T
    found = projection(history, pseudo_inverse(items))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    thin = ridge(history, items, 1e-6)
    torch.testing.assert_close(found, thin, rtol=1e-3, atol=1e-4)


def test_pseudo_inverse_cuts_what_is_noise(history: SparseMatrix, items: Tensor) -> None:
    flat = items.clone()
    flat[:, -1] = flat[:, 0] + 1e-7 * items[:, -1]  # one direction is rounding
    found = projection(history, pseudo_inverse(flat))
    assert float(found.norm(dim=1).max()) < 10
    expected = dense(history) @ torch.linalg.pinv(flat.double(), rtol=1e-4).T.float()
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("offset", [0.01, 1.0])
def test_degree_weighted_is_the_published_loop(
    history: SparseMatrix, items: Tensor, offset: float
) -> None:
    users = user_factor(history.starts.diff())
    others = item_factor(torch.arange(N))
    found = degree_weighted(history, pseudo_inverse(items), users, others, offset=offset)
    inverse, rows = torch.linalg.pinv(items), dense(history)
    for row in range(B):  # P diag(1 / (lam + beta_u)) r_u, a user at a time
        expected = inverse @ (rows[row] / (offset + users[row] * others))
        torch.testing.assert_close(found[row], expected, rtol=1e-4, atol=1e-5)


def test_confidence_weighted_solves_each_user(history: SparseMatrix, items: Tensor) -> None:
    history = history.with_values(history.values * 20)
    found = confidence_weighted(history, whitened(items, 0.3))
    rows = dense(history)
    for row in range(B):
        weight = torch.where(rows[row] > 0, rows[row], 1.0)
        system = items.T @ (weight[:, None] * items) + 0.3 * torch.eye(D)
        expected = torch.linalg.solve(system, items.T @ rows[row])
        torch.testing.assert_close(found[row], expected, rtol=1e-3, atol=1e-4)
    assert not found[0].any()


def test_confidence_weighted_is_what_implicit_recalculates(
    history: SparseMatrix, items: Tensor
) -> None:
    als = pytest.importorskip("implicit.cpu.als", reason="implicit is an option")
    threads = pytest.importorskip("threadpoolctl")
    with threads.threadpool_limits(1, "blas"):
        peer = als.AlternatingLeastSquares(factors=D, regularization=0.3, use_cg=False)
        matrix = scipy.sparse.csr_matrix(dense(history).numpy())
        peer.item_factors = items.numpy()
        expected = peer.recalculate_user(np.arange(B), matrix)
    found = confidence_weighted(history, whitened(items, 0.3))
    torch.testing.assert_close(found, torch.from_numpy(expected), rtol=1e-3, atol=1e-4)


def test_confidence_weighted_where_some_items_are_no_negatives(
    history: SparseMatrix, items: Tensor
) -> None:
    found = confidence_weighted(history, whitened(items[:25], 0.3).extended(items[25:]))
    rows, unobserved = dense(history), (torch.arange(N) < 25).float()
    for row in range(B):
        weight = torch.where(rows[row] > 0, rows[row], unobserved)
        system = items.T @ (weight[:, None] * items) + 0.3 * torch.eye(D)
        expected = torch.linalg.solve(system, items.T @ rows[row])
        torch.testing.assert_close(found[row], expected, rtol=1e-3, atol=1e-4)


def test_rows_of_like_length_come_together(history: SparseMatrix) -> None:
    degree, seen = history.starts.diff(), []
    for rows, spot, inside in alike(history, D):
        assert torch.equal(inside.sum(1), degree[rows])
        assert int(inside.sum()) * 2 >= inside.numel()
        assert (history.row_numbers[spot][inside] == rows.repeat_interleave(degree[rows])).all()
        seen += rows.tolist()
    assert sorted(seen) == degree.nonzero().flatten().tolist()


def test_row_grams(history: SparseMatrix, items: Tensor) -> None:
    expected = torch.einsum("bn,nd,ne->bde", dense(history), items, items)
    torch.testing.assert_close(row_grams(history, items), expected, rtol=1e-4, atol=1e-5)


def test_an_svd_is_folded_into_exactly(checkerboard: object) -> None:
    model = PureSVD(dim=5).fit(checkerboard)  # type: ignore[arg-type]
    history, tables = from_pairs(model.seen_), model._factors()
    for found in (
        projection(history, tables.candidates),
        projection(history, pseudo_inverse(tables.candidates)),
    ):
        torch.testing.assert_close(found, tables.queries, rtol=1e-4, atol=1e-4)


def test_blocks_cover_every_row_once() -> None:
    parts = blocks(10, 2**23, torch.device("cpu"))
    assert [len(part) for part in parts] == [2] * 5
    assert torch.cat(parts).tolist() == list(range(10))


def test_bad_strengths(history: SparseMatrix, items: Tensor) -> None:
    with pytest.raises(ValueError, match="l2 must be positive, got 0"):
        ridge(history, items, 0.0)
    with pytest.raises(ValueError, match="regularization must be positive, got -1"):
        whitened(items, -1.0)
    with pytest.raises(ValueError, match="offset must not be negative, got -1"):
        degree_weighted(history, items, torch.ones(B), torch.ones(N), offset=-1.0)
