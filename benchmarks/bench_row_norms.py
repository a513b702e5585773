"""How near is the largest row norm at equal products: ours against XRowNorm, as it is and picked?

XRowNorm estimates every row's norm; its largest estimate may exceed the truth ("largest"), and the
row that has it may be evaluated for one more product ("picked"). ``matfree``'s own takes part where
it is installed. Error: relative to the true norm, mean over seeds.
"""

from __future__ import annotations

import importlib.util
import statistics
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

import data
from benchmarks.record import record
from hyperrank.lowrank import randomized_svd
from hyperrank.norms import two_to_infinity
from hyperrank.operators import LinearMap, from_factors, from_sparse, jacobian
from hyperrank.row_estimators import row_sketch, xrownorm
from hyperrank.sparse import SparseMatrix, from_pairs

BUDGETS = (24, 48, 96, 192)
ROUNDING = 1e-5  # of float32 sums over a row: a value above the truth by more is above it
Estimator = Callable[[LinearMap, int, torch.Generator], float]


class Parts(NamedTuple):
    """What a matrix is made of, for a peer that takes no torch products.

    Two arrays are factors u, v of u v^T; three are rows, columns and values.
    """

    shape: tuple[int, int]
    arrays: tuple[Tensor, ...]

    def largest_row(self) -> float:
        """The true norm, from all entries or through the Gram matrix."""
        if len(self.arrays) == 2:
            u, v = (array.double() for array in self.arrays)
            return float(((u @ (v.T @ v)) * u).sum(1).max().sqrt())
        rows, _, values = self.arrays
        squares = torch.zeros(self.shape[0], dtype=torch.float64)
        return float(squares.index_add_(0, rows, values.double().square()).max().sqrt())


def scorer(matrix: SparseMatrix) -> tuple[LinearMap, Parts]:
    """Jacobian of a small autoencoder, trained for a moment, at one history."""
    generator = torch.Generator().manual_seed(0)
    n = matrix.shape[1]
    first = nn.Parameter(torch.randn(n, 64, generator=generator) / n**0.5)
    second = nn.Parameter(torch.randn(64, n, generator=generator) / 8)
    history = (matrix.T @ torch.eye(matrix.shape[0])[:, :512]).T if matrix.T else torch.eye(n)
    optimizer = torch.optim.Adam([first, second], 1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        unit = nn.functional.normalize(history)
        loss = -(nn.functional.log_softmax((unit @ first).tanh() @ second, 1) * unit).sum(1).mean()
        loss.backward()
        optimizer.step()
    inner, outer, point = first.detach(), second.detach(), nn.functional.normalize(history)[0]
    slope = 1 - (point @ inner).tanh().square()
    a = jacobian(lambda x: (x @ inner).tanh() @ outer, point)
    return a, Parts(a.shape, (outer.T * slope, inner))


def interactions(name: str) -> tuple[LinearMap, Parts, SparseMatrix]:
    """The training matrix of a published split."""
    pairs = data.split(name)[0].pairs
    matrix = from_pairs(pairs)
    parts = Parts(matrix.shape, (pairs.queries, pairs.candidates, matrix.values))
    return from_sparse(matrix), parts, matrix


def maps() -> dict[str, tuple[LinearMap, Parts]]:
    """The four kinds of maps; none tells that it has factors."""
    ml, ml_parts, ml_matrix = interactions("ml-1m-ultragcn")
    gowalla, gowalla_parts, matrix = interactions("gowalla")
    svd = randomized_svd(matrix, 64, generator=torch.Generator().manual_seed(0))
    u, v = svd.left * svd.values, svd.right
    return {
        "ml-1m": (ml, ml_parts),
        "gowalla": (gowalla, gowalla_parts),
        "gowalla, rank 64 scores": (
            replace(from_factors(u, v), factors=None),
            Parts(gowalla.shape, (u, v)),
        ),
        "ml-1m, autoencoder Jacobian": scorer(ml_matrix),
    }


def row_norm(a: LinearMap, row: int) -> float:
    """The norm of one row: one product."""
    unit = torch.zeros(a.shape[0], 1, dtype=a.dtype)
    unit[row] = 1
    return float(a.rmatmat(unit).double().norm())


def ours(a: LinearMap, budget: int, generator: torch.Generator) -> float:
    """What the package gives by default."""
    found = two_to_infinity(a, budget, generator=generator)
    assert found.products <= budget
    return float(found.value)


def ours_by_xrownorm(a: LinearMap, budget: int, generator: torch.Generator) -> float:
    """XRowNorm and eight rows exactly."""
    return float(two_to_infinity(a, budget, generator=generator, method="xrownorm").value)


def xrownorm_largest(a: LinearMap, budget: int, generator: torch.Generator) -> float:
    """The largest of the estimates."""
    return float(xrownorm(a, budget, generator).squares.max()) ** 0.5


def xrownorm_picked(a: LinearMap, budget: int, generator: torch.Generator) -> float:
    """The row of the largest estimate, exactly."""
    return row_norm(a, int(xrownorm(a, budget - 1, generator).squares.argmax()))


def sketch_picked(a: LinearMap, budget: int, generator: torch.Generator) -> float:
    """The row of the largest row-sketch estimate, exactly."""
    return row_norm(a, int(row_sketch(a, budget - 1, generator).squares.argmax()))


def twinest_picked(a: LinearMap, budget: int, generator: torch.Generator) -> float:
    """TwINEst as published."""
    found = two_to_infinity(a, budget, generator=generator, method="twinest", candidates=1)
    return float(found.value)


def matfree_squares(parts: Parts, budget: int, generator: torch.Generator) -> Any:
    """The estimates of matfree's XRowNorm, on the same matrix written in JAX."""
    import jax
    import numpy as np
    from matfree import stochtrace

    arrays = [jax.numpy.asarray(part.numpy()) for part in parts.arrays]

    def ahead(x: Any) -> Any:
        if len(arrays) == 2:
            return arrays[0] @ (arrays[1].T @ x)
        rows, columns, values = arrays
        return jax.numpy.zeros(parts.shape[0], x.dtype).at[rows].add(values * x[columns])

    n = parts.shape[1]
    sampler = stochtrace.sampler_normal(np.ones(n, np.float32), num=budget // 3)
    estimate = stochtrace.estimator_leave_one_out(
        stochtrace.leave_one_out_xrownorms_squared(), sampler
    )
    seed = int(torch.randint(2**31, (1,), generator=generator))
    return np.asarray(estimate(ahead, jax.random.PRNGKey(seed)))


def matfree_picked(parts: Parts) -> Estimator:
    """The row of matfree's largest estimate, exactly."""

    def picked(a: LinearMap, budget: int, generator: torch.Generator) -> float:
        return row_norm(a, int(matfree_squares(parts, budget - 1, generator).argmax()))

    return picked


def main() -> None:
    """Records one line a map and budget; ``--seeds N`` for more or fewer than 20."""
    seeds = int(sys.argv[sys.argv.index("--seeds") + 1]) if "--seeds" in sys.argv else 20
    sides: dict[str, Estimator] = {
        "ours": ours,
        "ours, method xrownorm": ours_by_xrownorm,
        "XRowNorm, largest": xrownorm_largest,
        "XRowNorm, picked": xrownorm_picked,
        "row sketch, picked": sketch_picked,
        "TwINEst": twinest_picked,
    }
    note = None
    if importlib.util.find_spec("matfree"):
        peer = "matfree XRowNorm, picked"
    else:
        peer, note = None, "matfree is not installed (pip install jax matfree): left out"
    for name, (a, parts) in maps().items():
        if peer:
            sides[peer] = matfree_picked(parts)
        with torch.no_grad():
            true = parts.largest_row()
            for budget in BUDGETS:
                measured: dict[str, dict[str, float]] = {}
                for side, estimator in sides.items():
                    few = min(seeds, 5) if side.startswith("matfree") else seeds
                    values = [
                        estimator(a, budget, torch.Generator().manual_seed(seed)) / true
                        for seed in range(few)
                    ]
                    measured[side] = {
                        "error": statistics.fmean(abs(value - 1) for value in values),
                        "exact": statistics.fmean(abs(v - 1) < ROUNDING for v in values),
                        "above": statistics.fmean(value > 1 + ROUNDING for value in values),
                    }
                least = min(measured[side]["error"] for side in measured if "XRowNorm" in side)
                record(
                    "row_norms",
                    case=name,
                    sizes={"shape": a.shape, "seeds": seeds},
                    products=budget,
                    measured=measured,
                    holds=measured["ours"]["error"] <= least + ROUNDING,
                    never_above=measured["ours"]["above"] == 0,
                    **({"note": note} if note else {}),
                )


if __name__ == "__main__":
    main()
