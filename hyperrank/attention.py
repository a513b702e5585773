"""How much attention can amplify a change of its logits: norms of the Jacobian of a softmax."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from hyperrank.penalties import LargestRows, Run

HALVINGS = 60  # of an interval of length at most 1, in float64


def softmax_bound(p: Float[Tensor, "*rows n"]) -> Float[Tensor, "*rows"]:
    """p1 (1 - p1 + p2) of the two largest chances: at least ``softmax_norm``, at most 1/2.

    The bound of JaSMin (arXiv:2507.07814); on random rows within 3% of the norm on average.
    Differentiable. The chances are not negative and sum to 1; a single one gives 0.
    """
    first, second = _top_two(p)
    return first * (1 - first + second)


@torch.no_grad()
def softmax_norm(p: Float[Tensor, "*rows n"]) -> Float[Tensor, "*rows"]:
    """Spectral norm of diag(p) - p p^T, the softmax's Jacobian: exact, in the dtype of p.

    The root in (p2, p1) of sum p_i^2 / (p_i - x) = 1, by halving in float64: 60 n operations each.
    """
    wide = p.double()
    high, low = _top_two(wide)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        above = (wide.square() / (wide - middle[..., None])).sum(-1) > 1
        low, high = torch.where(above, low, middle), torch.where(above, middle, high)
    return high.to(p.dtype)


def _top_two(p: Tensor) -> tuple[Tensor, Tensor]:
    if p.shape[-1] == 1:
        return p[..., 0], torch.zeros_like(p[..., 0])
    first, second = p.topk(2).values.unbind(-1)
    return first, second


@dataclass(frozen=True, kw_only=True)
class AttentionBound(LargestRows):
    """Mean over attention maps of the log of the largest ``softmax_bound`` of a row.

    For a caller's own sequence model; JaSMin's penalty in our formulation, as its published loss
    was not at hand. A causal mask leaves early rows few entries, and so the largest bounds: with
    ``share`` above 0 it is the log of the mean over that part of the rows, the largest. Costs one
    pass over the attention, and what ``attention`` costs. Below a rounding of float32 a bound
    counts as one, and has no gradient.

    Attributes:
        attention: From the module, chances of shape (..., rows, entries): all leading axes (layers,
            batch, parallel maps) are averaged over. They must carry a graph, which those of a fused
            kernel do not.
    """

    attention: Callable[[Any], Tensor]

    def norm(self, module: Any, run: Run) -> Float[Tensor, ""]:
        """The mean of the logs, at most log(1/2)."""
        del run
        bounds = softmax_bound(self.attention(module))
        count = self.count(bounds.shape[-1])
        worst = bounds.topk(count).values.mean(-1)
        return worst.clamp_min(torch.finfo(torch.float32).eps).log().mean()
