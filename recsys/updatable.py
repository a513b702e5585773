"""Recommenders of two vector tables that take new interactions without being trained again."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor

from hyperrank.neighbours import Neighbours
from hyperrank.pairs import PairSet
from hyperrank.questions import column_of
from hyperrank.scorers import Factors
from hyperrank.store import State
from recsys.histories import Record
from recsys.interactions import Interactions
from recsys.recommender import Recommender
from recsys.row_solvers import Solution
from recsys.update_passes import Care, RowSolver, swept, touched
from recsys.updates import (
    Base,
    Fit,
    RefitRule,
    Stopwatch,
    Updated,
    UpdateReport,
    count_without,
    overlap,
)

OVERLAP_USERS = 200  # known touched users whose lists are compared
ADDS_UP = ("sum", "count")  # rules for repeats that need no more than the weight so far
DEGREES = ("user_degree", "item_degree")


@dataclass(kw_only=True, eq=False)
class UpdatableRecommender(Recommender, RowSolver):
    """A recommender with ``partial_fit``, ``fold_in`` and ``forget``.

    A subclass says how to solve users against frozen items, and items against frozen users.
    """

    def _learned_neighbours(self) -> Neighbours | None:
        """``_neighbours_of`` the pairs of the fit that has just ended."""
        return None

    def _score_error(self, tables: Factors, user_residual: float, item_residual: float) -> float:
        """Bound on the error of a score where rows were left at these gradient norms."""
        del tables
        return 0.0 if user_residual == item_residual == 0 else math.inf

    def fit(self, train: Interactions, validation: Interactions | None = None) -> Self:
        """As ``Recommender.fit``."""
        super().fit(train, validation)
        self._weight = None if train.weight is None else train.weight.to(self.seen_.device)
        self._rule = train.repeated
        scorer, seen = self._factors(), self.seen_
        degrees = seen.query_degrees, seen.candidate_degrees
        mean = scorer.queries.mean(0)
        near = self._learned_neighbours()
        self._base = Base(scorer.queries, scorer.candidates, *degrees, mean, near)
        mean_weight = 1.0 if self._weight is None else float(self._weight.mean())
        self._fit = Fit(self._base, len(seen), mean_weight)
        self._news = degrees[0] < 0, degrees[1] < 0  # nobody and nothing
        return self

    @torch.no_grad()
    def partial_fit(
        self,
        new: Interactions,
        rule: RefitRule = RefitRule(),  # noqa: B008
        *,
        sweeps: int = 0,
    ) -> UpdateReport:
        """Takes in interactions that came since; ids may be known or new, pairs may repeat.

        ``new`` holds the news only. The model's answers are then those for all interactions so far;
        ``seen_`` has them all. Nothing is changed when an error is raised.

        Without sweeps, the vectors of known items stay: milliseconds a user, beside one pass over
        the pairs so far. New items are solved by their users, then each user with
        news. Each sweep solves all items with news since the last full fit, then all users with
        news since then, at current degrees: it learns what became popular and how new items stand
        to old ones, at a cost that grows with all that was touched since. Updates that follow stand
        on its tables.

        Either way the model is a function of the last full fit (without sweeps: of the last sweep)
        and of all interactions, whatever the order in which they came.

        Args:
            new: Interactions, with weights if and only if the model was fitted with them.
            rule: When the verdict is "refit".
            sweeps: Rounds over all that was touched since the fit; two come close to a refit.

        Raises:
            TypeError: If ``new`` is no log, or its ids are of another kind.
            ValueError: If it is empty, has weights where the fit had none or none where it had
                some, ``sweeps`` is negative, or repeats follow a rule that cannot be continued
                (first, last, max, mean).
            NotFittedError: Before ``fit``.
        """
        before = self._factors()
        self._check_news(new)
        if sweeps < 0:
            raise ValueError(f"sweeps must be at least 0, got {sweeps}")
        clock = Stopwatch()
        after = self._updated(new, sweeps, clock)
        if not all(bool(part.vectors.isfinite().all()) for part in after.solved):
            raise FloatingPointError(
                "a vector of this update came out as NaN or infinite, so it was not made; look for "
                "weights of huge size, or fit again"
            )
        with clock("overlap"):
            known = after.user_rows[after.user_rows < len(before.queries)][:OVERLAP_USERS]
            kept = overlap(before, after.tables, known, self.seen_, after.record.seen)
        if sweeps:  # whose rows are solved roughly
            rule = replace(rule, score_error=math.inf)
        report = self._judged(after, len(new), kept, clock.seconds, rule)
        self._settle(after.users, after.items, after.record.seen, self.backend_, after.tables)
        self._weight, self._base, self._news = after.record.weight, after.base, after.news
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
        record = Record(seen, weight, self._fit.mean_weight)
        rows = torch.arange(known.n_users, device=items.device)
        found = self._folded(record, rows, "usual", strangers=True)
        late = self.seen_.candidate_degrees[len(self._base.items) :]
        folded = copy.copy(self)
        folded._settle(known.users, self.items_, seen, known.backend, Factors(found.vectors, items))
        folded._weight = weight
        folded._base = replace(
            self._base,
            users=found.vectors,
            items=items,
            user_degree=seen.query_degrees,
            item_degree=torch.cat([self._base.item_degree, late]),
            kept={},
        )
        folded._fit = Fit(folded._base, len(seen), self._fit.mean_weight)
        folded._news = rows < 0, self._news[1] & False
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
        rows = there.nonzero().squeeze(1)
        stays = there[seen.queries]
        number = there.cumsum(0) - 1
        keys = number[seen.queries[stays]] * seen.n_candidates + seen.candidates[stays]
        self._weight = None if self._weight is None else self._weight[stays]
        self._news = self._news[0][there], self._news[1]
        gone = ~there[: len(self._fit.base.users)]
        n_pairs = self._fit.n_pairs - int(self._fit.base.user_degree[gone].sum())
        swept = self._base is not self._fit.base
        fit = _without(self._fit.base, there)
        self._base = _without(self._base, there) if swept else fit
        self._fit = Fit(fit, n_pairs, self._fit.mean_weight)
        self._settle(
            self.users_.select(kept.nonzero().squeeze(1)),
            self.items_,
            PairSet(keys, len(rows), seen.n_candidates),
            self.backend_,
            Factors(scorer.queries[rows], scorer.candidates),
        )
        return int((~stays).sum())

    # parts of an update

    def _folded(
        self, record: Record, rows: Tensor, care: Care, *, strangers: bool = False
    ) -> Solution:
        """Users of a record by the items as they are, from the mean user."""
        base, tables = self._base, self._factors()
        late = self.seen_.candidate_degrees[len(base.items) :]
        histories = record.of_users(rows, torch.cat([base.item_degree, late]))
        histories = histories._replace(strangers=strangers)
        start = base.mean_user.repeat(len(rows), 1)
        return self._solve_users(histories, base, tables.candidates, start, care)

    def _record(self) -> Record:
        return Record(self.seen_, self._weight, self._fit.mean_weight)

    def _updated(self, new: Interactions, sweeps: int, clock: Stopwatch) -> Updated:
        with clock("history"):
            users, items = self.users_.extend(new.users.ids), self.items_.extend(new.items.ids)
            news = new.reindex(users, items)
            record = self._record().joined(news)
            arrived = news.pairs.to(record.seen.device)
            marks = (
                _marked(self._news[0], arrived.queries, len(users)),
                _marked(self._news[1], arrived.candidates, len(items)),
            )
        if sweeps:
            passed = swept(self, self._fit.base, record, marks, sweeps, clock)
        else:
            passed = touched(self, self._base, record, arrived, self._factors(), clock)
        return Updated(users, items, record, marks, *passed)

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
        seen, n_users, n_items = after.record.seen, len(after.users), len(after.items)
        of_fit = len(self._fit.base.users), len(self._fit.base.items)
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

    # saving

    def _state(self) -> State:
        state, fit = super()._state(), self._fit.base
        tensors = {
            "fit.mean_user": fit.mean_user,
            "news.users": self._news[0],
            "news.items": self._news[1],
            **{f"fit.{name}": getattr(fit, name) for name in DEGREES},
        }
        if self._base is not fit:
            tensors |= {"fit.users": fit.users, "fit.items": fit.items}
            tensors |= {f"base.{name}": getattr(self._base, name) for name in DEGREES}
            tensors["base.users"] = self._base.users
        elif fit.users is not self._factors().queries:
            tensors["fit.users"] = fit.users
        if self._base.neighbours is not None:
            near = self._base.neighbours._asdict()
            tensors |= {f"neighbours.{name}": part for name, part in near.items()}
        if self._weight is not None:
            tensors["weight"] = self._weight
        notes = {"rule": self._rule, "fit": [self._fit.n_pairs, self._fit.mean_weight]}
        return state._replace(tensors=state.tensors | tensors, notes=state.notes | notes)

    def _restore(self, state: State) -> None:
        super()._restore(state)
        scorer, seen = self._factors(), self.seen_
        there = {name: tensor.to(seen.device) for name, tensor in state.tensors.items()}
        parts = [there.get(f"neighbours.{name}") for name in Neighbours._fields]
        near = [part for part in parts if part is not None]
        # folders of earlier versions, of models not updated yet, lack most of this
        users = there.get("fit.users", scorer.queries)
        user_degree = there.get("fit.user_degree", seen.query_degrees)
        item_degree = there.get("fit.item_degree", seen.candidate_degrees)
        fit = Base(
            users,
            there.get("fit.items", scorer.candidates[: len(item_degree)]),
            user_degree,
            item_degree,
            there.get("fit.mean_user", users.mean(0)),
            Neighbours(*near) if near else None,
        )
        self._base = fit
        if "base.users" in there:
            self._base = replace(
                fit,
                users=there["base.users"],
                items=scorer.candidates[: len(there["base.item_degree"])],
                user_degree=there["base.user_degree"],
                item_degree=there["base.item_degree"],
                kept={},
            )
        counts = state.notes.get("fit", [len(seen), 1.0])
        self._fit = Fit(fit, *counts)
        self._news = (
            there.get("news.users", _differs(seen.query_degrees, user_degree)),
            there.get("news.items", _differs(seen.candidate_degrees, item_degree)),
        )
        self._rule, self._weight = state.notes.get("rule", "sum"), there.get("weight")


def _marked(marks: Tensor, rows: Tensor, n: int) -> Tensor:
    """With ``rows`` marked too, for ``n`` rows."""
    return torch.cat([marks, marks.new_zeros(n - len(marks))]).index_fill(0, rows, True)


def _without(base: Base, there: Tensor) -> Base:
    """The base with those of its users who are ``there``."""
    stays = there[: len(base.users)]
    users, degree = base.users[stays], base.user_degree[stays]
    return replace(base, users=users, user_degree=degree, kept={})


def _differs(now: Tensor, then: Tensor) -> Tensor:
    """Which degrees are not what they were; later rows had none."""
    return now != torch.cat([then, then.new_zeros(len(now) - len(then))])
