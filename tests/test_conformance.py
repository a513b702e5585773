"""What every recommender does alike; a new one joins by a line in ``MODELS``."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch

import recsys
from hyperrank import store
from hyperrank.estimator import NotFittedError
from hyperrank.pairs import pair_set
from hyperrank.vocabulary import UnknownIdError
from recsys.baselines import EASE, ItemKNN, Popularity, PureSVD
from recsys.bpr import BPRMF
from recsys.implicit_models import ImplicitALS, ImplicitBPR
from recsys.interactions import Interactions
from recsys.recommender import Recommender
from recsys.squared import SquaredUltraGCN
from recsys.triplet import TriplH
from recsys.ultragcn import UltraGCN

# settings at which each learns the checkerboard in well under a second
MODELS: dict[str, Callable[[], Recommender]] = {
    "BPRMF": lambda: BPRMF(dim=8, epochs=20, batch_size=64),
    "EASE": lambda: EASE(l2=20.0),
    "EASE of the popular": lambda: EASE(l2=20.0, max_items=30),
    "ImplicitALS": lambda: ImplicitALS(dim=4, num_threads=1),
    "ImplicitBPR": lambda: ImplicitBPR(dim=4, num_threads=1),
    "ItemKNN": lambda: ItemKNN(neighbours=15),
    "Popularity": Popularity,
    "PureSVD": lambda: PureSVD(dim=4),
    "SquaredUltraGCN": lambda: SquaredUltraGCN(dim=4),
    "TriplH": lambda: TriplH(dim=8, epochs=20, batch_size=16, negatives=40),
    "UltraGCN": lambda: UltraGCN(dim=8, epochs=10, batch_size=16, negatives=40),
}
INDIFFERENT = {"Popularity"}  # to whose list it is
VECTORLESS = {"EASE", "EASE of the popular", "ItemKNN", "Popularity"}

every_model = pytest.mark.parametrize("name", MODELS)
Fitted = Callable[[str], Any]


@pytest.fixture(scope="session")
def log() -> Interactions:
    """Even users like even items; ids are text, u0 ... u59 and i0 ... i39."""
    generator = torch.Generator().manual_seed(0)
    user = torch.randint(60, (700,), generator=generator)
    item = 2 * torch.randint(20, (700,), generator=generator) + user % 2
    pairs = pair_set(user, item, n_queries=60, n_candidates=40)
    users, items = ([f"{c}{n}" for n in range(size)] for c, size in (("u", 60), ("i", 40)))
    return Interactions.from_pairs(pairs, users, items)


@pytest.fixture(scope="session")
def fitted(log: Interactions) -> Fitted:
    """A fitted model by name, fitted once for all tests that only ask it."""
    known: dict[str, Recommender] = {}

    def get(name: str) -> Recommender:
        if name not in known:
            known[name] = MODELS[name]().fit(log)
        return known[name]

    return get


def parity(ids: Any) -> Any:
    return np.array([int(one[1:]) % 2 for one in ids])


def history(log: Interactions, user: str) -> set[str]:
    row = log.users.rows([user])
    return set(log.items.take(log.pairs.rows(row)[1]))


def test_no_recommender_is_missing() -> None:
    found = set()
    for module in pkgutil.iter_modules(recsys.__path__, "recsys."):
        if module.name != "recsys.__main__":
            home = importlib.import_module(module.name)
            found |= {
                thing.__name__
                for thing in vars(home).values()
                if isinstance(thing, type) and issubclass(thing, Recommender)
            }
    assert found - {"Recommender", "TrainedRecommender", "UpdatableRecommender"} == {
        type(make()).__name__ for make in MODELS.values()
    }
    public = {getattr(recsys, name) for name in recsys.__all__}
    assert {type(make()) for make in MODELS.values()} <= public


@every_model
def test_learns_the_checkerboard(name: str, fitted: Fitted) -> None:
    best = fitted(name).recommend(k=5)
    right = (parity(best["user"]) == parity(best["item"])).mean()
    assert right > (0.2 if name in INDIFFERENT else 0.95)


@every_model
def test_recommend_agrees_with_predict(name: str, fitted: Fitted) -> None:
    model = fitted(name)
    best = model.recommend(["u5", "u2", "u9"], k=7)
    assert list(best.columns) == ["user", "item", "score", "rank"]
    assert best["user"].tolist() == ["u5"] * 7 + ["u2"] * 7 + ["u9"] * 7
    assert best["rank"].tolist() == [1, 2, 3, 4, 5, 6, 7] * 3
    again = model.predict(best["user"], best["item"])
    assert again.shape == (21,)
    np.testing.assert_allclose(again, best["score"], rtol=1e-4, atol=1e-6)
    assert (best.groupby("user")["score"].diff().dropna() <= 1e-7).all()


@every_model
def test_the_best_are_the_best(name: str, fitted: Fitted, log: Interactions) -> None:
    model = fitted(name)
    unseen = sorted(set(log.items.ids) - history(log, "u3"))
    scores = model.predict(["u3"] * len(unseen), unseen)
    best = model.recommend(["u3"], k=5)
    np.testing.assert_allclose(best["score"], np.sort(scores)[::-1][:5], rtol=1e-4, atol=1e-6)


@every_model
def test_seen_items_are_left_out_unless_asked_for(
    name: str, fitted: Fitted, log: Interactions
) -> None:
    model = fitted(name)
    for user in ("u0", "u1"):
        assert not set(model.recommend([user], k=40)["item"]) & history(log, user)
    everything = set(model.recommend(["u0"], k=40, exclude_seen=False)["item"])
    assert len(everything) == (30 if name == "EASE of the popular" else 40)


@every_model
def test_only_candidates_are_recommended(name: str, fitted: Fitted) -> None:
    model = fitted(name)
    chosen = model.recommend(["u1"], k=40, exclude_seen=False)["item"].tolist()[3:9]
    best = model.recommend(["u1"], candidates=[*chosen, chosen[0]], exclude_seen=False)
    assert best["item"].tolist() == chosen
    assert best["rank"].tolist() == [1, 2, 3, 4, 5, 6]


@every_model
def test_repeatable(name: str, fitted: Fitted, log: Interactions) -> None:
    first, second = fitted(name), MODELS[name]().fit(log)
    for key, tensor in first.scorer_.state_dict().items():
        assert torch.equal(tensor, second.scorer_.state_dict()[key]), key
    if any(field.name == "random_state" for field in fields(first)):
        other = replace(MODELS[name](), random_state=7).fit(log)
        states = (model.scorer_.state_dict().values() for model in (first, other))
        assert not all(map(torch.equal, *states))


@every_model
def test_parameters_and_clone(name: str, fitted: Fitted) -> None:
    from sklearn.base import clone

    model = fitted(name)
    copy = clone(model)
    assert type(copy) is type(model)
    assert copy.get_params() == model.get_params()
    assert "scorer_" not in vars(copy)
    assert copy.set_params(device="cpu") is copy
    with pytest.raises(ValueError, match="has no parameter"):
        copy.set_params(colour=1)


@every_model
def test_fit_leaves_parameters_and_input_alone(name: str, log: Interactions) -> None:
    model, keys = MODELS[name](), log.pairs.keys.clone()
    before = model.get_params()
    assert model.fit(log) is model
    assert model.get_params() == before
    assert torch.equal(log.pairs.keys, keys)


@every_model
def test_validation_is_accepted(name: str, log: Interactions) -> None:
    users, items = log.users, log.items
    held = pair_set(torch.tensor([0, 1]), torch.tensor([2, 3]), n_queries=60, n_candidates=40)
    validation = Interactions.from_pairs(held, users, items)
    assert MODELS[name]().fit(log, validation).recommend(["u1"], k=1)["user"].tolist() == ["u1"]


@every_model
def test_not_fitted(name: str, log: Interactions) -> None:
    model = MODELS[name]()
    calls: list[Callable[[], Any]] = [
        lambda: model.predict(["u1"], ["i1"]),
        lambda: model.recommend(["u1"]),
        lambda: model.similar_items(["i1"]),
        lambda: model.similar_users(["u1"]),
        lambda: model.transform(["u1"]),
        lambda: model.transform_items(["i1"]),
        lambda: model.explain("u1", "i1"),
        lambda: model.score(log),
    ]
    for call in calls:
        with pytest.raises(NotFittedError, match="is not fitted; call fit"):
            call()


@every_model
def test_unknown_users(name: str, fitted: Fitted) -> None:
    model = fitted(name)
    asked = ["u1", "nobody", "u2"]
    with pytest.raises(UnknownIdError, match="unknown id 'nobody'"):
        model.recommend(asked, k=2)
    with pytest.raises(UnknownIdError, match="unknown id 'nobody'"):
        model.predict(["nobody"], ["i1"])
    assert model.recommend(asked, k=2, unknown="skip")["user"].tolist() == ["u1"] * 2 + ["u2"] * 2
    popular = model.recommend(asked, k=2, unknown="popular")
    assert popular["user"].tolist() == ["u1"] * 2 + ["nobody"] * 2 + ["u2"] * 2
    degrees = model.seen_.candidate_degrees
    assert popular["score"][2] == degrees.max()
    assert popular["item"][2] == f"i{int(degrees.argmax())}"


@every_model
@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (pd.DataFrame, pd.DataFrame),
        (pl.DataFrame, pl.DataFrame),
        (pa.table, pa.Table),
        (lambda columns: pl.Series(columns["user"]), pl.DataFrame),
        (lambda columns: columns["user"], pd.DataFrame),
        (lambda columns: np.array(columns["user"]), pd.DataFrame),
    ],
    ids=["pandas", "polars", "arrow", "polars series", "list", "array"],
)
def test_frames_come_back_in_their_kind(
    name: str, fitted: Fitted, make: Callable[[Any], Any], kind: type
) -> None:
    best = fitted(name).recommend(make({"user": ["u4", "u8"]}), k=2)
    assert isinstance(best, kind)
    assert len(best) == 4


@every_model
def test_similar(name: str, fitted: Fitted) -> None:
    model = fitted(name)
    near = model.similar_items(["i3", "i4"], k=4)
    assert list(near.columns) == ["item", "similar", "score", "rank"]
    assert not (near["item"] == near["similar"]).any()
    near_users = model.similar_users(["u3", "u4"], k=4)
    assert list(near_users.columns) == ["user", "similar", "score", "rank"]
    assert len(near_users) == 8
    assert (parity(near["item"]) == parity(near["similar"])).mean() > 0.7
    assert (parity(near_users["user"]) == parity(near_users["similar"])).mean() > 0.9


@every_model
def test_vectors(name: str, fitted: Fitted) -> None:
    model = fitted(name)
    if name in VECTORLESS:
        with pytest.raises(TypeError, match="learns no vectors; use a factor model"):
            model.transform(["u1"])
        return
    left, right = model.transform(["u1", "u2"]), model.transform_items(["i5", "i6"])
    scores = model.predict(["u1", "u2"], ["i5", "i6"])
    np.testing.assert_allclose((left * right).sum(1), scores, rtol=1e-4, atol=1e-6)


@every_model
def test_explain_ranks_the_history(name: str, fitted: Fitted, log: Interactions) -> None:
    model = fitted(name)
    item = model.recommend(["u7"], k=1)["item"][0]
    reasons = model.explain("u7", item)
    assert list(reasons.columns) == ["item", "contribution"]
    assert set(reasons["item"]) == history(log, "u7")
    assert (np.diff(reasons["contribution"]) <= 0).all()
    if name in VECTORLESS - INDIFFERENT or name == "PureSVD":
        total = model.predict(["u7"], [item])[0]
        assert reasons["contribution"].sum() == pytest.approx(total, rel=1e-3)


@every_model
def test_score_is_ndcg_of_what_was_not_seen(name: str, fitted: Fitted, log: Interactions) -> None:
    model = fitted(name)
    first = model.recommend(k=1)
    pairs = Interactions.from_frame(first)
    assert model.score(pairs) == pytest.approx(1.0)
    assert 0 <= model.score(log) <= 1e-12  # all of it was seen


@every_model
def test_saved_and_loaded(name: str, fitted: Fitted, tmp_path: Path) -> None:
    model = fitted(name)
    store.save(model, tmp_path / "model")
    again = store.load(tmp_path / "model")
    assert again.get_params() == model.get_params()
    pd.testing.assert_frame_equal(again.recommend(k=4), model.recommend(k=4))
    pd.testing.assert_frame_equal(again.explain("u1", "i1"), model.explain("u1", "i1"))


@every_model
@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1)])
def test_smallest_logs(name: str, shape: tuple[int, int]) -> None:
    rows, columns = (
        part.flatten() for part in torch.meshgrid(*map(torch.arange, shape), indexing="ij")
    )
    pairs = pair_set(rows, columns, n_queries=shape[0], n_candidates=shape[1])
    model = MODELS[name]().fit(Interactions.from_pairs(pairs))
    assert len(model.recommend(k=3)) == 0  # everyone has seen everything
    assert len(model.recommend(k=3, exclude_seen=False)) == shape[0] * min(3, shape[1])


@every_model
@pytest.mark.gpu
def test_answers_from_cuda(name: str, fitted: Fitted, log: Interactions) -> None:
    here, there = fitted(name), replace(MODELS[name](), device="cuda").fit(log)
    assert all(tensor.is_cuda for tensor in there.scorer_.state_dict().values())
    best = there.recommend(k=5)
    right = (parity(best["user"]) == parity(best["item"])).mean()
    assert right > (0.2 if name in INDIFFERENT else 0.95)
    assert len(there.similar_items(["i1"])) == len(here.similar_items(["i1"]))
    assert len(there.explain("u1", "i1")) == len(here.explain("u1", "i1"))
    assert there.score(log) == pytest.approx(0, abs=1e-12)
