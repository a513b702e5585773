"""The squared-loss UltraGCN against dense algebra, and its fold-in against the published loop."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from hyperrank import store
from recsys import Interactions, PureSVD, SquaredUltraGCN
from recsys.item_graph import item_factor, user_factor
from tests.reference import best_of_rank
from tests.update_logs import BASE, N_USERS, NEWS, assert_same, events, log

SETTINGS = {"dim": 5, "iterations": 30, "offset": 0.05}


def matrix_of(model: SquaredUltraGCN) -> Tensor:
    return model.seen_.to_csr().to_dense().float()


def vectors(model: SquaredUltraGCN) -> tuple[Tensor, Tensor]:
    tables = model._factors()
    return tables.queries, tables.candidates


def published(
    items: Tensor, rows: Tensor, user_degree: Tensor, item_degree: Tensor, offset: float
) -> Tensor:
    """f_u of the published script, a user at a time, from the items' f."""
    b_item = 1 / (1 + item_degree.double()).sqrt()
    inverse = torch.linalg.pinv(items.double() / (1 + b_item)[:, None])
    found = []
    for row, degree in zip(rows.double(), user_degree.tolist(), strict=True):
        b_user = (1 + degree) ** 0.5 / degree
        found.append((1 + b_user) * inverse @ (row / (offset + b_user * b_item)))
    return torch.stack(found).float()


@pytest.mark.parametrize("seed", range(4))
def test_it_is_the_minimum_of_the_released_loss(seed: int) -> None:
    model = SquaredUltraGCN(**SETTINGS).fit(log(events(seed, 250)))
    rows, (users, items) = matrix_of(model), vectors(model)
    torch.testing.assert_close(users @ items.T, best_of_rank(rows, 5), rtol=0, atol=1e-4)
    own = 1 + user_factor(model.seen_.query_degrees)[:, None]
    other = 1 + item_factor(model.seen_.candidate_degrees)[:, None]
    e_user, e_item = ((f / scale).requires_grad_() for f, scale in ((users, own), (items, other)))
    loss = (rows - (own * e_user) @ (other * e_item).T).square().sum()
    tail = torch.linalg.svdvals(rows)[5:].square().sum()
    torch.testing.assert_close(loss, tail, rtol=1e-5, atol=0)
    for slope in torch.autograd.grad(loss, [e_user, e_item]):
        assert float(slope.abs().max()) < 1e-2
    torch.testing.assert_close(users.norm(dim=0), items.norm(dim=0), rtol=1e-3, atol=0)


@pytest.mark.parametrize("way", ["exact", "published"])
def test_guests_are_solved_from_their_own_histories(way: str) -> None:
    model = SquaredUltraGCN(**SETTINGS, fold_in_by=way).fit(log(BASE))
    guests = model.fold_in(log(events(3, 60)))
    rows, (found, items) = matrix_of(guests), vectors(guests)
    if way == "exact":
        expected = torch.linalg.lstsq(items, rows.T).solution.T
    else:
        degree, of_fit = rows.sum(1), model.seen_.candidate_degrees
        expected = published(items, rows, degree, of_fit, model.offset)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_known_users_keep_the_degree_of_the_fit() -> None:
    model = SquaredUltraGCN(**SETTINGS, fold_in_by="published").fit(log(BASE))
    updated, news = copy.copy(model), NEWS[NEWS.item.isin(set(BASE.item))]
    updated.partial_fit(log(news))
    rows, (users, items) = matrix_of(updated), vectors(updated)
    then, of_fit = model.seen_.query_degrees, model.seen_.candidate_degrees
    degree = torch.cat([then, rows.sum(1)[len(then) :]])
    expected = published(items, rows, degree, of_fit, model.offset)
    touched = updated.users_.rows(news.user.unique())
    assert (touched < len(then)).any()
    assert (touched >= len(then)).any()
    torch.testing.assert_close(users[touched], expected[touched], rtol=1e-3, atol=1e-4)


def test_a_large_offset_makes_the_published_weights_a_factor() -> None:
    model = SquaredUltraGCN(dim=25, iterations=30, cutoff=0.0).fit(log(BASE))
    whole = model.fold_in(log(BASE)).predict(BASE.user, BASE.item)
    np.testing.assert_allclose(whole, 1, atol=1e-2)  # every direction: the history itself
    model.set_params(fold_in_by="published", offset=1e6)
    flat = model.fold_in(log(BASE[:30]))
    own, other = (
        1 + factor(degree)
        for factor, degree in (
            (user_factor, flat.seen_.query_degrees),
            (item_factor, model.seen_.candidate_degrees),
        )
    )
    users, items = vectors(flat)
    expected = matrix_of(flat) * own[:, None] * other
    torch.testing.assert_close(1e6 * users @ items.T, expected, rtol=0, atol=2e-2)


def test_the_cutoff_leaves_directions_out() -> None:
    model = SquaredUltraGCN(dim=5, iterations=30).fit(log(BASE))
    lengths = vectors(model)[1].norm(dim=0)
    between = float((lengths[2] + lengths[3]) / 2 / lengths[0])
    short = SquaredUltraGCN(dim=5, iterations=30, cutoff=between).fit(log(BASE))
    torch.testing.assert_close(
        vectors(short)[0] @ vectors(short)[1].T,
        best_of_rank(matrix_of(short), 3),
        rtol=0,
        atol=1e-3,
    )
    again = vectors(short.fold_in(log(BASE)))[0]
    torch.testing.assert_close(again, vectors(short)[0], rtol=0, atol=1e-4)


def test_a_new_item_is_the_least_squares_of_its_users() -> None:
    model = SquaredUltraGCN(**SETTINGS).fit(log(BASE))
    before = vectors(model)[0]
    model.partial_fit(log(pd.DataFrame({"user": [1, 2, 3], "item": [900] * 3})))
    taken = torch.zeros(len(before))
    taken[model.users_.rows([1, 2, 3])] = 1
    expected = torch.linalg.lstsq(before, taken[:, None]).solution[:, 0]
    torch.testing.assert_close(vectors(model)[1][-1], expected, rtol=1e-3, atol=1e-5)


def test_published_models_are_saved_updated_and_forget(tmp_path: Path) -> None:
    model = SquaredUltraGCN(**SETTINGS, fold_in_by="published").fit(log(BASE))
    model.forget([0, 5])  # rows move: degrees of the fit move with them
    store.save(model, tmp_path / "m")
    back = store.load(tmp_path / "m")
    assert isinstance(back, SquaredUltraGCN)
    for sweeps in (0, 1, 0):
        for one in (model, back):
            one.partial_fit(log(NEWS), sweeps=sweeps)
        assert_same(model, back)
        assert np.isfinite(back.transform([1, N_USERS, 100])).all()


def test_it_scores_as_pure_svd(checkerboard: Interactions) -> None:
    one, other = (kind(dim=3).fit(checkerboard) for kind in (SquaredUltraGCN, PureSVD))
    pairs = checkerboard.to_frame("pandas")
    scores = (model.predict(pairs.user, pairs.item) for model in (one, other))
    np.testing.assert_allclose(*scores, atol=1e-5)
