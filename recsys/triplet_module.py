"""The tables of TriplH and what it minimizes on a batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from hyperrank.batches import PairBatch
from hyperrank.distance_scorer import Distances
from hyperrank.losses import bpr
from hyperrank.pairs import PairSet
from hyperrank.scorers import Factors
from recsys import triplet_loss
from recsys.triplet_scores import PairScore, metric_scaled

LossName = Literal["softmax", "pairwise", "triangle", "tetrahedron"]
Learned = Literal["no", "bounded", "free"]
embedding = nn.functional.embedding


@dataclass(frozen=True)
class TripletWeights:
    """The constants of the loss; see ``TriplH`` for each."""

    loss: LossName
    scale: float
    item_weight: float
    learn_weights: Learned
    item_penalty: float
    l2: float
    exclude_seen: bool
    metric_gradient: bool


class TripletModule(nn.Module):
    """User and item tables of free vectors, with the losses of ``recsys.triplet_loss``.

    Summed over an epoch, the loss is that of each pair with its negatives, and

        + item_penalty mean over negatives j of <i, j>^2
        + l2 / 2 (|u|^2 + |i|^2 + mean over negatives j of |j|^2)

    for each pair (u, i), all of free vectors.
    """

    def __init__(
        self,
        users: Float[Tensor, "n_users dim"],
        items: Float[Tensor, "n_items dim"],
        score: PairScore,
        weights: TripletWeights,
        *,
        pairs: PairSet,
        draw_chance: Float[Tensor, " n_items"] | None,
        every_item: bool,
        radius: bool,
    ) -> None:
        super().__init__()
        self.users, self.items = nn.Parameter(users), nn.Parameter(items)
        self.score, self.weights, self.pairs, self.draw_chance = score, weights, pairs, draw_chance
        self.every_item = every_item  # whether the negatives of a batch are all items, in order
        self.radius = nn.Parameter(items.new_zeros(len(items), 1)) if radius else None
        start = {
            "no": None,
            "bounded": [0.0, 0.0],
            "free": [weights.scale, weights.item_weight, 0.0],
        }[weights.learn_weights]
        self.learned = None if start is None else nn.Parameter(items.new_tensor(start))

    def loss(self, batch: PairBatch) -> Float[Tensor, ""]:
        """Sum over the batch's pairs."""
        sparse = self.users.device.type == "cpu"
        place = torch.cat([batch.positive, batch.negatives.flatten()])
        items, radius = self.items, self.radius
        if sparse and not self.every_item:  # only the touched rows are gathered, and get a gradient
            rows, place = torch.unique(place, return_inverse=True)
            items = embedding(rows, self.items, sparse=True)  # type: ignore[assignment]
            if radius is not None:
                radius = embedding(rows, radius, sparse=True)  # type: ignore[assignment]
        users = embedding(batch.query, self.users, sparse=sparse)
        if self.weights.metric_gradient:
            users, items = metric_scaled(users), metric_scaled(items)  # type: ignore[assignment]
        positive = place[: len(batch.positive)]
        negatives = place[len(positive) :].view_as(batch.negatives)
        fit = self._fit(batch, users, items, radius, positive, negatives)
        return fit + self._penalties(batch, users, items, positive, negatives)

    def _fit(
        self,
        batch: PairBatch,
        users: Tensor,
        items: Tensor,
        radius: Tensor | None,
        positive: Tensor,
        negatives: Tensor,
    ) -> Float[Tensor, ""]:
        """The loss without its penalties; ``positive`` and ``negatives`` are rows of ``items``."""
        scale, weight, margin = self.scalars()
        name, position = self.weights.loss, batch.position
        shared = negatives.ndim == 1
        if name == "tetrahedron":
            own = negatives.expand(len(users), -1)[position]
            user, liked = embedding(position, users), embedding(positive, items)
            return triplet_loss.tetrahedron(
                user, liked, embedding(own, items), scale=scale, item_weight=weight, margin=margin
            )
        left, right = self.score.users(users), self.score.items(items)
        if self.every_item:
            bad = self.score.scores((left @ right.T).to(left.dtype))
            good = bad[position, positive]
        else:
            products = embedding(position, left) * embedding(positive, right)
            good = self.score.scores(products.sum(1))
            bad = self.score.scores(_products(left, right, negatives))
        if radius is not None:
            good = good + embedding(positive, radius).squeeze(1)
            bad = bad + embedding(negatives, radius).squeeze(-1)
        if self.weights.exclude_seen:
            rows = batch.query[:, None].expand_as(bad)
            bad = bad.masked_fill(
                self.pairs.contains(rows, batch.negatives.expand_as(bad)), -torch.inf
            )
        if name == "softmax":
            good, bad = scale * good, scale * bad
            if self.draw_chance is not None:
                chance, count = self.draw_chance[batch.negatives], batch.negatives.shape[-1]
                bad = bad + triplet_loss.log_odds_of_draw(chance, count)
            if not self.weights.item_weight:
                return triplet_loss.shared_softmax(good, bad, position)
        bad = embedding(position, bad)
        if name == "pairwise":
            return bpr(scale * good, scale * bad)
        drawn = negatives if shared else negatives[position]
        mirrored = self.score.mirror(embedding(positive, right))
        between = self.score.separation(_products(mirrored, right, drawn))
        if name == "softmax":
            return triplet_loss.item_softmax(good, bad, between, weight)
        return triplet_loss.triangle(
            good, bad, between, scale=scale, item_weight=weight, margin=margin
        )

    def scalars(self) -> tuple[triplet_loss.Scale, triplet_loss.Scale, triplet_loss.Scale]:
        """Scale, item weight and margin; learned and bounded between 0 and twice the given."""
        if self.learned is None:
            return self.weights.scale, self.weights.item_weight, 0.0
        if self.weights.learn_weights == "free":
            scale, weight, margin = self.learned
            return scale, weight, margin
        scale, weight = 2 * self.learned.sigmoid()
        return self.weights.scale * scale, self.weights.item_weight * weight, 0.0

    def _penalties(
        self, batch: PairBatch, users: Tensor, items: Tensor, positive: Tensor, negatives: Tensor
    ) -> Float[Tensor, ""]:
        total = users.new_zeros(())
        if self.weights.item_penalty:
            drawn = negatives if negatives.ndim == 1 else negatives[batch.position]
            products = _products(embedding(positive, items), items, drawn)
            total = total + self.weights.item_penalty * products.square().mean(1).sum()
        if self.weights.l2:
            share = items.new_zeros(len(items))  # how often each row stands in a pair
            share.index_add_(0, positive, torch.ones_like(positive, dtype=share.dtype))
            each = batch.mass / negatives.shape[-1]
            drawn = each[:, None] if negatives.ndim > 1 else each.sum()
            share.index_add_(0, negatives.flatten(), drawn.expand_as(negatives).flatten())
            squares = (batch.mass * users.square().sum(1)).sum() + share @ items.square().sum(1)
            total = total + self.weights.l2 / 2 * squares
        return total

    @torch.no_grad()
    def block(self, query: Int[Tensor, " b"], candidate: Int[Tensor, " k"]) -> Float[Tensor, "b k"]:
        """Scores of these users for these items, as they are now."""
        left, right = self.score.users(self.users[query]), self.score.items(self.items[candidate])
        scores = self.score.scores(left @ right.T)
        return scores if self.radius is None else scores + self.radius[candidate].T

    def factors(self) -> tuple[Float[Tensor, "n_users m"], Float[Tensor, "n_items m"]]:
        """Mapped vectors, whose products are the scores; of the geodesic score, minus D.

        A radius is one more number of theirs.

        Raises:
            TypeError: If a radius is added to the geodesic score, which makes it no product.
        """
        left, right = self.score.users(self.users), self.score.items(self.items)
        if self.radius is None:
            return left, right
        if self.score.link is not None:
            raise TypeError(
                "a geodesic score with a radius for each item is no product of two tables; leave "
                "the radius out, or use another geometry"
            )
        return torch.cat([left, torch.ones_like(left[:, :1])], 1), torch.cat(
            [right, self.radius], 1
        )

    @torch.no_grad()
    def scorer(self) -> Factors | Distances:
        """What serves the current tables; of the geodesic score, minus D, which has its order."""
        if self.radius is not None and self.score.link is not None:
            users, items, radius = (p.detach() for p in (self.users, self.items, self.radius))
            return Distances(users, items, radius.squeeze(1))
        left, right = self.factors()
        return Factors(left.detach(), right.detach())


def _products(
    left: Float[Tensor, "b m"], table: Float[Tensor, "n m"], rows: Tensor
) -> Float[Tensor, "b k"]:
    """Dot products with rows of a table, (k,) for all of ``left`` or (b, k) of their own."""
    drawn = embedding(rows, table)
    if rows.ndim == 1:
        return (left @ drawn.T).to(left.dtype)  # autocast may have made it shorter
    return torch.einsum("bm,bkm->bk", left, drawn).to(left.dtype)
