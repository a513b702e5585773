"""Row-wise Adam against torch's Adam, row by row."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
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


@given(
    st.lists(st.sets(st.integers(0, 4), min_size=1), min_size=1, max_size=12),
    st.sampled_from([torch.float32, torch.float64]),
    st.integers(0, 99),
)
def test_touched_rows_agree_with_dense_adam_and_others_are_let_be(
    touched: list[set[int]], dtype: torch.dtype, number: int
) -> None:
    """Of the same slopes, zero elsewhere: its moments, and its step times the way foreseen."""
    draws = torch.Generator().manual_seed(number)
    start = torch.randn(5, 2, generator=draws, dtype=dtype)
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    row, dense = RowAdam([ours], lr=0.1), torch.optim.Adam([theirs], lr=0.1)
    ratio, count = 0.9 / 0.999**0.5, torch.zeros(5, dtype=dtype)
    for step, rows in enumerate(touched, 1):
        chosen = torch.tensor(sorted(rows))
        slope = torch.randn(len(chosen), 2, generator=draws, dtype=dtype)
        ours.grad = torch.sparse_coo_tensor(chosen[None], slope, (5, 2), check_invariants=True)
        theirs.grad = ours.grad.to_dense()
        before, dense_before = ours.data.clone(), theirs.data.clone()
        kept = {name: whole.clone() for name, whole in rows_of(row, ours).items()}
        row.step()
        dense.step()
        count[chosen] += 1
        for name in ("exp_avg", "exp_avg_sq"):
            torch.testing.assert_close(
                row.state[ours][name][chosen], dense.state[theirs][name][chosen]
            )
        way = ((1 - ratio ** (step / count[chosen])) / (1 - ratio))[:, None]
        moved = (theirs.data - dense_before)[chosen] * way
        torch.testing.assert_close((ours.data - before)[chosen], moved, rtol=1e-4, atol=1e-6)
        rest = torch.tensor(sorted(set(range(5)) - rows), dtype=torch.int64)
        assert torch.equal(ours.data[rest], before[rest])
        for name, whole in kept.items():
            assert torch.equal(row.state[ours][name][rest], whole[rest])


def rows_of(optimizer: RowAdam, table: nn.Parameter) -> dict[str, torch.Tensor]:
    """The state kept by rows; nothing before the first step."""
    return {k: v for k, v in optimizer.state[table].items() if isinstance(v, torch.Tensor)}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_touched_in_every_step_move_exactly_as_under_adam(
    dtype: torch.dtype, generator: torch.Generator
) -> None:
    """Three of the rows always, others now and then."""
    start = torch.randn(N_ROWS, DIM, generator=generator, dtype=dtype)
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    row, dense = RowAdam([ours], lr=0.1), torch.optim.Adam([theirs], lr=0.1)
    for _ in range(50):
        rows = torch.cat(
            [torch.tensor([0, 4, 9]), torch.randint(N_ROWS, (2,), generator=generator)]
        )
        weight = torch.randn(5, DIM, generator=generator, dtype=dtype)
        ours.grad = theirs.grad = None
        (read(ours, rows) * weight).sum().backward()
        (nn.functional.embedding(rows, theirs) * weight).sum().backward()
        row.step()
        dense.step()
    always = torch.tensor([0, 4, 9])
    torch.testing.assert_close(ours.data[always], theirs.data[always])


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


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64], ids=str)
def test_counts_do_not_take_the_type_of_the_table(dtype: torch.dtype) -> None:
    """Row 1 alternates; bfloat16 would stop counting at 256, and saving must not round either."""
    table = nn.Parameter(torch.zeros(3, 1, dtype=dtype))
    optimizer = RowAdam([table], lr=0.01)
    for step in range(301):
        optimizer.zero_grad()
        read(table, torch.tensor([0, 1 - step % 2])).sum().backward()
        optimizer.step()
    restored = RowAdam([nn.Parameter(table.data.clone())])
    restored.load_state_dict(deepcopy(optimizer.state_dict()))
    for kept in (optimizer.state[table], next(iter(restored.state.values()))):
        assert kept["touches"].tolist() == [301, 151, 0]
        assert kept["last"].tolist() == [301, 301, 0]
        assert not kept["touches"].is_floating_point()


def test_states_whose_counts_were_floats_go_on(generator: torch.Generator) -> None:
    table = nn.Parameter(torch.ones(4, 2))
    optimizer = RowAdam([table])
    read(table, torch.tensor([2])).sum().backward()
    optimizer.step()
    old = deepcopy(optimizer.state_dict())
    for name in ("touches", "last"):
        old["state"][0][name] = old["state"][0][name].float()
    untouched = nn.Parameter(torch.ones(3, 2))
    restored = RowAdam([untouched, table])
    restored.load_state_dict(
        {**old, "param_groups": [{**old["param_groups"][0], "params": [1, 0]}]}
    )
    assert restored.state[table]["touches"].tolist() == [0, 0, 1, 0]
    assert not restored.state[table]["touches"].is_floating_point()
    assert untouched not in restored.state


@pytest.mark.parametrize("shape", [(), (1,), (2, 3)])
def test_touched_rows_sum_repeats(shape: tuple[int, ...]) -> None:
    slope = torch.tensor([1.0, 2.0, 4.0]).view(3, *[1] * len(shape)).expand(3, *shape)
    gradient = torch.sparse_coo_tensor(
        torch.tensor([[5, 1, 5]]), slope, (6, *shape), check_invariants=True
    )
    rows, summed = touched_rows(gradient)
    assert rows is not None
    assert rows.tolist() == [1, 5]
    assert torch.equal(summed, gradient.to_dense()[rows])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"lr": -1.0}, "lr must be finite and not negative, got -1.0"),
        ({"lr": float("nan")}, "lr must be finite and not negative, got nan"),
        ({"eps": -1e-8}, "eps must be finite and not negative, got -1e-08"),
        ({"betas": (0.9, 1.0)}, r"betas must lie in \[0, 1\), got \(0.9, 1.0\)"),
        ({"betas": (0.9, 0.5)}, r"beta1 \*\* 2 < beta2, got \(0.9, 0.5\)"),
    ],
)
def test_bad_settings_are_refused(wrong: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RowAdam([nn.Parameter(torch.zeros(2, 2))], **wrong)
    optimizer = RowAdam([nn.Parameter(torch.zeros(2, 2))])
    with pytest.raises(ValueError, match=message):
        optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(2, 2))], **wrong})
    assert len(optimizer.param_groups) == 1
