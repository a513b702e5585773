"""Riemannion against its rule on dense matrices; its start; its state."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from hyperrank.lowrank import exact_svd
from hyperrank.operators import from_matrix
from hyperrank.riemannion import Riemannion, initial_pair, partial_isometry
from hyperrank.tangent import project, project_factors
from reference import RiemannionPlain, matrix_of_spectrum

F64 = torch.float64


def normal(*shape: int, number: int = 0, dtype: torch.dtype = F64) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(number))


def pair_of(m: int, n: int, r: int, number: int = 0) -> tuple[nn.Parameter, nn.Parameter]:
    return nn.Parameter(normal(m, r, number=number)), nn.Parameter(normal(n, r, number=number + 1))


def wavy(matrix: Tensor) -> Tensor:
    return (normal(*matrix.shape, number=77) * (matrix.sin() + matrix**2)).sum()


def take_step(pair: tuple[nn.Parameter, nn.Parameter], optimizer: Riemannion) -> Tensor:
    """One step on the wavy loss; returns its dense gradient before it."""
    optimizer.zero_grad()
    whole = pair[0] @ pair[1].T
    whole.retain_grad()
    wavy(whole).backward()
    optimizer.step()
    return whole.grad


@settings(max_examples=20)
@given(
    st.integers(1, 8),
    st.integers(1, 8),
    st.integers(1, 8),
    st.sampled_from([0.0, 0.9]),
    st.integers(0, 99),
)
def test_steps_are_the_rule_on_dense_matrices(
    m: int, n: int, r: int, momentum: float, number: int
) -> None:
    r = min(m, n, r)
    pair = pair_of(m, n, r, number)
    options = {"lr": 0.05, "momentum": momentum, "weight_decay": 0.3}
    ours = Riemannion([pair], **options)
    slow = RiemannionPlain((pair[0] @ pair[1].T).detach(), r, **options)
    for _ in range(3):
        slow.step(take_step(pair, ours))
        torch.testing.assert_close((pair[0] @ pair[1].T).detach(), slow.matrix, rtol=0, atol=1e-7)


def test_the_pair_that_stands_for_the_matrix_does_not_matter() -> None:
    first = pair_of(9, 7, 3)
    change = normal(3, 3, number=9)
    second = (
        nn.Parameter(first[0].data @ change),
        nn.Parameter(first[1].data @ torch.linalg.inv(change).T),
    )
    optimizers = [Riemannion([pair], lr=0.1) for pair in (first, second)]
    for _ in range(5):
        for pair, optimizer in zip((first, second), optimizers, strict=True):
            take_step(pair, optimizer)
        torch.testing.assert_close(first[0] @ first[1].T, second[0] @ second[1].T)
    for factor, other in (first, first[::-1]):  # balanced: equal diagonal Gram matrices
        gram = factor.T @ factor
        torch.testing.assert_close(gram, other.T @ other)
        torch.testing.assert_close(gram, gram.diagonal().diag(), rtol=0, atol=1e-12)


def test_directions_have_singular_values_near_one() -> None:
    """The paper reports 0.9 to 1.1; so it is where the rank is far below the sides."""
    for number in range(5):
        low_rank = normal(200, 5, number=number) @ normal(150, 5, number=number + 20).T
        point = exact_svd(low_rank, 5)
        moved = project(point, from_matrix(normal(200, 150, number=number + 50)))
        along = project_factors(point, *partial_isometry(*moved.factors()))
        values = torch.linalg.svdvals(along.dense())
        assert 0.88 < values[9] < values[0] < 1.1
        assert values[10] < 1e-10


def test_a_step_is_lr_long_in_float32_at_condition_1e5() -> None:
    values = torch.logspace(0, -5, 4, dtype=F64)
    svd = exact_svd(matrix_of_spectrum(40, 30, values, torch.Generator().manual_seed(0)), 4)
    pair = [nn.Parameter((part * values.sqrt()).float()) for part in (svd.left, svd.right)]
    before, slope = svd.dense(), normal(40, 30, number=5)
    slow = RiemannionPlain(before, 4, lr=1e-2, momentum=0.0)
    along = slow.step(slope)
    optimizer = Riemannion([pair], lr=1e-2, momentum=0.0)
    (slope.float() * (pair[0] @ pair[1].T)).sum().backward()
    optimizer.step()
    after = (pair[0] @ pair[1].T).detach().double()
    torch.testing.assert_close(after, slow.matrix, rtol=0, atol=2e-6)
    assert 0.8e-2 < torch.linalg.matrix_norm(along * 1e-2, 2) < 1.2e-2


def test_it_recovers_a_matrix_of_its_rank() -> None:
    target = normal(30, 3, number=2) @ normal(20, 3, number=3).T
    pair = pair_of(30, 20, 3)
    optimizer = Riemannion([pair], lr=3.0, momentum=0.5)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.94)
    for _ in range(180):
        optimizer.zero_grad()
        (pair[0] @ pair[1].T - target).square().sum().backward()
        optimizer.step()
        schedule.step()
    assert (pair[0] @ pair[1].T - target).norm() < 1e-4 * target.norm()


def test_state_survives_saving() -> None:
    pair = pair_of(9, 7, 3)
    optimizer = Riemannion([pair], lr=0.1)
    take_step(pair, optimizer)
    copies = tuple(nn.Parameter(factor.data.clone()) for factor in pair)
    restored = Riemannion([copies], lr=0.7, momentum=0.1)
    restored.load_state_dict(deepcopy(optimizer.state_dict()))
    for _ in range(3):
        take_step(pair, optimizer)
        take_step(copies, restored)
    for one, other in zip(pair, copies, strict=True):
        torch.testing.assert_close(one.data, other.data, rtol=0, atol=0)


def test_groups_closures_and_pairs_without_gradients() -> None:
    moved, still, frozen = pair_of(5, 4, 2), pair_of(5, 4, 2), pair_of(6, 3, 1)
    optimizer = Riemannion([moved, {"params": still, "lr": 0.0}, frozen], lr=0.1)
    before = [(pair[0] @ pair[1].T).detach() for pair in (moved, still, frozen)]

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = wavy(moved[0] @ moved[1].T) + wavy(still[0] @ still[1].T)
        loss.backward()
        return loss

    torch.testing.assert_close(optimizer.step(closure), 2 * wavy(before[0]))
    assert (moved[0] @ moved[1].T - before[0]).norm() > 0.1
    torch.testing.assert_close(still[0] @ still[1].T, before[1])
    assert torch.equal(frozen[0] @ frozen[1].T, before[2])


def test_no_slope_no_step() -> None:
    pair = pair_of(5, 4, 2)
    before = (pair[0] @ pair[1].T).detach()
    optimizer = Riemannion([pair], lr=0.1)
    ((pair[0] @ pair[1].T) * 0).sum().backward()
    optimizer.step()
    torch.testing.assert_close((pair[0] @ pair[1].T).detach(), before)


def test_a_step_to_lower_rank_keeps_a_usable_pair() -> None:
    """A full decay to zero of one direction: the least value is held at eps times the largest."""
    pair = [nn.Parameter(torch.diag(torch.tensor([2.0, 1e-6]))), nn.Parameter(torch.eye(2))]
    optimizer = Riemannion([pair], lr=1e-6, momentum=0.0)
    pair[0].grad, pair[1].grad = torch.diag(torch.tensor([0.0, 1.0])), torch.zeros(2, 2)
    optimizer.step()
    for _ in range(2):
        for factor in pair:
            factor.grad = torch.ones(2, 2)
        optimizer.step()
        assert all(factor.isfinite().all() for factor in pair)


@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 6), st.integers(0, 99))
def test_partial_isometries(m: int, n: int, k: int, number: int) -> None:
    left, right = normal(m, k, number=number), normal(n, k, number=number + 1)
    first, second = partial_isometry(left, right)
    u, values, v = torch.linalg.svd(left @ right.T, full_matrices=False)
    kept = values > 1e-12
    torch.testing.assert_close(first @ second.T, u[:, kept] @ v[kept])
    first, second = partial_isometry(left * 0, right)
    assert not (first @ second.T).any()


# the start


def test_the_start_sees_the_2r_leading_values_of_the_gradient(generator: torch.Generator) -> None:
    weight, rank = normal(12, 10), 3

    def loss(left: Tensor, right: Tensor) -> Tensor:
        return wavy(weight + left @ right.T)

    leaf = weight.clone().requires_grad_()
    slope = torch.autograd.grad(wavy(leaf), leaf)[0]
    left, right = initial_pair(
        loss, (12, 10), rank, alpha=0.25, generator=generator, dtype=F64, iterations=30
    )
    torch.testing.assert_close(
        torch.linalg.svdvals(left @ right.T)[:3], torch.full((3,), 0.25).double()
    )
    point = exact_svd(left @ right.T, rank)
    seen = project(point, from_matrix(slope)).norm()
    torch.testing.assert_close(seen, torch.linalg.svdvals(slope)[: 2 * rank].norm())
    svd = exact_svd(slope)
    for ours, exact in ((left, svd.left[:, :3]), (right, svd.right[:, 3:6])):
        torch.testing.assert_close(ours.abs(), exact.abs() / 2, rtol=0, atol=1e-6)


def test_the_start_of_a_frozen_weight_trains(generator: torch.Generator) -> None:
    weight, target = normal(12, 10), normal(12, 10, number=4)

    def loss(left: Tensor, right: Tensor) -> Tensor:
        return (weight + left @ right.T - target).square().sum()

    start = initial_pair(loss, (12, 10), 2, alpha=0.1, generator=generator, dtype=F64)
    frozen = weight - start[0] @ start[1].T
    pair = [nn.Parameter(factor) for factor in start]
    optimizer = Riemannion([pair], lr=0.2)
    before = (frozen + pair[0] @ pair[1].T - target).square().sum().item()
    assert before == pytest.approx(float((weight - target).square().sum()))
    for _ in range(20):
        optimizer.zero_grad()
        now = (frozen + pair[0] @ pair[1].T - target).square().sum()
        now.backward()
        optimizer.step()
    assert now < 0.8 * before


# what is refused


def test_bad_pairs_and_options_are_refused() -> None:
    a, b = nn.Parameter(torch.ones(5, 2)), nn.Parameter(torch.ones(4, 2))
    for pairs, options, message in (
        ([a], {}, r"pair of factors \(m, r\) and \(n, r\), got shapes \[\(5, 2\)\]; pass"),
        ([(a,)], {}, r"got shapes \[\(5, 2\)\]; pass \[\(left, right\), ...\]"),
        ([(a, nn.Parameter(torch.ones(4, 3)))], {}, r"got shapes \[\(5, 2\), \(4, 3\)\]"),
        ([(a, nn.Parameter(torch.ones(1, 2)))], {}, "has no rank between 1 and its smaller side"),
        ([(a, nn.Parameter(torch.ones(4, 2).double()))], {}, "got torch.float32 and torch.float64"),
        ([(a, b)], {"lr": -1.0}, r"must not be negative, got -1.0 and 0.0"),
        ([(a, b)], {"momentum": 1.0}, r"momentum must lie in \[0, 1\), got 1.0"),
    ):
        with pytest.raises(ValueError, match=message):
            Riemannion(pairs, **options)


def test_bad_gradients_are_refused() -> None:
    pair = pair_of(5, 4, 2)
    optimizer = Riemannion([pair], lr=0.1)
    pair[0].grad = torch.ones_like(pair[0])
    with pytest.raises(ValueError, match=r"shape \(4, 2\) needs a dense gradient, got none"):
        optimizer.step()
    pair[1].grad = torch.ones_like(pair[1]).to_sparse()
    with pytest.raises(ValueError, match=r"shape \(4, 2\) needs a dense gradient, got a sparse"):
        optimizer.step()
    pair[1].grad = torch.full_like(pair[1], torch.nan)
    with pytest.raises(ValueError, match=r"pair \(5, 2\), \(4, 2\) holds NaN or infinity"):
        optimizer.step()
    zero = [nn.Parameter(torch.ones(5, 2)), nn.Parameter(torch.zeros(4, 2))]
    for factor in zero:
        factor.grad = torch.ones_like(factor)
    with pytest.raises(ValueError, match="left factor has columns that are zero, dependent or NaN"):
        Riemannion([zero]).step()


def test_bad_starts_are_refused(generator: torch.Generator) -> None:
    def loss(left: Tensor, right: Tensor) -> Tensor:
        return (left @ right.T).sum()

    with pytest.raises(ValueError, match=r"rank must lie in 1..2 for shape \(5, 4\), got 3"):
        initial_pair(loss, (5, 4), 3, alpha=1.0, generator=generator)
    with pytest.raises(ValueError, match=r"alpha must be above zero and finite, got 0"):
        initial_pair(loss, (5, 4), 2, alpha=0.0, generator=generator)
