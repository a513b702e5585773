"""What is checked of a linear map: its adjoint, at every scale."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hyperrank import operators
from hyperrank.linear_map import LinearMap

FLOATS = (torch.float32, torch.float64)


def seeded(number: int) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def dense(m: int, n: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(m, n, dtype=dtype, generator=seeded(0))


def kind(a: Tensor) -> tuple[torch.dtype, torch.device]:
    return a.dtype, a.device


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("error", [2.0, 1e-3])
def test_an_adjoint_slightly_wrong_is_refused(dtype: torch.dtype, error: float) -> None:
    """Whatever the scale; an error of 2 negates it."""
    matrix = dense(30, 20, dtype=dtype)
    power = 30 if dtype == torch.float32 else 290
    for size in (10.0**-power, 1.0, 10.0**power):
        a = matrix * size
        right = operators.from_matrix(a)
        assert operators.check_adjoint(right, seeded(0)) < 100 * torch.finfo(dtype).eps
        wrong = LinearMap(a.shape, right.matmat, lambda y, a=a: (1 - error) * (a.T @ y), *kind(a))
        with pytest.raises(ValueError, match="rmatmat is not the adjoint of matmat"):
            operators.check_adjoint(wrong, seeded(0), tol=1e-5 if error < 1 else None)


def test_the_default_tolerance_is_a_thousand_roundings() -> None:
    a = dense(30, 20)
    for error, refused in ((1e-10, True), (1e-15, False)):
        wrong = LinearMap(
            (30, 20), lambda x: a @ x, lambda y, error=error: (1 - error) * (a.T @ y), *kind(a)
        )
        if refused:
            with pytest.raises(ValueError, match="rmatmat is not the adjoint"):
                operators.check_adjoint(wrong, seeded(0))
        else:
            operators.check_adjoint(wrong, seeded(0))


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)], ids=str)
def test_an_empty_map_has_its_adjoint(shape: tuple[int, int]) -> None:
    assert operators.check_adjoint(operators.from_matrix(torch.ones(shape)), seeded(0)) == 0
