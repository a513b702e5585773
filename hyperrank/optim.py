"""Optimizers of embedding rows, and by name those of matrices and of fixed-rank factor pairs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from hyperrank.muon import Muon
from hyperrank.riemannion import Riemannion

__all__ = ["Muon", "Riemannion", "RowAdam", "touched_rows"]

COUNTS = ("touches", "last")  # of each row: how often it moved, and in which step it did so last


class RowAdam(torch.optim.Optimizer):
    """Dense Adam's moves (Kingma and Ba 2015, algorithm 1) at the price of the touched rows.

    For embedding tables read with ``sparse=True``. Dense Adam goes on moving a row after its
    gradient: for k steps without one its moments shrink by beta1^k and beta2^k, and its steps add
    up to (1 - r^k) / (1 - r) of the first, r = beta1 / sqrt(beta2). Here the moments shrink so at
    the row's next touch, and that whole way is gone at once at the touch, for the k that the row
    has had on average (steps over touches). A row that is touched in every step moves exactly as
    under Adam; others as under dense Adam but for the moment at which they move. Without this, a
    row that is touched once an epoch would average its last ten epochs and take a tenth of the way.

    Costs two more numbers for each number of the table and two counts (int32) for each row; a step
    reads and writes only the touched rows. A dense gradient touches every row.

    Raises:
        ValueError: If a setting is out of its range, also in a group.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Adds a group, its settings checked.

        Raises:
            ValueError: If a setting is out of its range.
        """
        settings = {**self.defaults, **param_group}
        for name in ("lr", "eps"):
            if not 0 <= settings[name] < math.inf:
                raise ValueError(f"{name} must be finite and not negative, got {settings[name]}")
        betas = settings["betas"]
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"betas must lie in [0, 1), got {betas}")
        if betas[0] ** 2 >= betas[1]:
            raise ValueError(f"betas must satisfy beta1 ** 2 < beta2, got {betas}")
        super().add_param_group(param_group)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over the state and the settings of another; counts stay whole numbers."""
        super().load_state_dict(state_dict)
        # torch gives all state the type of the parameter, which rounds counts
        numbers = [number for group in state_dict["param_groups"] for number in group["params"]]
        tables = [table for group in self.param_groups for table in group["params"]]
        for number, table in zip(numbers, tables, strict=True):
            for name in COUNTS if number in state_dict["state"] else ():
                count = state_dict["state"][number][name]
                self.state[table][name] = count.to(table.device, torch.int32, copy=True)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Updates the touched rows; returns what ``closure`` returns, if given."""
        value = None
        if closure is not None:
            with torch.enable_grad():
                value = closure()
        for group in self.param_groups:
            for table in group["params"]:
                if table.grad is not None:
                    self._step_table(table, group)
        return value

    def _step_table(self, table: Tensor, group: dict[str, Any]) -> None:
        (beta1, beta2), state = group["betas"], self.state[table]
        if not state:
            state["step"] = 0
            for name in COUNTS:
                state[name] = torch.zeros(len(table), dtype=torch.int32, device=table.device)
            state["exp_avg"] = torch.zeros_like(table)
            state["exp_avg_sq"] = torch.zeros_like(table)
        assert table.grad is not None
        rows, slope = touched_rows(table.grad)
        state["step"] += 1
        step, column = state["step"], (-1, *[1] * (table.ndim - 1))
        wide = torch.promote_types(table.dtype, torch.float32)

        def part(whole: Tensor) -> Tensor:
            return whole if rows is None else whole.index_select(0, rows)

        gap = (step - part(state["last"])).to(wide).view(column)
        touches = part(state["touches"]).add_(1)
        mean = part(state["exp_avg"]).mul_(beta1**gap).add_(slope, alpha=1 - beta1)
        square = part(state["exp_avg_sq"]).mul_(beta2**gap)
        square.addcmul_(slope, slope, value=1 - beta2)
        if rows is None:
            state["last"].fill_(step)
        else:
            state["last"].index_fill_(0, rows, step)
            state["touches"].index_copy_(0, rows, touches)
            state["exp_avg"].index_copy_(0, rows, mean)
            state["exp_avg_sq"].index_copy_(0, rows, square)
        ratio = beta1 / beta2**0.5
        way = (1 - ratio ** (step / touches.to(wide))) / ((1 - ratio) * (1 - beta1**step))
        spread = square.sqrt().div_((1 - beta2**step) ** 0.5).add_(group["eps"])
        change = (mean * way.view(column)).div_(spread)
        if rows is None:
            table.sub_(change, alpha=group["lr"])
        else:
            # the rows are distinct, and a copy is three times as fast as index_add_
            table.index_copy_(0, rows, part(table).sub_(change, alpha=group["lr"]))


def touched_rows(gradient: Tensor) -> tuple[Tensor | None, Tensor]:
    """Rows of a gradient, each once and rising, with their slopes; None for all of a dense one."""
    if not gradient.is_sparse:
        return None, gradient
    rows, slope = gradient._indices()[0], gradient._values()
    rows, order = torch.sort(rows)
    distinct, counts = torch.unique_consecutive(rows, return_counts=True)
    if len(distinct) == len(rows):
        return rows, slope[order]
    summed = torch.nn.functional.embedding_bag(
        order, slope.reshape(len(slope), -1), counts.cumsum(0) - counts, mode="sum"
    )
    return distinct, summed.view(len(distinct), *slope.shape[1:])
