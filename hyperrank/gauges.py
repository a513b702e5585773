"""Tables that rank alike: the same scores, up to a number for each query, by shorter vectors."""

from __future__ import annotations

import torch

from hyperrank.scorers import Factors


@torch.no_grad()
def balanced(factors: Factors) -> Factors:
    """The tables of least size that rank every query's candidates as ``factors`` do.

    Rankings know a product of tables U V^T up to one number for each query, and a product knows its
    tables up to U A, V A^-T. Of all these, the sum of squares is least, twice the nuclear norm,
    where the rows of V have mean zero (the projection that takes it away lowers the nuclear norm)
    and both tables have the same singular values on the same axes (Srebro, Rennie and Jaakkola
    2005, lemma 1). The axes come largest first; those of no weight are left out, so there are at
    most as many as before, and none of empty or zero tables. Scores are those of ``factors`` less
    each query's mean over candidates.

    A move of a given share of the vectors' length, such as the rounding of a quantized index or an
    adversary's, disturbs the rankings least where vectors are short: scores that all share a large
    constant, as those of logistic losses do, are the opposite.

    Costs (m + n) d^2 in float64, and two tables.
    """
    candidates = factors.candidates.double()
    left, left_rest = torch.linalg.qr(factors.queries.double())
    right, right_rest = torch.linalg.qr(candidates - candidates.mean(0))
    turn, sizes, other = torch.linalg.svd(left_rest @ right_rest.mT, full_matrices=False)
    kept = sizes > sizes[:1] * max(len(left), len(right)) * torch.finfo(torch.float64).eps
    roots = sizes[kept].sqrt()
    tables = left @ (turn[:, kept] * roots), right @ (other.mT[:, kept] * roots)
    return Factors(*(table.to(factors.queries.dtype) for table in tables)).eval()
