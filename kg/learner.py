"""What every link predictor learns, keeps and saves; ``kg.predictor`` has the doors."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from hyperrank import devices, parameters
from hyperrank.estimator import Estimator
from hyperrank.questions import whole
from hyperrank.store import State
from hyperrank.vocabulary import Vocabulary
from kg.calibration import Calibration, corrupted, platt
from kg.queries import Queries
from kg.triples import Triples, check_kind, known_on

FACTS_AT_ONCE = 2**16  # single facts scored together: some 50 MB of rows at 200 dimensions
MODULE = "module."  # what the names of the module's tensors begin with


class Completion(Protocol):
    """What ``_learn`` makes: a module in eval mode whose ``state_dict`` is its whole state.

    Relations are directed: r asks for the tails of a head, r + n_relations for the heads of a tail.
    A module that knows entities as vectors has ``vectors()``, a row for each.
    """

    def score(self, anchor: Int[Tensor, " b"], relation: Int[Tensor, " b"]) -> Float[Tensor, "b n"]:
        """Logits of all entities as answers; higher is more plausible."""
        ...

    def score_triples(
        self, anchor: Int[Tensor, " p"], relation: Int[Tensor, " p"], answer: Int[Tensor, " p"]
    ) -> Float[Tensor, " p"]:
        """The same logits of single answers, without the whole rows."""
        ...


@dataclass(kw_only=True, eq=False)
class FactLearner(Estimator):
    """Learns a ``Completion`` from facts, calibrates it, saves and loads it.

    A subclass is a dataclass of parameters with two methods: ``_learn``, which returns a module
    that is a ``Completion``, and ``_empty``, which makes one of the same shape to load into.
    Parameters are stored as given and checked by ``fit``. What is learned: ``entities_`` and
    ``relations_`` (vocabularies), ``facts_`` (the queries of the training facts), ``module_``,
    ``calibration_`` (None without validation facts).

    Attributes:
        device: "auto" (CUDA where there is one), "cpu", "cuda" or any torch device.
    """

    device: str | torch.device = "auto"

    def fit(
        self,
        train: Triples,
        validation: Triples | None = None,
        known: Triples | Sequence[Triples] = (),
    ) -> Self:
        """Learns from ``train``; ``validation`` serves early stopping and ``calibrate``.

        Args:
            train: The facts.
            validation: Facts that are ranked.
            known: Facts that are neither learned nor ranked, but known to be true: where they
                answer a question of ``validation`` they are left out, as training facts are, and
                they are no false facts of the calibration. With the test facts here a model is
                chosen as by LibKGE and the code of TuckER; without, a true answer that is in no
                part counts as a wrong one. Facts of ids that are not in ``train`` are left out.

        Raises:
            TypeError: If facts are not ``Triples``, or a parameter is of the wrong kind.
            ValueError: If a parameter is out of bounds, there are no facts, no fact of
                ``validation`` or of one of ``known`` has its head, relation and tail in ``train``,
                or ``known`` is given without ``validation``.
            FloatingPointError: If NaN or infinite numbers were learned.
        """
        return self._fit(train, validation, known)

    def _fit(
        self,
        train: Triples,
        validation: Triples | None,
        known: Triples | Sequence[Triples] = (),
        **given: Any,
    ) -> Self:
        """``fit``; a subclass whose ``fit`` takes more passes it on to ``_learn`` as ``given``."""
        self._check_params()
        check_facts("train", train)
        if validation is not None:
            check_facts("validation", validation)
            validation = validation.reindex(train.entities, train.relations, unknown="drop")
            if not len(validation):
                raise ValueError(
                    "no validation fact has its head, relation and tail in train; split one graph "
                    "in two, or leave validation out"
                )
            if both := int(validation.known_to(train).sum()):
                warnings.warn(
                    f"{both} of {len(validation)} validation facts are in train too; early "
                    "stopping and calibration take what was learned by heart for knowledge",
                    stacklevel=1,  # one place, so that two stages of learning say it once
                )
        if hide := known_on(known, train.entities, train.relations):
            if validation is None:
                raise ValueError(
                    "known facts are hidden where validation facts are ranked; give validation "
                    "facts too, or leave known out"
                )
            given["known"] = hide
        module = self._learn(train, validation, **given).to(self._device())
        for name, tensor in module.state_dict().items():
            if not tensor.is_floating_point() or not tensor.numel():
                continue
            # the ends say whether all is finite, without the two copies that isfinite() makes
            if not all(bool(end.isfinite()) for end in tensor.aminmax()):
                raise FloatingPointError(
                    f"{type(self).__name__} learned NaN or infinite {name}; "
                    "lower its learning rate or raise its regularization"
                )
        self._settle(train.entities, train.relations, train.queries(), train.backend, module)
        self.calibration_ = None
        if validation is not None:
            self.calibration_ = self._calibration(validation, known=hide)
        return self

    def _check_params(self) -> None:
        """Refuses bad parameters; a subclass adds the checks that join several of them."""
        parameters.check(self)
        self._device()

    def _learn(self, train: Triples, validation: Triples | None, **given: Any) -> nn.Module:
        """The module learned from ``train``; ``validation`` is on the same vocabularies.

        ``given`` has what else ``fit`` was given: ``known``, a list on the same vocabularies, and
        what ``fit`` of a subclass takes.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how it learns")

    def _empty(self, n_entities: int, n_relations: int) -> nn.Module:
        """A module to load a learned state into; ``n_relations`` counts one direction.

        What ``fit`` left in attributes with an underscore, other than tensors, is there already.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how it is loaded")

    def _settle(
        self,
        entities: Vocabulary,
        relations: Vocabulary,
        facts: Queries,
        backend: str,
        module: nn.Module,
    ) -> None:
        self.entities_, self.relations_ = entities, relations
        self.facts_ = facts.to(self._device())
        self.backend_, self.module_ = backend, module.eval()

    def _device(self) -> torch.device:
        return devices.resolve(self.device)

    # probabilities

    def calibrate(
        self, facts: Triples, *, prior: float = 0.5, corruptions: int = 16, random_state: int = 0
    ) -> Self:
        """Sets what ``predict(probability=True)`` means; ``fit`` does so with its validation facts.

        A probability is that of a triple being true, drawn with the chance ``prior`` from
        ``facts``, and else from their corruptions: one of them with its head or its tail, at even
        chances, replaced by an entity drawn uniformly, facts of ``facts`` and of the training left
        out. Among such triples of probability p about the share p is true, as far as a logistic
        curve of the logit can say. Where false triples are harder to tell, it is too high.

        Args:
            facts: True ones, of which the model has not learned.
            prior: Share of true facts among the triples that will be asked; above 0, below 1.
            corruptions: Drawn for each fact.
            random_state: Of the draws.

        Raises:
            TypeError: If ``facts`` is not ``Triples``.
            ValueError: If no fact has its head, relation and tail in the training facts, every
                corruption is a known fact, or a parameter is out of bounds.
            NotFittedError: Before ``fit``.
        """
        self._fitted("module_")
        check_facts("facts", facts)
        if not 0 < prior < 1:
            raise ValueError(f"prior must be above 0 and below 1, got {prior}")
        known = facts.reindex(self.entities_, self.relations_, unknown="drop")
        if not len(known):
            raise ValueError(
                "no fact to calibrate with has its head, relation and tail in the training facts"
            )
        found = self._calibration(known, prior, whole("corruptions", corruptions), random_state)
        if found is None:
            raise ValueError(
                "every corruption that was drawn is a known fact, so nothing false is there to "
                "tell the true from; draw more corruptions"
            )
        self.calibration_ = found
        return self

    @torch.no_grad()
    def _calibration(
        self,
        facts: Triples,
        prior: float = 0.5,
        corruptions: int = 16,
        random_state: int = 0,
        known: Sequence[Triples] = (),
    ) -> Calibration | None:
        """None where every corruption is a known fact."""
        generator = devices.seeded(random_state)
        true_ones = [self.facts_, *(one.queries() for one in known)]
        false = corrupted(facts, true_ones, corruptions, generator)
        if not len(false[0]):
            return None
        true = (facts.head, facts.relation, facts.tail)
        return platt(self._logits(*true), self._logits(*false), prior)

    def _logits(
        self, head: Int[Tensor, " n"], relation: Int[Tensor, " n"], tail: Int[Tensor, " n"]
    ) -> Float[Tensor, " n"]:
        module: Any = self.module_
        columns = [rows.to(self.facts_.device) for rows in (head, relation, tail)]
        blocks = zip(*(rows.split(FACTS_AT_ONCE) for rows in columns), strict=True)
        logits = torch.cat([module.score_triples(*block) for block in blocks])
        if bool(logits.isnan().any()):
            raise ValueError(
                f"{int(logits.isnan().sum())} of {len(logits)} scores are NaN; the model has "
                "diverged: fit it again with a lower learning rate"
            )
        return logits

    # saving

    @property
    def _report(self) -> dict[str, Any]:
        """What learning left beside the module: histories and counts, saved as JSON."""
        learned = {"entities_", "relations_", "facts_", "backend_", "module_", "calibration_"}
        return {k: v for k, v in vars(self).items() if k.endswith("_") and k not in learned}

    def _state(self) -> State:
        tensors = self._fitted("module_").state_dict()
        fitted = self.calibration_
        return State(
            {f"{MODULE}{name}": tensor for name, tensor in tensors.items()}
            | {"facts": self._learned_facts().keys},
            {"entities": self.entities_, "relations": self.relations_},
            {
                "backend": self.backend_,
                "calibration": None if fitted is None else list(fitted),
                "report": self._report,
            },
        )

    def _learned_facts(self) -> Triples:
        """The training facts."""
        facts = self.facts_
        forward = facts.relation[facts.queries] < len(self.relations_)
        query, tail = facts.queries[forward], facts.candidates[forward]
        columns = (facts.anchor[query], facts.relation[query], tail)
        return Triples.from_rows(self.entities_, self.relations_, *columns)

    def _restore(self, state: State) -> None:
        notes, names = state.notes, state.vocabularies
        vars(self).update(notes["report"])
        module = self._empty(len(names["entities"]), len(names["relations"]))
        module.load_state_dict(
            {
                name.removeprefix(MODULE): tensor
                for name, tensor in state.tensors.items()
                if name.startswith(MODULE)
            }
        )
        facts = Triples(names["entities"], names["relations"], state.tensors["facts"])
        queries, device = facts.queries(), self._device()
        self._settle(facts.entities, facts.relations, queries, notes["backend"], module.to(device))
        fitted = notes["calibration"]
        self.calibration_ = None if fitted is None else Calibration(*fitted)


def check_facts(name: str, facts: Any) -> None:
    """Passes for ``Triples`` that hold a fact.

    Raises:
        TypeError: If they are something else.
        ValueError: If there is none.
    """
    check_kind(name, facts)
    if not len(facts):
        raise ValueError(f"{name} holds no facts; nothing can be learned or judged")
