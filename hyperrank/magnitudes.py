"""Sizes of blocks of numbers that neither overflow nor vanish, and refusals of what has none."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def column_norms(block: Float[Tensor, "m k"]) -> Float[Tensor, " k"]:
    """Euclidean lengths of the columns, in float64; not finite where an entry is not.

    Scaled by the largest entry before squaring: right for every size that the dtype holds. Not for
    differentiation.
    """
    block = block.detach().double()
    if not block.numel():
        return block.new_zeros(block.shape[1])
    largest = block.abs().amax(0).clamp_min(torch.finfo(torch.float64).tiny)
    lengths: Tensor = (block / largest).norm(dim=0) * largest
    return lengths


def to_unit_scale(
    matrix: Float[Tensor, "*batch m n"],
) -> tuple[Float[Tensor, "*batch m n"], Float[Tensor, "*batch 1 1"]]:
    """The matrices over their largest entry in size, and those; zero matrices stay zero.

    The entry counts as a constant for gradients.
    """
    if not matrix.shape[-1] * matrix.shape[-2]:
        return matrix, matrix.new_ones(*matrix.shape[:-2], 1, 1)
    largest = matrix.detach().abs().amax((-2, -1), keepdim=True)
    largest = largest.clamp_min(torch.finfo(matrix.dtype).tiny)
    return matrix / largest, largest


def check_factorable(dtype: torch.dtype) -> None:
    """Returns where torch has QR and SVD for this dtype.

    Raises:
        TypeError: If it is neither float32 nor float64.
    """
    if dtype not in {torch.float32, torch.float64}:
        raise TypeError(f"QR and SVD need float32 or float64, got {dtype}; convert first")


def check_finite(block: Tensor, name: str) -> Tensor:
    """The block itself.

    Raises:
        ValueError: If a number in it is NaN or infinite.
    """
    if not bool(block.isfinite().all()):
        raise ValueError(f"NaN or infinity in {name}; look for their source first")
    return block


def check_products(sizes: Tensor, shape: tuple[int, int]) -> None:
    """Returns where all these sizes of products of a map are finite.

    Raises:
        ValueError: If one is NaN or infinite.
    """
    if not bool(sizes.isfinite().all()):
        raise ValueError(
            f"a product of this map of shape {shape} is not finite; look for NaN or "
            "infinite entries"
        )
