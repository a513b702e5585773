"""Muon: momentum whose steps are orthogonalized, each iteration by a polynomial of its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any, Literal

import torch
from torch import Tensor

from hyperrank.polynomials import Polynomial, evaluate, with_margin

# Jordan 2024, largest slope at 0: five steps send [0.01, 1] into [0.68, 1.14], not to 1
QUINTIC = (3.4445, -4.7750, 2.0315)
ALGORITHMS = ("muon", "adamw")
LR_RULES = (None, "original", "match_rms_adamw")


class Muon(torch.optim.Optimizer):
    """Muon (Jordan 2024) with any schedule of odd polynomials, and AdamW for other parameters.

    A step moves a matrix against the orthogonalized average of its slopes: the average over its
    Frobenius norm, then the polynomials on its singular values. Arguments and learning rates are
    those of ``torch.optim.Muon`` and so are the steps, where ``ns_coefficients`` is one triple for
    ``ns_steps`` iterations. It may also be a list of polynomials, one for each iteration, from
    ``orthogonal.minimax_schedule`` or ``delta_schedule``; then ``ns_steps`` is not read. A schedule
    that sends 1.01 below 1/2 would turn the sign of what rounding puts beyond 1; it is used
    ``orthogonal.with_margin``.

    Groups: ``{"params": ..., "algorithm": "adamw", "lr": ...}`` goes by AdamW (Loshchilov and
    Hutter 2019) with ``betas`` and ``adam_eps``, for embeddings, biases and whatever is no matrix.
    Every other setting may differ between groups too.

    An m x n matrix, k = min(m, n), costs 2 products of m n k for each cubic iteration and one of
    k^3 more for each further 2 degrees, in ``dtype``, and one number of memory for each of its
    own; AdamW two.

    Args:
        params: Parameters or groups of them; matrices only where the algorithm is ``"muon"``.
        lr: Step; for ``"muon"`` times what ``adjust_lr_fn`` says.
        weight_decay: Part of ``lr`` times the parameter that a step takes away.
        momentum: Weight of the old average at each step.
        nesterov: Whether to look ahead: orthogonalize the average as of one more such slope.
        ns_coefficients: (c1, c3, c5), or a list of tuples (c1, c3, ...).
        eps: The least norm to divide by.
        ns_steps: Iterations with a single triple.
        adjust_lr_fn: ``"original"`` (None) multiplies lr by sqrt(max(1, rows / columns)),
            ``"match_rms_adamw"`` by 0.2 sqrt(max(rows, columns)).
        dtype: Of the iterations; None for that of the slopes.
        algorithm: ``"muon"`` or ``"adamw"``, of groups that do not say.
        betas: AdamW's.
        adam_eps: AdamW's.

    Raises:
        ValueError: If a setting is out of its range, or a parameter of ``"muon"`` is no matrix.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the arguments of torch.optim.Muon, and three of AdamW
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float | Tensor = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: Polynomial | Sequence[Polynomial] = QUINTIC,
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: Literal["original", "match_rms_adamw"] | None = None,
        *,
        dtype: torch.dtype | None = torch.bfloat16,
        algorithm: Literal["muon", "adamw"] = "muon",
        betas: tuple[float, float] = (0.9, 0.999),
        adam_eps: float = 1e-8,
    ) -> None:
        settings = {
            "lr": lr,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "nesterov": nesterov,
            "ns_coefficients": ns_coefficients,
            "eps": eps,
            "ns_steps": ns_steps,
            "adjust_lr_fn": adjust_lr_fn,
            "dtype": dtype,
            "algorithm": algorithm,
            "betas": betas,
            "adam_eps": adam_eps,
        }
        super().__init__(params, settings)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Adds a group, its settings checked.

        Raises:
            ValueError: As the class.
        """
        _check_settings({**self.defaults, **param_group})
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        flat = [p for p in group["params"] if p.ndim != 2]
        if group["algorithm"] == "muon" and flat:
            self.param_groups.pop()
            raise ValueError(
                f"muon takes matrices, got a parameter of shape {tuple(flat[0].shape)}; put it in "
                'a group with "algorithm": "adamw"'
            )

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Updates all parameters that have slopes; returns what ``closure`` returns, if given."""
        value = None
        if closure is not None:
            with torch.enable_grad():
                value = closure()
        for group in self.param_groups:
            move = self._muon if group["algorithm"] == "muon" else self._adamw
            for parameter in group["params"]:
                if parameter.grad is None or not parameter.numel():
                    continue
                if parameter.grad.is_sparse:
                    raise ValueError(
                        "Muon takes dense gradients; leave tables that are read with sparse=True "
                        "to hyperrank.optim.RowAdam"
                    )
                parameter.mul_(1 - float(group["lr"]) * group["weight_decay"])
                move(parameter, parameter.grad, group)
        return value

    def _muon(self, parameter: Tensor, slope: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(slope)
        average = state["momentum_buffer"].lerp_(slope, 1 - group["momentum"])
        step = slope.lerp(average, group["momentum"]) if group["nesterov"] else average
        schedule = _schedule(group["ns_coefficients"], group["ns_steps"])
        step = orthogonalized(step.to(group["dtype"] or step.dtype), schedule, eps=group["eps"])
        rows, columns = parameter.shape
        factor = (
            0.2 * math.sqrt(max(rows, columns))
            if group["adjust_lr_fn"] == "match_rms_adamw"
            else math.sqrt(max(1.0, rows / columns))
        )
        parameter.add_(step, alpha=-float(group["lr"]) * factor)

    def _adamw(self, parameter: Tensor, slope: Tensor, group: dict[str, Any]) -> None:
        state, (beta1, beta2) = self.state[parameter], group["betas"]
        if not state:
            state["step"] = 0
            state["exp_avg"] = torch.zeros_like(slope)
            state["exp_avg_sq"] = torch.zeros_like(slope)
        state["step"] += 1
        mean = state["exp_avg"].lerp_(slope, 1 - beta1)
        square = state["exp_avg_sq"].mul_(beta2).addcmul_(slope, slope, value=1 - beta2)
        spread = square.sqrt() / math.sqrt(1 - beta2 ** state["step"])
        size = float(group["lr"]) / (1 - beta1 ** state["step"])
        parameter.addcdiv_(mean, spread.add_(group["adam_eps"]), value=-size)


def orthogonalized(x: Tensor, schedule: Sequence[Polynomial], *, eps: float = 1e-7) -> Tensor:
    """The schedule on the singular values of x over its Frobenius norm, in the dtype of x.

    Products are with the Gram matrix of the smaller side, as ``torch.optim.Muon`` takes them.
    """
    turned = x.shape[0] > x.shape[1]
    x = x.mT if turned else x
    x = x / x.norm().clamp_min(eps)
    for linear, cubic, *higher in schedule:
        gram = x @ x.mT
        inner, scale = (_horner(gram, (cubic, *higher)), 1.0) if higher else (gram, cubic)
        x = torch.addmm(x, inner, x, beta=linear, alpha=scale)
    return x.mT if turned else x


def _horner(gram: Tensor, coefficients: Polynomial) -> Tensor:
    """c1 G + c2 G^2 + ..., at least two of them."""
    inner = torch.addmm(gram, gram, gram, beta=coefficients[-2], alpha=coefficients[-1])
    for coefficient in coefficients[-3::-1]:
        inner = torch.addmm(gram, inner, gram, beta=coefficient)
    return inner


def _schedule(coefficients: Sequence[Any], steps: int) -> list[Polynomial]:
    """One polynomial for each iteration, with a margin where values beyond 1 would turn over."""
    if isinstance(coefficients[0], Sequence):
        return _guarded(tuple(tuple(polynomial) for polynomial in coefficients))
    return _guarded((tuple(coefficients),) * steps)


@cache
def _guarded(schedule: tuple[Polynomial, ...]) -> list[Polynomial]:
    over = evaluate(list(schedule), torch.tensor(1.01, dtype=torch.float64))
    return list(schedule) if float(over) >= 0.5 else with_margin(list(schedule))


def _check_settings(group: dict[str, Any]) -> None:
    for name in ("lr", "weight_decay", "momentum", "eps", "adam_eps"):
        if isinstance(group[name], Tensor) and group[name].numel() != 1:
            raise ValueError(f"{name} must be one number, got {tuple(group[name].shape)}")
        if not float(group[name]) >= 0:
            raise ValueError(f"{name} must not be negative, got {group[name]}")
    if not all(0 <= beta < 1 for beta in group["betas"]):
        raise ValueError(f"betas must lie in [0, 1), got {group['betas']}")
    if group["algorithm"] not in ALGORITHMS:
        raise ValueError(f"algorithm must be one of {ALGORITHMS}, got {group['algorithm']!r}")
    if group["adjust_lr_fn"] not in LR_RULES:
        raise ValueError(f"adjust_lr_fn must be one of {LR_RULES}, got {group['adjust_lr_fn']!r}")
    coefficients = group["ns_coefficients"]
    if not 1 <= group["ns_steps"] < 100:
        raise ValueError(f"ns_steps must lie in 1..99, got {group['ns_steps']}")
    single = bool(coefficients) and not isinstance(coefficients[0], Sequence)
    polynomials = [coefficients] if single else coefficients
    if not polynomials or any(len(p) < 2 for p in polynomials):
        raise ValueError(
            "ns_coefficients must be (c1, c3, ...), or a list of such tuples for each iteration, "
            f"got {coefficients}"
        )
