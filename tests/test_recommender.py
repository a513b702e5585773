"""The doors: bad input in words, corner cases defined, memory bounded."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from torch import nn

from hyperrank import scorers
from hyperrank.store import State
from hyperrank.vocabulary import UnknownIdError
from recsys.answers import asked_of
from recsys.baselines import EASE, ItemKNN, Popularity
from recsys.interactions import Interactions
from recsys.recommender import Recommender

FRAME = pd.DataFrame(
    {
        "user": ["ann", "ann", "ann", "bob", "bob", "cat", "cat", "cat", "cat"],
        "item": ["tea", "milk", "rum", "tea", "rum", "tea", "milk", "rum", "oil"],
    }
)
ORDER = ["tea", "milk", "rum", "oil"]  # the item vocabulary


def unchecked(method: Any) -> Any:
    """The method behind the run-time type check of tests, which would speak first."""
    return inspect.unwrap(method)


@dataclass(kw_only=True, eq=False)
class Fixed(Recommender):
    """Scores that are given, to look at the doors alone."""

    values: Any = None

    def _learn(self, train: Interactions, validation: Interactions | None) -> nn.Module:
        self.validation_ = validation
        return scorers.Constant(torch.tensor(self.values or [1.0, 1.0, 1.0, 1.0]))


@pytest.fixture
def log() -> Interactions:
    return Interactions.from_frame(FRAME)


@pytest.fixture
def level(log: Interactions) -> Fixed:
    """All scores equal."""
    return Fixed().fit(log)


# learning


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (FRAME, "train must be Interactions, got DataFrame; build them with Interactions.from_"),
        ("log.csv", "train must be Interactions, got str; build them with"),
        (None, "train must be Interactions, got NoneType; build them with"),
    ],
    ids=["frame", "path", "none"],
)
def test_what_is_no_log(bad: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        unchecked(Recommender.fit)(Popularity(), bad)


def test_empty_log(log: Interactions) -> None:
    empty = log.reindex(log.users, Interactions.from_frame(pd.DataFrame(NEW)).items)
    with pytest.raises(ValueError, match="train holds no interactions; nothing can be learned"):
        Popularity().fit(empty)


NEW = {"user": ["dan"], "item": ["gin"]}


def test_validation_arrives_on_the_training_vocabularies(log: Interactions) -> None:
    held = Interactions.from_frame(
        pd.DataFrame({"user": ["dan", "bob", "ann"], "item": ["tea", "milk", "gin"]})
    )
    seen = Fixed().fit(log, held).validation_
    assert seen.users == log.users
    assert seen.items == log.items
    assert len(seen) == 1
    assert seen.dropped == 2
    with pytest.raises(ValueError, match="no validation event has both its user and its item"):
        Fixed().fit(log, Interactions.from_frame(pd.DataFrame(NEW)))


@pytest.mark.parametrize(
    ("model", "values", "message"),
    [
        (EASE(), {"l2": -1.0}, "EASE: l2 must be above 0, got -1.0"),
        (EASE(), {"dtype": "float16"}, "EASE: dtype must be one of 'float32', 'float64', got"),
        (ItemKNN(), {"neighbours": 0}, "ItemKNN: neighbours must be at least 1, got 0"),
        (Popularity(), {"device": "abacus"}, "device 'abacus' is unknown to torch"),
    ],
)
def test_bad_parameters_are_refused_by_fit(
    model: Recommender, values: dict[str, Any], message: str, log: Interactions
) -> None:
    with pytest.raises(ValueError, match=message):
        model.set_params(**values).fit(log)


def test_a_model_that_diverged_is_refused(log: Interactions) -> None:
    model = Fixed(values=[1.0, float("nan"), 0.0, 0.0])
    with pytest.raises(FloatingPointError, match="Fixed learned NaN or infinite values; lower"):
        model.fit(log)
    assert "scorer_" not in vars(model)


def test_a_refit_forgets_the_first(log: Interactions) -> None:
    model = Popularity().fit(log)
    model.fit(Interactions.from_frame(pd.DataFrame(NEW)))
    assert model.users_.ids.tolist() == ["dan"]
    with pytest.raises(UnknownIdError):
        model.recommend(["ann"])


# recommending


def test_equal_scores_rank_in_vocabulary_order(level: Fixed) -> None:
    best = level.recommend(["bob"], exclude_seen=False)
    assert best["item"].tolist() == ORDER
    assert best["rank"].tolist() == [1, 2, 3, 4]


def test_larger_k_than_items_and_users_who_have_seen_all(level: Fixed) -> None:
    best = level.recommend(["cat", "bob", "ann"], k=10**9)
    assert best.to_dict("list") == {
        "user": ["bob", "bob", "ann"],
        "item": ["milk", "oil", "oil"],
        "score": [1.0, 1.0, 1.0],
        "rank": [1, 2, 1],
    }
    nothing = level.recommend(["cat"])
    assert len(nothing) == 0
    assert list(nothing.columns) == ["user", "item", "score", "rank"]


def test_repeated_users_are_answered_once(level: Fixed) -> None:
    best = level.recommend(["bob", "ann", "bob", "bob"], k=1)
    assert best["user"].tolist() == ["bob", "ann"]


def test_all_users_and_none(level: Fixed) -> None:
    assert level.recommend(k=1)["user"].tolist() == ["ann", "bob"]
    assert len(level.recommend([])) == 0
    assert len(level.recommend(pl.Series([], dtype=pl.String))) == 0


def test_frames_follow_the_training_log(log: Interactions) -> None:
    model = Popularity().fit(Interactions.from_frame(pl.from_pandas(FRAME)))
    assert isinstance(model.recommend(["bob"]), pl.DataFrame)
    assert isinstance(model.explain("bob", "oil"), pl.DataFrame)
    assert isinstance(model.recommend(FRAME), pd.DataFrame)
    assert model.recommend(k=1).schema["score"] == pl.Float32


def test_popular_lists_of_unknown_users(level: Fixed) -> None:
    best = level.recommend(["eve", "bob"], k=2, candidates=["oil", "rum"], unknown="popular")
    assert best.to_dict("list") == {
        "user": ["eve", "eve", "bob"],
        "item": ["rum", "oil", "oil"],
        "score": [3.0, 1.0, 1.0],
        "rank": [1, 2, 1],
    }
    assert len(level.recommend(["eve"], unknown="skip")) == 0
    assert level.recommend(["eve"], k=1, unknown="popular")["item"].tolist() == ["tea"]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m: m.recommend(["bob"], k=0), ValueError, "k must be at least 1, got 0"),
        (lambda m: m.recommend(["bob"], candidates=[]), ValueError, "candidates is empty; give"),
        (lambda m: m.recommend(["bob"], candidates=["gin"]), KeyError, "unknown id 'gin'"),
        (lambda m: m.recommend(["bo"]), KeyError, "unknown id 'bo'; closest to 'bo': 'bob'"),
        (
            lambda m: m.recommend("bob"),
            TypeError,
            r"single id 'bob'; give a list of ids, \['bob'\]",
        ),
        (lambda m: m.recommend([1]), TypeError, "holds text ids such as 'ann', got integer ids"),
        (lambda m: m.predict(["bob"], ["tea", "rum"]), ValueError, "got 1 users but 2 items; give"),
        (lambda m: m.predict(["bob"], ["gin"]), KeyError, "unknown id 'gin'"),
        (lambda m: m.similar_items(["tea"], k=0), ValueError, "k must be at least 1, got 0"),
        (lambda m: m.similar_users(["eve"]), KeyError, "unknown id 'eve'"),
        (lambda m: m.explain("eve", "tea"), KeyError, "unknown id 'eve'"),
    ],
)
def test_bad_questions(level: Fixed, call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(level)


def test_unknown_switch_is_checked(level: Fixed) -> None:
    ask = unchecked(asked_of)
    with pytest.raises(ValueError, match="unknown must be 'raise', 'skip' or 'popular', got 'x'"):
        ask(level, ["bob"], "x")


def test_many_users_are_scored_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    largest = 0
    plain = scorers.Constant.score

    def watched(self: scorers.Constant, query: torch.Tensor) -> torch.Tensor:
        nonlocal largest
        largest = max(largest, len(query))
        return plain(self, query)

    monkeypatch.setattr(scorers.Constant, "score", watched)
    n = 20_000
    frame = pd.DataFrame({"user": np.arange(n), "item": np.arange(n) % 1000})
    best = Popularity().fit(Interactions.from_frame(frame)).recommend(k=2)
    assert len(best) == 2 * n
    assert largest * 1000 <= 2**24


# judging, explaining, saving


def test_score_counts_unknown_items_as_missed(log: Interactions) -> None:
    model = Fixed(values=[1.0, 2.0, 3.0, 4.0]).fit(log)
    held = pd.DataFrame(
        {"user": ["bob", "bob", "ann", "eve"], "item": ["milk", "gin", "oil", "tea"]}
    )
    # bob's list is oil, milk: a hit in second place, of two; ann's is oil; eve is unknown
    second, ideal = 1 / np.log2(3), 1 + 1 / np.log2(3)
    expected = (second / ideal + 1) / 2
    assert model.score(Interactions.from_frame(held)) == pytest.approx(expected)
    with pytest.raises(ValueError, match="no user of the test log is in the training log"):
        model.score(Interactions.from_frame(pd.DataFrame(NEW)))


def test_explain_without_history(log: Interactions) -> None:
    dan = Interactions.from_frame(pd.DataFrame(NEW))
    known = log.reindex(log.users.extend(dan.users.ids), log.items)
    assert len(EASE().fit(known).explain("dan", "tea")) == 0
    assert len(EASE().fit(known).recommend(["dan"])) == 4


def test_a_saved_scorer_of_no_known_kind_is_refused(level: Fixed) -> None:
    state = level._state()
    notes = state.notes | {"scorer": "Oracle"}
    with pytest.raises(ValueError, match="there is no scorer called 'Oracle'"):
        Fixed()._restore(State(state.tensors, state.vocabularies, notes))


def test_a_subclass_must_say_how_it_learns(log: Interactions) -> None:
    with pytest.raises(NotImplementedError, match="Recommender does not say how it learns"):
        Recommender().fit(log)


def test_weights_of_zero_teach_nothing() -> None:
    frame = pd.DataFrame({"user": ["a", "b"], "item": ["x", "y"], "weight": [0.0, 0.0]})
    with pytest.raises(ValueError, match="every weight of train is 0"):
        Popularity().fit(Interactions.from_frame(frame, weight="weight"))
