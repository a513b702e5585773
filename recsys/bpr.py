"""Matrix factorization by Bayesian personalized ranking (Rendle et al. 2009, arXiv:1205.2618)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hyperrank.batches import NegativeSampler, PairBatch, PairBatches
from hyperrank.devices import seeded
from hyperrank.losses import bpr
from hyperrank.pairs import PairSet
from hyperrank.parameters import bounded
from recsys.interactions import Interactions
from recsys.trained import TrainedRecommender


class BPRModule(nn.Module):
    """User and item tables; the loss asks a pair to outscore the row's negatives."""

    def __init__(self, pairs: PairSet, dim: int, l2: float, generator: torch.Generator) -> None:
        super().__init__()
        shapes = (pairs.n_queries, dim), (pairs.n_candidates, dim)
        self.users, self.items = (
            nn.Parameter(0.1 * torch.randn(shape, generator=generator, device=pairs.device))
            for shape in shapes
        )
        self.l2 = l2

    def loss(self, batch: PairBatch) -> Float[Tensor, ""]:
        """Sum over the batch's pairs of the BPR loss and l2 / 2 times the rows' squares."""
        sparse = self.users.device.type == "cpu"
        user = nn.functional.embedding(batch.query, self.users, sparse=sparse)
        liked = nn.functional.embedding(batch.positive, self.items, sparse=sparse)
        others = nn.functional.embedding(batch.negatives, self.items, sparse=sparse)
        fit = bpr((user * liked).sum(1), torch.einsum("bd,bkd->bk", user, others))
        square = user.square().sum() + liked.square().sum() + others.square().mean(1).sum()
        return fit + self.l2 / 2 * square

    def factors(self) -> tuple[Float[Tensor, "n_users dim"], Float[Tensor, "n_items dim"]]:
        """Both tables, whose products are the scores."""
        return self.users, self.items


@dataclass(kw_only=True, eq=False)
class BPRMF(TrainedRecommender):
    """Matrix factorization trained to rank a user's items above drawn ones.

    Departs from the paper in the optimizer (row-wise Adam for plain SGD) and in having no item
    bias; item vectors carry popularity.

    Those of ``TrainedRecommender``, and:

    Attributes:
        dim: Size of a vector.
        batch_size: Pairs a step.
        negatives: Items drawn for each pair.
        negative_power: Drawn with probability proportional to popularity ** power.
        reject: Redraws of a negative that is a known pair.
        l2: L2 strength for each pair, on the rows that it touches.
    """

    dim: int = bounded(64, least=1)
    epochs: int = bounded(30, least=1)
    lr: float = bounded(2e-3, above=0)
    batch_size: int = bounded(4096, least=1)
    negatives: int = bounded(4, least=1)
    negative_power: float = 0.0
    reject: int = bounded(1, least=0)
    l2: float = bounded(0.01, least=0)

    def _learn(self, train_log: Interactions, validation: Interactions | None) -> nn.Module:
        """Both tables; see ``TrainedRecommender`` for what is set."""
        pairs = train_log.pairs.to(self._device())
        generator = seeded(self.random_state, pairs.device)
        sampler = NegativeSampler(
            pairs,
            self.negatives,
            generator,
            power=self.negative_power,
            shared=False,
            reject=self.reject,
        )
        module = BPRModule(pairs, self.dim, self.l2, generator)
        return self._train(module, PairBatches(pairs, self.batch_size, sampler), validation)
