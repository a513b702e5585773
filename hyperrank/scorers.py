"""Fitted scorers: tensors that score every candidate for a block of queries.

Each is a module whose buffers are its whole state, so that ``state_dict`` saves it and
``cls(**tensors)`` restores it. Beside ``score`` each has:

- ``score_pairs(query, candidate)``: the same scores of single pairs, without the whole rows;
- ``contributions(query, candidate, history)``: what each candidate of a query's history adds to
  one score (``query`` and ``candidate`` hold one number);
- ``with_histories(pairs)``: the scorer of other queries, known by their histories only (all but
  ``Factors`` and ``Distances``, whose queries are learned);
- ``candidate_similarity()`` and ``query_similarity()``: a scorer of likeness within each side, or
  None where this kind knows none.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from hyperrank.distance_scorer import Distances  # noqa: F401  a saved model finds it here
from hyperrank.pairs import PairSet

SPAN_CUTOFF = 1e-4  # directions of a history weaker than this share of its strongest are noise
PAIR_SCORES_AT_ONCE = 1 << 24  # 64 MB of float32


@runtime_checkable
class Scorer(Protocol):
    """Anything that scores every candidate for a block of queries."""

    def score(self, query: Int[Tensor, " b"]) -> Float[Tensor, "b n"]:
        """Higher is better; scales need not compare across queries."""
        ...


class Factors(nn.Module):
    """Dot products of two tables: ``score(q) = queries[q] @ candidates.T``."""

    queries: Float[Tensor, "n_queries dim"]
    candidates: Float[Tensor, "n_candidates dim"]

    def __init__(
        self, queries: Float[Tensor, "n_queries dim"], candidates: Float[Tensor, "n_candidates dim"]
    ) -> None:
        super().__init__()
        self.register_buffer("queries", queries)
        self.register_buffer("candidates", candidates)

    def score(self, query: Int[Tensor, " b"]) -> Float[Tensor, "b n"]:
        """Dot products of the queries' rows with all candidate rows."""
        return self.queries[query] @ self.candidates.T

    def score_pairs(
        self, query: Int[Tensor, " p"], candidate: Int[Tensor, " p"]
    ) -> Float[Tensor, " p"]:
        """Dot products, row by row."""
        size = max(PAIR_SCORES_AT_ONCE // max(self.queries.shape[1], 1), 1)
        scores = self.queries.new_empty(len(query))
        for first in range(0, len(query), size):
            part = slice(first, first + size)
            scores[part] = (self.queries[query[part]] * self.candidates[candidate[part]]).sum(1)
        return scores

    def contributions(
        self,
        query: Int[Tensor, " 1"],
        candidate: Int[Tensor, " 1"],
        history: Int[Tensor, " h"],
    ) -> Float[Tensor, " h"]:
        """Terms of the score when the query's row is written as a sum over its history.

        The shortest least-squares combination, so the terms sum to the score exactly where the
        history's rows span the query's.
        """
        rows = self.candidates[history].double()
        inverse = torch.linalg.pinv(rows.T, rtol=SPAN_CUTOFF)
        share = inverse @ self.queries[query[0]].double()
        terms: Tensor = share * (rows @ self.candidates[candidate[0]].double())
        return terms.float()

    def candidate_similarity(self) -> Factors:
        """Cosines of candidate rows."""
        unit = nn.functional.normalize(self.candidates)
        return Factors(unit, unit)

    def query_similarity(self) -> Factors:
        """Cosines of query rows."""
        unit = nn.functional.normalize(self.queries)
        return Factors(unit, unit)


class Constant(nn.Module):
    """The same scores for every query."""

    values: Float[Tensor, " n_candidates"]

    def __init__(self, values: Float[Tensor, " n_candidates"]) -> None:
        super().__init__()
        self.register_buffer("values", values)

    def score(self, query: Int[Tensor, " b"]) -> Float[Tensor, "b n"]:
        """``values``, once per query."""
        return self.values.expand(len(query), -1)

    def score_pairs(
        self, query: Int[Tensor, " p"], candidate: Int[Tensor, " p"]
    ) -> Float[Tensor, " p"]:
        """``values`` of the candidates."""
        del query
        return self.values[candidate]

    def contributions(
        self,
        query: Int[Tensor, " 1"],
        candidate: Int[Tensor, " 1"],
        history: Int[Tensor, " h"],
    ) -> Float[Tensor, " h"]:
        """Zeros: no history matters."""
        del query, candidate
        return self.values.new_zeros(len(history))

    def with_histories(self, pairs: PairSet) -> Constant:
        """Itself: no history matters."""
        del pairs
        return self

    def candidate_similarity(self) -> None:
        """None: the values say nothing about likeness."""

    def query_similarity(self) -> None:
        """None: all queries are alike."""


class _HistoryScorer(nn.Module):
    """What scorers share that sum weights over the candidates of a query's history.

    ``starts`` and ``candidates`` are the row pointers and columns of the history matrix.
    """

    starts: Int[Tensor, " n_queries_plus_1"]
    candidates: Int[Tensor, " nnz"]

    def score(self, query: Int[Tensor, " b"]) -> Float[Tensor, "b n"]:
        raise NotImplementedError

    def _history(self, query: Int[Tensor, " b"]) -> tuple[Tensor, Tensor]:
        """First place of each query's history, and the histories end to end."""
        count = self.starts[query + 1] - self.starts[query]
        offset = count.cumsum(0) - count
        spot = torch.repeat_interleave(self.starts[query] - offset, count)
        spot = spot + torch.arange(len(spot), device=spot.device)
        return offset, self.candidates[spot]

    def score_pairs(
        self, query: Int[Tensor, " p"], candidate: Int[Tensor, " p"]
    ) -> Float[Tensor, " p"]:
        """Entries of ``score``; whole rows of the distinct queries are made in blocks."""
        result = torch.empty(len(query), device=query.device)
        distinct, place = torch.unique(query, return_inverse=True)
        order = torch.argsort(place)
        size = max(PAIR_SCORES_AT_ONCE // max(self.n_candidates, 1), 1)
        for first in range(0, len(distinct), size):
            last = first + size
            edges = torch.tensor([first, last], device=place.device)
            low, high = torch.searchsorted(place[order], edges).tolist()
            rows = order[low:high]
            block = self.score(distinct[first:last])
            result[rows] = block[place[rows] - first, candidate[rows]]
        return result

    @property
    def n_candidates(self) -> int:
        """Candidates that are scored."""
        raise NotImplementedError

    def query_similarity(self) -> None:
        """None: queries have no rows of their own."""


class HistoryWeights(_HistoryScorer):
    """Sums of candidate-candidate weights over a query's history: ``score(q) = x_q @ weights``.

    ``starts`` and ``candidates`` are the row pointers and columns of the history matrix X;
    ``weights`` is dense. Where it covers some candidates only, ``place`` holds the row of each
    candidate, -1 for those without: they score -inf, and X is over the others by their rows.
    """

    weights: Float[Tensor, "m m"]
    place: Int[Tensor, " n"] | None

    def __init__(
        self,
        starts: Int[Tensor, " n_queries_plus_1"],
        candidates: Int[Tensor, " nnz"],
        weights: Float[Tensor, "m m"],
        place: Int[Tensor, " n"] | None = None,
    ) -> None:
        super().__init__()
        self.register_buffer("starts", starts)
        self.register_buffer("candidates", candidates)
        self.register_buffer("weights", weights)
        self.register_buffer("place", place)

    @property
    def n_candidates(self) -> int:
        """Candidates that are scored."""
        return len(self.weights if self.place is None else self.place)

    def score(self, query: Int[Tensor, " b"]) -> Float[Tensor, "b n"]:
        """Rows of ``weights`` summed over the history."""
        offset, history = self._history(query)
        if not len(history):
            return self._spread(self.weights.new_zeros(len(query), len(self.weights)))
        return self._spread(nn.functional.embedding_bag(history, self.weights, offset, mode="sum"))

    def _spread(self, scores: Float[Tensor, "b m"]) -> Float[Tensor, "b n"]:
        """The scores of all candidates; -inf for those without weights."""
        if self.place is None:
            return scores
        spread = scores[:, self.place.clamp_min(0)]
        return spread.masked_fill_(self.place < 0, -torch.inf)

    def contributions(
        self,
        query: Int[Tensor, " 1"],
        candidate: Int[Tensor, " 1"],
        history: Int[Tensor, " h"],
    ) -> Float[Tensor, " h"]:
        """Weights from the history to the candidate; they sum to a score that is finite."""
        del query
        if self.place is None:
            return self.weights[history, candidate]
        row, column = self.place[history], self.place[candidate]
        weight = self.weights[row.clamp_min(0), column.clamp_min(0)]
        return weight.masked_fill((row < 0) | (column < 0), 0)

    def with_histories(self, pairs: PairSet) -> HistoryWeights:
        """The same weights over other histories, whose candidates are numbered as ``score``'s."""
        if self.place is None:
            return HistoryWeights(pairs.starts, pairs.candidates, self.weights)
        row = self.place[pairs.candidates]
        count = torch.cat([row.new_zeros(1), (row >= 0).cumsum(0)])
        return HistoryWeights(count[pairs.starts], row[row >= 0], self.weights, self.place)

    def candidate_similarity(self) -> WeightRows:
        """What each candidate in a history would add to every score."""
        return WeightRows(self)

    def weight_rows(self, candidate: Int[Tensor, " b"]) -> Float[Tensor, "b n"]:
        """What each candidate in a history would add to every score."""
        if self.place is None:
            return self.weights[candidate]
        row = self.place[candidate]
        scores = self._spread(self.weights[row.clamp_min(0)])
        return scores.masked_fill_((row < 0)[:, None], -torch.inf)


class NeighbourWeights(_HistoryScorer):
    """Sums over a query's history of the weights of each candidate's few neighbours.

    ``score(q) = x_q @ W`` with ``W[j, nearest[j]] = weight[j]`` and zero elsewhere; a filler weight
    is 0. A block costs its histories' length times the number of neighbours.
    """

    nearest: Int[Tensor, "n k"]
    weight: Float[Tensor, "n k"]

    def __init__(
        self,
        starts: Int[Tensor, " n_queries_plus_1"],
        candidates: Int[Tensor, " nnz"],
        nearest: Int[Tensor, "n k"],
        weight: Float[Tensor, "n k"],
    ) -> None:
        super().__init__()
        self.register_buffer("starts", starts)
        self.register_buffer("candidates", candidates)
        self.register_buffer("nearest", nearest)
        self.register_buffer("weight", weight)

    @property
    def n_candidates(self) -> int:
        """Candidates that are scored."""
        return len(self.nearest)

    def score(self, query: Int[Tensor, " b"]) -> Float[Tensor, "b n"]:
        """Neighbour weights added up over the history."""
        offset, history = self._history(query)
        position = torch.searchsorted(
            offset, torch.arange(len(history), device=offset.device), right=True
        )
        return self._scatter(position - 1, history, len(query))

    def weight_rows(self, candidate: Int[Tensor, " b"]) -> Float[Tensor, "b n"]:
        """What each candidate in a history would add to every score."""
        row = torch.arange(len(candidate), device=candidate.device)
        return self._scatter(row, candidate, len(candidate))

    def _scatter(self, row: Tensor, source: Tensor, n_rows: int) -> Float[Tensor, "b n"]:
        place = row[:, None] * self.n_candidates + self.nearest[source]
        total = self.weight.new_zeros(n_rows * self.n_candidates)
        total.index_add_(0, place.flatten(), self.weight[source].flatten())
        return total.view(n_rows, self.n_candidates)

    def contributions(
        self,
        query: Int[Tensor, " 1"],
        candidate: Int[Tensor, " 1"],
        history: Int[Tensor, " h"],
    ) -> Float[Tensor, " h"]:
        """Weights from the history to the candidate; they sum to the score."""
        del query
        return (self.weight[history] * (self.nearest[history] == candidate)).sum(1)

    def with_histories(self, pairs: PairSet) -> NeighbourWeights:
        """The same neighbours over other histories."""
        return NeighbourWeights(pairs.starts, pairs.candidates, self.nearest, self.weight)

    def candidate_similarity(self) -> WeightRows:
        """What each candidate in a history would add to every score."""
        return WeightRows(self)


class WeightRows(nn.Module):
    """Scores that are the rows of a scorer's weights."""

    def __init__(self, scorer: HistoryWeights | NeighbourWeights) -> None:
        super().__init__()
        self.scorer = scorer

    def score(self, query: Int[Tensor, " b"]) -> Float[Tensor, "b n"]:
        """The queries' rows, dense."""
        return self.scorer.weight_rows(query)


class PairCosine(nn.Module):
    """Cosines of the sets of candidates of two queries: ``|A and B| / sqrt(|A| |B|)``."""

    def __init__(self, pairs: PairSet) -> None:
        super().__init__()
        self.pairs, self.other = pairs, pairs.transpose()
        self.inverse = pairs.query_degrees.clamp_min(1).rsqrt()

    def score(self, query: Int[Tensor, " b"]) -> Float[Tensor, "b n"]:
        """Cosines with all queries; the cost is the number of two-step paths."""
        position, middle = self.pairs.rows(query)
        step, end = self.other.rows(middle)
        total = self.inverse.new_zeros(len(query) * self.pairs.n_queries)
        place = position[step] * self.pairs.n_queries + end
        total.index_add_(0, place, self.inverse[query[position[step]]] * self.inverse[end])
        return total.view(len(query), self.pairs.n_queries)
