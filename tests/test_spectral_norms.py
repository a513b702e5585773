"""Spectral norm: brackets that hold, as rarely broken as promised, over every kind of map."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hyperrank import norms
from hyperrank.calibration import lanczos_factor, overlap_quantile
from hyperrank.operators import LinearMap, counted, from_factors, from_matrix

FLOATS = (torch.float32, torch.float64)
ROUTES: dict[str, Callable[..., norms.SpectralNorm]] = {
    "spectral": norms.spectral,
    "block_power": norms.block_power,
    "power": norms.power,
}


def seeded(number: int) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def dense(m: int, n: int, number: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(m, n, dtype=dtype, generator=seeded(number))


def exact(matrix: Tensor) -> float:
    return float(torch.linalg.matrix_norm(matrix.double(), 2))


def diagonal(values: Tensor) -> LinearMap:
    """A spectrum without its vectors: the start is as random in one basis as in another."""

    def product(x: Tensor) -> Tensor:
        return values[:, None] * x

    return LinearMap((len(values), len(values)), product, product, values.dtype, values.device)


@settings(max_examples=25)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 999), st.sampled_from(FLOATS))
def test_never_above_the_norm(m: int, n: int, number: int, dtype: torch.dtype) -> None:
    matrix = dense(m, n, number, dtype)
    rounding = 1 + 20 * torch.finfo(dtype).eps
    for route in ROUTES.values():
        found = route(from_matrix(matrix), generator=seeded(number))
        assert float(found.lower) <= exact(matrix) * rounding
        assert float(found.upper) >= float(found.lower)
        assert (found.left.shape, found.right.shape) == ((m, 1), (n, 1))
        size = found.left.T @ matrix @ found.right
        torch.testing.assert_close(size[0, 0], found.lower)
        for vector in (found.left, found.right):
            torch.testing.assert_close(vector.norm(), torch.ones((), dtype=dtype))


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("shape", [(60, 40), (40, 60), (1, 30), (30, 1), (1, 1)], ids=str)
def test_the_bracket_is_as_tight_as_asked(shape: tuple[int, int], dtype: torch.dtype) -> None:
    matrix = dense(*shape, dtype=dtype)
    made, count = counted(from_matrix(matrix))
    for tol in (0.3, 0.05, 1e-3):
        before = count()
        found = norms.spectral(made, tol=tol, generator=seeded(1))
        assert found.products == count() - before
        assert found.upper <= (1 + tol) * found.lower * (1 + 1e-6)
        assert float(found.lower) * (1 - 1e-6) <= exact(matrix) <= float(found.upper)


def test_it_stops_before_the_promise() -> None:
    """A decaying spectrum costs half of the worst case, a flat one no more than it."""
    for values, part in (
        (1 / torch.arange(1, 1001.0).double(), 0.5),
        (torch.linspace(0, 1, 1000, dtype=torch.float64), 1),
    ):
        with torch.no_grad():
            found = norms.spectral(diagonal(values), tol=0.01, generator=seeded(0))
        worst = next(k for k in range(1, 999, 2) if lanczos_factor(k, 1000, 5e-4) <= 1.01)
        assert found.products <= part * worst
        assert float(found.lower) <= 1 <= float(found.upper)


def chebyshev_spectrum(n: int, gap: float) -> Tensor:
    """Squares at Chebyshev points of [0, 1 - gap], and 1: near the worst case."""
    angles = torch.arange(n - 1, dtype=torch.float64) + 0.5
    squares = (1 - gap) * (1 + torch.cos(angles * math.pi / (n - 1))) / 2
    return torch.cat([torch.ones(1, dtype=torch.float64), squares]).sqrt()


@pytest.mark.parametrize("budget", [4, 7])
def test_violations_are_as_rare_as_promised(budget: int) -> None:
    """Two hundred trials at 10 %, three standard errors: fixed in advance."""
    delta, trials, a = 0.1, 200, diagonal(chebyshev_spectrum(200, 0.2))
    with torch.no_grad():
        uppers = [
            float(norms.spectral(a, 1e-6, delta, generator=seeded(k), budget=budget).upper)
            for k in range(trials)
        ]
    broken = sum(upper < 1 for upper in uppers)
    assert broken <= trials * delta + 3 * math.sqrt(trials * delta * (1 - delta))


def test_violations_of_block_power_are_as_rare_as_promised() -> None:
    delta, trials, a = 0.1, 400, diagonal(0.5 ** torch.arange(50, dtype=torch.float64))
    with torch.no_grad():
        uppers = [
            float(norms.block_power(a, probes=2, delta=delta, generator=seeded(k)).upper)
            for k in range(trials)
        ]
    broken = sum(upper < 1 for upper in uppers)
    assert 1 <= broken <= trials * delta + 3 * math.sqrt(trials * delta * (1 - delta))


@pytest.mark.parametrize("calibration", [norms.halko, norms.half_normal, norms.chi_square])
def test_a_calibration_is_one_function(calibration: norms.Calibration) -> None:
    matrix = dense(20, 30)
    found = norms.block_power(
        from_matrix(matrix), probes=5, power=3, calibration=calibration, generator=seeded(0)
    )
    assert float(found.lower) <= exact(matrix) <= float(found.upper)
    assert found.products == 16  # 5 * 3, and one for the gradient


@pytest.mark.parametrize("route", ROUTES)
def test_the_gradient_is_the_singular_pair(route: str) -> None:
    matrix = (dense(6, 4) + 3).requires_grad_()
    settings: dict[str, Any] = {
        "spectral": {"tol": 1e-9},
        "block_power": {"power": 40},
        "power": {"iterations": 40},
    }[route]

    def lower(x: Tensor) -> Tensor:
        return ROUTES[route](from_matrix(x), generator=seeded(0), **settings).lower

    torch.autograd.gradcheck(lower, matrix)
    found = ROUTES[route](from_matrix(matrix), generator=seeded(0), **settings)
    slope = torch.autograd.grad(found.lower, matrix)[0]
    torch.testing.assert_close(slope, found.left @ found.right.T)


def test_nothing_is_spent_on_a_gradient_that_nobody_records() -> None:
    a = from_matrix(dense(30, 20))
    recorded = norms.spectral(a, generator=seeded(0))
    with torch.no_grad():
        plain = norms.spectral(a, generator=seeded(0))
    assert plain.products == recorded.products - 1
    torch.testing.assert_close(plain.lower, recorded.lower)


def test_a_warm_start_follows_a_moving_map() -> None:
    matrix, step = dense(40, 30), 1e-3 * dense(40, 30, 1)
    right = norms.power(from_matrix(matrix), iterations=200, generator=seeded(0)).right
    for k in range(1, 5):
        moved = matrix + k * step
        found = norms.power(from_matrix(moved), iterations=1, generator=seeded(0), start=right)
        right = found.right
        assert float(found.lower) > 0.999 * exact(moved)
        assert math.isinf(float(found.upper))


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("size", [0.0, 1.0])
def test_products_are_those_made(route: str, size: float) -> None:
    made, count = counted(from_matrix(size * dense(12, 9)))
    found = ROUTES[route](made, generator=seeded(0))
    assert found.products == count()


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_zero_and_extreme_scales(route: str, dtype: torch.dtype) -> None:
    zero = ROUTES[route](from_matrix(torch.zeros(5, 3, dtype=dtype)), generator=seeded(0))
    assert float(zero.lower) == 0
    assert route == "power" or float(zero.upper) == 0
    matrix = dense(12, 9, dtype=dtype)
    plain = ROUTES[route](from_matrix(matrix), generator=seeded(0))
    beyond = () if dtype == torch.float32 else (1e-290, 1e-170, 1e170, 1e290)  # squares leave
    for size in (1e-25, 1e25, *beyond):
        found = ROUTES[route](from_matrix(matrix * size), generator=seeded(0))
        torch.testing.assert_close(found.lower / size, plain.lower, rtol=1e-4, atol=0)
        torch.testing.assert_close(found.upper / size, plain.upper, rtol=1e-3, atol=0)


def test_a_bracket_is_never_inside_out() -> None:
    for number in range(500, 800):
        found = norms.block_power(from_matrix(torch.ones(1, 5)), generator=seeded(number))
        assert found.upper >= found.lower
        assert float(found.lower) == pytest.approx(math.sqrt(5))


@pytest.mark.parametrize("calibration", [norms.halko, norms.half_normal, norms.chi_square])
def test_the_smallest_delta_still_gives_a_bound(calibration: norms.Calibration) -> None:
    a = from_matrix(dense(9, 6))
    found = norms.block_power(
        a, probes=1, delta=1e-100, calibration=calibration, generator=seeded(0)
    )
    assert math.isfinite(float(found.upper))
    assert math.isfinite(float(norms.spectral(a, delta=1e-100, generator=seeded(0)).upper))


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("n", [10, 50])
def test_the_upper_end_allows_for_what_roundoff_hides(n: int, dtype: torch.dtype) -> None:
    """I + t e e^T looks like I where t times the overlap of start and e is two roundings."""
    hidden = torch.finfo(dtype).eps / math.sqrt(overlap_quantile(5e-4, n))
    for number in range(10):
        a = from_matrix(torch.eye(n, dtype=dtype))
        found = norms.spectral(a, tol=1e-12, delta=1e-3, generator=seeded(number))
        assert float(found.upper) > 1 + 0.9 * hidden


@pytest.mark.parametrize("delta", [1e-3, 0.2])
def test_half_of_delta_is_kept_in_reserve(delta: float) -> None:
    """After one product the bracket is the quantile's root, and a bit for roundoff."""
    with torch.no_grad():
        found = norms.spectral(
            from_matrix(dense(60, 40)), 1e-6, delta, generator=seeded(0), budget=1
        )
    factor = overlap_quantile(delta / 2, 40) ** -0.5
    assert float(found.upper / found.lower) == pytest.approx(factor, rel=1e-12)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_low_rank_and_equal_values_end_early(dtype: torch.dtype) -> None:
    """Where the Krylov space is exhausted, the bracket closes to roundoff."""
    for a, norm in (
        (from_factors(dense(300, 2, 0, dtype), dense(200, 2, 1, dtype)), None),
        (from_matrix(torch.eye(50, dtype=dtype)), 1.0),
    ):
        found = norms.spectral(a, tol=1e-12, generator=seeded(0))
        assert found.products <= 7
        true = norm or exact(a.matmat(torch.eye(a.shape[1], dtype=dtype)))
        assert float(found.lower) == pytest.approx(true, rel=1e-5)
        # in float32 an overlap of 1e-4 is not far above roundoff, and the bound says so
        widest = 1.01 if dtype == torch.float32 else 1 + 1e-6
        assert true * (1 - 1e-6) <= float(found.upper) <= true * widest


good = from_matrix(torch.eye(3))
REFUSED = {
    "tol": (lambda g: norms.spectral(good, 0.0, generator=g), "tol must be positive, got 0.0"),
    "NaN tol": (lambda g: norms.spectral(good, math.nan, generator=g), "tol must be positive"),
    "delta": (
        lambda g: norms.spectral(good, delta=1.0, generator=g),
        "delta is a probability between 0 and 1, got 1.0",
    ),
    "tiny delta": (
        lambda g: norms.block_power(good, delta=1e-170, generator=g),
        "delta must be at least 1e-100, got 1e-170; the quantile of a smaller one underflows",
    ),
    "budget": (
        lambda g: norms.spectral(good, budget=0, generator=g),
        "budget must be at least one product, got 0",
    ),
    "probes": (
        lambda g: norms.block_power(good, probes=0, generator=g),
        "probes must be at least 1, got 0",
    ),
    "power": (lambda g: norms.block_power(good, power=0, generator=g), "power must be at least 1"),
    "iterations": (
        lambda g: norms.power(good, iterations=-1, generator=g),
        "iterations must not be negative, got -1",
    ),
    "start": (
        lambda g: norms.power(good, start=torch.ones(2, 1), generator=g),
        r"start must have shape \(3, 1\), got \(2, 1\)",
    ),
    "start's dtype": (
        lambda g: norms.power(good, start=torch.ones(3, 1).double(), generator=g),
        "start must be torch.float32 on cpu as the map is, got torch.float64 on cpu; convert",
    ),
    "empty": (
        lambda g: norms.spectral(from_matrix(torch.ones(3, 0)), generator=g),
        r"shape \(3, 0\) is empty",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_wrong_is_said(name: str) -> None:
    call, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        call(seeded(0))


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("entry", [math.nan, math.inf])
def test_what_is_not_finite_is_refused(route: str, entry: float) -> None:
    matrix = torch.ones(4, 3)
    matrix[1, 1] = entry
    with pytest.raises(ValueError, match=r"shape \(4, 3\) is not finite; look for NaN"):
        ROUTES[route](from_matrix(matrix), generator=seeded(0))
