"""beta and omega against dense brute force."""

from __future__ import annotations

import pytest
import torch

from hyperrank.pairs import PairSet, pair_set
from recsys.item_graph import degree_factors, item_neighbours
from reference import omega_paper, omega_released


def random_pairs(generator: torch.Generator) -> PairSet:
    """30 x 20 with empty users and items."""
    user = torch.randint(28, (90,), generator=generator)
    item = torch.randint(18, (90,), generator=generator)
    return pair_set(user, item, n_queries=30, n_candidates=20)


def test_beta_is_its_formula(generator: torch.Generator) -> None:
    pairs = random_pairs(generator)
    dense = pairs.to_csr().to_dense()
    users, items = degree_factors(pairs)
    assert users.isfinite().all()
    for u, i in dense.nonzero().tolist():
        d_u, d_i = float(dense[u].sum()), float(dense[:, i].sum())
        expected = ((d_u + 1) / (d_i + 1)) ** 0.5 / d_u
        assert float(users[u] * items[i]) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("formula", "include_self"), [("code", True), ("code", False), ("paper", True)]
)
def test_omega_is_its_formula(formula: str, include_self: bool, generator: torch.Generator) -> None:
    pairs = random_pairs(generator)
    dense = pairs.to_csr().to_dense().double()
    omega = {"code": omega_released, "paper": omega_paper}[formula](dense)
    if not include_self:
        omega.fill_diagonal_(0)
    found = item_neighbours(pairs, 4, formula, include_self)
    expected = omega.sort(1, descending=True).values[:, :4].float()
    torch.testing.assert_close(found.weight, expected)
    torch.testing.assert_close(omega.gather(1, found.nearest).float(), expected)
