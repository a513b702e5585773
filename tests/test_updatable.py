"""Updates: what they change, what they leave, and that their order does not matter."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import recsys
from hyperrank import store
from recsys import Interactions, UltraGCN
from recsys.row_solvers import Solution
from recsys.updatable import UpdatableRecommender
from recsys.updates import RefitRule
from tests.update_logs import (
    BASE,
    N_USERS,
    NEWS,
    OTHERS,
    TRIPLETS,
    assert_same,
    events,
    fitted,
    log,
)


@pytest.fixture(scope="module")
def model() -> UltraGCN:
    return fitted()


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("settings", [{}, {"item_weight": 0.0, "negative_power": 0.5}])
def test_the_order_of_updates_does_not_matter(seed: int, settings: dict[str, float]) -> None:
    model = fitted(**settings)
    at_once, in_parts = copy.copy(model), copy.copy(model)
    at_once.partial_fit(log(NEWS))
    order = np.random.default_rng(seed).permutation(len(NEWS))
    for part in np.array_split(order, 1 + seed):
        in_parts.partial_fit(log(NEWS.iloc[part]))
    assert_same(at_once, in_parts)


def test_a_late_item_follows_what_its_new_users_do_later(model: UltraGCN) -> None:
    first = pd.DataFrame({"user": [300, 3], "item": [900, 900]})
    later = pd.DataFrame({"user": [300] * 3, "item": [1, 2, 4]})  # items of the fit
    at_once, in_parts = copy.copy(model), copy.copy(model)
    at_once.partial_fit(log(first, later))
    in_parts.partial_fit(log(first))
    before = in_parts.transform_items([900])
    report = in_parts.partial_fit(log(later))
    assert report.items_touched == 1
    assert report.users_touched == 2
    assert np.abs(in_parts.transform_items([900]) - before).max() > 1e-2
    assert_same(at_once, in_parts)


def test_every_updatable_model_is_held_to_this() -> None:
    public = {getattr(recsys, name) for name in recsys.__all__}
    kinds = {k for k in public if isinstance(k, type) and issubclass(k, UpdatableRecommender)}
    held = {"UltraGCN", *(name.split()[0] for name in (OTHERS | TRIPLETS))}
    assert {kind.__name__ for kind in kinds} == held


@pytest.mark.parametrize("name", OTHERS)
def test_the_order_does_not_matter_to_closed_forms(name: str) -> None:
    if name.startswith("Implicit"):
        pytest.importorskip("implicit", reason="implicit is an option")
    model = OTHERS[name]()
    at_once, in_parts = copy.copy(model), copy.copy(model)
    report = at_once.partial_fit(log(NEWS))
    assert report.residual == report.score_error == 0
    for part in np.array_split(np.random.default_rng(0).permutation(len(NEWS)), 3):
        in_parts.partial_fit(log(NEWS.iloc[part]))
    assert_same(at_once, in_parts)


@pytest.mark.parametrize("name", ["PureSVD", "SquaredUltraGCN"])
def test_nothing_new_leaves_an_svd_as_it_was(name: str) -> None:
    model = OTHERS[name]()
    same = copy.copy(model)
    same.partial_fit(log(BASE))
    np.testing.assert_allclose(
        same.transform(model.users_.ids), model.transform(model.users_.ids), atol=1e-5
    )


def test_what_an_update_leaves_alone(model: UltraGCN) -> None:
    updated = copy.copy(model)
    updated.partial_fit(log(NEWS))
    before, after = model._factors(), updated._factors()
    assert torch.equal(after.candidates[: len(model.items_)], before.candidates)
    stirred = set(NEWS.user)
    quiet = [row for row, user in enumerate(model.users_.ids) if user not in stirred]
    assert quiet
    assert torch.equal(after.queries[quiet], before.queries[quiet])
    assert len(model.users_) == len(before.queries)  # the copy shares nothing that changes


def test_touched_users_are_at_the_minimum_of_their_own_loss(model: UltraGCN) -> None:
    updated = copy.copy(model)
    report = updated.partial_fit(log(NEWS))
    tables = updated._factors()
    longest = torch.cat([tables.queries, tables.candidates]).norm(dim=1).max()
    assert report.residual <= 1e-4 * model.l2 * (1 + float(longest))
    again = updated.partial_fit(log(NEWS))  # the same pairs: nothing moves
    assert again.pairs_added == 0
    assert again.overlap == 1


def test_the_report_counts(model: UltraGCN) -> None:
    updated = copy.copy(model)
    report = updated.partial_fit(log(NEWS))
    known_users, known_items = set(BASE.user), set(BASE.item)
    added_users, added_items = set(NEWS.user) - known_users, set(NEWS.item) - known_items
    assert report.events == len(NEWS)
    assert report.users_added == len(added_users)
    assert report.items_added == report.items_touched == len(added_items)
    on_known = set(NEWS[NEWS.item.isin(known_items)].user)
    by_known = set(NEWS[NEWS.user.isin(known_users)].item)
    assert report.users_cold == len(added_users - on_known)
    assert report.items_cold == len(added_items - by_known)
    assert report.users_touched == NEWS.user.nunique()
    everything = pd.concat([BASE, NEWS]).drop_duplicates()
    assert report.pairs_added == len(everything) - len(BASE.drop_duplicates())
    assert report.drift == pytest.approx(report.pairs_added / len(BASE.drop_duplicates()))
    assert len(updated.seen_) == len(everything)
    assert 0 <= report.overlap <= 1
    assert report.score_error < 1e-2
    assert set(report.seconds) == {"history", "items", "users", "overlap"}
    assert report.to_dict()["verdict"] == report.verdict == "refit"
    assert report.reason.startswith("items added") or report.reason.startswith("pairs added")


def test_the_verdict_follows_the_rule(model: UltraGCN) -> None:
    news = log(NEWS)
    generous = RefitRule(drift=10, new_items=10, score_error=10)
    assert copy.copy(model).partial_fit(news, generous).verdict == "keep"
    report = copy.copy(model).partial_fit(news, RefitRule(drift=10, new_items=10, score_error=0))
    assert report.verdict == "refit"
    assert "certified error" in report.reason


def test_new_ids_are_answered_for(model: UltraGCN) -> None:
    updated = copy.copy(model)
    updated.partial_fit(log(NEWS))
    best = updated.recommend([100, 101], k=5)
    assert list(best.user) == [100] * 5 + [101] * 5
    assert not {200, 201} & set(best[best.user == 101].item)
    assert np.isfinite(updated.predict([0, 101], [200, 3])).all()


def test_a_cold_item_does_not_rank_first(model: UltraGCN) -> None:
    updated = copy.copy(model)
    updated.partial_fit(log(pd.DataFrame({"user": [500], "item": [900]})))
    quiet = model.users_.ids[:10]
    assert 900 not in set(updated.recommend(quiet, k=3).item)


def test_a_saved_model_goes_on(model: UltraGCN, tmp_path: Path) -> None:
    half = len(NEWS) // 2
    kept = copy.copy(model)
    kept.partial_fit(log(NEWS[:half]))
    store.save(kept, tmp_path / "m")
    back = store.load(tmp_path / "m")
    for one in (kept, back):
        one.partial_fit(log(NEWS[half:]))
    assert_same(kept, back)


def test_a_model_saved_before_there_were_updates_takes_them() -> None:
    model = fitted(item_weight=0.0)
    state = model._state()
    older = UltraGCN(**model.get_params())
    tensors = {k: v for k, v in state.tensors.items() if not k.startswith("fit.")}
    notes = {k: v for k, v in state.notes.items() if k not in ("fit", "rule")}
    older._restore(state._replace(tensors=tensors, notes=notes))
    newer = copy.copy(model)
    for one in (older, newer):
        one.partial_fit(log(NEWS))
    assert_same(older, newer)


def test_fold_in_answers_and_remembers_nothing(model: UltraGCN) -> None:
    people = NEWS[NEWS.user >= N_USERS]
    guests = model.fold_in(log(people))
    updated = copy.copy(model)
    updated.partial_fit(log(people[people.item.isin(set(BASE.item))]))
    known = [user for user in guests.users_.ids if user in set(updated.users_.ids)]
    np.testing.assert_allclose(guests.transform(known), updated.transform(known), atol=1e-3)
    assert set(guests.recommend(k=3).user) == set(people.user)
    assert not set(people.user) & set(model.users_.ids)
    with pytest.raises(ValueError, match="none of the 1 items is known to this UltraGCN"):
        model.fold_in(log(pd.DataFrame({"user": [1], "item": [999]})))


def test_forgetting(model: UltraGCN) -> None:
    updated = copy.copy(model)
    updated.partial_fit(log(NEWS))
    gone, others = [0, 100], [user for user in updated.users_.ids.tolist() if user not in (0, 100)]
    pairs = len(updated.seen_)
    before = updated.transform(others)
    removed = updated.forget(gone)
    assert removed == pairs - len(updated.seen_) > 0
    assert updated.users_.ids.tolist() == others
    np.testing.assert_array_equal(updated.transform(others), before)
    updated.partial_fit(log(events(5, 20)))  # goes on
    with pytest.raises(ValueError, match="nobody would be left"):
        updated.forget(updated.users_.ids)


def test_drift_counts_what_came_after_forgetting(model: UltraGCN) -> None:
    updated = copy.copy(model)
    updated.forget(model.users_.ids[:20])
    left = len(updated.seen_)
    report = updated.partial_fit(log(events(7, 60, users=20).assign(user=lambda f: f.user + 600)))
    assert report.drift == pytest.approx(report.pairs_added / left)
    assert report.verdict == "refit"


def test_an_update_after_everybody_of_the_fit_was_forgotten(model: UltraGCN) -> None:
    updated = copy.copy(model)
    updated.partial_fit(log(pd.DataFrame({"user": [100], "item": [1]})))
    updated.forget(model.users_.ids)
    report = updated.partial_fit(log(pd.DataFrame({"user": [200, 200], "item": [2, 950]})))
    assert report.verdict == "refit"
    assert np.isfinite(updated.transform([100, 200])).all()
    assert updated.recommend([200], k=3).score.notna().all()


def test_nothing_that_is_no_number_gets_in(
    model: UltraGCN, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = copy.copy(model)

    def solved(
        histories: object, base: object, items: object, start: torch.Tensor, care: str = "usual"
    ) -> Solution:
        return Solution(start * math.nan, start[:, 0] * math.nan, 1)

    monkeypatch.setattr(broken, "_solve_users", solved)
    with pytest.raises(FloatingPointError, match="came out as NaN or infinite, so it was not made"):
        broken.partial_fit(log(events(1, 30)))
    assert len(broken.users_) == len(model.users_)
    assert RefitRule().judge(math.nan, 0, 0)[0] == "refit"


def test_guests_leave_no_trace_in_what_is_kept_for_updates(model: UltraGCN) -> None:
    model._base.kept.pop("items", None)
    guests = model.fold_in(log(BASE[:50]))
    guests.partial_fit(log(NEWS))  # solves new items against the guests
    assert "items" in guests._base.kept
    assert "items" not in model._base.kept


def test_weights_add_up() -> None:
    base, news = BASE.assign(weight=1.5), NEWS.assign(weight=0.5)
    model = UltraGCN(dim=4, epochs=5, l2=0.3, item_weight=0.0).fit(log(base, weight=True))
    parts, whole = copy.copy(model), copy.copy(model)
    parts.partial_fit(log(news, weight=True))
    parts.partial_fit(log(news, weight=True))
    whole.partial_fit(log(news.assign(weight=1.0), weight=True))
    assert_same(parts, whole)
    with pytest.raises(ValueError, match=r"fitted with weights.*have no.*to both or neither"):
        model.partial_fit(log(NEWS))


def test_bad_news(model: UltraGCN) -> None:
    before = copy.copy(model)
    with pytest.raises(TypeError, match="expected Interactions, got DataFrame"):
        model._check_news(NEWS)
    with pytest.raises(ValueError, match=r"fitted with no weights.*have some"):
        model.partial_fit(log(NEWS.assign(weight=1.0), weight=True))
    with pytest.raises(TypeError, match="integer ids such as"):
        model.partial_fit(log(pd.DataFrame({"user": ["a"], "item": ["b"]})))
    assert_same(model, before)
    mean = Interactions.from_frame(BASE.assign(weight=1.0), weight="weight", repeated="mean")
    other = UltraGCN(dim=4, epochs=1).fit(mean)
    with pytest.raises(ValueError, match="joined by the rule 'mean'"):
        other.partial_fit(log(NEWS.assign(weight=1.0), weight=True))


def test_no_known_user_no_overlap(model: UltraGCN) -> None:
    report = copy.copy(model).partial_fit(log(pd.DataFrame({"user": [77], "item": [1]})))
    assert math.isnan(report.overlap)
