"""Calibrations: their distributions by simulation, the published table, the Krylov certificate."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hyperrank.calibration import (
    chi_square,
    chi_square_quantile,
    half_normal,
    halko,
    krylov_bound,
    lanczos_factor,
    overlap_quantile,
)
from reference import golub_kahan_plain

CALIBRATIONS = {"halko": halko, "half_normal": half_normal, "chi_square": chi_square}


def simulated(n: int, probes: int, power: int, trials: int, spectrum: np.ndarray) -> np.ndarray:
    """Norms ``|M_q w_j|`` for a diagonal matrix: (trials, probes)."""
    draws = np.random.default_rng(0).standard_normal((trials, probes, n))
    return np.sqrt((draws**2 * spectrum ** (2 * power)).sum(2))


@pytest.mark.parametrize("name", CALIBRATIONS)
@pytest.mark.parametrize("power", [1, 3])
def test_bounds_of_a_rank_one_map_fail_as_often_as_allowed(name: str, power: int) -> None:
    """Rank one is the worst case: all but Halko's constant are exact there."""
    delta, trials = 0.1, 2000
    norms = simulated(1, 4, power, trials, np.array([1.0]))
    bounds = np.array([CALIBRATIONS[name](row.tolist(), power, delta) for row in norms])
    spread = 3 * math.sqrt(delta * (1 - delta) / trials)
    failures = (bounds < 1).mean()
    assert failures < delta + spread
    if name != "halko":
        assert failures > delta - spread


@pytest.mark.parametrize("name", CALIBRATIONS)
def test_bounds_scale_as_the_root(name: str) -> None:
    calibration = CALIBRATIONS[name]
    assert calibration([8.0, 16.0], 3, 0.01) == pytest.approx(2 * calibration([1.0, 2.0], 3, 0.01))


# numerics of section 2.3: n = 1000, delta = 1 %, 20 products; mean of bound over norm
TABLE = {
    "0.7^i": (0.7 ** np.arange(1000), {"halko": 2.50, "half_normal": 1.92, "chi_square": 2.17}),
    "1/i": (1 / np.arange(1, 1001), {"halko": 2.32, "half_normal": 1.83, "chi_square": 1.98}),
    "1, .5": (
        np.where(np.arange(1000) == 0, 1.0, 0.5),
        {"halko": 16.6, "half_normal": 13.0, "chi_square": 24.6},
    ),
}


@pytest.mark.parametrize("name", TABLE)
def test_the_published_comparison(name: str) -> None:
    spectrum, means = TABLE[name]
    norms = simulated(1000, 20, 1, 100, spectrum)
    for which, mean in means.items():
        bounds = [CALIBRATIONS[which](row.tolist(), 1, 0.01) for row in norms]
        assert np.mean(bounds) == pytest.approx(mean, rel=0.06)


def test_powers_pay() -> None:
    """The same table's block power columns: five vectors to the fourth, one to the twentieth."""
    spectrum = TABLE["0.7^i"][0]
    for probes, power, mean in ((5, 4, 1.30), (1, 20, 1.21)):
        norms = simulated(1000, probes, power, 200, spectrum)
        bounds = [chi_square(row.tolist(), power, 0.01) for row in norms]
        assert np.mean(bounds) == pytest.approx(mean, rel=0.05)


def test_quantiles_are_those_of_the_draws() -> None:
    draws = np.random.default_rng(1).standard_normal((20_000, 5))
    assert ((draws**2).sum(1) < chi_square_quantile(0.05, 5)).mean() == pytest.approx(
        0.05, abs=5e-3
    )
    overlap = draws[:, 0] ** 2 / (draws**2).sum(1)
    assert (overlap < overlap_quantile(0.05, 5)).mean() == pytest.approx(0.05, abs=5e-3)
    assert overlap_quantile(0.05, 1) == 1


def test_lanczos_factor_is_the_published_one() -> None:
    assert lanczos_factor(19, 1000, 0.01) == pytest.approx(1.10, abs=5e-3)
    assert lanczos_factor(39, 1000, 0.01) == pytest.approx(1.024, abs=1e-3)
    for n, products in ((10**3, 77), (10**5, 93)):
        assert lanczos_factor(products, n, 1e-3) <= 1.01 < lanczos_factor(products - 2, n, 1e-3)


@given(st.integers(2, 12), st.integers(0, 10), st.integers(1, 9), st.integers(0, 10_000))
def test_no_overlap_hides_a_norm_above_the_certificate(
    n: int, more: int, products: int, number: int
) -> None:
    """With the true overlap as the floor, the bound holds always, and never above the a-priori."""
    generator = torch.Generator().manual_seed(number)
    a = torch.randn(n + more, n, dtype=torch.float64, generator=generator)
    v = torch.randn(n, dtype=torch.float64, generator=generator)
    products = min(products, 2 * n - 1)
    entries = golub_kahan_plain(a, v, products)
    _, values, right = torch.linalg.svd(a)
    jordan = np.diag(entries, 1) + np.diag(entries, -1)
    lowest = float(np.linalg.eigvalsh(jordan)[-1])
    floor = float((right[0] @ v / v.norm()) ** 2)
    bound = krylov_bound(entries, lowest, floor)
    assert bound >= float(values[0]) * (1 - 1e-9)
    if products % 2:
        factor = math.cosh(math.acosh(floor**-0.5) / products)
        assert bound <= factor * lowest * (1 + 1e-9)


def test_a_smaller_floor_gives_a_larger_bound() -> None:
    bounds = [krylov_bound([1.0, 0.5, 0.4], 1.2, floor) for floor in (0.1, 1e-3, 1e-6)]
    assert 1.2 < bounds[0] < bounds[1] < bounds[2]
