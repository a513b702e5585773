"""All that is known of users and items so far, as updates take it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hyperrank.pairs import PairSet
from hyperrank.sparse import SparseMatrix
from recsys.interactions import Interactions


class Histories(NamedTuple):
    """Rows of a side that are to be solved."""

    whole: SparseMatrix  # every row of that side; values are weights over their mean at the fit
    rows: Int[Tensor, " b"]
    degree: Int[Tensor, " n"]  # of the other side
    strangers: bool = False  # whether row numbers are not those of the base

    @property
    def pairs(self) -> SparseMatrix:
        """The rows that are to be solved, b x n."""
        return self.whole.select(self.rows)

    @property
    def ones(self) -> SparseMatrix:
        """The same, without weights."""
        pairs = self.pairs
        return pairs.with_values(torch.ones_like(pairs.values))


class Record(NamedTuple):
    """The pairs so far and their weights."""

    seen: PairSet
    weight: Float[Tensor, " nnz"] | None
    mean_weight: float

    def joined(self, news: Interactions) -> Record:
        """With news in row numbers that go on from these; weights of a pair add up."""
        n_users, n_items = len(news.users), len(news.items)
        before = self.seen.resize(n_queries=n_users, n_candidates=n_items)
        arrived = news.pairs.to(before.device)
        seen = before.union(arrived)
        weight = None
        if self.weight is not None and news.weight is not None:
            weight = self.weight.new_zeros(len(seen))
            for pairs, part in ((before, self.weight), (arrived, news.weight.to(seen.device))):
                weight.index_add_(0, torch.searchsorted(seen.keys, pairs.keys), part)
        return Record(seen, weight, self.mean_weight)

    def select(self, chosen: Tensor) -> Record:
        """The pairs that are ``chosen``, a mask."""
        weight = None if self.weight is None else self.weight[chosen]
        return Record(self.seen.select(chosen), weight, self.mean_weight)

    def matrix(self) -> SparseMatrix:
        """Users x items; weights over their mean at the fit, or ones."""
        if self.weight is None:
            values = torch.ones(len(self.seen), device=self.seen.device)
        else:
            values = self.weight / self.mean_weight
        shape = (self.seen.n_queries, self.seen.n_candidates)
        return SparseMatrix(self.seen.starts, self.seen.candidates, values, shape)

    def of_users(self, rows: Int[Tensor, " b"], item_degree: Int[Tensor, " n"]) -> Histories:
        """Of these users."""
        return Histories(self.matrix(), rows, item_degree)

    def of_items(self, rows: Int[Tensor, " b"], user_degree: Int[Tensor, " n"]) -> Histories:
        """Of these items; one sort of the pairs."""
        return Histories(self.matrix().transposed(), rows, user_degree)
