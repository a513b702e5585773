"""Facts that are picked to hurt others: where they lie, and that they do."""

from __future__ import annotations

import pytest
import torch

from kg import MIGTF, TuckER
from kg.fact_attacks import KINDS, Influence, additions, removals
from kg.queries import Asked
from link_predictors import Paths, parity_facts

SETTING = {"entity_dim": 8, "relation_dim": 4, "batch_size": 30, "lr": 0.02, "core_scale": 0.3}
FACTS = parity_facts()
MODEL = TuckER(**SETTING, epochs=15).fit(FACTS)
OTHERS = parity_facts(100, number=1).reindex(FACTS.entities, FACTS.relations, unknown="drop")
TARGETS = OTHERS.select(~OTHERS.known_to(FACTS))


@pytest.mark.parametrize("kind", KINDS)
def test_each_target_gets_a_neighbour_of_its_own(kind: str) -> None:
    gone = removals(MODEL, FACTS, TARGETS, kind)
    assert len(gone) == len(TARGETS)
    assert gone.known_to(FACTS).all()
    false = additions(MODEL, FACTS, TARGETS, kind)
    assert len(false) == len(TARGETS)
    assert not (false.known_to(FACTS) | false.known_to(TARGETS)).any()
    one = TARGETS.select(torch.arange(len(TARGETS)) == 3)
    (gone, false) = (pick(MODEL, FACTS, one, kind) for pick in (removals, additions))
    ends = {int(one.head), int(one.tail)}
    assert ends & {int(gone.head), int(gone.tail)}
    assert int(false.head) == int(one.head) or int(false.tail) == int(one.tail)


def test_the_influence_is_the_slope_along_the_step() -> None:
    head, relation, tail = TARGETS.head[0], TARGETS.relation[0], TARGETS.tail[0]
    found = Influence(MODEL)(head, relation, tail, FACTS)
    module = Influence(MODEL).module

    def answered(anchor: torch.Tensor, directed: torch.Tensor) -> torch.Tensor:
        asked = Asked(anchor[None], directed[None])
        return (module.wanted(module.given(asked.anchor), asked.relation) @ module.entities.T)[0]

    onward, back = answered(head, relation), answered(tail, relation + FACTS.n_relations)
    loss = -onward.log_softmax(0)[tail] - back.log_softmax(0)[head]
    down = torch.autograd.grad(loss, list(module.parameters()))
    for fact in (0, 7, 50):
        logit = answered(FACTS.head[fact], FACTS.relation[fact])[FACTS.tail[fact]]
        up = torch.autograd.grad(logit, list(module.parameters()))
        expected = -sum((one * other).sum() for one, other in zip(down, up, strict=True))
        assert float(found[fact]) == pytest.approx(float(expected), rel=1e-3, abs=1e-6)


def test_the_strongest_neighbour_is_picked() -> None:
    one = TARGETS.select(torch.arange(len(TARGETS)) == 3)
    effect = Influence(MODEL)(one.head[0], one.relation[0], one.tail[0], FACTS)
    ends = torch.cat([one.head, one.tail])
    near = torch.isin(FACTS.head, ends) | torch.isin(FACTS.tail, ends)
    gone = removals(MODEL, FACTS, one)
    assert float(effect[FACTS.known_to(gone)]) == pytest.approx(float(effect[near].max()))
    false = additions(MODEL, FACTS, one)
    assert Influence(MODEL)(one.head[0], one.relation[0], one.tail[0], false) < effect.min()


def test_a_mixed_model_has_slopes_too() -> None:
    mixed = MIGTF(**SETTING, epochs=2, hyperbolic_dim=3).fit(FACTS, base=MODEL)
    assert len(removals(mixed, FACTS, TARGETS)) == len(TARGETS)
    before = {name: p.clone() for name, p in mixed.module_.state_dict().items()}
    additions(mixed, FACTS, TARGETS)
    assert all(before[name].equal(p) for name, p in mixed.module_.state_dict().items())


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^kind must be one of gradient, random, got 'worst'$"):
        removals(MODEL, FACTS, TARGETS, "worst")
    with pytest.raises(ValueError, match=r"^there is no target; give the facts to hurt$"):
        additions(MODEL, FACTS, TARGETS.select(torch.zeros(len(TARGETS), dtype=torch.bool)))
    with pytest.raises(TypeError, match=r"^Paths has no slopes; TuckER and MIGTF have$"):
        removals(Paths().fit(FACTS), FACTS, TARGETS)
