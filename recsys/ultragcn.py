"""UltraGCN: graph recommendation without propagation (Mao et al. 2021, arXiv:2110.15114)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from hyperrank.batches import NegativeSampler, PairBatches, QueryBatches, draw_chances
from hyperrank.devices import seeded
from hyperrank.neighbours import Neighbours
from hyperrank.pairs import PairSet
from hyperrank.parameters import bounded
from hyperrank.products import reduced_products
from hyperrank.scorers import Factors
from hyperrank.training import falling_rate
from recsys.graph_loss import LossWeights, UltraGCNModule, popularity_log_odds
from recsys.graph_rows import (
    frozen_items,
    frozen_users,
    item_problems,
    neighbourhood_pull,
    own_pull,
    user_problems,
)
from recsys.histories import Histories
from recsys.interactions import Interactions
from recsys.item_graph import item_neighbours
from recsys.logistic_rows import Expansion, FrozenTable, expand, spread_centres
from recsys.row_solvers import Solution, solve
from recsys.spectral import spectral_tables
from recsys.trained import TrainedRecommender
from recsys.updatable import UpdatableRecommender
from recsys.update_passes import Care
from recsys.updates import Base

CENTRES: dict[Care, int] = {"rough": 16, "usual": 64}  # of an expansion: 2 MB at 64 dimensions
# of a row's size; the last is about what float32 sums over a catalogue allow
TOLERANCE: dict[Care, float] = {"rough": 5e-2, "usual": 1e-4, "exact": 1e-5}


@dataclass(kw_only=True, eq=False)
class UltraGCN(UpdatableRecommender, TrainedRecommender):
    """UltraGCN with the released code's loss, spectral start and row-wise Adam.

    Departures from the released code, each with the way back: negatives are shared by a batch
    (``shared_negatives=False``); a batch is a set of users with all their pairs
    (``batch_by="pairs"``); the start is spectral (``init="normal"``); L2 is stated per epoch, so it
    does not change with the batch size (their ``gamma * batches per epoch``); the rate falls
    linearly to zero (``lr_decay=False``); early stopping looks at ``validation`` only. A log's
    weights, over their mean, weigh the positives, which the released code has not. Names: their
    config's ``lambda`` is ``item_weight`` here, their ``gamma`` is ``l2``, and the paper's lambda
    is ``positive_degree / positive_base``.

    Those of ``TrainedRecommender``, and:

    Attributes:
        dim: Size of a vector.
        batch_size: Users (or pairs, see ``batch_by``) a step; None chooses it so that an epoch has
            about 250 steps of at most 128 users, or 2,000 where there are more (of pairs: 1,500
            steps of at most 512, or 10,000): few steps learn little, however good their gradient.
        negatives: Items drawn a batch, or a row when not shared; the size of the catalogue or more,
            with shared uniform draws, means all items exactly.
        negative_weight: Weight W of the mean over the negatives.
        negative_power: Negatives are drawn with probability proportional to popularity ** power.
        shared_negatives: One pool of negatives for the batch, or one for each of its rows.
        reject: Redraws of a negative that is a known pair; with negatives of a row's own only. The
            L2 of an item then falls short by the chance that its draw was rejected.
        positive_base, positive_degree, negative_base, negative_degree: w1 to w4 of the loss.
        item_weight: Weight of the item-item loss; 0 leaves it out.
        item_neighbours: Neighbours of an item in that loss.
        item_formula: Neighbour weights of the released "code", or of the "paper".
        include_self: With "code", whether an item is its own neighbour, as released.
        l2: L2 strength per epoch, on the sum of squares of both tables.
        batch_by: Walk "users" or shuffled "pairs".
        init: "spectral", or "normal" with standard deviation ``init_scale``.
        init_scale: Mean row norm of the spectral start, or the standard deviation.
        lr_decay: Linear fall of the rate to zero over ``epochs``.
        precision: Of matrix products: "tf32" on CUDA, "bf16" where matrix units do it; tables and
            the optimizer stay float32.
    """

    dim: int = bounded(64, least=2)
    batch_size: int | None = bounded(None, least=1)
    negatives: int = bounded(4096, least=1)
    negative_weight: float = bounded(300.0, above=0)
    negative_power: float = 0.0
    shared_negatives: bool = True
    reject: int = bounded(0, least=0)
    positive_base: float = bounded(1e-6, least=0)
    positive_degree: float = bounded(1.0, least=0)
    negative_base: float = bounded(1e-6, least=0)
    negative_degree: float = bounded(1.0, least=0)
    item_weight: float = bounded(5e-4, least=0)
    item_neighbours: int = bounded(10, least=1)
    item_formula: Literal["code", "paper"] = "code"
    include_self: bool = True
    l2: float = bounded(0.15, least=0)
    batch_by: Literal["users", "pairs"] = "users"
    init: Literal["spectral", "normal"] = "spectral"
    init_scale: float = bounded(1.0, above=0)
    lr_decay: bool = True
    precision: Literal["float32", "tf32", "bf16"] = "float32"

    def _learn(self, train_log: Interactions, validation: Interactions | None) -> nn.Module:
        """Both tables; see ``TrainedRecommender`` for what is set."""
        pairs = train_log.pairs.to(self._device())
        generator = seeded(self.random_state, pairs.device)
        sampler = NegativeSampler(
            pairs,
            self.negatives,
            generator,
            power=self.negative_power,
            shared=self.shared_negatives,
            reject=self.reject,
        )
        module = self.module(pairs, train_log, sampler, generator)
        self._neighbours: Neighbours | None = module.neighbours
        by_users = self.batch_by == "users"
        n_rows = int((pairs.query_degrees > 0).sum()) if by_users else len(pairs)
        walk: type[QueryBatches | PairBatches] = QueryBatches if by_users else PairBatches
        batches = walk(pairs, self.rows_a_step(n_rows), sampler)
        with reduced_products(pairs.device, self.precision):
            falling = falling_rate(self.epochs * len(batches)) if self.lr_decay else None
            return self._train(module, batches, validation, falling)

    def rows_a_step(self, n_rows: int) -> int:
        """Rows of a batch, for a walk over ``n_rows`` users with pairs, or pairs."""
        if self.batch_size is not None:
            return self.batch_size
        few, many, most = (250, 2_000, 128) if self.batch_by == "users" else (1_500, 10_000, 512)
        return max(min(n_rows // few, most), n_rows // many, 1)

    def module(
        self,
        pairs: PairSet,
        log: Interactions,
        sampler: NegativeSampler,
        generator: torch.Generator,
    ) -> UltraGCNModule:
        """The untrained tables and their loss, for loops of one's own."""
        weights = self._loss_weights()
        neighbours = self._neighbours_of(pairs)
        users, items = self._start(pairs, weights, sampler, generator)
        pair_weight = None
        if log.weight is not None:
            pair_weight = (log.weight / log.weight.mean()).to(pairs.device)
        return UltraGCNModule(
            users,
            items,
            pairs=pairs,
            pair_weight=pair_weight,
            weights=weights,
            neighbours=neighbours,
            draw_chance=sampler.probabilities,
        )

    def _start(
        self,
        pairs: PairSet,
        weights: LossWeights,
        sampler: NegativeSampler,
        generator: torch.Generator,
    ) -> tuple[Tensor, Tensor]:
        if self.init == "normal":
            shapes = (pairs.n_queries, self.dim), (pairs.n_candidates, self.dim)
            users, items = (
                torch.randn(shape, generator=generator, device=pairs.device) * self.init_scale
                for shape in shapes
            )
            return users, items
        odds = popularity_log_odds(pairs, weights, sampler.probabilities)
        return spectral_tables(pairs, self.dim, odds, scale=self.init_scale, generator=generator)

    def _loss_weights(self) -> LossWeights:
        return LossWeights(
            self.positive_base,
            self.positive_degree,
            self.negative_base,
            self.negative_degree,
            self.negative_weight,
            self.item_weight,
            self.l2,
        )

    # updates: every row by the loss that trained it, negatives in expectation

    def _neighbours_of(self, pairs: PairSet) -> Neighbours | None:
        if not self.item_weight:
            return None
        return item_neighbours(pairs, self.item_neighbours, self.item_formula, self.include_self)

    def _learned_neighbours(self) -> Neighbours | None:
        near: Neighbours | None = vars(self).pop("_neighbours")
        return near

    def _solve_users(
        self, histories: Histories, base: Base, items: Tensor, start: Tensor, care: Care = "usual"
    ) -> Solution:
        weights, near = self._loss_weights(), base.neighbours
        chance = _padded(draw_chances(base.item_degree, self.negative_power).float(), len(items))
        table = frozen_items(items, histories.degree, chance, weights)
        if near is not None:
            alone = torch.arange(len(near.nearest), len(items), device=items.device)[:, None]
            nearest = torch.cat([near.nearest, alone.expand(-1, near.nearest.shape[1])])
            near = Neighbours(nearest, _padded(near.weight, len(items)))
        problems = user_problems(histories.pairs, histories.degree, near, weights)
        around = self._expansion(base, "users", table, care)
        return solve(table, problems, start, around, tolerance=TOLERANCE[care])

    def _solve_items(
        self, histories: Histories, base: Base, users: Tensor, start: Tensor, care: Care = "usual"
    ) -> Solution:
        weights, near, history = self._loss_weights(), base.neighbours, histories.pairs
        table = frozen_users(users, _padded(base.user_degree, len(users)), weights)
        pull = None
        if near is not None and len(near.nearest) == histories.whole.shape[0]:
            pull = neighbourhood_pull(histories.whole, histories.rows, near)
        elif near is not None and self.item_formula == "code" and self.include_self:
            pull = own_pull(history, histories.degree)
        degrees = torch.cat([history.starts.diff(), base.item_degree])
        own, known = draw_chances(degrees, self.negative_power).split([len(start), len(base.items)])
        chance = (own / known.sum()).float()
        problems = item_problems(history, histories.degree, chance, pull, weights)
        around = self._expansion(base, "items", table, care)
        return solve(table, problems, start, around, tolerance=TOLERANCE[care])

    def _expansion(
        self, base: Base, side: Literal["users", "items"], table: FrozenTable, care: Care
    ) -> Expansion | None:
        """The negatives of a side around some of its rows; made once for each base."""
        if care == "exact":
            return None
        if side not in base.kept:
            rows: Tensor = getattr(base, side)
            rows = rows if len(rows) else base.mean_user[None]
            made = seeded(0, rows.device)
            base.kept[side] = expand(table, spread_centres(rows, CENTRES[care], generator=made))
        found: Expansion = base.kept[side]
        return found

    def _score_error(self, tables: Factors, user_residual: float, item_residual: float) -> float:
        if not self.l2:
            return super()._score_error(tables, user_residual, item_residual)
        users, items = (float(t.norm(dim=1).max()) for t in (tables.queries, tables.candidates))
        user, item = user_residual / self.l2, item_residual / self.l2
        return user * items + item * users + user * item


def _padded(of_base: Tensor, n: int) -> Tensor:
    """With zeros for the rows that came after the base."""
    more = of_base.new_zeros(n - len(of_base), *of_base.shape[1:])
    return torch.cat([of_base, more])
