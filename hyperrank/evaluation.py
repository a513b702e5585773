"""The judge: tables of hits, bootstrap intervals, paired tests. Ranks stand in ``ranking``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int, Shaped, UInt8
from torch import Tensor

from hyperrank.devices import seeded
from hyperrank.metrics import Hits
from hyperrank.pairs import PairSet
from hyperrank.retrieval import top_k
from hyperrank.scorers import Scorer

CELLS_AT_ONCE = 2**22  # of draws: at most 70 MB of temporaries


def top_k_hits(
    scorer: Scorer,
    truth: PairSet,
    k: int,
    *,
    known: PairSet | None = None,
    allowed: Int[Tensor, " a"] | None = None,
    chunk: int | None = None,
) -> Hits:
    """The ``k`` best unknown candidates of every query that has truth, and which are true.

    Serves every metric at k or less. Queries rise. All sets are on the scorer's numbers; a truth
    that is also known cannot be listed and is a miss.

    Raises:
        ValueError: As ``top_k``.
    """
    query = torch.nonzero(truth.query_degrees).squeeze(1)
    best = top_k(scorer, query, k, known=known, allowed=allowed, chunk=chunk).candidates
    truth, query = truth.to(best.device), query.to(best.device)
    hit = truth.contains(query[:, None].expand_as(best), best.clamp_min(0)) & (best >= 0)
    return Hits(query, best, hit, truth.query_degrees[query])


@dataclass(frozen=True)
class Resampling:
    """How intervals and p-values are drawn.

    Attributes:
        level: Of the intervals.
        draws: Bootstrap resamples of the queries.
        flips: Sign flips of a paired test; no p-value is below 1 / (flips + 1).
        random_state: Seed of both.
    """

    level: float = 0.95
    draws: int = 1000
    flips: int = 10_000
    random_state: int = 0


RESAMPLING = Resampling()


class Interval(NamedTuple):
    """Bounds of the mean of each column."""

    low: Float[Tensor, " m"]
    high: Float[Tensor, " m"]


def bootstrap_interval(
    values: Float[Tensor, "q m"],
    *,
    generator: torch.Generator,
    weights: Shaped[Tensor, " q"] | None = None,
    resamples: int = 1000,
    level: float = 0.95,
) -> Interval:
    """Percentile interval of each column's mean, queries resampled with replacement.

    With ``weights``, of the weighted mean: a query asked three times has weight 3 and its own mean
    as value, and is drawn whole. NaN values are left out, in the resamples as in the mean. All
    columns see the same resamples. Draws q numbers a resample, in blocks that bound the memory. NaN
    for fewer than two values: one query says nothing about the spread. Below some twenty queries
    percentile intervals are too narrow.

    Raises:
        ValueError: If ``level`` is not inside (0, 1) or ``resamples`` is below 2.
    """
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}")
    if resamples < 2:
        raise ValueError(f"resamples must be at least 2, got {resamples}")
    n, device = len(values), values.device
    there = ~values.isnan()
    if n < 2:
        nothing = torch.full((values.shape[1],), torch.nan, dtype=torch.float64, device=device)
        return Interval(nothing, nothing.clone())
    both = torch.cat([values.nan_to_num(0.0).double(), there.double()], dim=1)
    if weights is not None:
        both *= weights.double()[:, None]
    means = []
    step = max(1, CELLS_AT_ONCE // n)
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        drawn = torch.randint(n, (rows, n), generator=generator, device=generator.device)
        drawn += torch.arange(0, rows * n, n, device=drawn.device)[:, None]
        counts = torch.bincount(drawn.view(-1), minlength=rows * n).view(rows, n)
        total, count = (counts.double().to(device) @ both).chunk(2, dim=1)
        means.append(total / count)
    edges = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64, device=device)
    low, high = torch.nanquantile(torch.cat(means), edges, dim=0)
    too_few = there.sum(0) < 2
    return Interval(low.masked_fill(too_few, torch.nan), high.masked_fill(too_few, torch.nan))


def sign_flip_test(
    differences: Float[Tensor, "q m"], *, generator: torch.Generator, flips: int = 10_000
) -> Float[Tensor, " m"]:
    """Two-sided p-value of each column: could its mean be so far from 0 if signs were chance?

    The paired permutation test: under the hypothesis of no difference, each query's difference is
    as likely to have the other sign. Exact, over all 2^q signs, where these are no more than
    ``flips``; else Monte Carlo with the drawn one counted in, so never below 1 / (flips + 1). NaN
    differences are left out.

    Raises:
        ValueError: If ``flips`` is not positive.
    """
    if flips < 1:
        raise ValueError(f"flips must be at least 1, got {flips}")
    difference = differences.double().nan_to_num(0.0)
    difference = difference[(difference != 0).any(1)]  # a zero stays zero under any sign
    n, m = difference.shape
    total = difference.sum(0)
    # sums are compared with room for the rounding of sums in another order
    limit = total.abs() - 1e-9 * difference.abs().sum(0)
    exact = 2**n <= flips if n < 63 else False
    rounds = 2**n if exact else flips
    count = torch.zeros(m, dtype=torch.long, device=difference.device)
    step = max(1, CELLS_AT_ONCE // max(n, 1))
    for start in range(0, rounds, step):
        rows = min(step, rounds - start)
        if exact:
            number = torch.arange(start, start + rows, device=difference.device)
            bits = number[:, None] >> torch.arange(n, device=difference.device) & 1
        else:
            bits = _random_bits(rows, n, generator).to(difference.device)
        flipped = total - 2 * (bits.double() @ difference)
        count += (flipped.abs() >= limit).sum(0)
    return count.double() / rounds if exact else (count + 1).double() / (rounds + 1)


def _random_bits(rows: int, n: int, generator: torch.Generator) -> UInt8[Tensor, "rows n"]:
    """Fair bits, eight of each drawn byte."""
    device = generator.device
    size = (rows, -(-n // 8), 1)
    octets = torch.randint(256, size, dtype=torch.uint8, generator=generator, device=device)
    bits = octets >> torch.arange(8, dtype=torch.uint8, device=device) & 1
    return bits.flatten(1)[:, :n]


def paired_tests(
    values: Sequence[Float[Tensor, "q m"]], baseline: int, resampling: Resampling = RESAMPLING
) -> tuple[Float[Tensor, "models m"], Float[Tensor, "models m"]]:
    """P-values of every model's columns against those of the baseline, and Holm's for all together.

    NaN for the baseline itself.
    """
    p = torch.full((len(values), values[baseline].shape[1]), torch.nan, dtype=torch.float64)
    others = [number for number in range(len(values)) if number != baseline]
    adjusted = p.clone()
    if others and p.numel():
        gaps = torch.cat([values[number] - values[baseline] for number in others], dim=1)
        generator = seeded(resampling.random_state)
        found = sign_flip_test(gaps, generator=generator, flips=resampling.flips)
        p[others] = found.cpu().view(len(others), -1)
        adjusted[others] = holm(p[others].view(-1)).view(len(others), -1)
    return p, adjusted


def holm(p: Float[Tensor, " m"]) -> Float[Tensor, " m"]:
    """P-values adjusted for all m tests together, by Holm's step-down rule (Holm 1979).

    Rejecting where the result is at most alpha errs on any true hypothesis with chance at most
    alpha, whatever the dependence of the tests.
    """
    order = p.argsort()
    times = torch.arange(len(p), 0, -1, device=p.device)
    stepped = (p[order] * times).cummax(0).values.clamp_max(1.0) if len(p) else p
    adjusted = torch.empty_like(p)
    adjusted[order] = stepped
    return adjusted
