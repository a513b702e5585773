"""Losses against all candidates: chunked, whole, and the plain formula are one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from hyperrank.answer_losses import Answers, answer_loss, dot_products
from reference_kg import answer_loss_plain

B, N, D = 4, 23, 3
KINDS = ("bce", "softmax")


def ratio(left: Tensor, scale: Tensor, right: Tensor, height: Tensor) -> Tensor:
    """A score that is no product: MIG-TF's form."""
    return left @ right.T / (scale[:, None] + height)


def problem(generator: torch.Generator) -> tuple[list[Tensor], list[Tensor], Answers]:
    def real(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator).requires_grad_()

    cell = torch.randperm(B * N, generator=generator)[:9]
    floor = torch.rand(B, dtype=torch.float64, generator=generator) / N
    queries = [real(B, D), real(B).detach().exp().requires_grad_()]
    candidates = [real(N, D), real(N).detach().exp().requires_grad_()]
    return queries, candidates, Answers(cell // N, cell % N, 0.9, floor)


def both(kind: Any, chunk: int | None, generator: torch.Generator) -> tuple[Tensor, Tensor, Any]:
    queries, candidates, answers = problem(generator)
    ours = answer_loss(kind, ratio, (*queries,), (*candidates,), answers, chunk=chunk)
    plain = answer_loss_plain(kind, ratio(*queries, *candidates), *answers)
    return ours, plain, [*queries, *candidates]


@pytest.mark.parametrize("chunk", [None, 1, 5, N, 100])
@pytest.mark.parametrize("kind", KINDS)
def test_any_chunk_is_the_plain_formula(
    kind: str, chunk: int | None, generator: torch.Generator
) -> None:
    ours, plain, tensors = both(kind, chunk, generator)
    torch.testing.assert_close(ours, plain)
    slopes = torch.autograd.grad(2 * ours, tensors)
    torch.testing.assert_close(slopes, torch.autograd.grad(2 * plain, tensors))


@pytest.mark.parametrize("kind", KINDS)
def test_gradcheck(kind: Any, generator: torch.Generator) -> None:
    queries, candidates, answers = problem(generator)

    def loss(*tensors: Tensor) -> Tensor:
        return answer_loss(kind, ratio, tensors[:2], tensors[2:], answers, chunk=7)

    assert torch.autograd.gradcheck(loss, (*queries, *candidates))


@pytest.mark.parametrize("kind", KINDS)
def test_what_needs_no_gradient_gets_none(kind: Any, generator: torch.Generator) -> None:
    (left, _), (right, _), answers = problem(generator)
    frozen = right.detach()
    answer_loss(kind, dot_products, (left,), (frozen,), answers, chunk=4).backward()
    assert left.grad is not None
    assert frozen.grad is None
    still = answer_loss(kind, dot_products, (left.detach(),), (frozen,), answers)
    assert not still.requires_grad


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_stay_finite_over_thirty_orders(kind: Any, generator: torch.Generator) -> None:
    (left, _), (right, _), answers = problem(generator)
    answers = answers._replace(floor=answers.floor.float())
    right = right.detach().float().requires_grad_()
    for size in 10.0 ** torch.arange(-15, 16, 3):
        scaled = (left.detach() * size).float().requires_grad_()
        loss = answer_loss(kind, dot_products, (scaled,), (right,), answers, chunk=5)
        slopes = torch.autograd.grad(loss, (scaled, right))
        assert loss.isfinite()
        assert all(slope.isfinite().all() for slope in slopes)


@pytest.mark.parametrize("kind", KINDS)
def test_no_block_is_wider_than_the_chunk(kind: Any, generator: torch.Generator) -> None:
    (left, _), (right, _), answers = problem(generator)
    seen = []

    def score(a: Tensor, c: Tensor) -> Tensor:
        seen.append(len(c))
        return dot_products(a, c)

    answer_loss(kind, score, (left,), (right,), answers, chunk=6).backward()
    assert max(seen) == 6
    assert sum(seen) == N * (2 if kind == "softmax" else 1)


@pytest.mark.parametrize("kind", KINDS)
def test_shorter_products_give_slopes_of_the_tables_type(
    kind: Any, generator: torch.Generator
) -> None:
    (left, _), (right, _), answers = problem(generator)
    answers = answers._replace(floor=answers.floor.float())
    left, right = (t.detach().float().requires_grad_() for t in (left, right))
    exact = answer_loss(kind, dot_products, (left,), (right,), answers)
    with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
        rough = answer_loss(kind, dot_products, (left,), (right,), answers, chunk=5)
        rough.backward()
    assert left.grad is not None
    assert left.grad.dtype == torch.float32
    torch.testing.assert_close(rough, exact, rtol=2e-2, atol=0.0)
