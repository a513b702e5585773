"""Descent of many rows: where it ends, and that it never rises."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

from recsys.row_descent import Look, descend


@dataclass
class Valleys:
    """Rosenbrock's banana of each row, of its own steepness; infinite beyond a fence."""

    steep: Tensor
    fence: float = torch.inf
    seen: list[Tensor] = field(default_factory=list)

    def look(self, rows: Tensor) -> Look:
        with torch.enable_grad():
            free = rows.detach().requires_grad_()
            x, y = free.unbind(1)
            value = (1 - x) ** 2 + self.steep * (y - x**2) ** 2
            (slope,) = torch.autograd.grad(value.sum(), free)
        value = torch.where(rows.abs().amax(1) > self.fence, torch.nan, value.detach())
        self.seen.append(value)
        return Look(value, slope)

    def bends(self, rows: Tensor) -> Tensor:
        return torch.eye(2).repeat(len(rows), 1, 1) * self.steep[:, None, None]

    def select(self, chosen: Tensor) -> Valleys:
        return Valleys(self.steep[chosen], self.fence, self.seen)


def test_it_ends_at_the_bottom_of_valleys_that_are_not_convex(generator: torch.Generator) -> None:
    start = 2 * torch.randn(40, 2, generator=generator)
    functions = Valleys(torch.logspace(-1, 2, 40))
    found = descend(functions, start, tolerance=1e-5, steps=300)
    torch.testing.assert_close(found.vectors, torch.ones(40, 2), atol=2e-2, rtol=0)
    assert found.steps < 300
    assert (functions.look(found.vectors).value <= functions.look(start).value).all()


def test_it_stays_inside_what_has_numbers() -> None:
    start = torch.tensor([[1.9, -1.9], [0.0, 0.0]])
    functions = Valleys(torch.tensor([100.0, 1.0]), fence=2.0)
    found = descend(functions, start, tolerance=1e-5, steps=300)
    torch.testing.assert_close(found.vectors, torch.ones(2, 2), atol=2e-2, rtol=0)


def test_few_steps_leave_a_residual_that_is_told() -> None:
    functions = Valleys(torch.full((3,), 100.0))
    found = descend(functions, torch.tensor([[-1.2, 1.0]]).repeat(3, 1), tolerance=1e-6, steps=4)
    assert found.steps == 4
    assert (found.residual > 1e-2).all()
    torch.testing.assert_close(functions.look(found.vectors).slope.norm(dim=1), found.residual)


@dataclass
class Flat:
    """Nothing to gain anywhere."""

    def look(self, rows: Tensor) -> Look:
        return Look(torch.zeros(len(rows)), torch.zeros_like(rows))

    def bends(self, rows: Tensor) -> Tensor:
        return torch.zeros(len(rows), 2, 2)

    def select(self, chosen: Tensor) -> Flat:
        del chosen
        return self


@pytest.mark.parametrize("n", [0, 3])
def test_flat_functions_leave_rows_where_they_are(n: int) -> None:
    start = torch.arange(2.0 * n).view(n, 2)
    found = descend(Flat(), start, tolerance=1e-6)
    assert torch.equal(found.vectors, start)
    assert found.steps == 0
