"""Rows times the matrix of their group: one batched product over groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from jaxtyping import Float, Int
from torch import Tensor

LEAST_TILE = 32  # rows: groups up to this size are never split


@dataclass(frozen=True)
class Groups:
    """Rows sorted into groups; a group is one or several tiles of equal width, padded.

    Only a group of many times the mean size has several tiles, so that padding and tiles stay
    within some times the rows and groups.

    Attributes:
        members: Distinct labels, rising: group g is of label ``members[g]``.
        group: The group of each row.
        tiles: The group of each tile, rising.
        place: Where each row lies among the padded ones, tile by tile.
        width: Rows of a tile.
    """

    members: Int[Tensor, " g"]
    group: Int[Tensor, " b"]
    tiles: Int[Tensor, " t"]
    place: Int[Tensor, " b"]
    width: int

    @classmethod
    def of(cls, label: Int[Tensor, " b"]) -> Self:
        """The groups of equal labels."""
        members, group, counts = torch.unique(label, return_inverse=True, return_counts=True)
        g, b, device = max(len(members), 1), len(label), label.device
        width = min(int(counts.max()) if b else 1, max(4 * b // g, LEAST_TILE))
        tiles_of = -(-counts // width)
        tiles = torch.repeat_interleave(torch.arange(len(members), device=device), tiles_of)
        order = torch.argsort(group, stable=True)
        within = torch.arange(b, device=device) - (counts.cumsum(0) - counts)[group[order]]
        place = torch.empty_like(group)
        place[order] = ((tiles_of.cumsum(0) - tiles_of) * width)[group[order]] + within
        return cls(members, group, tiles, place, width)

    def products(
        self, rows: Float[Tensor, "b d"], matrices: Float[Tensor, "g d e"]
    ) -> Float[Tensor, "b e"]:
        """``rows[i]`` times the matrix of its group; each matrix is read once for each tile."""
        if len(self.tiles) > len(self.members):
            matrices = matrices.index_select(0, self.tiles)
        t = len(self.tiles)
        padded = rows.new_zeros(t * self.width, rows.shape[1]).index_copy(0, self.place, rows)
        products = torch.bmm(padded.view(t, self.width, rows.shape[1]), matrices).flatten(0, 1)
        return products.index_select(0, self.place)
