"""Places on the disk keep distances from the origin; those of points of two numbers are exact."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hyperrank.hyperbolic import radius, to_ball
from hyperrank.layout import layout

CURVATURES = (-1.0, -1 / 1.3, -4.0)


@pytest.mark.parametrize("curvature", CURVATURES)
def test_distances_from_the_origin_are_exact(curvature: float, generator: torch.Generator) -> None:
    points = 3 * torch.randn(50, 7, generator=generator).double()
    found = layout(points, curvature).places(points).norm(dim=1)
    ball = to_ball(points, curvature=curvature).norm(dim=1) * (-curvature) ** 0.5
    torch.testing.assert_close(found, ball)
    half = radius(points, curvature=curvature) * (-curvature) ** 0.5 / 2
    torch.testing.assert_close(found, half.tanh())


@pytest.mark.parametrize("curvature", CURVATURES)
def test_two_numbers_are_turned_or_mirrored_only(
    curvature: float, generator: torch.Generator
) -> None:
    points = torch.randn(30, 2, generator=generator).double()
    plan = layout(points, curvature)
    assert plan.share == 1
    ball = to_ball(points, curvature=curvature) * (-curvature) ** 0.5
    found = plan.places(points)
    torch.testing.assert_close(torch.cdist(found, found), torch.cdist(ball, ball))


def test_the_angle_is_that_of_the_directions_main_axes(generator: torch.Generator) -> None:
    strong = torch.tensor([0.1, 3.0, 0.2, 0.1, 2.0])
    points = torch.randn(400, 5, generator=generator) * strong
    plan = layout(points, -1.0)
    unit = (points / points.norm(dim=1, keepdim=True)).double().numpy()
    values, axes = np.linalg.svd(unit, full_matrices=False)[1:]
    assert plan.share == pytest.approx((values[:2] ** 2).sum() / len(unit))
    angle = np.arctan2(*(unit @ axes[:2].T).T[::-1])
    found = np.arctan2(*plan.places(points).numpy().T[::-1])
    differences = np.cos(found[:, None] - found) - np.cos(angle[:, None] - angle)
    assert abs(differences).max() < 1e-6
    assert plan.share > 0.9


def test_principal_axes_of_flat_rows(generator: torch.Generator) -> None:
    rows = torch.randn(60, 6, generator=generator) * torch.arange(1, 7) + 5
    plan = layout(rows)
    wide = rows.double().numpy() - rows.double().numpy().mean(0)
    left, values, _ = np.linalg.svd(wide, full_matrices=False)
    assert plan.share == pytest.approx((values[:2] ** 2).sum() / (values**2).sum())
    np.testing.assert_allclose(abs(plan.places(rows)), abs(left[:, :2] * values[:2]), atol=1e-4)
    assert torch.equal(layout(rows.clone()).axes, plan.axes)


@pytest.mark.parametrize("curvature", [None, -1.0])
def test_few_numbers_and_zeros(curvature: float | None) -> None:
    line = torch.tensor([[1.0], [-2.0], [0.0]])
    places = layout(line, curvature).places(line)
    assert places.shape == (3, 2)
    assert float(places[:, 1].abs().max()) == pytest.approx(0, abs=1e-12)
    zeros = layout(torch.zeros(4, 3), curvature)
    assert zeros.share == 1
    assert not zeros.places(torch.zeros(4, 3)).any()
