"""Adversarial training: the loss is made small also where its tables are moved to raise it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from hyperrank.optim import touched_rows

TINY = torch.finfo(torch.float32).tiny
STRIDE = 2.5  # radii that the steps of an attack add up to, where there are several


@dataclass(frozen=True, kw_only=True)
class Adversarial:
    """The clean loss plus ``weight`` times the loss at tables that are moved against it.

    An ``objective`` of ``hyperrank.training.train``; adversarial personalized ranking (He et al.
    2018, arXiv:1808.03908) of any module with tables. Each row that a batch touches goes
    ``epsilon`` along its own slope, of length one; with several steps each goes 2.5 / steps of that
    and the sum is cut to it. Departures: epsilon is relative to the RMS row norm of a table, so
    that a larger table is no stronger one, unless ``relative`` is off; what the module's loss has
    of L2 is part of the attacked loss too.

    All slopes are made in the forward pass, one loss after the other, while the rows stand where
    they are moved, and then the rows are put back to the bit: only touched rows are copied where
    gradients are sparse. Costs 1 + ``steps`` losses with their gradients. A loss with noise or
    running averages draws and counts as often.

    Attributes:
        weight: Of the second loss.
        tables: Names of the parameters that are moved, of two axes each.
        epsilon: Size of a row's move.
        steps: Gradient steps of the attack.
        relative: Whether epsilon is a part of the RMS row norm of the table.
    """

    weight: float
    tables: tuple[str, ...]
    epsilon: float = 0.1
    steps: int = 1
    relative: bool = True

    def __call__(self, module: Any, batch: Any) -> Float[Tensor, ""]:
        """Both losses, whose backward pass only hands the slopes out."""
        named = {name: p for name, p in module.named_parameters() if p.requires_grad}
        parameters, tables = list(named.values()), [named[name] for name in self.tables]
        value, slopes = _slopes(module, batch, parameters)
        by_name = dict(zip(named, slopes, strict=True))
        ascent = [_ascent(by_name[name]) for name in self.tables]
        radii = [self._radius(table) for table in tables]
        with _put_back(tables, [rows for rows, _ in ascent]) as clean:
            for step in range(self.steps):
                if step:
                    ascent = [_ascent(s) for s in _slopes(module, batch, tables)[1]]
                for table, (rows, slope), start, radius in zip(
                    tables, ascent, clean, radii, strict=True
                ):
                    self._move(table, rows, slope, start, radius)
            worst, more = _slopes(module, batch, parameters)
        total = [_sum(s, m, self.weight) for s, m in zip(slopes, more, strict=True)]
        loss: Tensor = _Made.apply(value + self.weight * worst, total, *parameters)  # type: ignore[no-untyped-call]
        return loss

    @torch.no_grad()
    def _radius(self, table: Tensor) -> Tensor:
        if not self.relative:
            return table.new_tensor(self.epsilon)
        radius: Tensor = self.epsilon / len(table) ** 0.5 * table.norm()
        return radius

    @torch.no_grad()
    def _move(
        self, table: Tensor, rows: Tensor | None, slope: Tensor, start: Tensor, radius: Tensor
    ) -> None:
        """One step of these rows, in place, no further than the radius from their start."""
        length = radius * min(1.0, STRIDE / self.steps)
        here = table if rows is None else table.index_select(0, rows)
        off = here - start + nn.functional.normalize(slope, dim=1, eps=TINY) * length
        far = off.norm(dim=1, keepdim=True).clamp_min(TINY)
        _write(table, rows, start + off * (radius / far).clamp_max(1))


class _Made(torch.autograd.Function):
    """A value whose slopes are made already."""

    @staticmethod
    def forward(
        ctx: Any, value: Tensor, slopes: list[Tensor | None], *parameters: Tensor
    ) -> Tensor:
        del parameters
        ctx.slopes = slopes
        return value.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *above: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, *(None if slope is None else above[0] * slope for slope in ctx.slopes)


@torch.enable_grad()
def _slopes(module: Any, batch: Any, of: list[Tensor]) -> tuple[Tensor, list[Tensor | None]]:
    loss = module.loss(batch)
    return loss.detach(), list(torch.autograd.grad(loss, of, allow_unused=True))


def _ascent(slope: Tensor | None) -> tuple[Tensor | None, Tensor]:
    assert slope is not None  # an attacked table that no loss reads is a mistake of the caller
    return touched_rows(slope)


def _sum(slope: Tensor | None, other: Tensor | None, weight: float) -> Tensor | None:
    if slope is None or other is None:
        return slope
    return slope.add(other, alpha=weight)


@contextmanager
def _put_back(tables: list[Tensor], rows: list[Tensor | None]) -> Iterator[list[Tensor]]:
    """Copies of these rows, None for all, which are put back on leaving."""
    with torch.no_grad():
        pairs = list(zip(tables, rows, strict=True))
        clean = [t.clone() if r is None else t.index_select(0, r) for t, r in pairs]
        try:
            yield clean
        finally:
            for (table, places), values in zip(pairs, clean, strict=True):
                _write(table, places, values)


def _write(table: Tensor, rows: Tensor | None, values: Tensor) -> None:
    if rows is None:
        table.copy_(values)
    else:
        table.index_copy_(0, rows, values)
