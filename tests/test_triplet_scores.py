"""The triangle score and its twins: definitions, ranges, float32 and bfloat16, slopes."""

from __future__ import annotations

import pytest
import torch

from hyperrank.hyperbolic import distance, squared_lorentzian
from recsys.triplet_scores import SCORES, metric_scaled, triangle_rows
from reference import triangle_plain


def scored(name: str, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
    score = SCORES[name]
    return score.scores(score.users(users) @ score.items(items).T)


def test_products_of_rows_are_the_definition(generator: torch.Generator) -> None:
    """1e-12 in float64, over norms from a thousandth to a thousand; users reflected."""
    x, y = torch.randn(2, 300, 5, dtype=torch.double, generator=generator)
    x, y = (z * torch.logspace(-3, 3, 300, dtype=torch.double)[:, None] for z in (x, y))
    y = y[torch.randperm(300, generator=generator)]
    made = (triangle_rows(-x) * triangle_rows(y)).sum(-1)
    torch.testing.assert_close(made, triangle_plain(x, y), rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [1e-6, 1e-3, 1e-2, 0.1, 1.0, 30.0, 1e3, 1e6])
def test_float32_is_right_at_every_norm(size: float, generator: torch.Generator) -> None:
    """To 2e-6, and below norm 1 to 2e-6 of the score's own spread."""
    x, y = size * torch.randn(2, 500, 16, generator=generator)
    true = (triangle_rows(x.double()) * triangle_rows(y.double())).sum(-1)
    made = (triangle_rows(x) * triangle_rows(y)).sum(-1)
    scale = float(true.std()) if size < 1 else 1.0
    assert (made - true).abs().max() < 2e-6 * max(scale, 1e-38) * (5 if size < 1 else 1)


def test_bfloat16_products_lose_no_more_than_their_rounding(generator: torch.Generator) -> None:
    x, y = 3 * torch.randn(2, 200, 32, generator=generator)
    true = triangle_rows(x) @ triangle_rows(y).T
    with torch.autocast("cpu", torch.bfloat16):
        made = triangle_rows(x) @ triangle_rows(y).T
    assert made.dtype == torch.bfloat16
    assert (made.float() - true).abs().max() < 2 * 2**-8  # rows are of norm at most 2 ** 0.5


def test_the_range_and_where_it_ends(generator: torch.Generator) -> None:
    x, y = torch.randn(2, 2000, 2, dtype=torch.double, generator=generator)
    x, y = (z * torch.randn(2000, 1, generator=generator).mul(3).exp() for z in (x, y))
    scores = (triangle_rows(x) * triangle_rows(y)).sum(-1)
    assert scores.min() >= -0.5
    assert scores.max() < 2
    edge = torch.tensor([[3.0**0.5, 0.0]])  # height 2
    lowest = (triangle_rows(edge) * triangle_rows(-edge)).sum()
    assert lowest == pytest.approx(-0.5, abs=1e-6)


def test_curvature_is_absorbed_by_the_scale(generator: torch.Generator) -> None:
    """T of a hyperboloid of squared radius beta is that of the unit one at x / sqrt(beta)."""
    x, y = torch.randn(2, 50, 4, dtype=torch.double, generator=generator)
    for beta in (0.1, 7.0):
        x0, y0 = ((beta + z.square().sum(-1)).sqrt() for z in (x, y))
        form, root = (x * y).sum(-1) - x0 * y0, beta**0.5
        wide = (beta - form - root * (x0 + y0)) / (x0 * y0)
        unit = (triangle_rows(-x / root) * triangle_rows(y / root)).sum(-1)
        torch.testing.assert_close(wide, unit)


def test_the_slope_is_the_formula(generator: torch.Generator) -> None:
    """ds/du = h (h^2 (b_v - <u, k_v>) u + k_v), for the reflected score; k_v at the origin."""
    u, v = torch.randn(2, 40, 3, dtype=torch.double, generator=generator)
    u[0] = 0
    u.requires_grad_()
    right = triangle_rows(v)
    slope = torch.autograd.grad((triangle_rows(u) * right).sum(), u)[0]
    h = (1 + u.square().sum(-1, keepdim=True)).rsqrt()
    along = right[:, :1] - (u * right[:, 1:]).sum(-1, keepdim=True)
    torch.testing.assert_close(slope, h * (h**2 * along * u + right[:, 1:]))
    torch.testing.assert_close(slope[0], right[0, 1:])


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("size", [0.0, 1e-15, 1e-6, 1.0, 1e6, 1e15])
def test_slopes_are_finite_at_every_norm(
    name: str, size: float, generator: torch.Generator
) -> None:
    x, y = size * torch.randn(2, 20, 6, generator=generator)
    y[0] = x[0]
    x.requires_grad_()
    scores = scored(name, x, y)
    slope = torch.autograd.grad(scores.sum(), x)[0]
    if name in ("triangle", "cosine"):
        assert scores.isfinite().all()
        assert slope.isfinite().all()
    elif size <= 1e6:  # these are not bounded: squares of sums of squares leave float32
        assert slope.isfinite().all()


def test_distances_are_those_of_the_geometry(generator: torch.Generator) -> None:
    x, y = torch.randn(2, 30, 4, dtype=torch.double, generator=generator)
    square = squared_lorentzian(x[:, None], y, curvature=-1.0)
    torch.testing.assert_close(scored("lorentzian", x, y), -square)
    torch.testing.assert_close(scored("geodesic", x, y), -distance(x[:, None], y, curvature=-1.0))


@pytest.mark.parametrize("name", SCORES)
def test_separation_is_the_score_of_a_reflected_item(name: str, generator: torch.Generator) -> None:
    """Minus the score of twins seen as user and item; for the triangle T itself."""
    score = SCORES[name]
    x, y = torch.randn(2, 10, 4, dtype=torch.double, generator=generator)
    rows = score.items(x), score.items(y)
    made = score.separation(score.mirror(rows[0]) @ rows[1].T)
    expected = triangle_plain(x[:, None], y) if name == "triangle" else -scored(name, x, y)
    torch.testing.assert_close(made, expected)


def test_a_metric_scaled_slope(generator: torch.Generator) -> None:
    x, g = torch.randn(2, 5, 3, generator=generator)
    x.requires_grad_()
    slope = torch.autograd.grad((metric_scaled(x) * g).sum(), x)[0]
    full = torch.eye(3) + x[:, :, None] * x[:, None, :]  # the inverse metric
    torch.testing.assert_close(slope, torch.einsum("bij,bj->bi", full, g))
