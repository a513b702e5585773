"""From what random probes of a map showed to a bound on its spectral norm that fails rarely.

A ``Calibration`` is one function: the norms ``|M_q w_j|`` of k Gaussian vectors under the
alternating product M_q = ... A A^T A of q factors, q, and the failure probability allowed. All
here rest on ``|M_q w| >= sigma^q |g|`` with g standard normal, for any map, and scale as the norms
to the power 1/q. Another estimator from the same evidence is one more such function.

For a start vector of uniform direction there are two more: what a run of Lanczos promises before
it begins (``lanczos_factor``), and what it certifies by its own coefficients (``krylov_bound``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

Calibration = Callable[[Sequence[float], int, float], float]


def halko(norms: Sequence[float], power: int, delta: float) -> float:
    """``(alpha sqrt(2/pi) max |M_q w_j|)^(1/q)`` with ``alpha = delta^(-1/k)``.

    Halko, Martinsson and Tropp 2011, lemma 4.1 (q = 1 there).
    """
    alpha = delta ** (-1 / len(norms))
    return float((alpha * math.sqrt(2 / math.pi) * max(norms)) ** (1 / power))


def half_normal(norms: Sequence[float], power: int, delta: float) -> float:
    """The sharp constant for the largest of k: ``(max |M_q w_j| / t)^(1/q)``, P(|g| < t)^k = delta.

    About a fifth below ``halko``.
    """
    from scipy.special import erfinv

    quantile = math.sqrt(2) * float(erfinv(delta ** (1 / len(norms))))
    return float((max(norms) / quantile) ** (1 / power))


def chi_square(norms: Sequence[float], power: int, delta: float) -> float:
    """``(sum |M_q w_j|^2 / t)^(1/2q)``, t the delta-quantile of chi-square with k degrees."""
    total = math.hypot(*norms)
    return float((total / math.sqrt(chi_square_quantile(delta, len(norms)))) ** (1 / power))


def chi_square_quantile(delta: float, degrees: int) -> float:
    """The t with ``P(chi-square < t) = delta``."""
    from scipy.special import gammaincinv

    return 2 * float(gammaincinv(degrees / 2, delta))


def overlap_quantile(delta: float, n: int) -> float:
    """The q with ``P(b^2 < q) = delta``, b one coordinate of a uniform unit vector in R^n.

    Its square is Beta(1/2, (n - 1)/2) distributed; for n = 1 it is 1.
    """
    from scipy.special import betaincinv

    return 1.0 if n == 1 else float(betaincinv(0.5, (n - 1) / 2, delta))


def lanczos_factor(products: int, n: int, delta: float) -> float:
    """Upper over lower bound after an odd number of Golub-Kahan products, whatever the matrix.

    ``cosh(arccosh(1 / sqrt(q)) / products)``, q the ``overlap_quantile``: the Chebyshev polynomial
    in the Rayleigh quotient; close to sharp for the worst spectrum.
    """
    return math.cosh(math.acosh(overlap_quantile(delta, n) ** -0.5) / products)


def krylov_bound(coefficients: Sequence[float], lowest: float, floor: float) -> float:
    """Largest sigma that a start vector of squared overlap above ``floor`` could have hidden.

    Golub-Kahan makes orthonormal vectors psi_i(A) v with ``c_(i+1) psi_(i+1) = x psi_i - c_i
    psi_(i-1)`` in the bidiagonal's entries c, psi_0 = 1; those of one side share a parity. The
    overlap of psi_i(A) v with the top singular vector of its side is psi_i(sigma) b, so by Bessel
    ``b^2 sum psi_i(sigma)^2 <= 1`` over either parity, and the sum grows beyond ``lowest``, the
    largest Ritz value. After Hochstenbach, "Probabilistic upper bounds for the matrix two-norm",
    J. Sci. Comput. 57 (2013); the sum where one polynomial would do is ours. Never above
    ``lanczos_factor`` times ``lowest``, and far below it where the spectrum has gaps.
    """

    def hidden(sigma: float) -> bool:
        return not exceeds(coefficients, sigma, 1 / floor)

    low, high = lowest, lowest
    while hidden(high):
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if hidden(middle) else (low, middle)
    return high


def exceeds(coefficients: Sequence[float], sigma: float, target: float) -> bool:
    """Whether either parity's ``sum psi_i(sigma)^2`` passes ``target``; see ``krylov_bound``."""
    last, before, sums = 1.0, 0.0, [1.0, 0.0]
    for index, c in enumerate(coefficients):
        now = (sigma * last - before) / c
        sums[(index + 1) % 2] += now * now
        if max(sums) > target:
            return True
        last, before = now, c * last
    return False
