"""A linear map known by its products with blocks of vectors, and what is checked of one.

A product is one vector multiplied by the map or by its adjoint; a block of k vectors is k products.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from hyperrank.magnitudes import check_products, column_norms


@dataclass(frozen=True, eq=False)
class LinearMap:
    """A linear map from R^n to R^m that is known by its products; ``shape`` is (m, n).

    ``matmat`` takes (n, k) to (m, k) and ``rmatmat``, its adjoint, (m, k) to (n, k). Where the map
    was built from factors, ``factors`` holds (u, v) with the map u v^T.
    """

    shape: tuple[int, int]
    matmat: Callable[[Tensor], Tensor]
    rmatmat: Callable[[Tensor], Tensor]
    dtype: torch.dtype
    device: torch.device
    factors: tuple[Tensor, Tensor] | None = None

    @property
    def T(self) -> LinearMap:  # noqa: N802 - torch's word
        """The adjoint map."""
        factors = None if self.factors is None else (self.factors[1], self.factors[0])
        m, n = self.shape
        return LinearMap((n, m), self.rmatmat, self.matmat, self.dtype, self.device, factors)

    def __matmul__(self, block: Tensor) -> Tensor:
        """The product with a block of vectors, (n, k) to (m, k).

        Raises:
            ValueError: If the block has another shape, dtype or device than the map takes.
        """
        if block.ndim != 2 or block.shape[0] != self.shape[1]:
            raise ValueError(
                f"a map of shape {self.shape} takes blocks of shape ({self.shape[1]}, k), "
                f"got {tuple(block.shape)}"
            )
        if block.dtype != self.dtype or block.device != self.device:
            raise ValueError(
                f"this map takes {self.dtype} on {self.device}, got {block.dtype} on "
                f"{block.device}; convert one of them"
            )
        return self.matmat(block)


def check_real(dtype: torch.dtype) -> None:
    """Returns where a map may have this dtype.

    Raises:
        TypeError: If it is not real floating point.
    """
    if not dtype.is_floating_point:
        raise TypeError(f"a map needs real floating point numbers, got {dtype}; convert them first")


def check_adjoint(
    a: LinearMap, generator: torch.Generator, *, probes: int = 4, tol: float | None = None
) -> float:
    """Largest ``|<a x, y> - <x, a^T y>|`` over the sizes of the terms, for Gaussian x and y.

    Costs ``2 * probes`` products. A wrong adjoint passes with probability zero but for roundoff:
    ``tol`` is by default a thousand roundings of the map's dtype, times the root of its sizes.

    Raises:
        ValueError: If it exceeds ``tol``, ``probes`` is below 1, a product is not finite, or one
            has the wrong shape.
    """
    if probes < 1:
        raise ValueError(f"probes must be at least 1, got {probes}; without one nothing is checked")
    m, n = a.shape
    x, y = (
        torch.randn(size, probes, dtype=a.dtype, device=a.device, generator=generator)
        for size in (n, m)
    )
    with torch.no_grad():
        ahead, back = a.matmat(x), a.rmatmat(y)
    if ahead.shape != y.shape or back.shape != x.shape:
        raise ValueError(
            f"a map of shape {a.shape} takes blocks {tuple(x.shape)} to {tuple(y.shape)} and back, "
            f"this one gave {tuple(ahead.shape)} and {tuple(back.shape)}"
        )
    lengths = [column_norms(block) for block in (ahead, y, back, x)]
    check_products(torch.stack(lengths), a.shape)
    # both products over one size, so that no term overflows or vanishes
    size = torch.maximum(lengths[0], lengths[2]).clamp_min(torch.finfo(torch.float64).tiny)
    ahead, back = ahead.double() / size, back.double() / size
    terms = torch.maximum(lengths[0] / size * lengths[1], lengths[2] / size * lengths[3])
    gap = ((ahead * y.double()).sum(0) - (x.double() * back).sum(0)).abs()
    worst = float((gap / terms.clamp_min(1e-300)).max())
    if tol is None:
        tol = 1e3 * torch.finfo(a.dtype).eps * max(m + n, 1) ** 0.5
    if not worst <= tol:
        raise ValueError(
            f"<a x, y> and <x, a^T y> differ by {worst:.2g} of their terms, more than {tol:.2g}: "
            "rmatmat is not the adjoint of matmat"
        )
    return worst


def check_estimable(a: LinearMap, generator: torch.Generator) -> None:
    """Returns where random estimates of the map can be made with this generator.

    Raises:
        ValueError: If a side of the map is empty, or the generator is on another device.
        TypeError: If the map is neither of float32 nor of float64.
    """
    if 0 in a.shape:
        raise ValueError(f"a map of shape {a.shape} is empty, and has no norm to estimate")
    if a.dtype not in {torch.float32, torch.float64}:
        raise TypeError(
            f"norms are estimated in float32 or float64, got {a.dtype}; convert the map"
        )
    if generator.device.type != a.device.type:
        raise ValueError(
            f"the map is on {a.device} and the generator on {generator.device}; make it with "
            f"torch.Generator({str(a.device)!r})"
        )
