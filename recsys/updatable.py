"""Recommenders of two vector tables that take new interactions without being trained again.

The updated model is a function of the last full fit and of all interactions since, whatever the
order in which they came: item vectors of the fit stay; each new item is solved against the users of
the fit and new users' vectors by their older items; each user with news, or with an item that
moved, is solved against all items.
"""

from __future__ import annotations

import copy
import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, Self

import torch
from jaxtyping import Float
from torch import Tensor

from hyperrank.pairs import PairSet
from hyperrank.scorers import Factors
from hyperrank.sparse import SparseMatrix
from hyperrank.store import State
from recsys.interactions import Interactions
from recsys.logistic_rows import Solution
from recsys.questions import column_of
from recsys.recommender import Recommender
from recsys.updates import (
    Fit,
    Histories,
    RefitRule,
    Stopwatch,
    Updated,
    UpdateReport,
    count_without,
    overlap,
)

OVERLAP_USERS = 200  # known touched users whose lists are compared
ADDS_UP = ("sum", "count")  # rules for repeats that need no more than the weight so far
FIT_TABLES = Fit._fields[:4]


@dataclass(kw_only=True, eq=False)
class UpdatableRecommender(Recommender):
    """A recommender with ``partial_fit``, ``fold_in`` and ``forget``.

    A subclass says how to solve users against frozen items, and items against frozen users.
    """

    @abstractmethod
    def _solve_users(
        self,
        histories: Histories,
        items: Float[Tensor, "n d"],
        start: Float[Tensor, "b d"],
        *,
        exact: bool = False,
    ) -> Solution:
        """Vectors of users; items beyond those of the fit are no negatives.

        ``exact`` asks for nothing that was prepared or rounded to save time.
        """

    @abstractmethod
    def _solve_items(
        self, histories: Histories, users: Float[Tensor, "n d"], start: Float[Tensor, "b d"]
    ) -> Solution:
        """Vectors of new items; users beyond those of the fit are no negatives."""

    def _score_error(self, tables: Factors, user_residual: float, item_residual: float) -> float:
        """Bound on the error of a score where rows were left at these gradient norms."""
        del tables
        return 0.0 if user_residual == item_residual == 0 else math.inf

    def _users_changed(self) -> None:
        """Called where the users of the fit are no longer those of the fit."""

    def fit(self, train: Interactions, validation: Interactions | None = None) -> Self:
        """As ``Recommender.fit``."""
        super().fit(train, validation)
        self._weight = None if train.weight is None else train.weight.to(self.seen_.device)
        self._rule = train.repeated
        self._fit = Fit(
            self._factors().queries,
            self.seen_.query_degrees,
            self.seen_.candidate_degrees,
            self._factors().queries.mean(0),
            len(self.seen_),
            1.0 if self._weight is None else float(self._weight.mean()),
        )
        return self

    @torch.no_grad()
    def partial_fit(self, new: Interactions, rule: RefitRule = RefitRule()) -> UpdateReport:  # noqa: B008
        """Takes in interactions that came since; ids may be known or new, pairs may repeat.

        ``new`` holds the news only. The model's answers are then those for all interactions so far;
        ``seen_`` has them all. Nothing is changed when an error is raised.

        Args:
            new: Interactions, with weights if and only if the model was fitted with them.
            rule: When the verdict is "refit".

        Raises:
            TypeError: If ``new`` is no log, or its ids are of another kind.
            ValueError: If it is empty, has weights where the fit had none or none where it had
                some, or repeats follow a rule that cannot be continued (first, last, max, mean).
            NotFittedError: Before ``fit``.
        """
        before = self._factors()
        self._check_news(new)
        clock = Stopwatch()
        after = self._updated(new, clock)
        if not all(bool(part.vectors.isfinite().all()) for part in after.solved):
            raise FloatingPointError(
                "a vector of this update came out as NaN or infinite, so it was not made; look for "
                "weights of huge size, or fit again"
            )
        with clock("overlap"):
            known = after.user_rows[after.user_rows < len(before.queries)][:OVERLAP_USERS]
            kept = overlap(before, after.tables, known, self.seen_, after.seen)
        report = self._judged(after, len(new), kept, clock.seconds, rule)
        self._settle(after.users, after.items, after.seen, self.backend_, after.tables)
        self._weight = after.weight
        return report

    @torch.no_grad()
    def fold_in(self, histories: Interactions) -> Self:
        """A model of the people of ``histories`` alone: same items, vectors from their histories.

        It answers ``recommend``, ``predict`` and the rest for them; this model is not changed and
        remembers nothing of them. Events on items that it does not know are left out.

        Raises:
            TypeError: If ``histories`` is no log, or its item ids are of another kind.
            ValueError: As ``partial_fit``, or if it has no known item.
            NotFittedError: Before ``fit``.
        """
        items = self._factors().candidates
        self._check_news(histories)
        known = histories.reindex(histories.users, self.items_)
        if not len(known):
            raise ValueError(
                f"none of the {histories.n_items} items is known to this "
                f"{type(self).__name__}; take them in with partial_fit first"
            )
        seen = known.pairs.to(items.device)
        weight = None if known.weight is None else known.weight.to(items.device)
        start = self._fit.mean_user.repeat(known.n_users, 1)
        rows = torch.arange(known.n_users, device=items.device)
        found = self._solve_users(self._histories(seen, weight, rows), items, start)
        folded = copy.copy(self)
        folded._settle(known.users, self.items_, seen, known.backend, Factors(found.vectors, items))
        folded._users_changed()
        folded._weight = weight
        folded._fit = self._fit._replace(
            users=found.vectors, user_degree=seen.query_degrees, n_pairs=len(seen)
        )
        return folded

    @torch.no_grad()
    def forget(self, users: Any) -> int:
        """Removes people: ids, histories and vectors; returns how many of their pairs went.

        What only a refit removes is their part in the item vectors, which they helped to learn.

        Raises:
            UnknownIdError: If a user is not known.
            ValueError: If nobody would be left.
            NotFittedError: Before ``fit``.
        """
        scorer, seen = self._factors(), self.seen_
        kept = torch.ones(len(self.users_), dtype=torch.bool)
        kept[self.users_.rows(column_of(users, "user"))] = False
        if not kept.any():
            raise ValueError("nobody would be left; delete the model instead")
        there = kept.to(seen.device)
        rows, old = there.nonzero().squeeze(1), len(self._fit.user_degree)
        stays = there[seen.queries]
        number = there.cumsum(0) - 1
        keys = number[seen.queries[stays]] * seen.n_candidates + seen.candidates[stays]
        self._weight = None if self._weight is None else self._weight[stays]
        stayed = there[:old]
        self._fit = self._fit._replace(
            users=self._fit.users[stayed],
            user_degree=self._fit.user_degree[stayed],
            n_pairs=self._fit.n_pairs - int(self._fit.user_degree[~stayed].sum()),
        )
        self._users_changed()
        self._settle(
            self.users_.select(kept.nonzero().squeeze(1)),
            self.items_,
            PairSet(keys, len(rows), seen.n_candidates),
            self.backend_,
            Factors(scorer.queries[rows], scorer.candidates),
        )
        return int((~stays).sum())

    # parts of an update

    def _updated(self, new: Interactions, clock: Stopwatch) -> Updated:
        scorer = self._factors()
        with clock("history"):
            users, items = self.users_.extend(new.users.ids), self.items_.extend(new.items.ids)
            news = new.reindex(users, items)
            seen, weight = self._joined(news, len(users), len(items))
        with clock("items"):
            arrived = news.pairs.to(seen.device)
            table, moved, of_items = self._new_items(seen, weight, arrived, scorer.candidates)
        with clock("users"):
            touched = torch.zeros(len(users), dtype=torch.bool, device=seen.device)
            touched[arrived.queries] = True
            stirred = torch.zeros(len(items), dtype=torch.bool, device=seen.device)
            stirred[moved] = True
            touched[seen.queries[stirred[seen.candidates]]] = True
            rows = touched.nonzero().squeeze(1)
            start = self._grown(scorer.queries, len(users))
            of_users = self._solve_users(self._histories(seen, weight, rows), table, start[rows])
            tables = Factors(start.index_copy(0, rows, of_users.vectors), table)
        return Updated(users, items, seen, weight, tables, rows, moved, (of_users, of_items))

    def _judged(
        self,
        after: Updated,
        events: int,
        kept: float,
        seconds: dict[str, float],
        rule: RefitRule,
    ) -> UpdateReport:
        residuals = [
            float(part.residual.max()) if len(part.residual) else 0.0 for part in after.solved
        ]
        error = self._score_error(after.tables, *residuals)
        seen, n_users, n_items = after.seen, len(after.users), len(after.items)
        of_fit = len(self._fit.user_degree), len(self._fit.item_degree)
        drift = len(seen) / max(self._fit.n_pairs, 1) - 1
        verdict, reason = rule.judge(drift, n_items / of_fit[1] - 1, error)
        old_item, old_user = seen.candidates < of_fit[1], seen.queries < of_fit[0]
        return UpdateReport(
            events=events,
            pairs_added=len(seen) - len(self.seen_),
            users_touched=len(after.user_rows),
            users_added=n_users - len(self.users_),
            users_cold=count_without(n_users, len(self.users_), seen.queries, old_item),
            items_touched=len(after.item_rows),
            items_added=n_items - len(self.items_),
            items_cold=count_without(n_items, len(self.items_), seen.candidates, old_user),
            seconds=seconds,
            residual=max(residuals),
            score_error=error,
            overlap=kept,
            drift=drift,
            verdict=verdict,
            reason=reason,
        )

    def _check_news(self, new: Any) -> None:
        if not isinstance(new, Interactions):
            raise TypeError(
                f"expected Interactions, got {type(new).__name__}; build them with "
                "Interactions.from_frame(frame, user=..., item=...)"
            )
        if not len(new):
            raise ValueError("these interactions are empty; there is nothing to take in")
        if (new.weight is None) != (self._weight is None):
            had, has = ("no" if w is None else "" for w in (self._weight, new.weight))
            raise ValueError(
                f"the model was fitted with {had} weights".replace("  ", " ")
                + f", these interactions have {has or 'some'}; give weights to both or neither"
            )
        if self._weight is not None and self._rule not in ADDS_UP:
            raise ValueError(
                f"weights of repeats were joined by the rule {self._rule!r}, which needs every "
                f"single event; fit with one of {', '.join(ADDS_UP)} to update"
            )

    def _joined(
        self, news: Interactions, n_users: int, n_items: int
    ) -> tuple[PairSet, Tensor | None]:
        """All pairs so far and their weights."""
        before = self.seen_.resize(n_queries=n_users, n_candidates=n_items)
        arrived = news.pairs.to(before.device)
        seen = before.union(arrived)
        weight = None
        if self._weight is not None and news.weight is not None:
            weight = self._weight.new_zeros(len(seen))
            for pairs, part in ((before, self._weight), (arrived, news.weight.to(seen.device))):
                weight.index_add_(0, torch.searchsorted(seen.keys, pairs.keys), part)
        return seen, weight

    def _matrix(self, seen: PairSet, weight: Tensor | None) -> SparseMatrix:
        values = torch.ones(len(seen), device=seen.device)
        if weight is not None:
            values = weight / self._fit.mean_weight
        shape = (seen.n_queries, seen.n_candidates)
        return SparseMatrix(seen.starts, seen.candidates, values, shape)

    def _histories(self, seen: PairSet, weight: Tensor | None, rows: Tensor) -> Histories:
        """Of these users; items of the fit keep the degrees they had then."""
        degree = seen.candidate_degrees.clone()
        degree[: len(self._fit.item_degree)] = self._fit.item_degree
        return Histories(self._matrix(seen, weight).select(rows), degree)

    def _new_items(
        self, seen: PairSet, weight: Tensor | None, arrived: PairSet, items: Tensor
    ) -> tuple[Tensor, Tensor, Solution]:
        """All item vectors, the rows of those that were solved, and their solution.

        Solved is each item added since the fit whose users, or whose new users' older items, have
        news.
        """
        old_items, old_users = len(self._fit.item_degree), len(self._fit.user_degree)
        table = _with_zeros(items, seen.n_candidates)
        fresh = torch.zeros(seen.n_queries, dtype=torch.bool, device=seen.device)
        fresh[arrived.queries] = True
        fresh[:old_users] = False
        late = seen.candidates >= old_items
        moved = torch.zeros(seen.n_candidates, dtype=torch.bool, device=seen.device)
        moved[arrived.candidates] = True
        moved[seen.candidates[late & fresh[seen.queries]]] = True
        moved[:old_items] = False
        rows = moved.nonzero().squeeze(1)
        if not len(rows):
            nothing = items.new_zeros(0, items.shape[1])
            return table, rows, Solution(nothing, nothing[:, 0], 0)
        chosen = moved[seen.candidates]
        part, part_weight = seen.select(chosen), None if weight is None else weight[chosen]
        users = self._users_by_old_items(seen, weight, part, items[:old_items])
        matrix = self._matrix(part, part_weight).transposed()
        degree = seen.query_degrees.clone()
        degree[:old_users] = self._fit.user_degree
        start = items[:old_items].mean(0).expand(len(rows), -1)
        found = self._solve_items(Histories(matrix.select(rows), degree), users, start)
        return table.index_copy(0, rows, found.vectors), rows, found

    def _users_by_old_items(
        self, seen: PairSet, weight: Tensor | None, part: PairSet, items: Tensor
    ) -> Tensor:
        """Users of the fit as it left them; new ones in ``part`` by the items of the fit alone."""
        old_users = len(self._fit.user_degree)
        table = self._grown(self._fit.users, seen.n_queries)
        rows = torch.unique(part.queries)
        rows = rows[rows >= old_users]
        if len(rows):
            chosen = seen.candidates < len(items)
            older = seen.select(chosen)
            older_weight = None if weight is None else weight[chosen]
            histories = self._histories(older, older_weight, rows)
            whole = torch.cat(
                [items, items.new_zeros(seen.n_candidates - len(items), items.shape[1])]
            )
            table[rows] = self._solve_users(histories, whole, table[rows]).vectors
        return table

    def _grown(self, table: Tensor, n: int) -> Tensor:
        """``table`` with rows for new users, at the mean user of the fit."""
        return torch.cat([table, self._fit.mean_user.expand(n - len(table), -1)])

    # saving

    def _state(self) -> State:
        state = super()._state()
        tensors = {f"fit.{name}": getattr(self._fit, name) for name in FIT_TABLES}
        if self._fit.users is self._factors().queries:
            del tensors["fit.users"]  # not updated yet
        if self._weight is not None:
            tensors["weight"] = self._weight
        notes = {"rule": self._rule, "fit": list(self._fit[len(FIT_TABLES) :])}
        return state._replace(tensors=state.tensors | tensors, notes=state.notes | notes)

    def _restore(self, state: State) -> None:
        super()._restore(state)
        found = {name: tensor.to(self.seen_.device) for name, tensor in state.tensors.items()}
        users = found.setdefault("fit.users", self._factors().queries)
        # folders of earlier versions, of models not updated yet, lack the rest
        found.setdefault("fit.user_degree", self.seen_.query_degrees)
        found.setdefault("fit.item_degree", self.seen_.candidate_degrees)
        found.setdefault("fit.mean_user", users.mean(0))
        users, user_degree, item_degree, mean_user = (found[f"fit.{name}"] for name in FIT_TABLES)
        counts = state.notes.get("fit", [len(self.seen_), 1.0])
        self._fit = Fit(users, user_degree, item_degree, mean_user, *counts)
        self._rule, self._weight = state.notes.get("rule", "sum"), found.get("weight")


def _with_zeros(table: Tensor, n: int) -> Tensor:
    return torch.cat([table, table.new_zeros(n - len(table), table.shape[1])])
