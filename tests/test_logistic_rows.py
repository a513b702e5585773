"""Solving rows: the minimum, whatever the start and the source of the Hessian."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from hyperrank.pairs import pair_set
from hyperrank.sparse import from_pairs
from recsys import row_solvers
from recsys.logistic_rows import (
    FrozenTable,
    RowProblems,
    exact_hessian,
    expand,
    gradient,
    spread_centres,
)
from recsys.row_solvers import _bottom, solve, solve_cached

B, N, D = 40, 300, 8


@pytest.fixture
def table(generator: torch.Generator) -> FrozenTable:
    vectors = torch.randn(N, D, generator=generator)
    vectors[:, 0] = -2
    steep = torch.rand(N, generator=generator) / N
    return FrozenTable(vectors, torch.full((N,), 1 / N), steep, 0.2)


@pytest.fixture
def problems(generator: torch.Generator) -> RowProblems:
    row = torch.randint(1, B, (B * 7,), generator=generator)  # row 0 has no positives
    column = torch.randint(N, (B * 7,), generator=generator)
    pairs = pair_set(row, column, n_queries=B, n_candidates=N)
    weight = torch.rand(len(pairs), generator=generator)
    base, slope = (torch.rand(B, generator=generator) * 3 for _ in range(2))
    return RowProblems(from_pairs(pairs, weight), base, slope)


@pytest.fixture
def start(generator: torch.Generator) -> Tensor:
    return torch.randn(B, D, generator=generator)


def value(table: FrozenTable, problems: RowProblems, rows: Tensor) -> Tensor:
    """The functions as the module's docstring writes them, in float64."""
    vectors = table.vectors.double()
    negative = torch.outer(problems.base, table.flat) + torch.outer(problems.slope, table.steep)
    found = (negative.double() * nn.functional.softplus(rows @ vectors.T)).sum(1)
    found = found + table.l2 / 2 * rows.square().sum(1)
    row, column = problems.positives.row_numbers, problems.positives.columns
    score = (rows[row] * vectors[column]).sum(1)
    weighted = problems.positives.values.double() * nn.functional.softplus(-score)
    return found.index_add(0, row, weighted)


def test_gradient_and_hessian_are_those_of_the_function(
    table: FrozenTable, problems: RowProblems, start: Tensor
) -> None:
    rows = start.double().requires_grad_()
    (slope,) = torch.autograd.grad(value(table, problems, rows).sum(), rows, create_graph=True)
    torch.testing.assert_close(
        gradient(table, problems, start), slope.detach().float(), rtol=1e-4, atol=1e-5
    )
    columns = [torch.autograd.grad(slope[:, j].sum(), rows, retain_graph=True)[0] for j in range(D)]
    torch.testing.assert_close(
        exact_hessian(table, problems, start), torch.stack(columns, 2).float(), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("centres", [None, 1, 16])
def test_the_minimum_is_found_from_any_start(
    table: FrozenTable,
    problems: RowProblems,
    start: Tensor,
    centres: int | None,
    generator: torch.Generator,
) -> None:
    expansion = None
    if centres:
        expansion = expand(table, spread_centres(start, centres, generator=generator))
    found = solve(table, problems, start, expansion, tolerance=1e-4)
    again = solve(table, problems, torch.zeros_like(start), expansion, tolerance=1e-4)
    size = 1 + found.vectors.norm(dim=1)
    assert bool((found.residual <= 1e-3 * table.l2 * size).all())
    assert bool(((found.vectors - again.vectors).norm(dim=1) <= 2e-4 * size).all())
    true = gradient(table, problems, found.vectors).norm(dim=1)
    torch.testing.assert_close(found.residual, true, rtol=0.05, atol=2e-6)


def test_rows_come_in_blocks_that_fit(
    table: FrozenTable, problems: RowProblems, start: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = solve(table, problems, start, None)
    monkeypatch.setattr(row_solvers, "NUMBERS_AT_ONCE", 7 * D * D)
    monkeypatch.setattr(row_solvers, "ROWS_AT_ONCE", 1)
    in_blocks = solve(table, problems, start, None)
    torch.testing.assert_close(in_blocks.vectors, whole.vectors, rtol=0, atol=1e-4)
    torch.testing.assert_close(in_blocks.residual, whole.residual, rtol=0.1, atol=1e-5)
    assert len(solve(table, problems.select(torch.arange(0)), start[:0], None).vectors) == 0


def test_a_row_that_is_solved_stays(
    table: FrozenTable, problems: RowProblems, start: Tensor
) -> None:
    found = solve(table, problems, start, None)
    again = solve(table, problems, found.vectors, None)
    assert again.steps == 0
    assert torch.equal(again.vectors, found.vectors)


def test_a_far_start_does_not_diverge(
    table: FrozenTable, problems: RowProblems, start: Tensor
) -> None:
    found = solve(table, problems, start * 100, None, steps=500)
    near = solve(table, problems, start, None)
    assert float((found.vectors - near.vectors).norm(dim=1).max()) < 2e-3


def test_the_bottom_along_a_step() -> None:
    # of exp(9 t) - t, and of parabolas whose bottoms lie near, far away and at the full step
    bottoms = torch.tensor([0.1, 5.0, 1.0])

    def slope(t: Tensor) -> Tensor:
        steep = 9 * (9 * t[:1]).exp() - 60
        return torch.cat([steep, t[1:] - bottoms])

    first = slope(torch.zeros(4))
    found = _bottom(slope, first)
    assert bool((slope(found).abs() <= 0.5 * first.abs()).all())
    assert found[-1] == 1


def test_a_search_that_comes_to_no_flat_place_ends_lower() -> None:
    assert 0 < _bottom(lambda t: torch.where(t > 0.3001, 3.0, -1.0), -torch.ones(1)) <= 0.3001


@pytest.mark.parametrize("l2", [0.0, 1e-4])
def test_fewer_vectors_than_dimensions(
    table: FrozenTable, problems: RowProblems, start: Tensor, l2: float
) -> None:
    few = FrozenTable(table.vectors[:5], table.flat[:5] + 0.2, table.steep[:5], l2)
    pairs = pair_set(torch.arange(B), torch.arange(B) % 5, n_queries=B, n_candidates=5)
    own = problems._replace(positives=from_pairs(pairs), base=problems.base + 0.1)
    found = solve(few, own, start / 4, None, steps=200)
    assert float(gradient(few, own, found.vectors).norm(dim=1).max()) < 1e-3


def test_rows_that_are_no_numbers_are_not_taken_for_solved(
    table: FrozenTable, problems: RowProblems, start: Tensor
) -> None:
    start[3] = torch.nan
    with pytest.raises(torch.linalg.LinAlgError):
        solve(table, problems, start, None)


def test_too_few_steps_are_told_by_the_residual(
    table: FrozenTable, problems: RowProblems, start: Tensor
) -> None:
    found = solve(table, problems, start, None, steps=1)
    assert found.steps == 1
    assert float(found.residual.max()) > 1e-3
    exact = solve(table, problems, start, None).vectors
    distance = (found.vectors - exact).norm(dim=1)
    assert bool((distance <= found.residual / table.l2 + 1e-4).all())  # the certificate


def test_cached_negatives_are_right_at_the_centres(
    table: FrozenTable, problems: RowProblems, start: Tensor
) -> None:
    exact = solve(table, problems, start, None).vectors
    cached = solve_cached(table, problems, exact, expand(table, exact))
    torch.testing.assert_close(cached.vectors, exact, rtol=0, atol=1e-3)


def test_cached_negatives_stay_close_with_few_centres(
    table: FrozenTable, problems: RowProblems, start: Tensor, generator: torch.Generator
) -> None:
    exact = solve(table, problems, start, None).vectors
    centres = spread_centres(exact, 8, generator=generator)
    cached = solve_cached(table, problems, exact, expand(table, centres)).vectors
    gap = (cached - exact).norm(dim=1) / exact.norm(dim=1)
    assert float(gap.median()) < 0.2


def test_centres_are_the_mean_and_clusters(generator: torch.Generator) -> None:
    rows = torch.cat([torch.randn(50, 2, generator=generator) * 0.01 + shift for shift in (0, 9)])
    centres = spread_centres(rows, 3, generator=generator)
    torch.testing.assert_close(centres[0], rows.mean(0))
    assert sorted(round(float(x)) for x in centres[1:, 0]) in ([0, 9], [0, 0], [9, 9])
    assert spread_centres(rows, 1, generator=generator).shape == (1, 2)
    assert spread_centres(rows[:2], 9, generator=generator).shape == (3, 2)
