"""Linear maps known by their products with blocks of vectors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class LinearMap:
    """A linear map from R^n to R^m that is known by its products; ``shape`` is (m, n).

    ``matmat`` takes (n, k) to (m, k) and ``rmatmat``, its adjoint, (m, k) to (n, k).
    """

    shape: tuple[int, int]
    matmat: Callable[[Tensor], Tensor]
    rmatmat: Callable[[Tensor], Tensor]
    dtype: torch.dtype
    device: torch.device

    @property
    def T(self) -> LinearMap:
        """The adjoint map."""
        return LinearMap(self.shape[::-1], self.rmatmat, self.matmat, self.dtype, self.device)

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


def from_matrix(matrix: Tensor) -> LinearMap:
    """The map of a dense (m, n) matrix."""
    m, n = matrix.shape
    return LinearMap(
        (m, n), lambda x: matrix @ x, lambda y: matrix.mT @ y, matrix.dtype, matrix.device
    )
