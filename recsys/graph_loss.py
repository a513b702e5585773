"""UltraGCN's loss on two tables of vectors (Mao et al. 2021, arXiv:2110.15114)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hyperrank.batches import PairBatch
from hyperrank.losses import weighted_logistic
from hyperrank.neighbours import Neighbours
from hyperrank.pairs import PairSet
from recsys.item_graph import degree_factors


@dataclass(frozen=True)
class LossWeights:
    """The constants of the released loss; see ``UltraGCN`` for each."""

    positive_base: float
    positive_degree: float
    negative_base: float
    negative_degree: float
    negative: float
    item: float
    l2: float


class UltraGCNModule(nn.Module):
    """User and item tables with UltraGCN's loss; scores are plain dot products.

    Summed over an epoch, the loss is

        sum over pairs (u, i) of  c+_ui softplus(-s_ui)
                                  + W mean over negatives j of  c-_uj softplus(s_uj)
                                  + item * sum over j in S(i) of  omega_ij softplus(-s_uj)
        + l2 / 2 (|users|^2 + |items|^2)

    with c+ = positive_base + positive_degree beta_ui, c- likewise, beta_ui = b_u b_i kept as two
    vectors. Every batch is an unbiased share of that sum, whatever its size and order; only with
    rejected negatives does the L2 of the items fall short, by the draws that were rejected.
    """

    def __init__(
        self,
        users: Float[Tensor, "n_users dim"],
        items: Float[Tensor, "n_items dim"],
        *,
        pairs: PairSet,
        pair_weight: Float[Tensor, " nnz"] | None,
        weights: LossWeights,
        neighbours: Neighbours | None,
        draw_chance: Float[Tensor, " n_items"],
    ) -> None:
        super().__init__()
        self.users, self.items = nn.Parameter(users), nn.Parameter(items)
        self.weights, self.neighbours, self.pair_weight = weights, neighbours, pair_weight
        self.degree, self.n_pairs = pairs.query_degrees, len(pairs)
        self.user_factor, self.item_factor = degree_factors(pairs)
        self.draw_chance = draw_chance

    def loss(self, batch: PairBatch) -> Float[Tensor, ""]:
        """The batch's share of the epoch's loss."""
        position, positive, positive_weight = self._positives(batch)
        # on a CPU only the touched rows are gathered, and get a gradient; on CUDA all of them:
        # there the whole table is cheaper than finding the distinct rows, which would wait for it
        sparse = self.users.device.type == "cpu"
        right: Tensor = self.items
        place = torch.cat([positive, batch.negatives.flatten()])
        if sparse:
            rows, place = torch.unique(place, return_inverse=True)
            right = nn.functional.embedding(rows, self.items, sparse=True)
        negatives = place[len(positive) :]
        left = nn.functional.embedding(batch.query, self.users, sparse=sparse)
        fit = weighted_logistic(
            left,
            right,
            position,
            place[: len(positive)],
            positive_weight,
            negatives.view_as(batch.negatives),
            self._negative_weight(batch),
        )
        return fit + self._l2(batch, left, right, negatives)

    def factors(self) -> tuple[Float[Tensor, "n_users dim"], Float[Tensor, "n_items dim"]]:
        """Both tables, whose products are the scores."""
        return self.users, self.items

    def _positives(self, batch: PairBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Position in the batch, item and weight of the positives and of their neighbours."""
        user = batch.query[batch.position]
        beta = self.user_factor[user] * self.item_factor[batch.positive]
        weight = self.weights.positive_base + self.weights.positive_degree * beta
        if self.pair_weight is not None:
            weight = weight * self.pair_weight[batch.spot]
        if self.neighbours is None:
            return batch.position, batch.positive, weight
        near = self.neighbours.nearest[batch.positive]
        omega = self.weights.item * self.neighbours.weight[batch.positive]
        positive = torch.cat([batch.positive[:, None], near], 1).flatten()
        weight = torch.cat([weight[:, None], omega], 1).flatten()
        return batch.position.repeat_interleave(1 + near.shape[1]), positive, weight

    def _negative_weight(self, batch: PairBatch) -> Float[Tensor, "b k"]:
        """W / k for each positive the row stands for, times c-."""
        scale = batch.mass * (self.weights.negative / batch.negatives.shape[-1])
        slope = self.weights.negative_degree * scale * self.user_factor[batch.query]
        factor = self.item_factor[batch.negatives]
        base = self.weights.negative_base * scale[:, None]
        return torch.addcmul(base, slope[:, None], factor)

    def _l2(
        self, batch: PairBatch, left: Tensor, right: Tensor, negatives: Tensor
    ) -> Float[Tensor, ""]:
        """The batch's share of the L2 term, on rows that it touches anyway."""
        if not self.weights.l2:
            return left.new_zeros(())
        share_of_user = batch.mass / self.degree[batch.query]
        drawn = batch.negatives.flatten()
        share_of_item = batch.mass.sum() / self.n_pairs / len(drawn) / self.draw_chance[drawn]
        share_of_row = right.new_zeros(len(right)).index_add_(0, negatives, share_of_item)
        users = (share_of_user * left.square().sum(1)).sum()
        items = (share_of_row * right.square().sum(1)).sum()
        return self.weights.l2 / 2 * (users + items)


def popularity_log_odds(
    pairs: PairSet, weights: LossWeights, draw_chance: Float[Tensor, " n_items"]
) -> Float[Tensor, " n_items"]:
    """The score of each item that minimizes the loss among scores without a user.

    The log of (weight of its positives / expected weight of its negatives); items without a pair
    get the lowest.
    """
    users, items = degree_factors(pairs)
    mass = pairs.query_degrees.float()
    beta = users[pairs.queries] * items[pairs.candidates]
    gain = torch.zeros_like(items).index_add_(
        0, pairs.candidates, weights.positive_base + weights.positive_degree * beta
    )
    cost = weights.negative_base * mass.sum() + weights.negative_degree * items * (mass @ users)
    odds = (gain / (weights.negative * draw_chance * cost)).log()
    finite = odds.isfinite()
    return torch.where(finite, odds, odds[finite].min() if finite.any() else 0.0)
