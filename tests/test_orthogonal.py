"""Polar factors by every route: laws, known answers, hazards, gradients, refused input."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hyperrank import orthogonal, polar_routes
from hyperrank.orthogonal import (
    apply_schedule,
    minimax_schedule,
    norm_bound,
    normalized,
    orthonormal_basis,
    polar,
    procrustes,
    project_tangent,
    retract,
)
from reference import polar_plain

Seeded = Callable[[int], torch.Generator]
METHODS = ["auto", "direct", "gram", "eigenvectors", "halley", "svd"]
SHAPES = [(40, 40), (60, 40), (300, 20), (20, 60), (30, 1), (1, 30), (1, 1)]
UNIT = {torch.float32: 1.2e-7, torch.float64: 2.2e-16}


def with_spectrum(
    m: int, n: int, condition: float, generator: torch.Generator, dtype: torch.dtype = torch.float64
) -> Tensor:
    """A random matrix whose singular values fall geometrically from 1 to 1 / condition."""
    k = min(m, n)
    left, right = (
        torch.linalg.qr(torch.randn(side, k, dtype=torch.float64, generator=generator)).Q
        for side in (m, n)
    )
    return (left * condition ** -torch.linspace(0, 1, k, dtype=torch.float64) @ right.mT).to(dtype)


def distance(q: Tensor) -> float:
    """|Q^T Q - I|_F / sqrt(n) of the narrow side, in float64."""
    q = q.double() if q.shape[-2] >= q.shape[-1] else q.double().mT
    off = q.mT @ q - torch.eye(q.shape[-1], dtype=torch.float64)
    return float(torch.linalg.matrix_norm(off).max() / q.shape[-1] ** 0.5)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_polar_is_the_factor_of_the_svd(
    method: str, shape: tuple[int, int], dtype: torch.dtype, generator: torch.Generator
) -> None:
    x = with_spectrum(*shape, 20.0, generator, dtype)
    kept = x.clone()
    q = polar(x, method=method, low=0.02)
    assert q.dtype == dtype
    assert torch.equal(x, kept)
    assert distance(q) <= 16 * UNIT[dtype]
    # the condition enters linearly, in a Gram matrix without wider type with its square
    assert (q.double() - polar_plain(x)).norm() <= 20**2 * 16 * UNIT[dtype]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@given(
    m=st.integers(1, 40),
    n=st.integers(1, 40),
    exponent=st.floats(0, 12),
    scale=st.integers(-30, 30),
    number=st.integers(0, 10**6),
)
def test_auto_always_gives_orthonormal_columns(
    dtype: torch.dtype, m: int, n: int, exponent: float, scale: int, number: int
) -> None:
    generator = torch.Generator().manual_seed(number)
    x = with_spectrum(m, n, 10**exponent, generator, dtype) * 10.0**scale
    q = polar(x)
    assert distance(q) <= 20 * UNIT[dtype]
    # the nearest, so tr(Q^T x) is the nuclear norm
    nuclear = torch.linalg.matrix_norm(x.double(), "nuc")
    assert (q.double() * x.double()).sum() >= nuclear * (1 - 1e-4)


@pytest.mark.parametrize("shape", [(50, 40), (200, 20), (1, 5), (5, 1)], ids=str)
@pytest.mark.parametrize("rank", [0, 1])
def test_deficient_rank_still_gives_orthonormal_columns(
    shape: tuple[int, int], rank: int, generator: torch.Generator
) -> None:
    left = torch.randn(shape[0], rank, generator=generator)
    x = left @ torch.randn(rank, shape[1], generator=generator)
    q = polar(x)
    assert distance(q) < 1e-6
    nuclear = torch.linalg.matrix_norm(x, "nuc")
    torch.testing.assert_close((q * x).sum(), nuclear, rtol=1e-5, atol=0)


@pytest.mark.parametrize("method", ["direct", "gram"])
def test_products_alone_leave_zero_directions_zero(method: str, generator: torch.Generator) -> None:
    x = torch.randn(30, 10, generator=generator, dtype=torch.float64)
    x[:, -2:] = 0
    q = polar(x, method=method, low=0.05)
    torch.testing.assert_close(q[:, :-2], polar_plain(x[:, :-2]))
    assert not q[:, -2:].any()
    assert not polar(torch.zeros(5, 3), method=method).any()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(3, 2, 12, 6), (4, 8, 8), (5, 4, 9)], ids=str)
def test_a_batch_is_its_matrices(
    method: str, shape: tuple[int, ...], generator: torch.Generator
) -> None:
    x = torch.randn(shape, generator=generator, dtype=torch.float64)
    x = x * 10.0 ** torch.arange(shape[0]).view(-1, *[1] * (len(shape) - 1))
    q = polar(x, method=method, low=0.02)
    for index in torch.cartesian_prod(*[torch.arange(k) for k in shape[:-2]]).view(-1, x.ndim - 2):
        at = tuple(index.tolist())
        torch.testing.assert_close(q[at], polar_plain(x[at]), rtol=0, atol=1e-9)


def test_a_batch_with_one_hopeless_matrix(generator: torch.Generator) -> None:
    x = torch.randn(4, 200, 6, generator=generator)
    x[1] = 0
    x[2, :, 0] = x[2, :, 1]
    q = polar(x)
    assert distance(q) < 1e-6
    torch.testing.assert_close(q[0], polar(x[0]), rtol=0, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_types_are_rounded_at_the_end(
    method: str, dtype: torch.dtype, generator: torch.Generator
) -> None:
    x = torch.randn(60, 10, generator=generator).to(dtype)
    q = polar(x, method=method, low=0.1)
    assert q.dtype == dtype
    expected = polar_plain(x.float())
    assert (q.double() - expected).abs().max() <= torch.finfo(dtype).eps * expected.abs().max()


@pytest.mark.parametrize("shape", [(1000, 1000), (1300, 901)], ids=str)
def test_large_squares_go_by_cholesky(
    shape: tuple[int, int], generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orthogonal, "LARGE_SQUARE", 90)
    monkeypatch.setattr(polar_routes, "TRIANGLE", 16)
    x = with_spectrum(shape[0] // 10, shape[1] // 10, 1e3, generator, torch.float32)
    q = polar(x)
    assert distance(q) < 1e-6
    assert (q.double() - polar_plain(x)).norm() / shape[1] ** 0.5 < 1e-4


@pytest.mark.parametrize("condition", [1.0, 3.0, 10.0, 1e2, 1e3, 1e4, 1e5])
def test_halley_needs_no_guess_of_the_condition(
    condition: float, generator: torch.Generator
) -> None:
    x = with_spectrum(80, 80, condition, generator)
    found = polar_routes.by_halley(x)
    assert distance(found.factor) < 1e-14
    assert (found.factor - polar_plain(x)).norm() < 1e-15 * condition * 1e3


@pytest.mark.parametrize("start", [torch.ones(8, 8) + torch.eye(8), torch.eye(8).flip(0)], ids=str)
def test_halley_on_level_diagonals(start: Tensor) -> None:
    found = polar_routes.by_halley(start.double())
    torch.testing.assert_close(found.factor, polar_plain(start))


@pytest.mark.parametrize("condition", [1.5, 20.0, 80.0, 2e3])
def test_eigenvectors_at_each_condition(
    condition: float, generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One apply, polished, from an exact Gram matrix, and that polished."""
    monkeypatch.setattr(polar_routes, "STRIP", 256)
    monkeypatch.setattr(polar_routes, "TRIANGLE", 16)
    x = with_spectrum(900, 50, condition, generator, torch.float32)
    found = polar_routes.by_eigenvectors(x)
    assert distance(found.factor) < 6e-7
    assert (found.factor.double() - polar_plain(x)).norm() / 50**0.5 < 1e-7 * max(condition, 5)
    assert found.error < 1e-4


@pytest.mark.parametrize(
    ("dtype", "condition"), [(torch.float32, 1e5), (torch.float64, 1e3)], ids=str
)
def test_eigenvectors_say_what_they_cannot_finish(
    dtype: torch.dtype, condition: float, generator: torch.Generator
) -> None:
    x = with_spectrum(100, 10, condition, generator, dtype)
    assert polar_routes.by_eigenvectors(x).error.isinf()
    assert distance(polar(x)) < 20 * UNIT[dtype]


@pytest.mark.parametrize("width", [5, 64, 130, 300])
def test_gram_matrices_are_whole_and_symmetric(width: int, generator: torch.Generator) -> None:
    x = torch.randn(4200, width, generator=generator)
    expected = x.double().mT @ x.double()
    for found, unit in (
        (polar_routes.gram(x), 1e-6),
        (polar_routes.tall_gram(x), 1e-6),
        (polar_routes.tall_gram(x, exact=True), 1e-14),
    ):
        torch.testing.assert_close(found, found.mT, rtol=0, atol=0.01)
        assert (found.double() - expected).norm() < unit * expected.norm()


def test_a_bound_too_small_flips_the_top_direction(generator: torch.Generator) -> None:
    """Finding 7 of CANS schedules: start 1.001 ends at -1; the margin of 1.01 is the cure."""
    x = with_spectrum(30, 10, 1e3, generator)
    schedule = minimax_schedule(1e-4, 1.0, 3, 16)
    exact = polar_plain(x)
    flipped = apply_schedule(1.001 * x, schedule)
    top = torch.linalg.svd(x)
    left, right = top.U[:, 0], top.Vh[0]
    assert left @ exact @ right == pytest.approx(1)
    assert left @ flipped @ right == pytest.approx(-1, abs=0.01)
    margin = 1.01  # on a bound that is 0.1% too small
    safe = apply_schedule(1.001 * x / margin, schedule)
    torch.testing.assert_close(safe, exact, rtol=0, atol=1e-5)


@pytest.mark.parametrize("bound", ["frobenius", "gelfand", "one-infinity"])
@given(m=st.integers(1, 12), n=st.integers(1, 12), number=st.integers(0, 10**6))
def test_bounds_are_upper_bounds(bound: str, m: int, n: int, number: int) -> None:
    x = torch.randn(m, n, generator=torch.Generator().manual_seed(number), dtype=torch.float64)
    exact = torch.linalg.matrix_norm(x, 2)
    assert norm_bound(x, bound) >= exact * (1 - 1e-12)
    assert torch.linalg.matrix_norm(normalized(x, bound), 2) <= 1 / 1.01 + 1e-12
    if bound == "gelfand":
        for power in (1, 2, 4):
            most = min(m, n) ** (1 / (4 * power))
            assert norm_bound(x, bound, power=power) <= exact * most * (1 + 1e-12)


@pytest.mark.parametrize("scale", [1e-30, 1e-15, 1.0, 1e15, 1e30])
def test_gelfand_bounds_do_not_overflow(scale: float, generator: torch.Generator) -> None:
    x = torch.randn(20, 8, generator=generator) * scale
    exact = torch.linalg.matrix_norm(x.double(), 2)
    assert 1 - 1e-5 <= float(norm_bound(x, power=4)) / exact <= 8 ** (1 / 16)


def test_a_zero_matrix_stays_zero_when_normalized() -> None:
    for bound in ("frobenius", "gelfand", "one-infinity"):
        assert not normalized(torch.zeros(2, 4, 3), bound).any()


def test_a_basis_spans_the_columns(generator: torch.Generator) -> None:
    for m, n in ((50, 7), (10, 10), (4, 9), (1, 3)):
        x = torch.randn(2, m, n, generator=generator, dtype=torch.float64)
        basis = orthonormal_basis(x)
        assert basis.shape == (2, m, min(m, n))
        assert distance(basis) < 1e-14
        torch.testing.assert_close(basis @ (basis.mT @ x), x)
    deficient = torch.ones(20, 3)
    basis = orthonormal_basis(deficient)
    assert distance(basis) < 1e-6
    torch.testing.assert_close(basis @ (basis.mT @ deficient), deficient)
    assert orthonormal_basis(torch.ones(3, 5, dtype=torch.bfloat16)).dtype == torch.bfloat16


@pytest.mark.parametrize("size", [0.0, 1e-8, 0.01, 0.1, 1.0, 30.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_retraction_is_the_polar_factor(
    size: float, dtype: torch.dtype, generator: torch.Generator
) -> None:
    x = polar(torch.randn(3, 40, 6, generator=generator, dtype=torch.float64)).to(dtype)
    step = project_tangent(
        x, torch.randn(3, 40, 6, generator=generator, dtype=torch.float64).to(dtype)
    )
    torch.testing.assert_close(x.mT @ step, -(step.mT @ x), rtol=0, atol=1e-5)
    step = size * step / torch.linalg.matrix_norm(step, 2, keepdim=True)
    moved = retract(x, step)
    assert distance(moved) <= 8 * UNIT[dtype]
    torch.testing.assert_close(
        moved.double(), polar_plain(x + step), rtol=0, atol=50 * UNIT[dtype] * (1 + size)
    )


def test_retraction_agrees_with_the_line_to_second_order(generator: torch.Generator) -> None:
    x = polar(torch.randn(20, 4, generator=generator, dtype=torch.float64))
    step = project_tangent(x, torch.randn(20, 4, generator=generator, dtype=torch.float64))
    gaps = [(retract(x, h * step) - x - h * step).norm().item() for h in (1e-2, 1e-3)]
    assert gaps[0] / gaps[1] == pytest.approx(100, rel=0.01)


@settings(max_examples=25)
@given(m=st.integers(1, 20), n=st.integers(1, 8), number=st.integers(0, 10**6))
def test_procrustes_beats_every_other_rotation(m: int, n: int, number: int) -> None:
    generator = torch.Generator().manual_seed(number)
    a, b = (torch.randn(m, n, generator=generator, dtype=torch.float64) for _ in range(2))
    q = procrustes(a, b)
    assert distance(q) < 1e-13
    for _ in range(2):
        other = polar(torch.randn(n, n, generator=generator, dtype=torch.float64))
        assert (a @ q - b).norm() <= (a @ other - b).norm() + 1e-12


def test_procrustes_finds_a_planted_rotation(generator: torch.Generator) -> None:
    a = torch.randn(2, 50, 6, generator=generator, dtype=torch.float64)
    planted = polar(torch.randn(2, 6, 6, generator=generator, dtype=torch.float64))
    torch.testing.assert_close(procrustes(a, a @ planted), planted)


@pytest.mark.parametrize(
    ("method", "shape"),
    [("auto", (6, 3)), ("auto", (3, 4)), ("halley", (2, 4, 4)), ("direct", (4, 3))],
    ids=str,
)
def test_gradients(method: str, shape: tuple[int, ...], generator: torch.Generator) -> None:
    x = torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: polar(x, method=method, low=0.01), x)


def test_gradients_of_retraction_and_procrustes(generator: torch.Generator) -> None:
    x = polar(torch.randn(7, 3, generator=generator, dtype=torch.float64))
    step = project_tangent(x, torch.randn(7, 3, generator=generator, dtype=torch.float64))
    assert torch.autograd.gradcheck(retract, (x, step.requires_grad_()))
    a = torch.randn(9, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(procrustes, (a, (a + 0.3).detach()))


def test_gradients_stay_finite_at_deficient_rank() -> None:
    x = torch.zeros(6, 3, requires_grad=True)
    polar(x).sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0), (0, 4, 3)], ids=str)
def test_empty_matrices_come_back_empty(shape: tuple[int, ...]) -> None:
    for method in METHODS:
        assert polar(torch.zeros(shape), method=method).shape == shape
    assert retract(torch.zeros(3, 0), torch.zeros(3, 0)).shape == (3, 0)
    assert procrustes(torch.zeros(3, 0), torch.zeros(3, 0)).shape == (0, 0)


ONES = torch.ones(3, 2)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: polar(torch.ones(3)), ValueError, r"polar needs a matrix .*, got shape \(3,\)"),
        (lambda: polar(ONES.long()), TypeError, "real floating matrix, got torch.int64; convert"),
        (lambda: polar(ONES * torch.inf), ValueError, "the matrix holds NaN or infinity"),
        (lambda: polar(ONES / 0 * 0), ValueError, "the matrix holds NaN or infinity"),
        (lambda: polar(ONES, low=0.0), ValueError, r"low must lie in \(0, 1\].*, got 0.0"),
        (lambda: polar(ONES, method="magic"), ValueError, "method must be one of .*got 'magic'"),
        (lambda: polar(ONES, method="direct", degree=4), ValueError, "degree must be one of"),
        (lambda: retract(ONES, ONES.double()), ValueError, "got .* torch.float64"),
        (lambda: retract(ONES, ONES * torch.inf), ValueError, "x \\+ tangent holds NaN"),
        (lambda: retract(ONES.mT, ONES.mT), ValueError, "more columns than rows; transpose"),
        (lambda: procrustes(ONES, ONES.mT), ValueError, "one shape and dtype, got .*; pad"),
        (lambda: norm_bound(ONES, power=3), ValueError, "power must be a power of 2, got 3"),
        (lambda: norm_bound(ONES, "magic"), ValueError, "bound must be .*, got 'magic'"),
        (lambda: normalized(ONES, margin=0.9), ValueError, "margin must be at least 1, got 0.9"),
    ],
)
def test_bad_input_is_refused(call, error: type[Exception], message: str) -> None:
    from jaxtyping import TypeCheckError

    with pytest.raises((error, TypeCheckError)) as caught:
        call()
    if not isinstance(caught.value, TypeCheckError):  # a wrong literal is caught before our door
        assert caught.match(message)
