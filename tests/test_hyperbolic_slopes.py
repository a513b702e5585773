"""Derivatives of the hyperboloid's maps: slopes, at extremes, and where points coincide."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from hyperrank import hyperbolic

DTYPES = [torch.float32, torch.float64]


def joined(x: Tensor, y: Tensor) -> Tensor:
    return torch.cat([x[..., :1], y], -1)


MAPS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "squared_lorentzian": lambda x, y, k: hyperbolic.squared_lorentzian(x, y, curvature=k),
    "squared_distance": lambda x, y, k: hyperbolic.squared_distance(x, y, curvature=k),
    "squared_lorentzians": lambda x, y, k: hyperbolic.squared_lorentzians(x, y, curvature=k),
    "log": lambda x, y, k: hyperbolic.log(x, y, curvature=k),
    "exp": lambda x, y, k: hyperbolic.exp(x, y, curvature=k),
    "transport": lambda x, y, k: hyperbolic.transport(x, y, (x + 2 * y).tanh(), curvature=k),
    "inner": lambda x, y, k: hyperbolic.inner(x, y, x.flip(-1), curvature=k),
    "centroid": lambda x, y, k: hyperbolic.centroid(torch.stack([x, y], -2), curvature=k),
    "tangent": lambda x, y, k: hyperbolic.tangent(x, joined(x, y).tanh(), curvature=k),
    "exp_origin": lambda x, y, k: hyperbolic.exp_origin(x + y, curvature=k),
    "log_origin": lambda x, y, k: hyperbolic.log_origin(x + y, curvature=k),
    "to_ball": lambda x, y, k: hyperbolic.to_ball(x + y, curvature=k),
    "from_ball": lambda x, y, k: hyperbolic.from_ball((x + y) / 20, curvature=k),
    "lift": lambda x, y, k: hyperbolic.lift(x + y, curvature=k),
}
KINKED: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "distance": lambda x, y, k: hyperbolic.distance(x, y, curvature=k),
    "distances": lambda x, y, k: hyperbolic.distances(x, y, curvature=k),
    "radius": lambda x, y, k: hyperbolic.radius(x - y, curvature=k),
}
SPECIAL = {  # pairs of rows where a formula might change branch
    "generic": ([[0.3, -1.0], [2.0, 0.4]], [[1.0, 0.8], [1.5, 0.2]]),
    "coincident": ([[0.3, -1.0], [2.0, 0.4]], [[0.3, -1.0], [2.0, 0.4]]),
    "origin": ([[0.0, 0.0], [0.0, 0.0]], [[1.0, 0.8], [0.0, 0.0]]),
    "opposite": ([[0.3, -1.0], [3.0, 3.0]], [[-0.3, 1.0], [-1.0, -1.0]]),
    "orthogonal and of equal norm": ([[1.0, 2.0], [3.0, 4.0]], [[-2.0, 1.0], [4.0, 3.0]]),
}


@pytest.mark.parametrize("name", [*MAPS, *KINKED])
@pytest.mark.parametrize("place", SPECIAL)
def test_gradients_are_the_slopes(name: str, place: str) -> None:
    x, y = (torch.tensor(z, dtype=torch.float64, requires_grad=True) for z in SPECIAL[place])
    k = torch.tensor(-0.6, dtype=torch.float64, requires_grad=True)
    cut = place == "coincident" or (place == "origin" and name != "squared_lorentzian")
    if cut and (name in KINKED or name == "squared_lorentzians"):
        return  # a kink, or the cut at 0 of the block; their gradients are tested to be finite
    assert torch.autograd.gradcheck({**MAPS, **KINKED}[name], (x, y, k))


@pytest.mark.parametrize("name", ["squared_lorentzian", "squared_distance", "exp", "log"])
@pytest.mark.parametrize("place", SPECIAL)
def test_second_derivatives(name: str, place: str) -> None:
    x, y = (torch.tensor(z, dtype=torch.float64, requires_grad=True) for z in SPECIAL[place])
    k = torch.tensor(-0.6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(MAPS[name], (x, y, k), atol=1e-4)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("k", [-1e-6, -1.0, -1e6])
@pytest.mark.parametrize(
    "name", [name for name in {**MAPS, **KINKED} if not name.startswith("exp")]
)
def test_gradients_stay_finite_over_thirty_orders(
    name: str, k: float, dtype: torch.dtype, generator: torch.Generator
) -> None:
    sizes = 10.0 ** torch.arange(-15, 16, 3, dtype=dtype)
    direction = torch.randn(2, 3, 4, dtype=dtype, generator=generator)
    same = sizes[:, None, None] * direction[0]
    x = (same[:, None] + 0 * same[None]).requires_grad_()
    for other in (direction[0], -direction[0], direction[1]):
        y = (sizes[:, None, None] * other + 0 * same[:, None]).requires_grad_()
        curvature = torch.tensor(k, dtype=dtype, requires_grad=True)
        if name == "from_ball":  # any point inside
            value = hyperbolic.from_ball(
                1e-4 * x / x.norm(dim=-1, keepdim=True), curvature=curvature
            )
        else:
            value = {**MAPS, **KINKED}[name](x, y, curvature)
        assert value.isfinite().all()
        slopes = torch.autograd.grad(value.sum(), [x, y], allow_unused=True)
        assert all(slope.isfinite().all() for slope in slopes if slope is not None)
        d = hyperbolic.distance(x.detach(), y.detach(), curvature=curvature)
        assert torch.autograd.grad(d.sum(), curvature)[0].isfinite()


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients_at_coincident_points(dtype: torch.dtype) -> None:
    x = torch.tensor([[0.0, 0.0], [1.0, 2.0], [1e-15, 0.0], [1e15, 1e15]], dtype=dtype)
    for name, call in {**MAPS, **KINKED}.items():
        if name.startswith(("exp", "from_ball")):
            continue
        a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
        k = torch.tensor(-1.0, dtype=dtype)
        value = call(a, b, k)
        slopes = torch.autograd.grad(value.sum(), [a, b])
        assert all(slope.isfinite().all() for slope in slopes), name
        if name in ("distance", "squared_distance", "squared_lorentzian"):
            assert (value == 0).all()
            assert all((slope == 0).all() for slope in slopes), name


def test_arguments_stay_as_they_were(generator: torch.Generator) -> None:
    x, y = torch.randn(2, 4, 3, generator=generator)
    kept = x.clone(), y.clone()
    for call in {**MAPS, **KINKED}.values():
        call(x, y, torch.tensor(-1.0))
    assert torch.equal(x, kept[0])
    assert torch.equal(y, kept[1])
