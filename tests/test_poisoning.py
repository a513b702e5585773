"""Fake users look as they should, push what they should, and leave the log's own rows alone."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from recsys import EASE, Interactions, PureSVD
from recsys.poisoned_ridge import RidgeSurrogate, largest
from recsys.poisoning import KINDS, poisoned, target_exposure


def made(**columns: object) -> Interactions:
    """Three tastes of fifty items each, most of a taste's events on its first items."""
    source = np.random.default_rng(0)
    user = source.integers(0, 120, 2400)
    item = 3 * (50 * source.random(2400) ** 4).astype(int) + user % 3
    frame = pd.DataFrame({"user": user, "item": item, **columns}).drop_duplicates(["user", "item"])
    return Interactions.from_frame(frame, **{name: name for name in columns})


LOG = made()
TARGETS = [147, 148, 149]  # the rarest of each taste


@pytest.mark.parametrize("kind", KINDS)
def test_profiles_are_as_long_as_histories_and_half_of_them_are_targets(kind: str) -> None:
    found = poisoned(LOG, TARGETS, kind, 0.1)
    assert found.users.ids[:120].tolist() == LOG.users.ids.tolist()
    assert found.items == LOG.items
    real = found.events.keys[: len(LOG)]
    assert real.equal(LOG.events.keys)
    degrees = found.pairs.query_degrees
    assert set(degrees[120:].tolist()) <= set(degrees[:120].tolist())
    targets = found.items.rows(TARGETS)
    held = torch.stack(
        [found.pairs.contains(torch.arange(120, 132), t.expand(12)) for t in targets]
    )
    assert held.sum(1).tolist() == [12, 12, 12]  # histories are longer than six
    again = poisoned(LOG, TARGETS, kind, 0.1)
    assert again.events.keys.equal(found.events.keys)
    assert not poisoned(LOG, TARGETS, kind, 0.1, random_state=1).events.keys.equal(
        found.events.keys
    )


def test_targets_are_dealt_to_short_profiles() -> None:
    pairs = pd.DataFrame({"user": np.arange(60) // 3, "item": np.arange(60) % 20})
    found = poisoned(Interactions.from_frame(pairs), [0, 1, 2, 3], "random", 0.4)
    degrees = found.pairs.query_degrees
    assert degrees[20:].tolist() == [3] * 8
    fakes = found.pairs.candidates[found.pairs.queries >= 20]
    assert [int((fakes == item).sum()) for item in range(4)] == [2, 2, 2, 2]


def test_fillers_are_popular_or_near_the_targets() -> None:
    def mean_degree(kind: str) -> float:
        found = poisoned(LOG, TARGETS[:1], kind, 0.2)
        fakes = found.pairs.candidates[found.pairs.queries >= 120]
        return float(LOG.pairs.candidate_degrees[fakes].float().mean())

    assert mean_degree("bandwagon") > 1.5 * mean_degree("random")
    segment = poisoned(LOG, TARGETS[:1], "segment", 0.2)
    fakes = segment.items.ids[segment.pairs.candidates[segment.pairs.queries >= 120].numpy()]
    taste = np.array(fakes) % 3 == TARGETS[0] % 3
    assert taste.mean() > 0.8


def test_the_gradient_shows_targets_to_more_users_than_other_fillers() -> None:
    source = np.random.default_rng(0)
    user = source.integers(0, 400, 4000)
    item = 8 * (100 * source.random(4000) ** 3).astype(int) + user % 8
    log = Interactions.from_frame(pd.DataFrame({"user": user, "item": item}).drop_duplicates())
    targets = log.items.take(log.pairs.candidate_degrees.argsort(stable=True)[:6])

    def shown(kind: str) -> float:
        model = EASE(l2=20.0).fit(poisoned(log, targets, kind, 0.05))
        return target_exposure(model, targets, log.users.ids).hit_rate

    gradient = shown("gradient")
    assert gradient > 1.5 * max(shown(kind) for kind in KINDS if kind != "gradient")


def test_the_surrogate_is_the_ridge_regression_of_the_longer_log() -> None:
    generator = torch.Generator().manual_seed(0)
    pairs, targets = LOG.pairs, LOG.items.rows(TARGETS)
    known = RidgeSurrogate.of(pairs, targets, generator)
    fakes = (torch.rand(7, LOG.n_items, generator=generator) < 0.3).float()
    matrix = torch.from_numpy(pairs.to_scipy().toarray()).double()
    eye, l2, right = torch.eye(LOG.n_items).double(), known.l2.double(), known.right.double()
    gram = l2 * torch.linalg.inv(eye - right * known.kept @ right.T)  # X^T X + l2 I, of rank DIM
    weights = eye - l2 * torch.linalg.inv(gram + fakes.T.double() @ fakes.double())
    expected = (matrix @ weights)[:, targets] - known.last[:, None]
    new = ~known.owners  # those who have a target would see its own diagonal
    torch.testing.assert_close(
        known.margins(fakes)[new], expected.float()[new], atol=2e-4, rtol=1e-3
    )


def test_largest_takes_what_is_there() -> None:
    scores = torch.tensor([[3.0, 1.0, 2.0], [1.0, -torch.inf, -torch.inf]])
    assert largest(scores, torch.tensor([2, 2])).tolist() == [
        [True, False, True], [True, False, False]
    ]  # fmt: skip


def test_weights_times_and_text_ids_come_along() -> None:
    source = np.random.default_rng(0)
    log = made(weight=source.random(2400).astype(np.float32) + 1, time=source.random(2400))
    found = poisoned(log, TARGETS, "random", 0.05)
    for name in ("weight", "time"):
        column = getattr(found.events, name)
        assert set(column.tolist()) == set(getattr(log.events, name).tolist())
    frame = log.to_frame().assign(user=lambda one: "fake " + one.user.astype(str))
    found = poisoned(Interactions.from_frame(frame), TARGETS, "random", 0.01)
    assert len(found.users) == 121
    assert found.users.ids[-1] not in frame.user.to_numpy()


def test_exposure_counts_those_to_whom_targets_are_new() -> None:
    model = PureSVD(dim=8).fit(LOG)
    lists = model.recommend(k=5)
    wanted = [int(item) for item in lists["item"][:2]]
    known = LOG.to_frame().item.isin(wanted).sum()
    found = target_exposure(model, wanted, k=5)
    assert found.pairs == 240 - known
    assert found.hit_rate == lists["item"].isin(wanted).sum() / found.pairs
    assert 1 <= found.rank <= LOG.n_items


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^kind must be one of random, bandwagon, segment, gr"):
        poisoned(LOG, TARGETS, "average")
    with pytest.raises(ValueError, match=r"^share must be above 0 and at most 1, got 2$"):
        poisoned(LOG, TARGETS, "random", 2)
    with pytest.raises(
        ValueError, match=r"^there is no target; give the ids of the items to push$"
    ):
        poisoned(LOG, [])
    dates = LOG.to_frame().assign(
        user=lambda one: pd.Timestamp("2024-01-01") + pd.to_timedelta(one.user, "D")
    )
    with pytest.raises(TypeError, match=r"need ids that are integers or text, these are datetime$"):
        poisoned(Interactions.from_frame(dates), TARGETS)
    full = Interactions.from_frame(pd.DataFrame({"user": [1, 2, 3], "item": [5, 5, 6]}))
    with pytest.raises(ValueError, match="all 2 users know all 1 targets; nobody is exposed"):
        target_exposure(PureSVD(dim=1).fit(full), [5], [1, 2])
