"""A fitted scorer of hyperbolic distances; its methods are those of ``hyperrank.scorers``."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from hyperrank.hyperbolic import distance, distances


class Distances(nn.Module):
    """Offsets less geodesic distances of hyperboloid points: ``offset - d(queries[q], .)``.

    Points are space parts on the unit hyperboloid, as in ``hyperrank.hyperbolic``.
    """

    queries: Float[Tensor, "n_queries dim"]
    candidates: Float[Tensor, "n_candidates dim"]
    offset: Float[Tensor, " n_candidates"]

    def __init__(
        self,
        queries: Float[Tensor, "n_queries dim"],
        candidates: Float[Tensor, "n_candidates dim"],
        offset: Float[Tensor, " n_candidates"],
    ) -> None:
        super().__init__()
        self.register_buffer("queries", queries)
        self.register_buffer("candidates", candidates)
        self.register_buffer("offset", offset)

    def score(self, query: Int[Tensor, " b"]) -> Float[Tensor, "b n"]:
        """One matrix product; near neighbours to the limits of ``hyperbolic.distances``."""
        return self.offset - distances(self.queries[query], self.candidates, curvature=-1.0)

    def score_pairs(
        self, query: Int[Tensor, " p"], candidate: Int[Tensor, " p"]
    ) -> Float[Tensor, " p"]:
        """Offset less distance, row by row."""
        apart = distance(self.queries[query], self.candidates[candidate], curvature=-1.0)
        return self.offset[candidate] - apart

    def contributions(
        self,
        query: Int[Tensor, " 1"],
        candidate: Int[Tensor, " 1"],
        history: Int[Tensor, " h"],
    ) -> Float[Tensor, " h"]:
        """Zeros: a distance is no sum over a history."""
        del query, candidate
        return self.offset.new_zeros(len(history))

    def candidate_similarity(self) -> Distances:
        """Less distances of candidates."""
        return Distances(self.candidates, self.candidates, torch.zeros_like(self.offset))

    def query_similarity(self) -> Distances:
        """Less distances of queries."""
        return Distances(self.queries, self.queries, self.queries.new_zeros(len(self.queries)))
