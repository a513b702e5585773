"""The squared-loss UltraGCN, and the linear low-rank update that was published for it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from hyperrank.parameters import bounded
from hyperrank.scorers import Factors
from recsys.baselines import PureSVD, inverse_gram
from recsys.histories import Histories
from recsys.interactions import Interactions
from recsys.item_graph import item_factor, user_factor
from recsys.row_solvers import Solution
from recsys.update_passes import Care
from recsys.updates import Base
from recsys.warm_start import degree_weighted, projection


@dataclass(kw_only=True, eq=False)
class SquaredUltraGCN(PureSVD):
    """The model of "Ultra Fast Warm Start Solution for Graph Recommendations", at its minimum.

    Yusupov, Rakhuba, Frolov (CIKM 2025, arXiv:2509.01549) learn f_u = (1 + b_u) e_u and
    f_i = (1 + b_i) e_i, with b as in ``recsys.item_graph``, by the squares of R - F_U F_I^T on all
    entries. The scales are positive, so the minimum is the truncated SVD of R (Eckart, Young 1936),
    here with its singular values shared evenly: vectors are f, scores f_u . f_i, those of
    ``PureSVD``.

    Departures from the released code: the SVD instead of 50 epochs of Adam on dense rows; no L2
    (1e-5 there); b_u without 1e-4 in its denominator; new users by their own degree, of which the
    script has none; new items and sweeps, by least squares.

    Those of ``PureSVD``, and:

    Attributes:
        fold_in_by: "exact" is the least squares of a user's row by the items, the user's own
            minimum; "published" the linear update, ``recsys.warm_start.degree_weighted`` on e
            times 1 + b_u, with the degrees of the fit for users it had (of the sweep, after one).
        offset: lambda of the published update, which the script never defines.
        cutoff: Directions under this share of a table's largest singular value are left out.
    """

    fold_in_by: Literal["exact", "published"] = "exact"
    offset: float = bounded(1.0, least=0)
    cutoff: float = bounded(1e-3, least=0, most=1)

    def _learn(self, train: Interactions, validation: Interactions | None) -> Factors:
        found = super()._learn(train, validation)
        users, items = found.queries, found.candidates
        share = users.norm(dim=0).sqrt()
        kept = share > self.cutoff * share.max()
        return Factors(users / share.where(kept, math.inf), items * share)

    def _solve_users(
        self, histories: Histories, base: Base, items: Tensor, start: Tensor, care: Care = "usual"
    ) -> Solution:
        """By the items of the base, a new item adding its own term; in sweeps, least squares."""
        if self.fold_in_by == "exact" or care == "rough":
            return self._least_squares(histories, base, "items", items)
        own = user_factor(_degree_of_fit(histories, base))
        other = item_factor(histories.degree)
        items = items / (1 + other[:, None])
        rows = degree_weighted(histories.ones, items, own, other, offset=self.offset)
        rows = rows @ inverse_gram(base, "published", items[: len(base.items)], self.cutoff**2)
        return Solution((1 + own[:, None]) * rows, start.new_zeros(len(start)), 1)

    def _solve_items(
        self, histories: Histories, base: Base, users: Tensor, start: Tensor, care: Care = "usual"
    ) -> Solution:
        """By the users of the base, a new user adding its own term."""
        del start, care  # a closed form
        return self._least_squares(histories, base, "users", users)

    def _least_squares(
        self, histories: Histories, base: Base, side: Literal["users", "items"], table: Tensor
    ) -> Solution:
        inverse = inverse_gram(base, side, getattr(base, side), self.cutoff**2)
        rows = projection(histories.ones, table) @ inverse
        return Solution(rows, rows.new_zeros(len(rows)), 1)


def _degree_of_fit(histories: Histories, base: Base) -> Tensor:
    """Degrees of the rows, as the base had them where it had the user."""
    degree = histories.pairs.starts.diff()
    if not histories.strangers:
        known = histories.rows < len(base.users)
        degree[known] = base.user_degree[histories.rows[known]]
    return degree
