"""Link predictors with penalties and adversarial training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from hyperrank import store
from hyperrank.devices import seeded
from hyperrank.penalties import NAMES
from kg import MIGTF, TuckER
from kg.answer_batches import AnswerBatches
from kg.triples import Triples
from link_predictors import parity_facts

SMALL: dict[str, Any] = {"entity_dim": 12, "relation_dim": 4, "epochs": 20, "batch_size": 16}


@pytest.fixture(scope="module")
def facts() -> Triples:
    return parity_facts()


def size(model: TuckER, facts: Triples) -> float:
    """Of the scores of all known queries."""
    queries = facts.queries()
    return float(model.module_.score(queries.anchor, queries.relation).norm())


def test_a_penalty_shrinks_the_scores(facts: Triples) -> None:
    plain = size(TuckER(**SMALL).fit(facts), facts)
    for name in NAMES:
        robust = TuckER(**SMALL, robustness=name, robustness_weight=0.1).fit(facts)
        assert size(robust, facts) < plain, name


def test_factors_are_what_is_served(facts: Triples) -> None:
    model, generator = TuckER(**SMALL), seeded(0)
    module = model.module(facts.n_entities, facts.n_relations, generator)
    batch = next(iter(AnswerBatches(facts.queries(), 16, generator)))
    module.train()
    module.loss(batch)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    left, right = module.factors()
    assert all(part.training for part in module.modules())
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    scores = module.eval().score(batch.anchor, batch.relation)
    torch.testing.assert_close(left @ right.T, scores)
    assert left.requires_grad


@pytest.mark.parametrize("training", ["joint", "two-stage"])
@pytest.mark.parametrize(
    "settings",
    [
        {"robustness": "injective", "robustness_weight": 0.01},
        {"robustness": "cvar", "robustness_weight": 0.01},
        {"adversarial_weight": 0.5},
    ],
    ids=str,
)
def test_migtf_trains_both_ways(
    training: Any, settings: dict[str, Any], facts: Triples, tmp_path: Path
) -> None:
    model = MIGTF(**{**SMALL, "epochs": 2}, hyperbolic_dim=4, training=training, **settings).fit(
        facts
    )
    store.save(model, tmp_path / "model")
    assert store.load(tmp_path / "model").get_params() == model.get_params()


def test_a_frozen_base_is_penalized_while_it_learns(facts: Triples) -> None:
    penalty: dict[str, Any] = {"robustness": "cvar", "robustness_weight": 0.1}
    short = {**SMALL, "epochs": 3}
    robust = MIGTF(**short, **penalty, hyperbolic_dim=4).fit(facts)
    base = TuckER(**short, **penalty).fit(facts)
    upon = MIGTF(**short, hyperbolic_dim=4).fit(facts, base=base)
    assert upon.history_ == robust.history_
    for one, other in zip(robust.module_.parameters(), upon.module_.parameters(), strict=True):
        assert torch.equal(one, other)
    with pytest.raises(
        ValueError,
        match="MIGTF: robustness='cvar' is a penalty of the TuckER, and the base given to fit "
        "stays as it is; fit the base with it, or use training='joint'",
    ):
        MIGTF(**short, **penalty).fit(facts, base=base)
    MIGTF(**short, **penalty, training="joint").fit(facts, base=base)


def test_adversarial_training_learns(facts: Triples) -> None:
    model = TuckER(**SMALL, adversarial_weight=0.5).fit(facts)
    assert model.history_[-1] < model.history_[0]
