"""The two ways to take news in: what was touched alone, or all that was touched since the fit.

``touched`` leaves the base as it is: each item that came since is solved against the users of the
base and new users' vectors by their older items; each user with news, or with an item that moved,
is solved against all items. ``swept`` goes back to the fit and, round by round, solves all items
with news since then, and all users with news since then; its result is the next base. Either is a
function of the base (of the fit) and of all interactions, whatever the order in which they came.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hyperrank.neighbours import Neighbours
from hyperrank.pairs import PairSet
from hyperrank.scorers import Factors
from recsys.histories import Histories, Record
from recsys.row_solvers import Solution
from recsys.updates import Base, Stopwatch

Care = Literal["rough", "usual", "exact"]
PAIRS_AT_ONCE = 2**20  # of rows in a sweep; each brings its neighbours, 60 bytes of work each


class RowSolver(ABC):
    """A model that solves rows of one table against the other, frozen one.

    Where the loss of a row is not convex, which minimum is found depends on the start: rows then
    start from those of the base, so that what updates give is still no matter of their order.
    """

    convex = True

    @abstractmethod
    def _solve_users(
        self,
        histories: Histories,
        base: Base,
        items: Float[Tensor, "n d"],
        start: Float[Tensor, "b d"],
        care: Care = "usual",
    ) -> Solution:
        """Vectors of users; items beyond those of the base are no negatives."""

    @abstractmethod
    def _solve_items(
        self,
        histories: Histories,
        base: Base,
        users: Float[Tensor, "n d"],
        start: Float[Tensor, "b d"],
        care: Care = "usual",
    ) -> Solution:
        """Vectors of items; users beyond those of the base are no negatives."""

    def _neighbours_of(self, pairs: PairSet) -> Neighbours | None:
        """What the loss wants to know of items, where it does."""
        del pairs
        return None

    def _totals_of(self, base: Base, pairs: PairSet) -> Float[Tensor, "n_users k"] | None:
        """What the loss of an item wants to know of the users, where it does.

        ``base`` is right but for that, and ``pairs`` are all that its users have.
        """
        del base, pairs
        return None


class Passed(NamedTuple):
    """Tables after an update, the rows that were solved, and the base of the next one."""

    tables: Factors
    user_rows: Int[Tensor, " touched"]
    item_rows: Int[Tensor, " moved"]
    solved: tuple[Solution, Solution]  # users, items
    base: Base


def touched(
    solver: RowSolver,
    base: Base,
    record: Record,
    arrived: PairSet,
    before: Factors,
    clock: Stopwatch,
) -> Passed:
    """Solves what ``arrived`` touches; ``record`` has it already."""
    seen = record.seen
    with clock("items"):
        items, moved, of_items = _late_items(solver, base, record, arrived, before.candidates)
    with clock("users"):
        fresh = _marked(seen.n_queries, arrived.queries)
        fresh[seen.queries[_marked(seen.n_candidates, moved)[seen.candidates]]] = True
        rows = fresh.nonzero().squeeze(1)
        users = grown(before.queries, seen.n_queries, base.mean_user)
        degree = _first(seen.candidate_degrees, base.item_degree)
        start = users if solver.convex else grown(base.users, len(users), base.mean_user)
        of_users = solver._solve_users(record.of_users(rows, degree), base, items, start[rows])
        tables = Factors(users.index_copy(0, rows, of_users.vectors), items)
    return Passed(tables, rows, moved, (of_users, of_items), base)


def swept(
    solver: RowSolver,
    fit: Base,
    record: Record,
    news: tuple[Bool[Tensor, " n_users"], Bool[Tensor, " n_items"]],
    sweeps: int,
    clock: Stopwatch,
) -> Passed:
    """Solves users with news since the fit, then so often items with news and those users again.

    Degrees and neighbours are those of all pairs so far; every item is a negative.
    """
    seen = record.seen
    user_rows, item_rows = (mask.nonzero().squeeze(1) for mask in news)
    users = grown(fit.users, seen.n_queries, fit.mean_user)
    degrees = seen.query_degrees, seen.candidate_degrees
    items = grown(fit.items, seen.n_candidates, torch.zeros_like(fit.mean_user))
    with clock("neighbours"):
        base = Base(users, items, *degrees, fit.mean_user, solver._neighbours_of(seen))
    of_user, of_item = (
        record.of_users(user_rows, degrees[1]),
        record.of_items(item_rows, degrees[0]),
    )

    def solve_users(base: Base) -> tuple[Base, Solution]:
        start = base.users[user_rows]
        found = _in_parts(solver._solve_users, of_user, base, base.items, start)
        table = base.users.index_copy(0, user_rows, found.vectors)
        base = replace(base, users=table, kept={})
        return replace(base, totals=solver._totals_of(base, seen)), found

    def solve_items(base: Base) -> tuple[Base, Solution]:
        start = base.items[item_rows]
        found = _in_parts(solver._solve_items, of_item, base, base.users, start)
        table = base.items.index_copy(0, item_rows, found.vectors)
        return replace(base, items=table, kept={}), found

    with clock("users"):
        base, of_users = solve_users(base)
    of_items = nothing(items)
    for _ in range(sweeps):
        with clock("items"):
            base, of_items = solve_items(base)
        with clock("users"):
            base, of_users = solve_users(base)
    tables = Factors(base.users, base.items)
    return Passed(tables, user_rows, item_rows, (of_users, of_items), base)


def _in_parts(
    solve: Callable[..., Solution], histories: Histories, base: Base, table: Tensor, start: Tensor
) -> Solution:
    """Roughly solved rows, at least one, of so many pairs at a time."""
    ends = histories.whole.starts.diff()[histories.rows].cumsum(0)
    sizes = torch.unique_consecutive(ends // PAIRS_AT_ONCE, return_counts=True)[1].tolist()
    parts = [
        solve(histories._replace(rows=rows), base, table, first, "rough")
        for rows, first in zip(histories.rows.split(sizes), start.split(sizes), strict=True)
    ]
    vectors, residual, steps = zip(*parts, strict=True)
    return Solution(torch.cat(vectors), torch.cat(residual), max(steps))


def grown(table: Float[Tensor, "m d"], n: int, start: Float[Tensor, " d"]) -> Float[Tensor, "n d"]:
    """``table`` with rows at ``start`` up to ``n``."""
    return torch.cat([table, start.expand(n - len(table), -1)])


def nothing(table: Float[Tensor, "n d"]) -> Solution:
    """The solution of no row."""
    empty = table.new_zeros(0, table.shape[1])
    return Solution(empty, empty[:, 0], 0)


def _late_items(
    solver: RowSolver, base: Base, record: Record, arrived: PairSet, items: Tensor
) -> tuple[Tensor, Tensor, Solution]:
    """All item vectors, the rows of those that were solved, and their solution.

    Solved is each item added since the base whose users, or whose new users' older items, have
    news.
    """
    seen, old_items, old_users = record.seen, len(base.items), len(base.users)
    table = grown(items, seen.n_candidates, torch.zeros_like(base.mean_user))
    fresh = _marked(seen.n_queries, arrived.queries)
    fresh[:old_users] = False
    late = seen.candidates >= old_items
    moved = _marked(seen.n_candidates, arrived.candidates)
    moved[seen.candidates[late & fresh[seen.queries]]] = True
    moved[:old_items] = False
    rows = moved.nonzero().squeeze(1)
    if not len(rows):
        return table, rows, nothing(items)
    part = record.select(moved[seen.candidates])
    users = _users_by_old_items(solver, base, record, part.seen)
    degree = _first(seen.query_degrees, base.user_degree)
    start = base.items.mean(0).expand(len(rows), -1)
    found = solver._solve_items(part.of_items(rows, degree), base, users, start)
    return table.index_copy(0, rows, found.vectors), rows, found


def _users_by_old_items(solver: RowSolver, base: Base, record: Record, part: PairSet) -> Tensor:
    """Users of the base as it left them; new ones in ``part`` by the items of the base alone."""
    seen = record.seen
    table = grown(base.users, seen.n_queries, base.mean_user)
    rows = torch.unique(part.queries)
    rows = rows[rows >= len(base.users)]
    if len(rows):
        older = record.select(seen.candidates < len(base.items))
        degree = _first(seen.candidate_degrees, base.item_degree)
        whole = grown(base.items, seen.n_candidates, torch.zeros_like(base.mean_user))
        found = solver._solve_users(older.of_users(rows, degree), base, whole, table[rows])
        table[rows] = found.vectors
    return table


def _first(now: Tensor, then: Tensor) -> Tensor:
    """``now`` with ``then`` in its first places."""
    return torch.cat([then, now[len(then) :]])


def _marked(n: int, rows: Tensor) -> Tensor:
    mask = torch.zeros(n, dtype=torch.bool, device=rows.device)
    mask[rows] = True
    return mask
