"""Riemannion: Muon on matrices of fixed rank, kept as pairs of factors (arXiv:2507.12142)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from hyperrank.lowrank import randomized_svd
from hyperrank.tangent import (
    FactorLoss,
    Tangent,
    balanced,
    gradient_map,
    gradient_of_slopes,
    project_factors,
    retract,
)


class Riemannion(torch.optim.Optimizer):
    """Steps on X = left @ right.T of rank r that do not depend on which pair stands for X.

    With P the projection on the tangent space at X: G = P(gradient), M = momentum * P(last M) + G,
    D = P(the partial isometry nearest to M), and X becomes the matrix of rank r nearest to
    (1 - lr * weight_decay) X - lr D. The non-zero singular values of D, 2r at most, are about 1
    (0.9 to 1.1 where r is far below m and n), so ``lr`` is the spectral norm of a step and wants a
    schedule that falls. Costs O((m + n) r^2 + r^3): thin QRs and SVDs of 2r x 2r; the state is
    2 (m + n) r numbers, as Adam's.

    ``pairs`` holds pairs of parameters (m, r) and (n, r), each a group of its own, or dicts with
    "params" a pair and options of it. Only ``left @ right.T`` should enter the loss: after a step
    the pair is the balanced one of X, U sqrt(values) and V sqrt(values), whatever it was before.
    Departure: the gradient comes from the slopes of the pair, with no second pair inside the
    model; ``tangent.gradient_of_slopes`` says why no digits are lost. Where X would lose rank, its
    smallest values are held at eps times the largest.

    Raises:
        ValueError: If a group is no such pair, or an option is out of range; at a step, if the
            pair has lower rank than columns (start from ``initial_pair``), one of its gradients is
            missing, sparse, NaN or infinite.
    """

    def __init__(
        self,
        pairs: Iterable[Sequence[Tensor] | Tensor | dict[str, Any]],
        lr: float = 1e-3,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
    ) -> None:
        groups = [pair if isinstance(pair, dict) else {"params": pair} for pair in pairs]
        super().__init__(groups, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Adds a pair with its options."""
        options = {**self.defaults, **param_group}
        if options["lr"] < 0 or options["weight_decay"] < 0:
            raise ValueError(
                "lr and weight_decay must not be negative, got "
                f"{options['lr']} and {options['weight_decay']}"
            )
        if not 0 <= options["momentum"] < 1:
            raise ValueError(f"momentum must lie in [0, 1), got {options['momentum']}")
        pair = param_group["params"]
        pair = [pair] if isinstance(pair, Tensor) else list(pair)
        _check_pair(pair)
        super().add_param_group({**param_group, "params": pair})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Moves every pair that has gradients; returns what ``closure`` returns, if given."""
        value = None
        if closure is not None:
            with torch.enable_grad():
                value = closure()
        for group in self.param_groups:
            left, right = group["params"]
            if left.grad is not None or right.grad is not None:
                self._step_pair(left, right, group)
        return value

    def _step_pair(self, left: Tensor, right: Tensor, group: dict[str, Any]) -> None:
        state, lr = self.state[left], group["lr"]
        moved = gradient_of_slopes(left, right, _slope(left), _slope(right))
        point = moved.point
        if state and group["momentum"]:
            last = project_factors(point, state["momentum_left"], state["momentum_right"])
            moved = Tangent(
                point,
                moved.left + group["momentum"] * last.left,
                moved.right + group["momentum"] * last.right,
            )
        if not bool(moved.norm().isfinite()):
            raise ValueError(
                f"a gradient of the pair {tuple(left.shape)}, {tuple(right.shape)} holds NaN or "
                "infinity; lower lr, or look for the first loss that is not finite"
            )
        state["momentum_left"], state["momentum_right"] = moved.factors()
        along = project_factors(point, *partial_isometry(*moved.factors()))
        there = retract(along, -lr, shrink=1 - lr * group["weight_decay"])
        least = torch.finfo(left.dtype).eps * there.values[0]
        for factor, new in zip(
            (left, right),
            balanced(there._replace(values=there.values.clamp_min(least))),
            strict=True,
        ):
            factor.copy_(new)


def partial_isometry(
    left: Float[Tensor, "m k"], right: Float[Tensor, "n k"]
) -> tuple[Float[Tensor, "m rank"], Float[Tensor, "n rank"]]:
    """Factors of ``left @ right.T`` with its non-zero singular values set to one.

    Two thin QRs and an SVD of k x k. Zero means at most eps times k times the largest; of a zero
    matrix nothing is left.
    """
    outer, outer_root = torch.linalg.qr(left)
    inner, inner_root = torch.linalg.qr(right)
    u, values, v = torch.linalg.svd(outer_root @ inner_root.mT, full_matrices=False)
    rounding = left.shape[1] * torch.finfo(left.dtype).eps
    kept = (values > rounding * values[:1]).to(left.dtype)
    return outer @ (u * kept), inner @ v.mT


def initial_pair(
    loss: FactorLoss,
    shape: tuple[int, int],
    rank: int,
    *,
    alpha: float,
    generator: torch.Generator,
    dtype: torch.dtype = torch.float32,
    iterations: int = 4,
) -> tuple[Float[Tensor, "m rank"], Float[Tensor, "n rank"]]:
    """The pair of ``alpha U_{1:r} V_{r+1:2r}^T``, U and V singular vectors of the loss's gradient.

    Of all points of rank r it has the largest projected gradient at zero change, the 2r leading
    singular values of it: the first step may go any way that pays (arXiv:2507.12142, locally
    optimal initialization). ``loss(left, right)`` is the loss when the weight changes by
    ``left @ right.T``, the same function at every call; ``2 * iterations + 2`` forward and backward
    passes of rank 2r + 10 are made (``lowrank.randomized_svd``). To start from the same function,
    subtract ``left @ right.T`` from the frozen weight.

    Raises:
        ValueError: If twice the rank exceeds the smaller side, or ``alpha`` is not above zero.
    """
    if not 1 <= rank <= min(shape) // 2:
        raise ValueError(f"rank must lie in 1..{min(shape) // 2} for shape {shape}, got {rank}")
    if not 0 < alpha < float("inf"):
        raise ValueError(f"alpha must be above zero and finite, got {alpha}")
    slope = gradient_map(loss, shape, dtype=dtype, device=generator.device)
    svd = randomized_svd(slope, 2 * rank, generator=generator, iterations=iterations)
    return alpha**0.5 * svd.left[:, :rank], alpha**0.5 * svd.right[:, rank:]


def _slope(factor: Tensor) -> Tensor:
    if factor.grad is None or factor.grad.is_sparse:
        found = "none" if factor.grad is None else "a sparse one"
        raise ValueError(
            f"a factor of shape {tuple(factor.shape)} needs a dense gradient, got {found}; both "
            "factors of a pair must enter the loss, read with sparse=False"
        )
    return factor.grad


def _check_pair(pair: list[Tensor]) -> None:
    shapes = [tuple(factor.shape) for factor in pair]
    if len(pair) != 2 or any(len(shape) != 2 for shape in shapes) or shapes[0][1] != shapes[1][1]:
        raise ValueError(
            f"a group must be a pair of factors (m, r) and (n, r), got shapes {shapes}; "
            "pass [(left, right), ...]"
        )
    if not 1 <= shapes[0][1] <= min(shapes[0][0], shapes[1][0]):
        raise ValueError(f"a pair of shapes {shapes} has no rank between 1 and its smaller side")
    dtypes = {factor.dtype for factor in pair}
    if len(dtypes) > 1 or not dtypes <= {torch.float32, torch.float64}:
        raise ValueError(
            f"the factors of a pair must both be float32 or both float64, got {pair[0].dtype} and "
            f"{pair[1].dtype}"
        )
