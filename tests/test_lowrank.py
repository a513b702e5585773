"""Truncated SVDs, their error bound, inverses and updates, and COALA, against full SVDs."""

from __future__ import annotations

from inspect import unwrap

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hyperrank.lowrank import (
    SVD,
    add_low_rank,
    append_columns,
    append_rows,
    exact_svd,
    pseudo_inverse,
    randomized_svd,
    residual_bound,
)
from hyperrank.operators import LinearMap, from_matrix
from hyperrank.pairs import PairSet
from hyperrank.sparse import from_pairs
from reference import best_of_rank, matrix_of_spectrum

F64 = torch.float64
DTYPES = [torch.float32, F64]


def seeded(number: int) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def normal(m: int, n: int, number: int, dtype: torch.dtype = F64) -> torch.Tensor:
    return torch.randn(m, n, dtype=dtype, generator=seeded(number))


def check_svd(svd: SVD) -> None:
    """Orthonormal columns, values falling and not negative."""
    eps = 100 * torch.finfo(svd.values.dtype).eps
    eye = torch.eye(len(svd.values), dtype=svd.values.dtype)
    torch.testing.assert_close(svd.left.T @ svd.left, eye, rtol=0, atol=eps)
    torch.testing.assert_close(svd.right.T @ svd.right, eye, rtol=0, atol=eps)
    assert (svd.values >= 0).all()
    assert (svd.values.diff() <= 0).all()


# randomized SVD


@pytest.mark.parametrize("dtype", DTYPES)
def test_leading_triplets(dtype: torch.dtype, generator: torch.Generator) -> None:
    values = 2.0 ** -torch.arange(10, dtype=dtype)
    matrix = matrix_of_spectrum(40, 30, values, generator)
    svd = randomized_svd(from_matrix(matrix), 5, generator=generator)
    check_svd(svd)
    tight = 20 * torch.finfo(dtype).eps
    torch.testing.assert_close(svd.values, values[:5], rtol=0, atol=tight)
    torch.testing.assert_close(svd.dense(), best_of_rank(matrix, 5), rtol=0, atol=tight)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 99))
def test_exact_where_the_sample_reaches_the_rank(m: int, n: int, number: int) -> None:
    matrix = normal(m, n, number)
    svd = randomized_svd(from_matrix(matrix), min(m, n), generator=seeded(number))
    check_svd(svd)
    torch.testing.assert_close(svd.dense(), matrix)


def test_a_sparse_matrix_gives_its_map(generator: torch.Generator) -> None:
    matrix = normal(12, 8, 0, torch.float32)
    pairs = PairSet(torch.arange(96), 12, 8)
    sparse = from_pairs(pairs, matrix.flatten()).linear_map()
    x, y = normal(8, 3, 1, torch.float32), normal(12, 3, 2, torch.float32)
    torch.testing.assert_close(sparse @ x, matrix @ x)
    torch.testing.assert_close(sparse.T @ y, matrix.T @ y)
    svd = randomized_svd(sparse, 8, generator=generator)
    torch.testing.assert_close(svd.dense(), matrix)
    with pytest.raises(ValueError, match=r"stores no transpose; build it with sparse.from_pairs"):
        from_pairs(pairs, matrix.flatten()).T.linear_map()


def test_zero_matrix_and_single_entry(generator: torch.Generator) -> None:
    svd = randomized_svd(from_matrix(torch.zeros(6, 4)), 2, generator=generator)
    check_svd(svd)
    assert svd.values.tolist() == [0, 0]
    single = randomized_svd(from_matrix(torch.tensor([[-3.0]])), 1, generator=generator)
    torch.testing.assert_close(single.dense(), torch.tensor([[-3.0]]))


@pytest.mark.parametrize("rank", [0, 31])
def test_a_rank_out_of_range_is_refused(rank: int, generator: torch.Generator) -> None:
    a = from_matrix(torch.ones(40, 30))
    with pytest.raises(ValueError, match=rf"rank must lie in 1..30 .* got {rank}"):
        randomized_svd(a, rank, generator=generator)
    with pytest.raises(ValueError, match=r"rank must lie in 1..0 for shape \(0, 3\), got 1"):
        randomized_svd(from_matrix(torch.ones(0, 3)), 1, generator=generator)


def test_bad_maps_and_budgets_are_refused(generator: torch.Generator) -> None:
    a = torch.ones(4, 3)
    with pytest.raises(ValueError, match="must not be negative, got -1, 4"):
        randomized_svd(from_matrix(a), 1, generator=generator, oversampling=-1)
    with pytest.raises(TypeError, match=r"need float32 or float64, got torch.bfloat16"):
        randomized_svd(from_matrix(a.bfloat16()), 1, generator=generator)
    for bad in (torch.nan, torch.inf):
        with pytest.raises(ValueError, match="NaN or infinity in a product of the map"):
            randomized_svd(from_matrix(a * bad), 1, generator=generator)


# its error


def test_the_bracket_holds_but_for_its_failure_rate() -> None:
    """At delta = 0.05, 400 runs: 20 violations are expected, 35 is 3.4 standard errors above."""
    matrix = matrix_of_spectrum(30, 25, 0.7 ** torch.arange(20, dtype=F64), seeded(0))
    a, violated = from_matrix(matrix), 0
    for number in range(400):
        draws = seeded(number)
        svd = randomized_svd(a, 4, generator=draws, oversampling=0, iterations=0)
        exact = torch.linalg.matrix_norm(matrix - svd.dense(), 2)
        found = residual_bound(a, svd, generator=draws, probes=3, delta=0.05)
        assert found.products == 3
        assert found.lower <= exact * (1 + 1e-12)
        violated += int(found.upper < exact)
    assert violated <= 35


def test_the_bound_is_nearly_sharp_for_a_residual_of_rank_one() -> None:
    """There |R w| is |R| |g|: the upper end fails with probability delta itself."""
    a = from_matrix(torch.diag(torch.tensor([3.0, 2.0])))
    svd = exact_svd(torch.diag(torch.tensor([3.0, 0.0])), 1)
    short = 0
    for number in range(400):
        short += int(
            residual_bound(a, svd, generator=seeded(number), probes=2, delta=0.3).upper < 2
        )
    assert 93 <= short <= 147  # 120 expected, three standard errors each way


@pytest.mark.parametrize(
    ("dtype", "size"), [(torch.float32, 1e-30), (torch.float32, 1e18), (F64, 1e-170), (F64, 1e170)]
)
def test_the_bracket_holds_at_every_scale(dtype: torch.dtype, size: float) -> None:
    matrix = normal(60, 40, 0, dtype)
    for rank in (5, 40):
        svd = exact_svd(matrix * size, rank)
        rest = (matrix * size).double() / size - svd.dense().double() / size
        found = residual_bound(from_matrix(matrix * size), svd, generator=seeded(1))
        true = float(torch.linalg.matrix_norm(rest, 2))
        if rank == 5:
            assert 0 < float(found.lower) / size <= true <= float(found.upper) / size < 20 * true
        assert float(found.lower) / size <= true


@pytest.mark.parametrize("shape", [(60, 40), (30, 300), (50, 1)], ids=str)
def test_the_lower_end_is_not_made_of_rounding(shape: tuple[int, int]) -> None:
    """A map that is the SVD itself, with products in float64: what is seen is rounding alone."""
    for number in range(5):
        svd = exact_svd(normal(*shape, number, torch.float32))
        wide = SVD(*(part.double() for part in svd)).linear_map()
        a = LinearMap(
            shape,
            lambda x, wide=wide: (wide @ x.double()).float(),
            lambda y, wide=wide: (wide.T @ y.double()).float(),
            torch.float32,
            svd.left.device,
        )
        found = residual_bound(a, svd, generator=seeded(number))
        assert found.lower == 0
        assert 0 < found.upper < 1e-3


def test_the_bound_of_an_exact_factorization_is_rounding(generator: torch.Generator) -> None:
    matrix = normal(9, 7, 0)
    found = residual_bound(from_matrix(matrix), exact_svd(matrix), generator=generator)
    assert found.upper < 1e-12
    empty = from_matrix(torch.zeros(3, 0))
    assert residual_bound(empty, exact_svd(torch.zeros(3, 0)), generator=generator).upper == 0


def test_bad_bounds_are_refused(generator: torch.Generator) -> None:
    svd = exact_svd(torch.ones(4, 3), 1)
    with pytest.raises(ValueError, match=r"map has shape \(3, 4\), the SVD \(4, 3\)"):
        residual_bound(from_matrix(torch.ones(3, 4)), svd, generator=generator)
    with pytest.raises(ValueError, match=r"probes >= 1 and delta in \(0, 1\), got 0 and 0.001"):
        residual_bound(from_matrix(torch.ones(4, 3)), svd, generator=generator, probes=0)
    with pytest.raises(ValueError, match="NaN or infinity in a product of the map or of the SVD"):
        residual_bound(from_matrix(torch.full((4, 3), torch.nan)), svd, generator=generator)


# dense SVD and inverse


def test_exact_svd_and_its_map() -> None:
    matrix = normal(5, 8, 0)
    svd = exact_svd(matrix, 3)
    check_svd(svd)
    torch.testing.assert_close(svd.dense(), best_of_rank(matrix, 3))
    x, y = normal(8, 2, 1), normal(5, 2, 2)
    torch.testing.assert_close(svd.linear_map() @ x, svd.dense() @ x)
    torch.testing.assert_close(svd.linear_map().T @ y, svd.dense().T @ y)
    left, right = svd.linear_map().factors or ()
    torch.testing.assert_close(left @ right.T, svd.dense())
    with pytest.raises(ValueError, match=r"rank must lie in 0..5 for shape \(5, 8\), got 6"):
        exact_svd(matrix, 6)
    with pytest.raises(ValueError, match="NaN or infinity in the matrix"):
        exact_svd(matrix * torch.nan)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.int64, torch.complex64], ids=str)
def test_what_torch_does_not_factor_is_refused(dtype: torch.dtype) -> None:
    """By the door itself: under this suite the checks of types speak before it."""
    with pytest.raises(TypeError, match=rf"QR and SVD need float32 or float64, got {dtype}"):
        unwrap(exact_svd)(torch.ones(3, 2, dtype=dtype))
    with pytest.raises(ValueError, match=r"a matrix of two axes, got shape \(2, 3, 4\)"):
        unwrap(exact_svd)(torch.ones(2, 3, 4))


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_inverse_drops_what_is_rounding(dtype: torch.dtype) -> None:
    """Rank 3 of 6: the other values are about eps, and would be inverted to noise."""
    values = torch.tensor([4.0, 2.0, 1.0], dtype=dtype)
    matrix = matrix_of_spectrum(9, 6, values, seeded(0))
    inverse = pseudo_inverse(exact_svd(matrix))
    check_svd(inverse)
    assert inverse.values.shape == (3,)
    dense, eps = inverse.dense(), torch.finfo(dtype).eps
    for first, second in ((matrix @ dense @ matrix, matrix), (dense @ matrix @ dense, dense)):
        torch.testing.assert_close(first, second, rtol=0, atol=100 * eps)
    for product in (matrix @ dense, dense @ matrix):
        torch.testing.assert_close(product, product.T, rtol=0, atol=100 * eps)


def test_inverse_cut_zero_and_errors() -> None:
    svd = exact_svd(torch.diag(torch.tensor([1.0, 0.1, 0.01])))
    torch.testing.assert_close(pseudo_inverse(svd, rtol=0.05).values, torch.tensor([10.0, 1.0]))
    zero = pseudo_inverse(exact_svd(torch.zeros(4, 3)))
    assert torch.equal(zero.dense(), torch.zeros(3, 4))
    assert pseudo_inverse(exact_svd(torch.zeros(0, 3))).dense().shape == (3, 0)
    with pytest.raises(ValueError, match="rtol must not be negative, got -1"):
        pseudo_inverse(svd, rtol=-1)
    with pytest.raises(ValueError, match="NaN or infinity in the singular values"):
        pseudo_inverse(SVD(svd.left, svd.values * torch.nan, svd.right))


# updates

sizes = st.integers(1, 8)


@given(sizes, sizes, st.integers(0, 5), st.integers(0, 8), st.integers(0, 99))
def test_updates_are_the_best_of_their_rank(m: int, n: int, k: int, r: int, number: int) -> None:
    r = min(m, n, r)
    svd, rows, columns = exact_svd(normal(m, n, number), r), normal(k, n, 1), normal(m, k, 2)
    left, right, old = normal(m, k, 3), normal(n, k, 4), svd.dense()
    for updated, wanted in (
        (append_rows(svd, rows), torch.cat([old, rows])),
        (append_columns(svd, columns), torch.cat([old, columns], 1)),
        (add_low_rank(svd, left, right), old + left @ right.T),
    ):
        check_svd(updated)
        torch.testing.assert_close(updated.dense(), best_of_rank(wanted, r))


@given(sizes, sizes, st.integers(0, 5), st.integers(0, 99))
def test_a_rank_grown_by_the_block_keeps_everything(m: int, n: int, k: int, number: int) -> None:
    svd, rows = exact_svd(normal(m, n, number)), normal(k, n, 1)
    grown = append_rows(svd, rows, rank=min(m + k, n))
    check_svd(grown)
    torch.testing.assert_close(grown.dense(), torch.cat([svd.dense(), rows]))


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_and_columns_in_the_span_cost_no_rank(dtype: torch.dtype) -> None:
    matrix = normal(20, 4, 0, dtype) @ normal(4, 15, 1, dtype)
    svd, eps = exact_svd(matrix, 4), torch.finfo(dtype).eps
    rows, columns = normal(6, 20, 2, dtype) @ matrix, matrix @ normal(15, 6, 3, dtype)
    for updated, wanted in (
        (append_rows(svd, rows), torch.cat([matrix, rows])),
        (append_columns(svd, columns), torch.cat([matrix, columns], 1)),
    ):
        check_svd(updated)
        size = wanted.norm()
        torch.testing.assert_close(updated.dense(), wanted, rtol=0, atol=20 * eps * float(size))


def test_a_row_is_replaced() -> None:
    matrix, new = normal(7, 5, 0), normal(1, 5, 1)
    svd = exact_svd(matrix)
    place = torch.eye(7, dtype=F64)[:, 3:4]
    changed = matrix.clone()
    changed[3] = new
    updated = add_low_rank(svd, place, (new - matrix[3:4]).T)
    torch.testing.assert_close(updated.dense(), changed)


def test_thousands_of_updates_stay_orthonormal() -> None:
    svd = exact_svd(normal(1, 10, 0, torch.float32))
    rows = normal(600, 10, 1, torch.float32)
    for start in range(0, 600, 2):
        svd = append_rows(svd, rows[start : start + 2], rank=min(len(svd.left) + 2, 10))
    check_svd(svd)
    whole = torch.cat([normal(1, 10, 0, torch.float32), rows])
    torch.testing.assert_close(svd.dense(), whole, rtol=0, atol=1e-4)


def test_bad_updates_are_refused() -> None:
    svd = exact_svd(torch.ones(4, 3), 2)
    with pytest.raises(ValueError, match=r"rows must have 3 numbers each, .* got 4, torch.float32"):
        append_rows(svd, torch.ones(1, 4))
    with pytest.raises(ValueError, match=r"columns must have 4 numbers each, .* torch.float64 on"):
        append_columns(svd, torch.ones(4, 1, dtype=F64))
    with pytest.raises(ValueError, match="right must have 3 numbers each"):
        add_low_rank(svd, torch.ones(4, 1), torch.ones(4, 1))
    with pytest.raises(ValueError, match=r"rank must lie in 0..3 after this update, got 4"):
        append_rows(svd, torch.ones(5, 3), rank=4)
    with pytest.raises(ValueError, match="NaN or infinity in the rows"):
        append_rows(svd, torch.full((1, 3), torch.nan))
    for call, name, axis, size in (
        (lambda: unwrap(append_rows)(svd, torch.ones(3)), "rows", 1, 3),
        (lambda: unwrap(append_columns)(svd, torch.ones(4)), "columns", 0, 4),
        (lambda: unwrap(add_low_rank)(svd, torch.ones(4), torch.ones(3, 1)), "left", 0, 4),
        (lambda: unwrap(add_low_rank)(svd, torch.ones(4, 1), torch.ones(3)), "right", 0, 3),
    ):
        wanted = rf"{name} must be a matrix with {size} numbers along axis {axis}, got shape"
        with pytest.raises(ValueError, match=wanted):
            call()


def test_nothing_given_is_changed(generator: torch.Generator) -> None:
    a, svd = normal(4, 3, 0), exact_svd(normal(4, 3, 0), 2)
    kept = [part.clone() for part in (a, *svd)]
    randomized_svd(
        LinearMap((4, 3), a.__matmul__, a.T.__matmul__, F64, a.device), 2, generator=generator
    )
    append_rows(svd, a[:1])
    pseudo_inverse(svd)
    for part, before in zip((a, *svd), kept, strict=True):
        assert torch.equal(part, before)
