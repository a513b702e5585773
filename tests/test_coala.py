"""COALA against its plain form and the truncated SVD that knows no context."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hyperrank.coala import coala
from reference import best_of_rank, coala_loss, coala_plain, matrix_of_spectrum

F64 = torch.float64


def seeded(number: int) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def normal(m: int, n: int, number: int, dtype: torch.dtype = F64) -> torch.Tensor:
    return torch.randn(m, n, dtype=dtype, generator=seeded(number))


@given(st.integers(1, 7), st.integers(1, 7), st.sampled_from([0.0, 0.3]), st.integers(0, 99))
def test_coala_is_optimal(m: int, n: int, ridge: float, number: int) -> None:
    weights, inputs = normal(m, n, number), normal(12, n, number + 1)
    for rank in range(1, min(m, n) + 1):
        found = coala(weights, inputs, rank, ridge)
        ours = found.left @ found.right.T
        torch.testing.assert_close(ours, coala_plain(weights, inputs, rank, ridge))
        loss = coala_loss(weights, ours, inputs, ridge)
        torch.testing.assert_close(loss, found.loss, rtol=1e-9, atol=1e-9)


def test_the_optimum_is_the_tail_of_w_r_and_batches_change_nothing() -> None:
    weights, inputs = normal(6, 9, 0), normal(40, 9, 1)
    triangle = torch.linalg.qr(inputs, mode="r").R
    tail = torch.linalg.svdvals(weights @ triangle.T)[3:]
    whole, streamed = coala(weights, inputs, 3), coala(weights, iter(inputs.split(7)), 3)
    torch.testing.assert_close(whole.loss, tail.norm())
    torch.testing.assert_close(whole.left @ whole.right.T, streamed.left @ streamed.right.T)
    torch.testing.assert_close(whole.values, streamed.values)


def test_float32_inputs_of_condition_1e5_lose_nothing() -> None:
    """Where the Gram matrix in float32 is not even positive definite."""
    spectrum = torch.logspace(0, -5, 60, dtype=F64)
    inputs = matrix_of_spectrum(400, 60, spectrum, seeded(0)).float()
    weights = normal(50, 60, 1, torch.float32)
    optimum = torch.linalg.svdvals(weights.double() @ torch.linalg.qr(inputs.double()).R.T)

    def times_optimal(approximation: torch.Tensor, rank: int) -> float:
        loss = coala_loss(weights.double(), approximation.double(), inputs.double(), 0.0)
        return float(loss / optimum[rank:].norm())

    for rank in (5, 10, 20):
        found = coala(weights, inputs.split(100), rank)
        assert times_optimal(found.left @ found.right.T, rank) < 1 + 1e-3
        assert times_optimal(best_of_rank(weights, rank), rank) > 1.5  # a context-free truncation
    assert torch.linalg.cholesky_ex(inputs.T @ inputs).info > 0


def test_a_ridge_needs_no_samples() -> None:
    weights = normal(5, 4, 0)
    for inputs in (weights.new_zeros(0, 4), weights.new_zeros(3, 4), []):
        found = coala(weights, inputs, 2, ridge=2.0)
        torch.testing.assert_close(found.left @ found.right.T, best_of_rank(weights, 2))
        expected = math.sqrt(2.0) * torch.linalg.svdvals(weights)[2:].norm()
        torch.testing.assert_close(found.loss, expected)


def test_bad_contexts_are_refused() -> None:
    weights, inputs = torch.ones(5, 4), torch.ones(8, 4)
    with pytest.raises(TypeError, match=r"need float32 or float64, got torch.float16"):
        coala(weights.half(), inputs.half(), 2)
    for wrong, message in (
        ((weights, inputs, 5), r"rank must lie in 1..4 for shape \(5, 4\), got 5"),
        ((weights, inputs, 2, -1.0), "ridge must be finite and not negative, got -1.0"),
        ((weights, inputs[:, :3], 2), r"take inputs of 4 columns of it, got \(8, 3\)"),
        ((weights, inputs.double(), 2), r"got \(8, 4\) of torch.float64"),
        ((weights, inputs[:1], 2), "1 samples do not determine a matrix of rank 2; give more"),
        ((weights, [], 2), "0 samples do not determine a matrix of rank 2"),
        ((weights * torch.nan, inputs, 2), "NaN or infinity in the weights"),
        ((weights, inputs * torch.inf, 2), "NaN or infinity in a batch of inputs"),
    ):
        with pytest.raises(ValueError, match=message):
            coala(*wrong)


def test_nothing_given_is_changed() -> None:
    weights, inputs = normal(4, 3, 0), normal(6, 3, 1)
    kept = weights.clone(), inputs.clone()
    coala(weights, inputs, 2, ridge=0.1)
    assert torch.equal(weights, kept[0])
    assert torch.equal(inputs, kept[1])
