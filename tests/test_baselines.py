"""The baselines against slow oracles, known answers and public data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from hyperrank import devices
from recsys.baselines import EASE, ItemKNN, Popularity, PureSVD
from recsys.interactions import Interactions


def dense(log: Interactions) -> np.ndarray:
    matrix: np.ndarray = log.pairs.to_scipy().toarray().astype(np.float64)
    return matrix


def everything(model: Any, log: Interactions) -> np.ndarray:
    """The model's score of every user and item."""
    users, items = np.meshgrid(log.users.ids, log.items.ids, indexing="ij")
    scores: np.ndarray = model.predict(users.ravel(), items.ravel()).reshape(users.shape)
    return scores


def ease_weights(matrix: np.ndarray, l2: float) -> np.ndarray:
    """Column by column: ridge regression of each item on the others, its own weight held at 0."""
    n = matrix.shape[1]
    weights = np.zeros((n, n))
    for item in range(n):
        others = np.delete(np.arange(n), item)
        rest = matrix[:, others]
        system = rest.T @ rest + l2 * np.eye(n - 1)
        weights[others, item] = np.linalg.solve(system, rest.T @ matrix[:, item])
    return weights


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rows_at_once", [2048, 7])
def test_ease_is_constrained_ridge_regression(
    dtype: Any, rows_at_once: int, checkerboard: Interactions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recsys.baselines.ROWS_AT_ONCE", rows_at_once)
    model = EASE(l2=3.0, dtype=dtype).fit(checkerboard)
    weights = ease_weights(dense(checkerboard), 3.0)
    np.testing.assert_allclose(model.scorer_.weights.numpy(), weights, atol=2e-5)
    np.testing.assert_allclose(
        everything(model, checkerboard), dense(checkerboard) @ weights, atol=1e-4
    )


def test_ease_of_popular_items_is_ease_without_the_others(checkerboard: Interactions) -> None:
    model = EASE(l2=3.0, max_items=25).fit(checkerboard)
    matrix = dense(checkerboard)
    kept = np.sort(np.argsort(-matrix.sum(0), kind="stable")[:25])
    scores = everything(model, checkerboard)
    expected = matrix[:, kept] @ ease_weights(matrix[:, kept], 3.0)
    np.testing.assert_allclose(scores[:, kept], expected, atol=1e-4)
    assert (np.delete(scores, kept, axis=1) == -np.inf).all()
    assert set(model.recommend(k=40)["item"]) <= set(kept)


def test_ease_refuses_early_what_does_not_fit(
    checkerboard: Interactions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "free_memory", lambda device: 4000)
    with pytest.raises(MemoryError) as raised:
        EASE().fit(checkerboard)
    assert str(raised.value) == (
        "EASE on 40 items needs 0.0 GB on cpu, where 0.0 GB are free; set max_items=30 to model "
        "the most popular items only, or use ItemKNN, which never makes that matrix"
    )
    assert len(EASE(max_items=30).fit(checkerboard).recommend([1], k=2)) == 2


def test_ease_says_what_to_do_about_a_singular_matrix() -> None:
    same = Interactions.from_frame(
        pd.DataFrame({"user": np.repeat(np.arange(400), 3), "item": np.tile([0, 1, 2], 400)})
    )
    with pytest.raises(np.linalg.LinAlgError, match="raise l2 or set dtype='float64'"):
        EASE(l2=1e-9).fit(same)
    assert np.isfinite(EASE(l2=1e-6, dtype="float64").fit(same).predict([0], [0])).all()


@pytest.mark.parametrize(("shrinkage", "power"), [(0.0, 0.5), (5.0, 0.5), (2.0, 0.8)])
def test_item_neighbours_by_hand(
    shrinkage: float, power: float, checkerboard: Interactions
) -> None:
    matrix = dense(checkerboard)
    together, size = matrix.T @ matrix, matrix.sum(0) ** power
    similarity = together / (np.outer(size, size) + shrinkage)
    np.fill_diagonal(similarity, 0)
    for row in similarity:
        row[np.argsort(-row, kind="stable")[6:]] = 0
    model = ItemKNN(neighbours=6, shrinkage=shrinkage, popularity_power=power).fit(checkerboard)
    found = everything(model, checkerboard)
    np.testing.assert_allclose(found, matrix @ similarity, rtol=1e-4, atol=1e-6)


def test_item_neighbours_may_be_more_than_there_are(checkerboard: Interactions) -> None:
    assert ItemKNN(neighbours=1000).fit(checkerboard).scorer_.nearest.shape == (40, 40)


def test_pure_svd_is_the_truncated_svd(checkerboard: Interactions) -> None:
    matrix = dense(checkerboard)
    u, s, v = np.linalg.svd(matrix, full_matrices=False)
    model = PureSVD(dim=5, iterations=20).fit(checkerboard)
    expected = u[:, :5] * s[:5] @ v[:5]
    np.testing.assert_allclose(everything(model, checkerboard), expected, atol=1e-3)
    assert PureSVD(dim=1000).fit(checkerboard).transform([0]).shape == (1, 40)


def test_popularity_counts_users_not_events() -> None:
    frame = pd.DataFrame({"user": ["a", "a", "a", "b", "c"], "item": ["x", "x", "x", "y", "y"]})
    model = Popularity().fit(Interactions.from_frame(frame))
    assert model.predict(["a", "a"], ["x", "y"]).tolist() == [1.0, 2.0]
    assert model.recommend(["a"])["item"].tolist() == ["y"]


@pytest.fixture(scope="module")
def movies(shared_data: Path) -> tuple[Interactions, Interactions]:
    """MovieLens 100k, 20 % of each user's items held out."""
    frame = pd.read_parquet(shared_data / "recsys" / "ml-100k" / "interactions.parquet")
    train, test = Interactions.from_frame(frame).split_random(0.2, random_state=0)
    return train, test


def test_known_order_of_models_on_movies(movies: tuple[Interactions, Interactions]) -> None:
    train, test = movies
    score = {
        name: model.fit(train).score(test)
        for name, model in {
            "popularity": Popularity(),
            "neighbours": ItemKNN(neighbours=50, popularity_power=0.6),
            "svd": PureSVD(dim=30),
            "ease": EASE(l2=200.0),
        }.items()
    }
    assert score["popularity"] < 0.75 * min(score["neighbours"], score["svd"]), score
    assert score["ease"] > 0.30, score


def test_ease_on_movies_is_the_textbook_formula(movies: tuple[Interactions, Interactions]) -> None:
    train, _ = movies
    matrix = train.pairs.to_scipy().toarray().astype(np.float64)
    inverse = np.linalg.inv(matrix.T @ matrix + 200.0 * np.eye(matrix.shape[1]))
    weights = inverse / -np.diag(inverse)
    np.fill_diagonal(weights, 0)
    found = EASE(l2=200.0).fit(train).scorer_
    np.testing.assert_allclose(found.weights.numpy(), weights, atol=1e-4)
    scores = found.score(torch.arange(20)).numpy()
    np.testing.assert_allclose(scores, matrix[:20] @ weights, atol=2e-3)
