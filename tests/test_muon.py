"""Muon against torch's own and against the formula; schedules, groups with AdamW, saving."""

from __future__ import annotations

import math
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hyperrank.muon import QUINTIC, Muon, orthogonalized
from hyperrank.orthogonal import delta_schedule, minimax_schedule, with_margin
from reference import muon_plain, polar_plain

SHAPES = [(6, 6), (9, 4), (4, 9), (5, 1), (1, 1)]


def parameters(generator: torch.Generator, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    return [torch.randn(shape, generator=generator, dtype=dtype) for shape in SHAPES]


def walk(optimizer: torch.optim.Optimizer, start: list[Tensor], steps: int, number: int) -> None:
    """Steps with slopes that depend on the parameters and on nothing else."""
    generator = torch.Generator().manual_seed(number)
    for _ in range(steps):
        for p in start:
            noise = torch.randn(p.shape, generator=generator, dtype=p.dtype)
            p.grad = p.detach() + noise
        optimizer.step()


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this torch has no Muon")
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"nesterov": False, "momentum": 0.8},
        {"weight_decay": 0.0, "lr": 0.3},
        {"adjust_lr_fn": "original", "eps": 10.0},
        {"adjust_lr_fn": "match_rms_adamw", "ns_steps": 3},
        {"ns_coefficients": (2.0, -1.5, 0.5)},
        {"lr": torch.tensor(0.1)},
    ],
    ids=str,
)
@pytest.mark.parametrize("listed", [False, True])
def test_it_is_torchs_muon_when_given_one_triple(
    settings: dict[str, Any], listed: bool, generator: torch.Generator
) -> None:
    start = parameters(generator)
    ours, theirs = ([nn.Parameter(p.clone()) for p in start] for _ in range(2))
    own = dict(settings)
    if listed:
        triple = settings.get("ns_coefficients", QUINTIC)
        own["ns_coefficients"] = [triple] * settings.get("ns_steps", 5)
    walk(Muon(ours, **own), ours, 6, 1)
    walk(torch.optim.Muon(theirs, **settings), theirs, 6, 1)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize("rule", [None, "match_rms_adamw"])
def test_it_is_the_formula_with_exact_factors(
    nesterov: bool, rule: str | None, generator: torch.Generator
) -> None:
    """A schedule that reaches every singular value gives the polar factor of the average."""
    start = parameters(generator, torch.float64)
    moved = [nn.Parameter(p.clone()) for p in start]
    optimizer = Muon(
        moved,
        lr=0.2,
        ns_coefficients=minimax_schedule(1e-7, 1.0, 3, 30),
        nesterov=nesterov,
        adjust_lr_fn=rule,
        dtype=None,
    )
    slopes = [parameters(generator, torch.float64) for _ in range(4)]
    for some in slopes:
        for p, slope in zip(moved, some, strict=True):
            p.grad = slope
        optimizer.step()
    for place, (p, first) in enumerate(zip(moved, start, strict=True)):
        expected = muon_plain(
            first,
            [some[place] for some in slopes],
            lr=0.2,
            weight_decay=0.1,
            momentum=0.95,
            nesterov=nesterov,
            match_rms=rule is not None,
        )
        torch.testing.assert_close(p.data, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("degree", [3, 5, 7])
@pytest.mark.parametrize("shape", [(12, 5), (5, 12), (7, 7)])
def test_schedules_of_any_degree(
    degree: int, shape: tuple[int, int], generator: torch.Generator
) -> None:
    x = torch.randn(shape, generator=generator, dtype=torch.float64)
    x = polar_plain(x) + 0.1 * x
    found = orthogonalized(x, minimax_schedule(1e-2, 1.0, degree, 9))
    torch.testing.assert_close(found, polar_plain(x), rtol=0, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize("number", range(5))
def test_low_precision_does_not_turn_a_slope_of_rank_one(dtype: torch.dtype, number: int) -> None:
    """Its norm is its Frobenius norm, so rounding puts it beyond 1, where minimax cubics turn."""
    generator = torch.Generator().manual_seed(number)
    for schedule in (delta_schedule(0.3, 7, 3), minimax_schedule(1e-4, 1.0, 3, 14)):
        p = nn.Parameter(torch.zeros(64, 33))
        slope = torch.randn(64, 1, generator=generator) @ torch.randn(1, 33, generator=generator)
        p.grad = slope
        Muon([p], lr=1.0, ns_coefficients=schedule, dtype=dtype).step()
        along = -(p.data * slope).sum() / slope.norm() / math.sqrt(64 / 33)
        assert 0.65 < along.item() < 1.35


def test_the_margin_is_for_schedules_that_need_it() -> None:
    """A value of 1.005 turns in a bare minimax schedule and stays in one with a margin."""
    x = torch.diag(torch.tensor([1.005, 0.5, 0.1], dtype=torch.float64))
    schedule = minimax_schedule(1e-4, 1.0, 3, 14)
    signs = [orthogonalized_diagonal(x, s)[0].item() for s in (schedule, with_margin(schedule))]
    assert signs[0] < -0.5
    assert signs[1] == pytest.approx(1, abs=0.05)


def orthogonalized_diagonal(x: Tensor, schedule: Any) -> Tensor:
    from hyperrank.orthogonal import apply_schedule

    return apply_schedule(x, schedule).diagonal()


def test_groups_mix_muon_and_adamw(generator: torch.Generator) -> None:
    matrix, table, bias = (
        torch.randn(shape, generator=generator) for shape in ((8, 3), (20, 3), (3,))
    )
    mixed = [nn.Parameter(p.clone()) for p in (matrix, table, bias)]
    alone = [nn.Parameter(p.clone()) for p in (matrix, table, bias)]
    rest = {"algorithm": "adamw", "lr": 0.02, "betas": (0.8, 0.99), "weight_decay": 0.03}
    ours = Muon([{"params": mixed[:1]}, {"params": mixed[1:], **rest}], lr=0.1)
    muon = Muon(alone[:1], lr=0.1)
    adamw = torch.optim.AdamW(alone[1:], lr=0.02, betas=(0.8, 0.99), weight_decay=0.03)
    for number in range(6):
        for some in (mixed, alone):
            source = torch.Generator().manual_seed(number)
            for p in some:
                p.grad = p.detach() + torch.randn(p.shape, generator=source)
        ours.step()
        muon.step()
        adamw.step()
    for one, other in zip(mixed, alone, strict=True):
        torch.testing.assert_close(one, other)


def test_everything_by_adamw(generator: torch.Generator) -> None:
    start = [torch.randn(4, 3, generator=generator), torch.randn(3, generator=generator)]
    ours, theirs = ([nn.Parameter(p.clone()) for p in start] for _ in range(2))
    walk(Muon(ours, algorithm="adamw", weight_decay=0.01), ours, 5, 2)
    walk(torch.optim.AdamW(theirs, weight_decay=0.01), theirs, 5, 2)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)


def test_state_survives_saving(generator: torch.Generator, tmp_path: Any) -> None:
    start = [torch.randn(6, 4, generator=generator), torch.randn(4, generator=generator)]
    moved = [nn.Parameter(p.clone()) for p in start]

    def optimizer(some: list[nn.Parameter], lr: float) -> Muon:
        groups = [{"params": some[:1]}, {"params": some[1:], "algorithm": "adamw"}]
        return Muon(groups, lr=lr, ns_coefficients=minimax_schedule(1e-2, 1.0, 3, 5))

    first = optimizer(moved, 0.1)
    walk(first, moved, 3, 3)
    copies = [nn.Parameter(p.data.clone()) for p in moved]
    second = optimizer(copies, 0.7)
    second.load_state_dict(deepcopy(first.state_dict()))
    assert second.param_groups[0]["lr"] == 0.1
    assert second.param_groups[1]["algorithm"] == "adamw"
    walk(first, moved, 3, 4)
    walk(second, copies, 3, 4)
    for one, other in zip(moved, copies, strict=True):
        assert torch.equal(one, other)


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this torch has no Muon")
def test_a_state_of_torchs_muon_goes_on(generator: torch.Generator) -> None:
    start = parameters(generator)
    theirs = [nn.Parameter(p.clone()) for p in start]
    before = torch.optim.Muon(theirs, lr=0.1)
    walk(before, theirs, 3, 5)
    ours = [nn.Parameter(p.data.clone()) for p in theirs]
    after = Muon(ours, lr=0.1)
    after.load_state_dict({**after.state_dict(), "state": deepcopy(before.state_dict()["state"])})
    walk(before, theirs, 2, 6)
    walk(after, ours, 2, 6)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


def test_a_better_schedule_learns_as_well(generator: torch.Generator) -> None:
    """Ill-conditioned least squares, 12 products a step for either."""
    data = torch.randn(200, 20, generator=generator) * torch.logspace(0, -1, 20)
    target = data @ torch.randn(20, 10, generator=generator)
    losses = []
    for schedule in ([QUINTIC] * 4, delta_schedule(0.3, 6, 3)):
        weight = nn.Parameter(torch.zeros(20, 10))
        optimizer = Muon([weight], lr=0.05, weight_decay=0.0, ns_coefficients=schedule)
        for _ in range(60):
            optimizer.zero_grad()
            loss = (data @ weight - target).square().mean()
            loss.backward()
            optimizer.step()
        losses.append(loss.item())
    assert losses[0] < 0.2 * target.square().mean()
    assert losses[1] < 1.2 * losses[0]


def test_closures_missing_slopes_and_zero_slopes() -> None:
    moved, still = nn.Parameter(torch.ones(3, 2)), nn.Parameter(torch.ones(2, 2))
    optimizer = Muon([moved, still], weight_decay=0.0)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = (0 * moved).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure) == 0
    assert torch.equal(moved.data, torch.ones(3, 2))
    assert torch.equal(still.data, torch.ones(2, 2))
    assert still not in optimizer.state


@pytest.mark.parametrize("algorithm", ["muon", "adamw"])
@pytest.mark.parametrize("shape", [(3, 0), (0, 3), (0, 0)], ids=str)
def test_empty_parameters_stay(shape: tuple[int, int], algorithm: Any) -> None:
    p = nn.Parameter(torch.zeros(shape))
    for rule in (None, "match_rms_adamw"):
        p.grad = torch.zeros(shape)
        Muon([p], algorithm=algorithm, adjust_lr_fn=rule).step()
        assert p.shape == shape


def test_slopes_are_left_as_they_were(generator: torch.Generator) -> None:
    p = nn.Parameter(torch.randn(4, 3, generator=generator))
    slope = torch.randn(4, 3, generator=generator)
    p.grad = slope.clone()
    Muon([p]).step()
    assert torch.equal(p.grad, slope)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": -1.0}, "lr must not be negative, got -1.0"),
        ({"lr": torch.ones(2)}, r"lr must be one number, got \(2,\)"),
        ({"momentum": -0.1}, "momentum must not be negative, got -0.1"),
        ({"weight_decay": -0.1}, "weight_decay must not be negative, got -0.1"),
        ({"betas": (0.9, 1.0)}, r"betas must lie in \[0, 1\), got \(0.9, 1.0\)"),
        ({"ns_steps": 0}, r"ns_steps must lie in 1..99, got 0"),
        ({"ns_coefficients": []}, "or a list of such tuples for each iteration, got"),
        ({"ns_coefficients": [(1.5,)]}, "or a list of such tuples for each iteration, got"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Muon([nn.Parameter(torch.zeros(2, 2))], **settings)


@pytest.mark.parametrize(
    ("group", "message"),
    [
        ({"algorithm": "sgd"}, r"algorithm must be one of \('muon', 'adamw'\), got 'sgd'"),
        ({"adjust_lr_fn": "magic"}, "adjust_lr_fn must be one of .*, got 'magic'"),
        ({"params": [nn.Parameter(torch.zeros(3))]}, r"shape \(3,\); put it in a group with"),
    ],
)
def test_bad_groups_are_refused(group: dict[str, Any], message: str) -> None:
    optimizer = Muon([nn.Parameter(torch.zeros(2, 2))])
    with pytest.raises(ValueError, match=message):
        optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(2, 2))], **group})
    assert len(optimizer.param_groups) == 1


def test_sparse_slopes_are_refused() -> None:
    table = nn.Parameter(torch.zeros(5, 2))
    nn.functional.embedding(torch.tensor([1]), table, sparse=True).sum().backward()
    with pytest.raises(ValueError, match=r"dense gradients; leave tables .*RowAdam"):
        Muon([table]).step()
