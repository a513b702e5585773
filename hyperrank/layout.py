"""Rows of a table as places in the plane: on the Poincare disk, or on two principal axes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hyperrank.hyperbolic import radius


@dataclass(frozen=True)
class Layout:
    """Where rows go, decided by those of one table; others may follow.

    With a curvature rows are space parts of points of a hyperboloid. A point's distance from the
    origin is kept exactly, as tanh of half of it over R: its place in the Poincare disk of radius
    1. Its angle is that of its direction on the two axes which hold most of all directions. Points
    of at most two numbers are so turned or mirrored only. Without a curvature a place is the
    projection on the two principal axes of the centred rows.

    Attributes:
        centre: Subtracted from rows: zero on the disk.
        axes: Orthonormal columns; the second is zero for rows of one number.
        share: Of the sum of squares, of unit directions on the disk and else of centred rows, that
            lies in the axes.
        curvature: None for the flat plane.
    """

    centre: Float[Tensor, " d"]
    axes: Float[Tensor, "d 2"]
    share: float
    curvature: float | None

    def places(self, rows: Float[Tensor, "n d"]) -> Float[Tensor, "n 2"]:
        """The places, in float64."""
        flat = (rows.double() - self.centre) @ self.axes
        if self.curvature is None:
            return flat
        angle = torch.atan2(flat[:, 1], flat[:, 0])  # 0 where the direction has no part in the axes
        rim = rim_of(radius(rows.double(), curvature=self.curvature), self.curvature)
        return rim[:, None] * torch.stack([angle.cos(), angle.sin()], 1)


def layout(rows: Float[Tensor, "n d"], curvature: float | None = None) -> Layout:
    """The layout of a table of at least one row."""
    wide = rows.double()
    centre = wide.mean(0) if curvature is None else wide.new_zeros(wide.shape[1])
    spread = wide - centre if curvature is None else nn.functional.normalize(wide)
    held, axes = torch.linalg.eigh(spread.T @ spread)  # ascending
    axes = axes[:, -2:].flip(1)
    axes = axes * axes.gather(0, axes.abs().argmax(0, keepdim=True)).sign()  # the same each time
    axes = nn.functional.pad(axes, (0, 2 - axes.shape[1]))
    total = float(held.sum())
    share = float(held[-2:].sum()) / total if total else 1.0
    return Layout(centre, axes, min(share, 1.0), curvature)


def rim_of(distance: Float[Tensor, " n"], curvature: float) -> Float[Tensor, " n"]:
    """How far from the centre of the disk of radius 1 so distant points are drawn."""
    return torch.tanh(distance * ((-curvature) ** 0.5 / 2))
