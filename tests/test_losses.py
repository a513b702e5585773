"""Closed-form losses against automatic differentiation of the plain formula."""

from __future__ import annotations

import pytest
import torch

from hyperrank.losses import bpr, weighted_logistic
from reference import weighted_logistic_plain

B, R, P, K, D = 5, 8, 9, 6, 3


def arguments(generator: torch.Generator, shared: bool) -> tuple[torch.Tensor, ...]:
    def real(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    position = torch.randint(B, (P,), generator=generator).sort().values
    return (
        real(B, D).requires_grad_(),
        real(R, D).requires_grad_(),
        position,
        torch.randint(R, (P,), generator=generator),
        real(P).abs(),
        torch.randint(R, (K,) if shared else (B, K), generator=generator),
        real(B, K).abs(),
    )


@pytest.mark.parametrize("shared", [True, False])
def test_weighted_logistic_is_its_formula(shared: bool, generator: torch.Generator) -> None:
    args = arguments(generator, shared)
    ours, plain = weighted_logistic(*args), weighted_logistic_plain(*args)
    torch.testing.assert_close(ours, plain)
    slopes = torch.autograd.grad(2 * ours, args[:2])
    expected = torch.autograd.grad(2 * plain, args[:2])
    torch.testing.assert_close(slopes, expected)


@pytest.mark.parametrize("shared", [True, False])
def test_gradients_stay_finite_over_thirty_orders(shared: bool, generator: torch.Generator) -> None:
    args = list(arguments(generator, shared))
    for size in 10.0 ** torch.arange(-15, 16, 3):
        args[0] = (args[0].detach().float() * size).requires_grad_()
        args[1] = args[1].detach().float().requires_grad_()
        args[4], args[6] = args[4].float(), args[6].float()
        slopes = torch.autograd.grad(weighted_logistic(*args), args[:2])
        assert all(slope.isfinite().all() for slope in slopes)
        args[0] = args[0] / size


def test_bpr_prefers_the_positive() -> None:
    good, bad = torch.tensor([3.0]), torch.tensor([[1.0, 2.0]])
    expected = torch.nn.functional.softplus(torch.tensor([-2.0, -1.0])).mean()
    torch.testing.assert_close(bpr(good, bad), expected)
    assert bpr(good, bad) < bpr(good - 1, bad)
