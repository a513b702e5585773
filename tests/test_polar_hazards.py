"""Where polar factors are hard: deficient rank, extreme condition, tiny and huge entries."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hyperrank.orthogonal import polar
from reference import polar_plain


def distance(q: Tensor) -> float:
    """|Q^T Q - I|_F / sqrt(n), in float64."""
    off = q.double().mT @ q.double() - torch.eye(q.shape[-1], dtype=torch.float64)
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
