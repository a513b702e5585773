"""Hyperboloid geometry: laws, long decimals, gradients at extremes, error texts."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from hyperrank import hyperbolic
from reference import boost_plain, hyperbolic_distance_plain

DTYPES = [torch.float32, torch.float64]
CURVATURES = st.floats(-20, -0.05)
SEEDS = st.integers(0, 10**6)
RADII = st.floats(0, 4)  # in units of R
CLOSE: dict[str, float] = {"rtol": 1e-9, "atol": 1e-9}
law = settings(max_examples=25)


def drawn(seed: int, count: int, radius: float, curvature: float, dim: int = 4) -> Tensor:
    """Points about ``radius`` R away from the origin, stacked on the first axis."""
    v = torch.randn(
        count, 5, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )
    return hyperbolic.exp_origin(v * radius / (-dim * curvature) ** 0.5, curvature=curvature)


@law
@given(SEEDS, RADII, CURVATURES)
def test_lifted_points_have_the_form_of_the_space(seed: int, radius: float, k: float) -> None:
    x, y = drawn(seed, 2, radius, k)
    a, b = (hyperbolic.lift(z, curvature=k) for z in (x, y))
    scale = a[:, 0] * b[:, 0]
    on_sheet = torch.full_like(scale, 1 / k)
    assert_close(hyperbolic.minkowski(a, a) / a[:, 0] ** 2, on_sheet / a[:, 0] ** 2, **CLOSE)
    assert_close(hyperbolic.project(a + 0 * a, curvature=k), a)
    assert_close(hyperbolic.height(x, curvature=k), a[:, 0])
    expected = (2 / k - 2 * hyperbolic.minkowski(a, b)) / scale
    assert_close(hyperbolic.squared_lorentzian(x, y, curvature=k) / scale, expected, **CLOSE)


def test_project_replaces_the_time_part() -> None:
    off = torch.tensor([5.0, 3.0, 4.0])
    assert_close(hyperbolic.project(off, curvature=-1.0), torch.tensor([26**0.5, 3.0, 4.0]))


@law
@given(SEEDS, RADII, CURVATURES)
def test_distance_is_a_metric(seed: int, radius: float, k: float) -> None:
    x, y, z = drawn(seed, 3, radius, k)
    d = hyperbolic.distance(x, y, curvature=k)
    assert_close(d, hyperbolic.distance(y, x, curvature=k), rtol=1e-10, atol=0)
    assert (hyperbolic.distance(x, x, curvature=k) == 0).all()
    detour = hyperbolic.distance(x, z, curvature=k) + hyperbolic.distance(z, y, curvature=k)
    assert (d <= detour * (1 + 1e-9)).all()
    assert_close(hyperbolic.squared_distance(x, y, curvature=k), d.square(), rtol=1e-10, atol=0)
    origin = torch.zeros_like(x)
    assert_close(
        hyperbolic.radius(x, curvature=k), hyperbolic.distance(origin, x, curvature=k), **CLOSE
    )


@law
@given(SEEDS, st.floats(0, 2.5), CURVATURES, st.floats(0.01, 0.9))
def test_boosts_are_isometries(seed: int, radius: float, k: float, speed: float) -> None:
    x, y, velocity = drawn(seed, 3, radius, k)
    way = torch.ones(4, dtype=torch.float64) + velocity[0]
    boost = boost_plain(speed * way / way.norm())
    moved = [(hyperbolic.lift(z, curvature=k) @ boost.T)[:, 1:] for z in (x, y)]
    d = hyperbolic.distance(x, y, curvature=k)
    assert_close(hyperbolic.distance(*moved, curvature=k), d, rtol=1e-8, atol=1e-8)


@law
@given(SEEDS, st.floats(0, 2.5), CURVATURES)
def test_log_inverts_exp(seed: int, radius: float, k: float) -> None:
    x, y, v = drawn(seed, 3, radius, k)
    near = {"rtol": 1e-7, "atol": 1e-7}
    there = hyperbolic.log(x, y, curvature=k)
    assert_close(hyperbolic.exp(x, there, curvature=k), y, **near)
    assert_close(
        hyperbolic.inner(x, there, there, curvature=k),
        hyperbolic.squared_distance(x, y, curvature=k),
        **near,
    )
    v = v / (1 + (hyperbolic.inner(x, v, v, curvature=k) * -k).sqrt()).unsqueeze(-1)
    assert_close(hyperbolic.log(x, hyperbolic.exp(x, v, curvature=k), curvature=k), v, **near)
    origin = torch.zeros_like(v)
    assert_close(
        hyperbolic.exp_origin(v, curvature=k), hyperbolic.exp(origin, v, curvature=k), **CLOSE
    )
    assert_close(
        hyperbolic.log_origin(y, curvature=k), hyperbolic.log(origin, y, curvature=k), **near
    )
    assert_close(
        hyperbolic.exp_origin(hyperbolic.log_origin(y, curvature=k), curvature=k), y, **CLOSE
    )


@law
@given(SEEDS, st.floats(0, 2.5), CURVATURES)
def test_transport_keeps_the_form(seed: int, radius: float, k: float) -> None:
    x, y, u, v = drawn(seed, 4, radius, k)
    near = {"rtol": 1e-7, "atol": 1e-7}
    moved = [hyperbolic.transport(x, y, w, curvature=k) for w in (u, v)]
    before = hyperbolic.inner(x, u, v, curvature=k)
    assert_close(hyperbolic.inner(y, *moved, curvature=k), before, **near)
    assert_close(hyperbolic.transport(y, x, moved[0], curvature=k), u, **near)
    # the geodesic's own velocity stays its velocity
    there = hyperbolic.transport(x, y, hyperbolic.log(x, y, curvature=k), curvature=k)
    assert_close(there, -hyperbolic.log(y, x, curvature=k), **near)


@law
@given(SEEDS, RADII, CURVATURES)
def test_tangent_vectors_are_orthogonal_to_their_point(seed: int, radius: float, k: float) -> None:
    x, u, v = drawn(seed, 3, radius, k)
    a = hyperbolic.lift(u, curvature=k) - 2 * hyperbolic.lift(v, curvature=k)
    point = hyperbolic.lift(x, curvature=k)
    form = hyperbolic.minkowski(a, point).unsqueeze(-1)
    projected = a - k * form * point  # now in R^5
    space = hyperbolic.tangent(x, a, curvature=k)
    assert_close(space, projected[:, 1:])
    time = (space * x).sum(-1) / point[:, 0]
    small = {"rtol": 1e-6, "atol": 1e-12 + 1e-7 * float(projected.abs().max())}
    assert_close(time, projected[:, 0], **small)
    assert_close(hyperbolic.tangent(x, projected, curvature=k), space, **small)
    small["atol"] *= 1 + float(projected.abs().max())
    expected = hyperbolic.minkowski(projected, projected)
    assert_close(hyperbolic.inner(x, space, space, curvature=k), expected, **small)


def test_tangent_of_a_flat_gradient_is_the_riemannian_gradient() -> None:
    x, y, v = drawn(1, 3, 1.0, -0.7)
    x.requires_grad_()
    slope = torch.autograd.grad(hyperbolic.squared_distance(x, y, curvature=-0.7).sum(), x)[0]
    gradient = hyperbolic.tangent(x, torch.nn.functional.pad(slope, (1, 0)), curvature=-0.7)
    assert_close(gradient, -2 * hyperbolic.log(x, y, curvature=-0.7))
    assert_close(hyperbolic.inner(x, gradient, v, curvature=-0.7), (slope * v).sum(-1))


@law
@given(SEEDS, RADII, CURVATURES)
def test_the_ball_and_back(seed: int, radius: float, k: float) -> None:
    x, y = drawn(seed, 2, radius, k)
    p, q = (hyperbolic.to_ball(z, curvature=k) for z in (x, y))
    assert (p.norm(dim=-1) < (-1 / k) ** 0.5).all()
    assert_close(hyperbolic.from_ball(p, curvature=k), x, **CLOSE)
    # the ball's own distance, in its usual form
    gap = (p - q).square().sum(-1) * -k
    room = (1 + k * p.square().sum(-1)) * (1 + k * q.square().sum(-1))
    expected = 2 * (gap / room).sqrt().asinh() / (-k) ** 0.5
    assert_close(hyperbolic.distance(x, y, curvature=k), expected, **CLOSE)


@law
@given(SEEDS, RADII, CURVATURES)
def test_curvature_is_a_scale(seed: int, radius: float, k: float) -> None:
    x, y = drawn(seed, 2, radius, k)
    size = (-k) ** 0.5
    scaled = hyperbolic.distance(size * x, size * y, curvature=-1.0) / size
    assert_close(hyperbolic.distance(x, y, curvature=k), scaled, rtol=1e-10, atol=1e-12)
    fast = hyperbolic.distances(size * x, size * y, curvature=-1.0) / size
    assert_close(hyperbolic.distances(x, y, curvature=k), fast, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_flat_space_is_the_limit(dtype: torch.dtype, generator: torch.Generator) -> None:
    x, y, v = torch.randn(3, 6, 5, dtype=dtype, generator=generator)
    k = -1e-14
    close = {"rtol": 1e-5 if dtype == torch.float32 else 1e-12, "atol": 1e-6}
    assert_close(hyperbolic.distance(x, y, curvature=k), (x - y).norm(dim=-1), **close)
    assert_close(hyperbolic.distances(x, y, curvature=k), torch.cdist(x, y), **close)
    assert_close(hyperbolic.exp(x, v, curvature=k), x + v, **close)
    assert_close(hyperbolic.log(x, y, curvature=k), y - x, **close)
    assert_close(hyperbolic.transport(x, y, v, curvature=k), v, **close)
    assert_close(hyperbolic.inner(x, y, v, curvature=k), (y * v).sum(-1), **close)
    assert_close(hyperbolic.to_ball(x, curvature=k), x / 2, **close)
    assert_close(hyperbolic.centroid(x, curvature=k), x.mean(-2), **close)


@law
@given(SEEDS, RADII, CURVATURES)
def test_blocks_equal_pairs(seed: int, radius: float, k: float) -> None:
    x, y = drawn(seed, 2, radius, k)
    y = torch.cat([y, x[:2], 0 * x[:1]])
    exact = hyperbolic.squared_lorentzian(x.unsqueeze(-2), y, curvature=k)
    heights = [hyperbolic.height(z, curvature=k) for z in (x, y)]
    rounding = 20 * torch.finfo(x.dtype).eps * torch.outer(*heights)
    block = hyperbolic.squared_lorentzians(x, y, curvature=k)
    assert (block >= 0).all()
    assert ((block - exact).abs() <= rounding).all()
    d = hyperbolic.distance(x.unsqueeze(-2), y, curvature=k)
    for leaf in (x, x.clone().requires_grad_()):  # with gradients another path is taken
        found = hyperbolic.distances(leaf, y, curvature=k).detach()
        assert ((found - d).abs() <= rounding.sqrt()).all()


def test_leading_axes_broadcast(generator: torch.Generator) -> None:
    x = torch.randn(3, 1, 4, 5, generator=generator)
    y = torch.randn(2, 6, 5, generator=generator)
    block = hyperbolic.squared_lorentzians(x, y, curvature=-1.0)
    assert block.shape == (3, 2, 4, 6)
    pairs = hyperbolic.squared_lorentzian(x.unsqueeze(-2), y.unsqueeze(-3), curvature=-1.0)
    assert_close(block, pairs, rtol=1e-5, atol=1e-5)
    assert hyperbolic.exp(x, y[:, :4], curvature=-1.0).shape == (3, 2, 4, 5)


@law
@given(SEEDS, st.floats(0.1, 3), CURVATURES)
def test_the_centroid_is_its_definition_and_a_minimum(seed: int, radius: float, k: float) -> None:
    x, more = drawn(seed, 2, radius, k)
    weights = more[:, 0].abs() + 0.1
    found = hyperbolic.centroid(x, weights, curvature=k).requires_grad_()
    total = (weights.unsqueeze(-1) * hyperbolic.lift(x, curvature=k)).sum(0)
    expected = total[1:] / (k * hyperbolic.minkowski(total, total)).sqrt()
    assert_close(found.detach(), expected, rtol=1e-7, atol=1e-7)
    cost = (weights * hyperbolic.squared_lorentzian(x, found, curvature=k)).sum()
    slope = torch.autograd.grad(cost, found)[0]
    assert (slope.abs() <= 1e-7 * float(cost.detach())).all()
    equal = hyperbolic.centroid(x, torch.ones_like(weights) * 7, curvature=k)
    assert_close(hyperbolic.centroid(x, curvature=k), equal, **CLOSE)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("k", [-1.0, -0.3])
def test_digits_against_long_decimals(
    dtype: torch.dtype, k: float, generator: torch.Generator
) -> None:
    eps, dim = torch.finfo(dtype).eps, 6
    u, v = torch.linalg.qr(torch.randn(dim, 2, dtype=torch.float64, generator=generator)).Q.T
    for norm in (1e-15, 1e-6, 1e-2, 1.0, 30.0, 1e4, 1e15):
        far = max(norm, 1.0) * 1e-3  # a tangential step and a radial one, by which rows may differ
        ways = [
            -u,
            v,
            u + v,
            1e-3 * u,
            0 * u,
            1.1 * u,
            u + 1e-3 * v,
            u + 1e-3 * (u + v) * min(norm, 1),
        ]
        x = (norm * u).to(dtype)
        for way in [*ways, u + far / norm * v]:
            y = (norm * way).to(dtype)
            squared, geodesic = hyperbolic_distance_plain(x, y, k)
            worst = 8 * eps * float(hyperbolic.height(torch.maximum(x.abs(), y.abs()), curvature=k))
            ours = float(hyperbolic.squared_lorentzian(x, y, curvature=k))
            assert abs(ours - squared) <= max(worst, 8 * eps) * squared
            ours = float(hyperbolic.distance(x, y, curvature=k))
            assert abs(ours - geodesic) <= max(worst, 8 * eps) * geodesic


def test_small_distances_keep_their_digits_in_float32() -> None:
    for exponent in range(-7, 1):
        for x in ([0.0, 0.0], [1.0, 0.5]):
            a, b = torch.tensor(x), torch.tensor(x)
            b[1] += 10.0**exponent
            exact = hyperbolic_distance_plain(a, b, -1.0)[1]
            ours = float(hyperbolic.distance(a, b, curvature=-1.0))
            assert abs(ours - exact) <= 1e-6 * exact


@pytest.mark.parametrize("dtype", DTYPES)
def test_exp_overflows_only_past_the_chart(dtype: torch.dtype) -> None:
    furthest = math.log(torch.finfo(dtype).max) - 1
    v = torch.zeros(1, 2, dtype=dtype)
    v[0, 0] = furthest
    v.requires_grad_()
    point = hyperbolic.exp_origin(v, curvature=-1.0)
    assert point.isfinite().all()
    assert torch.autograd.grad(point.sum(), v)[0].isfinite().all()
    assert not hyperbolic.exp_origin(v.detach() * 1.1, curvature=-1.0).isfinite().all()


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_bad_point_never_looks_good(bad: float) -> None:
    x, y = torch.zeros(2, 3), torch.ones(2, 3)
    x[0, 1] = bad
    for name in ("squared_lorentzian", "squared_distance", "distance"):
        value = getattr(hyperbolic, name)(x, y, curvature=-1.0)
        assert not value[0].isfinite()
        assert value[1].isfinite()
    assert not hyperbolic.distances(x, y, curvature=-1.0)[0].isfinite().any()


@pytest.mark.parametrize("shape", [(0, 3), (1, 1), (3, 0), (2, 0, 3)])
def test_small_and_empty_shapes(shape: tuple[int, ...]) -> None:
    x = torch.ones(shape)
    assert hyperbolic.distance(x, x, curvature=-1.0).shape == shape[:-1]
    n = shape[-2]
    assert hyperbolic.distances(x, x, curvature=-1.0).shape == (*shape[:-2], n, n)
    for single in ("exp_origin", "log_origin", "to_ball"):
        assert getattr(hyperbolic, single)(x, curvature=-1.0).shape == shape
    assert hyperbolic.lift(x, curvature=-1.0).shape == (*shape[:-1], shape[-1] + 1)


def test_the_documented_call() -> None:
    x, y = torch.tensor([0.0, 0.0]), torch.tensor([math.sinh(1.5), 0.0])
    assert_close(hyperbolic.distance(x, y, curvature=-1.0), torch.tensor(1.5))
    assert_close(hyperbolic.distance(x, y, curvature=-1), torch.tensor(1.5))


@pytest.fixture(scope="module")
def unchecked() -> ModuleType:
    """The module as it is outside of tests: no types checked before its own checks."""
    spec = importlib.util.spec_from_file_location("unchecked", Path(hyperbolic.__file__))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("k", [0, 0.0, 1.0, math.nan, math.inf, -math.inf, torch.tensor(2.0)])
def test_a_curvature_that_is_not_negative_is_refused(k: Any, unchecked: ModuleType) -> None:
    x = torch.ones(2, 3)
    message = rf"curvature must be negative and finite, got {float(k)}; the unit hyperboloid has -1"
    for name in ("height", "lift", "radius", "exp_origin", "log_origin", "to_ball", "from_ball"):
        with pytest.raises(ValueError, match=message):
            getattr(unchecked, name)(x, curvature=k)
    for name in ("distance", "squared_distance", "distances", "exp", "log"):
        with pytest.raises(ValueError, match=message):
            getattr(unchecked, name)(x, x, curvature=k)


def test_error_texts(unchecked: ModuleType) -> None:
    x = torch.ones(2, 3)
    with pytest.raises(ValueError, match=r"a number or a 0-d tensor, got a tensor of shape \(2,\)"):
        unchecked.distance(x, x, curvature=-torch.ones(2))
    for name in ("distance", "distances", "exp", "log", "minkowski"):
        given_curvature = {} if name == "minkowski" else {"curvature": -1.0}
        with pytest.raises(ValueError, match=r"of one size, got shapes \[\(2, 3\), \(2, 1\)\]"):
            getattr(unchecked, name)(x, x[:, :1], **given_curvature)
    with pytest.raises(TypeError, match=r"floating type, got torch.int64; use .float\(\)"):
        unchecked.distance(x.long(), x.long(), curvature=-1.0)
    with pytest.raises(ValueError, match=r"the time part and 3 numbers more, got 3; .* already"):
        unchecked.tangent(x, x, curvature=-1.0)
    with pytest.raises(ValueError, match=r"curvature -4.0 has radius 0.5, got a point of norm 1.7"):
        unchecked.from_ball(x.requires_grad_(), curvature=torch.tensor(-4.0, requires_grad=True))
    with pytest.raises(ValueError, match=r"no points to take the centroid of: shape \(0, 3\)"):
        unchecked.centroid(torch.ones(0, 3), curvature=-1.0)
    with pytest.raises(ValueError, match=r"weights of shape \(3,\) for points of shape \(2, 3\)"):
        unchecked.centroid(x, torch.ones(3), curvature=-1.0)
    for weights, said in (([-1.0, 2.0], "got -1.0 as the least and 1.0"), ([0.0, 0.0], "got 0.0")):
        with pytest.raises(ValueError, match=rf"weights must be at least 0 .*{said}.*empty groups"):
            unchecked.centroid(x, torch.tensor(weights), curvature=-1.0)


def test_the_rim_of_the_ball_is_refused() -> None:
    rim = hyperbolic.to_ball(torch.tensor([1e15, 0.0]), curvature=-1.0)
    with pytest.raises(ValueError, match=r"radius 1.0, got a point of norm 1.0; scale the points"):
        hyperbolic.from_ball(rim, curvature=-1.0)
