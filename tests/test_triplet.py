"""TriplH as an estimator: what it learns, serves and refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from hyperrank import store
from hyperrank.distance_scorer import Distances
from hyperrank.hyperbolic import distance
from hyperrank.pairs import pair_set
from hyperrank.scorers import Factors
from recsys.export import export_index
from recsys.interactions import Interactions
from recsys.models import make_model
from recsys.triplet import TriplH

SMALL = {"dim": 8, "epochs": 8, "batch_size": 16, "negatives": 40, "lr": 0.05}


def own_parity(model: Any, k: int = 5) -> float:
    """Share of recommendations on the checkerboard that are of the user's parity."""
    frame = model.recommend(k=k)
    return float((frame["user"] % 2 == frame["item"] % 2).mean())


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"geometry": "cosine", "epochs": 20},
        {"geometry": "inner", "scale": 1.0},
        {"geometry": "lorentzian", "scale": 1.0},
        {"geometry": "geodesic", "scale": 3.0},
        {"geometry": "geodesic", "scale": 3.0, "item_radius": True},
        {"geometry": "lorentzian", "scale": 1.0, "item_radius": True},
        {"item_radius": True},
        {"negatives": 10, "negative_power": 0.5},
        {"negatives": 10, "shared_negatives": False, "exclude_seen": True},
        {"negatives": 20, "sampler": "batch"},
        {"negatives": 3, "sampler": "gumbel", "pool": 20},
        {"batch_by": "pairs", "batch_size": 64},
        {"loss": "pairwise", "negatives": 5, "epochs": 20},
        {"loss": "triangle", "item_weight": 0.5, "learn_weights": "bounded", "epochs": 20},
        {"loss": "tetrahedron", "batch_by": "pairs", "batch_size": 64, "epochs": 20},
        {"item_weight": 0.3, "item_penalty": 0.1},
        {"metric_gradient": True},
        {"precision": "bf16"},
        {"precision": "tf32"},
        {"l2": 0.0, "lr_decay": False, "init": "xavier"},
    ],
    ids=str,
)
def test_every_way_learns_the_checkerboard(change: dict, checkerboard: Interactions) -> None:
    model = TriplH(**{**SMALL, **change}).fit(checkerboard)
    assert own_parity(model) > 0.95
    assert model.history_[-1] < model.history_[0]


def test_as_released_learns_the_checkerboard(checkerboard: Interactions) -> None:
    model = TriplH.as_released(dim=8, batch_size=128, lr=0.1, epochs=25).fit(checkerboard)
    assert own_parity(model) > 0.8
    assert TriplH.as_released().item_penalty == pytest.approx(1e-4 * 2048)


@pytest.mark.parametrize("geometry", ["triangle", "cosine", "inner", "lorentzian", "geodesic"])
@pytest.mark.parametrize("radius", [False, True])
def test_products_of_vectors_have_the_models_order(
    geometry: Any, radius: bool, checkerboard: Interactions
) -> None:
    model = TriplH(**SMALL, geometry=geometry, item_radius=radius, scale=2.0).fit(checkerboard)
    users = model.users_.ids[:7]
    if geometry == "geodesic" and radius:
        assert isinstance(model.scorer_, Distances)
        with pytest.raises(TypeError, match="learns no vectors"):
            model.query_vectors(users)
        return
    scores = model.query_vectors(users) @ model.item_vectors_.T
    every = model.items_.ids
    asked = np.repeat(users, len(every)), np.tile(every, len(users))
    predicted = model.predict(*asked).reshape(len(users), -1)
    np.testing.assert_allclose(scores, predicted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("index", ["faiss", "usearch", "parquet"])
def test_an_index_gives_the_models_list(
    index: str, checkerboard: Interactions, tmp_path: Path
) -> None:
    pytest.importorskip("pyarrow" if index == "parquet" else index)
    model = TriplH(**SMALL).fit(checkerboard)
    export_index(model, tmp_path / "items", index)
    queries = model.query_vectors(model.users_.ids)
    if index == "faiss":
        import faiss

        found = faiss.read_index(str(tmp_path / "items")).search(queries, 10)[1]
    elif index == "parquet":
        vectors = np.array(pd.read_parquet(tmp_path / "items")["vector"].to_list())
        found = np.argsort(-queries @ vectors.T, axis=1, kind="stable")[:, :10]
    else:
        from usearch.index import Index

        built = Index.restore(str(tmp_path / "items"))
        found = built.search(queries, 10, exact=True).keys.astype(int)
    best = model.recommend(k=10, exclude_seen=False)["item"].to_numpy().reshape(-1, 10)
    scores = np.take_along_axis(queries @ model.item_vectors_.T, found, 1)
    rows = model.items_.rows(best.ravel()).numpy().reshape(best.shape)
    np.testing.assert_allclose(
        scores, np.take_along_axis(queries @ model.item_vectors_.T, rows, 1), atol=1e-6
    )
    assert (found == rows).mean() > 0.99


def test_the_geodesic_is_served_by_its_square(checkerboard: Interactions) -> None:
    model = TriplH(**SMALL, geometry="geodesic", scale=3.0).fit(checkerboard)
    assert isinstance(model.scorer_, Factors)
    users, items = model.scorer_.queries[:, :8] / 2, model.scorer_.candidates[:, :8]
    apart = distance(users[:, None], items, curvature=-1.0)
    scores = model.scorer_.score(torch.arange(len(users)))
    torch.testing.assert_close(-4 * (apart / 2).sinh().square(), scores, rtol=1e-4, atol=1e-4)


def test_the_dial_moves_users_only(checkerboard: Interactions) -> None:
    model = TriplH(**SMALL).fit(checkerboard)
    users = model.users_.ids[:3]
    turned = model.with_popularity(-0.5)
    assert turned.scorer_.candidates is model.scorer_.candidates
    moved = model.query_vectors(users, popularity=-0.5)
    np.testing.assert_array_equal(moved, turned.transform(users))
    np.testing.assert_allclose(
        moved @ model.item_vectors_.T - model.query_vectors(users) @ model.item_vectors_.T,
        np.broadcast_to(-0.5 * model.item_vectors_[:, 0], (3, len(model.items_))),
        atol=1e-6,
    )
    assert isinstance(model.scorer_, Factors)
    assert not np.array_equal(moved, model.query_vectors(users))  # the model is as it was
    cosine = TriplH(**SMALL, geometry="cosine").fit(checkerboard)
    with pytest.raises(ValueError, match="first number of geometry='triangle', got geometry='cos"):
        cosine.with_popularity(0.1)


def test_early_stopping_and_a_round_trip(checkerboard: Interactions, tmp_path: Path) -> None:
    train, held_out = checkerboard.split_random(0.2, random_state=0)
    model = TriplH(**SMALL, evaluate_every=2, patience=1, item_radius=True, geometry="geodesic")
    model.fit(train, held_out)
    record = dict(model.validation_history_)
    assert record[model.best_epoch_] == max(record.values())
    store.save(model, tmp_path / "model")
    again = store.load(tmp_path / "model")
    assert again.recommend(k=3).equals(model.recommend(k=3))
    assert again.validation_history_ == model.validation_history_


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"geometry": "poincare"}, "TriplH: geometry must be one of 'triangle', 'cosine', 'inner'"),
        ({"scale": 0.0}, "TriplH: scale must be above 0, got 0.0"),
        ({"l2": -1.0}, "TriplH: l2 must be at least 0, got -1.0"),
        ({"item_weight": float("nan")}, "TriplH: item_weight must be finite, got nan"),
        ({"loss": "hinge"}, "TriplH: loss must be one of 'softmax', 'pairwise', 'triangle', 'tetr"),
        (
            {"loss": "tetrahedron", "geometry": "inner"},
            "loss='tetrahedron' is made of the triangle score's terms; use geometry='triangle'",
        ),
        ({"loss": "pairwise", "item_weight": 1.0}, "loss='pairwise' has no item term"),
        (
            {"sampler": "gumbel", "negative_power": 0.5},
            "negative_power belongs to sampler='popularity', got sampler='gumbel' and .*0.5",
        ),
    ],
)
def test_bad_parameters_are_refused(wrong: dict, message: str, checkerboard: Interactions) -> None:
    with pytest.raises(ValueError, match=message):
        TriplH().set_params(**wrong).fit(checkerboard)


def test_the_command_line_knows_it() -> None:
    model = make_model("triplh", ["geometry=geodesic", "scale=3", "item_radius=yes"])
    assert (model.geometry, model.scale, model.item_radius) == ("geodesic", 3.0, True)


@pytest.mark.parametrize(("n_rows", "size"), [(60, 8), (6_000, 30), (1_000_000, 256)])
def test_small_logs_get_small_batches(n_rows: int, size: int) -> None:
    assert TriplH().rows_a_step(n_rows) == size


def test_two_threads_repeat_to_the_bit(generator: torch.Generator) -> None:
    user, item = (torch.randint(400, (6_000,), generator=generator) for _ in range(2))
    log = Interactions.from_pairs(pair_set(user, item, n_queries=400, n_candidates=400))
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        one, other = (TriplH(epochs=1, dim=32, batch_size=100).fit(log) for _ in range(2))
    finally:
        torch.set_num_threads(before)
    for name, table in one.scorer_.state_dict().items():
        assert torch.equal(table, other.scorer_.state_dict()[name])


@pytest.mark.gpu
def test_cuda_learns_what_the_cpu_learns(checkerboard: Interactions) -> None:
    for device in ("cpu", "cuda"):
        assert own_parity(TriplH(**SMALL, device=device).fit(checkerboard)) > 0.95
