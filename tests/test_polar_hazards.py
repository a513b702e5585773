"""Where polar factors are hard: deficient rank, extreme condition, tiny and huge entries."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hyperrank.orthogonal import norm_bound, normalized, polar, project_tangent, retract
from reference import polar_plain


def distance(q: Tensor) -> float:
    """|Q^T Q - I|_F / sqrt(n), in float64."""
    q = q.detach().double()
    off = q.mT @ q - torch.eye(q.shape[-1], dtype=torch.float64)
    return float(torch.linalg.matrix_norm(off).max() / q.shape[-1] ** 0.5)


@pytest.mark.parametrize("method", ["auto", "eigenvectors", "halley", "svd"])
def test_methods_by_name_finish_what_their_route_cannot(
    method: str, generator: torch.Generator
) -> None:
    repeated = torch.randn(200, 5, generator=generator)
    repeated[:, 4] = repeated[:, 0]
    steep = torch.randn(200, 5, generator=generator) * torch.logspace(0, -5, 5)
    for x in (repeated, torch.zeros(200, 5), torch.stack([repeated, steep, 0 * steep])):
        q = polar(x, method=method)
        assert distance(q) < 1e-6
        nuclear = torch.linalg.matrix_norm(x, "nuc").sum()
        torch.testing.assert_close((q * x).sum(), nuclear, rtol=1e-5, atol=0)
    q = polar(steep.double(), method=method)
    torch.testing.assert_close(q, polar_plain(steep), rtol=0, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("shape", [(9, 4), (4, 4), (3, 7), (2000, 5), (2, 30, 6)], ids=str)
@pytest.mark.parametrize("rank", [1, 2])
def test_gradients_at_deficient_rank_hold_no_noise(
    rank: int, shape: tuple[int, ...], dtype: torch.dtype, generator: torch.Generator
) -> None:
    """By the smallest singular value that is not 0: all other directions are given as 0."""
    left = torch.randn(*shape[:-1], rank, generator=generator, dtype=dtype)
    right = torch.randn(*shape[:-2], rank, shape[-1], generator=generator, dtype=dtype)
    for x in (left @ right, torch.ones(shape, dtype=dtype)):
        x.requires_grad_()
        slope = torch.randn(shape, generator=generator, dtype=dtype)
        polar(x).backward(slope)
        values = torch.linalg.svdvals(x.detach().double())
        least = values.masked_fill(values < 1e-5 * values.amax(), torch.inf).amin()
        assert x.grad is not None
        assert torch.linalg.matrix_norm(x.grad).max() <= 2 * slope.norm() / least


@pytest.mark.parametrize("shape", [(400, 100), (100, 100)], ids=str)
def test_gradients_keep_small_singular_values(
    shape: tuple[int, int], generator: torch.Generator
) -> None:
    found = []
    x = torch.randn(shape, generator=generator)
    x = polar(x) * torch.logspace(0, -3, shape[1])
    slope = torch.randn(shape, generator=generator)
    for dtype in (torch.float32, torch.float64):
        start = x.to(dtype, copy=True).requires_grad_()
        polar(start).backward(slope.to(dtype))
        found.append(start.grad)
    single, double = found
    assert (single - double).norm() < 0.01 * double.norm()


BOUNDS = ["frobenius", "gelfand", "one-infinity"]


@pytest.mark.parametrize("bound", BOUNDS)
@pytest.mark.parametrize("scale", [1e-42, 1e-30, 1e-15, 1e18, 1e36])
def test_bounds_hold_at_the_ends_of_float32(
    bound: str, scale: float, generator: torch.Generator
) -> None:
    x = torch.randn(2, 30, 20, generator=generator).double().mul(scale).float()
    exact = torch.linalg.matrix_norm(x.double(), 2)
    found = norm_bound(x, bound)[..., 0, 0].double()
    assert (exact * (1 - 1e-6) <= found + 2e-45).all()
    assert (found <= 6 * exact).all()
    tops = torch.linalg.matrix_norm(normalized(x, bound).double(), 2)
    assert (tops > 0.15).all()
    assert (tops <= 1 / 1.01 + 1e-6).all()


@pytest.mark.parametrize("bound", BOUNDS)
def test_bounds_of_half_types_and_of_what_no_number_holds(bound: str) -> None:
    for dtype, entry in ((torch.float16, 60000.0), (torch.float32, 3e38), (torch.float64, 1e308)):
        x = torch.full((30, 20), entry, dtype=dtype)
        assert norm_bound(x, bound).isinf().all()
        torch.testing.assert_close(
            torch.linalg.matrix_norm(normalized(x, bound).double(), 2).item(),
            1 / 1.01,
            rtol=2e-3,
            atol=0,
        )
    fine = torch.full((300, 200), 0.125, dtype=torch.bfloat16)
    assert norm_bound(fine, bound).item() == pytest.approx(0.125 * 60000**0.5, rel=4e-3)


@pytest.mark.parametrize("bound", BOUNDS)
def test_bounds_of_empty_matrices_are_zero(bound: str) -> None:
    for shape in ((0, 3), (3, 0), (2, 0, 3), (0, 2, 3)):
        found = norm_bound(torch.zeros(shape), bound)
        assert found.shape == (*shape[:-2], 1, 1)
        assert not found.any()
        assert normalized(torch.zeros(shape), bound).shape == shape


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (torch.ones(3, 2).long(), TypeError, "needs a real floating matrix, got torch.int64; conv"),
        (torch.ones(3), ValueError, r"needs a matrix or a batch of them, got shape \(3,\)"),
        (torch.full((2, 3, 2), torch.nan), ValueError, "the matrix holds NaN or infinity"),
        (torch.full((3, 2), torch.inf), ValueError, "the matrix holds NaN or infinity"),
    ],
    ids=["integers", "vector", "nan", "infinity"],
)
def test_bounds_refuse_what_is_no_finite_matrix(
    wrong: Tensor, error: type[Exception], message: str
) -> None:
    for bound in BOUNDS:
        for call in (norm_bound, normalized):
            with pytest.raises(error, match=f"{call.__name__} needs"):
                call(wrong, bound)
            with pytest.raises(error, match=message):
                call(wrong, bound)


@pytest.mark.parametrize("size", [1e3, 1e6, 1e12, 1e30])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_retraction_along_huge_tangents_stays_orthonormal(
    size: float, dtype: torch.dtype, generator: torch.Generator
) -> None:
    x = polar(torch.randn(2, 40, 6, generator=generator, dtype=dtype))
    step = project_tangent(x, torch.randn(2, 40, 6, generator=generator, dtype=dtype))
    step = (size * step).requires_grad_()
    moved = retract(x, step)
    assert distance(moved) < 20 * torch.finfo(dtype).eps
    moved.sum().backward()
    assert step.grad is not None
    assert step.grad.isfinite().all()
    assert distance(retract(x, torch.cat([step[:1], 0 * step[1:]]))) < 20 * torch.finfo(dtype).eps
