"""Singular values of a table, and how many of them matter."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Spectrum:
    """Singular values, largest first."""

    values: Float[Tensor, " r"]

    @property
    def effective_rank(self) -> float:
        """The exponential of the entropy of the values as shares of their sum.

        From 1 to their number, where all are equal (Roy and Vetterli 2007); 0 of zeros.
        """
        share = self.values / self.values.sum()
        return float(torch.special.entr(share).sum().exp()) if bool(self.values.any()) else 0.0

    def rank_of(self, energy: float) -> int:
        """The least number of values with this share of the sum of all squares; 0 of zeros."""
        held = self.values.square().cumsum(0)
        return int((held < energy * held[-1]).sum()) + 1 if bool(self.values.any()) else 0


def spectrum(table: Float[Tensor, "n d"]) -> Spectrum:
    """The spectrum of a table as it is, not centred; in float64."""
    return Spectrum(torch.linalg.svdvals(table.double()))


def product_spectrum(left: Float[Tensor, "m d"], right: Float[Tensor, "n d"]) -> Spectrum:
    """The spectrum of ``left @ right.T``, from its factors; in float64."""
    first, second = (torch.linalg.qr(table.double(), mode="r").R for table in (left, right))
    return Spectrum(torch.linalg.svdvals(first @ second.T))
