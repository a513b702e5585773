"""Row-wise Adam against torch's Adam, row by row."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import nn

from hyperrank.optim import RowAdam, touched_rows
from reference import RowAdamPlain

N_ROWS, DIM = 12, 3


def read(table: nn.Parameter, rows: torch.Tensor) -> torch.Tensor:
    return nn.functional.embedding(rows, table, sparse=True)


def test_sparse_steps_are_the_rule_row_by_row(generator: torch.Generator) -> None:
    start = torch.randn(N_ROWS, DIM, generator=generator, dtype=torch.float64)
    table, slow = nn.Parameter(start.clone()), RowAdamPlain(start.clone(), lr=0.1)
    ours = RowAdam([table], lr=0.1)
    for _ in range(30):
        rows = torch.randint(N_ROWS, (5,), generator=generator)
        target = torch.randn(5, DIM, generator=generator, dtype=torch.float64)
        ours.zero_grad()
        (read(table, rows) - target).square().sum().backward()
        slow.step(table.grad.to_dense(), rows.unique().tolist())
        ours.step()
        torch.testing.assert_close(table.data, slow.table)


def test_rows_touched_in_every_step_move_as_under_adam(generator: torch.Generator) -> None:
    start = torch.randn(N_ROWS, DIM, generator=generator)
    tables = [nn.Parameter(start.clone()) for _ in range(2)]
    ours, theirs = RowAdam([tables[0]], lr=0.1), torch.optim.Adam([tables[1]], lr=0.1)
    for number in range(20):
        for table, optimizer in zip(tables, (ours, theirs), strict=True):
            optimizer.zero_grad()
            (read(table, torch.arange(N_ROWS)) - number).square().sum().backward()
            optimizer.step() if optimizer is ours else step_dense(table, theirs)
        torch.testing.assert_close(tables[0].data, tables[1].data)


def step_dense(table: nn.Parameter, optimizer: torch.optim.Optimizer) -> None:
    table.grad = table.grad.to_dense()
    optimizer.step()


def test_a_rare_row_goes_the_way_that_dense_adam_would_go() -> None:
    """One slope after 600 steps: dense Adam drifts on for a while, ours goes there at once."""
    ours, theirs = nn.Parameter(torch.zeros(2, 1)), nn.Parameter(torch.zeros(2, 1))
    row, dense = RowAdam([ours], lr=0.01), torch.optim.Adam([theirs], lr=0.01)
    for step in range(800):
        slope = torch.tensor([[1.0], [float(step == 599)]])
        if step < 600:
            row.zero_grad()
            rows = slope.flatten().nonzero().flatten()
            read(ours, rows).sum().backward()
            row.step()
        theirs.grad = slope
        dense.step()
    assert ours[1].item() == pytest.approx(theirs[1].item(), rel=0.02)


def test_a_dense_gradient_is_plain_adam(generator: torch.Generator) -> None:
    start = torch.randn(N_ROWS, DIM, generator=generator)
    tables = [nn.Parameter(start.clone()) for _ in range(2)]
    optimizers = [RowAdam([tables[0]], lr=0.1), torch.optim.Adam([tables[1]], lr=0.1)]
    for number in range(5):
        for table, optimizer in zip(tables, optimizers, strict=True):
            optimizer.zero_grad()
            (table - number).square().sum().backward()
            optimizer.step()
    torch.testing.assert_close(tables[0].data, tables[1].data)


def test_untouched_rows_and_their_state_stay() -> None:
    table = nn.Parameter(torch.ones(N_ROWS, DIM))
    optimizer = RowAdam([table], lr=0.1)
    nn.functional.embedding(torch.tensor([2, 2, 5]), table, sparse=True).sum().backward()
    optimizer.step()
    moved = (table.data != 1).any(1).nonzero()[:, 0].tolist()
    assert moved == [2, 5]
    assert optimizer.state[table]["touches"].nonzero()[:, 0].tolist() == [2, 5]


def test_state_survives_saving(generator: torch.Generator) -> None:
    def step(table: nn.Parameter, optimizer: RowAdam, row: int) -> None:
        optimizer.zero_grad()
        nn.functional.embedding(torch.tensor([row]), table, sparse=True).square().sum().backward()
        optimizer.step()

    table = nn.Parameter(torch.randn(N_ROWS, DIM, generator=generator))
    optimizer = RowAdam([table], lr=0.1)
    step(table, optimizer, 3)
    copy = nn.Parameter(table.data.clone())
    restored = RowAdam([copy], lr=0.7)
    restored.load_state_dict(deepcopy(optimizer.state_dict()))
    for row in (3, 4):
        step(table, optimizer, row)
        step(copy, restored, row)
    torch.testing.assert_close(copy.data, table.data)


def test_touched_rows_sum_repeats() -> None:
    slope = torch.tensor([[1.0], [2.0], [4.0]])
    gradient = torch.sparse_coo_tensor(
        torch.tensor([[5, 1, 5]]), slope, (6, 1), check_invariants=True
    )
    rows, summed = touched_rows(gradient)
    assert rows is not None
    assert rows.tolist() == [1, 5]
    assert summed[:, 0].tolist() == [2, 5]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"lr": -1.0}, "lr must not be negative, got -1.0"),
        ({"betas": (0.9, 1.0)}, r"betas must lie in \[0, 1\), got \(0.9, 1.0\)"),
        ({"betas": (0.9, 0.5)}, r"beta1 \*\* 2 < beta2, got \(0.9, 0.5\)"),
    ],
)
def test_bad_settings_are_refused(wrong: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RowAdam([nn.Parameter(torch.zeros(2, 2))], **wrong)
