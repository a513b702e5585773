"""How fast is a step of RowAdam on a large table, against torch's Adam, and what does it keep?

A table of 1,000,000 x 64, batches of 4,096 random rows. Dense sides read it as
``nn.Embedding(sparse=False)`` does, so their gradient is a table of zeros but for the batch. Two
cases: the optimizer's step with its gradient ready, and a whole step, from clearing the gradient
through lookup and backward pass to the step. Row-wise sides see other rows at every step, else
they would find them in the cache; to dense ones that makes no difference.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from itertools import cycle
from typing import Any

import torch
from torch import nn

from benchmarks.record import compared, peak_memory, record, turn_by_turn, under_both_heaps
from hyperrank.optim import RowAdam

LR = 1e-3
SIDES: dict[str, tuple[Callable[..., torch.optim.Optimizer], bool]] = {  # and whether sparse
    "RowAdam": (RowAdam, True),
    "torch Adam": (torch.optim.Adam, False),
    "torch Adam, fused": (lambda tables, lr: torch.optim.Adam(tables, lr, fused=True), False),
    "torch SparseAdam": (torch.optim.SparseAdam, True),
}


class Side:
    """A table with its optimizer, and the two kinds of step."""

    def __init__(self, name: str, rows: int, dim: int, batches: list[torch.Tensor]) -> None:
        make, self.sparse = SIDES[name]
        self.table = nn.Parameter(torch.zeros(rows, dim))
        self.optimizer, self.batches = make([self.table], lr=LR), cycle(batches)
        ready = []
        for _ in range(len(batches) if self.sparse else 1):
            self.clear()
            self.read_back()
            ready.append(self.table.grad)
        self.gradients = cycle(ready)

    def step(self) -> None:
        """A step with a gradient that is there already."""
        self.table.grad = next(self.gradients)
        self.optimizer.step()

    def clear(self) -> None:
        """Drops the gradient, as training loops do."""
        self.optimizer.zero_grad(set_to_none=True)

    def read_back(self) -> None:
        """A gradient of ones at the next batch."""
        chosen = next(self.batches)
        nn.functional.embedding(chosen, self.table, sparse=self.sparse).sum().backward()

    def whole(self) -> None:
        """Clear, look up, go back, step."""
        self.clear()
        self.read_back()
        self.optimizer.step()

    def added_gb(self, step: Callable[[], Any], steps: int = 5) -> float:
        """Most resident memory that steps add to what the side holds already."""
        step()
        self.clear()
        with peak_memory(every=0.0005) as peak:
            for _ in range(steps):
                step()
        return peak.above_start_gb

    def state_gb(self) -> float:
        """What the optimizer keeps between steps."""
        kept = self.optimizer.state[self.table].values()
        return sum(part.nbytes for part in kept if isinstance(part, torch.Tensor)) / 1e9


def main() -> None:
    """Records both cases under this process's heap setting."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--batch", type=int, default=4096)
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    generator = torch.Generator().manual_seed(0)
    batches = [
        torch.randint(options.rows, (options.batch,), generator=generator) for _ in range(16)
    ]
    sides = {name: Side(name, options.rows, options.dim, batches) for name in SIDES}
    cases: dict[str, dict[str, Callable[[], Any]]] = {
        "step": {name: side.step for name, side in sides.items()},
        "whole step": {name: side.whole for name, side in sides.items()},
    }
    sizes = {"rows": options.rows, "dim": options.dim, "batch": options.batch}
    for case, steps in cases.items():
        times = turn_by_turn(steps, repeats=options.repeats, warmups=3)
        medians = {name: timing.summary()["median_s"] for name, timing in times.items()}
        record(
            "row_optimizer",
            case=case,
            sizes=sizes,
            table_gb=options.rows * options.dim * 4 / 1e9,
            added_gb={name: side.added_gb(steps[name]) for name, side in sides.items()},
            state_gb={name: side.state_gb() for name, side in sides.items()},
            ratios={name: median / medians["RowAdam"] for name, median in medians.items()},
            **compared(times, ours="RowAdam", base="torch Adam"),
        )


if __name__ == "__main__":
    under_both_heaps(main)
