"""The largest row and column: true norms of true rows, found where they should be."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hyperrank import norms, row_norms
from hyperrank.operators import LinearMap, counted, from_factors, from_matrix, jacobian
from reference import adaptive_power_row

METHODS = ("auto", "exact", "twinest", "twinest++", "rowsketch", "xrownorm")
FLOATS = (torch.float32, torch.float64)


def seeded(number: int) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def dense(m: int, n: int, number: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(m, n, dtype=dtype, generator=seeded(number))


@settings(max_examples=40)
@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(14, 50),
    st.integers(0, 999),
    st.sampled_from(METHODS),
    st.sampled_from(FLOATS),
)
def test_never_above_the_norm_and_within_the_budget(
    m: int, n: int, budget: int, number: int, method: str, dtype: torch.dtype
) -> None:
    matrix = dense(m, n, number, dtype)
    made, count = counted(from_matrix(matrix))
    with torch.no_grad():
        found = norms.two_to_infinity(made, budget, generator=seeded(number), method=method)
    sizes = matrix.double().norm(dim=1)
    rounding = 10 * torch.finfo(dtype).eps
    assert float(found.value) <= float(sizes.max()) * (1 + rounding)
    assert float(found.value) == pytest.approx(float(sizes[found.row]), rel=rounding)
    assert found.row == int(found.rows[0])
    assert found.products == count()
    assert method == "exact" or found.products <= budget
    assert found.upper >= found.value


@pytest.mark.parametrize("shape", [(30, 50), (50, 30), (1, 40), (40, 1), (1, 1)], ids=str)
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_exact_when_the_budget_reaches_the_smaller_side(
    shape: tuple[int, int], dtype: torch.dtype
) -> None:
    matrix = dense(*shape, dtype=dtype)
    found = norms.two_to_infinity(from_matrix(matrix), min(shape), generator=seeded(0))
    torch.testing.assert_close(found.value, matrix.norm(dim=1).max())
    assert float(found.upper) == float(found.value)
    assert found.row == int(matrix.norm(dim=1).argmax())
    columns = norms.one_to_two(from_matrix(matrix), min(shape), generator=seeded(0))
    torch.testing.assert_close(columns.value, matrix.norm(dim=0).max())
    assert columns.row == int(matrix.norm(dim=0).argmax())


def test_many_rows_are_evaluated_in_blocks() -> None:
    for matrix in (dense(600, 700), dense(700, 600)):
        found = norms.two_to_infinity(from_matrix(matrix), generator=seeded(0), method="exact")
        torch.testing.assert_close(found.value, matrix.norm(dim=1).max())


@pytest.mark.parametrize("method", ["auto", "gram"])
def test_factored_maps_are_exact_through_the_gram_matrix(method: str) -> None:
    u, v = dense(500, 6), dense(400, 6, 1)
    made, count = counted(from_factors(u, v))
    found = norms.two_to_infinity(made, 2, generator=seeded(0), method=method)
    torch.testing.assert_close(found.value, (u @ v.T).norm(dim=1).max())
    assert found.products == count() == 1
    assert float(found.upper) == float(found.value)
    columns = norms.one_to_two(from_factors(u, v), 2, generator=seeded(0), method=method)
    torch.testing.assert_close(columns.value, (u @ v.T).norm(dim=0).max())


def test_the_adaptive_power_method_locks_on_the_wrong_row_and_ours_does_not() -> None:
    """diag(2, 1): with probability 2/pi arctan(1/2) = 29.5 % (arXiv:2508.04444)."""
    matrix = torch.diag(torch.tensor([2.0, 1.0]))
    wrong = sum(
        adaptive_power_row(matrix, torch.randn(2, generator=seeded(k)), 20) == 1
        for k in range(2000)
    )
    share = 2 / math.pi * math.atan(0.5)
    assert wrong / 2000 == pytest.approx(share, abs=3 * math.sqrt(share * (1 - share) / 2000))
    wide = torch.zeros(2, 50)
    wide[:, :2] = matrix
    for method in ("auto", "twinest"):
        for k in range(50):
            found = norms.two_to_infinity(
                from_matrix(wide), 4, generator=seeded(k), method=method, candidates=1
            )
            assert (found.row, float(found.value)) == (0, 2.0)


def test_candidates_pay() -> None:
    """One row exactly, as published, against eight; the same sketch ranks them."""
    matrix = dense(300, 200)
    true, misses = float(matrix.norm(dim=1).max()), {1: 0.0, 8: 0.0}
    for candidates in misses:
        for k in range(30):
            found = norms.two_to_infinity(
                from_matrix(matrix),
                32 + candidates,
                generator=seeded(k),
                method="rowsketch",
                candidates=candidates,
            )
            misses[candidates] += 1 - float(found.value) / true
    assert misses[8] < misses[1] / 2


@pytest.mark.parametrize("method", ["auto", "rowsketch", "xrownorm"])
def test_the_bracket_holds_as_often_as_promised(method: str) -> None:
    """A hundred and fifty runs at 10 %, three standard errors: fixed in advance."""
    matrix, alpha, runs, broken = dense(100, 80), 0.1, 150, 0
    true = float(matrix.norm(dim=1).max())
    with torch.no_grad():
        for k in range(runs):
            found = norms.two_to_infinity(
                from_matrix(matrix), 40, generator=seeded(k), method=method, alpha=alpha
            )
            broken += float(found.upper) < true
            assert method != "rowsketch" or float(found.upper) < 2.5 * true
    assert broken <= runs * alpha + 3 * math.sqrt(runs * alpha * (1 - alpha))


def test_without_alpha_there_is_no_bound() -> None:
    found = norms.two_to_infinity(from_matrix(dense(50, 40)), 20, generator=seeded(0))
    assert math.isinf(float(found.upper))


def test_warm_rows_follow_a_moving_map() -> None:
    """The rows of the last step alone, no sketch: eight products a step."""
    matrix, step = dense(300, 200), 0.01 * dense(300, 200, 1)
    rows = norms.two_to_infinity(from_matrix(matrix), 200, generator=seeded(0)).rows
    assert len(rows) == 8
    with torch.no_grad():
        for k in range(1, 6):
            moved = matrix + k * step
            found = norms.two_to_infinity(from_matrix(moved), 8, generator=seeded(k), warm=rows)
            assert found.products == 8
            assert float(found.value) == pytest.approx(float(moved[rows].norm(dim=1).max()))
            rows = found.rows
    best = int(matrix.norm(dim=1).argmax())
    warm = torch.tensor([best, best, 3])
    found = norms.two_to_infinity(from_matrix(matrix), 20, generator=seeded(0), warm=warm)
    assert found.row == best
    assert {best, 3} <= set(found.rows.tolist())
    assert len(found.rows.unique()) == len(found.rows)


@pytest.mark.parametrize("method", METHODS)
def test_a_long_training_run_never_outgrows_its_budget(method: str) -> None:
    matrix = dense(100, 60)
    rows = torch.zeros(0, dtype=torch.int64)
    with torch.no_grad():
        for k in range(15):
            found = norms.two_to_infinity(
                from_matrix(matrix), 32, generator=seeded(k), method=method, warm=rows
            )
            rows = found.rows
            assert len(rows) == 8
            assert method == "exact" or found.products <= 32


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("budget", [1, 4, 5, 6, 7, 8, 9])
def test_warm_rows_alone_do_where_nothing_else_is_left(method: str, budget: int) -> None:
    matrix = dense(40, 30)
    warm = torch.arange(4, dtype=torch.int32)
    for given_rows in (warm, warm.repeat(3), warm.long()):
        with torch.no_grad():
            found = norms.two_to_infinity(
                from_matrix(matrix), budget, generator=seeded(0), method=method, warm=given_rows
            )
        assert method == "exact" or found.products <= budget
        assert float(found.value) >= float(matrix[: min(4, budget)].norm(dim=1).max()) * (1 - 1e-12)
    assert found.rows.dtype == torch.int64


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("norm", [norms.two_to_infinity, norms.one_to_two])
def test_the_gradient_flows_through_the_row(method: str, norm) -> None:
    def value(matrix: Tensor) -> Tensor:
        return norm(from_matrix(matrix), 14, generator=seeded(0), method=method).value

    matrix = dense(16, 15)
    matrix[3] *= 3
    matrix[:, 2] *= 3
    matrix.requires_grad_()
    if method == "auto":
        torch.autograd.gradcheck(value, matrix)
    slope = torch.autograd.grad(value(matrix), matrix)[0]
    line = slope.nonzero()[:, 0] if norm is norms.two_to_infinity else slope.nonzero()[:, 1]
    assert len(line.unique()) == 1


def test_the_gradient_of_factors_and_of_a_jacobian() -> None:
    u, v = dense(7, 2).requires_grad_(), dense(5, 2, 1).requires_grad_()
    torch.autograd.gradcheck(
        lambda x, y: norms.two_to_infinity(from_factors(x, y), generator=seeded(0)).value, (u, v)
    )
    weight, point = dense(4, 5).requires_grad_(), dense(5, 1, 1)[:, 0]

    def penalty(w: Tensor) -> Tensor:
        made = jacobian(lambda x: (w @ x).tanh(), point)
        return norms.two_to_infinity(made, generator=seeded(0)).value

    torch.autograd.gradcheck(penalty, weight)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_zero_and_extreme_scales(method: str, dtype: torch.dtype) -> None:
    zero = torch.zeros(40, 30, dtype=dtype, requires_grad=True)
    found = norms.two_to_infinity(from_matrix(zero), 20, generator=seeded(0), method=method)
    assert float(found.value.detach()) == 0
    assert not torch.autograd.grad(found.value, zero)[0].any()
    matrix = dense(40, 30, dtype=dtype)
    for size in (1e-25, 1e25):
        found = norms.two_to_infinity(
            from_matrix(matrix * size), 20, generator=seeded(0), method=method
        )
        want = matrix.norm(dim=1)[found.row] * size
        torch.testing.assert_close(found.value, want, rtol=1e-5, atol=0)


good = from_matrix(dense(40, 30))
REFUSED: dict[str, tuple[LinearMap, dict, str]] = {
    "gram": (good, {"method": "gram"}, "'gram' needs a map of operators.from_factors; use 'auto'"),
    "budget": (good, {"budget": 0}, "budget must be at least 1, got 0"),
    "one product": (good, {"budget": 1}, "a budget of 1 leaves no product to choose rows by"),
    "candidates": (good, {"candidates": 0}, "candidates must be at least 1, got 0"),
    "alpha": (good, {"alpha": 0.0}, "alpha is a probability between 0 and 1, got 0.0"),
    "no bound": (
        good,
        {"method": "twinest", "alpha": 0.1},
        "'twinest' draws no Gaussian probes and has no upper bound; use 'rowsketch'",
    ),
    "too little": (
        good,
        {"method": "twinest++", "budget": 10},
        r"twinest\+\+ needs at least 6 products besides the candidate rows, got 5",
    ),
    "warm": (
        good,
        {"warm": torch.tensor([3, 40]), "budget": 20},
        r"the 2 warm rows run from 3 to 40, but only 0..39 exist",
    ),
    "empty": (from_matrix(torch.ones(0, 3)), {}, r"shape \(0, 3\) is empty"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_wrong_is_said(name: str) -> None:
    a, settings, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        norms.two_to_infinity(a, generator=seeded(0), **settings)


def test_an_unknown_method_is_refused() -> None:
    """By the inner check: under this suite the type of the outer door speaks first."""
    with pytest.raises(ValueError, match=r"method is one of auto, exact, .* got 'best'"):
        row_norms._check(good, 64, "best", 8, None)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("entry", [math.nan, math.inf])
def test_what_is_not_finite_is_refused(method: str, entry: float) -> None:
    matrix = dense(40, 30)
    matrix[5, 7] = entry
    with pytest.raises(ValueError, match=r"shape \(40, 30\) is not finite; look for NaN"):
        norms.two_to_infinity(from_matrix(matrix), 20, generator=seeded(0), method=method)
