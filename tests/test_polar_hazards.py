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
