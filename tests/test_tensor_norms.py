"""The injective norm's bracket: known tensors, an exhaustive search, its slopes."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hyperrank import tensor_norms
from hyperrank.tensor_norms import InjectiveNorm, injective
from reference import injective_norm_by_search


def normal(*shape: int, number: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(number))


def bracket(core: Tensor, restarts: int = 20, number: int = 0) -> InjectiveNorm:
    return injective(core, restarts=restarts, generator=torch.Generator().manual_seed(number))


@settings(max_examples=40)
@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 5), st.integers(0, 99))
def test_the_lower_end_is_a_value_and_the_ends_are_ordered(
    a: int, b: int, c: int, number: int
) -> None:
    core = normal(a, b, c, number=number)
    for restarts in (0, 3):
        found = bracket(core, restarts)
        for vector in found.vectors:
            torch.testing.assert_close(vector.norm(), torch.ones((), dtype=core.dtype))
        torch.testing.assert_close(torch.einsum("abc,a,b,c->", core, *found.vectors), found.lower)
        assert found.lower <= found.upper * (1 + 1e-12)
        assert found.upper <= found.lower * min(a, b, c) ** 0.5 * (1 + 1e-12)
    unfoldings = [core.movedim(mode, 0).flatten(1) for mode in range(3)]
    exact = min(torch.linalg.matrix_norm(unfolded, 2) for unfolded in unfoldings)
    torch.testing.assert_close(found.upper, exact)


@pytest.mark.parametrize("number", range(6))
def test_restarts_find_the_norm_of_small_tensors(number: int) -> None:
    core = normal(2, 3, 4, number=number)
    searched = injective_norm_by_search(core, angles=2000)
    found = bracket(core)
    assert searched * (1 - 1e-12) <= found.lower <= searched * (1 + 1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_known_norms(dtype: torch.dtype) -> None:
    x, y, z = (normal(side, number=side, dtype=dtype) for side in (5, 4, 3))
    outer = torch.einsum("a,b,c->abc", x, y, z)
    size = x.norm() * y.norm() * z.norm()
    for end in bracket(outer)[:2]:
        torch.testing.assert_close(end, size)
    diagonal = torch.zeros(3, 3, 3, dtype=dtype)
    diagonal[range(3), range(3), range(3)] = torch.tensor([1.0, -4.0, 2.0], dtype=dtype)
    for end in bracket(diagonal)[:2]:
        torch.testing.assert_close(end, torch.tensor(4.0, dtype=dtype))
    # e1 e1 e2 + e1 e2 e1 + e2 e1 e1: 2 / sqrt 3, where each unfolding has sqrt 2
    w = torch.zeros(2, 2, 2, dtype=dtype)
    w[0, 0, 1] = w[0, 1, 0] = w[1, 0, 0] = 1
    found = bracket(w)
    torch.testing.assert_close(found.lower, torch.tensor(2 / math.sqrt(3), dtype=dtype))
    torch.testing.assert_close(found.upper, torch.tensor(math.sqrt(2), dtype=dtype))


@pytest.mark.parametrize("mode", range(3))
def test_a_side_of_one_is_the_spectral_norm(mode: int) -> None:
    matrix = normal(6, 5)
    for end in bracket(matrix.unsqueeze(mode))[:2]:
        torch.testing.assert_close(end, torch.linalg.matrix_norm(matrix, 2), rtol=1e-7, atol=0)


def test_random_cores_show_the_published_order_of_the_three_norms() -> None:
    """10 x 6 x 10 standard normal: about 7.0, 10.1 and 24.3 were seen elsewhere on one draw."""
    means = torch.zeros(3, dtype=torch.float64)
    for number in range(20):
        core = normal(10, 6, 10, number=number)
        found = bracket(core)
        means += torch.stack([found.lower, found.upper, core.norm()]) / 20
    assert 6.5 < means[0] < 7.5
    assert 9.5 < means[1] < 11
    assert 24 < means[2] < 25


@pytest.mark.parametrize("shape", [(8, 8, 8), (9, 4, 6), (2, 7, 5)], ids=str)
def test_every_unfolding_gives_a_start_of_its_own(shape: tuple[int, int, int]) -> None:
    """Whose value is at least its norm over the root of the smaller of the two other sides."""
    for number in range(6):
        core = normal(*shape, number=number)
        unfoldings = [core.movedim(mode, 0).flatten(1) for mode in range(3)]
        tops = [torch.linalg.svd(unfolded, full_matrices=False)[2][0] for unfolded in unfoldings]
        y, z = tensor_norms._starts(core, tops, 0, torch.Generator())
        assert y.shape == (shape[1], 3)
        values = torch.einsum("abc,bk,ck->ak", core, y, z).norm(dim=0)
        for mode, unfolded in enumerate(unfoldings):
            smaller = min(side for other, side in enumerate(shape) if other != mode)
            least = torch.linalg.matrix_norm(unfolded, 2) / smaller**0.5
            assert values[mode] >= least * (1 - 1e-12)


def test_more_restarts_never_find_less_in_one_draw() -> None:
    core = normal(8, 8, 8)
    values = [float(bracket(core, restarts).lower) for restarts in (0, 60)]
    assert values[0] <= values[1] * (1 + 1e-12)


def test_the_slopes_are_the_outer_products() -> None:
    core = normal(4, 3, 5).requires_grad_()
    found = bracket(core)
    slope = torch.autograd.grad(found.lower, core)[0]
    torch.testing.assert_close(slope, torch.einsum("a,b,c->abc", *found.vectors))
    toward = normal(4, 3, 5, number=1)
    for end in ("lower", "upper"):
        found = bracket(core)
        slope = torch.autograd.grad(getattr(found, end), core)[0]
        step = 1e-6
        ahead, behind = (getattr(bracket(core + s * toward), end) for s in (step, -step))
        torch.testing.assert_close((ahead - behind) / (2 * step), (slope * toward).sum())


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_scale_is_no_matter(scale: float) -> None:
    core = normal(4, 3, 5, dtype=torch.float32)
    found, plain = bracket(core * scale), bracket(core)
    torch.testing.assert_close(found.lower / scale, plain.lower)
    torch.testing.assert_close(found.upper / scale, plain.upper)


def test_a_zero_tensor() -> None:
    core = torch.zeros(3, 2, 4, requires_grad=True)
    found = bracket(core)
    assert found.lower == found.upper == 0
    assert torch.autograd.grad(found.lower + found.upper, core)[0].isfinite().all()


def test_bad_tensors_and_budgets_are_refused(generator: torch.Generator) -> None:
    core = torch.ones(3, 2, 4)
    for wrong, budget, message in (
        (torch.ones(3, 0, 4), {}, r"the tensor has no numbers: its shape is \(3, 0, 4\)"),
        (core, {"restarts": -1}, "need restarts >= 0 and iterations >= 1, got -1, 200"),
        (core, {"iterations": 0}, "got 20, 0"),
        (core * torch.nan, {}, "NaN or infinity in the tensor"),
        (core * torch.inf, {}, "NaN or infinity in the tensor"),
    ):
        with pytest.raises(ValueError, match=message):
            injective(wrong, generator=generator, **budget)
    with pytest.raises(TypeError, match=r"need float32 or float64, got torch.float16"):
        injective(core.half(), generator=generator)
