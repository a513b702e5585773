"""MIG-TF: TuckER with a hyperbolic term (Yusupov, Rakhuba, Frolov, AISTATS 2025)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, Self

import torch
from torch import nn

from hyperrank.devices import seeded
from hyperrank.parameters import bounded
from kg.mixed_module import MixedModule, MixedShape, Origin
from kg.triples import Triples
from kg.tucker import TuckER
from kg.tucker_module import TuckerModule

# parameters that a given base decides
OF_BASE = ("entity_dim", "relation_dim", "batch_norm", "blocks")


@dataclass(kw_only=True, eq=False)
class MIGTF(TuckER):
    """A TuckER whose logits get a term of hyperbolic points: mixed geometry.

    The term is the signed sum of the six edges of the tetrahedron of origin, head, relation and
    tail on a hyperboloid, over the products of their time parts: a bounded, hyperbolic TransE, one
    matrix product of ``hyperbolic_dim`` + 2 numbers. By default a TuckER is trained first, or given
    to ``fit`` as ``base``, and stays as it is while the points learn.

    Parameters of ``TuckER`` are those of its first stage, where ``base`` is not given, and those of
    ``TrainedPredictor`` serve both stages, but for a named ``robustness``: the TuckER is what it
    penalizes, while that learns. ``fit`` sets ``base_history_`` too, the validation
    history of a first stage.

    Attributes:
        hyperbolic_dim: Size of a point's space part.
        curvature: Of the hyperboloid, at the start where it is learned; -1/1.3 is published.
        learn_curvature: Whether it is learned.
        origin: "exact", or with the published code's time part of 1.
        normalize: Whether the term is divided, which bounds it by 2.
        orthonormal_relations: Whether relations are the nearest orthonormal rows; for at most
            ``hyperbolic_dim`` directed relations.
        gate: What the term is multiplied with, at the start where it is learned: 0 starts from the
            TuckER itself, which early stopping keeps where nothing is better. Published is 1.
        learn_gate: Whether it is learned; published is not.
        training: "two-stage", or "joint": everything is trained, from ``base`` where it is given.
        transfer_norm: Whether the base's normalizations are taken over; published ones are new.
        freeze_norm: Whether they stay as they are, with their running averages.
        point_scale: Standard deviation of a coordinate at the start.
        point_norm: Whether head and relation points are normalized over the batch, as published.
        point_dropout: Chance that a coordinate is dropped; None for ``input_dropout``.
        point_lr: Step of the points; None for ``lr``.
    """

    hyperbolic_dim: int = bounded(50, least=1)
    curvature: float = -1.0
    learn_curvature: bool = False
    origin: Origin = "exact"
    normalize: bool = True
    orthonormal_relations: bool = False
    gate: float = 0.0
    learn_gate: bool = True
    training: Literal["two-stage", "joint"] = "two-stage"
    transfer_norm: bool = True
    freeze_norm: bool = True
    point_scale: float = bounded(0.2, above=0)
    point_norm: bool = True
    point_dropout: float | None = bounded(None, least=0, most=0.99)
    point_lr: float | None = bounded(None, above=0)

    def fit(
        self,
        train: Triples,
        validation: Triples | None = None,
        known: Triples | Sequence[Triples] = (),
        *,
        base: TuckER | None = None,
    ) -> Self:
        """Learns from ``train``; ``validation`` serves early stopping, of both stages.

        Args:
            train: The facts.
            validation: Facts that are ranked.
            known: As in ``TuckER.fit``.
            base: A fitted TuckER on the vocabularies of ``train``; it is not changed. Its sizes and
                its ``batch_norm`` hold, not those of this model.

        Raises:
            TypeError: As ``LinkPredictor.fit``, or if ``base`` is no TuckER.
            ValueError: As ``LinkPredictor.fit``, or if ``base`` is of other vocabularies, or is to
                stay as it is while ``robustness`` names what penalizes it.
            NotFittedError: If ``base`` is not fitted.
        """
        return self._fit(train, validation, known, base=base)

    def _check_params(self) -> None:
        super()._check_params()
        if not self.curvature < 0:
            raise ValueError(
                f"MIGTF: curvature must be a negative number, got {self.curvature}; the published "
                "one is -1/1.3, and flat space is the limit of small negative numbers"
            )
        if self.freeze_norm and not self.transfer_norm:
            raise ValueError(
                "MIGTF: freeze_norm=True would freeze normalizations that nothing has learned; "
                "use transfer_norm=True, or freeze_norm=False as published"
            )

    def _learn(
        self, train: Triples, validation: Triples | None, base: TuckER | None = None, **given: Any
    ) -> nn.Module:
        """Both stages; see ``TrainedPredictor`` for what is set."""
        self._check_relations(train.n_relations)
        if self._penalizes_base() and base is not None:
            raise ValueError(
                f"MIGTF: robustness={self.robustness!r} is a penalty of the TuckER, and the base "
                "given to fit stays as it is; fit the base with it, or use training='joint'"
            )
        generator = seeded(self.random_state, self._device())
        start = self._base(train, validation, base, generator, given.get("known", ()))
        module = self.mixed(start, generator)
        return self._train(module, train, validation, generator, look_first=True, **given)

    def _penalizes_base(self) -> bool:
        """Whether the penalty is one of tables that stay as they are, beside the points."""
        return self.training == "two-stage" and isinstance(self.robustness, str)

    def _robust(self, module: nn.Module, endings: tuple[str, ...]) -> dict[str, Any]:
        found = super()._robust(module, endings)
        return found | {"penalty": None} if self._penalizes_base() else found

    def _check_relations(self, n_relations: int) -> None:
        if self.orthonormal_relations and 2 * n_relations > self.hyperbolic_dim:
            raise ValueError(
                f"MIGTF: {2 * n_relations} directed relations cannot be orthonormal in "
                f"hyperbolic_dim={self.hyperbolic_dim}; raise it, or use orthonormal_relations="
                "False"
            )

    def _base(
        self,
        train: Triples,
        validation: Triples | None,
        given: TuckER | None,
        generator: torch.Generator,
        known: Triples | Sequence[Triples],
    ) -> TuckerModule:
        """The TuckER to start from, with this model's dropouts and objective."""
        if given is not None:
            _check_base(given, train)
        elif self.training == "two-stage":
            given = TuckER(**{f.name: getattr(self, f.name) for f in fields(TuckER)})
            given.fit(train, validation, known)
            self.base_history_ = given.validation_history_
        sized = self if given is None else given
        self.base_shape_ = {name: getattr(sized, name) for name in OF_BASE}
        module = self._empty_base(train.n_entities, train.n_relations, generator)
        if given is not None:
            state = given.module_.state_dict()
            if not self.transfer_norm:
                state |= {k: v for k, v in module.state_dict().items() if k.startswith("norm")}
            module.load_state_dict(state)
        return module

    def _empty_base(
        self, n_entities: int, n_relations: int, generator: torch.Generator
    ) -> TuckerModule:
        sized = replace(self, **self.base_shape_)
        return sized.module(n_entities, n_relations, generator)

    def mixed(self, base: TuckerModule, generator: torch.Generator) -> MixedModule:
        """The untrained points beside ``base``, whose loss they share, for loops of one's own."""
        joint = self.training == "joint"
        dropout = self.input_dropout if self.point_dropout is None else self.point_dropout
        shape = MixedShape(
            dim=self.hyperbolic_dim,
            curvature=self.curvature,
            learn_curvature=self.learn_curvature,
            origin=self.origin,
            normalize=self.normalize,
            orthonormal_relations=self.orthonormal_relations,
            gate=self.gate,
            learn_gate=self.learn_gate,
            point_scale=self.point_scale,
            point_norm=self.point_norm,
            point_dropout=dropout,
            freeze_base=not joint,
            freeze_norm=self.freeze_norm and not joint,
        )
        return MixedModule(base, shape, generator, point_lr=self.point_lr)

    def _empty(self, n_entities: int, n_relations: int) -> nn.Module:
        generator = seeded(0, self._device())
        return self.mixed(self._empty_base(n_entities, n_relations, generator), generator)


def _check_base(base: Any, train: Triples) -> None:
    if not isinstance(base, TuckER) or isinstance(base, MIGTF):
        raise TypeError(f"base must be a fitted TuckER, got {type(base).__name__}")
    base._fitted("module_")
    if base.entities_ != train.entities or base.relations_ != train.relations:
        raise ValueError(
            f"base knows {len(base.entities_)} entities and {len(base.relations_)} relations, "
            f"train has {train.n_entities} and {train.n_relations}, or numbers them in another "
            "way; fit both on the same facts, or use train.reindex(base.entities_, "
            "base.relations_)"
        )
