"""TriplH: matrix factorization with a hyperbolic triplet score (arXiv:2508.11978)."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from hyperrank.batches import (
    NegativeSampler,
    PairBatch,
    PairBatches,
    PickedBatches,
    QueryBatches,
    draw_chances,
)
from hyperrank.devices import seeded
from hyperrank.distance_scorer import Distances
from hyperrank.pairs import PairSet
from hyperrank.parameters import bounded
from hyperrank.products import reduced_products
from hyperrank.scorers import Factors
from hyperrank.store import State
from hyperrank.training import falling_rate
from recsys.histories import Histories
from recsys.interactions import Interactions
from recsys.row_solvers import Solution
from recsys.trained import TrainedRecommender
from recsys.triplet_module import Learned, LossName, TripletModule, TripletWeights
from recsys.triplet_negatives import Gumbel, InBatch, Released
from recsys.triplet_scores import SCORES, GeometryName
from recsys.triplet_updates import RowLoss
from recsys.updatable import UpdatableRecommender
from recsys.update_passes import Care
from recsys.updates import Base

SamplerName = Literal["popularity", "batch", "gumbel", "released"]


@dataclass(kw_only=True, eq=False)
class TriplH(UpdatableRecommender, TrainedRecommender):
    """Free user and item vectors, scored as points of the hyperboloid; TriplH as it should be.

    The triangle score is bounded and a dot product of d + 1 numbers, so that ``transform`` and
    ``transform_items`` are what any inner-product index needs; there is no curvature to choose, as
    it is absorbed by the vectors' scale. ``geometry`` gives the twins it must be held against under
    the same loss. By default many negatives share one softmax at a fixed scale, which matters
    far more than the published triplet; ``TriplH.as_released()`` is the published code. Weights of
    a log are not used.

    Departures from the released code: its loss and sampler are options, not defaults; users are
    stored reflected, so that liked items point the user's way; early stopping looks at
    ``validation``; known items are left out of what is recommended.

    Updates solve rows by the softmax that trained them, over all items (or 32,768 of a larger
    catalogue): ``partial_fit`` and ``fold_in`` refuse other losses, and what is no dot product of
    free vectors. ``scale_`` is the scale that was learned.

    Those of ``TrainedRecommender``, and:

    Attributes:
        dim: Size of a free vector.
        geometry: Of the score: "triangle"; "cosine" or "inner" product; "lorentzian" (minus the
            squared Lorentzian distance) or "geodesic" (minus the distance; served by the former).
        item_radius: A learned number for each item, added to its scores: with distances the radius
            of a ball. With "geodesic" the score is then no dot product, so no index serves it.
        loss: "softmax" over the negatives; "pairwise"; the published "triangle", or "tetrahedron".
        scale: What scores are multiplied with in the loss.
        item_weight: Weight of the separation of positive item and negative: the loss rewards it
            above 0, and punishes it below. The released c is minus this.
        learn_weights: Whether ``scale`` and ``item_weight`` are learned: "bounded" between 0 and
            twice their value, or "free" with a margin, as released.
        item_penalty: Weight of the squared product of positive item and negative.
        l2: L2 strength for each pair, on the rows that it touches.
        negatives: Items drawn a batch, or a row with "gumbel"; the size of the catalogue or more,
            with uniform shared draws, means all items exactly.
        sampler: Draws proportional to "popularity" ** ``negative_power``; positives of the "batch";
            "gumbel", the hardest of a pool, approximately; or the "released" line.
        negative_power: 0 is uniform.
        shared_negatives: One set of negatives for the batch, or one for each of its rows.
        pool: Items of which "gumbel" chooses a row's negatives.
        gumbel_temperature: Of that choice: 0 is uniform, large takes the hardest.
        exclude_seen: Whether a user's known items are no negatives.
        batch_by: Walk "users" with all their pairs, or shuffled "pairs".
        batch_size: Users (or pairs) a step; None chooses it as ``rows_a_step`` says.
        init: "normal" with standard deviation ``init_scale``, or "xavier" as released.
        init_scale: Standard deviation of a coordinate at the start.
        lr_decay: Linear fall of the rate to zero over ``epochs``.
        metric_gradient: Whether gradients are scaled by the hyperboloid's inverse metric.
        precision: Of matrix products: "tf32" on CUDA, "bf16" where matrix units do it.
    """

    dim: int = bounded(64, least=1)
    epochs: int = bounded(40, least=1)
    lr: float = bounded(0.03, above=0)
    geometry: GeometryName = "triangle"
    item_radius: bool = False
    loss: LossName = "softmax"
    scale: float = bounded(7.0, above=0)
    item_weight: float = 0.0
    learn_weights: Learned = "no"
    item_penalty: float = bounded(0.0, least=0)
    l2: float = bounded(0.06, least=0)
    negatives: int = bounded(4096, least=1)
    sampler: SamplerName = "popularity"
    negative_power: float = 0.0
    shared_negatives: bool = True
    pool: int = bounded(1024, least=1)
    gumbel_temperature: float = bounded(7.0, least=0)
    exclude_seen: bool = False
    batch_by: Literal["users", "pairs"] = "users"
    batch_size: int | None = bounded(None, least=1)
    init: Literal["normal", "xavier"] = "normal"
    init_scale: float = bounded(0.1, above=0)
    lr_decay: bool = True
    metric_gradient: bool = False
    precision: Literal["float32", "tf32", "bf16"] = "float32"

    @classmethod
    def as_released(cls, **changes: Any) -> Self:
        """The released code's setting: triangle loss with free scalars, one negative by its line.

        Its weight decay of 1e-6 is left out, and its pairs are shuffled, which they were not.
        ``changes`` are other parameters; the penalty of the released sum over a batch follows
        ``batch_size``.
        """
        size = changes.get("batch_size", 2048)
        released: dict[str, Any] = {
            "dim": 64,
            "epochs": 20,
            "lr": 1e-3,
            "loss": "triangle",
            "scale": 1.0,
            "item_weight": -0.1,
            "learn_weights": "free",
            "item_penalty": 1e-4 * size,
            "l2": 0.0,
            "negatives": 1,
            "sampler": "released",
            "shared_negatives": False,
            "batch_by": "pairs",
            "batch_size": size,
            "init": "xavier",
            "lr_decay": False,
        }
        return cls(**{**released, **changes})

    def _check_params(self) -> None:
        super()._check_params()
        name = type(self).__name__
        if self.loss == "tetrahedron" and (self.geometry != "triangle" or self.item_radius):
            raise ValueError(
                f"{name}: loss='tetrahedron' is made of the triangle score's terms; use "
                f"geometry='triangle' without item_radius, got {self.geometry!r} and "
                f"item_radius={self.item_radius}"
            )
        if self.loss == "pairwise" and (self.item_weight or self.learn_weights == "free"):
            raise ValueError(
                f"{name}: loss='pairwise' has no item term and no margin; use loss='triangle', or "
                "item_weight=0 and learn_weights='no' or 'bounded'"
            )
        if self.sampler != "popularity" and self.negative_power:
            raise ValueError(
                f"{name}: negative_power belongs to sampler='popularity', got sampler="
                f"{self.sampler!r} and negative_power={self.negative_power}"
            )

    def _learn(self, train_log: Interactions, validation: Interactions | None) -> nn.Module:
        """Both tables; see ``TrainedRecommender`` for what is set."""
        pairs = train_log.pairs.to(self._device())
        generator = seeded(self.random_state, pairs.device)
        module = self.module(pairs, generator)
        batches = self.batches(pairs, module, generator)
        rate = falling_rate(self.epochs * len(batches)) if self.lr_decay else None
        with reduced_products(pairs.device, self.precision):
            scorer = self._train(module, batches, validation, rate)
        with torch.no_grad():
            self.scale_ = float(module.scalars()[0])
        return scorer

    def module(self, pairs: PairSet, generator: torch.Generator) -> TripletModule:
        """The untrained tables and their loss, for loops of one's own."""
        weights = TripletWeights(
            self.loss,
            self.scale,
            self.item_weight,
            self.learn_weights,
            self.item_penalty,
            self.l2,
            self.exclude_seen,
            self.metric_gradient,
        )
        users, items = self._start(pairs, generator)
        return TripletModule(
            users,
            items,
            SCORES[self.geometry],
            weights,
            pairs=pairs,
            draw_chance=self._draw_chance(pairs),
            every_item=self._draws_every_item(pairs),
            radius=self.item_radius,
        )

    def _start(self, pairs: PairSet, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        rows = pairs.n_queries, pairs.n_candidates
        if self.init == "xavier":
            bound = math.sqrt(6 / (sum(rows) + self.dim))
            users, items = (
                torch.rand(n, self.dim, generator=generator, device=pairs.device) for n in rows
            )
            return bound * (2 * users - 1), bound * (2 * items - 1)
        users, items = (
            torch.randn(n, self.dim, generator=generator, device=pairs.device) for n in rows
        )
        return self.init_scale * users, self.init_scale * items

    def _draws_every_item(self, pairs: PairSet) -> bool:
        uniform = self.sampler == "popularity" and not self.negative_power
        return uniform and self.shared_negatives and self.negatives >= pairs.n_candidates

    def _draw_chance(self, pairs: PairSet) -> Float[Tensor, " n_items"] | None:
        """Of each item in a draw; None where no softmax needs a correction for it."""
        power = {"popularity": self.negative_power, "batch": 1.0}.get(self.sampler)
        if power is None or self._draws_every_item(pairs):
            return None
        return draw_chances(pairs.candidate_degrees, power).float()

    def batches(
        self, pairs: PairSet, module: TripletModule, generator: torch.Generator
    ) -> PairBatches | QueryBatches | PickedBatches:
        """An epoch's batches for ``module``, negatives included."""
        drawn = {"popularity": self.negatives, "gumbel": self.pool}.get(self.sampler, 1)
        shared = self.shared_negatives or self.sampler == "gumbel"
        sampler = NegativeSampler(pairs, drawn, generator, power=self.negative_power, shared=shared)
        by_users = self.batch_by == "users"
        n_rows = int((pairs.query_degrees > 0).sum()) if by_users else len(pairs)
        walk: type[QueryBatches | PairBatches] = QueryBatches if by_users else PairBatches
        batches = walk(pairs, self.rows_a_step(n_rows), sampler)
        if self.sampler == "popularity":
            return batches
        picks: dict[str, Callable[[PairBatch], Tensor]] = {
            "batch": InBatch(self.negatives, generator),
            "gumbel": Gumbel(module, pairs, self.negatives, self.gumbel_temperature, generator),
            "released": Released(module, generator),
        }
        return PickedBatches(batches, picks[self.sampler])

    def rows_a_step(self, n_rows: int) -> int:
        """Rows of a batch: ``batch_size``, or so many that an epoch has about 200 steps.

        At least 8 and at most 256 users; of pairs 256 and 4,096.
        """
        if self.batch_size is not None:
            return self.batch_size
        least, most = (8, 256) if self.batch_by == "users" else (256, 4096)
        return min(max(n_rows // 200, least), most)

    def _scorer(self, module: nn.Module) -> Factors | Distances:
        assert isinstance(module, TripletModule)
        return module.scorer()

    # updates: every row by the loss that trained it, negatives in expectation

    convex = False
    _dial = 0.0  # what ``with_popularity`` added to the users' first number

    def _refusal(self) -> str | None:
        needed = {
            "geometry": ("triangle", "cosine", "inner", "lorentzian"),
            "loss": ("softmax",),
            "item_weight": (0,),
            "item_penalty": (0,),
            "item_radius": (False,),
            "sampler": ("popularity", "batch"),
        }
        for name, values in needed.items():
            if getattr(self, name) not in values:
                return (
                    f"{type(self).__name__} with {name}={getattr(self, name)!r} takes no updates: "
                    "rows are solved by a smooth softmax over all items, so it must be "
                    f"{' or '.join(map(repr, values))}; fit again on all interactions instead"
                )
        return None

    def _row_loss(self) -> RowLoss:
        return RowLoss(
            SCORES[self.geometry],
            self.scale_,
            self.l2,
            1.0 if self.sampler == "batch" else self.negative_power,
            self.exclude_seen,
            length=float(self.geometry == "cosine"),
        )

    def _solve_users(
        self, histories: Histories, base: Base, items: Tensor, start: Tensor, care: Care = "usual"
    ) -> Solution:
        return self._row_loss().solved_users(histories, base, items, start, care)

    def _solve_items(
        self, histories: Histories, base: Base, users: Tensor, start: Tensor, care: Care = "usual"
    ) -> Solution:
        return self._row_loss().solved_items(histories, base, users, start, care)

    def _totals_of(self, base: Base, pairs: PairSet) -> Tensor | None:
        return self._row_loss().totals(base, pairs)

    def _free(self, scorer: Factors) -> Factors:
        score, queries = SCORES[self.geometry], scorer.queries
        if self._dial:
            queries = torch.cat([queries[:, :1] - self._dial, queries[:, 1:]], 1)
        return Factors(score.free_users(queries), score.free_items(scorer.candidates))

    def _user_vectors(self, rows: Tensor) -> Tensor:
        vectors = SCORES[self.geometry].users(rows)
        return (
            torch.cat([vectors[:, :1] + self._dial, vectors[:, 1:]], 1) if self._dial else vectors
        )

    def _item_vectors(self, rows: Tensor) -> Tensor:
        return SCORES[self.geometry].items(rows)

    def _state(self) -> State:
        state = super()._state()
        return state._replace(notes=state.notes | {"dial": self._dial})

    def _restore(self, state: State) -> None:
        self._dial, self.scale_ = state.notes.get("dial", 0.0), self.scale
        super()._restore(state)

    # serving

    @property
    def item_vectors_(self) -> Float[np.ndarray, "n m"]:
        """What an inner-product index holds: row r is the item ``items_.ids[r]``.

        Raises:
            TypeError: If the score is no dot product: "geodesic" with ``item_radius``.
            NotFittedError: Before ``fit``.
        """
        vectors: np.ndarray = self._factors().candidates.cpu().numpy()
        return vectors

    def query_vectors(self, users: Any, *, popularity: float = 0.0) -> Float[np.ndarray, "n m"]:
        """What such an index is asked with; ``popularity`` as in ``with_popularity``.

        Raises:
            TypeError: If the score is no dot product.
            ValueError: If ``popularity`` is given and ``geometry`` is not "triangle".
            UnknownIdError: If a user is not in the training log.
            NotFittedError: Before ``fit``.
        """
        model = self.with_popularity(popularity) if popularity else self
        return model.transform(users)

    def with_popularity(self, dial: float) -> Self:
        """This model with ``dial`` times (1 - 1/height of the item) added to every score.

        That number, from 0 to 1, is the item's share of the score that no user's direction
        changes; popular items have more of it. Items stay as they are, and so does an index of
        them: only the users' first number moves. Below 0 the lists hold rarer items.

        Raises:
            ValueError: If ``geometry`` is not "triangle": no other has the coordinate.
            NotFittedError: Before ``fit``.
        """
        factors = self._factors()
        if self.geometry != "triangle":
            raise ValueError(
                f"the popularity dial turns the first number of geometry='triangle', got "
                f"geometry={self.geometry!r}"
            )
        queries = factors.queries.clone()
        queries[:, 0] += dial
        turned = copy.copy(self)
        turned._dial = self._dial + dial
        turned.scorer_ = Factors(queries, factors.candidates)
        return turned
