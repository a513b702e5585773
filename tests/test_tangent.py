"""Fixed-rank matrices and shared Tucker tensors, against Jacobians and dense gradients."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from hyperrank import shared_tucker, tangent
from hyperrank.lowrank import SVD, exact_svd
from hyperrank.operators import from_matrix
from hyperrank.shared_tucker import SharedTucker, assembled, orthonormalized
from reference import best_of_rank, matrix_of_spectrum, tangent_projection

F64 = torch.float64


def normal(*shape: int, number: int = 0, dtype: torch.dtype = F64) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(number))


def wavy(matrix: Tensor, dtype: torch.dtype = F64) -> Tensor:
    """A loss of a matrix or tensor without any structure."""
    return (normal(*matrix.shape, number=77, dtype=dtype) * (matrix.sin() + matrix.exp())).sum()


def dense_slope(matrix: Tensor) -> Tensor:
    leaf = matrix.clone().requires_grad_()
    return torch.autograd.grad(wavy(leaf, matrix.dtype), leaf)[0]


def point_of(m: int, n: int, r: int, number: int) -> SVD:
    return exact_svd(normal(m, r, number=number) @ normal(n, r, number=number + 1).T, r)


shapes = st.tuples(st.integers(1, 7), st.integers(1, 7), st.integers(1, 7), st.integers(0, 99))


# matrices


@given(shapes)
def test_the_gradient_is_the_projected_dense_one(shape: tuple[int, int, int, int]) -> None:
    m, n, r, number = shape
    r = min(m, n, r)
    left, right = normal(m, r, number=number), normal(n, r, number=number + 1)
    point = exact_svd(left @ right.T, r)
    value, found = tangent.gradient(lambda a, b: wavy(a @ b.T), point)
    torch.testing.assert_close(value, wavy(left @ right.T))
    wanted = tangent_projection(lambda a, b: a @ b.T, (left, right), dense_slope(left @ right.T))
    torch.testing.assert_close(found.dense(), wanted)
    torch.testing.assert_close(found.norm(), wanted.norm())
    torch.testing.assert_close(point.left.T @ found.left, torch.zeros(r, r, dtype=F64))


def test_one_call_and_one_backward_pass() -> None:
    calls = []

    def loss(a: Tensor, b: Tensor) -> Tensor:
        calls.append((a.shape, b.shape))
        return wavy(a @ b.T)

    tangent.gradient(loss, point_of(6, 5, 2, 0))
    assert calls == [((6, 4), (5, 4))]


def test_projections_agree_and_fix_tangent_directions() -> None:
    point, ambient = point_of(6, 5, 2, 0), normal(6, 5, number=5)
    found = tangent.project(point, from_matrix(ambient))
    parts = (point.left * point.values, point.right)
    wanted = tangent_projection(lambda a, b: a @ b.T, parts, ambient)
    torch.testing.assert_close(found.dense(), wanted)
    factors = tangent.project_factors(point, ambient, torch.eye(5, dtype=F64))
    torch.testing.assert_close(factors.dense(), wanted)
    again = tangent.project_factors(point, *found.factors())
    torch.testing.assert_close(again.left, found.left)
    torch.testing.assert_close(again.right, found.right)


@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_small_singular_values_lose_no_digit(dtype: torch.dtype) -> None:
    """Condition 1e6: from the point, and from the slopes of its balanced pair."""
    values = torch.tensor([1, 1e-3, 1e-6], dtype=dtype)
    matrix = matrix_of_spectrum(9, 8, values.double(), torch.Generator().manual_seed(0))
    point = SVD(*(part.to(dtype) for part in exact_svd(matrix, 3)))
    ambient = normal(9, 8, number=5).to(dtype)
    wide = SVD(*(part.double() for part in point))
    wanted = tangent.project(wide, from_matrix(ambient.double())).dense()
    tight = {"rtol": 0, "atol": 60 * torch.finfo(dtype).eps}
    found = tangent.gradient(lambda a, b: (a * (ambient @ b)).sum(), point)[1]
    torch.testing.assert_close(found.dense().double(), wanted, **tight)
    left, right = tangent.balanced(point)
    slopes = tangent.gradient_of_slopes(left, right, ambient @ right, ambient.T @ left)
    torch.testing.assert_close(slopes.dense().double(), wanted, **tight)


@given(shapes)
def test_slopes_of_any_pair_give_the_same_gradient(shape: tuple[int, int, int, int]) -> None:
    m, n, r, number = shape
    r = min(m, n, r)
    left, right = normal(m, r, number=number), normal(n, r, number=number + 1)
    slope = dense_slope(left @ right.T)
    found = tangent.gradient_of_slopes(left, right, slope @ right, slope.T @ left)
    torch.testing.assert_close(found.point.dense(), left @ right.T)
    wanted = tangent.gradient(lambda a, b: wavy(a @ b.T), exact_svd(left @ right.T, r))[1]
    torch.testing.assert_close(found.dense(), wanted.dense(), rtol=1e-5, atol=1e-6)


@given(shapes, st.floats(-2, 2), st.sampled_from([1.0, 0.9]))
def test_a_step_is_the_nearest_of_the_rank(
    shape: tuple[int, int, int, int], step: float, shrink: float
) -> None:
    m, n, r, number = shape
    point = point_of(m, n, min(m, n, r), number)
    along = tangent.project(point, from_matrix(normal(m, n, number=5)))
    there = tangent.retract(along, step, shrink=shrink)
    straight = shrink * point.dense() + step * along.dense()
    torch.testing.assert_close(there.dense(), best_of_rank(straight, len(point.values)))


def test_steps_are_straight_to_first_order_and_follow_the_gradient() -> None:
    point = point_of(8, 7, 3, 0)
    value, slope = tangent.gradient(lambda a, b: wavy(a @ b.T), point)
    off = []
    for step in (1e-3, 1e-4):
        there = tangent.retract(slope, -step)
        off.append((there.dense() - point.dense() + step * slope.dense()).norm())
    assert 80 < off[0] / off[1] < 120
    fall = (wavy(tangent.retract(slope, -1e-6).dense()) - value) / 1e-6
    torch.testing.assert_close(fall, -(slope.norm() ** 2), rtol=1e-3, atol=0)


def test_gradient_map_is_the_gradient() -> None:
    weight = normal(6, 4)
    g = tangent.gradient_map(
        lambda a, b: wavy(weight + a @ b.T), (6, 4), dtype=F64, device=weight.device
    )
    slope, x, y = dense_slope(weight), normal(4, 3, number=2), normal(6, 3, number=3)
    torch.testing.assert_close(g @ x, slope @ x)
    torch.testing.assert_close(g.T @ y, slope.T @ y)


def test_bad_points_and_losses_are_refused() -> None:
    point = point_of(4, 3, 2, 0)
    with pytest.raises(ValueError, match=r"must be a scalar, got shape \(4, 3\)"):
        tangent.gradient(lambda a, b: a @ b.T, point)
    with pytest.raises(ValueError, match=r"the map has shape \(3, 4\), the point \(4, 3\)"):
        tangent.project(point, from_matrix(torch.ones(3, 4, dtype=F64)))
    left, right = tangent.balanced(point)
    for bad in (right * 0, right[:, :1].expand(3, 2), right * torch.nan):
        with pytest.raises(ValueError, match="right factor has columns that are zero, dependent"):
            tangent.gradient_of_slopes(left, bad, left, right)


# Tucker with a shared factor


def tucker_of(n: int, p: int, r: int, q: int, number: int) -> SharedTucker:
    return orthonormalized(
        normal(r, q, r, number=number),
        normal(n, r, number=number + 1),
        normal(p, q, number=number + 2),
    )


def wavy_tucker(core: Tensor, shared: Tensor, other: Tensor) -> Tensor:
    return wavy(assembled(core, shared, other))


tuckers = st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3))


def cut(shape: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    n, p, r, q = shape
    r = min(n, r)
    return n, p, r, min(p, q, r * r)


@given(tuckers, st.integers(0, 99))
def test_the_tucker_gradient_is_the_projected_dense_one(
    shape: tuple[int, int, int, int], number: int
) -> None:
    point = tucker_of(*cut(shape), number)
    value, found = shared_tucker.gradient(wavy_tucker, point)
    torch.testing.assert_close(value, wavy(point.dense()))
    parts = (point.core, point.shared, point.other)
    wanted = tangent_projection(assembled, parts, dense_slope(point.dense()))
    torch.testing.assert_close(found.dense(), wanted)
    torch.testing.assert_close(found.norm(), wanted.norm())


def test_tucker_projections_fix_tangent_directions_and_transport() -> None:
    point, there = tucker_of(6, 4, 3, 2, 0), tucker_of(6, 4, 3, 2, 9)
    along = shared_tucker.gradient(wavy_tucker, point)[1]
    same = shared_tucker.project_factors(point, *along.factors())
    torch.testing.assert_close(same.dense(), along.dense())
    moved = shared_tucker.project_factors(there, *along.factors())
    parts = (there.core, there.shared, there.other)
    torch.testing.assert_close(moved.dense(), tangent_projection(assembled, parts, along.dense()))


@given(tuckers, st.integers(0, 99))
def test_tucker_steps_stay_on_the_manifold_and_are_straight_to_first_order(
    shape: tuple[int, int, int, int], number: int
) -> None:
    point = tucker_of(*cut(shape), number)
    slope = shared_tucker.gradient(wavy_tucker, point)[1]
    torch.testing.assert_close(shared_tucker.retract(slope, 0.0).dense(), point.dense())
    step = 1e-6 / float(slope.norm())
    there = shared_tucker.retract(slope, step)
    for factor in (there.shared, there.other):
        eye = torch.eye(factor.shape[1], dtype=F64)
        torch.testing.assert_close(factor.T @ factor, eye)
    straight = point.dense() + step * slope.dense()
    torch.testing.assert_close(there.dense(), straight, rtol=0, atol=1e-9)


def test_tucker_truncation_is_within_root_three_of_what_a_fit_finds() -> None:
    point = tucker_of(6, 5, 2, 2, 0)
    along = shared_tucker.gradient(wavy_tucker, point)[1]
    target = point.dense() + along.dense() / along.norm()
    near = shared_tucker.retract(along, 1 / float(along.norm()))
    best = near
    for _ in range(200):  # descent from the truncation: any better tensor bounds the best
        value, slope = shared_tucker.gradient(
            lambda c, u, w: (assembled(c, u, w) - target).square().sum(), best
        )
        best = shared_tucker.retract(slope, -0.2)
    assert 0 < value.sqrt() <= (near.dense() - target).norm() <= 3**0.5 * value.sqrt()


def test_a_core_of_lower_rank_has_a_finite_gradient() -> None:
    point = tucker_of(6, 4, 3, 2, 0)
    flat = SharedTucker(torch.zeros_like(point.core), point.shared, point.other)
    found = shared_tucker.gradient(wavy_tucker, flat)[1]
    assert found.dense().isfinite().all()


def test_bad_tuckers_are_refused() -> None:
    with pytest.raises(ValueError, match=r"ranks \(3, 2, 3\) need factors .* got 2 and 5"):
        orthonormalized(torch.ones(3, 2, 3), torch.ones(2, 3), torch.ones(5, 2))
    with pytest.raises(ValueError, match="a middle rank of at most 1"):
        orthonormalized(torch.ones(1, 2, 1), torch.ones(2, 1), torch.ones(5, 2))
    with pytest.raises(ValueError, match=r"must be a scalar, got shape \(6, 4, 6\)"):
        shared_tucker.gradient(assembled, tucker_of(6, 4, 3, 2, 0))
