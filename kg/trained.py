"""Link predictors that the training loop fits against all entities, with early stopping."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Literal

import torch
from torch import nn

from hyperrank.optim import Muon
from hyperrank.pairs import PairSet
from hyperrank.parameters import bounded
from hyperrank.products import fast_products, reduced_products
from hyperrank.robust_training import RobustTraining
from hyperrank.training import EarlyStopping, falling_rate, train
from kg.answer_batches import AnswerBatches, LossName, Objective, SmoothingRule
from kg.predictor import LinkPredictor
from kg.queries import Queries
from kg.ranking import filtered_ranks, shares
from kg.triples import Triples

TABLES = ("entities", "relations", "points")  # endings of the parameters that are attacked


@dataclass(kw_only=True, eq=False)
class TrainedPredictor(RobustTraining, LinkPredictor):
    """A link predictor whose tables are learned by gradient steps, queries against all entities.

    ``fit`` sets ``history_`` (mean loss of a fact, of each epoch), ``best_epoch_`` (the epoch whose
    tables are kept: the last without validation) and ``validation_history_`` ((epoch, measure)
    pairs).

    Those of ``hyperrank.robust_training.RobustTraining``, and:

    Attributes:
        loss: "bce", every entity of a query a yes or no; or "softmax", every fact a choice.
        smoothing: Part of a true answer's target that is taken away.
        smoothing_rule: What every target gets for it: 1/n of "conve" and TuckER's code, or
            ``smoothing``/n ("uniform"). With "softmax" the former spreads one answer more over all,
            whatever ``smoothing`` is. None is "conve" with "bce" and "uniform" with "softmax".
        epochs: Most passes over the queries.
        batch_size: Queries a step, each with all its answers.
        lr: Step at the start.
        lr_decay: What the rate is multiplied with in each epoch.
        lr_fall: Whether it also falls linearly, to zero at the end of ``epochs``.
        adam_eps: Added to the root of squared slopes, which are then of the mean loss: over
            queries and entities with "bce", over queries with "softmax".
        weight_decay: Part of ``lr`` times a parameter that a step takes away.
        optimizer: Of the core: "adam" as of the rest, or "muon", orthogonalized momentum.
        core_lr: Step of the core; None for ``lr``.
        chunk: Entities scored at once in training; None chooses it by the device.
        monitor: Filtered measure of early stopping, on validation facts: "mrr" or "hits@10".
        evaluate_every: Epochs between two looks at it; there is one after the last epoch too.
        patience: Looks without a new best before stopping.
        precision: Of matrix products: "tf32" on CUDA, "bf16" where matrix units do it.
        random_state: Start of the only random stream that ``fit`` reads.
        progress: Whether to show a progress bar.
    """

    loss: LossName = "bce"
    smoothing: float = bounded(0.1, least=0, most=1)
    smoothing_rule: SmoothingRule | None = None
    epochs: int = bounded(200, least=1)
    batch_size: int = bounded(128, least=2)
    lr: float = bounded(3e-3, above=0)
    lr_decay: float = bounded(1.0, above=0, most=1)
    lr_fall: bool = False
    adam_eps: float = bounded(1e-8, least=0)
    weight_decay: float = bounded(0.0, least=0)
    optimizer: Literal["adam", "muon"] = "adam"
    core_lr: float | None = bounded(None, above=0)
    chunk: int | None = bounded(None, least=1)
    monitor: str = "mrr"
    evaluate_every: int = bounded(5, least=1)
    patience: int = bounded(4, least=1)
    precision: Literal["float32", "tf32", "bf16"] = "float32"
    random_state: int = bounded(0, least=0)
    progress: bool = False

    def _check_params(self) -> None:
        super()._check_params()
        self._check_robustness(core="core")
        try:
            self._check_metric(self.monitor)
        except ValueError as error:
            raise ValueError(f"{type(self).__name__}: monitor: {error}") from None

    def _objective(self, n3: float = 0.0, dura: float = 0.0, relation: float = 0.0) -> Objective:
        usual: SmoothingRule = "conve" if self.loss == "bce" else "uniform"
        rule = self.smoothing_rule or usual
        return Objective(self.loss, self.smoothing, rule, n3, dura, relation, self.chunk)

    def _train(
        self,
        module: nn.Module,
        train_facts: Triples,
        validation: Triples | None,
        generator: torch.Generator,
        *,
        known: Sequence[Triples] = (),
        look_first: bool = False,
    ) -> nn.Module:
        """``module``, trained in place and at its best epoch; see the class for what is set.

        With ``look_first`` that may be epoch 0, the module as it came. Facts of ``known`` are left
        out of the answers where validation facts are ranked, as ``train_facts`` are.
        """
        queries = train_facts.queries().to(generator.device)
        batches = AnswerBatches(queries, self.batch_size, generator)
        optimizer = self.make_optimizer(module, queries)
        stop = self._stopping(module, [train_facts, *known], validation)
        if stop is not None and look_first:
            stop.look()
        rate = falling_rate(
            self.epochs * len(batches),
            decay=self.lr_decay ** (1 / len(batches)),
            linear=self.lr_fall,
        )
        with fast_products(), reduced_products(generator.device, self.precision):
            self.history_ = train(
                module,  # type: ignore[arg-type]  # a Learner: it has a loss
                batches,
                optimizer,
                epochs=self.epochs,
                **self._robust(module, TABLES),
                after_step=rate(optimizer),
                stop=stop,
                progress=self.progress,
            )
        self.best_epoch_, self.validation_history_ = len(self.history_), []
        if stop is not None:
            self.best_epoch_, self.validation_history_ = stop.restore(), stop.record
        return module.eval()

    def make_optimizer(self, module: nn.Module, queries: Queries) -> torch.optim.Optimizer:
        """The optimizer of what ``module`` learns, for loops of one's own.

        Every step has a slope for every entity, so that Adam on whole tables is right, and fused it
        is fast. A module's ``rates`` give some parameters a step of their own.
        """
        terms = queries.n_candidates if self.loss == "bce" else 1
        eps = self.adam_eps * terms * min(self.batch_size, queries.n_queries)
        own: dict[str, float] = getattr(module, "rates", {})
        core_lr = self.lr if self.core_lr is None else self.core_lr
        groups = [
            {
                "params": [p],
                "lr": core_lr if name.endswith("core") else own.get(name, self.lr),
                "name": name,
            }
            for name, p in module.named_parameters()
            if p.requires_grad
        ]
        if self.optimizer == "adam":
            return torch.optim.AdamW(groups, eps=eps, weight_decay=self.weight_decay, fused=True)
        for group in groups:
            group["algorithm"] = "muon" if str(group.pop("name")).endswith("core") else "adamw"
        return Muon(
            groups,
            weight_decay=self.weight_decay,
            adjust_lr_fn="match_rms_adamw",
            adam_eps=eps,
            dtype=None if self.precision == "float32" else torch.bfloat16,
        )

    def _stopping(
        self, module: nn.Module, hidden: Sequence[Triples], validation: Triples | None
    ) -> EarlyStopping | None:
        """Judges the current tables by ``monitor`` on validation facts, both ways."""
        if validation is None:
            return None
        device = next(module.parameters()).device
        queries = validation.queries().to(device)
        known = reduce(PairSet.union, map(queries.answers, hidden))

        def measure() -> float:
            return float(shares(self.monitor, filtered_ranks(module.eval(), queries, known)).mean())

        return EarlyStopping(
            module, measure, epochs=self.epochs, every=self.evaluate_every, patience=self.patience
        )
