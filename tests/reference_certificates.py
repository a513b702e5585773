"""Slow, exact versions of what certifies a list: rational numbers, a pair at a time."""

from __future__ import annotations

import math
from fractions import Fraction


def _product(left, right):
    return sum((Fraction(x) * Fraction(y) for x, y in zip(left, right, strict=True)), Fraction(0))


def pair_squares(query, rows, offset, chosen, others):
    """The squares of the ratios of ``chosen`` (rows) to ``others``; 0 for what is not in order."""

    def score(j):
        return _product(query, rows[j]) + Fraction(offset[j])

    table = []
    for i in chosen:
        line = []
        for j in others:
            margin = score(i) - score(j)
            apart = [Fraction(x) - Fraction(y) for x, y in zip(rows[i], rows[j], strict=True)]
            square = _product(apart, apart)
            if margin <= 0:
                line.append(Fraction(0))
            else:
                line.append(margin**2 / square if square else math.inf)
        table.append(line)
    return table


def certified_plain(query, rows, offset, chosen, others):
    """Squares of radius and radius_2k, exactly; ``others`` are the candidates left outside."""
    k, table = len(chosen), pair_squares(query, rows, offset, chosen, others)
    if not others:
        return math.inf, math.inf
    radius = min(min(line) for line in table)
    if len(others) <= k:
        return radius, math.inf
    return radius, min(sorted(line)[k] for line in table)
