"""Probabilities: the curve is the best there is, and they say how many are true."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from hyperrank.devices import seeded
from kg.calibration import Calibration, corrupted, platt
from link_predictors import Paths, parity_facts


@pytest.mark.parametrize(("shift", "scale", "prior"), [(0, 1, 0.5), (7, 0.01, 0.5), (-50, 30, 0.1)])
def test_the_curve_is_that_of_a_logistic_regression(
    shift: float, scale: float, prior: float
) -> None:
    source = seeded(0)
    true = shift + scale * (torch.randn(900, generator=source) + 1)
    false = shift + scale * torch.randn(3000, generator=source)
    found = platt(true, false, prior)
    x = torch.cat([true, false]).double()
    # a soft target is both classes with weights
    target = np.r_[np.full(900, 901 / 902), np.full(3000, 1 / 3002)]
    weight = np.r_[np.full(900, prior / 900), np.full(3000, (1 - prior) / 3000)] * 3900
    scaled = ((x - shift) / scale).numpy()[:, None]
    peer = LogisticRegression(C=1e9, tol=1e-10, max_iter=1000).fit(
        np.r_[scaled, scaled],
        np.r_[np.ones(3900), np.zeros(3900)],
        np.r_[weight * target, weight * (1 - target)],
    )
    expected = peer.predict_proba(scaled)[:, 1]
    np.testing.assert_allclose(found.probabilities(x), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("true", "false"),
    [([5.0, 6.0], [1.0, 2.0]), ([1.0], [1.0]), ([0.0], [1e30]), ([3.0] * 4, [2.0] * 9)],
    ids=["apart", "one and the same", "huge", "two levels"],
)
def test_the_curve_is_finite(true: list[float], false: list[float]) -> None:
    found = platt(torch.tensor(true), torch.tensor(false), 0.5)
    assert np.isfinite(found).all()
    logits = torch.tensor(true + false)
    assert ((found.probabilities(logits) > 0) & (found.probabilities(logits) < 1)).all()


def test_a_probability_says_how_many_are_true() -> None:
    facts, held = parity_facts(), parity_facts(3000, number=1)
    model = Paths().fit(facts)
    for prior in (0.5, 0.2):
        model.calibrate(held, prior=prior)
        other = corrupted(held, [model.facts_], 16, seeded(5))
        false = model.calibration_.probabilities(model._logits(*other))
        true = model.calibration_.probabilities(model._logits(held.head, held.relation, held.tail))
        mean = prior * true.mean() + (1 - prior) * false.mean()
        assert float(mean) == pytest.approx(prior, abs=0.01)
        assert true.mean() > false.mean() + 0.05


def test_corruptions_have_one_new_end_and_are_false() -> None:
    facts, held = parity_facts(), parity_facts(200, number=1)
    other = parity_facts(200, number=2)
    true_ones = [facts.queries(), other.queries()]
    head, relation, tail = corrupted(held, true_ones, 8, seeded(0))
    known = {
        row
        for one in (facts, held, other)
        for row in zip(one.head.tolist(), one.relation.tolist(), one.tail.tolist(), strict=True)
    }
    drawn = list(zip(head.tolist(), relation.tolist(), tail.tolist(), strict=True))
    assert 500 < len(drawn) < 8 * len(held)
    assert not set(drawn) & known
    heads = {(r, t) for _, r, t in known}
    tails = {(h, r) for h, r, _ in known}
    assert all((r, t) in heads or (h, r) in tails for h, r, t in drawn)


def test_the_same_draws_of_the_same_seed() -> None:
    facts, held = parity_facts(), parity_facts(200, number=1)
    held = held.select(~held.known_to(facts))
    model = Paths().fit(facts, held)
    first = model.calibration_
    assert isinstance(first, Calibration)
    assert model.calibrate(held).calibration_ == first
    assert model.calibrate(held, random_state=1).calibration_ != first
