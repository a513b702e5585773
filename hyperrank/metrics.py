"""Measures of recommendation lists: functions of a table of hits, one value per query.

``parse("recall@20")`` gives a ``Metric``; one table of the largest k serves all smaller ones.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy.sparse
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hyperrank import concentration
from hyperrank.pairs import PairSet


class Hits(NamedTuple):
    """Lists of candidates, best first, and which of them are true."""

    query: Int[Tensor, " q"]
    candidates: Int[Tensor, "q k"]  # -1 where a list has ended
    hit: Bool[Tensor, "q k"]
    n_truth: Int[Tensor, " q"]  # true candidates of each query, listed or not


PerQuery = Float[Tensor, " q"]


def recall(hits: Hits, k: int) -> PerQuery:
    """Hits among the first k over n_truth, as LightGCN and UltraGCN have it.

    Below 1 for more than k truths even when every place is a hit; ``recall_capped`` is not.
    """
    return hits.hit[:, :k].sum(1).double() / hits.n_truth


def recall_capped(hits: Hits, k: int) -> PerQuery:
    """Hits among the first k over min(k, n_truth), as the multinomial VAE's papers have it."""
    return hits.hit[:, :k].sum(1).double() / hits.n_truth.clamp_max(k)


def precision(hits: Hits, k: int) -> PerQuery:
    """Hits among the first k over k, also where fewer than k candidates were left."""
    return hits.hit[:, :k].sum(1).double() / k


def hit_rate(hits: Hits, k: int) -> PerQuery:
    """1 where any of the first k is true, else 0."""
    return hits.hit[:, :k].any(1).double()


def ndcg(hits: Hits, k: int) -> PerQuery:
    """Discounted gain of the first k over that of the best order of min(k, n_truth) truths.

    A hit at place p (from 1) gains 1 / log2(p + 1).
    """
    gain = 1 / torch.arange(2, k + 2, device=hits.hit.device).double().log2()
    ideal = gain.cumsum(0)[hits.n_truth.clamp(1, k) - 1]
    found = hits.hit[:, :k].double()
    return found @ gain[: found.shape[1]] / ideal


def reciprocal_rank(hits: Hits, k: int) -> PerQuery:
    """1 over the place of the first hit among the first k; 0 without a hit."""
    found = hits.hit[:, :k]
    first = found.double().argmax(1) if found.shape[1] else torch.zeros_like(hits.n_truth)
    return torch.where(found.any(1), 1.0 / (first + 1).double(), 0.0)


def average_precision(hits: Hits, k: int) -> PerQuery:
    """Mean over all n_truth truths of the precision at their places, 0 beyond k, as in trec_eval.

    ``map_capped`` divides by min(k, n_truth) instead.
    """
    return _precisions(hits, k) / hits.n_truth


def average_precision_capped(hits: Hits, k: int) -> PerQuery:
    """Sum of the precisions at the hits among the first k, over min(k, n_truth)."""
    return _precisions(hits, k) / hits.n_truth.clamp_max(k)


def _precisions(hits: Hits, k: int) -> PerQuery:
    found = hits.hit[:, :k].double()
    place = torch.arange(1, found.shape[1] + 1, device=found.device)
    return (found * found.cumsum(1) / place).sum(1)


def popularity(hits: Hits, k: int, history: PairSet) -> PerQuery:
    """Mean number of queries in whose history a listed candidate stands."""
    return _mean_listed(hits, k, history.candidate_degrees.double())


def popularity_lift(hits: Hits, k: int, history: PairSet) -> PerQuery:
    """``popularity`` of the list over that of the query's own history; NaN without history.

    1 means as popular as what the query knows, 2 twice as popular: the bias of the model.
    """
    degree = history.candidate_degrees.double()
    total = torch.zeros(history.n_queries, dtype=torch.float64, device=degree.device)
    total.index_add_(0, history.queries, degree[history.candidates])
    known = hits.query < history.n_queries
    query = torch.where(known, hits.query, 0)
    own = torch.where(known, total[query] / history.query_degrees[query], torch.nan)
    return popularity(hits, k, history) / own


def novelty(hits: Hits, k: int, history: PairSet) -> PerQuery:
    """Mean of -log2(degree / n_queries) over the listed candidates, in bits.

    A candidate that stands in no history counts as one that stands in one.
    """
    share = history.candidate_degrees.clamp_min(1).double() / max(history.n_queries, 1)
    return _mean_listed(hits, k, -share.log2())


def _mean_listed(hits: Hits, k: int, value: Float[Tensor, " n"]) -> PerQuery:
    """Mean value of the first k listed candidates; NaN for an empty list."""
    listed = hits.candidates[:, :k]
    there = listed >= 0
    total = torch.where(there, value[listed.clamp_min(0)], 0.0).sum(1)
    return total / there.sum(1)


def diversity(hits: Hits, k: int, history: PairSet) -> PerQuery:
    """1 - mean cosine between the sets of queries of two listed candidates, over all pairs.

    NaN for lists of fewer than two. Computed on the host; a list costs the sum of its candidates'
    degrees.
    """
    listed = hits.candidates[:, :k].cpu().numpy()
    matrix = history.to_scipy().T.tocsr()
    degree = np.diff(matrix.indptr)
    matrix.data = np.repeat(1 / np.sqrt(degree.clip(1)), degree)
    cosines = np.full(len(listed), np.nan)
    for start in range(0, len(listed), 1024):
        part = listed[start : start + 1024]
        row, place = (part >= 0).nonzero()
        chosen = part[row, place]
        shape = (len(part), history.n_candidates)
        lists = scipy.sparse.csr_array((np.ones(len(row)), (row, chosen)), shape=shape)
        sums = lists @ matrix  # the norm of a sum of unit rows holds every cosine between them
        squares = sums.power(2).sum(1) - np.bincount(row, degree[chosen] > 0, len(part))
        length = np.bincount(row, minlength=len(part))
        enough = length > 1
        cosines[start : start + 1024][enough] = (squares / (length * (length - 1.0)).clip(1))[
            enough
        ]
    return torch.from_numpy(1 - cosines).to(hits.candidates.device)


def coverage(hits: Hits, k: int, history: PairSet) -> Float[Tensor, ""]:
    """Share of the catalogue that stands among the first k of any list."""
    return (_exposure(hits, k, history) > 0).double().mean()


def gini(hits: Hits, k: int, history: PairSet) -> Float[Tensor, ""]:
    """Gini coefficient of how often each candidate of the catalogue is listed.

    0 when all are listed equally often, (n - 1) / n when one takes every place; NaN without lists.
    """
    return concentration.gini(_exposure(hits, k, history))


def _exposure(hits: Hits, k: int, history: PairSet) -> Int[Tensor, " n"]:
    listed = hits.candidates[:, :k]
    return torch.bincount(listed[listed >= 0], minlength=history.n_candidates)


Judged = Callable[[Hits, int], Tensor]
Listed = Callable[[Hits, int, PairSet], Tensor]

OF_TRUTH: dict[str, Judged] = {  # one value per query with truth
    "recall": recall,
    "recall_capped": recall_capped,
    "precision": precision,
    "ndcg": ndcg,
    "hr": hit_rate,
    "mrr": reciprocal_rank,
    "map": average_precision,
    "map_capped": average_precision_capped,
}
OF_LISTS: dict[str, Listed] = {  # one value per query, whatever is true
    "popularity": popularity,
    "popularity_lift": popularity_lift,
    "novelty": novelty,
    "diversity": diversity,
}
OF_ALL_LISTS: dict[str, Listed] = {"coverage": coverage, "gini": gini}  # one value in all
NAMES = (*OF_TRUTH, *OF_LISTS, *OF_ALL_LISTS)


@dataclass(frozen=True)
class Metric:
    """A measure at a cutoff."""

    kind: str  # one of NAMES
    k: int

    def __str__(self) -> str:
        return f"{self.kind}@{self.k}"

    @property
    def is_mean(self) -> bool:
        """Whether it is a mean over queries; coverage and gini are of all lists together."""
        return self.kind not in OF_ALL_LISTS

    def values(self, hits: Hits, history: PairSet | None = None) -> Float[Tensor, " v"]:
        """The value of each query, NaN where it is not defined; one value in all for coverage.

        Args:
            hits: Lists of at least k places; shorter ones only where the catalogue is.
            history: Needed for measures of the lists alone: what the queries knew before.

        Raises:
            ValueError: If ``history`` is needed and absent.
        """
        if self.kind in OF_TRUTH:
            value = OF_TRUTH[self.kind](hits, self.k)
            return torch.where(hits.n_truth > 0, value, torch.nan)
        if history is None:
            raise ValueError(f"{self} needs the history of the queries; pass history=...")
        function = OF_LISTS.get(self.kind) or OF_ALL_LISTS[self.kind]
        return function(hits, self.k, history.to(hits.candidates.device)).reshape(-1)

    def mean(self, hits: Hits, history: PairSet | None = None) -> float:
        """Mean over the queries where it is defined; NaN when there is none."""
        return float(self.values(hits, history).nanmean())


def parse(name: str) -> Metric:
    """The metric that a name such as ``"recall@20"`` means; capitals do not matter.

    Raises:
        ValueError: If there is no such metric or no cutoff, saying what there is.
    """
    matched = re.fullmatch(r"\s*([a-z_]+)\s*(?:@\s*(\d+))?\s*", str(name).lower())
    kind, cutoff = matched.groups() if matched else (str(name).lower(), None)
    if kind not in NAMES:
        near = difflib.get_close_matches(kind.split("@")[0], NAMES, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(
            f"unknown metric {name!r}; {hint}there are {', '.join(NAMES)}, each with a cutoff as "
            "in 'recall@20'"
        )
    if cutoff is None or int(cutoff) < 1:
        raise ValueError(f"metric {name!r} needs a cutoff of at least 1, as in '{kind}@20'")
    return Metric(kind, int(cutoff))


def parse_of_truth(name: str, what: str = "metric") -> Metric:
    """As ``parse``, for a measure of what is true: larger is better.

    Raises:
        ValueError: As ``parse``, or if the metric is of another kind; ``what`` names it then.
    """
    metric = parse(name)
    if metric.kind not in OF_TRUTH:
        raise ValueError(
            f"{what} must be a measure of what is true, one of {', '.join(OF_TRUTH)}, got {name!r}"
        )
    return metric


def parse_all(names: str | Sequence[str]) -> list[Metric]:
    """The metrics meant, each once; a single name is a list of one.

    Raises:
        ValueError: If there is none, or one is unknown.
    """
    found = list(
        dict.fromkeys(parse(name) for name in ([names] if isinstance(names, str) else names))
    )
    if not found:
        raise ValueError("no metric was named; give some, such as ['recall@20', 'ndcg@20']")
    return found
