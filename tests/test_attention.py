"""Norms of the softmax's Jacobian, and the penalty made of their bound."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from hyperrank.attention import AttentionBound, softmax_bound, softmax_norm
from reference_norms import softmax_jacobian_norm


def chances(generator: torch.Generator, *shape: int) -> Tensor:
    logits = torch.randn(*shape, generator=generator, dtype=torch.double)
    return (
        3 * torch.rand(shape[0], *[1] * (len(shape) - 1), generator=generator) * logits
    ).softmax(-1)


@pytest.mark.parametrize("entries", [1, 2, 3, 17])
def test_the_norm_is_exact_and_the_bound_above_it(entries: int, generator: torch.Generator) -> None:
    p = chances(generator, 50, entries)
    exact = torch.stack([softmax_jacobian_norm(row) for row in p])
    torch.testing.assert_close(softmax_norm(p), exact, rtol=1e-10, atol=1e-12)
    assert (softmax_bound(p) >= exact - 1e-12).all()
    assert (softmax_bound(p) <= 0.5 + 1e-12).all()


def test_ties_and_certain_rows() -> None:
    p = torch.tensor([[0.5, 0.5, 0.0], [1 / 3] * 3, [1.0, 0.0, 0.0], [0.4, 0.4, 0.2]])
    exact = torch.stack([softmax_jacobian_norm(row.double()) for row in p]).float()
    torch.testing.assert_close(softmax_norm(p), exact)


class Attention(nn.Module):
    """Heads of chances."""

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        logits = torch.randn(4, 6, 9, generator=generator, dtype=torch.double)
        self.logits = nn.Parameter(logits)

    def forward(self) -> Tensor:
        return self.logits.softmax(-1)


@pytest.mark.parametrize(("share", "count"), [(0.0, 1), (0.5, 3), (1.0, 6)])
def test_the_penalty_is_its_definition(
    share: float, count: int, generator: torch.Generator
) -> None:
    module = Attention(generator)
    penalty = AttentionBound(weight=0.3, attention=lambda module: module(), share=share)
    total = torch.zeros((), dtype=torch.double)
    for head in module():
        bounds = []
        for row in head:
            first, second = row.sort(descending=True).values[:2]
            bounds.append(first * (1 - first + second))
        worst = torch.stack(bounds).sort(descending=True).values[:count]
        total = total + worst.mean().log() / 4
    value = penalty(module)
    torch.testing.assert_close(value, 0.3 * total)
    found, expected = (torch.autograd.grad(v, module.logits)[0] for v in (value, 0.3 * total))
    torch.testing.assert_close(found, expected)
    assert value.item() <= 0.3 * math.log(0.5)


def test_a_certain_row_has_a_finite_gradient() -> None:
    module = nn.ParameterDict({"logits": torch.tensor([[200.0, 0.0, 0.0]])})
    value = AttentionBound(weight=1.0, attention=lambda m: m["logits"].softmax(-1))(module)
    value.backward()
    assert value.isfinite()
    assert module["logits"].grad.isfinite().all()


def test_a_share_is_a_part() -> None:
    with pytest.raises(ValueError, match=r"share is a part of the rows .* got -0.1"):
        AttentionBound(weight=1.0, attention=lambda m: m, share=-0.1)
