"""Recommenders whose tables are learned by the training loop, with early stopping."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from hyperrank.batches import PairBatches, PickedBatches, QueryBatches
from hyperrank.distance_scorer import Distances
from hyperrank.evaluation import top_k_hits
from hyperrank.metrics import parse, parse_of_truth
from hyperrank.optim import RowAdam
from hyperrank.pairs import PairSet
from hyperrank.parameters import bounded
from hyperrank.products import fast_products
from hyperrank.robust_training import RobustTraining
from hyperrank.scorers import Factors
from hyperrank.training import EarlyStopping, train
from recsys.interactions import Interactions
from recsys.recommender import Recommender


@dataclass(kw_only=True, eq=False)
class TrainedRecommender(RobustTraining, Recommender):
    """A recommender whose user and item tables are learned by gradient steps.

    ``fit`` sets ``history_`` (mean loss of each epoch), ``best_epoch_`` (the epoch whose tables are
    kept: the last without a validation log) and ``validation_history_`` ((epoch, measure) pairs).

    Those of ``hyperrank.robust_training.RobustTraining``, which move both tables, and:

    Attributes:
        epochs: Most passes over the pairs.
        lr: Adam step at the start, in units of a vector's coordinate.
        monitor: Measure of early stopping, when ``fit`` gets a validation log: one of what is true,
            such as "ndcg@20" or "recall@20".
        evaluate_every: Epochs between two looks at it; there is one after the last epoch too.
        patience: Looks without a new best before stopping.
        random_state: Start of the only random stream that ``fit`` reads.
        progress: Whether to show a progress bar.
    """

    epochs: int = bounded(40, least=1)
    lr: float = bounded(4e-3, above=0)
    monitor: str = "ndcg@20"
    evaluate_every: int = bounded(5, least=1)
    patience: int = bounded(3, least=1)
    random_state: int = bounded(0, least=0)
    progress: bool = False

    def _check_params(self) -> None:
        super()._check_params()
        self._check_robustness()
        parse_of_truth(self.monitor, "monitor")

    def _train(
        self,
        module: nn.Module,
        batches: QueryBatches | PairBatches | PickedBatches,
        validation: Interactions | None,
        after_step: Callable[[torch.optim.Optimizer], Callable[[Any], None] | None] | None = None,
    ) -> Factors | Distances:
        """Trains ``module`` in place; what serves its tables, at the best epoch.

        ``after_step`` makes what runs after each step from the optimizer.

        Raises:
            ValueError: If ``validation`` holds training pairs only.
        """
        optimizer = RowAdam(module.parameters(), lr=self.lr)
        stop = self._stopping(module, batches.pairs, validation)
        with fast_products():
            self.history_ = train(
                module,  # type: ignore[arg-type]  # a Learner: it has a loss
                batches,
                optimizer,
                epochs=self.epochs,
                **self._robust(module, ("users", "items")),
                after_step=None if after_step is None else after_step(optimizer),
                stop=stop,
                progress=self.progress,
            )
        self.best_epoch_, self.validation_history_ = len(self.history_), []
        if stop is not None:
            self.best_epoch_, self.validation_history_ = stop.restore(), stop.record
        return self._scorer(module)

    def _scorer(self, module: nn.Module) -> Factors | Distances:
        """Dot products of the module's tables; a subclass may score them in another way."""
        users, items = module.get_parameter("users"), module.get_parameter("items")
        return Factors(users.detach(), items.detach())

    def _stopping(
        self, module: nn.Module, seen: PairSet, validation: Interactions | None
    ) -> EarlyStopping | None:
        """Judges the current tables, all items ranked, seen ones left out."""
        if validation is None:
            return None
        metric = parse(self.monitor)
        truth = validation.pairs.to(seen.device).difference(seen)
        if not len(truth):
            raise ValueError("every pair of validation is in train too; split one log in two")

        def measure() -> float:
            return metric.mean(top_k_hits(self._scorer(module), truth, metric.k, known=seen))

        return EarlyStopping(
            module,
            measure,
            epochs=self.epochs,
            every=self.evaluate_every,
            patience=self.patience,
        )
