"""What updates stand on comes back from a folder's tensors as it was."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch

from hyperrank.neighbours import Neighbours
from hyperrank.pairs import PairSet, pair_set
from hyperrank.scorers import Factors
from recsys.saved_fits import from_tensors, tensors_of
from recsys.updates import Base

N_USERS, N_ITEMS, DIM = 4, 5, 3


@pytest.fixture
def seen() -> PairSet:
    users, items = torch.tensor([0, 0, 1, 2, 3]), torch.tensor([0, 4, 1, 2, 3])
    return pair_set(users, items, n_queries=N_USERS, n_candidates=N_ITEMS)


@pytest.fixture
def fit(seen: PairSet, generator: torch.Generator) -> Base:
    users, items = torch.randn(N_USERS + N_ITEMS, DIM, generator=generator).split([4, 5])
    near = Neighbours(torch.zeros(N_ITEMS, 2).long(), torch.ones(N_ITEMS, 2))
    degrees = seen.query_degrees, seen.candidate_degrees
    return Base(users, items, *degrees, users.mean(0), near, torch.ones(N_USERS, 2))


def same(one: Base, other: Base) -> bool:
    def equal(left: object, right: object) -> bool:
        if isinstance(left, Neighbours) and isinstance(right, Neighbours):
            return all(map(torch.equal, left, right))
        if isinstance(left, torch.Tensor) and isinstance(right, torch.Tensor):
            return torch.equal(left, right)
        return left is right

    names = [field.name for field in fields(Base) if field.name != "kept"]
    return all(equal(getattr(one, name), getattr(other, name)) for name in names)


def test_an_updated_fit_comes_back(fit: Base, seen: PairSet) -> None:
    news = torch.tensor([True, False, False, False]), torch.zeros(N_ITEMS, dtype=torch.bool)
    rows = Factors(fit.users + 1, fit.items)  # user 0 was solved again
    found = from_tensors(tensors_of(fit, fit, news), rows, seen)
    assert same(found[0], fit)
    assert found[1] is found[0]
    assert all(map(torch.equal, found[2], news))


def test_a_sweep_comes_back_beside_its_fit(fit: Base, seen: PairSet) -> None:
    swept = replace(fit, users=fit.users + 1, items=fit.items + 1, kept={})
    news = torch.ones(N_USERS, dtype=torch.bool), torch.ones(N_ITEMS, dtype=torch.bool)
    found = from_tensors(tensors_of(fit, swept, news), Factors(swept.users, swept.items), seen)
    assert same(found[0], fit)
    assert same(found[1], swept)


def test_a_folder_of_an_earlier_version_stands_on_its_tables(fit: Base, seen: PairSet) -> None:
    found, base, news = from_tensors({}, Factors(fit.users, fit.items), seen)
    assert base is found
    assert torch.equal(found.users, fit.users)
    assert torch.equal(found.item_degree, seen.candidate_degrees)
    assert not any(bool(mark.any()) for mark in news)
