"""How many products for a 1 % bracket of the spectral norm, and how often is it broken?

Against scipy's ``svds`` with k = 1, which gives a point value without a bound: its own default
(ARPACK to full accuracy), and ARPACK asked for 1 %. A product is one vector times A or A^T. Then
10,000 trials of the bracket on a spectrum near the worst case, which allows ten failures.
"""

from __future__ import annotations

import math
import statistics
import sys
import warnings
from typing import Any

import numpy as np
import torch
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, svds

from benchmarks.bench_row_norms import maps
from benchmarks.record import record
from hyperrank.calibration import lanczos_factor
from hyperrank.norms import spectral
from hyperrank.operators import LinearMap, counted, from_matrix

TOL, DELTA = 0.01, 1e-3


def through_scipy(a: LinearMap, tol: float) -> tuple[float, int]:
    """The singular value of ``svds`` and its products."""
    watched, count = counted(a)
    dtype = torch.empty(0, dtype=a.dtype).numpy().dtype

    def side(product: Any) -> Any:
        return lambda x: product(torch.from_numpy(np.array(x, dtype).reshape(-1, 1))).numpy()[:, 0]

    operator = LinearOperator(
        a.shape, matvec=side(watched.matmat), rmatvec=side(watched.rmatmat), dtype=dtype
    )
    try:
        value = svds(operator, k=1, tol=tol, return_singular_vectors=False, random_state=0)[0]
    except ArpackNoConvergence:
        value = math.nan
    return float(value), count()


def norm_of(a: LinearMap) -> float:
    """The norm to float32 accuracy: a bracket a thousandth of the one under test."""
    generator = torch.Generator().manual_seed(1)
    return float(spectral(a, tol=1e-5, generator=generator).lower)


def compare() -> None:
    """One line a map."""
    generator = torch.Generator().manual_seed(0)
    flat = from_matrix(torch.randn(2000, 1000, generator=generator))
    cases = {name: a for name, (a, _) in maps().items()}
    for name, a in {**cases, "Gaussian 2000 x 1000": flat}.items():
        with torch.no_grad():
            found = [
                spectral(a, TOL, DELTA, generator=torch.Generator().manual_seed(seed))
                for seed in range(10)
            ]
            true = norm_of(a)
            peer, rough = through_scipy(a, 0.0), through_scipy(a, TOL)
        products = statistics.median(one.products for one in found)
        worst = next(
            k for k in range(1, 999, 2) if lanczos_factor(k, min(a.shape), DELTA / 2) <= 1.01
        )
        record(
            "spectral",
            case=name,
            sizes={"shape": a.shape},
            products=products,
            products_svds=peer[1],
            products_svds_rough=rough[1],
            products_promised=worst,
            lower=statistics.median(float(one.lower) / true for one in found),
            upper=statistics.median(float(one.upper) / true for one in found),
            inside=all(
                float(o.lower) <= true * (1 + 1e-5) and float(o.upper) >= true for o in found
            ),
            svds=peer[0] / true,
            holds=products < peer[1],
        )


def violations(trials: int) -> None:
    """Spectra as diagonals: the start is as random in one basis as in another."""
    n, gap = 200, 0.2
    angles = (torch.arange(n - 1, dtype=torch.float64) + 0.5) * math.pi / (n - 1)
    chebyshev = torch.cat([torch.ones(1).double(), ((1 - gap) * (1 + angles.cos()) / 2).sqrt()])
    decaying = 0.9 ** torch.arange(n, dtype=torch.float64)
    for name, values in (("Chebyshev", chebyshev), ("0.9^i", decaying)):

        def product(x: torch.Tensor, values: torch.Tensor = values) -> torch.Tensor:
            return values[:, None] * x

        a = LinearMap((n, n), product, product, values.dtype, values.device)
        generator = torch.Generator().manual_seed(0)
        broken, above, products = 0, 0, []
        with torch.no_grad():
            for _ in range(trials):
                found = spectral(a, TOL, DELTA, generator=generator)
                broken += float(found.upper) < 1
                above += float(found.lower) > 1 + 1e-12
                products.append(found.products)
        record(
            "spectral",
            case=f"violations, {name}",
            sizes={"n": n, "trials": trials},
            broken=broken,
            allowed=trials * DELTA,
            lower_above=above,
            products=statistics.median(products),
            holds=broken <= trials * DELTA + 3 * math.sqrt(trials * DELTA),
        )


def main() -> None:
    """Both questions; ``--trials N`` for other than 10,000."""
    trials = int(sys.argv[sys.argv.index("--trials") + 1]) if "--trials" in sys.argv else 10_000
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # SciPy renames random_state
        compare()
    violations(trials)


if __name__ == "__main__":
    main()
