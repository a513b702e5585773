"""Rows times their group's matrix: equal to a loop, however the rows fall into groups."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from hyperrank import group_products
from hyperrank.group_products import Groups

labels = st.lists(st.integers(0, 9), max_size=60)


@given(labels, st.sampled_from([1, 4, 32]))
def test_products_are_those_of_a_loop(drawn: list[int], least: int) -> None:
    generator = torch.Generator().manual_seed(len(drawn))
    label = torch.tensor(drawn, dtype=torch.int64)
    before, group_products.LEAST_TILE = group_products.LEAST_TILE, least
    try:
        groups = Groups.of(label)
    finally:
        group_products.LEAST_TILE = before
    members = sorted(set(drawn))
    assert groups.members.tolist() == members
    rows = torch.randn(len(drawn), 3, generator=generator, dtype=torch.float64, requires_grad=True)
    table = torch.randn(10, 3, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    found = groups.products(rows, table[groups.members])
    plain = torch.stack([rows[i] @ table[g] for i, g in enumerate(drawn)] or [rows.new_empty(2)])
    plain = plain[: len(drawn)]
    torch.testing.assert_close(found, plain)
    if drawn:
        slopes = torch.autograd.grad(found.square().sum(), [rows, table])
        expected = torch.autograd.grad(plain.square().sum(), [rows, table])
        torch.testing.assert_close(slopes, expected)


def test_padding_stays_within_some_times_the_rows() -> None:
    label = torch.cat([torch.zeros(5000, dtype=torch.int64), torch.arange(1, 400)])
    groups = Groups.of(label)
    assert len(groups.tiles) * groups.width < 6 * len(label)
    assert len(groups.tiles) < 2 * len(groups.members)
