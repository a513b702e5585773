"""Losses of scored pairs, in closed form where that beats automatic differentiation."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


def weighted_logistic(
    left: Float[Tensor, "b d"],
    right: Float[Tensor, "r d"],
    position: Int[Tensor, " p"],
    positive: Int[Tensor, " p"],
    positive_weight: Float[Tensor, " p"],
    negatives: Int[Tensor, " k"] | Int[Tensor, "b k"],
    negative_weight: Float[Tensor, "b k"],
) -> Float[Tensor, ""]:
    """Weighted binary cross-entropy of dot products; a sum, with its gradient in closed form.

    With s(a, c) = left[a] . right[c], it is

        sum_i positive_weight[i] softplus(-s(position[i], positive[i]))
        + sum_ak negative_weight[a, k] softplus(s(a, negatives[k] or negatives[a, k])).

    The gradient is made in the forward pass, by two products with the b x k block of weighted
    logistic values and one weighted sum of rows per positive; no tensor of size b x k x d or p x d
    outlives it. Negatives in one row (k,) are shared by all of ``left``.

    ``position`` must be nondecreasing. Costs about 6 b k d + 8 p d operations and b k + p d numbers
    of memory; with negatives of their own, b k d numbers. Under ``torch.autocast`` the products are
    of its type, everything else of that of ``left``.
    """
    loss: Tensor = _WeightedLogistic.apply(  # type: ignore[no-untyped-call]
        left, right, position, positive, positive_weight, negatives, negative_weight
    )
    return loss


class _WeightedLogistic(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        left: Tensor,
        right: Tensor,
        position: Tensor,
        positive: Tensor,
        positive_weight: Tensor,
        negatives: Tensor,
        negative_weight: Tensor,
    ) -> Tensor:
        loss, slope_left, slope_right = _negative_part(left, right, negatives, negative_weight)
        scores = (left.index_select(0, position) * right.index_select(0, positive)).sum(1)
        loss = loss + (positive_weight * nn.functional.softplus(-scores)).sum()
        slope = -positive_weight * torch.sigmoid(-scores)
        slope_left += _weighted_row_sums(right, positive, position, slope, len(left))
        order = torch.argsort(positive)
        slope_right += _weighted_row_sums(
            left, position[order], positive[order], slope[order], len(right)
        )
        ctx.save_for_backward(slope_left, slope_right)
        return loss

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> tuple[Tensor | None, ...]:
        slope_left, slope_right = ctx.saved_tensors
        return above[0] * slope_left, above[0] * slope_right, None, None, None, None, None


def _negative_part(
    left: Tensor, right: Tensor, negatives: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Loss of the negatives, and its slopes in ``left`` and ``right``."""
    slope_right = torch.zeros_like(right)
    drawn = right.index_select(0, negatives.flatten())
    if negatives.ndim == 1:
        scores = (left @ drawn.T).to(left.dtype)  # autocast may have made it shorter
        slope = torch.sigmoid(scores).mul_(weight)
        slope_left, slope_drawn = slope @ drawn, slope.T @ left
    else:
        drawn = drawn.view(*negatives.shape, -1)
        scores = torch.einsum("bd,bkd->bk", left, drawn).to(left.dtype)
        slope = torch.sigmoid(scores).mul_(weight)
        slope_left = torch.einsum("bk,bkd->bd", slope, drawn)
        slope_drawn = (slope.unsqueeze(2) * left.unsqueeze(1)).flatten(0, 1)
    slope_right.index_add_(0, negatives.flatten(), slope_drawn.to(right.dtype))
    loss = (weight * nn.functional.softplus(scores)).sum()
    return loss, slope_left.to(left.dtype), slope_right


def _weighted_row_sums(
    table: Tensor, row: Tensor, group: Tensor, weight: Tensor, n_groups: int
) -> Tensor:
    """``out[g]`` is the sum of ``weight * table[row]`` over the entries of g; groups must rise."""
    edges = torch.arange(n_groups, device=group.device)
    return nn.functional.embedding_bag(
        row, table, torch.searchsorted(group, edges), mode="sum", per_sample_weights=weight
    )


def bpr(positive: Float[Tensor, " p"], negative: Float[Tensor, "p k"]) -> Float[Tensor, ""]:
    """Sum over positives of the mean softplus of (negative - positive) score.

    Bayesian personalized ranking (Rendle et al. 2009, eq. 4), with k negatives for each positive.
    """
    return nn.functional.softplus(negative - positive.unsqueeze(1)).mean(1).sum()
