"""TuckER and MIG-TF as estimators: what they learn, stop at, start from and refuse."""

from __future__ import annotations

import inspect
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from hyperrank import store
from hyperrank.estimator import NotFittedError
from hyperrank.optim import Muon
from kg.migtf import MIGTF
from kg.ranking import filtered_ranks
from kg.trained import TrainedPredictor
from kg.triples import Triples, listed
from kg.tucker import TuckER
from link_predictors import parity_facts

SMALL: dict[str, Any] = {
    "entity_dim": 8, "relation_dim": 4, "epochs": 6, "batch_size": 30, "lr": 0.1, "core_scale": 0.3
}  # fmt: skip


@pytest.fixture(scope="module")
def facts() -> Triples:
    return parity_facts()


@pytest.fixture(scope="module")
def held(facts: Triples) -> Triples:
    other = parity_facts(100, number=1)
    return other.select(~other.known_to(facts))


@pytest.fixture(scope="module")
def base(facts: Triples) -> TuckER:
    return TuckER(**SMALL).fit(facts)


def mrr(model: TuckER, facts: Triples, held: Triples) -> float:
    queries = held.queries()
    found = filtered_ranks(model.module_, queries, queries.answers(facts))
    return float((1 / found).mean())


def test_early_stopping_restores_the_best_tables(facts: Triples, held: Triples) -> None:
    model = TuckER(**SMALL, evaluate_every=2, patience=1).fit(facts, held)
    looks = dict(model.validation_history_)
    assert set(looks) <= {2, 4, 6}
    assert looks[model.best_epoch_] == max(looks.values())
    assert mrr(model, facts, held) == pytest.approx(max(looks.values()), abs=1e-12)


@pytest.mark.parametrize("name", ["tucker", "migtf", "joint"])
def test_known_facts_are_hidden_where_validation_is_ranked(
    name: str, facts: Triples, held: Triples
) -> None:
    half = torch.arange(len(held)) % 2 == 0
    ranked, known = held.select(half), held.select(~half)
    strange = known.union(Triples.from_arrays(["e1"], ["like"], ["stranger"]))
    models = {"tucker": TuckER, "migtf": MIGTF, "joint": partial(MIGTF, training="joint")}
    model = models[name](**SMALL).fit(facts, ranked, [strange])
    best = max(value for _, value in model.validation_history_)
    assert mrr(model, facts.union(known), ranked) == pytest.approx(best, abs=1e-12)
    assert model.score(ranked, known=known) == pytest.approx(best, abs=1e-12)
    assert best > model.score(ranked)
    assert model.entities_ == facts.entities
    if name == "migtf":
        base = models["tucker"](**SMALL).fit(facts, ranked, known)
        assert model.base_history_ == base.validation_history_


def test_known_facts_may_be_of_several_parts(facts: Triples, held: Triples) -> None:
    few, many = held.select(torch.arange(len(held)) < 20), held.select(torch.arange(len(held)) > 40)
    models = [
        TuckER(**SMALL).fit(facts, few, known)
        for known in (many, [many], (many,), [facts, many.select(many.head < 9), many])
    ]
    assert len({str(model.validation_history_) for model in models}) == 1
    assert len({model.score(few, known=[many, few]) for model in models}) == 1
    assert listed(iter([many])) == [many]
    plain = TuckER(**SMALL).fit(facts, few, [])
    assert plain.validation_history_ != models[0].validation_history_
    assert plain.calibration_ != models[0].calibration_


def test_known_facts_are_no_false_facts_of_the_calibration(facts: Triples, held: Triples) -> None:
    model, few = TuckER(**SMALL), held.select(torch.arange(len(held)) < 20)
    every = torch.cartesian_prod(torch.arange(30), torch.arange(2), torch.arange(30)).T
    everything = Triples.from_rows(facts.entities, facts.relations, *every)
    assert model.fit(facts, few, everything).calibration_ is None
    assert model.fit(facts, few, held).calibration_ is not None


def test_known_facts_are_checked(facts: Triples, held: Triples) -> None:
    model, others = TuckER(**SMALL), Triples.from_arrays(["a"], ["r"], ["b"])
    said = r"none of the 1 facts of known\[1\] .* is it another graph"
    with pytest.raises(ValueError, match=said):
        model.fit(facts, held, [held, others])
    with pytest.raises(ValueError, match=said):
        model.fit(facts).score(held, known=[held, others])
    with pytest.raises(TypeError, match=r"known\[0\]: .*"):
        model.fit(facts, held, Triples.from_arrays([1], ["like"], [2]))
    with pytest.raises(ValueError, match="give validation facts too, or leave known out"):
        model.fit(facts, known=held)
    wrong: dict[str, Any] = {"1.* got int": [held, 3], "0.* got str": "ab", "0.* got TuckER": model}
    for told, known in wrong.items():
        with pytest.raises(TypeError, match=rf"known\[{told}"):
            inspect.unwrap(listed)(known)


def test_without_validation_the_last_epoch_is_kept(base: TuckER) -> None:
    assert (base.best_epoch_, base.validation_history_) == (6, [])
    assert len(base.history_) == 6
    assert base.history_[-1] < base.history_[0]


@pytest.mark.parametrize(
    "changes",
    [
        {"loss": "softmax", "smoothing_rule": "uniform"},
        {"core_noise": "query", "chunk": 7},
        {"core_noise": "relation", "lr_decay": 0.9, "lr_fall": True},
        {"optimizer": "muon", "core_lr": 0.05},
        {"batch_norm": False, "n3": 1e-3, "lr": 0.05},
        {"dura": 1e-3, "weight_decay": 1e-3},
        {"blocks": 2, "batch_norm": False, "n3": 1e-3, "core_lr": 0.01},
        {"relation_weight": 0.5},
        {"precision": "bf16", "relation_weight": 0.1, "n3": 1e-4},
    ],
)
def test_every_option_learns(changes: dict[str, Any], facts: Triples, held: Triples) -> None:
    model = TuckER(**{**SMALL, "epochs": 12, **changes}).fit(facts)
    assert mrr(model, facts, held) > 0.15  # 0.13 is that of chance among the 30
    assert model.history_[-1] < model.history_[0]


def test_training_alone_is_no_model(facts: Triples) -> None:
    with pytest.raises(NotImplementedError, match="TrainedPredictor does not say how it learns"):
        TrainedPredictor().fit(facts)


def test_only_the_core_is_orthogonalized(facts: Triples) -> None:
    model = TuckER(optimizer="muon", core_lr=0.5, lr=0.1)
    module = model.module(5, 2, torch.Generator())
    optimizer = model.make_optimizer(module, facts.queries())
    assert isinstance(optimizer, Muon)
    by_muon = [g for g in optimizer.param_groups if g["algorithm"] == "muon"]
    assert [g["params"][0] is module.core for g in by_muon] == [True]
    assert by_muon[0]["lr"] == 0.5
    model = replace(model, optimizer="adam")
    rates = {g["name"]: g["lr"] for g in model.make_optimizer(module, facts.queries()).param_groups}
    assert {name for name, rate in rates.items() if rate == 0.5} == {"core"}


def test_adam_is_that_of_the_mean_loss(facts: Triples) -> None:
    """Its eps is told in units of a mean over queries and entities."""
    model = TuckER(batch_size=30, adam_eps=1e-8)
    module = model.module(facts.n_entities, 2, torch.Generator())
    queries = facts.queries()
    assert model.make_optimizer(module, queries).param_groups[0]["eps"] == pytest.approx(9e-6)
    model = replace(model, loss="softmax")
    assert model.make_optimizer(module, queries).param_groups[0]["eps"] == pytest.approx(3e-7)


def test_a_base_is_taken_over_and_not_changed(base: TuckER, facts: Triples, held: Triples) -> None:
    before = {name: t.clone() for name, t in base.module_.state_dict().items()}
    mixed = MIGTF(hyperbolic_dim=4, **{**SMALL, "entity_dim": 99}).fit(facts, base=base)
    for name, tensor in base.module_.state_dict().items():
        assert torch.equal(tensor, before[name]), name
        assert torch.equal(mixed.module_.base.state_dict()[name], tensor), name
    off = MIGTF(hyperbolic_dim=4, learn_gate=False, **SMALL).fit(facts, base=base)
    assert mrr(off, facts, held) == mrr(base, facts, held)
    assert mrr(mixed, facts, held) != mrr(base, facts, held)


@pytest.mark.parametrize("training", ["two-stage", "joint"])
def test_a_base_says_whether_it_is_normalized(
    training: Any, facts: Triples, tmp_path: Path
) -> None:
    bare = TuckER(**{**SMALL, "batch_norm": False, "blocks": 2}).fit(facts)
    mixed = MIGTF(hyperbolic_dim=4, training=training, **SMALL).fit(facts, base=bare)
    assert not [name for name in mixed.module_.base.state_dict() if name.startswith("norm")]
    store.save(mixed, tmp_path / "m")
    assert store.load(tmp_path / "m").score(facts) == mixed.score(facts)


def test_it_starts_from_its_base(base: TuckER, facts: Triples, held: Triples) -> None:
    model = MIGTF(hyperbolic_dim=4, **SMALL).fit(facts, held, base=base)
    looks = dict(model.validation_history_)
    assert looks[0] == mrr(base, facts, held)
    assert mrr(model, facts, held) == looks[model.best_epoch_] >= looks[0]


def test_without_base_it_learns_one(base: TuckER, facts: Triples) -> None:
    mixed = MIGTF(hyperbolic_dim=4, **SMALL).fit(facts)
    for name, tensor in base.module_.state_dict().items():
        assert torch.equal(mixed.module_.base.state_dict()[name], tensor), name
    joint = MIGTF(hyperbolic_dim=4, training="joint", **SMALL).fit(facts)
    assert not torch.equal(joint.module_.base.core, base.module_.core)
    assert joint.history_[-1] < joint.history_[0]


def test_published_normalization_is_new(base: TuckER, facts: Triples) -> None:
    model = MIGTF(hyperbolic_dim=4, transfer_norm=False, freeze_norm=False, **SMALL)
    mixed = model.fit(facts, base=base)
    assert torch.equal(mixed.module_.base.core, base.module_.core)
    assert not torch.equal(mixed.module_.base.norm_in.weight, base.module_.norm_in.weight)


def test_points_may_have_a_rate_of_their_own(base: TuckER, facts: Triples) -> None:
    model = MIGTF(hyperbolic_dim=4, point_lr=0.7, **SMALL).fit(facts, base=base)
    groups = model.make_optimizer(model.module_, facts.queries()).param_groups
    assert {g["name"]: g["lr"] for g in groups} == {
        "points": 0.7, "relation_points": 0.7, "gate": 0.1, "norm.weight": 0.1, "norm.bias": 0.1
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"curvature": 1.0}, "curvature must be a negative number, got 1.0; the published one is"),
        ({"transfer_norm": False}, "freeze_norm=True would freeze normalizations that nothing has"),
        (
            {"orthonormal_relations": True, "hyperbolic_dim": 3},
            "4 directed relations cannot be orthonormal in hyperbolic_dim=3; raise it, or use",
        ),
        (
            {"core_start": "complex"},
            "takes blocks of 2 numbers, so entity_dim and relation_dim of 2",
        ),
        ({"blocks": 3}, "entity_dim=8 and relation_dim=4 must be multiples of blocks=3"),
        ({"batch_size": 1}, "batch_size must be at least 2, got 1"),
        ({"core_noise": "loud"}, "core_noise must be one of 'gaussian', 'relation', 'query'"),
        ({"loss": "hinge"}, "loss must be one of 'bce', 'softmax', got 'hinge'"),
    ],
)
def test_bad_parameters_are_refused(changes: dict[str, Any], message: str, facts: Triples) -> None:
    with pytest.raises(ValueError, match=message):
        MIGTF(**{**SMALL, **changes}).fit(facts)


def test_a_base_must_fit(base: TuckER, facts: Triples) -> None:
    other = parity_facts(n_entities=20)
    with pytest.raises(ValueError, match="base knows 30 entities and 2 relations, train has 20 an"):
        MIGTF(**SMALL).fit(other, base=base)
    with pytest.raises(TypeError, match="base must be a fitted TuckER, got MIGTF"):
        MIGTF(**SMALL).fit(facts, base=MIGTF(**SMALL))
    with pytest.raises(NotFittedError, match="this TuckER is not fitted"):
        MIGTF(**SMALL).fit(facts, base=TuckER())


def test_orthonormal_relations_are_learned(facts: Triples, base: TuckER) -> None:
    model = MIGTF(orthonormal_relations=True, hyperbolic_dim=4, **SMALL).fit(facts, base=base)
    assert torch.isfinite(model.module_.relation_points).all()


def test_each_loss_has_its_usual_smoothing() -> None:
    assert TuckER()._objective().smoothing_rule == "conve"
    assert TuckER(loss="softmax")._objective().smoothing_rule == "uniform"
    assert TuckER(loss="softmax", smoothing_rule="conve")._objective().smoothing_rule == "conve"
