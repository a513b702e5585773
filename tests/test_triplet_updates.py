"""Updates of TriplH: what they leave, what they serve, what is refused."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from command_lines import Run, data, refused
from hyperrank import store
from recsys import Interactions, TriplH
from recsys.policies import check_policies
from recsys.store_updates import Update, check_users
from recsys.updates import RefitRule
from tests.update_logs import BASE, N_USERS, NEWS, TRIPLETS, assert_same, fitted_triplet, log

every_triplet = pytest.mark.parametrize("name", TRIPLETS)


@every_triplet
def test_the_order_of_updates_does_not_matter(name: str) -> None:
    model = TRIPLETS[name]()
    at_once, in_parts = copy.copy(model), copy.copy(model)
    at_once.partial_fit(log(NEWS))
    for part in np.array_split(np.random.default_rng(0).permutation(len(NEWS)), 3):
        in_parts.partial_fit(log(NEWS.iloc[part]))
    assert_same(at_once, in_parts)


@every_triplet
def test_what_an_update_leaves_alone(name: str) -> None:
    model = TRIPLETS[name]()
    updated = copy.copy(model)
    report = updated.partial_fit(log(NEWS), RefitRule(drift=10, new_items=10))
    before, after = model._factors(), updated._factors()
    assert torch.equal(after.candidates[: len(model.items_)], before.candidates)
    quiet = [row for row, user in enumerate(model.users_.ids) if user not in set(NEWS.user)]
    assert torch.equal(after.queries[quiet], before.queries[quiet])
    moved = [row for row, user in enumerate(model.users_.ids) if user in set(NEWS.user)]
    assert not torch.equal(after.queries[moved], before.queries[moved])
    assert report.verdict == "keep"  # no certificate, and none is asked for
    again = updated.partial_fit(log(NEWS))
    assert again.pairs_added == 0
    assert again.overlap == 1


@every_triplet
def test_vectors_serve_after_an_update(name: str, tmp_path: Path) -> None:
    model = copy.copy(TRIPLETS[name]())
    model.partial_fit(log(NEWS))
    store.save(model, tmp_path / "m")
    for one in (model, store.load(tmp_path / "m")):
        users, items = one.users_.ids, one.items_.ids
        scores = one.query_vectors(users) @ one.item_vectors_.T
        asked = np.repeat(users, len(items)), np.tile(items, len(users))
        predicted = one.predict(*asked).reshape(scores.shape)
        np.testing.assert_allclose(scores, predicted, rtol=1e-5, atol=1e-5)
        best = one.recommend([100, 101], k=5)
        assert list(best.user) == [100] * 5 + [101] * 5
        assert not {200, 201} & set(best[best.user == 101].item)


@pytest.mark.parametrize("sweeps", [0, 1])
def test_a_saved_model_goes_on(sweeps: int, tmp_path: Path) -> None:
    half = len(NEWS) // 2
    kept = copy.copy(fitted_triplet())
    kept.partial_fit(log(NEWS[:half]), sweeps=sweeps)
    store.save(kept, tmp_path / "m")
    back = store.load(tmp_path / "m")
    for one in (kept, back):
        one.partial_fit(log(NEWS[half:]))
    assert_same(kept, back)


def test_a_model_saved_before_it_took_updates_takes_them() -> None:
    model = fitted_triplet()
    state = model._state()
    older = TriplH(**model.get_params())
    tensors = {k: v for k, v in state.tensors.items() if k == "seen" or k.startswith("scorer.")}
    report = {k: v for k, v in state.notes["report"].items() if k != "scale_"}
    notes = {k: state.notes[k] for k in ("backend", "scorer")} | {"report": report}
    older._restore(state._replace(tensors=tensors, notes=notes))
    newer = copy.copy(model)
    for one in (older, newer):
        one.partial_fit(log(NEWS))
    assert_same(older, newer)


def test_the_dial_stays_turned(tmp_path: Path) -> None:
    model = fitted_triplet()
    turned = model.with_popularity(-0.3).with_popularity(-0.2)
    store.save(turned, tmp_path / "m")
    straight = copy.copy(model)
    straight.partial_fit(log(NEWS))
    expected = straight.with_popularity(-0.5)
    for one in (turned, store.load(tmp_path / "m")):
        one.partial_fit(log(NEWS))
        assert_same(one, expected)
        one.forget([0])
        assert one.query_vectors([1])[0, 0] == pytest.approx(
            straight.query_vectors([1], popularity=-0.5)[0, 0], abs=1e-5
        )


def test_guests_are_solved_as_users() -> None:
    model = fitted_triplet()
    people = NEWS[(NEWS.user >= N_USERS) & NEWS.item.isin(set(BASE.item))]
    guests = model.fold_in(log(people))
    updated = copy.copy(model)
    updated.partial_fit(log(people))
    known = guests.users_.ids
    np.testing.assert_allclose(guests.transform(known), updated.transform(known), atol=1e-3)
    turned = model.with_popularity(-0.5).fold_in(log(people))
    np.testing.assert_allclose(
        turned.transform(known), guests.with_popularity(-0.5).transform(known), atol=1e-6
    )
    guests.partial_fit(log(NEWS), sweeps=1)
    assert np.isfinite(guests.transform(known)).all()


def test_an_update_after_everybody_of_the_fit_was_forgotten() -> None:
    model = copy.copy(fitted_triplet())
    model.partial_fit(log(pd.DataFrame({"user": [100], "item": [1]})))
    model.forget(fitted_triplet().users_.ids)
    model.partial_fit(log(pd.DataFrame({"user": [200, 200], "item": [2, 950]})))
    assert np.isfinite(model.transform([100, 200])).all()
    assert np.isfinite(model.item_vectors_).all()


def test_another_start_finds_the_same() -> None:
    model = copy.copy(fitted_triplet())
    model.partial_fit(log(NEWS))
    check = check_users(model, log(NEWS), 50)
    assert check.vector < 1e-3


def test_updates_follow_the_scale_that_was_learned() -> None:
    model = TriplH(dim=4, epochs=5, learn_weights="bounded", lr=0.3).fit(log(BASE))
    assert 0 < model.scale_ < 2 * model.scale
    assert model.scale_ != model.scale
    assert model._row_loss().scale == model.scale_


REFUSED = [
    {"geometry": "geodesic"},
    {"geometry": "geodesic", "item_radius": True},
    {"item_radius": True},
    {"loss": "pairwise", "negatives": 2},
    {"item_weight": 0.5},
    {"item_penalty": 0.1},
    {"sampler": "gumbel", "negatives": 2},
]


@pytest.mark.parametrize("change", REFUSED, ids=str)
def test_what_cannot_be_solved_row_by_row_is_refused(
    change: dict[str, Any], tmp_path: Path
) -> None:
    model = TriplH(dim=4, epochs=1, batch_size=8, **change).fit(log(BASE))
    name, value = next(iter(change.items()))
    message = f"TriplH with {name}={value!r} takes no updates: .*must be .*fit again on all inter"
    store.save(model, tmp_path / "m")
    for act in (
        lambda: model.partial_fit(log(NEWS)),
        lambda: model.fold_in(log(NEWS)),
        lambda: model.forget([0]),
        lambda: check_policies(["none", "update"], model),
        lambda: Update().apply(tmp_path / "m", lambda _: log(NEWS)),
    ):
        with pytest.raises(TypeError, match=message):
            act()
    assert check_policies(["none", "refit"], model)


def test_the_commands_take_it(run: Run) -> None:
    frame = BASE.assign(user="u" + BASE.user.astype(str), item="i" + BASE.item.astype(str))
    model = TriplH(dim=4, epochs=3).fit(Interactions.from_frame(frame))
    store.save(model, "hyper")
    Path("new.csv").write_text("user,item\nu1,i24\neve,i3\neve,new\n")
    report = data(run("update hyper new.csv --check 2 --json --quiet"))["report"]
    assert (report["users_added"], report["items_added"], report["score_error"]) == (1, 1, None)
    status = data(run("status hyper --json"))
    assert (status["version"], status["model"]) == ("v000002", "TriplH")
    assert run("recommend hyper --users eve -k 3")[0] == 0
    store.save(TriplH(dim=4, epochs=1, loss="pairwise").fit(Interactions.from_frame(frame)), "pair")
    refused(run("update pair new.csv --quiet"), "TriplH with loss='pairwise' takes no updates")


def test_replay_takes_it(run: Run) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"user": rng.integers(20, size=300), "item": rng.integers(15, size=300)})
    frame.assign(time=range(300)).to_csv("log.csv", index=False)
    line = (
        "replay log.csv --time time --from 0.6 --every 60 --model triplh --set dim=4 --set epochs=2"
    )
    code, out, err = run(line + " --policies none,update,sweep --quiet")
    assert code == 0, err
    assert out.startswith("TriplH, ")
    assert {row.split()[0] for row in out.splitlines()[1:]} >= {"none", "update", "sweep"}
