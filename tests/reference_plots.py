"""Slow, obviously right versions of the numbers in pictures."""

from __future__ import annotations

import math

import numpy as np


def gini(counts: list[int]) -> float:
    """Half the mean difference of two draws, over the mean."""
    n = len(counts)
    gaps = sum(abs(a - b) for a in counts for b in counts)
    return gaps / (2 * n * n) / (sum(counts) / n)


def held_by_top(counts: list[int], popularity: list[int], most: int) -> float:
    """Share of all counts that the most popular hold; the first of equals first."""
    order = sorted(range(len(counts)), key=lambda row: -popularity[row])
    return sum(counts[row] for row in order[:most]) / sum(counts)


def effective_rank(table: np.ndarray) -> float:
    """The exponential of the entropy of the singular values' shares."""
    values = np.linalg.svd(table, compute_uv=False)
    entropy = 0.0
    for value in values:
        share = value / sum(values)
        if share > 0:
            entropy -= share * math.log(share)
    return math.exp(entropy)


def rank_of_energy(table: np.ndarray, energy: float) -> int:
    """The least number of singular values with that share of all squares."""
    squares = [value**2 for value in np.linalg.svd(table, compute_uv=False)]
    for rank in range(1, len(squares) + 1):
        if sum(squares[:rank]) >= energy * sum(squares):
            return rank
    return len(squares)


def spearman(a: list[float], b: list[float]) -> float:
    """Pearson's correlation of ranks, equals sharing their mean rank."""

    def ranks(values: list[float]) -> list[float]:
        return [
            sum(other < one for other in values) + (sum(other == one for other in values) + 1) / 2
            for one in values
        ]

    return float(np.corrcoef(ranks(a), ranks(b))[0, 1])


def quartiles(
    degree: list[int], value: list[float], bins: int, least: int
) -> list[tuple[float, float, float, float]]:
    """Geometric mean of the degrees and quartiles of the values, bin by logarithmic bin."""
    low, high = math.log(min(degree)), math.log(max(degree))
    of_bin: list[list[int]] = [[] for _ in range(bins)]
    for row, one in enumerate(degree):
        place = int((math.log(one) - low) / (high - low) * bins) if high > low else bins - 1
        of_bin[min(place, bins - 1)].append(row)
    return [
        (
            math.exp(sum(math.log(degree[row]) for row in rows) / len(rows)),
            *(float(np.quantile([value[row] for row in rows], q)) for q in (0.25, 0.5, 0.75)),
        )
        for rows in of_bin
        if len(rows) >= least
    ]
