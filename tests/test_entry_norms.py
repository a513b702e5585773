"""Bounds without chance, and the Frobenius norm."""

from __future__ import annotations

import math
from inspect import unwrap

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hyperrank import norms
from hyperrank.operators import from_factors, from_matrix

F32, F64 = torch.float32, torch.float64
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


@pytest.mark.parametrize("bound", BOUNDS)
@pytest.mark.parametrize(
    ("dtype", "size"),
    [(F32, 0.0), (F32, 1e-30), (F32, 1e30), (F64, 0.0), (F64, 1e-290), (F64, 1e290)],
    ids=str,
)
def test_bounds_keep_their_digits(bound, dtype: torch.dtype, size: float) -> None:
    matrix = dense(9, 6).to(dtype)
    wanted = bound(matrix)
    matrix = (matrix * size).requires_grad_()
    found = bound(matrix)
    torch.testing.assert_close(found.detach(), size * wanted, rtol=1e-5, atol=0)
    slope = torch.autograd.grad(found, matrix)[0]
    assert slope.isfinite().all()
    assert slope.any() == (size > 0)


@pytest.mark.parametrize("bound", BOUNDS)
def test_bounds_say_what_is_wrong(bound) -> None:
    """By the doors themselves: under this suite the checks of types speak before them."""
    door = unwrap(bound)
    for shape in ((0, 3), (3, 0), (2, 3, 0), (3,)):
        with pytest.raises(ValueError, match="matrices of at least one row and column, got shape"):
            door(torch.ones(shape))
    with pytest.raises(TypeError, match=r"need float32 or float64, got torch.int64; convert"):
        door(torch.ones(2, 3, dtype=torch.int64))
    for entry in (math.nan, math.inf, -math.inf):
        with pytest.raises(ValueError, match="NaN or infinity in the matrix"):
            door(torch.tensor([[1.0, entry], [0.0, 2.0]]))


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


@pytest.mark.parametrize(
    ("dtype", "size"), [(F32, 1e-30), (F32, 1e18), (F32, 1e30), (F64, 1e-290), (F64, 1e290)]
)
@pytest.mark.parametrize("budget", [5, 64])
def test_frobenius_at_every_scale(dtype: torch.dtype, size: float, budget: int) -> None:
    matrix = dense(30, 20).to(dtype)
    plain = norms.frobenius(from_matrix(matrix), budget, generator=seeded(0))
    found = norms.frobenius(from_matrix(matrix * size), budget, generator=seeded(0))
    torch.testing.assert_close(found.value, plain.value * size, rtol=1e-5, atol=0)
    torch.testing.assert_close(found.error, plain.error * size, rtol=1e-4, atol=0)
    assert found.value.dtype == found.error.dtype == dtype


@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
def test_frobenius_of_factors_of_every_size(dtype: torch.dtype) -> None:
    u, v = dense(9, 3).to(dtype), dense(7, 3, number=1).to(dtype)
    true = (u.double() @ v.double().T).norm().to(dtype)
    large = 1e18 if dtype == F32 else 1e150
    for first, second in ((large, large), (1 / large, 1 / large), (large, 1 / large)):
        found = norms.frobenius(from_factors(u * first, v * second), generator=seeded(0))
        torch.testing.assert_close(found.value, true * first * second, rtol=1e-5, atol=0)


def test_frobenius_of_columns_that_cancel() -> None:
    """Through the Gram matrices in float32 only noise would be left."""
    column, other = dense(50, 1).float(), dense(40, 1, number=1).float()
    u = torch.cat([column, column + 1e-4 * dense(50, 1, number=2).float()], 1)
    v = torch.cat([other, -other], 1)
    found = norms.frobenius(from_factors(u, v), generator=seeded(0))
    torch.testing.assert_close(found.value, (u.double() @ v.double().T).norm().float())


@pytest.mark.parametrize("budget", [5, 64])
def test_frobenius_of_a_zero_matrix_has_a_slope_of_zero(budget: int) -> None:
    zero = torch.zeros(9, 7, requires_grad=True)
    for a in (from_matrix(zero), from_factors(zero, torch.ones(5, 7))):
        found = norms.frobenius(a, budget, generator=seeded(0))
        assert float(found.value.detach()) == float(found.error) == 0
        assert not torch.autograd.grad(found.value, zero)[0].any()
    u, v = dense(5, 2).requires_grad_(), dense(4, 2, number=1).requires_grad_()
    torch.autograd.gradcheck(
        lambda x, y: norms.frobenius(from_factors(x, y), generator=seeded(0)).value, (u, v)
    )


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
    for budget in (2, 64):
        for entry in (math.nan, math.inf):
            bad = torch.full((4, 3), entry)
            for a in (from_matrix(bad), from_factors(bad, torch.ones(5, 3))):
                with pytest.raises(ValueError, match=r"is not finite; look for NaN"):
                    norms.frobenius(a, budget, generator=seeded(0))
