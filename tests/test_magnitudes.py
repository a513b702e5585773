"""Sizes at the ends of the range of floats, and what has no size."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hyperrank.magnitudes import (
    check_factorable,
    check_finite,
    check_products,
    column_norms,
    to_unit_scale,
)


@given(st.lists(st.floats(-1e300, 1e300), max_size=4))
def test_column_norms_are_those_of_hypot(numbers: list[float]) -> None:
    column = torch.tensor(numbers, dtype=torch.float64)[:, None]
    assert float(column_norms(column)[0]) == pytest.approx(math.hypot(*numbers), rel=1e-12)


@pytest.mark.parametrize("entry", [math.nan, math.inf, -math.inf])
def test_a_column_that_is_not_finite_has_no_finite_norm(entry: float) -> None:
    found = column_norms(torch.tensor([[entry, 3.0], [1.0, 4.0]]))
    assert not found[0].isfinite()
    assert float(found[1]) == 5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_unit_scale_goes_matrix_by_matrix(dtype: torch.dtype) -> None:
    size = torch.finfo(dtype).max / 4
    matrices = torch.tensor([[[1.0, -2.0]], [[0.0, 0.0]]], dtype=dtype) * size
    scaled, largest = to_unit_scale(matrices)
    assert scaled.tolist() == [[[0.5, -1.0]], [[0.0, 0.0]]]
    torch.testing.assert_close(scaled * largest, matrices)
    assert to_unit_scale(torch.ones(2, 0, 3))[1].shape == (2, 1, 1)


def test_what_has_no_size_is_refused() -> None:
    with pytest.raises(TypeError, match=r"need float32 or float64, got torch.int64; convert first"):
        check_factorable(torch.int64)
    with pytest.raises(ValueError, match="NaN or infinity in the rows; look for their source"):
        check_finite(torch.tensor([1.0, torch.nan]), "the rows")
    with pytest.raises(ValueError, match=r"shape \(3, 2\) is not finite; look for NaN or inf"):
        check_products(torch.tensor([torch.inf]), (3, 2))
