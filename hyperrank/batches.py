"""Epoch iterators over a ``PairSet`` on its device, and the negatives that go with them.

One batch type serves every way to walk the pairs: some rows of the query table, the positives that
belong to them, and negatives that are shared by the batch or drawn for each row. ``mass`` says how
many positive pairs a row stands for, so that every order of the walk has the same epoch sum in
expectation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hyperrank.pairs import PairSet


class PairBatch(NamedTuple):
    """Rows of the query table, their positives, and negatives."""

    query: Int[Tensor, " b"]
    mass: Float[Tensor, " b"]  # positive pairs this row stands for; sums to the degrees in an epoch
    position: Int[Tensor, " p"]  # the row of ``query`` of each positive, nondecreasing
    spot: Int[Tensor, " p"]  # where the positive stands in the keys of the pair set
    positive: Int[Tensor, " p"]  # candidate of each positive
    negatives: Int[Tensor, " k"] | Int[Tensor, "b k"]  # shared by the batch, or a row of its own


def draw_chances(degree: Int[Tensor, " n"], power: float) -> Float[Tensor, " n"]:
    """Chance of each candidate in one draw proportional to degree ** power; float64, sums to 1.

    With a negative power candidates without a pair are never drawn.
    """
    mass = degree.double().pow(power)
    if power < 0:
        mass = torch.where(degree > 0, mass, 0.0)
    return mass / mass.sum()


@dataclass(frozen=True, eq=False)
class NegativeSampler:
    """Draws candidates with replacement, with probability proportional to degree ** power.

    Attributes:
        pairs: The known pairs: their candidate degrees set the probabilities.
        count: Draws per batch (shared) or per row. A shared count that reaches the catalogue, with
            ``power`` 0, is the whole catalogue, each once: exact, and nothing is drawn.
        generator: Source of every draw; on the device of ``pairs``.
        power: 0 is uniform over the whole catalogue, 1 is proportional to popularity.
        shared: One pool for a batch, or one for each of its rows; the expected loss is the same.
        reject: Redraws of a negative that is a known pair of its row; each leaves the square,
            cube, ... of its chance. Only for rows of their own: a shared pool has no row.
    """

    pairs: PairSet
    count: int
    generator: torch.Generator
    power: float = 0.0
    shared: bool = True
    reject: int = 0

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"count must be at least 1 negative, got {self.count}")
        if self.shared and self.reject:
            raise ValueError(
                "a pool shared by the batch cannot reject the known pairs of one row; "
                "use shared=False, or reject=0"
            )
        cumulative = None
        if self.power:
            cumulative = draw_chances(self.pairs.candidate_degrees, self.power).cumsum(0)
        object.__setattr__(self, "_cumulative", cumulative)

    @property
    def probabilities(self) -> Float[Tensor, " n"]:
        """Chance of each candidate in one draw; sums to 1."""
        return draw_chances(self.pairs.candidate_degrees, self.power).float()

    def draw(self, query: Int[Tensor, " b"]) -> Tensor:
        """Negatives for these rows: of shape ``(count,)`` when shared, else ``(b, count)``."""
        n, device = self.pairs.n_candidates, self.pairs.device
        if self.shared:
            if self.count >= n and not self.power:
                return torch.arange(n, device=device)
            return self._draw((self.count,))
        drawn = self._draw((len(query), self.count))
        rows = query[:, None].expand_as(drawn)
        for _ in range(self.reject):
            clash = self.pairs.contains(rows, drawn)
            drawn = torch.where(clash, self._draw(tuple(drawn.shape)), drawn)
        return drawn

    def _draw(self, shape: tuple[int, ...]) -> Tensor:
        n, device = self.pairs.n_candidates, self.pairs.device
        cumulative: Tensor | None = self._cumulative  # type: ignore[attr-defined]
        if cumulative is None:
            return torch.randint(n, shape, generator=self.generator, device=device)
        points = torch.rand(shape, dtype=torch.double, generator=self.generator, device=device)
        return torch.searchsorted(cumulative, points, right=True).clamp_max(n - 1)


@dataclass(frozen=True, eq=False)
class PairBatches:
    """All pairs in random order, ``batch_size`` pairs a batch; a row of the batch is one pair."""

    pairs: PairSet
    batch_size: int
    sampler: NegativeSampler

    def __len__(self) -> int:
        return math.ceil(len(self.pairs) / self.batch_size)

    def __iter__(self) -> Iterator[PairBatch]:
        pairs, device = self.pairs, self.pairs.device
        order = torch.randperm(len(pairs), generator=self.sampler.generator, device=device)
        for spot in order.split(self.batch_size):
            query = pairs.queries[spot]
            position = torch.arange(len(spot), device=device)
            mass = torch.ones(len(spot), device=device)
            negatives = self.sampler.draw(query)
            yield PairBatch(query, mass, position, spot, pairs.candidates[spot], negatives)


@dataclass(frozen=True, eq=False)
class QueryBatches:
    """All queries that have pairs in random order, ``batch_size`` queries with all their pairs.

    An epoch is the same sum over the pairs as that of ``PairBatches``, but a query's negatives are
    scored once instead of once for each of its pairs.
    """

    pairs: PairSet
    batch_size: int
    sampler: NegativeSampler

    def __len__(self) -> int:
        return math.ceil(int((self.pairs.query_degrees > 0).sum()) / self.batch_size)

    def __iter__(self) -> Iterator[PairBatch]:
        pairs = self.pairs
        active = pairs.query_degrees.nonzero().squeeze(1)
        shuffle = torch.randperm(len(active), generator=self.sampler.generator, device=pairs.device)
        for query in active[shuffle].split(self.batch_size):
            position, spot = pairs.row_spots(query)
            mass = pairs.query_degrees[query].float()
            negatives = self.sampler.draw(query)
            yield PairBatch(query, mass, position, spot, pairs.candidates[spot], negatives)


@dataclass(frozen=True, eq=False)
class PickedBatches:
    """Batches whose negatives are picked from each batch once it is there.

    Attributes:
        batches: What is walked; its negatives are what ``pick`` may choose from.
        pick: From a batch, its negatives.
    """

    batches: PairBatches | QueryBatches
    pick: Callable[[PairBatch], Tensor]

    @property
    def pairs(self) -> PairSet:
        """The pairs that are walked."""
        return self.batches.pairs

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[PairBatch]:
        for batch in self.batches:
            yield batch._replace(negatives=self.pick(batch))
