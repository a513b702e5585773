"""Minimax odd polynomials: equioscillation, published tables, intervals from 1e-12 to a point."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hyperrank.polynomials import (
    converging_schedule,
    delta_schedule,
    evaluate,
    minimax,
    minimax_schedule,
    minimax_steps,
    with_margin,
)
from reference import best_odd_error

# printed digits; the intervals are those that the tables were made for
CANS_CUBIC = [  # arXiv:2506.10935, appendix: delta 0.3, seven steps
    ("5.1817028799", "-5.1770393511"),
    ("2.5854225646", "-0.6478627820"),
    ("2.5655920120", "-0.6452645702"),
    ("2.5162233474", "-0.6387826202"),
    ("2.4010687076", "-0.6235851253"),
    ("2.1708447618", "-0.5928497805"),
    ("1.8394377168", "-0.5476683622"),
]
CANS_QUINTIC = [  # arXiv:2506.10935, appendix J: delta 0.3, four steps
    ("8.4202936021", "-24.9104911921", "18.4720942063"),
    ("4.1012286612", "-3.0518555468", "0.5741241025"),
    ("3.6809819251", "-2.7539650231", "0.5401902781"),
    ("2.7280916802", "-2.0315492757", "0.4586643168"),
]
CANS_12 = [  # circulates in Compositional-Muon and NVIDIA Emerging-Optimizers
    ("5.182503605", "-5.178098480"),
    ("2.586120737", "-.647954201"),
    ("2.567364127", "-.645496880"),
    ("2.520560084", "-.639352808"),
    ("2.410759275", "-.624868360"),
    ("2.188334813", "-.595202207"),
    ("1.859576087", "-.550449097"),
    ("1.589020160", "-.512656980"),
    ("1.505165398", "-.500737707"),
]
MUON = (3.4445, -4.7750, 2.0315)


def grid(a: float, b: float, count: int = 4001) -> torch.Tensor:
    """Evenly spaced in logarithm and in value: both ends of the interval are seen."""
    even = torch.linspace(0, 1, count, dtype=torch.float64)
    return torch.cat([a + (b - a) * even, a * (b / a) ** even]).clamp(a, b)


@pytest.mark.parametrize(
    ("table", "a", "degree"),
    [(CANS_CUBIC, 9.0e-4, 3), (CANS_QUINTIC, 2.15e-3, 5), (CANS_12, 8.5e-4, 3)],
    ids=["cubic x7", "quintic x4", "twelve"],
)
def test_published_tables_come_out_to_the_printed_digits(
    table: list[tuple[str, ...]], a: float, degree: int
) -> None:
    schedule = minimax_schedule(a, 1.0, degree, len(table))
    for step, printed in zip(schedule, table, strict=True):
        for ours, text in zip(step, printed, strict=True):
            digits = len(text.split(".")[1])
            assert abs(ours - float(text)) <= 0.501 * 10**-digits


@pytest.mark.parametrize("degree", [3, 5, 7])
@given(exponent=st.floats(-12, -0.01), b=st.floats(0.01, 100))
def test_the_error_equioscillates(degree: int, exponent: float, b: float) -> None:
    a = b * 10**exponent
    best = minimax(a, b, degree)
    off = evaluate([best.coefficients], grid(a, b)) - 1
    assert off.abs().max().item() <= best.error * (1 + 1e-9) + 1e-13
    assert off.abs().max().item() >= best.error * (1 - 1e-4)
    turns = (off[:4001].sign().diff() != 0).sum()  # as many as zeros of p - 1
    if exponent > -2:  # else some lie between two points of the even grid
        assert turns == (degree + 1) // 2


@pytest.mark.parametrize("degree", [3, 5, 7])
@pytest.mark.parametrize("a", [1e-3, 0.1, 0.7, 0.95])
def test_the_error_is_the_least_by_linear_programming(degree: int, a: float) -> None:
    least = best_odd_error(a, 1.0, degree)  # to the tolerance of the solver, 1e-7
    assert minimax(a, 1.0, degree).error == pytest.approx(least, rel=1e-4, abs=1e-7)


@pytest.mark.parametrize("degree", [3, 5, 7])
@pytest.mark.parametrize("width", [0.0, 1e-12, 1e-6, 1e-4, 1.9e-3, 2.1e-3, 0.02])
def test_narrow_intervals_keep_their_digits(degree: int, width: float) -> None:
    best = minimax(1 - width, 1.0, degree)
    unit = 1e-15 if degree == 3 else 2e-14  # the coefficients of degree 7 are 2 and cancel
    worst = (evaluate([best.coefficients], grid(1 - width, 1.0)) - 1).abs().max().item()
    assert worst <= best.error + unit
    assert best.error <= 2.5 * width**2


def test_cubics_square_the_error_and_take_a_quarter_off() -> None:
    errors = [step.error for step in minimax_steps(0.5, 1.0, 3, 7)]
    ratios = [after / before**2 for before, after in pairwise(errors)]
    assert all(ratio <= 1 for ratio in ratios)
    assert ratios[-1] == pytest.approx(0.75, abs=1e-7)


def test_the_limit_is_newton_schulz() -> None:
    assert minimax(1.0, 1.0, 3).coefficients == (1.5, -0.5)
    assert minimax(1.0, 1.0, 5).coefficients == pytest.approx((15 / 8, -10 / 8, 3 / 8))
    assert minimax(1.0, 1.0, 7).coefficients == pytest.approx((35 / 16, -35 / 16, 21 / 16, -5 / 16))


@pytest.mark.parametrize(("degree", "steps"), [(3, 6), (3, 9), (5, 4), (7, 3)])
@given(exponent=st.floats(-9, -0.1))
def test_a_schedule_holds_the_band_it_states(degree: int, steps: int, exponent: float) -> None:
    a = 10**exponent
    found = minimax_steps(a, 1.0, degree, steps)
    schedule = [step.coefficients for step in found]
    assert schedule == minimax_schedule(a, 1.0, degree, steps)
    worst = (evaluate(schedule, grid(a, 1.0)) - 1).abs().max().item()
    assert worst == pytest.approx(found[-1].error, rel=1e-2, abs=1e-13)


@pytest.mark.parametrize("degree", [3, 5])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_scaling_the_interval_scales_the_first_step(degree: int, scale: float) -> None:
    plain = minimax_schedule(1e-3, 1.0, degree, 3)
    scaled = minimax_schedule(1e-3 * scale, scale, degree, 3)
    back = tuple(c * scale ** (2 * k + 1) for k, c in enumerate(scaled[0]))
    assert back == pytest.approx(plain[0])
    for ours, expected in zip(scaled[1:], plain[1:], strict=True):
        assert ours == pytest.approx(expected)


@pytest.mark.parametrize(
    ("degree", "steps", "slope"),
    # slopes at 0 for delta = 0.3, found by bisection in another implementation
    [(3, 6, 320), (3, 7, 832), (3, 8, 2162), (3, 9, 5616), (5, 3, 81.9), (5, 4, 348), (5, 5, 1480)],
)
def test_delta_schedules_end_in_their_band(degree: int, steps: int, slope: float) -> None:
    schedule = delta_schedule(0.3, steps, degree)
    assert math.prod(step[0] for step in schedule) == pytest.approx(slope, rel=2e-3)
    x = torch.logspace(-6, 0, 4001, dtype=torch.float64)
    image = evaluate(schedule, x)
    inside = (image - 1).abs() <= 0.3 * (1 + 1e-9)
    first = int(inside.nonzero()[0])
    assert inside[first:].all()
    assert (image[: first + 1].diff() > 0).all()


def test_a_wide_band_in_two_steps() -> None:
    schedule = delta_schedule(0.99, 2, 3)
    assert math.prod(step[0] for step in schedule) == pytest.approx(13.4, rel=5e-3)


def test_twelve_products_beat_four_muon_quintics() -> None:
    x = grid(1e-2, 1.0)
    muon = (evaluate([MUON] * 4, x) - 1).abs().max()
    assert muon.item() == pytest.approx(0.318, abs=1e-3)
    for schedule in (minimax_schedule(1e-2, 1.0, 3, 6), minimax_schedule(1e-2, 1.0, 5, 4)):
        assert (evaluate(schedule, x) - 1).abs().max() < 0.1 * muon


@pytest.mark.parametrize(("a", "count"), [(0.5, 4), (0.1, 6), (1e-2, 8), (1e-3, 11), (1e-6, 18)])
def test_converging_schedules_are_the_shortest(a: float, count: int) -> None:
    assert len(converging_schedule(a, 1.0, 3, error=1e-6)) == count
    assert converging_schedule(a, 1.0, 3, error=1e-300, most=5) == minimax_schedule(a, 1.0, 3, 5)


@pytest.mark.parametrize("degree", [3, 5, 7])
def test_beyond_the_interval_the_sign_flips(degree: int) -> None:
    """The hazard of a norm bound that is a tenth of a percent too small."""
    schedule = minimax_schedule(1e-4, 1.0, degree, 16)
    over = evaluate(schedule, torch.tensor([1.0, 1.001], dtype=torch.float64))
    assert over[0].item() == pytest.approx(1, abs=1e-6)
    assert (over[1] < -0.9) == (degree != 5)  # odd powers: p(b) is 1 - error for degrees 3 and 7
    muon = evaluate([MUON] * 5, torch.tensor([1.001], dtype=torch.float64))
    assert 0.68 < muon.item() < 1.2


def test_a_margin_keeps_the_sign_and_the_shape_of_the_schedule() -> None:
    schedule = minimax_schedule(1e-4, 1.0, 3, 16)
    wide = with_margin(schedule, 1.02)
    assert wide[-1] == schedule[-1]
    over = torch.tensor([1e-3, 0.5, 1.0, 1.01, 1.02], dtype=torch.float64)
    assert (evaluate(wide, over) - 1).abs().max() < 0.1
    assert with_margin(schedule, 1.0) == schedule


@pytest.mark.parametrize("a", [1e-300, 1e-100, 1e-16])
@pytest.mark.parametrize("degree", [3, 5, 7])
def test_tiny_starts_grow_by_the_first_slope(a: float, degree: int) -> None:
    """1 - error has no digits here; the gap carries them."""
    schedule = minimax_schedule(a, 1.0, degree, 3)
    start = torch.tensor(a, dtype=torch.float64)
    image = evaluate(schedule, start).item()
    assert image == pytest.approx(a * math.prod(step[0] for step in schedule))
    assert image > a * 30


@pytest.mark.parametrize("degree", [3, 5, 7])
@pytest.mark.parametrize("b", [1e-40, 1e40])
@pytest.mark.parametrize("ratio", [1e-264, 1e-3, 0.999, 1.0])
def test_intervals_at_the_ends_of_the_range(ratio: float, b: float, degree: int) -> None:
    best, plain = minimax(ratio * b, b, degree), minimax(ratio, 1.0, degree)
    assert all(math.isfinite(c) and c != 0 for c in best.coefficients)
    scaled = tuple(c * b ** (2 * k + 1) for k, c in enumerate(best.coefficients))
    assert scaled == pytest.approx(plain.coefficients)
    assert best.error == pytest.approx(plain.error)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: minimax(0.0, 1.0), r"0 < a <= b, got \[0.0, 1.0\]"),
        (lambda: minimax_schedule(2.0, 1.0), r"0 < a <= b, got \[2.0, 1.0\]"),
        (lambda: minimax(0.1, math.inf), r"0 < a <= b, got \[0.1, inf\]"),
        (lambda: minimax(math.nan, 1.0), r"0 < a <= b, got \[nan, 1.0\]"),
        (lambda: minimax(1e-320, 1e300), r"1e-40 <= b <= 1e\+40 .*, got \[1e-320, 1e\+300\]; div"),
        (lambda: minimax(1e-110, 1e-100, 7), r"1e-40 <= b <= 1e\+40 and a / b >= 1e-305, got"),
        (lambda: minimax_schedule(1e-310, 1.0), r"and a / b >= 1e-305, got \[1e-310, 1.0\]"),
        (lambda: minimax(0.1, 1.0, 4), r"degree must be one of \(3, 5, 7\), got 4"),
        (lambda: minimax_schedule(0.1, 1.0, 3, 0), "steps must be at least 1, got 0"),
        (lambda: delta_schedule(1.0), "delta must lie strictly between 0 and 1, got 1.0"),
        (lambda: delta_schedule(0.3, 1000), "1000 steps reach a 0.3 band from any start"),
        (lambda: with_margin([(1.5, -0.5)], 0.9), "margin must be at least 1, got 0.9"),
        (lambda: converging_schedule(0.1, 1.0, error=0.0), "error must be positive, got 0.0"),
    ],
)
def test_bad_requests_are_refused(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
