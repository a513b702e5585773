"""Exact top-k: the best candidates of each query, known ones left out, in blocks of queries."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from hyperrank.pairs import PairSet
from hyperrank.products import fast_products
from hyperrank.scorers import Factors, Scorer

# Scores held at once when ``chunk`` is not given: 12 MB of float32, which the reading passes find
# in cache (4 and 50 MB take 1.5 times as long), on the CPU; 1 GB, to amortize launches, on CUDA.
SCORES_AT_ONCE = {"cpu": 3 * 2**20, "cuda": 2**28}
ROWS_TOGETHER = 32  # chunks are multiples of it: the kernels of matrix products work on such tiles
TIED_AT_ONCE = 2**22  # scores in the slower reading of tied rows: about 50 MB of masks
BLOCK = 64  # candidates whose maximum stands for them all; 32 to 128 are equally fast


class TopK(NamedTuple):
    """The best candidates of each query, best first; equal scores by lower candidate number."""

    candidates: Int[Tensor, "q k"]  # -1 where a query has fewer than k candidates
    scores: Float[Tensor, "q k"]  # -inf there


@torch.no_grad()
def top_k(
    scorer: Scorer,
    query: Int[Tensor, " q"],
    k: int,
    *,
    known: PairSet | None = None,
    allowed: Int[Tensor, " a"] | None = None,
    chunk: int | None = None,
) -> TopK:
    """The ``k`` best candidates of each query, exactly.

    Runs on the device of the scorer's tensors. ``Factors`` are scored into one buffer that every
    chunk reuses; other scorers give each chunk, which is copied into it. Memory: ``chunk`` rows of
    scores. A candidate of score ``-inf`` is none.

    Args:
        scorer: What scores; higher is better.
        query: Query numbers, repeats and any order allowed.
        k: How many; may exceed the catalogue, and the rest is then filled with -1.
        known: Pairs to leave out, on the same query and candidate numbers as the scorer's.
        allowed: Candidate numbers to choose from; all by default.
        chunk: Queries at once; by default as many as keep the scores at 12 MB (CUDA: 1 GB).

    Raises:
        ValueError: If ``k`` or ``chunk`` is not positive, a number is out of range, ``known`` is of
            another size than the scores, or a score of a candidate in question is NaN.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    if chunk is not None and chunk < 1:
        raise ValueError(f"chunk must be at least 1 query, got {chunk}")
    device = _device(scorer, query)
    query = query.to(device)
    if not len(query):
        empty = torch.empty(0, k, device=device)
        return TopK(empty.long(), empty)
    block = _Block(scorer, query, known, allowed)
    chunk = chunk or queries_at_once(block.width, device)
    buffer = None
    parts = []
    for start in range(0, len(query), chunk):
        rows = query[start : start + chunk]
        if buffer is None:
            buffer = torch.empty(len(rows), block.width, dtype=block.dtype, device=device)
        with fast_products():
            scores = block.fill(rows, buffer[: len(rows)])
        parts.append(largest(scores, k))
    scores = torch.cat([part.scores for part in parts])
    return TopK(block.numbers(torch.cat([part.candidates for part in parts])), scores)


def queries_at_once(n_candidates: int, device: torch.device) -> int:
    """How many rows of scores are best held at once."""
    most = SCORES_AT_ONCE.get(device.type, SCORES_AT_ONCE["cpu"]) // max(n_candidates, 1)
    return max(1, most - most % ROWS_TOGETHER if most > ROWS_TOGETHER else most)


class _Block:
    """Scores of some queries for the candidates in question, known pairs at -inf."""

    def __init__(
        self,
        scorer: Scorer,
        query: Int[Tensor, " q"],
        known: PairSet | None,
        allowed: Int[Tensor, " a"] | None,
    ) -> None:
        self.scorer, self.device = scorer, query.device
        if isinstance(scorer, Factors):
            self.n_candidates, self.dtype = len(scorer.candidates), scorer.candidates.dtype
            _check_range("query", query, len(scorer.queries))
        else:
            first = scorer.score(query[:1])
            self.n_candidates = first.shape[1]
            self.dtype = torch.promote_types(first.dtype, torch.float32)
        self.known = self._checked(known, query)
        self.allowed, self.place = self._places(allowed)
        self.width = self.n_candidates if self.allowed is None else len(self.allowed)
        self.table = None  # the candidates' rows, transposed: what a product needs
        if isinstance(scorer, Factors):
            table = scorer.candidates
            self.table = (table if self.allowed is None else table[self.allowed]).T

    def _checked(self, known: PairSet | None, query: Int[Tensor, " q"]) -> PairSet | None:
        if known is None or not len(known):
            return None
        if known.n_candidates != self.n_candidates:
            raise ValueError(
                f"known holds pairs with {known.n_candidates} candidates, but the scorer scores "
                f"{self.n_candidates}; use the numbers that the scorer was fitted on"
            )
        _check_range("query", query, known.n_queries)
        return known.to(self.device)

    def _places(self, allowed: Int[Tensor, " a"] | None) -> tuple[Tensor | None, Tensor | None]:
        """The allowed candidates, rising, and each candidate's place among them (-1: none)."""
        if allowed is None:
            return None, None
        if not len(allowed):
            raise ValueError("allowed holds no candidate; pass None to allow all")
        _check_range("candidate", allowed, self.n_candidates)
        allowed = torch.unique(allowed.to(self.device))
        place = torch.full((self.n_candidates,), -1, device=self.device)
        place[allowed] = torch.arange(len(allowed), device=self.device)
        return allowed, place

    def fill(self, query: Int[Tensor, " b"], out: Float[Tensor, "b w"]) -> Float[Tensor, "b w"]:
        """Writes the scores into ``out``; returns it."""
        if isinstance(self.scorer, Factors) and self.table is not None:
            torch.mm(self.scorer.queries[query], self.table, out=out)
        else:
            scores = self.scorer.score(query)
            out.copy_(scores if self.allowed is None else scores[:, self.allowed])
        if self.known is not None:
            position, candidate = self.known.rows(query)
            if self.place is not None:
                candidate = self.place[candidate]
                position, candidate = position[candidate >= 0], candidate[candidate >= 0]
            out.view(-1).index_fill_(0, position * self.width + candidate, -torch.inf)
        return out

    def numbers(self, place: Int[Tensor, "q k"]) -> Int[Tensor, "q k"]:
        """Candidate numbers of places among the allowed; -1 stays."""
        if self.allowed is None:
            return place
        return torch.where(place >= 0, self.allowed[place.clamp_min(0)], -1)


def largest(scores: Float[Tensor, "b n"], k: int) -> TopK:
    """The ``k`` largest of each row, largest first; equal ones by lower column number.

    A passing maximum over blocks of columns finds the few blocks that can hold them, so a row
    costs about one reading of it. Ties that cross the k-th place cost a second, slower reading.

    Raises:
        ValueError: If a score among the largest is NaN; NaN counts as largest, so none hides.
    """
    n = scores.shape[1]
    if not n:
        return _padded(TopK(torch.empty_like(scores, dtype=torch.long), scores.clone()), k)
    value, index = _unordered_ties(scores, min(k + 1, n))
    if value[:, 0].isnan().any():
        bad = int(value[:, 0].isnan().sum())
        raise ValueError(
            f"the scores of {bad} of {len(scores)} queries hold NaN; the model has diverged or was "
            "fed NaN: fit it again with a lower learning rate or clean its tables"
        )
    real = value > -torch.inf
    equal = (value[:, 1:] == value[:, :-1]) & real[:, 1:]
    rows = equal.any(1).nonzero().squeeze(1)
    if len(rows):
        if k < n:
            across = rows[equal[rows, k - 1]]
            index[across, :k] = _lowest_of_ties(scores, across, value[across, k - 1], k)
        # lower numbers first, then a stable sort by value puts equal values in that order
        tied = index[rows, :k].sort(dim=1).values
        order = scores[rows[:, None], tied].sort(dim=1, descending=True, stable=True)
        index[rows, :k], value[rows, :k] = tied.gather(1, order.indices), order.values
    value, index, real = value[:, :k], index[:, :k], real[:, :k]
    return _padded(TopK(torch.where(real, index, -1), value), k)


def _unordered_ties(scores: Float[Tensor, "b n"], k: int) -> tuple[Tensor, Tensor]:
    """Values and columns of the ``k`` largest of each row, ties in no particular order.

    Columns j, j + m, j + 2m, ... make block j, of m; the k largest lie in the k blocks of
    largest maximum (or equal values do).
    """
    n = scores.shape[1]
    m = n // BLOCK
    if 2 * k > m:
        found = scores.topk(k, dim=1)
        return found.values, found.indices
    highest = scores[:, : m * BLOCK].reshape(-1, BLOCK, m).amax(1)
    blocks = highest.topk(k, dim=1, sorted=False).indices
    steps = torch.arange(0, m * BLOCK, m, device=scores.device)
    rest = torch.arange(m * BLOCK, n, device=scores.device).expand(len(scores), -1)
    columns = torch.cat([(blocks[:, :, None] + steps).flatten(1), rest], dim=1)
    found = scores.gather(1, columns).topk(k, dim=1)
    return found.values, columns.gather(1, found.indices)


def _lowest_of_ties(
    scores: Float[Tensor, "b n"], rows: Int[Tensor, " r"], edge: Float[Tensor, " r"], k: int
) -> Int[Tensor, "r k"]:
    """Columns of the k largest of ``rows``, of those equal to ``edge`` the lowest, rising."""
    found = torch.empty(len(rows), k, dtype=torch.long, device=scores.device)
    step = max(1, TIED_AT_ONCE // scores.shape[1])
    for start in range(0, len(rows), step):
        part, limit = scores[rows[start : start + step]], edge[start : start + step, None]
        level = part == limit
        above = part > limit
        room = k - above.sum(1, keepdim=True)
        chosen: Bool[Tensor, "p n"] = above | (level & (level.cumsum(1, dtype=torch.int32) <= room))
        found[start : start + step] = chosen.nonzero()[:, 1].view(-1, k)
    return found


def _padded(found: TopK, k: int) -> TopK:
    short = k - found.candidates.shape[1]
    if not short:
        return found
    pad = nn.functional.pad
    return TopK(
        pad(found.candidates, (0, short), value=-1), pad(found.scores, (0, short), value=-torch.inf)
    )


def _device(scorer: Scorer, query: Tensor) -> torch.device:
    """Where the scorer's tensors live; the query's device for a scorer without tensors."""
    if isinstance(scorer, nn.Module):
        for tensor in (*scorer.buffers(), *scorer.parameters()):
            return tensor.device
    return query.device


def _check_range(name: str, numbers: Int[Tensor, " n"], bound: int) -> None:
    low, high = int(numbers.min()), int(numbers.max())
    if low < 0 or high >= bound:
        raise ValueError(
            f"{name} numbers run from {low} to {high}, but only 0..{bound - 1} exist; "
            "look them up in the vocabulary first"
        )
