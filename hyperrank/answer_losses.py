"""Losses of queries against all candidates, chunk by chunk, with their gradients in closed form."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

# blocks of this many scores stay in a CPU's second-level cache; on a GPU they are few and large
CELLS = {"cpu": 2**20, "cuda": 2**28}

Score = Callable[..., Tensor]  # (*queries, *candidates of a chunk) -> (b, c)


class Answers(NamedTuple):
    """Which candidates are true of which queries, and what that is worth."""

    position: Int[Tensor, " p"]  # row of the queries
    candidate: Int[Tensor, " p"]  # its (position, candidate) pairs are distinct
    kept: float  # target of a true pair, above ``floor``
    floor: Float[Tensor, " b"]  # target of every other pair of a query


def dot_products(left: Float[Tensor, "b d"], right: Float[Tensor, "c d"]) -> Float[Tensor, "b c"]:
    """All dot products of rows: the plain score."""
    return nn.functional.linear(left, right)


def answer_loss(
    kind: Literal["bce", "softmax"],
    score: Score,
    queries: tuple[Tensor, ...],
    candidates: tuple[Tensor, ...],
    answers: Answers,
    *,
    chunk: int | None = None,
) -> Float[Tensor, ""]:
    """Cross-entropy of all scores x against targets t = floor + kept [true]; a sum.

    "bce" is the sum over queries and candidates of softplus(x) - t x, binary cross-entropy. With
    "softmax" it is the sum of -t log softmax(x), also where a query's targets do not add up to 1.

    The gradient is made in the forward pass. Scores exist for ``chunk`` candidates at a time, and
    so do their slopes; both losses are exact for any chunk, softmax by a first pass that makes the
    logarithms of the sums. Memory: some blocks of b x chunk, and the gradients.

    Args:
        kind: "bce" or "softmax".
        score: From query tensors and rows of candidate tensors, the block of scores; a function of
            these alone. It is differentiated by torch, block by block.
        queries: Tensors with a row for each query.
        candidates: Tensors with a row for each candidate.
        answers: The targets.
        chunk: Candidates at once; None chooses it by the device.
    """
    rows, width = max(len(answers.floor), 1), max(len(candidates[0]), 1)
    if chunk is None:
        chunk = max(CELLS.get(candidates[0].device.type, CELLS["cpu"]) // rows, 1)
    loss: Tensor = _AnswerLoss.apply(  # type: ignore[no-untyped-call]
        kind, score, len(queries), answers, min(chunk, width), *queries, *candidates
    )
    return loss


class _AnswerLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        kind: str,
        score: Score,
        n_query_tensors: int,
        answers: Answers,
        width: int,
        *tensors: Tensor,
    ) -> Tensor:
        wanted, n = ctx.needs_input_grad[5:], len(tensors[n_query_tensors])
        chunks = [slice(start, min(start + width, n)) for start in range(0, n, width)]
        logs = mass = answers.floor
        if kind == "softmax":
            counts = torch.bincount(answers.position, minlength=len(mass))
            mass = answers.kept * counts + n * answers.floor
            if len(chunks) > 1:
                parts = (_part(tensors, n_query_tensors, chunk) for chunk in chunks)
                sums = [score(*part).logsumexp(1).to(mass.dtype) for part in parts]
                logs = torch.stack(sums).logsumexp(0)
        total = mass.new_zeros(())
        slopes = [torch.zeros_like(t) if w else None for t, w in zip(tensors, wanted, strict=True)]
        for chunk in chunks:
            part = _part(tensors, n_query_tensors, chunk)
            leaves = [t.detach().requires_grad_(w) for t, w in zip(part, wanted, strict=True)]
            with torch.enable_grad():
                scores = score(*leaves).to(mass.dtype)  # autocast may have made it shorter
            x = scores.detach().contiguous()
            if kind == "bce":
                loss, slope = nn.functional.softplus(x).sum(), x.sigmoid()
            else:
                logs = x.logsumexp(1) if len(chunks) == 1 else logs
                loss, slope = mass.new_zeros(()), (x - logs[:, None]).exp_().mul_(mass[:, None])
            total += loss - answers.floor @ x.sum(1)
            spot, weight = _true_cells(answers, chunk)
            total -= weight @ x.view(-1)[spot]
            slope.sub_(answers.floor[:, None]).view(-1).index_add_(0, spot, -weight)
            _accumulate(scores, slope, leaves, _part(slopes, n_query_tensors, chunk))
        if kind == "softmax":
            total += mass @ logs
        ctx.save_for_backward(*slopes)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *above: Tensor) -> tuple[Tensor | None, ...]:
        slopes = (None if slope is None else above[0] * slope for slope in ctx.saved_tensors)
        return None, None, None, None, None, *slopes


def _part(tensors: Sequence[Any], n_query_tensors: int, chunk: slice) -> list[Any]:
    """Query tensors whole, and the rows of a chunk of candidate tensors; None stays None."""
    queries, candidates = tensors[:n_query_tensors], tensors[n_query_tensors:]
    return [*queries, *(None if t is None else t[chunk] for t in candidates)]


def _true_cells(answers: Answers, chunk: slice) -> tuple[Tensor, Tensor]:
    """Where each pair lies in the block of a chunk, row by row, and its weight: 0 if outside."""
    width = chunk.stop - chunk.start
    column = answers.candidate - chunk.start
    inside = (column >= 0) & (column < width)
    spot = answers.position * width + column.clamp(0, width - 1)
    return spot, answers.kept * inside.to(answers.floor.dtype)


def _accumulate(
    scores: Tensor, slope: Tensor, leaves: list[Tensor], places: list[Tensor | None]
) -> None:
    """Adds the slopes of ``leaves``, by that of their scores, to ``places``."""
    asked = [(leaf, place) for leaf, place in zip(leaves, places, strict=True) if place is not None]
    if asked:
        found = torch.autograd.grad(scores, [leaf for leaf, _ in asked], slope, allow_unused=True)
        for (_, place), gradient in zip(asked, found, strict=True):
            if gradient is not None:
                place.add_(gradient)
