"""Sparse products and their gradients against dense ones, and the optional package's."""

from __future__ import annotations

import pytest
import torch

from hyperrank.pairs import PairSet, pair_set
from hyperrank.sparse import SparseMatrix, from_pairs, from_torch_sparse


def matrix(generator: torch.Generator) -> tuple[SparseMatrix, torch.Tensor]:
    query = torch.randint(9, (30,), generator=generator)
    pairs = pair_set(
        query, torch.randint(6, (30,), generator=generator), n_queries=11, n_candidates=7
    )
    values = torch.randn(len(pairs), generator=generator)
    return from_pairs(pairs, values), pairs.to_csr(values).to_dense()


def test_products_and_gradients_are_the_dense_ones(generator: torch.Generator) -> None:
    ours, dense = matrix(generator)
    x = torch.randn(7, 4, generator=generator, requires_grad=True)
    y = torch.randn(11, 4, generator=generator)
    torch.testing.assert_close(ours @ x, dense @ x)
    assert ours.T is not None
    torch.testing.assert_close(ours.T @ y, dense.T @ y)
    slope = torch.autograd.grad(((ours @ x) * y).sum(), x)[0]
    torch.testing.assert_close(slope, dense.T @ y)


def test_adjoint(generator: torch.Generator) -> None:
    ours, _ = matrix(generator)
    assert ours.T is not None
    x, y = torch.randn(7, 3, generator=generator), torch.randn(11, 3, generator=generator)
    torch.testing.assert_close((ours @ x).T @ y, x.T @ (ours.T @ y))


def test_empty_rows_and_no_pairs() -> None:
    none = torch.zeros(0, dtype=torch.int64)
    ours = from_pairs(pair_set(none, none, n_queries=3, n_candidates=2))
    assert torch.equal(ours @ torch.ones(2, 2), torch.zeros(3, 2))


def test_wrong_sizes_are_named(generator: torch.Generator) -> None:
    with pytest.raises(ValueError, match=r"shape \(11, 7\) cannot multiply one of shape \(6, 2\)"):
        matrix(generator)[0] @ torch.ones(6, 2)


def test_the_transpose_alone_has_no_gradient(generator: torch.Generator) -> None:
    transpose = matrix(generator)[0].T
    assert transpose is not None
    x = torch.ones(11, 1, requires_grad=True)
    with pytest.raises(RuntimeError, match="stores no transpose"):
        (transpose @ x).sum().backward()


def test_torch_sparse_in_and_out(generator: torch.Generator) -> None:
    pytest.importorskip("torch_sparse", reason="torch-sparse is an option and not installed")
    ours, dense = matrix(generator)
    theirs = ours.to_torch_sparse()
    torch.testing.assert_close(theirs.to_dense(), dense)
    x = torch.randn(7, 4, generator=generator)
    torch.testing.assert_close(from_torch_sparse(theirs) @ x, dense @ x)
    torch.testing.assert_close(ours @ x, theirs @ x)


def test_conversion_says_what_is_missing(
    generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch_sparse", None)
    with pytest.raises(ImportError, match="torch-sparse is not installed: pip install"):
        matrix(generator)[0].to_torch_sparse()


class CooStandIn:
    """What ``from_torch_sparse`` reads of a SparseTensor."""

    def __init__(self, row: list[int], column: list[int], values: list[float] | None) -> None:
        self.row, self.column, self.values = torch.tensor(row), torch.tensor(column), values

    def coo(self) -> tuple:
        return self.row, self.column, None if self.values is None else torch.tensor(self.values)

    def sparse_sizes(self) -> tuple[int, int]:
        return 3, 4


@pytest.mark.parametrize("values", [None, [5.0, 6.0, 7.0]])
def test_values_follow_their_places(values: list[float] | None) -> None:
    ours = from_torch_sparse(CooStandIn([2, 0, 1], [1, 3, 0], values))
    dense = torch.zeros(3, 4)
    dense[[2, 0, 1], [1, 3, 0]] = torch.tensor(values or [1.0, 1.0, 1.0])
    torch.testing.assert_close(ours @ torch.eye(4), dense)


def test_a_pair_set_has_one_matrix(generator: torch.Generator) -> None:
    pairs = PairSet(torch.tensor([0, 5]), 2, 3)
    assert torch.equal(from_pairs(pairs) @ torch.eye(3), pairs.to_csr().to_dense())
