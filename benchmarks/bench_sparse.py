"""How fast is the sparse product, forward and backward, against torch CSR, SciPy and torch-sparse?

The gowalla training matrix times 64 columns. torch-sparse takes part where it is installed.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import torch

import data
from benchmarks.record import compared, record, turn_by_turn, under_both_heaps
from hyperrank.sparse import from_pairs

COLUMNS = 64


def main() -> None:
    """Records both ratios under this process's heap setting."""
    pairs = data.split("gowalla")[0].pairs
    ours, csr, host = from_pairs(pairs), pairs.to_csr(), pairs.to_scipy()
    generator = torch.Generator().manual_seed(0)
    dense = torch.randn(pairs.n_candidates, COLUMNS, generator=generator)
    above = torch.randn(pairs.n_queries, COLUMNS, generator=generator)
    forward: dict[str, Callable[[], Any]] = {
        "ours": lambda: ours @ dense,
        "torch CSR": lambda: csr @ dense,
        "scipy": lambda: host @ dense.numpy(),
    }
    matrices: dict[str, Any] = {"ours": ours, "torch CSR": csr}
    if importlib.util.find_spec("torch_sparse"):
        theirs = ours.to_torch_sparse()
        forward["torch-sparse"] = lambda: theirs @ dense
        matrices["torch-sparse"] = theirs
    torch.testing.assert_close(ours @ dense, csr @ dense)

    def both_ways(matrix: Any) -> Callable[[], Any]:
        leaf = dense.clone().requires_grad_()
        return lambda: torch.autograd.grad(matrix @ leaf, leaf, above)

    backward = {name: both_ways(matrix) for name, matrix in matrices.items()}
    sizes = {"shape": (pairs.n_queries, pairs.n_candidates), "pairs": len(pairs)}
    for way, sides in (("forward", forward), ("forward and backward", backward)):
        times = turn_by_turn(sides, repeats=9)
        facts = compared(times, ours="ours", base="torch CSR")
        record("sparse", case=way, sizes=sizes, columns=COLUMNS, **facts)


if __name__ == "__main__":
    under_both_heaps(main)
