"""Odd polynomials that send an interval of singular values close to 1.

A polynomial is a tuple of coefficients (c1, c3, c5, ...) of x, x^3, x^5, ...; a schedule is a list
of them, applied in order. Everything here is scalar arithmetic in double precision; what the
polynomials are for is in ``hyperrank.orthogonal``.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from torch import Tensor

Polynomial = tuple[float, ...]

DEGREES = (3, 5, 7)
# below this half-width the Remez system is singular in double precision: the alternation points of
# an odd polynomial differ in x^2 by less than the square root of the rounding unit
NARROW = 1e-3
LEAST = 1e-40  # of b and 1 / b: b^7 divides the coefficients, and doubles end near 1e-308 and 1e308
LEAST_RATIO = 1e-305  # a / b keeps its digits


class Minimax(NamedTuple):
    """The best polynomial on an interval and its largest distance from 1 there."""

    coefficients: Polynomial
    error: float


class Band(NamedTuple):
    """The interval [1 - error, 1 + error], with ``gap`` = 1 - error.

    Both are kept: ``error`` loses its digits in 1 - gap where the band is narrow, ``gap`` in
    1 - error where it almost reaches 0.
    """

    error: float
    gap: float


def minimax(a: float, b: float, degree: int = 3) -> Minimax:
    """The odd polynomial that stays closest to 1 on [a, b], and how close.

    Degree 3 has a closed form (CANS, arXiv:2506.10935), here rearranged to keep its digits on
    narrow intervals; degrees 5 and 7 come from Remez exchanges. Where b / a - 1 is below 2e-3,
    degrees 5 and 7 give the Taylor polynomial at the middle instead, with 4 and 8 times the least
    error; ``error`` is a bound on its own.

    Raises:
        ValueError: If not 0 < a <= b, b lies outside [1e-40, 1e40], a / b is below 1e-305, or the
            degree is not 3, 5 or 7.
    """
    _check_interval(a, b)
    _check_degree(degree)
    middle = a / 2 + b / 2
    best, _ = _about_one(Band((b - a) / 2 / middle, a / middle), degree)
    return Minimax(_stretched(best.coefficients, middle), best.error)


def minimax_schedule(a: float, b: float, degree: int = 3, steps: int = 7) -> list[Polynomial]:
    """Polynomials whose composition sends [a, b] close to 1, best for each interval in turn.

    Each is the minimax polynomial of the image of the interval under those before it, which
    also makes the composition the best of its kind (Amsel et al., arXiv:2505.16932).
    Costs of a step on an m x n matrix, m >= n: two products of m n^2 for degree 3, and one of n^3
    more for each further 2 degrees. Below ``a`` the composition rises from 0.

    Values above ``b`` are a hazard: where a is much smaller than b the first polynomial falls
    steeply through 0 just beyond b, and such a singular value comes out with the wrong sign.

    Raises:
        ValueError: As ``minimax``; or if ``steps`` is less than 1.
    """
    _check_steps(steps)
    _check_interval(a, b)
    _check_degree(degree)
    return [step.coefficients for step in _steps(a, b, degree, steps)]


def converging_schedule(
    a: float, b: float, degree: int = 3, *, error: float, most: int = 60
) -> list[Polynomial]:
    """The shortest minimax schedule that sends [a, b] within ``error`` of 1.

    At most ``most`` steps, also where rounding keeps the error from falling so far.

    Raises:
        ValueError: As ``minimax``; or if ``error`` is not positive.
    """
    if not error > 0:
        raise ValueError(f"error must be positive, got {error}")
    steps = minimax_steps(a, b, degree, most)
    enough = [number for number, step in enumerate(steps, 1) if step.error <= error]
    return [step.coefficients for step in steps[: enough[0] if enough else most]]


def minimax_steps(a: float, b: float, degree: int, steps: int) -> list[Minimax]:
    """``minimax_schedule`` with the error that is left after each step."""
    _check_steps(steps)
    _check_interval(a, b)
    _check_degree(degree)
    return _steps(a, b, degree, steps)


def delta_schedule(delta: float, steps: int = 7, degree: int = 3) -> list[Polynomial]:
    """The schedule on [0, 1] of steepest start whose large values end within ``delta`` of 1.

    For matrices whose small singular values nobody knows (CANS, arXiv:2506.10935):
    bisects for the smallest a such that ``minimax_schedule(a, 1, degree, steps)`` ends within
    ``delta``. Values below that a rise from 0, and stay below 1 - delta.

    Raises:
        ValueError: If ``delta`` is not between 0 and 1, ``steps`` is less than 1, the degree is
            not 3, 5 or 7, or so many steps reach below the smallest double.
    """
    if not 0 < delta < 1:
        raise ValueError(f"delta must lie strictly between 0 and 1, got {delta}")
    _check_steps(steps)
    _check_degree(degree)
    low, high = math.log(1e-300), 0.0  # of log a: the answer spans many orders of magnitude
    if _steps(math.exp(low), 1.0, degree, steps)[-1].error <= delta:
        raise ValueError(f"{steps} steps reach a {delta} band from any start; ask for fewer")
    for _ in range(100):  # halvings of a range of 690: down to neighbouring doubles
        middle = (low + high) / 2
        if _steps(math.exp(middle), 1.0, degree, steps)[-1].error <= delta:
            high = middle
        else:
            low = middle
    return minimax_schedule(math.exp(high), 1.0, degree, steps)


def with_margin(schedule: list[Polynomial], margin: float = 1.01) -> list[Polynomial]:
    """The schedule for values that rounding has put up to ``margin`` times beyond their interval.

    Every polynomial but the last is that of x / margin, as in Polar Express (arXiv:2505.16932). In
    bfloat16, whose numbers lie 0.8% apart, minimax schedules are unsafe without it.

    Raises:
        ValueError: If ``margin`` is below 1.
    """
    if margin < 1:
        raise ValueError(f"margin must be at least 1, got {margin}")
    return [*(_stretched(c, margin) for c in schedule[:-1]), *schedule[-1:]]


def evaluate(schedule: list[Polynomial], x: Tensor) -> Tensor:
    """What the schedule makes of each number in ``x``; the singular-value view of an iteration."""
    for coefficients in schedule:
        square, total = x * x, x * 0 + coefficients[-1]
        for coefficient in coefficients[-2::-1]:
            total = total * square + coefficient
        x = total * x
    return x


def _steps(a: float, b: float, degree: int, steps: int) -> list[Minimax]:
    middle = a / 2 + b / 2
    band = Band((b - a) / 2 / middle, a / middle)
    found: list[Minimax] = []
    for _ in range(steps):
        best, band = _about_one(band, degree)
        if not found:  # every later interval has its middle at 1
            best = Minimax(_stretched(best.coefficients, middle), best.error)
        found.append(best)
    return found


def _about_one(band: Band, degree: int) -> tuple[Minimax, Band]:
    """Minimax polynomial on a band, and the band that it is sent to."""
    if degree == 3:
        return _cubic(band)
    if band.error <= NARROW:
        return _taylor(band.error, degree)
    return _remez(band, degree)


def _cubic(band: Band) -> tuple[Minimax, Band]:
    """The closed form on [a, b] = [1 - e, 1 + e].

    With s2 = a^2 + ab + b^2 = 3 + e^2, m = 2 (s2 / 3)^(3/2) and t = ab(a + b) = 2 (1 - e^2) it is
    c1 = 2 s2 / (m + t), c3 = -2 / (m + t), error (m - t) / (m + t); w is m / 2 - 1, to all digits.
    """
    square = band.error**2
    w = math.expm1(1.5 * math.log1p(square / 3))
    divisor = w + 2 - square
    error = (w + square) / divisor
    gap = 2 * band.gap * (1 + band.error) / divisor
    return Minimax(((3 + square) / divisor, -1 / divisor), error), _band(error, gap)


def _taylor(error: float, degree: int) -> tuple[Minimax, Band]:
    """The Taylor polynomial of 1 at x = 1.

    It is x times the binomial series of (1 - h)^(-1/2), h = 1 - x^2. Its error is at most the first
    term left out times 1 / (1 - |h|), at x = 1 + error.
    """
    count = (degree + 1) // 2
    series = [math.comb(2 * k, k) / 4**k for k in range(count + 1)]
    coefficients = [0.0] * count
    for k in range(count):  # series[k] * (1 - u)^k, u = x^2, by powers of u
        for j in range(k + 1):
            coefficients[j] += series[k] * math.comb(k, j) * (-1) ** j
    h = 2 * error + error**2
    left = (1 + error) * series[count] * h**count / (1 - h)
    return Minimax(tuple(coefficients), left), _band(left, 1 - left)


def _remez(band: Band, degree: int) -> tuple[Minimax, Band]:
    """Exchanges of alternation points until they settle.

    p - 1 alternates on count + 1 points, so p' has its count - 1 positive roots between them: the
    next interior points are always there.
    """
    count = (degree + 1) // 2
    b = 1 + band.error
    low = band.gap / b  # all in x / b, so that no power overflows
    points = (1 + low) / 2 - (1 - low) / 2 * np.cos(np.pi * np.arange(count + 1) / count)
    signs = (-1.0) ** np.arange(count + 1)
    odd = np.arange(1, 2 * count, 2)
    solution = signs
    for _ in range(50):  # 5 to 10 suffice; quadratic once close
        system = np.column_stack([points[:, None] ** odd, signs])
        solution = np.linalg.solve(system, np.ones(count + 1))
        roots = np.roots((odd * solution[:-1])[::-1]).real
        inner = np.sort(np.sqrt(np.clip(roots, low**2, 1.0)))
        moved = float(np.abs(inner - points[1:-1]).max())
        points[1:-1] = inner
        if moved < 1e-12:  # the error is flat at its extrema: settled to the square of this
            break
    scaled = tuple(float(c) for c in solution[:-1] / b**odd)
    error = float(solution[-1])
    # p(low) = 1 - error exactly, and this sum keeps the digits of a gap that 1 - error would lose
    gap = float(np.sum(solution[:-1] * low**odd))
    return Minimax(scaled, error), _band(error, gap)


def _band(error: float, gap: float) -> Band:
    """A band whose larger number follows from the smaller, which has the digits."""
    return Band(1 - gap, gap) if gap < 0.5 else Band(error, 1 - error)


def _stretched(coefficients: Polynomial, scale: float) -> Polynomial:
    """The polynomial of x / scale."""
    return tuple(c / scale ** (2 * k + 1) for k, c in enumerate(coefficients))


def _check_interval(a: float, b: float) -> None:
    if not 0 < a <= b < math.inf:
        raise ValueError(f"an interval of singular values needs 0 < a <= b, got [{a}, {b}]")
    if not (LEAST <= b <= 1 / LEAST and a / b >= LEAST_RATIO):
        raise ValueError(
            f"an interval of singular values needs {LEAST} <= b <= {1 / LEAST} and a / b >= "
            f"{LEAST_RATIO}, got [{a}, {b}]; divide the matrix, and both ends, by b"
        )


def _check_degree(degree: int) -> None:
    if degree not in DEGREES:
        raise ValueError(
            f"degree must be one of {DEGREES}, got {degree}; "
            "higher ones gain less for each matrix product"
        )


def _check_steps(steps: int) -> None:
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
