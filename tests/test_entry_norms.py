"""Bounds without chance, and the Frobenius norm."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hyperrank import norms
from hyperrank.operators import from_factors, from_matrix

BOUNDS = (norms.one_infinity, norms.gram_row_sum, norms.gelfand)


def seeded(number: int) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def dense(*shape: int, number: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=seeded(number))


@given(st.integers(1, 8), st.integers(1, 8), st.integers(0, 999))
def test_never_below_the_norm(m: int, n: int, number: int) -> None:
    matrix = dense(3, m, n, number=number)
    true = torch.linalg.matrix_norm(matrix, 2)
    for bound in BOUNDS:
        assert (bound(matrix) >= true * (1 - 1e-12)).all()
    assert (norms.gram_row_sum(matrix) <= norms.one_infinity(matrix) * (1 + 1e-12)).all()


def test_gelfand_closes_in() -> None:
    matrix = dense(30, 20)
    true = torch.linalg.matrix_norm(matrix, 2)
    torch.testing.assert_close(norms.gelfand(matrix, 0), (matrix.T @ matrix).norm().sqrt())
    for doublings in range(7):
        ratio = float(norms.gelfand(matrix, doublings) / true)
        assert 1 <= ratio <= 20 ** (0.25 / 2**doublings)


@pytest.mark.parametrize("size", [0.0, 1e-30, 1e30])
def test_gelfand_keeps_its_digits(size: float) -> None:
    matrix = dense(9, 6).float()
    bound = norms.gelfand(matrix * size, 5)
    torch.testing.assert_close(bound, size * norms.gelfand(matrix, 5))


def test_nonnegative_regular_matrices_meet_the_first_bound() -> None:
    torch.testing.assert_close(norms.one_infinity(torch.ones(4, 9)), torch.tensor(6.0))


@pytest.mark.parametrize("bound", BOUNDS)
def test_bounds_are_differentiable(bound) -> None:
    torch.autograd.gradcheck(bound, dense(4, 3).requires_grad_())


def test_negative_doublings_are_refused() -> None:
    with pytest.raises(ValueError, match="doublings must not be negative, got -1"):
        norms.gelfand(torch.ones(2, 2), -1)


def test_frobenius_is_exact_where_it_can_be() -> None:
    u, v = dense(40, 3), dense(30, 3, number=1)
    true = (u @ v.T).norm()
    through, products = norms.frobenius(from_factors(u, v), generator=seeded(0)), 0
    torch.testing.assert_close(through.value, true)
    assert (through.products, float(through.error)) == (products, 0)
    for matrix in (u @ v.T, v @ u.T):
        found = norms.frobenius(from_matrix(matrix), budget=30, generator=seeded(0))
        torch.testing.assert_close(found.value, true)
        assert (found.products, float(found.error)) == (30, 0)


def test_frobenius_error_covers() -> None:
    """Four hundred runs, three standard errors: fewer than 380 inside is a defect."""
    matrix = dense(40, 30)
    true, inside = float(matrix.norm()), 0
    for number in range(400):
        found = norms.frobenius(from_matrix(matrix), 16, generator=seeded(number))
        inside += abs(float(found.value) - true) < 3 * float(found.error)
        assert found.products == 16
    assert inside >= 380


@pytest.mark.parametrize("budget", [5, 64])
def test_frobenius_is_differentiable(budget: int) -> None:
    def value(matrix: torch.Tensor) -> torch.Tensor:
        return norms.frobenius(from_matrix(matrix), budget, generator=seeded(0)).value

    torch.autograd.gradcheck(value, dense(9, 7).requires_grad_())


def test_frobenius_says_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="budget must be at least 2 products, got 1"):
        norms.frobenius(from_matrix(torch.eye(3)), 1, generator=seeded(0))
    with pytest.raises(ValueError, match=r"shape \(2, 2\) is not finite"):
        norms.frobenius(from_matrix(torch.full((2, 2), math.nan)), generator=seeded(0))
