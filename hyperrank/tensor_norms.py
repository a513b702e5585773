"""The injective norm of a third-order tensor: the most it makes of three unit vectors."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from hyperrank.magnitudes import check_factorable, check_finite


class InjectiveNorm(NamedTuple):
    """A bracket of max T(x, y, z) over unit vectors, and the vectors of its lower end."""

    lower: Float[Tensor, ""]  # T(vectors)
    upper: Float[Tensor, ""]
    vectors: tuple[Float[Tensor, " a"], Float[Tensor, " b"], Float[Tensor, " c"]]


def injective(
    core: Float[Tensor, "a b c"],
    *,
    restarts: int = 20,
    iterations: int = 200,
    generator: torch.Generator,
) -> InjectiveNorm:
    """Both ends of the injective (tensor spectral) norm, which is NP-hard to know.

    ``lower`` is the best of ``restarts`` random starts and one from each unfolding of the
    higher-order power method (De Lathauwer, De Moor and Vandewalle 2000, algorithm 4.2). T takes
    that value, so it is never above the norm, and often it is the norm; it is at least ``upper``
    over the root of the smallest side. ``upper`` is the smallest spectral norm of the unfoldings.
    Both differentiate with their vectors held constant: the slope of ``lower`` is the outer
    product of its vectors, that of the norm itself where no others reach it.

    All starts run side by side, at most ``iterations`` times ``3 (restarts + 3) a b c``
    multiplications, and until none gains more than rounding; the SVDs of the unfoldings cost some
    tens of times a b c times the smallest sides.

    Raises:
        ValueError: If a side is empty, a budget out of range, or a number NaN or infinite.
        TypeError: If the tensor is neither of float32 nor of float64.
    """
    if not core.numel():
        raise ValueError(f"the tensor has no numbers: its shape is {tuple(core.shape)}")
    if restarts < 0 or iterations < 1:
        raise ValueError(f"need restarts >= 0 and iterations >= 1, got {restarts}, {iterations}")
    check_factorable(core.dtype)
    with torch.no_grad():
        size = core.abs().max()
        check_finite(size, "the tensor")
        scaled = core / size.clamp_min(torch.finfo(core.dtype).tiny)  # squares may overflow
        pairs = [_top_pair(unfolded) for unfolded in _unfoldings(scaled)]
        mode = min(range(3), key=lambda mode: float(pairs[mode][0]))
        starts = _starts(scaled, [right for _, _, right in pairs], restarts, generator)
        x, y, z = _power_method(_unfoldings(scaled), *starts, iterations)
    lower = torch.einsum("abc,a,b,c->", core, x, y, z)
    _, left, right = pairs[mode]
    return InjectiveNorm(lower, left @ (_unfoldings(core)[mode] @ right), (x, y, z))


def ascended(
    core: Float[Tensor, "a b c"], y: Float[Tensor, " b"], z: Float[Tensor, " c"], *, iterations: int
) -> tuple[Float[Tensor, " a"], Float[Tensor, " b"], Float[Tensor, " c"]]:
    """The unit vectors that so many sweeps of the higher-order power method reach from y and z.

    What the core makes of them never falls from sweep to sweep; a sweep costs 6 a b c operations.
    """
    return _power_method(_unfoldings(core), y[:, None], z[:, None], iterations)


def _unfoldings(core: Tensor) -> list[Tensor]:
    """The three matrices (side of the mode, product of the others in their order)."""
    return [core.movedim(mode, 0).flatten(1) for mode in range(3)]


def _top_pair(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    return values[0], left[:, 0], right[0]


def _starts(
    core: Tensor, tops: list[Tensor], restarts: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Unit vectors of modes two and three, one start a column; the first mode's follows.

    From an unfolding: its top right vector is a matrix over the two other modes, whose own top
    pair T meets with at least that unfolding's norm over the root of the smaller of the two sides.
    """
    a, b, c = core.shape
    _, y1, z1 = _top_pair(tops[0].view(b, c))
    _, x2, z2 = _top_pair(tops[1].view(a, c))
    _, x3, y3 = _top_pair(tops[2].view(a, b))
    y2 = torch.einsum("abc,a,c->b", core, x2, z2)
    z3 = torch.einsum("abc,a,b->c", core, x3, y3)
    y, z = (
        torch.randn(side, restarts, dtype=core.dtype, device=core.device, generator=generator)
        for side in (b, c)
    )
    return (
        _unit(torch.cat([torch.stack([y1, y2, y3], 1), y], 1)),
        _unit(torch.cat([torch.stack([z1, z2, z3], 1), z], 1)),
    )


def _power_method(
    unfolded: list[Tensor], y: Tensor, z: Tensor, iterations: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The best column's vectors once no column's value grows, or the iterations are spent."""

    def paired(first: Tensor, second: Tensor) -> Tensor:
        return (first.unsqueeze(1) * second.unsqueeze(0)).flatten(0, 1)

    value, rounding = torch.zeros_like(y[0]), 10 * torch.finfo(y.dtype).eps
    for _ in range(iterations):
        x = _unit(unfolded[0] @ paired(y, z))
        y = _unit(unfolded[1] @ paired(x, z))
        z = unfolded[2] @ paired(x, y)
        before, value, z = value, z.norm(dim=0), _unit(z)
        if bool((value <= before * (1 + rounding)).all()):
            break
    best = value.argmax()
    return x[:, best], y[:, best], z[:, best]


def _unit(block: Tensor) -> Tensor:
    """Columns of length one; a zero column becomes the first unit vector."""
    length = block.norm(dim=0)
    first = torch.zeros_like(block)
    first[0] = 1
    return torch.where(length > 0, block / length.clamp_min(torch.finfo(block.dtype).tiny), first)
