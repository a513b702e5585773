"""Recommenders of two vector tables that take new interactions without being trained again."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor

from hyperrank.neighbours import Neighbours
from hyperrank.pairs import PairSet
from hyperrank.questions import column_of
from hyperrank.scorers import Factors
from hyperrank.store import State
from recsys import saved_fits
from recsys.histories import Record
from recsys.interactions import Interactions
from recsys.recommender import Recommender
from recsys.row_solvers import Solution
from recsys.update_passes import Care, RowSolver, grown, swept, touched
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


@dataclass(kw_only=True, eq=False)
class UpdatableRecommender(Recommender, RowSolver):
    """A recommender with ``partial_fit``, ``fold_in`` and ``forget``.

    A subclass says how to solve users against frozen items, and items against frozen users; and
    where it solves other vectors than those that answer, how the ones become the others.
    """

    def check_updatable(self) -> None:
        """Nothing, where this model takes updates.

        Raises:
            TypeError: Where it does not, set as it is.
        """
        refusal = self._refusal()
        if refusal is not None:
            raise TypeError(refusal)

    def _refusal(self) -> str | None:
        """Why this model takes no updates, set as it is, and what to do; None where it does."""
        return None

    def _free(self, scorer: Factors) -> Factors:
        """The rows that are solved, from the vectors that answer."""
        return scorer

    def _user_vectors(self, rows: Tensor) -> Tensor:
        """The vectors that answer, of users as they are solved."""
        return rows

    def _item_vectors(self, rows: Tensor) -> Tensor:
        """Those of items."""
        return rows

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
        if self._refusal() is None:
            self._lay_base(train)
        return self

    def _lay_base(self, train: Interactions) -> None:
        self._weight = None if train.weight is None else train.weight.to(self.seen_.device)
        self._rule = train.repeated
        rows, seen = self._free(self._factors()), self.seen_
        degrees = seen.query_degrees, seen.candidate_degrees
        mean = rows.queries.mean(0)
        near = self._learned_neighbours()
        base = Base(rows.queries, rows.candidates, *degrees, mean, near)
        self._base = replace(base, totals=self._totals_of(base, seen))
        mean_weight = 1.0 if self._weight is None else float(self._weight.mean())
        self._fit = Fit(self._base, len(seen), mean_weight)
        self._news = degrees[0] < 0, degrees[1] < 0  # nobody and nothing

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
            TypeError: If ``new`` is no log, or its ids are of another kind; as ``check_updatable``.
            ValueError: If it is empty, has weights where the fit had none or none where it had
                some, ``sweeps`` is negative, or repeats follow a rule that cannot be continued
                (first, last, max, mean).
            NotFittedError: Before ``fit``.
        """
        self.check_updatable()
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
            answers = self._answers(after)
            kept = overlap(before, answers, known, self.seen_, after.record.seen)
        if sweeps or not self.convex:  # rows are solved roughly, or nothing bounds their error
            rule = replace(rule, score_error=math.inf)
        report = self._judged(after, len(new), kept, clock.seconds, rule)
        self._settle(after.users, after.items, after.record.seen, self.backend_, answers)
        self._weight, self._base, self._news = after.record.weight, after.base, after.news
        return report

    @torch.no_grad()
    def fold_in(self, histories: Interactions) -> Self:
        """A model of the people of ``histories`` alone: same items, vectors from their histories.

        It answers ``recommend``, ``predict`` and the rest for them; this model is not changed and
        remembers nothing of them. Events on items that it does not know are left out.

        Raises:
            TypeError: If ``histories`` is no log, or its item ids are of another kind; as
                ``check_updatable``.
            ValueError: As ``partial_fit``, or if it has no known item.
            NotFittedError: Before ``fit``.
        """
        self.check_updatable()
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
        scorer = Factors(self._user_vectors(found.vectors), items)
        folded._settle(known.users, self.items_, seen, known.backend, scorer)
        folded._weight = weight
        base = replace(
            self._base,
            users=found.vectors,
            items=self._free(scorer).candidates,
            user_degree=seen.query_degrees,
            item_degree=torch.cat([self._base.item_degree, late]),
            totals=None,
            kept={},
        )
        folded._base = replace(base, totals=self._totals_of(base, seen))
        folded._fit = Fit(folded._base, len(seen), self._fit.mean_weight)
        folded._news = rows < 0, self._news[1] & False
        return folded

    @torch.no_grad()
    def forget(self, users: Any) -> int:
        """Removes people: ids, histories and vectors; returns how many of their pairs went.

        What only a refit removes is their part in the item vectors, which they helped to learn.

        Raises:
            TypeError: As ``check_updatable``.
            UnknownIdError: If a user is not known.
            ValueError: If nobody would be left.
            NotFittedError: Before ``fit``.
        """
        self.check_updatable()
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
        base, items = self._base, self._free(self._factors()).candidates
        late = self.seen_.candidate_degrees[len(base.items) :]
        histories = record.of_users(rows, torch.cat([base.item_degree, late]))
        histories = histories._replace(strangers=strangers)
        start = base.mean_user.repeat(len(rows), 1)
        return self._solve_users(histories, base, items, start, care)

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
            rows = self._free(self._factors())
            passed = touched(self, self._base, record, arrived, rows, clock)
        return Updated(users, items, record, marks, *passed)

    def _answers(self, after: Updated) -> Factors:
        """The vectors that answer; those that were not solved stay as they are, to the bit."""
        old, rows = self._factors(), after.tables
        if self._free(old) is old:
            return rows
        return Factors(
            _patched(old.queries, rows.queries, after.user_rows, self._user_vectors),
            _patched(old.candidates, rows.candidates, after.item_rows, self._item_vectors),
        )

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
        state = super()._state()
        if self._refusal() is not None:
            return state
        tensors = saved_fits.tensors_of(self._fit.base, self._base, self._news)
        if self._weight is not None:
            tensors["weight"] = self._weight
        notes = {"rule": self._rule, "fit": [self._fit.n_pairs, self._fit.mean_weight]}
        return state._replace(tensors=state.tensors | tensors, notes=state.notes | notes)

    def _restore(self, state: State) -> None:
        super()._restore(state)
        if self._refusal() is not None:
            return
        seen = self.seen_
        there = {name: tensor.to(seen.device) for name, tensor in state.tensors.items()}
        kept = saved_fits.from_tensors(there, self._free(self._factors()), seen)
        fit, self._base, self._news = kept
        if fit.totals is None and fit is self._base:
            fit = self._base = replace(fit, totals=self._totals_of(fit, seen))
        self._fit = Fit(fit, *state.notes.get("fit", [len(seen), 1.0]))
        self._rule, self._weight = state.notes.get("rule", "sum"), there.get("weight")


def _patched(
    old: Tensor, rows: Tensor, solved: Tensor, vectors: Callable[[Tensor], Tensor]
) -> Tensor:
    """``old`` with the vectors of the rows that were solved, and of those that it lacks."""
    changed = torch.cat([solved, torch.arange(len(old), len(rows), device=solved.device)])
    table = grown(old, len(rows), old.new_zeros(old.shape[1]))
    return table.index_copy(0, changed, vectors(rows[changed]))


def _marked(marks: Tensor, rows: Tensor, n: int) -> Tensor:
    """With ``rows`` marked too, for ``n`` rows."""
    return torch.cat([marks, marks.new_zeros(n - len(marks))]).index_fill(0, rows, True)


def _without(base: Base, there: Tensor) -> Base:
    """The base with those of its users who are ``there``."""
    stays = there[: len(base.users)]
    users, degree = base.users[stays], base.user_degree[stays]
    totals = None if base.totals is None else base.totals[stays]
    return replace(base, users=users, user_degree=degree, totals=totals, kept={})
