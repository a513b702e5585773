"""Estimates of squared row norms: unbiased, exact when they should be, bounded as promised."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from hyperrank import row_estimators
from hyperrank.operators import counted, from_matrix
from hyperrank.row_estimators import RowEstimates
from reference import xrownorm_plain

ESTIMATORS: dict[str, Callable[..., RowEstimates]] = {
    "twinest": row_estimators.twinest,
    "twinest++": row_estimators.twinest_plus,
    "rowsketch": row_estimators.row_sketch,
    "xrownorm": row_estimators.xrownorm,
    "adaptive": row_estimators.adaptive,
}


def seeded(number: int) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def dense(m: int, n: int, number: int = 0) -> Tensor:
    return torch.randn(m, n, dtype=torch.float64, generator=seeded(number))


def decaying(m: int, n: int, rate: float) -> Tensor:
    left, right = (torch.linalg.qr(dense(size, size, size)).Q for size in (m, n))
    k = min(m, n)
    return left[:, :k] * rate ** torch.arange(k, dtype=torch.float64) @ right[:, :k].T


def orthogonal_rows(m: int, n: int) -> Tensor:
    return torch.linalg.qr(dense(n, m)).Q.T * torch.linspace(1, 2, m, dtype=torch.float64)[:, None]


# one for every branch of the adaptive estimator
MATRICES = {
    "flat": lambda: dense(60, 50),
    "decaying": lambda: decaying(60, 50, 0.7),
    "orthogonal": lambda: orthogonal_rows(20, 100),
}


@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("name", ["twinest", "twinest++", "rowsketch", "xrownorm"])
def test_unbiased(name: str, matrix: str) -> None:
    """Mean of 300 runs within four and a half standard errors, in every row."""
    a = MATRICES[matrix]()
    runs = torch.stack(
        [ESTIMATORS[name](from_matrix(a), 18, seeded(k)).squares for k in range(300)]
    )
    error = runs.std(0) / 300**0.5
    assert ((runs.mean(0) - a.square().sum(1)).abs() <= 4.5 * error + 1e-9).all()


@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("products", [6, 13, 37])
def test_products_are_as_told_and_within_the_budget(name: str, matrix: str, products: int) -> None:
    made, count = counted(from_matrix(MATRICES[matrix]()))
    found = ESTIMATORS[name](made, products, seeded(0))
    assert found.products == count() <= products


def test_twinest_is_its_formula() -> None:
    a, number = dense(9, 7), 5
    signs = torch.randint(0, 2, (9, 4), generator=seeded(number)).double() * 2 - 1
    want = (signs * (a @ (a.T @ signs))).mean(1)
    torch.testing.assert_close(
        row_estimators.twinest(from_matrix(a), 8, seeded(number)).squares, want
    )


@pytest.mark.parametrize("shape", [(30, 20), (20, 30), (8, 9)])
@pytest.mark.parametrize("rate", [1.0, 0.8, 0.3])
def test_xrownorm_is_the_plain_leave_one_out(shape: tuple[int, int], rate: float) -> None:
    a, number, probes = decaying(*shape, rate), 3, 5
    drawn = torch.randn(shape[1], probes, dtype=torch.float64, generator=seeded(number))
    found = row_estimators.xrownorm(from_matrix(a), 3 * probes, seeded(number)).squares
    torch.testing.assert_close(found, xrownorm_plain(a, drawn), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", ["twinest++", "xrownorm", "adaptive"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_low_rank_is_exact(name: str, dtype: torch.dtype) -> None:
    a = (dense(80, 4) @ dense(4, 70, 1)).to(dtype)
    found = ESTIMATORS[name](from_matrix(a), 48, seeded(0)).squares
    torch.testing.assert_close(found, a.double().square().sum(1), rtol=1e-3, atol=1e-3)


def test_orthogonal_rows_are_exact_by_twinest() -> None:
    """No row disturbs another; the adaptive estimator finds that out from a pilot."""
    a = orthogonal_rows(20, 100)
    for name in ("twinest", "adaptive"):
        found = ESTIMATORS[name](from_matrix(a), 18, seeded(0)).squares
        torch.testing.assert_close(found, a.square().sum(1), rtol=1e-6, atol=0)


@pytest.mark.parametrize("matrix", MATRICES)
def test_the_adaptive_error_is_near_the_best(matrix: str) -> None:
    a = MATRICES[matrix]()
    true = a.square().sum(1)

    def error(name: str) -> float:
        runs = [ESTIMATORS[name](from_matrix(a), 36, seeded(k)).squares for k in range(40)]
        return float(sum(((run - true) / true).square().mean() for run in runs) / 40) ** 0.5

    best = min(error(name) for name in ESTIMATORS if name != "adaptive")
    assert error("adaptive") < 1.25 * best + 0.01


@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("name", ["rowsketch", "xrownorm", "adaptive"])
def test_bounds_fail_as_rarely_as_promised(name: str, matrix: str) -> None:
    """Two hundred runs at 10 %, three standard errors: fixed in advance."""
    a, alpha, runs = MATRICES[matrix](), 0.1, 200
    true, broken = a.square().sum(1), 0
    for number in range(runs):
        bounds = ESTIMATORS[name](from_matrix(a), 18, seeded(number)).bounds(alpha)
        broken += bool((bounds < true * (1 - 1e-9)).any())
    assert broken <= runs * alpha + 3 * math.sqrt(runs * alpha * (1 - alpha))


@pytest.mark.parametrize(("name", "least"), [("twinest", 2), ("twinest++", 6), ("xrownorm", 3)])
def test_too_few_products_are_refused(name: str, least: int) -> None:
    message = f"{re_escaped(name)} needs at least {least} products .* got {least - 1}; raise budget"
    with pytest.raises(ValueError, match=message):
        ESTIMATORS[name](from_matrix(dense(9, 8)), least - 1, seeded(0))


def re_escaped(name: str) -> str:
    return name.replace("+", r"\+")
