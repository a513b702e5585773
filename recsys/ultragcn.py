"""UltraGCN: graph recommendation without propagation (Mao et al. 2021, arXiv:2110.15114)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from hyperrank.batches import NegativeSampler, PairBatches, QueryBatches, draw_chances
from hyperrank.devices import seeded
from hyperrank.neighbours import Neighbours
from hyperrank.pairs import PairSet
from hyperrank.parameters import bounded
from hyperrank.products import reduced_products
from hyperrank.scorers import Factors
from hyperrank.store import State
from recsys.graph_loss import LossWeights, UltraGCNModule, popularity_log_odds
from recsys.graph_rows import frozen_items, frozen_users, item_problems, user_problems
from recsys.interactions import Interactions
from recsys.item_graph import item_neighbours
from recsys.logistic_rows import Expansion, FrozenTable, Solution, expand, solve, spread_centres
from recsys.spectral import spectral_tables
from recsys.trained import TrainedRecommender
from recsys.updatable import UpdatableRecommender
from recsys.updates import Histories

EXACT = 1e-5  # of a row's size: about what float32 sums over a catalogue allow
CENTRES = 64  # at which the negatives are expanded for updates: 2 MB at 64 dimensions


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
        self._expansions: dict[str, Expansion] = {}
        by_users = self.batch_by == "users"
        n_rows = int((pairs.query_degrees > 0).sum()) if by_users else len(pairs)
        walk: type[QueryBatches | PairBatches] = QueryBatches if by_users else PairBatches
        batches = walk(pairs, self.rows_a_step(n_rows), sampler)
        with reduced_products(pairs.device, self.precision):
            return self._train(module, batches, validation, self._falling_rate(len(batches)))

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
        neighbours = None
        if self.item_weight:
            neighbours = item_neighbours(
                pairs, self.item_neighbours, self.item_formula, self.include_self
            )
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

    def _solve_users(
        self, histories: Histories, items: Tensor, start: Tensor, *, exact: bool = False
    ) -> Solution:
        weights, degree = self._loss_weights(), histories.degree
        chance = self._padded(draw_chances(self._fit.item_degree, self.negative_power), len(items))
        table = frozen_items(items, degree, chance, weights)
        near = self._neighbours
        if near is not None:
            every = torch.arange(len(items), device=items.device)[:, None]
            grown = every.repeat(1, near.nearest.shape[1])
            grown[: len(near.nearest)] = near.nearest
            near = Neighbours(grown, self._padded(near.weight, len(items)))
        problems = user_problems(histories.pairs, degree, near, weights)
        if exact:
            return solve(table, problems, start, None, tolerance=EXACT)
        return solve(table, problems, start, self._expansion("users", table, self._fit.users))

    def _solve_items(self, histories: Histories, users: Tensor, start: Tensor) -> Solution:
        weights, n = self._loss_weights(), len(self._fit.item_degree)
        frozen = self._padded(self._fit.user_degree, len(users))
        table = frozen_users(users, frozen, weights)
        itself = bool(self.item_weight) and self.item_formula == "code" and self.include_self
        own = histories.pairs.starts.diff()
        chance = torch.full((len(start),), 1 / n, device=users.device)
        if self.negative_power:
            share = draw_chances(self._fit.item_degree, self.negative_power)
            mass = self._fit.item_degree.double().pow(self.negative_power)
            chance = (own.double().pow(self.negative_power) * share.sum() / mass.sum()).float()
        problems = item_problems(histories.pairs, histories.degree, chance, itself, weights)
        items = self._factors().candidates[:n]
        return solve(table, problems, start, self._expansion("items", table, items))

    def _expansion(self, side: str, table: FrozenTable, rows: Tensor) -> Expansion:
        """Negatives around ``CENTRES`` rows of the fit; made once, for new rows weigh nothing."""
        if side not in self._expansions:
            known = rows if len(rows) else self._fit.mean_user[None]
            centres = spread_centres(known, CENTRES, generator=seeded(0, rows.device))
            made = expand(table, centres)
            self._expansions = {**self._expansions, side: made}  # a copy of the model keeps its own
        return self._expansions[side]

    def _users_changed(self) -> None:
        self._expansions = {side: e for side, e in self._expansions.items() if side != "items"}

    def _padded(self, of_fit: Tensor, n: int) -> Tensor:
        """With zeros for the rows that came after the fit, in float32."""
        padded = torch.zeros(n, *of_fit.shape[1:], dtype=of_fit.dtype, device=of_fit.device)
        padded[: len(of_fit)] = of_fit
        return padded.float() if padded.is_floating_point() else padded

    def _score_error(self, tables: Factors, user_residual: float, item_residual: float) -> float:
        if not self.l2:
            return super()._score_error(tables, user_residual, item_residual)
        users, items = (float(t.norm(dim=1).max()) for t in (tables.queries, tables.candidates))
        user, item = user_residual / self.l2, item_residual / self.l2
        return user * items + item * users + user * item

    def _state(self) -> State:
        state, tensors = super()._state(), {}
        if self._neighbours is not None:
            tensors = {f"neighbours.{k}": v for k, v in self._neighbours._asdict().items()}
        return state._replace(tensors=state.tensors | tensors)

    def _restore(self, state: State) -> None:
        super()._restore(state)
        self._expansions = {}
        parts = [state.tensors.get(f"neighbours.{name}") for name in Neighbours._fields]
        there = [part.to(self.seen_.device) for part in parts if part is not None]
        self._neighbours = Neighbours(*there) if there else None

    def _falling_rate(
        self, n_batches: int
    ) -> Callable[[torch.optim.Optimizer], Callable[[Any], None]] | None:
        if not self.lr_decay:
            return None

        def after_step(optimizer: torch.optim.Optimizer) -> Callable[[Any], None]:
            schedule = torch.optim.lr_scheduler.LinearLR(
                optimizer, start_factor=1.0, end_factor=0.0, total_iters=self.epochs * n_batches
            )
            return lambda _: schedule.step()

        return after_step
