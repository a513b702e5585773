"""Rows times the matrix of their group: one batched product over groups, no copy of a matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Groups:
    """Rows sorted into groups, each group padded to the size of the largest.

    Attributes:
        members: Distinct labels, rising: group g is of label ``members[g]``.
        row: Where each row lies among the padded ones, group by group.
        width: Rows of the largest group.
    """

    members: Int[Tensor, " g"]
    row: Int[Tensor, " b"]
    width: int

    @classmethod
    def of(cls, label: Int[Tensor, " b"]) -> Self:
        """The groups of equal labels."""
        members, group, counts = torch.unique(label, return_inverse=True, return_counts=True)
        order = torch.argsort(group, stable=True)
        first = (counts.cumsum(0) - counts)[group[order]]
        place = torch.empty_like(group)
        place[order] = torch.arange(len(label), device=label.device) - first
        width = int(counts.max()) if len(counts) else 0
        return cls(members, group * width + place, width)

    def products(
        self, rows: Float[Tensor, "b d"], matrices: Float[Tensor, "g d e"]
    ) -> Float[Tensor, "b e"]:
        """``rows[i]`` times the matrix of its group.

        Reads each matrix once; of the padded products (g, width, d) by (g, d, e) those of rows that
        exist are kept. Padding is cheap while g times ``width`` stays within some times b.
        """
        g = len(self.members)
        padded = rows.new_zeros(g * self.width, rows.shape[1]).index_copy(0, self.row, rows)
        products = torch.bmm(padded.view(g, self.width, -1), matrices).flatten(0, 1)
        return products.index_select(0, self.row)
