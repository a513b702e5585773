"""Is the polar factor faster than torch's QR (tall) and SVD (square), at what orthogonality?

The error is |Q^T Q - I|_F / sqrt(n), in float64, of float32 factors. QR is the usual way to
orthonormal columns; it gives another basis of the same span, not the nearest. ``svd polished`` is
the SVD with one Newton-Schulz step, which it needs where 1e-6 is asked. A last line, without
clock, sets the schedules against Muon's quintic at 12 products.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from benchmarks.record import compared, record, turn_by_turn, under_both_heaps
from hyperrank.orthogonal import delta_schedule, evaluate, minimax_schedule, polar

QUINTIC = (3.4445, -4.7750, 2.0315)  # Jordan 2024
TALL = ((100_000, 64), (14_541, 200))


def orthogonality(q: Tensor) -> float:
    """|Q^T Q - I|_F / sqrt(n)."""
    q = q.double()
    off = q.mT @ q - torch.eye(q.shape[-1], dtype=q.dtype)
    return float(off.norm()) / q.shape[-1] ** 0.5


def with_spectrum(m: int, n: int, condition: float, generator: torch.Generator) -> Tensor:
    """Random singular vectors, singular values falling geometrically from 1 to 1 / condition."""
    left, right = (
        torch.linalg.qr(torch.randn(side, n, dtype=torch.float64, generator=generator)).Q
        for side in (m, n)
    )
    falling = condition ** -torch.linspace(0, 1, n, dtype=torch.float64)
    return (left * falling @ right.mT).float()


def by_svd(x: Tensor, *, polished: bool) -> Tensor:
    """U V^T; one Newton-Schulz step after it, if asked."""
    left, _, right = torch.linalg.svd(x, full_matrices=False)
    q: Tensor = left @ right
    return q @ (1.5 * torch.eye(q.shape[-1]) - 0.5 * q.mT @ q) if polished else q


def timed(case: str, x: Tensor, peers: dict[str, Callable[[], Tensor]], repeats: int) -> None:
    """Records our time against each peer's, and everybody's error."""
    sides = {"ours": lambda: polar(x), **peers}
    errors = {name: orthogonality(side()) for name, side in sides.items()}
    times = turn_by_turn(sides, repeats=repeats)
    base = next(iter(peers))
    pairs = zip(times[base].wall, times["ours"].wall, strict=True)
    facts = compared(times, ours="ours", base=base)
    facts["ratio_median_of_turns"] = statistics.median(theirs / own for theirs, own in pairs)
    record("polar", case=case, shape=tuple(x.shape), orthogonality=errors, **facts)


def scalar() -> None:
    """Records the largest |phi - 1| on [1e-2, 1] after 12 products of a square matrix."""
    x = torch.logspace(-2, 0, 200_001, dtype=torch.float64)
    schedules = {
        "muon quintic x4": [QUINTIC] * 4,
        "minimax cubic x6 on [1e-2, 1]": minimax_schedule(1e-2, 1.0, 3, 6),
        "minimax quintic x4 on [1e-2, 1]": minimax_schedule(1e-2, 1.0, 5, 4),
        "delta 0.3 cubic x6": delta_schedule(0.3, 6, 3),
        "delta 0.3 quintic x4": delta_schedule(0.3, 4, 5),
    }
    worst = {name: float((evaluate(s, x) - 1).abs().max()) for name, s in schedules.items()}
    record("polar", case="12 products, largest error on [1e-2, 1]", worst=worst)


def main() -> None:
    """Records all cases under this process's heap setting; ``--quick`` for small shapes."""
    shrink, repeats = (20, 3) if "--quick" in sys.argv else (1, 15)
    generator = torch.Generator().manual_seed(0)
    for m, n in TALL:
        gaussian = torch.randn(m // shrink, n, generator=generator)
        for case, x in (
            ("tall, Gaussian", gaussian),
            ("tall, condition 10", with_spectrum(m // shrink, n, 10.0, generator)),
            ("tall, condition 1000", with_spectrum(m // shrink, n, 1e3, generator)),
        ):
            timed(case, x, {"qr": lambda x=x: torch.linalg.qr(x).Q}, repeats)
    side = 1024 if shrink == 1 else 128
    x = with_spectrum(side, side, 1e3, generator)
    peers = {"svd": partial(by_svd, x, polished=False)}
    peers["svd polished"] = partial(by_svd, x, polished=True)
    timed("square, condition 1000", x, peers, max(3, repeats // 2))
    scalar()


if __name__ == "__main__":
    under_both_heaps(main)
