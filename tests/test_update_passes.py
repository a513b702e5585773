"""Sweeps: a function of the fit and of all that came since; what they move; what follows them."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from hyperrank import store
from recsys import UltraGCN, update_passes
from tests.update_logs import (
    BASE,
    NEWS,
    OTHERS,
    TRIPLETS,
    assert_same,
    events,
    fitted,
    log,
)


@pytest.fixture(scope="module")
def model() -> UltraGCN:
    return fitted()


SWEPT = {"UltraGCN": fitted, **OTHERS, **TRIPLETS}


@pytest.mark.parametrize("name", SWEPT)
@pytest.mark.parametrize("seed", range(2))
def test_the_order_does_not_matter_to_sweeps(name: str, seed: int) -> None:
    if name.startswith("Implicit"):
        pytest.importorskip("implicit", reason="implicit is an option")
    model = SWEPT[name]()
    at_once, in_parts = copy.copy(model), copy.copy(model)
    at_once.partial_fit(log(NEWS), sweeps=2)
    order = np.random.default_rng(seed).permutation(len(NEWS))
    for count, part in enumerate(np.array_split(order, 3)):  # the last one decides
        in_parts.partial_fit(log(NEWS.iloc[part]), sweeps=2 * (count == 2))
    assert_same(at_once, in_parts)


def test_a_sweep_moves_what_has_news_and_nothing_else(model: UltraGCN) -> None:
    swept = copy.copy(model)
    report = swept.partial_fit(log(NEWS), sweeps=1)
    assert report.items_touched == NEWS.item.nunique()
    assert report.users_touched == NEWS.user.nunique()
    assert report.verdict == "refit"
    assert "certified" not in report.reason
    for now, then, ids, moved in (
        (swept._factors().queries, model._factors().queries, model.users_.ids, set(NEWS.user)),
        (
            swept._factors().candidates,
            model._factors().candidates,
            model.items_.ids,
            set(NEWS.item),
        ),
    ):
        still = torch.tensor([one not in moved for one in ids.tolist()])
        same = (now[: len(ids)] == then).all(1)
        assert still.any()
        assert torch.equal(same, still)


def test_many_sweeps_reach_a_joint_minimum(model: UltraGCN) -> None:
    few, many = copy.copy(model), copy.copy(model)
    few.partial_fit(log(NEWS), sweeps=30)
    many.partial_fit(log(NEWS), sweeps=31)
    assert_same(few, many)


@pytest.mark.parametrize("name", SWEPT)
def test_a_sweep_comes_in_parts_that_fit(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name.startswith("Implicit"):
        pytest.importorskip("implicit", reason="implicit is an option")
    whole, in_parts = copy.copy(SWEPT[name]()), copy.copy(SWEPT[name]())
    whole.partial_fit(log(NEWS), sweeps=2)
    monkeypatch.setattr(update_passes, "PAIRS_AT_ONCE", 20)
    in_parts.partial_fit(log(NEWS), sweeps=2)
    assert_same(whole, in_parts)


def test_updates_after_a_sweep_stand_on_it(model: UltraGCN, tmp_path: Path) -> None:
    half = len(NEWS) // 2
    swept = copy.copy(model)
    swept.partial_fit(log(NEWS[:half]), sweeps=1)
    before = swept._factors()
    store.save(swept, tmp_path / "m")
    back = store.load(tmp_path / "m")
    for one in (swept, back):
        one.partial_fit(log(NEWS[half:]))
    assert_same(swept, back)
    n = len(before.candidates)
    assert torch.equal(swept._factors().candidates[:n], before.candidates)
    for one in (swept, back):
        one.partial_fit(log(NEWS[:1]), sweeps=2)
    assert_same(swept, back)
    model_at_once = copy.copy(model)
    model_at_once.partial_fit(log(NEWS), sweeps=2)
    assert_same(model_at_once, back)


@pytest.mark.parametrize(
    "name", [name for name in SWEPT if "published" not in name]
)  # not in sweeps
def test_guests_of_a_swept_model_are_solved_as_its_own_users(name: str) -> None:
    if name.startswith("Implicit"):
        pytest.importorskip("implicit", reason="implicit is an option")
    swept = copy.copy(SWEPT[name]())
    swept.partial_fit(log(NEWS), sweeps=2)
    known = pd.concat([BASE, NEWS])
    asked = [0, 1, 100, 101]
    guests = swept.fold_in(log(known[known.user.isin(asked)].drop_duplicates()))
    # a sweep leaves a row of UltraGCN within 5% of its size, one of TriplH within 1%
    atol = 1e-5 if name in OTHERS else 0.1
    np.testing.assert_allclose(guests.transform(asked), swept.transform(asked), atol=atol)


def test_a_sweep_among_guests_leaves_items_without_news(model: UltraGCN) -> None:
    updated = copy.copy(model)
    updated.partial_fit(log(NEWS))
    guests = updated.fold_in(log(BASE[:50]))
    guests.partial_fit(log(BASE[:5]), sweeps=1)
    quiet = [item for item in updated.items_.ids if item not in set(BASE[:5].item)]
    np.testing.assert_array_equal(guests.transform_items(quiet), updated.transform_items(quiet))


@pytest.mark.parametrize("power", [-0.5, 0.5])
def test_an_item_that_nobody_has_is_never_drawn(power: float) -> None:
    swept = copy.copy(fitted(negative_power=power))
    swept.partial_fit(log(NEWS, pd.DataFrame({"user": [700], "item": [900]})))
    swept.forget([700])
    swept.partial_fit(log(NEWS), sweeps=1)
    assert not swept.transform_items([900]).any()
    assert np.linalg.norm(swept.transform_items([0])) > 1


def test_forgetting_after_a_sweep(model: UltraGCN) -> None:
    swept = copy.copy(model)
    swept.partial_fit(log(NEWS), sweeps=1)
    swept.forget([0, 100])
    others = swept.users_.ids
    assert {0, 100}.isdisjoint(others.tolist())
    swept.partial_fit(log(events(5, 20)))
    swept.partial_fit(log(events(6, 20)), sweeps=1)
    assert np.isfinite(swept.transform(others)).all()
    with pytest.raises(ValueError, match="sweeps must be at least 0, got -1"):
        swept.partial_fit(log(NEWS), sweeps=-1)
