"""Ranks of true candidates among all others, by counting; nothing is sorted or sampled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from hyperrank.pairs import PairSet
from hyperrank.products import fast_products
from hyperrank.retrieval import queries_at_once

Ties: TypeAlias = Literal["optimistic", "realistic", "pessimistic"]

COUNTED_AT_ONCE = {"cpu": 2**18, "cuda": 2**26}  # 1 MB, which stays in cache; 256 MB
# what stands before the target, as a mean of counts; both orders of a tie are equally likely
AHEAD: dict[str, tuple[Callable[..., Any], ...]] = {
    "optimistic": (torch.gt,),
    "realistic": (torch.gt, torch.ge),
    "pessimistic": (torch.ge,),
}


@torch.no_grad()
def ranks(
    score: Callable[[Int[Tensor, " b"]], Float[Tensor, "b n"]],
    truth: PairSet,
    known: PairSet | None = None,
    *,
    ties: Ties = "realistic",
    alike: Shaped[Tensor, " n_queries"] | None = None,
    chunk: int | None = None,
) -> Float[Tensor, " n_true"]:
    """1-based rank of each true candidate among those neither known nor true, as in ``truth.keys``.

    A query's other truths are hidden, as in filtered ranking. Every query is scored once, and a
    pair costs one or two readings of its row. The target's score is read from the same block as its
    rivals', so that a tie is a tie. Memory beside the sets: ``chunk`` rows of scores, and at most
    as much again for those that are hidden.

    Args:
        score: Gives the scores of all candidates for some queries, with the sets and on their
            device; higher is better. What it returns is not written to.
        truth: Pairs to rank.
        known: Pairs to hide; the pair being ranked is never hidden.
        ties: A competitor of equal score counts as below ("optimistic"), above ("pessimistic"), or
            one half of each ("realistic"), the mean over all orders of the tie.
        alike: A label for each query; those of equal label are scored together where they can be,
            which helps a ``score`` that shares work between them.
        chunk: Queries at once; by default as ``top_k`` has it.

    Raises:
        ValueError: If there is no true pair, a score is NaN, ``ties`` or ``chunk`` is none of
            these, or the sets are of another size than the scores.
    """
    if ties not in AHEAD:
        raise ValueError(f"ties must be one of {', '.join(AHEAD)}, got {ties!r}")
    if chunk is not None and chunk < 1:
        raise ValueError(f"chunk must be at least 1 query, got {chunk}")
    if not len(truth):
        raise ValueError("nothing to rank: truth holds no pairs")
    hidden = truth if known is None else truth.union(known.to(truth.device))
    rank = torch.empty(len(truth), dtype=torch.float64, device=truth.device)
    asked = _most_truths_first(truth, alike)
    chunk = chunk or queries_at_once(truth.n_candidates, truth.device)
    count = _Count(truth)
    for start in range(0, len(asked), chunk):
        query = asked[start : start + chunk]
        with fast_products():
            scores = score(query)
        _check(scores, truth)
        left_out = _gathered(scores, hidden, query)
        degree = truth.query_degrees[query].cpu()
        for turn in range(int(degree[0])):  # the turn-th truth of all queries that have so many
            rows = slice(int((degree > turn).sum()))
            spot = truth.starts[query[rows]] + turn
            target = scores[rows].gather(1, truth.candidates[spot, None])
            counts = [
                count(ahead, scores[rows], target) - count(ahead, left_out[rows], target)
                for ahead in AHEAD[ties]
            ]
            rank[spot] = 1 + sum(counts) / len(counts)
    return rank


def _most_truths_first(
    truth: PairSet, alike: Shaped[Tensor, " n_queries"] | None
) -> Int[Tensor, " q"]:
    """Queries that have truth; so the ones with many are the first rows of few blocks."""
    asked = torch.nonzero(truth.query_degrees).squeeze(1)
    if alike is not None:
        asked = asked[alike.to(asked.device)[asked].argsort(stable=True)]
    return asked[truth.query_degrees[asked].argsort(descending=True, stable=True)]


def _check(scores: Float[Tensor, "b n"], truth: PairSet) -> None:
    if scores.shape[1] != truth.n_candidates:
        raise ValueError(
            f"score gave {scores.shape[1]} candidates, but truth has {truth.n_candidates}; "
            "use the numbers that the model was fitted on"
        )
    if scores.amax().isnan():  # NaN compares false, so every rank would look perfect
        raise ValueError("score returned NaN; check the fitted tables before ranking")


def _gathered(
    scores: Float[Tensor, "b n"], pairs: PairSet, query: Int[Tensor, " b"]
) -> Float[Tensor, "b w"]:
    """Scores of each query's pairs, NaN where it has fewer than another: ahead of nothing."""
    width = int(pairs.query_degrees[query].max())
    found = scores.new_full((len(query), width), torch.nan)
    position, spot = pairs.row_spots(query)
    place = spot - pairs.starts[query][position]
    found[position, place] = scores[position, pairs.keys[spot] % pairs.n_candidates]
    return found


class _Count:
    """How many entries of each row of a table pass a comparison.

    Ones are written into a small buffer and summed as floats, which a CPU does 4 times as fast as
    booleans, and a quarter faster than through a buffer that leaves the cache.
    """

    def __init__(self, truth: PairSet) -> None:
        cells = COUNTED_AT_ONCE.get(truth.device.type, COUNTED_AT_ONCE["cpu"])
        exact = torch.float32 if truth.n_candidates <= 2**24 else torch.float64
        size = max(cells, truth.n_candidates)
        self.buffer = torch.empty(size, dtype=exact, device=truth.device)

    def __call__(
        self, ahead: Callable[..., Any], table: Float[Tensor, "r w"], target: Float[Tensor, "r 1"]
    ) -> Float[Tensor, " r"]:
        counts, rows = [], len(self.buffer) // table.shape[1]
        for part, limit in zip(table.split(rows), target.split(rows), strict=True):
            passed = self.buffer[: part.numel()].view(part.shape)
            ahead(part, limit, out=passed)
            counts.append(passed.sum(1))
        return torch.cat(counts).double()
