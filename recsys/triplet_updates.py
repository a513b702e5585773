"""Users and items of TriplH solved again, many at a time, by ``recsys.triplet_rows``."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from hyperrank.batches import draw_chances
from hyperrank.pairs import PairSet
from recsys.histories import Histories, Record
from recsys.row_solvers import Solution
from recsys.triplet_rows import FrozenSide, TripletRows, frozen_side
from recsys.triplet_scores import PairScore
from recsys.update_passes import Care
from recsys.updates import Base

TOLERANCE: dict[Care, float] = {"rough": 1e-2, "usual": 1e-4, "exact": 1e-5}  # of a row's size


@dataclass(frozen=True)
class RowLoss:
    """The loss that trained the tables; see ``TriplH`` for each."""

    score: PairScore
    scale: float
    l2: float
    negative_power: float
    exclude_seen: bool

    def solved_users(
        self, histories: Histories, base: Base, items: Tensor, start: Tensor, care: Care
    ) -> Solution:
        """Users against these items, of which those of the base are negatives."""
        history = histories.ones
        strength = self.l2 * history.starts.diff().float()
        problems = TripletRows(self._item_side(base, items), history, strength)
        start = _set_out(problems, start, base.mean_user, base.users)
        found = problems.solved(start, TOLERANCE[care])
        return found._replace(vectors=self.score.free_users(self.score.users(found.vectors)))

    def solved_items(
        self, histories: Histories, base: Base, users: Tensor, start: Tensor, care: Care
    ) -> Solution:
        """Items against these users, for whom in the base they are negatives."""
        assert base.totals is not None
        history, mean = histories.ones, base.items.mean(0)
        side = frozen_side(
            self.score.users(users),
            base.totals[:, 1],
            mean,
            self.score.items,
            self.score,
            self.scale,
            one_sum=False,
            hidden=self.exclude_seen,
        )
        log_sums = torch.cat(
            [base.totals[:, 0], base.totals.new_zeros(len(users) - len(base.users))]
        )
        late = torch.unique(history.columns[history.columns >= len(base.users)])
        log_sums[late] = self._log_sums(base, users[late])
        degree = history.starts.diff()
        degrees = torch.cat([degree, base.item_degree])
        own, known = draw_chances(degrees, self.negative_power).split([len(start), len(base.items)])
        draws = base.user_degree.sum() * own / known.sum()
        positives = history.with_values(log_sums[history.columns])
        problems = TripletRows(side, positives, (self.l2 * (degree + draws)).float())
        start = torch.where((start == 0).all(1, keepdim=True), mean, start)
        start = _set_out(problems, start, mean, base.items)
        found = problems.solved(start, TOLERANCE[care])
        return found._replace(vectors=self.score.free_items(self.score.items(found.vectors)))

    def totals(self, base: Base, pairs: PairSet) -> Float[Tensor, "n_users 2"]:
        """Log Z and log c of the base's users, whose pairs these are; one pass over all scores."""
        history = Record(pairs, None, 1.0).matrix()
        nothing = base.users.new_zeros(len(base.users))
        return TripletRows(self._item_side(base, base.items), history, nothing).totals(base.users)

    def _log_sums(self, base: Base, users: Float[Tensor, "b d"]) -> Float[Tensor, " b"]:
        """Log Z of users over all items of the base, known ones too."""
        vectors = self.score.users(users)
        side = self._item_side(base, base.items)
        found: Tensor = (side.scale * self.score.scores(vectors @ side.negatives.T)).add_(
            side.weight
        )
        return found.logsumexp(1)

    def _item_side(self, base: Base, items: Float[Tensor, "n d"]) -> FrozenSide:
        drawn = draw_chances(base.item_degree, self.negative_power) > 0
        return frozen_side(
            self.score.items(items),
            torch.zeros_like(items[: len(drawn), 0]).masked_fill_(~drawn, -torch.inf),
            base.mean_user,
            self.score.users,
            self.score,
            self.scale,
            one_sum=True,
            hidden=self.exclude_seen,
        )


def _set_out(
    problems: TripletRows, start: Tensor, mean: Float[Tensor, " d"], table: Float[Tensor, "n d"]
) -> Float[Tensor, "b d"]:
    """``start``, with rows at the mean moved downhill as far as rows of the table are long.

    The mean lies near the origin, where the scores hardly bend and Newton steps say nothing.
    """
    new = (start == mean).all(1).nonzero().squeeze(1)
    slope = problems.select(new).look(start[new]).slope
    length = table.norm(dim=1).mean().nan_to_num()
    tiny = torch.finfo(slope.dtype).tiny
    way = slope / slope.norm(dim=1, keepdim=True).clamp_min(tiny)
    return start.index_copy(0, new, start[new] - length * way)
