"""Effective ranks, against slow versions."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

import reference_plots
from hyperrank.spectrum import product_spectrum, spectrum


@pytest.mark.parametrize("number", range(4))
def test_against_slow_versions(number: int, seeded: Callable[[int], torch.Generator]) -> None:
    table = torch.randn(40, 3 + 4 * number, generator=seeded(number))
    table = table * torch.arange(1, table.shape[1] + 1) ** 1.5
    found = spectrum(table)
    assert found.effective_rank == pytest.approx(
        reference_plots.effective_rank(table.double().numpy())
    )
    for energy in (0.1, 0.5, 0.9, 0.999):
        slow = reference_plots.rank_of_energy(table.double().numpy(), energy)
        assert found.rank_of(energy) == slow


def test_ends() -> None:
    equal = spectrum(torch.eye(9)[:, :5])
    assert equal.effective_rank == pytest.approx(5)
    assert equal.rank_of(0.9) == 5
    one = spectrum(torch.ones(6, 4))
    assert one.effective_rank == pytest.approx(1)
    assert one.rank_of(0.9) == 1
    none = spectrum(torch.zeros(6, 4))
    assert (none.effective_rank, none.rank_of(0.9)) == (0, 0)


def test_of_a_product(generator: torch.Generator) -> None:
    left, right = (torch.randn(n, 5, generator=generator) for n in (30, 4))
    want = torch.linalg.svdvals((left @ right.T).double())
    torch.testing.assert_close(product_spectrum(left, right).values, want[:4], rtol=1e-5, atol=1e-6)
