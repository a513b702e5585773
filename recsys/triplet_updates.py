"""Users and items of TriplH solved again, many at a time, by ``recsys.triplet_rows``."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from hyperrank.batches import draw_chances
from hyperrank.pairs import PairSet
from hyperrank.sparse import SparseMatrix
from recsys.histories import Histories, Record
from recsys.row_solvers import Solution
from recsys.triplet_rows import FrozenSide, TripletRows, frozen_side
from recsys.triplet_scores import PairScore
from recsys.update_passes import Care
from recsys.updates import Base
from recsys.warm_start import blocks

TOLERANCE: dict[Care, float] = {"rough": 1e-2, "usual": 1e-4, "exact": 1e-5}  # of a row's size


@dataclass(frozen=True)
class RowLoss:
    """The loss that trained the tables; see ``TriplH`` for each.

    Attributes:
        length: That of every row, where scores do not depend on it and ``l2`` plays no part; or 0.
    """

    score: PairScore
    scale: float
    l2: float
    negative_power: float
    exclude_seen: bool
    length: float

    def solved_users(
        self, histories: Histories, base: Base, items: Tensor, start: Tensor, care: Care
    ) -> Solution:
        """Users against these items."""
        problems = self.user_rows(histories, base, items)
        start = _set_out(problems, start, base.mean_user, base.users)
        found = problems.solved(start, TOLERANCE[care])
        return found._replace(vectors=self.score.free_users(self.score.users(found.vectors)))

    def solved_items(
        self, histories: Histories, base: Base, users: Tensor, start: Tensor, care: Care
    ) -> Solution:
        """Items against these users."""
        problems, mean = self.item_rows(histories, base, users), base.items.mean(0)
        start = torch.where((start == 0).all(1, keepdim=True), mean, start)
        start = _set_out(problems, start, mean, base.items)
        found = problems.solved(start, TOLERANCE[care])
        return found._replace(vectors=self.score.free_items(self.score.items(found.vectors)))

    def user_rows(self, histories: Histories, base: Base, items: Tensor) -> TripletRows:
        """The functions of users, to whom the items of the base are negatives."""
        pairs = histories.ones
        return self._rows(self._item_side(base, items), pairs, pairs.starts.diff())

    def item_rows(self, histories: Histories, base: Base, users: Tensor) -> TripletRows:
        """The functions of items, which are negatives of the users of the base."""
        assert base.totals is not None
        pairs, n_users, vectors = histories.ones, len(base.users), self.score.users(users)
        log_sum = torch.cat([base.totals[:, 0], base.totals.new_zeros(len(users) - n_users)])
        late = torch.unique(pairs.columns[pairs.columns >= n_users])
        log_sum[late] = self._log_sums(base, vectors[late])
        degree = pairs.starts.diff()
        chance = draw_chances(torch.cat([degree, base.item_degree]), self.negative_power)
        own, known = chance.split([len(degree), len(base.items)])
        side = self._side(vectors, base.totals[:, 1], base.items.mean(0), one_sum=False)
        times = degree + base.user_degree.sum() * own / known.sum()
        return self._rows(side, pairs.with_values(log_sum[pairs.columns]), times)

    def totals(self, base: Base, pairs: PairSet) -> Float[Tensor, "n_users 2"]:
        """Log Z and log c of the base's users, whose pairs these are; one pass over all scores."""
        history = Record(pairs, None, 1.0).matrix()
        side = self._item_side(base, base.items)
        return self._rows(side, history, history.starts.diff()).totals(base.users)

    def _log_sums(self, base: Base, vectors: Float[Tensor, "b m"]) -> Float[Tensor, " b"]:
        """Log Z of mapped users over all items of the base, known ones too."""
        side = self._item_side(base, base.items)
        parts = blocks(len(vectors), len(side.negatives), vectors.device)
        scores = (self.scale * (vectors[part] @ side.negatives.T) + side.weight for part in parts)
        return torch.cat([some.logsumexp(1) for some in scores])

    def _item_side(self, base: Base, items: Float[Tensor, "n d"]) -> FrozenSide:
        drawn = draw_chances(base.item_degree, self.negative_power) > 0
        weight = torch.zeros_like(items[: len(drawn), 0]).masked_fill_(~drawn, -torch.inf)
        return self._side(self.score.items(items), weight, base.mean_user, one_sum=True)

    def _side(
        self, vectors: Tensor, weight: Tensor, typical: Tensor, *, one_sum: bool
    ) -> FrozenSide:
        rows = self.score.users if one_sum else self.score.items
        return frozen_side(
            vectors, weight, typical, rows, self.scale, one_sum=one_sum, hidden=self.exclude_seen
        )

    def _rows(self, side: FrozenSide, pairs: SparseMatrix, times: Tensor) -> TripletRows:
        strength = (1.0 if self.length else self.l2) * times.float()
        return TripletRows(side, pairs, strength, self.length)


def _set_out(
    problems: TripletRows, start: Tensor, mean: Float[Tensor, " d"], table: Float[Tensor, "n d"]
) -> Float[Tensor, "b d"]:
    """``start``, with rows at the mean moved downhill as far as rows of the table are long.

    The mean lies near the origin, where scores hardly bend, so that Newton steps mean little.
    """
    new = (start == mean).all(1).nonzero().squeeze(1)
    slope = problems.select(new).look(start[new]).slope
    unit = torch.nn.functional.normalize(slope)
    start = start.index_copy(0, new, start[new] - table.norm(dim=1).mean().nan_to_num() * unit)
    return torch.nn.functional.normalize(start) if problems.length else start
