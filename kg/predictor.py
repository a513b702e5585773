"""The doors of every link predictor: ids in, ids out, whatever learned the logits between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from hyperrank.pairs import PairSet
from hyperrank.parts import Parts
from hyperrank.questions import backend_of, whole
from hyperrank.retrieval import TopK, top_k
from hyperrank.scorers import Factors
from hyperrank.tables import to_backend
from kg import certificates, scoring
from kg.learner import Completion, FactLearner, check_facts
from kg.queries import Asked, AskedScorer, first_places, rows_of
from kg.ranking import filtered_ranks, parse_larger, shares
from kg.triples import Triples, known_on

__all__ = ["Completion", "LinkPredictor"]


@dataclass(kw_only=True, eq=False)
class LinkPredictor(FactLearner):
    """Anything that learns from facts how plausible others are; see ``FactLearner``.

    Attributes:
        device: "auto" (CUDA where there is one), "cpu", "cuda" or any torch device.
    """

    @torch.no_grad()
    def predict(
        self, heads: Any, relations: Any, tails: Any, *, probability: bool = False
    ) -> Float[np.ndarray, " n"]:
        """The logit of each (head, relation, tail) row, as an answer to (head, relation, ?).

        Args:
            heads: A column of ids, or a frame with a column ``head``.
            relations: Likewise, ``relation``.
            tails: Likewise, ``tail``.
            probability: Whether to give calibrated probabilities instead; see ``calibrate``.

        Raises:
            ValueError: If the columns differ in length, a logit is NaN, or a probability is asked
                of a model that was not calibrated.
            UnknownIdError: If an entity or a relation is not in the training facts.
            NotFittedError: Before ``fit``.
        """
        self._fitted("module_")
        if probability and self.calibration_ is None:
            raise ValueError(
                "this model was not calibrated; fit it with validation facts, or call "
                "calibrate(facts) with facts that it has not learned from"
            )
        logits = self._logits(*self._rows(heads, relations, tails))
        if probability and self.calibration_ is not None:
            logits = self.calibration_.probabilities(logits)
        found: np.ndarray = logits.cpu().numpy()
        return found

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
            relations: Likewise, ``relation``; one for each question.
            k: Most answers per question; any size.
            tails: As ``heads``, in its place.
            exclude_known: Whether answers among the training facts are left out.
            candidates: Ids of the only entities that may be answers; None means all.

        Returns:
            A frame of the kind of ``heads`` or ``tails`` where that is a frame or a series, else of
            the kind that the training facts came in. Scores are logits.

        Raises:
            ValueError: If not one of ``heads`` and ``tails`` is given, the columns differ in
                length, ``k`` is less than 1, there are no candidates or a score is NaN.
            UnknownIdError: If an entity or a relation is not in the training facts.
            NotFittedError: Before ``fit``.
        """
        self._fitted("module_")
        limit = min(whole("k", k), len(self.entities_))
        asked = self._asked("complete", heads, relations, tails)
        kept = first_places(asked.anchor * 2 * len(self.relations_) + asked.relation)
        asked = Asked(asked.anchor[kept], asked.relation[kept])
        found = top_k(
            AskedScorer(self.module_, asked),
            torch.arange(len(asked.anchor), device=self.facts_.device),
            limit,
            known=self.facts_.lookup(*asked) if exclude_known else None,
            allowed=self._allowed(candidates),
        )
        given, answer = ("head", "tail") if tails is None else ("tail", "head")
        position, answers = self._ranked(found, answer)
        columns = answers | {
            given: self.entities_.take(asked.anchor[position]),
            "relation": self.relations_.take(asked.relation[position] % len(self.relations_)),
        }
        names = ("head", "relation", "tail", "score", "rank")
        backend = backend_of(heads if tails is None else tails) or self.backend_
        return to_backend({name: columns[name] for name in names}, backend)

    def certify(
        self,
        heads: Any = None,
        relations: Any = None,
        k: int = 10,
        *,
        tails: Any = None,
        exclude_known: bool = True,
    ) -> Any:
        """How far vectors may move before the ``k`` best change; see ``kg.certificates``."""
        return certificates.certify(self, heads, relations, k, tails, exclude_known)

    def score_all(
        self,
        folder: str | Path,
        relations: Any = None,
        *,
        k: int = 1000,
        min_score: float | None = None,
        exclude_known: bool = True,
        memory: float = 2**28,
        shard: tuple[int, int] = (1, 1),
        progress: bool = False,
    ) -> Parts:
        """Writes the ``k`` best (head, tail) pairs of each relation, exactly, among all pairs.

        A part of the folder holds a relation: head, relation, tail, score (a logit) and rank, best
        first. A part appears whole or not at all; a killed call is repeated and loses
        ``scoring.SAVE_SECONDS`` of work at most. Equal scores come by head, then by tail, in the
        order of the vocabulary.

        Args:
            folder: Where the parts go; made if it is not there. Parts of different models or
                settings never mix.
            relations: A column of ids; None means all.
            k: Most pairs of a relation; so many are kept in memory.
            min_score: Pairs of a lower logit are left out.
            exclude_known: Whether training facts are left out.
            memory: Bytes for scores of some heads with all tails; one head at least.
            shard: Which share of the relations, from 1, and of how many; for several processes.
            progress: Whether to show a bar on stderr.

        Raises:
            UnknownIdError: If a relation is not in the training facts.
            ValueError: If ``k`` is less than 1, ``memory`` is no positive number, ``shard`` is out
                of range, the folder holds something else, or a score is NaN.
            NotFittedError: Before ``fit``.
        """
        self._fitted("module_")
        if not 0 < memory < np.inf:
            raise ValueError(f"memory must be a positive number of bytes, got {memory}")
        wanted = scoring.Wanted(whole("k", k), min_score, exclude_known, memory)
        return scoring.score_all(self, folder, relations, wanted, shard, progress)

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
        rows = rows_of(self.entities_, entities, "entity")
        rows = rows[first_places(rows)].to(unit.device)
        every = torch.arange(n, device=unit.device)
        found = top_k(Factors(unit, unit), rows, limit, known=PairSet(every * n + every, n, n))
        position, answers = self._ranked(found, "similar")
        columns = {"entity": self.entities_.take(rows[position])} | answers
        return to_backend(columns, backend_of(entities) or self.backend_)

    def transform(self, entities: Any) -> Float[np.ndarray, "n dim"]:
        """The learned vector of each entity.

        Raises:
            TypeError: If this model learns no vectors.
            UnknownIdError: If an entity is not in the training facts.
            NotFittedError: Before ``fit``.
        """
        table = self._vectors()
        rows = rows_of(self.entities_, entities, "entity").to(table.device)
        vectors: np.ndarray = table[rows].cpu().numpy()
        return vectors

    @torch.no_grad()
    def score(
        self, test: Triples, metric: str = "mrr", known: Triples | Sequence[Triples] = ()
    ) -> float:
        """Filtered measure of the facts of ``test``, "mrr" or "hits@k", in both directions.

        Answers of the training facts, of ``test`` itself and of ``known`` are hidden; ties count
        one half. A fact of which the model does not know an entity or the relation counts as
        missed.

        Raises:
            TypeError: If ``test`` or one of ``known`` is not ``Triples``.
            ValueError: If the model knows no fact's head, relation and tail, of ``test`` or of one
                of ``known``, or ``metric`` is another.
            NotFittedError: Before ``fit``.
        """
        module = self._fitted("module_")
        check_facts("test", test)
        facts = test.reindex(self.entities_, self.relations_, unknown="drop")
        if not len(facts):
            raise ValueError("no test fact has its head, relation and tail in the training facts")
        truth = facts.queries().to(self.facts_.device)
        hide = self.facts_.lookup(truth.anchor, truth.relation)
        for one in known_on(known, self.entities_, self.relations_):
            hide = hide.union(truth.answers(one))
        return float(shares(metric, filtered_ranks(module, truth, hide)).sum()) / (2 * len(test))

    # parts of the answers

    _check_metric = staticmethod(parse_larger)

    def _rows(self, heads: Any, relations: Any, tails: Any) -> list[Int[Tensor, " n"]]:
        """Row numbers of the columns that are given, which are of one length."""
        columns = {
            word: rows_of(known, ids, word)
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

    def _asked(self, door: str, heads: Any, relations: Any, tails: Any) -> Asked:
        """The questions, one a row, repeats kept."""
        if (heads is None) == (tails is None):
            raise ValueError(
                f"{door} asks for tails or for heads; give heads=... or tails=..., one of them"
            )
        if relations is None:
            raise ValueError(f"{door} needs relations=..., one for each question")
        first, second = (
            rows.to(self.facts_.device) for rows in self._rows(heads, relations, tails)
        )
        return (
            Asked(first, second) if tails is None else Asked(second, first + len(self.relations_))
        )

    def _allowed(self, candidates: Any) -> Int[Tensor, " m"] | None:
        if candidates is None:
            return None
        rows: Tensor = rows_of(self.entities_, candidates, "candidate").unique()
        if not len(rows):
            raise ValueError("candidates is empty; give entity ids, or None for all entities")
        return rows.to(self.facts_.device)

    def _ranked(self, found: TopK, word: str) -> tuple[Int[Tensor, " p"], dict[str, Any]]:
        """Which question each answer is for, and the columns of answers, score and rank."""
        there = found.candidates >= 0
        position, place = torch.nonzero(there, as_tuple=True)
        return position, {
            word: self.entities_.take(found.candidates[there]),
            "score": found.scores[there].cpu().numpy(),
            "rank": place.cpu().numpy() + 1,
        }

    def _vectors(self) -> Float[Tensor, "n dim"]:
        vectors: Any = getattr(self._fitted("module_"), "vectors", None)
        if vectors is None:
            raise TypeError(f"{type(self).__name__} learns no vectors; use TuckER or MIGTF")
        with torch.no_grad():
            table: Tensor = vectors().detach()
        return table
