"""What every link predictor does alike; a new one joins by a line in ``MODELS``."""

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

import kg
from hyperrank import store
from hyperrank.estimator import NotFittedError
from hyperrank.vocabulary import UnknownIdError
from kg.migtf import MIGTF
from kg.predictor import LinkPredictor
from kg.triples import Triples
from kg.tucker import TuckER
from link_predictors import Paths, parity_facts
from reference_kg import filtered_ranks_plain

SMALL: dict[str, Any] = {
    "entity_dim": 8, "relation_dim": 4, "core_scale": 0.3, "batch_size": 30, "lr": 0.1,
    "epochs": 20, "evaluate_every": 20,
}  # fmt: skip
# settings at which each learns the parities in about a second
MODELS: dict[str, Callable[[], LinkPredictor]] = {
    "Paths": Paths,
    "TuckER": lambda: TuckER(**SMALL),
    "MIGTF": lambda: MIGTF(**SMALL, hyperbolic_dim=4),
}
BRIEF: dict[str, Callable[[], LinkPredictor]] = {  # where what is learned does not matter
    "Paths": Paths,
    "TuckER": lambda: TuckER(**SMALL | {"epochs": 2}),
    "MIGTF": lambda: MIGTF(**SMALL | {"epochs": 2}, hyperbolic_dim=4),
}
HERE_ONLY = {"Paths"}  # of the tests
ABSTRACT = {"LinkPredictor", "TrainedPredictor"}

every_model = pytest.mark.parametrize("name", MODELS)
Fitted = Callable[[str], Any]


@pytest.fixture(scope="session")
def facts() -> Triples:
    return parity_facts()


@pytest.fixture(scope="session")
def held() -> Triples:
    """Other facts of the same kind, none of which is in ``facts``."""
    known, other = parity_facts().to_frame("pandas"), parity_facts(200, number=1).to_frame("pandas")
    joined = other.merge(known, how="left", indicator=True)
    return Triples.from_frame(joined[joined["_merge"] == "left_only"])


@pytest.fixture(scope="session")
def fitted(facts: Triples, held: Triples) -> Fitted:
    """A fitted model by name, fitted once for all tests that only ask it."""
    known: dict[str, LinkPredictor] = {}

    def get(name: str) -> LinkPredictor:
        if name not in known:
            known[name] = MODELS[name]().fit(facts, held)
        return known[name]

    return get


@pytest.fixture
def saved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models of the tests can be saved too."""
    monkeypatch.setattr(store, "PACKAGES", (*store.PACKAGES, "link_predictors"))


def right(frame: Any) -> float:
    """Share of rows that keep the rule of their relation."""
    head, tail = (np.array([int(one[1:]) for one in frame[side]]) for side in ("head", "tail"))
    odd = np.array(frame["relation"]) == "unlike"
    return float(((head + tail) % 2 == odd).mean())


def known_tails(facts: Triples, head: str, relation: str) -> set[str]:
    frame = facts.to_frame("pandas")
    return set(frame["tail"][(frame["head"] == head) & (frame["relation"] == relation)])


def test_no_link_predictor_is_missing() -> None:
    found = set()
    for module in pkgutil.iter_modules(kg.__path__, "kg."):
        if module.name != "kg.__main__":
            home = importlib.import_module(module.name)
            found |= {
                thing.__name__
                for thing in vars(home).values()
                if isinstance(thing, type) and issubclass(thing, LinkPredictor)
            }
    assert found - ABSTRACT == {
        type(make()).__name__ for name, make in MODELS.items() if name not in HERE_ONLY
    }
    assert found - ABSTRACT <= set(kg.__all__)


@every_model
def test_learns_the_parities(name: str, fitted: Fitted) -> None:
    heads = [f"e{n}" for n in range(30)] * 2
    relations = ["like"] * 30 + ["unlike"] * 30
    assert right(fitted(name).complete(heads, relations, k=4)) > 0.95
    assert right(fitted(name).complete(tails=heads, relations=relations, k=4)) > 0.95


@every_model
def test_complete_agrees_with_predict(name: str, fitted: Fitted) -> None:
    model = fitted(name)
    best = model.complete(["e5", "e2", "e5"], ["like", "like", "unlike"], k=3)
    assert list(best.columns) == ["head", "relation", "tail", "score", "rank"]
    assert best["head"].tolist() == ["e5"] * 3 + ["e2"] * 3 + ["e5"] * 3
    assert best["relation"].tolist() == ["like"] * 6 + ["unlike"] * 3
    assert best["rank"].tolist() == [1, 2, 3] * 3
    again = model.predict(best["head"], best["relation"], best["tail"])
    assert again.shape == (9,)
    np.testing.assert_allclose(again, best["score"], rtol=1e-4, atol=1e-5)
    assert (best.groupby(["head", "relation"])["score"].diff().dropna() <= 1e-7).all()


@every_model
def test_the_best_are_the_best(name: str, fitted: Fitted, facts: Triples) -> None:
    model = fitted(name)
    known = known_tails(facts, "e3", "unlike")
    free = sorted(set(facts.entities.ids) - known)
    scores = model.predict(["e3"] * len(free), ["unlike"] * len(free), free)
    best = model.complete(["e3"], ["unlike"], k=5)
    np.testing.assert_allclose(best["score"], np.sort(scores)[::-1][:5], rtol=1e-4, atol=1e-5)


@every_model
def test_known_answers_are_left_out_unless_asked_for(
    name: str, fitted: Fitted, facts: Triples
) -> None:
    model, known = fitted(name), known_tails(facts, "e7", "like")
    assert known
    assert not set(model.complete(["e7"], ["like"], k=30)["tail"]) & known
    assert len(model.complete(["e7"], ["like"], k=50, exclude_known=False)) == 30
    tail = min(known)
    assert "e7" not in set(model.complete(tails=[tail], relations=["like"], k=30)["head"])


@every_model
def test_only_candidates_answer(name: str, fitted: Fitted) -> None:
    model = fitted(name)
    every = model.complete(["e1"], ["like"], k=30, exclude_known=False)["tail"].tolist()
    chosen = every[3:9]
    best = model.complete(
        ["e1"], ["like"], candidates=[*reversed(chosen), chosen[0]], exclude_known=False
    )
    assert best["tail"].tolist() == chosen


@every_model
def test_repeatable(name: str, facts: Triples, held: Triples) -> None:
    first, second, keys = BRIEF[name]().fit(facts, held), BRIEF[name](), facts.keys.clone()
    before = second.get_params()
    assert second.fit(facts, held) is second
    assert second.get_params() == before
    assert torch.equal(facts.keys, keys)
    for key, tensor in first.module_.state_dict().items():
        assert torch.equal(tensor, second.module_.state_dict()[key]), key
    assert first.calibration_ == second.calibration_


@every_model
def test_without_validation_and_by_another_seed(name: str, facts: Triples) -> None:
    models = [replace(BRIEF[name](), random_state=seed).fit(facts) for seed in (0, 7)]
    assert models[0].calibration_ is None
    if name not in HERE_ONLY:
        states = (one.module_.state_dict().values() for one in models)
        assert not all(map(torch.equal, *states))


@every_model
def test_parameters_and_clone(name: str, fitted: Fitted) -> None:
    from sklearn.base import clone

    model = fitted(name)
    copy = clone(model)
    assert type(copy) is type(model)
    assert copy.get_params() == model.get_params()
    assert "module_" not in vars(copy)
    assert copy.set_params(device="cpu") is copy
    assert {field.name for field in fields(model)} >= {"device", "random_state", "progress"}
    with pytest.raises(ValueError, match="has no parameter"):
        copy.set_params(colour=1)


@every_model
def test_not_fitted(name: str, facts: Triples, tmp_path: Path) -> None:
    model = MODELS[name]()
    calls: list[Callable[[], Any]] = [
        lambda: model.predict(["e1"], ["like"], ["e2"]),
        lambda: model.complete(["e1"], ["like"]),
        lambda: model.score_all(tmp_path),
        lambda: model.similar_entities(["e1"]),
        lambda: model.transform(["e1"]),
        lambda: model.score(facts),
        lambda: model.calibrate(facts),
    ]
    for call in calls:
        with pytest.raises(NotFittedError, match="is not fitted; call fit"):
            call()


@every_model
def test_unknown_ids(name: str, fitted: Fitted) -> None:
    model = fitted(name)
    with pytest.raises(UnknownIdError, match="head: unknown id 'e1x'; closest to 'e1x': 'e1'"):
        model.complete(["e1x"], ["like"])
    with pytest.raises(UnknownIdError, match="relation: unknown id 'unlik'; closest to 'unlik'"):
        model.predict(["e1"], ["unlik"], ["e2"])
    with pytest.raises(UnknownIdError, match="tail: unknown id 'e99'"):
        model.predict(["e1"], ["like"], ["e99"])


@every_model
@pytest.mark.parametrize(
    ("make", "kind"),
    [(pd.DataFrame, pd.DataFrame), (pl.DataFrame, pl.DataFrame), (pa.table, pa.Table)],
    ids=["pandas", "polars", "arrow"],
)
def test_frames_come_back_in_their_kind(
    name: str, fitted: Fitted, make: Callable[[Any], Any], kind: type
) -> None:
    frame = make({"head": ["e4", "e8"], "relation": ["like", "unlike"]})
    best = fitted(name).complete(frame, frame, k=2)
    assert isinstance(best, kind)
    assert len(best) == 4


@every_model
def test_vectors_and_similar_entities(name: str, fitted: Fitted) -> None:
    model = fitted(name)
    assert model.transform(["e1", "e2", "e1"]).shape[0] == 3
    near = model.similar_entities(["e3", "e4", "e3"], k=4)
    assert list(near.columns) == ["entity", "similar", "score", "rank"]
    assert near["entity"].tolist() == ["e3"] * 4 + ["e4"] * 4
    assert not (near["entity"] == near["similar"]).any()
    same = [
        int(a[1:]) % 2 == int(b[1:]) % 2 for a, b in zip(near.entity, near.similar, strict=True)
    ]
    assert np.mean(same) > 0.7


@every_model
def test_score_is_filtered_reciprocal_rank(
    name: str, fitted: Fitted, facts: Triples, held: Triples
) -> None:
    model = fitted(name)
    test, learned = (
        [tuple(row) for row in torch.stack([one.head, one.relation, one.tail], dim=1).tolist()]
        for one in (held.reindex(facts.entities, facts.relations), facts)
    )

    def score(anchor: int, relation: int) -> list[float]:
        row: Any = model.module_.score(torch.tensor([anchor]), torch.tensor([relation]))
        return [float(one) for one in row[0].detach()]

    found = filtered_ranks_plain(score, test, learned, 2, "realistic")
    expected = np.mean([1 / rank for ranks in found.values() for rank in ranks])
    assert model.score(held) == pytest.approx(expected, rel=0.01)


@every_model
def test_validation_calibrates(name: str, fitted: Fitted, held: Triples) -> None:
    model = fitted(name)
    frame = held.to_frame("pandas")
    true = model.predict(frame["head"], frame["relation"], frame["tail"], probability=True)
    wrong = frame["relation"].map({"like": "unlike", "unlike": "like"})
    false = model.predict(frame["head"], wrong, frame["tail"], probability=True)
    assert ((true >= 0) & (true <= 1)).all()
    assert true.mean() > 0.6
    assert false.mean() < 0.2


@every_model
def test_saved_and_loaded(
    name: str, fitted: Fitted, held: Triples, tmp_path: Path, saved: None
) -> None:
    model = fitted(name)
    store.save(model, tmp_path / "model")
    again = store.load(tmp_path / "model")
    assert again.get_params() == model.get_params()
    asked = (["e1", "e2"], ["like", "unlike"])
    pd.testing.assert_frame_equal(again.complete(*asked), model.complete(*asked))
    question = (*asked, ["e3", "e4"])
    for wanted in (False, True):
        np.testing.assert_array_equal(
            again.predict(*question, probability=wanted),
            model.predict(*question, probability=wanted),
        )
    assert again.score(held) == model.score(held)


@every_model
def test_smallest_graphs(name: str) -> None:
    model = BRIEF[name]().fit(Triples.from_arrays(["a"], ["r"], ["a"]))
    assert len(model.complete(["a"], ["r"])) == 0
    assert model.complete(["a"], ["r"], exclude_known=False)["tail"].tolist() == ["a"]
    model = BRIEF[name]().fit(Triples.from_arrays([1], [7], [2]))
    assert model.complete([1], [7])["tail"].tolist() == [1]


@every_model
@pytest.mark.gpu
def test_answers_from_cuda(
    name: str, facts: Triples, held: Triples, tmp_path: Path, saved: None
) -> None:
    there = replace(MODELS[name](), device="cuda").fit(facts, held)
    assert all(tensor.is_cuda for tensor in there.module_.state_dict().values())
    heads = [f"e{n}" for n in range(30)]
    assert right(there.complete(heads, ["like"] * 30, k=4)) > 0.95
    assert len(there.similar_entities(["e1"])) == 10
    assert there.score(held) > 0.2
    assert there.score_all(tmp_path / "parts", k=5).written == 2
    store.save(there, tmp_path / "model")
    here = store.load(tmp_path / "model", device="cpu")
    question = (["e1", "e2"], ["like", "unlike"], ["e3", "e4"])
    np.testing.assert_allclose(here.predict(*question), there.predict(*question), rtol=1e-3)
