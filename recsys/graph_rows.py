"""UltraGCN's loss seen from one row: a user with the items frozen, an item with the users frozen.

The sampled negatives are replaced by their expectation. Degrees of the frozen side are those of
training, so that a row's solution does not depend on the order in which others were updated.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hyperrank.neighbours import Neighbours
from hyperrank.sparse import SparseMatrix
from recsys.graph_loss import LossWeights
from recsys.item_graph import item_factor, user_factor
from recsys.logistic_rows import FrozenTable, RowProblems


def frozen_items(
    items: Float[Tensor, "n d"],
    degree: Int[Tensor, " n"],
    draw_chance: Float[Tensor, " n"],
    weights: LossWeights,
) -> FrozenTable:
    """The items as the users' problems see them: each a negative by its chance to be drawn."""
    return FrozenTable(items, draw_chance, draw_chance * item_factor(degree), weights.l2)


def user_problems(
    history: SparseMatrix,
    item_degree: Int[Tensor, " n"],
    neighbours: Neighbours | None,
    weights: LossWeights,
) -> RowProblems:
    """The problems of b users from their full histories, whose values weigh the positives."""
    degree = history.starts.diff()
    own = user_factor(degree)
    row, item = history.row_numbers, history.columns
    beta = own[row] * item_factor(item_degree)[item]
    positive = history.values * (weights.positive_base + weights.positive_degree * beta)
    positives = history.with_values(positive)
    if neighbours is not None:
        near = torch.cat([item[:, None], neighbours.nearest[item]], 1).flatten()
        omega = weights.item * neighbours.weight[item]
        weight = torch.cat([positive[:, None], omega], 1).flatten()
        width = 1 + neighbours.nearest.shape[1]
        positives = SparseMatrix(history.starts * width, near, weight, history.shape).coalesced()
    base = degree * (weights.negative * weights.negative_base)
    return RowProblems(positives, base, degree * own * (weights.negative * weights.negative_degree))


def frozen_users(
    users: Float[Tensor, "n d"], degree: Int[Tensor, " n"], weights: LossWeights
) -> FrozenTable:
    """The users as the items' problems see them: each has as many negatives as positives."""
    return FrozenTable(users, degree.float(), degree * user_factor(degree), weights.l2)


def item_problems(
    history: SparseMatrix,
    user_degree: Int[Tensor, " n"],
    draw_chance: Float[Tensor, " b"],
    pull: SparseMatrix | None,
    weights: LossWeights,
) -> RowProblems:
    """The problems of b items from the users who took them, b x n_users.

    ``pull`` is ``neighbourhood_pull`` or ``own_pull``; None without an item-item loss.
    """
    degree = history.starts.diff()
    own = item_factor(degree)
    row, user = history.row_numbers, history.columns
    beta = own[row] * user_factor(user_degree)[user]
    positives = history.with_values(
        history.values * (weights.positive_base + weights.positive_degree * beta)
    )
    if pull is not None:
        positives = positives + pull.with_values(weights.item * pull.values)
    share = weights.negative * draw_chance
    return RowProblems(
        positives, share * weights.negative_base, share * weights.negative_degree * own
    )


def neighbourhood_pull(
    whole: SparseMatrix, rows: Int[Tensor, " b"], neighbours: Neighbours
) -> SparseMatrix:
    """Omega of every user's items whose neighbourhoods hold an item, summed, b x n_users.

    As many numbers as all those items have users. ``whole`` is items x users.
    """
    width = neighbours.nearest.shape[1]
    place = torch.full((whole.shape[0],), -1, device=rows.device)
    place[rows] = torch.arange(len(rows), device=rows.device)
    reached = place[neighbours.nearest.flatten()]
    edges = ((reached >= 0) & (neighbours.weight.flatten() > 0)).nonzero().squeeze(1)
    edges = edges[reached[edges].argsort(stable=True)]
    takers = whole.select(edges // width)
    omega = neighbours.weight.flatten()[edges].repeat_interleave(takers.starts.diff())
    bounds = torch.searchsorted(reached[edges], torch.arange(len(rows) + 1, device=rows.device))
    shape = (len(rows), whole.shape[1])
    return SparseMatrix(takers.starts[bounds], takers.columns, omega, shape).coalesced()


def own_pull(history: SparseMatrix, user_degree: Int[Tensor, " n"]) -> SparseMatrix:
    """The pull of new items on themselves, where an item is a neighbour of its own: omega_ii.

    Other items' neighbourhoods, to which a new item cannot belong yet, are left out.
    """
    reach = history.with_values(user_degree[history.columns].float()) @ torch.ones(
        history.shape[1], 1, device=history.values.device
    )
    omega = history.starts.diff() / reach[:, 0].clamp_min(1)
    return history.with_values(omega[history.row_numbers])
