"""The doors of every recommender: ids in, ids out, whatever learned the scores between."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from hyperrank import devices, metrics, parameters, scorers
from hyperrank.estimator import Estimator
from hyperrank.metrics import Hits
from hyperrank.pairs import PairSet
from hyperrank.questions import column_of
from hyperrank.retrieval import top_k
from hyperrank.store import State
from hyperrank.vocabulary import Vocabulary
from recsys import answers, certificates
from recsys.answers import Unknown
from recsys.interactions import Interactions


@dataclass(kw_only=True, eq=False)
class Recommender(Estimator):
    """Anything that learns item scores for users from a log.

    A subclass is a dataclass of parameters with one method, ``_learn``, which returns a scorer of
    ``hyperrank.scorers``. Parameters are stored as given and checked by ``fit``. What is learned:
    ``users_`` and ``items_`` (vocabularies), ``seen_`` (the pairs of the log), ``scorer_``.

    Attributes:
        device: "auto" (CUDA where there is one), "cpu", "cuda" or any torch device.
    """

    device: str | torch.device = "auto"

    # learning

    def fit(self, train: Interactions, validation: Interactions | None = None) -> Self:
        """Learns from ``train``; ``validation`` serves models that stop early.

        Raises:
            TypeError: If a log is not ``Interactions``, or a parameter is of the wrong kind.
            ValueError: If a parameter is out of bounds, a log is empty, all weights of ``train``
                are 0, or no event of ``validation`` is of a user and an item of ``train``.
        """
        self._check_params()
        _check_log("train", train)
        if validation is not None:
            _check_log("validation", validation)
            validation = validation.reindex(train.users, train.items)
            if not len(validation):
                raise ValueError(
                    "no validation event has both its user and its item in train; "
                    "split one log in two, or leave validation out"
                )
        if train.weight is not None and not bool(train.weight.any()):
            raise ValueError(
                "every weight of train is 0, so nothing can be learned; give weights above 0, or "
                "build the log with weight=None"
            )
        device = self._device()
        scorer = self._learn(train, validation).to(device)
        for name, tensor in scorer.state_dict().items():
            if not tensor.is_floating_point() or not tensor.numel():
                continue
            # the ends say whether all is finite, without the two copies that isfinite() makes
            if not all(bool(end.isfinite()) for end in tensor.aminmax()):
                raise FloatingPointError(
                    f"{type(self).__name__} learned NaN or infinite {name}; "
                    "lower its learning rate or raise its regularization"
                )
        self._settle(train.users, train.items, train.pairs.to(device), train.backend, scorer)
        return self

    def _check_params(self) -> None:
        """Refuses bad parameters; a subclass adds the checks that join several of them."""
        parameters.check(self)
        self._device()

    def _learn(self, train: Interactions, validation: Interactions | None) -> nn.Module:
        """The scorer learned from ``train``; ``validation`` is on the same vocabularies."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it learns")

    def _settle(
        self, users: Vocabulary, items: Vocabulary, seen: PairSet, backend: str, scorer: nn.Module
    ) -> None:
        self.users_, self.items_, self.seen_ = users, items, seen
        self.backend_, self.scorer_ = backend, scorer.eval()

    def _device(self) -> torch.device:
        return devices.resolve(self.device)

    # answers

    @torch.no_grad()
    def predict(self, users: Any, items: Any) -> Float[np.ndarray, " n"]:
        """The score of each (user, item) row; the two columns are of one length.

        Raises:
            ValueError: If the columns differ in length.
            UnknownIdError: If a user or an item is not in the training log.
            NotFittedError: Before ``fit``.
        """
        scorer = self._fitted("scorer_")
        user = self.users_.rows(column_of(users, "user"))
        item = self.items_.rows(column_of(items, "item"))
        if len(user) != len(item):
            raise ValueError(
                f"got {len(user)} users but {len(item)} items; give one item per user, "
                "or use recommend(users, candidates=items) to score every combination"
            )
        user, item = user.to(self.seen_.device), item.to(self.seen_.device)
        result: np.ndarray = scorer.score_pairs(user, item).cpu().numpy()
        return result

    def recommend(
        self,
        users: Any = None,
        k: int = 10,
        *,
        exclude_seen: bool = True,
        candidates: Any = None,
        unknown: Unknown = "raise",
    ) -> Any:
        """The ``k`` best items of each user: a frame of user, item, score and rank from 1.

        Users come in order of first appearance, each once however often asked for. A user gets
        fewer rows where fewer items are left, and none who has seen them all. Equal scores rank in
        the order of the model's item vocabulary.

        Args:
            users: A column of ids, or a frame with a column ``user``; None means all users.
            k: Most items per user; any size.
            exclude_seen: Whether items of the user's training log are left out.
            candidates: Ids of the only items that may be recommended; None means all.
            unknown: What a user without training log gets: an error, no rows, or the items with
                most users, the number of users being the score.

        Returns:
            A frame of the kind of ``users`` where that is a frame or a series, else of the kind
            that the training log came in.

        Raises:
            UnknownIdError: If a user is unknown and ``unknown`` is "raise", or a candidate is.
            ValueError: If ``k`` is less than 1 or there are no candidates.
            NotFittedError: Before ``fit``.
        """
        return answers.recommended(self, users, k, exclude_seen, candidates, unknown)

    def certify(self, users: Any = None, k: int = 10, *, exclude_seen: bool = True) -> Any:
        """How far vectors may move before the ``k`` best change; see ``recsys.certificates``."""
        return certificates.certify(self, users, k, exclude_seen)

    def similar_items(self, items: Any, k: int = 10) -> Any:
        """The ``k`` items nearest to each item: a frame of item, similar, score and rank.

        Scores are cosines of item vectors where the model has vectors, its item-item weights where
        it has those, and cosines of the items' sets of users otherwise. The item itself is left
        out.

        Raises:
            UnknownIdError: If an item is not in the training log.
            ValueError: If ``k`` is less than 1.
            NotFittedError: Before ``fit``.
        """
        scorer = self._fitted("scorer_").candidate_similarity()
        if scorer is None:
            scorer = scorers.PairCosine(self.seen_.transpose())
        return answers.similar(self, scorer, "item", self.items_, items, k)

    def similar_users(self, users: Any, k: int = 10) -> Any:
        """The ``k`` users nearest to each user: a frame of user, similar, score and rank.

        Scores are cosines of user vectors where the model has vectors, and of the users' sets of
        items otherwise. The user is left out.

        Raises:
            UnknownIdError: If a user is not in the training log.
            ValueError: If ``k`` is less than 1.
            NotFittedError: Before ``fit``.
        """
        scorer = self._fitted("scorer_").query_similarity()
        if scorer is None:
            scorer = scorers.PairCosine(self.seen_)
        return answers.similar(self, scorer, "user", self.users_, users, k)

    def transform(self, users: Any) -> Float[np.ndarray, "n dim"]:
        """The learned vector of each user.

        Raises:
            TypeError: If this model learns no vectors.
            UnknownIdError: If a user is not in the training log.
            NotFittedError: Before ``fit``.
        """
        table = self._factors().queries
        rows = self.users_.rows(column_of(users, "user")).to(table.device)
        vectors: np.ndarray = table[rows].cpu().numpy()
        return vectors

    def transform_items(self, items: Any) -> Float[np.ndarray, "n dim"]:
        """The learned vector of each item; its dot product with a user's is the score.

        Raises:
            TypeError: If this model learns no vectors.
            UnknownIdError: If an item is not in the training log.
            NotFittedError: Before ``fit``.
        """
        table = self._factors().candidates
        rows = self.items_.rows(column_of(items, "item")).to(table.device)
        vectors: np.ndarray = table[rows].cpu().numpy()
        return vectors

    @torch.no_grad()
    def explain(self, user: Any, item: Any) -> Any:
        """The user's history by what each item adds to this score: a frame of item, contribution.

        For models of item-item weights the contributions sum to the score. For models of vectors
        they are shares of the part of the user's vector that the history's item vectors span (the
        shortest combination of them), so they sum to the score where the history spans the user's
        vector, and to that part's score otherwise. Where the history plays no role they are zero.

        Raises:
            UnknownIdError: If the user or the item is not in the training log.
            NotFittedError: Before ``fit``.
        """
        return answers.explained(self, user, item)

    @torch.no_grad()
    def score(self, test: Interactions, metric: str = "ndcg@10") -> float:
        """Mean of a measure of truth over the known users of ``test``, training items left out.

        Items of ``test`` that the model does not know count as missed.

        Raises:
            ValueError: If no user of ``test`` is in the training log, or ``metric`` is unknown.
            NotFittedError: Before ``fit``.
        """
        scorer, measure = self._fitted("scorer_"), metrics.parse_of_truth(metric)
        _check_log("test", test)
        users = self.users_.rows(test.users.ids, unknown="mark")
        asked = torch.nonzero((users >= 0) & (test.pairs.query_degrees > 0))[:, 0]
        if not len(asked):
            raise ValueError("no user of the test log is in the training log")
        truth = test.reindex(self.users_, self.items_).pairs.to(self.seen_.device)
        query = users[asked].to(self.seen_.device)
        best = top_k(scorer, query, min(measure.k, len(self.items_)), known=self.seen_).candidates
        hit = truth.contains(query[:, None].expand_as(best), best.clamp_min(0)) & (best >= 0)
        wanted = test.pairs.query_degrees[asked].to(hit.device)
        return measure.mean(Hits(query, best, hit, wanted))

    _check_metric = staticmethod(metrics.parse_of_truth)

    def _factors(self) -> scorers.Factors:
        scorer = self._fitted("scorer_")
        if not isinstance(scorer, scorers.Factors):
            raise TypeError(
                f"{type(self).__name__} learns no vectors; use a factor model such as UltraGCN, "
                "BPRMF, PureSVD or ImplicitALS"
            )
        return scorer

    # saving

    @property
    def _report(self) -> dict[str, Any]:
        """What learning left beside the scorer: histories and counts, saved as JSON."""
        learned = {"users_", "items_", "seen_", "backend_", "scorer_"}
        return {k: v for k, v in vars(self).items() if k.endswith("_") and k not in learned}

    def _state(self) -> State:
        scorer = self._fitted("scorer_")
        tensors = {f"scorer.{name}": tensor for name, tensor in scorer.state_dict().items()}
        return State(
            tensors | {"seen": self.seen_.keys},
            {"users": self.users_, "items": self.items_},
            {"backend": self.backend_, "scorer": type(scorer).__name__, "report": self._report},
        )

    def _restore(self, state: State) -> None:
        device = self._device()
        kind = getattr(scorers, state.notes["scorer"], None)
        if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
            raise ValueError(f"there is no scorer called {state.notes['scorer']!r}")
        parts = {
            name.removeprefix("scorer."): tensor.to(device)
            for name, tensor in state.tensors.items()
            if name.startswith("scorer.")
        }
        users, items = state.vocabularies["users"], state.vocabularies["items"]
        seen = PairSet(state.tensors["seen"].to(device), len(users), len(items))
        self._settle(users, items, seen, state.notes["backend"], kind(**parts))
        vars(self).update(state.notes["report"])


def _check_log(name: str, log: Any) -> None:
    if not isinstance(log, Interactions):
        raise TypeError(
            f"{name} must be Interactions, got {type(log).__name__}; build them with "
            "Interactions.from_frame(frame, user=..., item=...) or Interactions.read(path)"
        )
    if not len(log):
        raise ValueError(f"{name} holds no interactions; nothing can be learned or judged")
