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
    itself: bool,
    weights: LossWeights,
) -> RowProblems:
    """The problems of b items from the users who took them, b x n_users.

    ``itself`` says whether an item is a neighbour of its own in the item-item loss; the pull of
    other items' neighbourhoods, to which a new item cannot belong yet, is left out.
    """
    degree = history.starts.diff()
    own = item_factor(degree)
    row, user = history.row_numbers, history.columns
    beta = own[row] * user_factor(user_degree)[user]
    positive = history.values * (weights.positive_base + weights.positive_degree * beta)
    if itself:
        reach = history.with_values(user_degree[user].float()) @ torch.ones(
            history.shape[1], 1, device=user.device
        )
        positive = positive + weights.item * (degree / reach[:, 0].clamp_min(1))[row]
    share = weights.negative * draw_chance
    return RowProblems(
        history.with_values(positive),
        share * weights.negative_base,
        share * weights.negative_degree * own,
    )
