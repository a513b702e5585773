"""The doors of link predictors: bad input in words, corner cases defined, memory bounded."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from hyperrank import devices
from hyperrank.store import State
from hyperrank.vocabulary import UnknownIdError
from kg.calibration import corrupted
from kg.learner import FactLearner
from kg.predictor import LinkPredictor
from kg.triples import Triples
from link_predictors import Fixed, Paths, parity_facts

FRAME = pd.DataFrame(
    [
        ("oslo", "capital_of", "norway"),
        ("bergen", "in", "norway"),
        ("oslo", "in", "norway"),
        ("rome", "capital_of", "italy"),
    ],
    columns=["head", "relation", "tail"],
)
ORDER = ["oslo", "norway", "bergen", "rome", "italy"]  # the entity vocabulary


def unchecked(method: Any) -> Any:
    """The method behind the run-time type check of tests, which would speak first."""
    return inspect.unwrap(method)


@pytest.fixture
def facts() -> Triples:
    return Triples.from_frame(FRAME)


@pytest.fixture
def level(facts: Triples) -> Fixed:
    """All logits equal."""
    return Fixed().fit(facts)


# learning


@pytest.mark.parametrize("bad", [FRAME, "facts.tsv", None], ids=["frame", "path", "none"])
def test_what_is_no_triples(bad: Any) -> None:
    message = f"train must be Triples, got {type(bad).__name__}; build them with Triples.from_frame"
    with pytest.raises(TypeError, match=message):
        unchecked(FactLearner._fit)(Paths(), bad, None)


def test_no_facts(facts: Triples) -> None:
    empty = facts.reindex(parity_facts().entities, facts.relations, unknown="drop")
    with pytest.raises(ValueError, match="train holds no facts; nothing can be learned"):
        Paths().fit(empty)


def test_validation_arrives_on_the_training_vocabularies(facts: Triples) -> None:
    rows = [("rome", "in", "italy"), ("paris", "in", "italy"), ("oslo", "near", "rome")]
    held = Triples.from_arrays(*zip(*rows, strict=True))
    assert Paths().fit(facts, held).validation_size_ == 1
    with pytest.raises(ValueError, match="no validation fact has its head, relation and tail in"):
        Paths().fit(facts, Triples.from_arrays(["paris"], ["in"], ["italy"]))


def test_validation_that_is_learned_by_heart_is_warned_of(facts: Triples) -> None:
    both = facts.union(Triples.from_arrays(["rome"], ["in"], ["norway"]))
    with pytest.warns(UserWarning, match="4 of 5 validation facts are in train too; early stop"):
        Paths().fit(facts, both)


def test_a_subclass_may_take_more(facts: Triples) -> None:
    assert Paths()._fit(facts, None, base="tucker").heard_ == ["base"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"random_state": 1.5}, "Paths: random_state must be a whole number, got 1.5"),
        ({"device": "abacus"}, "device 'abacus' is unknown to torch; use 'auto', 'cpu' or 'cuda'"),
        ({"device": "cuda:99"}, r"device 'cuda:99' was asked for, but torch sees \d+ CUDA devices"),
    ],
)
def test_bad_parameters_are_refused_by_fit(
    facts: Triples, values: dict[str, Any], message: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        Paths().set_params(**values).fit(facts)


def test_a_model_that_diverged_is_refused(facts: Triples) -> None:
    values = torch.full((4, 5, 5), torch.inf)
    with pytest.raises(FloatingPointError, match="Fixed learned NaN or infinite values; lower"):
        Fixed(values=values).fit(facts)


def test_a_subclass_must_say_how_it_learns_and_loads(facts: Triples) -> None:
    with pytest.raises(NotImplementedError, match="LinkPredictor does not say how it learns"):
        LinkPredictor().fit(facts)
    state = Fixed().fit(facts)._state()
    with pytest.raises(NotImplementedError, match="Fixed does not say how it is loaded"):
        Fixed()._restore(State(*state))


# completing


def test_equal_scores_rank_in_vocabulary_order(level: Fixed) -> None:
    best = level.complete(["rome"], ["in"])
    assert best["tail"].tolist() == ORDER
    assert best["rank"].tolist() == [1, 2, 3, 4, 5]
    assert best["score"].dtype == np.float32


def test_heads_are_asked_for(facts: Triples) -> None:
    values = torch.zeros(4, 5, 5)
    values[2 + 0, 1] = torch.tensor([4.0, 0, 3, 2, 1])  # ? capital_of norway
    model = Fixed(values=values).fit(facts)
    best = model.complete(tails=["norway"], relations=["capital_of"], k=2)
    assert best.to_dict("list") == {
        "head": ["bergen", "rome"],  # oslo is known
        "relation": ["capital_of"] * 2,
        "tail": ["norway"] * 2,
        "score": [3.0, 2.0],
        "rank": [1, 2],
    }
    every = model.complete(tails=["norway"], relations=["capital_of"], exclude_known=False)
    assert every["head"].tolist() == ["oslo", "bergen", "rome", "italy", "norway"]


def test_larger_k_than_entities_and_questions_with_all_answers_known() -> None:
    full = Triples.from_arrays(["a", "a"], ["r", "r"], ["a", "b"])
    model = Fixed().fit(full)
    nothing = model.complete(["a"], ["r"], k=10**9)
    assert len(nothing) == 0
    assert list(nothing.columns) == ["head", "relation", "tail", "score", "rank"]
    assert len(model.complete(["a", "b"], ["r", "r"], k=10**9)) == 2


def test_repeated_questions_are_answered_once(level: Fixed) -> None:
    best = level.complete(["rome", "oslo", "rome", "rome"], ["in", "in", "in", "capital_of"], k=1)
    assert best["head"].tolist() == ["rome", "oslo", "rome"]
    assert best["relation"].tolist() == ["in", "in", "capital_of"]
    assert len(level.complete([], [])) == 0


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m: m.complete(["rome"], ["in"], k=0), ValueError, "k must be at least 1, got 0"),
        (
            lambda m: m.complete(relations=["in"]),
            ValueError,
            "complete asks for tails or for heads",
        ),
        (
            lambda m: m.complete(["rome"], ["in"], tails=["rome"]),
            ValueError,
            r"give heads=\.\.\. or tails=\.\.\., one of them",
        ),
        (lambda m: m.complete(["rome"]), ValueError, r"complete needs relations=\.\.\., one for"),
        (
            lambda m: m.complete(["rome", "oslo"], ["in"]),
            ValueError,
            "got 2 heads, 1 relations; give columns of one length, a row for each question",
        ),
        (
            lambda m: m.predict(["rome"], ["in"], ["oslo", "rome"]),
            ValueError,
            "got 1 heads, 1 relations, 2 tails; give columns of one length",
        ),
        (
            lambda m: m.complete(["rome"], ["in"], candidates=[]),
            ValueError,
            "candidates is empty; give entity ids, or None for all entities",
        ),
        (
            lambda m: m.complete(["rome"], ["in"], candidates=["mars"]),
            UnknownIdError,
            "candidate: unknown id 'mars'",
        ),
        (
            lambda m: m.complete(["olso"], ["in"]),
            UnknownIdError,
            "head: unknown id 'olso'; closest to 'olso': 'oslo'; the vocabulary holds 5 text ids",
        ),
        (
            lambda m: m.complete(["oslo"], ["capitol_of"]),
            UnknownIdError,
            "relation: unknown id 'capitol_of'; closest to 'capitol_of': 'capital_of'",
        ),
        (
            lambda m: m.complete([7], ["in"]),
            TypeError,
            "head: this vocabulary holds text ids such as 'oslo', got integer ids such as 7",
        ),
        (
            lambda m: m.predict(["oslo"], [None], ["rome"]),
            ValueError,
            r"relation: ids: 1 of 1 ids are missing \(None or NaN\), the first in row 0",
        ),
        (lambda m: m.complete("oslo", "in"), TypeError, r"single id 'oslo'; give a list of ids"),
        (lambda m: m.similar_entities(["oslo"]), TypeError, "Fixed learns no vectors; use TuckER"),
        (lambda m: m.transform(["oslo"]), TypeError, "Fixed learns no vectors; use TuckER or MIG"),
        (
            lambda m: m.predict(["oslo"], ["in"], ["rome"], probability=True),
            ValueError,
            "this model was not calibrated; fit it with validation facts, or call calibrate",
        ),
    ],
)
def test_bad_questions(
    level: Fixed, call: Callable[[Any], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        call(level)


def test_scores_that_are_nan_are_refused(level: Fixed) -> None:
    level.module_.values[0, 0, 3] = torch.nan
    with pytest.raises(ValueError, match="1 of 2 scores are NaN; the model has diverged: fit it"):
        level.predict(["oslo", "rome"], ["capital_of"] * 2, ["rome", "rome"])
    with pytest.raises(ValueError, match="the scores of 1 of 1 queries hold NaN"):
        level.complete(["oslo"], ["capital_of"])
    with pytest.raises(ValueError, match="score returned NaN; check the fitted tables"):
        level.score(Triples.from_arrays(["oslo"], ["capital_of"], ["italy"]))


def test_no_rows_and_many(level: Fixed, monkeypatch: pytest.MonkeyPatch) -> None:
    assert level.predict([], [], []).shape == (0,)
    monkeypatch.setattr("kg.learner.FACTS_AT_ONCE", 7)
    assert level.predict(["oslo"] * 50, ["in"] * 50, ["rome"] * 50).shape == (50,)


# judging


def test_facts_with_unknown_ids_count_as_missed(level: Fixed) -> None:
    one = Triples.from_arrays(["rome"], ["in"], ["italy"])
    two = Triples.from_arrays(["rome", "rome"], ["in", "in"], ["italy", "france"])
    assert level.score(one) == pytest.approx(1 / 3)  # third of five level ones, both ways
    assert level.score(two) == pytest.approx(1 / 6)
    with pytest.raises(ValueError, match="no test fact has its head, relation and tail in the"):
        level.score(Triples.from_arrays(["paris"], ["in"], ["france"]))
    with pytest.raises(TypeError, match="test must be Triples, got DataFrame; build them with"):
        unchecked(LinkPredictor.score)(level, FRAME)


# probabilities


def test_calibrate_is_asked_well(level: Fixed, facts: Triples) -> None:
    for prior in (0.0, 1.0, -2.0):
        with pytest.raises(ValueError, match="prior must be above 0 and below 1, got"):
            level.calibrate(facts, prior=prior)
    with pytest.raises(ValueError, match="corruptions must be at least 1, got 0"):
        level.calibrate(facts, corruptions=0)
    with pytest.raises(ValueError, match="no fact to calibrate with has its head, relation and"):
        level.calibrate(Triples.from_arrays(["paris"], ["in"], ["france"]))
    full = Triples.from_arrays(["a"] * 2 + ["b"] * 2, ["r"] * 4, ["a", "b"] * 2)
    with pytest.raises(ValueError, match="every corruption that was drawn is a known fact"):
        Fixed().fit(full).calibrate(full)
    with pytest.warns(UserWarning, match="4 of 4 validation facts are in train too"):
        assert Fixed().fit(full, full).calibration_ is None


def test_level_logits_say_the_prior(level: Fixed) -> None:
    held = Triples.from_arrays(["rome"], ["in"], ["italy"])
    question = (["oslo"], ["in"], ["rome"])
    for prior in (0.5, 0.1):
        # targets are (1 + 1) / (1 + 2) of one fact, and 1 / (m + 2) of m corruptions
        known = held.reindex(level.entities_, level.relations_)
        m = len(corrupted(known, [level.facts_], 1000, devices.seeded(0))[0])
        expected = prior * 2 / 3 + (1 - prior) / (m + 2)
        level.calibrate(held, prior=prior, corruptions=1000)
        found = level.predict(*question, probability=True)
        assert found == pytest.approx(expected, abs=1e-3)
