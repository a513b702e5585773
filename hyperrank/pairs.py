"""Sets of (query, candidate) pairs, sorted and resident on one device."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse
import torch
from jaxtyping import Bool, Int
from torch import Tensor


@dataclass(frozen=True, eq=False)
class PairSet:
    """A set of (query, candidate) pairs on one device.

    Costs 8 bytes a pair, and as much again for each of ``queries``, ``candidates`` once asked for.
    """

    keys: Int[Tensor, " nnz"]  # query * n_candidates + candidate, strictly increasing
    n_queries: int
    n_candidates: int

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def device(self) -> torch.device:
        """Where the pairs live."""
        return self.keys.device

    @cached_property
    def queries(self) -> Int[Tensor, " nnz"]:
        """Query of each pair, nondecreasing."""
        return self.keys // max(self.n_candidates, 1)

    @cached_property
    def candidates(self) -> Int[Tensor, " nnz"]:
        """Candidate of each pair, increasing within a query."""
        return self.keys % max(self.n_candidates, 1)

    @cached_property
    def starts(self) -> Int[Tensor, " n_queries_plus_1"]:
        """Row pointers: the pairs of query q are those from ``starts[q]`` to ``starts[q + 1]``."""
        edges = torch.arange(self.n_queries + 1, device=self.device) * self.n_candidates
        return torch.searchsorted(self.keys, edges)

    @cached_property
    def query_degrees(self) -> Int[Tensor, " n_queries"]:
        """Pairs of each query."""
        return self.starts.diff()

    @cached_property
    def candidate_degrees(self) -> Int[Tensor, " n_candidates"]:
        """Pairs of each candidate."""
        return torch.bincount(self.candidates, minlength=self.n_candidates)

    def to(self, device: torch.device | str) -> PairSet:
        """The same set on ``device``; itself when it is there already."""
        if torch.device(device) == self.device:
            return self
        return PairSet(self.keys.to(device), self.n_queries, self.n_candidates)

    def find(
        self, query: Int[Tensor, "*shape"], candidate: Int[Tensor, "*shape"]
    ) -> Int[Tensor, "*shape"]:
        """Position of each pair in ``keys``, -1 where it is absent; one binary search each."""
        if not len(self.keys):
            return torch.full_like(query, -1)
        wanted = query * self.n_candidates + candidate
        spot = torch.searchsorted(self.keys, wanted).clamp_max(len(self.keys) - 1)
        return torch.where(self.keys[spot] == wanted, spot, -1)

    def contains(
        self, query: Int[Tensor, "*shape"], candidate: Int[Tensor, "*shape"]
    ) -> Bool[Tensor, "*shape"]:
        """Membership, elementwise; one binary search per element."""
        return self.find(query, candidate) >= 0

    def rows(self, query: Int[Tensor, " b"]) -> tuple[Int[Tensor, " p"], Int[Tensor, " p"]]:
        """For every pair of these queries: position in ``query``, and candidate."""
        position, spot = self.row_spots(query)
        return position, self.keys[spot] % max(self.n_candidates, 1)

    def row_spots(self, query: Int[Tensor, " b"]) -> tuple[Int[Tensor, " p"], Int[Tensor, " p"]]:
        """For every pair of these queries: position in ``query``, and position in ``keys``."""
        low, high = self.starts[query], self.starts[query + 1]
        count = high - low
        position = torch.repeat_interleave(torch.arange(len(query), device=query.device), count)
        first = torch.repeat_interleave(low - (count.cumsum(0) - count), count)
        return position, first + torch.arange(len(position), device=query.device)

    def select(self, chosen: Tensor) -> PairSet:
        """The pairs at ``chosen``: a mask over ``keys``, or increasing positions in it."""
        return PairSet(self.keys[chosen], self.n_queries, self.n_candidates)

    def resize(self, *, n_queries: int, n_candidates: int) -> PairSet:
        """The same pairs among more queries or candidates.

        Raises:
            ValueError: If either number shrinks.
        """
        if n_queries < self.n_queries or n_candidates < self.n_candidates:
            raise ValueError(
                f"cannot shrink {self.n_queries} x {self.n_candidates} pairs to "
                f"{n_queries} x {n_candidates}; rows only grow"
            )
        if n_candidates == self.n_candidates:
            return PairSet(self.keys, n_queries, n_candidates)
        keys = self.queries * n_candidates + self.candidates
        return PairSet(keys, n_queries, n_candidates)

    def union(self, other: PairSet) -> PairSet:
        """Pairs of either set; one pass over the larger, which is not sorted again.

        Raises:
            ValueError: If the sets are of different sizes.
        """
        self._check_same_sizes(other)
        few, many = (self, other) if len(self) < len(other) else (other, self)
        fresh = few.difference(many).keys
        keys = many.keys.new_empty(len(many) + len(fresh))
        place = torch.searchsorted(many.keys, fresh)
        place += torch.arange(len(fresh), device=place.device)
        old = torch.ones(len(keys), dtype=torch.bool, device=keys.device)
        old[place] = False
        keys[place], keys[old] = fresh, many.keys
        return PairSet(keys, self.n_queries, self.n_candidates)

    def difference(self, other: PairSet) -> PairSet:
        """Pairs of this set that are not in ``other``.

        Raises:
            ValueError: If the sets are of different sizes.
        """
        self._check_same_sizes(other)
        return self.select(~other.contains(self.queries, self.candidates))

    def _check_same_sizes(self, other: PairSet) -> None:
        mine, theirs = (
            (self.n_queries, self.n_candidates),
            (other.n_queries, other.n_candidates),
        )
        if mine != theirs:
            raise ValueError(
                f"these sets are of different sizes, {mine} and {theirs} (queries, candidates); "
                "resize both to one vocabulary first"
            )

    def transpose(self) -> PairSet:
        """Candidates as queries and queries as candidates; one sort."""
        keys = torch.sort(self.candidates * self.n_queries + self.queries).values
        return PairSet(keys, self.n_candidates, self.n_queries)

    def to_csr(self, values: Tensor | None = None) -> Tensor:
        """Torch CSR matrix, queries x candidates, of ``values`` (ones by default)."""
        if values is None:
            values = torch.ones(len(self.keys), device=self.device)
        size = (self.n_queries, self.n_candidates)
        return torch.sparse_csr_tensor(
            self.starts, self.candidates, values, size, check_invariants=False
        )

    def to_scipy(self, values: Tensor | None = None) -> scipy.sparse.csr_array:
        """SciPy CSR array, queries x candidates, of ``values`` (float32 ones by default)."""
        data = np.ones(len(self.keys), dtype=np.float32) if values is None else values.cpu().numpy()
        return scipy.sparse.csr_array(
            (data, self.candidates.cpu().numpy(), self.starts.cpu().numpy()),
            shape=(self.n_queries, self.n_candidates),
        )


def pair_set(
    query: Int[Tensor, " n"], candidate: Int[Tensor, " m"], *, n_queries: int, n_candidates: int
) -> PairSet:
    """Pairs from two aligned vectors; duplicates collapse.

    Raises:
        ValueError: If the vectors differ in length, if a number is negative or beyond its bound,
            or if the keys would not fit 63 bits.
    """
    if len(query) != len(candidate):
        raise ValueError(f"got {len(query)} queries but {len(candidate)} candidates")
    if n_queries * n_candidates >= 2**63:
        raise ValueError(
            f"{n_queries} queries x {n_candidates} candidates exceed 2**63 possible pairs"
        )
    for name, column, bound in (
        ("query", query, n_queries),
        ("candidate", candidate, n_candidates),
    ):
        low, high = (int(column.min()), int(column.max())) if len(column) else (0, -1)
        if low < 0 or high >= bound:
            raise ValueError(
                f"{name} numbers run from {low} to {high}, but only 0..{bound - 1} exist; "
                "extend the vocabulary first"
            )
    keys = torch.unique(query.long() * n_candidates + candidate.long())
    return PairSet(keys, n_queries, n_candidates)
