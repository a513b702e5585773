"""Group-and-Shuffle maps against the product of their dense factors."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hyperrank.group_shuffle import GroupShuffle, cayley, factors_needed
from reference import group_shuffle_plain

SIZES = st.sampled_from([(6, 2), (6, 3), (12, 3), (12, 4), (16, 4), (8, 1), (5, 5), (30, 5)])


def made(n: int, block: int, factors: int, maps: int, number: int) -> GroupShuffle:
    generator = torch.Generator().manual_seed(number)
    module = GroupShuffle(n, block, factors=factors, maps=maps, scale=1.0, generator=generator)
    return module.double()


@settings(max_examples=40)
@given(size=SIZES, factors=st.integers(1, 4), maps=st.integers(1, 3), number=st.integers(0, 10**6))
def test_it_is_the_orthogonal_product_of_its_factors(
    size: tuple[int, int], factors: int, maps: int, number: int
) -> None:
    module = made(*size, factors, maps, number)
    n = size[0]
    q = module.dense()
    assert q.shape == (maps, n, n)
    for one, blocks in zip(q, module.blocks(), strict=True):
        torch.testing.assert_close(one, group_shuffle_plain(blocks))
    identity = torch.eye(n, dtype=torch.float64).expand(maps, n, n)
    torch.testing.assert_close(q @ q.mT, identity, rtol=0, atol=1e-13)
    torch.testing.assert_close(torch.linalg.det(q), torch.ones(maps, dtype=torch.float64))
    x = torch.randn(maps, 4, n, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(module(x), x @ q.mT)
    torch.testing.assert_close(module.transpose(x), x @ q)
    torch.testing.assert_close(module.transpose(module(x)), x)


@pytest.mark.parametrize(
    ("n", "block", "factors"),
    [
        (64, 8, 2),
        (72, 8, 2),
        (128, 16, 2),
        (56, 8, 2),
        (27, 3, 3),
        (30, 3, 3),
        (48, 4, 3),
        (6, 2, 3),
    ],
)
def test_dense_if_and_only_if_blocks_reach(n: int, block: int, factors: int) -> None:
    module = made(n, block, factors, 1, 0)
    dense = bool((module.dense().abs() > 1e-12).all())
    assert dense == (n <= block**factors) == module.is_dense
    assert (factors_needed(n, block) <= factors) == dense


@pytest.mark.parametrize(("n", "block", "count"), [(64, 8, 448), (128, 16, 1920)])
def test_known_numbers_of_parameters(n: int, block: int, count: int) -> None:
    module = made(n, block, 2, 1, 0)
    assert sum(p.numel() for p in module.parameters()) == count
    q = module.dense()[0]
    assert (q.mT @ q - torch.eye(n, dtype=torch.float64)).abs().max() < 1e-14


def test_it_starts_as_the_identity() -> None:
    module = GroupShuffle(12, 3, factors=3, maps=2)
    torch.testing.assert_close(module.dense(), torch.eye(12).expand(2, 12, 12))
    assert repr(module) == "GroupShuffle(n=12, block=3, factors=3, maps=2)"


def test_chosen_maps_are_those_of_the_stack(generator: torch.Generator) -> None:
    module = made(12, 4, 2, 5, 0)
    chosen = torch.tensor([3, 0, 3])
    x = torch.randn(3, 2, 12, dtype=torch.float64, generator=generator)
    torch.testing.assert_close(module.dense(chosen), module.dense()[chosen])
    torch.testing.assert_close(module(x, chosen), x @ module.dense()[chosen].mT)
    torch.testing.assert_close(module.transpose(x, chosen), x @ module.dense()[chosen])


def test_half_turns_of_huge_entries_stay_orthogonal() -> None:
    for dtype, unit in ((torch.float32, 1e-6), (torch.float64, 1e-14)):
        turns = cayley(torch.tensor([[1e-20], [1.0], [1e6], [1e20]], dtype=dtype), 2)
        off: Tensor = turns.mT @ turns - torch.eye(2, dtype=dtype)
        assert off.abs().max() < unit


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("size", [2, 3, 4, 7, 16])
def test_blocks_of_any_entries_stay_orthogonal(
    size: int, dtype: torch.dtype, generator: torch.Generator
) -> None:
    """Odd sizes have an axis that stays, whatever the rest: I + K is of condition |K| there."""
    start = torch.randn(20, size * (size - 1) // 2, generator=generator, dtype=torch.float64)
    unit = torch.finfo(dtype).eps
    for scale in (0.0, 1e-30, 1.0, 1e3, 1e5, 1e7, 1e9, 1e20, 1e37):
        turns = cayley((start * scale).to(dtype), size)
        assert turns.dtype == dtype
        turns = turns.double()
        off = turns.mT @ turns - torch.eye(size, dtype=torch.float64)
        assert off.abs().max() < 4 * unit, scale
        assert (torch.linalg.det(turns) - 1).abs().max() < 10 * size * unit, scale


def test_a_large_turn_in_space_keeps_its_axis() -> None:
    """Rodrigues: K of three entries turns about one axis, by 2 atan of its length."""
    for scale in (1.0, 1e3, 1e6, 1e12):
        turn = cayley(scale * torch.tensor([3.0, -2.0, 6.0], dtype=torch.float64), 3)
        axis = torch.tensor([6.0, 2.0, 3.0], dtype=torch.float64) / 7
        torch.testing.assert_close(turn @ axis, axis, rtol=0, atol=1e-9)
        half = torch.tensor(7 * scale, dtype=torch.float64).atan()
        wanted = 1 + 2 * (2 * half).cos()
        torch.testing.assert_close(turn.trace(), wanted, rtol=0, atol=1e-11)


def test_gradients(generator: torch.Generator) -> None:
    module = made(6, 2, 3, 2, 0)
    x = torch.randn(3, 2, 6, dtype=torch.float64, generator=generator, requires_grad=True)
    chosen = torch.tensor([1, 0, 1])

    def both(skew: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        call = torch.func.functional_call
        return call(module, {"skew": skew}, (x, chosen)), module.transpose(x, chosen)

    skew = module.skew.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(both, (skew, x))


def test_it_learns_a_rotation_of_its_kind(generator: torch.Generator) -> None:
    wanted = GroupShuffle(8, 4, scale=0.3, generator=generator)
    module = GroupShuffle(8, 4)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.1)
    x = torch.randn(1, 40, 8, generator=generator)
    target = wanted(x).detach()
    for _ in range(60):
        optimizer.zero_grad()
        loss = (module(x) - target).square().mean()
        loss.backward()
        optimizer.step()
    assert loss.item() < 1e-3


def test_no_vectors_and_no_maps() -> None:
    module = GroupShuffle(6, 3, maps=2)
    assert module(torch.zeros(2, 0, 6)).shape == (2, 0, 6)
    none = torch.zeros(0, dtype=torch.long)
    assert module(torch.zeros(0, 4, 6), none).shape == (0, 4, 6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: GroupShuffle(7, 2), "block must divide n, got n = 7 and block = 2"),
        (lambda: GroupShuffle(4, 0), "block must divide n, got n = 4 and block = 0"),
        (lambda: GroupShuffle(4, 2, factors=0), "at least 1, got 0 and 1"),
        (lambda: GroupShuffle(4, 2, scale=0.1), "scale 0.1 draws a random start; pass a gen"),
        (lambda: GroupShuffle(4, 2)(torch.ones(1, 3, 5)), r"\(1, m, 4\).*got \(1, 3, 5\)"),
        (lambda: GroupShuffle(4, 2)(torch.ones(2, 3, 4)), r"\(1, m, 4\).*got \(2, 3, 4\)"),
        (lambda: factors_needed(4, 1), "blocks of 1 never mix 4 numbers; use at least 2"),
    ],
)
def test_bad_requests_are_refused(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_entries_that_are_not_finite_show() -> None:
    for bad in (torch.nan, torch.inf):
        assert cayley(torch.tensor([1.0, bad, 2.0]), 3).isnan().all()
    assert torch.equal(cayley(torch.zeros(4, 0), 1), torch.ones(4, 1, 1))
    assert cayley(torch.zeros(0, 3), 3).shape == (0, 3, 3)
