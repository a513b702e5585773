"""The doors of every link predictor: ids in, ids out, whatever learned the logits between."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from hyperrank import devices, parameters
from hyperrank.estimator import Estimator
from hyperrank.pairs import PairSet
from hyperrank.questions import backend_of, column_of, whole
from hyperrank.retrieval import top_k
from hyperrank.scorers import Factors
from hyperrank.store import State
from hyperrank.tables import to_backend
from hyperrank.vocabulary import UnknownIdError, Vocabulary
from kg.queries import Queries
from kg.triples import Triples

FACTS_AT_ONCE = 2**16  # single facts scored together: some 50 MB of rows at 200 dimensions


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


class Asked(NamedTuple):
    """Distinct questions, in order of first appearance."""

    anchor: Int[Tensor, " n"]
    relation: Int[Tensor, " n"]  # directed


@dataclass(kw_only=True, eq=False)
class LinkPredictor(Estimator):
    """Anything that learns from facts how plausible others are.

    A subclass is a dataclass of parameters with two methods: ``_learn``, which returns a module
    that is a ``Completion``, and ``_empty``, which makes one of the same shape to load into.
    Parameters are stored as given and checked by ``fit``. What is learned: ``entities_`` and
    ``relations_`` (vocabularies), ``facts_`` (the queries of the training facts), ``module_``.

    Attributes:
        device: "auto" (CUDA where there is one), "cpu", "cuda" or any torch device.
    """

    device: str | torch.device = "auto"

    # learning

    def fit(self, train: Triples, validation: Triples | None = None) -> Self:
        """Learns from ``train``; ``validation`` serves early stopping.

        Raises:
            TypeError: If facts are not ``Triples``, or a parameter is of the wrong kind.
            ValueError: If a parameter is out of bounds, there are no facts, or no fact of
                ``validation`` has its head, relation and tail in ``train``.
        """
        return self._fit(train, validation)

    def _fit(self, train: Triples, validation: Triples | None, **given: Any) -> Self:
        """``fit``; a subclass whose ``fit`` takes more passes it on to ``_learn`` as ``given``."""
        self._check_params()
        _check_facts("train", train)
        if validation is not None:
            _check_facts("validation", validation)
            validation = validation.reindex(train.entities, train.relations, unknown="drop")
            if not len(validation):
                raise ValueError(
                    "no validation fact has its head, relation and tail in train; split one graph "
                    "in two, or leave validation out"
                )
        device = self._device()
        module = self._learn(train, validation, **given).to(device)
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
        return self

    def _check_params(self) -> None:
        """Refuses bad parameters; a subclass adds the checks that join several of them."""
        parameters.check(self)
        self._device()

    def _learn(self, train: Triples, validation: Triples | None, **given: Any) -> nn.Module:
        """The module learned from ``train``; ``validation`` is on the same vocabularies."""
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

    # answers

    @torch.no_grad()
    def predict(self, heads: Any, relations: Any, tails: Any) -> Float[np.ndarray, " n"]:
        """The logit of each (head, relation, tail) row, as an answer to (head, relation, ?).

        Raises:
            ValueError: If the columns differ in length, or a logit is NaN.
            UnknownIdError: If an entity or a relation is not in the training facts.
            NotFittedError: Before ``fit``.
        """
        self._fitted("module_")
        logits: np.ndarray = self._logits(*self._rows(heads, relations, tails)).cpu().numpy()
        return logits

    def complete(
        self,
        heads: Any = None,
        relations: Any = None,
        k: int = 10,
        *,
        tails: Any = None,
        exclude_known: bool = True,
        candidates: Any = None,
    ) -> Any:
        """The ``k`` best answers to each question: a frame of head, relation, tail, score, rank.

        With ``heads`` the tails are asked for, with ``tails`` the heads. Questions come in order of
        first appearance, each once however often asked. One gets fewer rows where fewer answers
        are left. Equal scores rank in the order of the entity vocabulary.

        Args:
            heads: A column of ids, or a frame with a column ``head``.
            relations: The relation of each row, in the same way.
            k: Most answers per question; any size.
            tails: As ``heads``, in its place.
            exclude_known: Whether answers among the training facts are left out.
            candidates: Ids of the only entities that may be answers; None means all.

        Returns:
            A frame of the kind of ``heads`` or ``tails`` where that is a frame or a series, else of
            the kind that the training facts came in.

        Raises:
            ValueError: If not one of ``heads`` and ``tails`` is given, the columns differ in
                length, ``k`` is less than 1, there are no candidates or a score is NaN.
            UnknownIdError: If an entity or a relation is not in the training facts.
            NotFittedError: Before ``fit``.
        """
        self._fitted("module_")
        if (heads is None) == (tails is None):
            raise ValueError(
                "complete asks for tails or for heads; give heads=... or tails=..., one of them"
            )
        if relations is None:
            raise ValueError("complete needs relations=..., one for each question")
        limit = min(whole("k", k), len(self.entities_))
        backward = heads is None
        asked = self._asked(heads, relations, tails)
        found = top_k(
            _Questions(self.module_, asked),
            torch.arange(len(asked.anchor), device=self.facts_.device),
            limit,
            known=self._known(asked) if exclude_known else None,
            allowed=self._allowed(candidates),
        )
        there = found.candidates >= 0
        position, place = torch.nonzero(there, as_tuple=True)
        given = self.entities_.take(asked.anchor[position])
        answer = self.entities_.take(found.candidates[there])
        columns = {
            "head": answer if backward else given,
            "relation": self.relations_.take(asked.relation[position] % len(self.relations_)),
            "tail": given if backward else answer,
            "score": found.scores[there].cpu().numpy(),
            "rank": place.cpu().numpy() + 1,
        }
        return to_backend(columns, backend_of(tails if backward else heads) or self.backend_)

    def similar_entities(self, entities: Any, k: int = 10) -> Any:
        """The ``k`` entities nearest to each: a frame of entity, similar, score and rank.

        Scores are cosines of entity vectors. The entity itself is left out.

        Raises:
            TypeError: If this model learns no vectors.
            UnknownIdError: If an entity is not in the training facts.
            ValueError: If ``k`` is less than 1.
            NotFittedError: Before ``fit``.
        """
        unit = nn.functional.normalize(self._vectors())
        limit, n = min(whole("k", k), len(unit)), len(unit)
        rows = _lookup(self.entities_, entities, "entity")
        rows = rows[_first_places(rows)].to(unit.device)
        every = torch.arange(n, device=unit.device)
        found = top_k(Factors(unit, unit), rows, limit, known=PairSet(every * n + every, n, n))
        there = found.candidates >= 0
        position, place = torch.nonzero(there, as_tuple=True)
        columns = {
            "entity": self.entities_.take(rows[position]),
            "similar": self.entities_.take(found.candidates[there]),
            "score": found.scores[there].cpu().numpy(),
            "rank": place.cpu().numpy() + 1,
        }
        return to_backend(columns, backend_of(entities) or self.backend_)

    def transform(self, entities: Any) -> Float[np.ndarray, "n dim"]:
        """The learned vector of each entity.

        Raises:
            TypeError: If this model learns no vectors.
            UnknownIdError: If an entity is not in the training facts.
            NotFittedError: Before ``fit``.
        """
        table = self._vectors()
        rows = _lookup(self.entities_, entities, "entity").to(table.device)
        vectors: np.ndarray = table[rows].cpu().numpy()
        return vectors

    # parts of the answers

    def _rows(self, heads: Any, relations: Any, tails: Any) -> list[Int[Tensor, " n"]]:
        """Row numbers of the columns that are given, on the device; they are of one length."""
        columns = {
            word: _lookup(known, ids, word).to(self.facts_.device)
            for word, known, ids in (
                ("head", self.entities_, heads),
                ("relation", self.relations_, relations),
                ("tail", self.entities_, tails),
            )
            if ids is not None
        }
        if len({len(rows) for rows in columns.values()}) > 1:
            counts = ", ".join(f"{len(rows)} {word}s" for word, rows in columns.items())
            raise ValueError(f"got {counts}; give columns of one length, a row for each question")
        return list(columns.values())

    def _asked(self, heads: Any, relations: Any, tails: Any) -> Asked:
        first, second = self._rows(heads, relations, tails)
        backward = heads is None
        anchor, relation = (second, first + len(self.relations_)) if backward else (first, second)
        kept = _first_places(anchor * 2 * len(self.relations_) + relation)
        return Asked(anchor[kept], relation[kept])

    def _known(self, asked: Asked) -> PairSet:
        """The answers of the training facts to these questions."""
        facts, width = self.facts_, 2 * len(self.relations_)
        keys = facts.anchor * width + facts.relation
        wanted = asked.anchor * width + asked.relation
        number = torch.searchsorted(keys, wanted).clamp_max(len(keys) - 1)
        there = torch.nonzero(keys[number] == wanted)[:, 0]
        position, answer = facts.rows(number[there])
        n = len(self.entities_)
        return PairSet(there[position] * n + answer, len(wanted), n)

    def _allowed(self, candidates: Any) -> Int[Tensor, " m"] | None:
        if candidates is None:
            return None
        rows = _lookup(self.entities_, candidates, "candidate").unique()
        if not len(rows):
            raise ValueError("candidates is empty; give entity ids, or None for all entities")
        return rows.to(self.facts_.device)

    def _logits(
        self, head: Int[Tensor, " n"], relation: Int[Tensor, " n"], tail: Int[Tensor, " n"]
    ) -> Float[Tensor, " n"]:
        blocks = zip(*(rows.split(FACTS_AT_ONCE) for rows in (head, relation, tail)), strict=True)
        logits = torch.cat([self.module_.score_triples(*block) for block in blocks])
        if bool(logits.isnan().any()):
            raise ValueError(
                f"{int(logits.isnan().sum())} of {len(logits)} logits are NaN; the model was "
                "changed after it was fitted: fit it again"
            )
        return logits

    def _vectors(self) -> Float[Tensor, "n dim"]:
        vectors = getattr(self._fitted("module_"), "vectors", None)
        if vectors is None:
            raise TypeError(f"{type(self).__name__} learns no vectors; use TuckER or MIGTF")
        with torch.no_grad():
            table: Tensor = vectors()
        return table

    # saving

    @property
    def _report(self) -> dict[str, Any]:
        """What learning left beside the module: histories and counts, saved as JSON."""
        learned = {"entities_", "relations_", "facts_", "backend_", "module_"}
        return {k: v for k, v in vars(self).items() if k.endswith("_") and k not in learned}

    def _state(self) -> State:
        module, facts = self._fitted("module_"), self.facts_
        tensors = {f"module.{name}": tensor for name, tensor in module.state_dict().items()}
        known = {f"facts.{name}": getattr(facts, name) for name in ("keys", "anchor", "relation")}
        return State(
            tensors | known,
            {"entities": self.entities_, "relations": self.relations_},
            {"backend": self.backend_, "report": self._report},
        )

    def _restore(self, state: State) -> None:
        vars(self).update(state.notes["report"])
        entities, relations = state.vocabularies["entities"], state.vocabularies["relations"]
        module = self._empty(len(entities), len(relations))
        module.load_state_dict(
            {
                name.removeprefix("module."): tensor
                for name, tensor in state.tensors.items()
                if name.startswith("module.")
            }
        )
        keys, anchor, relation = (
            state.tensors[f"facts.{name}"] for name in ("keys", "anchor", "relation")
        )
        facts = Queries(keys, len(anchor), len(entities), anchor=anchor, relation=relation)
        backend = state.notes["backend"]
        self._settle(entities, relations, facts, backend, module.to(self._device()))


class _Questions(nn.Module):
    """Questions by their position, as a scorer of ``hyperrank.retrieval``."""

    def __init__(self, module: nn.Module, asked: Asked) -> None:
        super().__init__()
        self.module, self.asked = module, asked

    def score(self, query: Int[Tensor, " b"]) -> Float[Tensor, "b n"]:
        scores: Tensor = self.module.score(self.asked.anchor[query], self.asked.relation[query])
        return scores


def _lookup(known: Vocabulary, ids: Any, word: str) -> Int[Tensor, " n"]:
    """Row numbers; what is wrong with an id is said with what it was given as."""
    try:
        return known.rows(column_of(ids, word))
    except (UnknownIdError, TypeError) as error:
        raise type(error)(f"{word}: {error}") from None


def _first_places(keys: Int[Tensor, " n"]) -> Int[Tensor, " m"]:
    """Where each distinct key appears first, in order of appearance."""
    first = np.unique(keys.cpu().numpy(), return_index=True)[1]
    return torch.from_numpy(np.sort(first)).to(keys.device)


def _check_facts(name: str, facts: Any) -> None:
    if not isinstance(facts, Triples):
        raise TypeError(
            f"{name} must be Triples, got {type(facts).__name__}; build them with "
            "Triples.from_frame(frame, head=..., relation=..., tail=...) or Triples.read(path)"
        )
    if not len(facts):
        raise ValueError(f"{name} holds no facts; nothing can be learned or judged")
