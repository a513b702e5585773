"""One law over every way to make a linear map, and the products against dense matrices."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from hyperrank import operators
from hyperrank.operators import LinearMap
from hyperrank.pairs import pair_set
from hyperrank.sparse import SparseMatrix, from_pairs

FLOATS = (torch.float32, torch.float64)


def seeded(number: int) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def dense(m: int, n: int, number: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(m, n, dtype=dtype, generator=seeded(number))


def thin(m: int, n: int, number: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    matrix = dense(m, n, number, dtype)
    return matrix * (dense(m, n, number + 1, dtype) > 0)


def sparse_of(matrix: Tensor, layout: str) -> Tensor:
    blocks = ((2, 2),) if layout.startswith("b") else ()
    return getattr(matrix, f"to_sparse_{layout}")(*blocks)


class TorchSparseStandIn:
    """What ``from_sparse`` reads of a ``torch_sparse.SparseTensor``."""

    def __init__(self, matrix: Tensor, *, plain: bool = False) -> None:
        self.matrix, self.plain = matrix, plain

    def coo(self) -> tuple:
        row, column = self.matrix.nonzero(as_tuple=True)
        return row, column, None if self.plain else self.matrix[row, column]

    def sparse_sizes(self) -> tuple[int, int]:
        return tuple(self.matrix.shape)


def ours(m: int, n: int, dtype: torch.dtype) -> SparseMatrix:
    matrix = thin(m, n, dtype=dtype)
    query, candidate = matrix.nonzero(as_tuple=True)
    pairs = pair_set(query, candidate, n_queries=m, n_candidates=n)
    return from_pairs(pairs, matrix[pairs.queries, pairs.candidates])


WEIGHT = dense(6, 8, 5)


def network(x: Tensor) -> Tensor:
    return (WEIGHT.to(x.dtype) @ x.flatten()).tanh().reshape(3, 2)


def network_jacobian(dtype: torch.dtype) -> Tensor:
    return torch.autograd.functional.jacobian(network, dense(2, 4, 6, dtype)).reshape(6, 8)


def scipy_thin(dtype: torch.dtype) -> Any:
    return scipy.sparse.csr_array(thin(7, 5, dtype=dtype).numpy())


a75, b75 = (lambda t: dense(7, 5, 0, t)), (lambda t: dense(7, 5, 1, t))
MAPS: dict[str, tuple[Callable[[torch.dtype], LinearMap], Callable[[torch.dtype], Tensor]]] = {
    "matrix": (lambda t: operators.from_matrix(a75(t)), a75),
    "matrix, a row": (lambda t: operators.from_matrix(a75(t)[:1]), lambda t: a75(t)[:1]),
    "matrix, a column": (lambda t: operators.from_matrix(a75(t)[:, :1]), lambda t: a75(t)[:, :1]),
    "matrix, empty": (lambda t: operators.from_matrix(a75(t)[:0]), lambda t: a75(t)[:0]),
    "factors": (
        lambda t: operators.from_factors(a75(t), dense(6, 5, 1, t)),
        lambda t: a75(t) @ dense(6, 5, 1, t).T,
    ),
    "torch CSR": (
        lambda t: operators.from_sparse(thin(7, 5, dtype=t).to_sparse_csr()),
        lambda t: thin(7, 5, dtype=t),
    ),
    "torch COO": (
        lambda t: operators.from_sparse(thin(7, 5, dtype=t).to_sparse()),
        lambda t: thin(7, 5, dtype=t),
    ),
    **{
        f"torch {layout.upper()}": (
            lambda t, layout=layout: operators.from_sparse(sparse_of(thin(6, 4, dtype=t), layout)),
            lambda t: thin(6, 4, dtype=t),
        )
        for layout in ("csc", "bsr", "bsc")
    },
    "SciPy sparse": (
        lambda t: operators.from_sparse(scipy_thin(t)),
        lambda t: thin(7, 5, dtype=t),
    ),
    "our sparse": (
        lambda t: operators.from_sparse(ours(7, 5, t)),
        lambda t: thin(7, 5, dtype=t),
    ),
    "torch_sparse": (
        lambda t: operators.from_sparse(TorchSparseStandIn(thin(7, 5, dtype=t))),
        lambda t: thin(7, 5, dtype=t),
    ),
    "SciPy operator": (
        lambda t: operators.from_scipy(scipy.sparse.linalg.aslinearoperator(a75(t).numpy())),
        a75,
    ),
    "Jacobian": (lambda t: operators.jacobian(network, dense(2, 4, 6, t)), network_jacobian),
    "Jacobian, chunked": (
        lambda t: operators.jacobian(network, dense(2, 4, 6, t), chunk=2),
        network_jacobian,
    ),
    "composition": (
        lambda t: operators.compose(
            operators.from_matrix(dense(4, 7, 2, t)), operators.from_matrix(a75(t))
        ),
        lambda t: dense(4, 7, 2, t) @ a75(t),
    ),
    "sum": (
        lambda t: operators.add(operators.from_matrix(a75(t)), operators.from_matrix(b75(t))),
        lambda t: a75(t) + b75(t),
    ),
    "scaled": (
        lambda t: operators.scale(operators.from_matrix(a75(t)), -3.0),
        lambda t: -3 * a75(t),
    ),
    "transposed": (lambda t: operators.from_matrix(a75(t)).T, lambda t: a75(t).T),
    "Gram": (lambda t: operators.gram(operators.from_matrix(a75(t))), lambda t: a75(t).T @ a75(t)),
    "counted": (lambda t: operators.counted(operators.from_matrix(a75(t)))[0], a75),
}


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("width", [0, 1, 3])
def test_products_are_the_matrix(name: str, dtype: torch.dtype, width: int) -> None:
    made, matrix = (make(dtype) for make in MAPS[name])
    assert (made.shape, made.dtype, made.device.type) == (tuple(matrix.shape), dtype, "cpu")
    x, y = (dense(size, width, 9, dtype) for size in (made.shape[1], made.shape[0]))
    torch.testing.assert_close(made @ x, matrix @ x)
    torch.testing.assert_close(made.T @ y, matrix.T @ y)
    torch.testing.assert_close(made.T.T @ x, matrix @ x)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("name", MAPS)
def test_adjoint(name: str, dtype: torch.dtype) -> None:
    assert operators.check_adjoint(MAPS[name][0](dtype), seeded(3)) < 1e3 * torch.finfo(dtype).eps


@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 6), st.integers(0, 99))
def test_algebra_is_that_of_matrices(m: int, k: int, n: int, number: int) -> None:
    a, b, c = dense(m, k, number), dense(k, n, number + 1), dense(m, n, number + 2)
    maps = [operators.from_matrix(matrix) for matrix in (a, b, c)]
    made = operators.add(operators.compose(maps[0], maps[1]), operators.scale(maps[2], 0.5)).T
    torch.testing.assert_close(made @ torch.eye(m, dtype=a.dtype), (a @ b + c / 2).T)


def test_factors_are_found_through_scaling_and_transposing() -> None:
    u, v = dense(7, 2), dense(5, 2, 1)
    made = operators.scale(operators.from_factors(u, v), 2.0).T
    assert made.factors is not None
    torch.testing.assert_close(made.factors[0] @ made.factors[1].T, 2 * v @ u.T)


@pytest.mark.parametrize("layout", ["dense", "sparse", "factors"])
def test_products_are_differentiable_in_the_entries(layout: str) -> None:
    leaf = thin(4, 3).requires_grad_()
    second = dense(4, 3, 4)
    build = {
        "dense": operators.from_matrix,
        "sparse": lambda x: operators.from_sparse(x.to_sparse_csr()),
        "factors": lambda x: operators.from_factors(x, second),
    }[layout]
    x, y = dense(4 if layout == "factors" else 3, 2, 5), dense(4, 2, 6)
    full = leaf @ second.T if layout == "factors" else leaf
    made = build(leaf)
    for _ in range(2):  # a map serves more than one backward pass
        got = torch.autograd.grad((made @ x).sum() + (build(leaf).T @ y).sum(), leaf)[0]
        want = torch.autograd.grad((full @ x).sum() + (full.T @ y).sum(), leaf, retain_graph=True)[
            0
        ]
        at = leaf != 0
        torch.testing.assert_close(got[at], want[at])
        if layout == "sparse":
            break


@pytest.mark.parametrize("layout", ["coo", "csr", "csc", "bsr", "bsc"])
def test_every_layout_that_requires_a_gradient_gets_one(layout: str) -> None:
    leaf, (x, y) = thin(6, 4).requires_grad_(), (dense(4, 2, 5), dense(6, 2, 6))
    made = operators.from_sparse(sparse_of(leaf, layout))
    got = torch.autograd.grad((made @ x).sum() + (made.T @ y).sum(), leaf)[0]
    want = torch.autograd.grad((leaf @ x).sum() + (leaf.T @ y).sum(), leaf)[0]
    torch.testing.assert_close(got[leaf != 0], want[leaf != 0])


def test_jacobian_products_are_differentiable_in_the_weights() -> None:
    weight = dense(3, 4).requires_grad_()
    point = dense(4, 1, 1)[:, 0]

    def rows(w: Tensor) -> Tensor:
        made = operators.jacobian(lambda x: (w @ x).tanh(), point)
        return made.T @ torch.eye(3, dtype=w.dtype) + (made @ torch.eye(4, dtype=w.dtype)).T

    torch.autograd.gradcheck(rows, weight)


def test_missing_values_of_torch_sparse_are_ones() -> None:
    matrix = thin(4, 3)
    made = operators.from_sparse(TorchSparseStandIn(matrix, plain=True))
    torch.testing.assert_close(made @ torch.eye(3), (matrix != 0).float())


def test_torch_sparse_itself() -> None:
    torch_sparse = pytest.importorskip("torch_sparse", reason="an option, not installed")
    matrix = thin(6, 4)
    made = operators.from_sparse(torch_sparse.SparseTensor.from_dense(matrix))
    torch.testing.assert_close(made @ torch.eye(4, dtype=matrix.dtype), matrix)


def test_products_are_counted() -> None:
    made, count = operators.counted(operators.from_matrix(dense(7, 5)))
    made @ dense(5, 3)
    made.T @ dense(7, 2)
    assert count() == 5


def wrong_adjoint() -> LinearMap:
    a = dense(4, 4)
    return LinearMap((4, 4), lambda x: a @ x, lambda y: a @ y, a.dtype, a.device)


def wrong_shape() -> LinearMap:
    a = dense(4, 3)
    return LinearMap((4, 3), lambda x: a @ x, lambda y: (a.T @ y)[:2], a.dtype, a.device)


def not_finite() -> LinearMap:
    return operators.from_matrix(torch.full((3, 3), torch.nan))


eye = operators.from_matrix(torch.eye(3))
REFUSED: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "three axes": (
        lambda: operators.from_matrix(torch.ones(2, 3, 4)),
        ValueError,
        r"two axes, got shape \(2, 3, 4\)",
    ),
    "integers": (
        lambda: operators.from_matrix(torch.ones(2, 3, dtype=torch.int64)),
        TypeError,
        r"real floating point numbers, got torch.int64; convert",
    ),
    "complex": (
        lambda: operators.from_matrix(torch.ones(2, 3, dtype=torch.complex64)),
        TypeError,
        "got torch.complex64",
    ),
    "ranks": (
        lambda: operators.from_factors(torch.ones(4, 2), torch.ones(3, 1)),
        ValueError,
        r"shapes \(m, r\) and \(n, r\), got \(4, 2\) and \(3, 1\)",
    ),
    "factor dtypes": (
        lambda: operators.from_factors(torch.ones(4, 2), torch.ones(3, 2).double()),
        ValueError,
        "one dtype and device, got torch.float32 on cpu and torch.float64 on cpu",
    ),
    "dense as sparse": (
        lambda: operators.from_sparse(torch.ones(2, 2)),
        TypeError,
        "got Tensor; use from_matrix for a dense tensor",
    ),
    "no matrix": (lambda: operators.from_sparse("abc"), TypeError, "sparse matrix, got str"),
    "sparse axes": (
        lambda: operators.from_sparse(torch.ones(2, 2, 2).to_sparse()),
        ValueError,
        r"two axes, got shape \(2, 2, 2\)",
    ),
    "sparse integers": (
        lambda: operators.from_sparse(scipy.sparse.eye_array(3, dtype=np.int64)),
        TypeError,
        "got torch.int64",
    ),
    "no transpose": (
        lambda: operators.from_sparse(ours(3, 2, torch.float32).T),
        ValueError,
        "stores no transpose; build it with sparse.from_pairs",
    ),
    "SciPy integers": (
        lambda: operators.from_scipy(np.eye(3, dtype=np.int64)),
        TypeError,
        "got torch.int64",
    ),
    "function to integers": (
        lambda: operators.jacobian(lambda x: x.double(), torch.ones(3)),
        TypeError,
        "f takes torch.float32 to torch.float64; a map has one dtype",
    ),
    "integer point": (
        lambda: operators.jacobian(lambda x: x, torch.ones(3, dtype=torch.int64)),
        TypeError,
        "got torch.int64",
    ),
    "composition": (
        lambda: operators.compose(eye, operators.from_matrix(torch.ones(2, 3))),
        ValueError,
        r"cannot apply a map of shape \(3, 3\) after one of \(2, 3\)",
    ),
    "sum": (
        lambda: operators.add(eye, operators.from_matrix(torch.ones(2, 3))),
        ValueError,
        r"cannot add maps of shapes \(3, 3\) and \(2, 3\)",
    ),
    "dtypes": (
        lambda: operators.add(eye, operators.from_matrix(torch.eye(3).double())),
        ValueError,
        "both maps must be of one dtype and device, got torch.float32",
    ),
    "block": (lambda: eye @ torch.ones(4, 1), ValueError, r"takes blocks of shape \(3, k\)"),
    "block dtype": (
        lambda: eye @ torch.ones(3, 1).double(),
        ValueError,
        "takes torch.float32 on cpu, got torch.float64 on cpu; convert one",
    ),
    "adjoint": (
        lambda: operators.check_adjoint(wrong_adjoint(), seeded(0)),
        ValueError,
        "rmatmat is not the adjoint of matmat",
    ),
    "adjoint's shape": (
        lambda: operators.check_adjoint(wrong_shape(), seeded(0)),
        ValueError,
        r"takes blocks \(3, 4\) to \(4, 4\) and back, this one gave \(4, 4\) and \(2, 4\)",
    ),
    "NaN": (
        lambda: operators.check_adjoint(not_finite(), seeded(0)),
        ValueError,
        r"a product of this map of shape \(3, 3\) is not finite; look for NaN",
    ),
    "adjoint, no probes": (
        lambda: operators.check_adjoint(eye, seeded(0), probes=0),
        ValueError,
        "probes must be at least 1, got 0; without one nothing is checked",
    ),
    "empty": (
        lambda: operators.check_estimable(operators.from_matrix(torch.ones(0, 3)), seeded(0)),
        ValueError,
        r"shape \(0, 3\) is empty, and has no norm to estimate",
    ),
    "half": (
        lambda: operators.check_estimable(
            operators.from_matrix(torch.ones(2, 3).half()), seeded(0)
        ),
        TypeError,
        "float32 or float64, got torch.float16; convert the map",
    ),
    "generator": (
        lambda: operators.check_estimable(
            LinearMap((1, 1), lambda x: x, lambda y: y, torch.float32, torch.device("meta")),
            seeded(0),
        ),
        ValueError,
        "the map is on meta and the generator on cpu; make it with",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_wrong_is_said(name: str) -> None:
    call, kind, message = REFUSED[name]
    with pytest.raises(kind, match=message):
        call()


def test_the_optional_package_is_not_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch_sparse", None)
    operators.from_sparse(thin(3, 2).to_sparse())
