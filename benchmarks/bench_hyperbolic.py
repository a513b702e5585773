"""What does a block of hyperbolic distances cost, and how many digits does each form keep?

4,096 points against 40,000, 64 numbers each, float32: the one matrix product of
``squared_lorentzians``, the same to geodesic distances, ``x @ y.T`` as the floor, and the exact
pairwise form, which is broadcast over a few rows at a time; its time is scaled to all rows.

Errors: mean absolute error of the float32 distance between points of a chosen distance, at chosen
radii, against float64: acosh of the form; asinh with the numerator |x - y|^2 - (x0 - y0)^2; ours;
and the block.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.record import compared, heap, peak_memory, record, turn_by_turn, under_both_heaps
from hyperrank import hyperbolic

ROWS, COLUMNS, DIM = 4096, 40_000, 64
PAIRWISE_ROWS, AT_ONCE = 64, 8
RADII, DISTANCES, PAIRS = (0.0, 1.0, 3.0, 6.0), tuple(10.0**p for p in range(-6, 1)), 200
K = -1.0


def pairwise(x: Tensor, y: Tensor) -> Tensor:
    """The exact form of all rows against all rows, a few rows at a time."""
    blocks = [
        hyperbolic.squared_lorentzian(z.unsqueeze(1), y, curvature=K) for z in x.split(AT_ONCE)
    ]
    return torch.cat(blocks)


def by_acosh(x: Tensor, y: Tensor) -> Tensor:
    """Acosh of minus the form; the argument is cut to 1."""
    form = hyperbolic.minkowski(hyperbolic.lift(x, curvature=K), hyperbolic.lift(y, curvature=K))
    return (-form).clamp_min(1).acosh()


def by_plain_asinh(x: Tensor, y: Tensor) -> Tensor:
    """Asinh form, time difference by (|x|^2 - |y|^2) / (x0 + y0)."""
    heights = hyperbolic.height(x, curvature=K) + hyperbolic.height(y, curvature=K)
    time = ((x - y) * (x + y)).sum(-1) / heights
    return 2 * (((x - y).square().sum(-1) - time.square()).clamp_min(0).sqrt() / 2).asinh()


def by_block(x: Tensor, y: Tensor) -> Tensor:
    """Diagonal of the block."""
    return hyperbolic.distances(x, y, curvature=K).diagonal()


FORMS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "acosh": by_acosh,
    "asinh, plain": by_plain_asinh,
    "ours": lambda x, y: hyperbolic.distance(x, y, curvature=K),
    "block": by_block,
}


def errors() -> list[dict[str, float]]:
    """Mean absolute error of every form at every radius and distance."""
    generator = torch.Generator().manual_seed(0)
    table = []
    for radius in RADII:
        for d in DISTANCES:
            way, step = torch.randn(2, PAIRS, DIM, dtype=torch.float64, generator=generator)
            way = radius * way / way.norm(dim=-1, keepdim=True)
            x = hyperbolic.exp_origin(way, curvature=K)
            length = hyperbolic.inner(x, step, step, curvature=K).sqrt()
            y = hyperbolic.exp(x, d * step / length.unsqueeze(-1), curvature=K)
            x, y = x.float(), y.float()
            exact = hyperbolic.distance(x.double(), y.double(), curvature=K)
            row = {"radius": radius, "distance": d}
            for name, form in FORMS.items():
                row[name] = float((form(x, y).double() - exact).abs().mean())
            table.append(row)
    return table


def main() -> None:
    """Times and memory under this process's heap setting; errors once."""
    if heap() == "default":
        record("hyperbolic", case="errors", dim=DIM, pairs=PAIRS, table=errors())
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(ROWS, DIM, generator=generator) / DIM**0.5
    y = torch.randn(COLUMNS, DIM, generator=generator) / DIM**0.5
    exact = pairwise(x[:AT_ONCE], y)
    block = hyperbolic.squared_lorentzians(x[:AT_ONCE], y, curvature=K)
    torch.testing.assert_close(block, exact, rtol=1e-5, atol=1e-5)
    sides: dict[str, Callable[[], object]] = {
        "product": lambda: hyperbolic.squared_lorentzians(x, y, curvature=K),
        "product, geodesic": lambda: hyperbolic.distances(x, y, curvature=K),
        "floor": lambda: x @ y.T,
        "pairwise part": lambda: pairwise(x[:PAIRWISE_ROWS], y),
    }
    peaks = {}
    for name, side in sides.items() if heap() == "default" else ():  # a kept heap only grows
        with peak_memory() as peak:
            side()
        peaks[name] = peak.above_start_gb
    times = turn_by_turn(sides, repeats=5)
    facts = compared(times, ours="product", base="floor")
    wall, cpu = (
        {name: facts["times"][name][unit] for name in sides} for unit in ("median_s", "cpu_s")
    )
    scale = ROWS / PAIRWISE_ROWS
    record(
        "hyperbolic",
        case="block",
        sizes={"rows": ROWS, "columns": COLUMNS, "dim": DIM},
        pairwise={"rows": PAIRWISE_ROWS, "rows at once": AT_ONCE},
        peak_gb=peaks,
        full_pairwise_gb=4e-9 * ROWS * COLUMNS * DIM,
        pairwise_over_product=scale * wall["pairwise part"] / wall["product"],
        pairwise_over_product_cpu=scale * cpu["pairwise part"] / cpu["product"],
        geodesic_over_floor=wall["product, geodesic"] / wall["floor"],
        geodesic_over_floor_cpu=cpu["product, geodesic"] / cpu["floor"],
        **facts,
    )


if __name__ == "__main__":
    under_both_heaps(main)
