"""A replay answers from the past alone, and counts what it should."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch

from recsys import EASE, Interactions, Popularity, PureSVD, UltraGCN
from recsys.recommender import Recommender
from recsys.replay import Replayed, answers, replay
from recsys.tally import Tally, Walked
from recsys.timeline import timeline

EVERY = ["none", "popularity", "update", "refit", "update+refit"]
START, STEP = 300, 60  # events are one a second


def made(n: int = 600, seed: int = 0) -> pd.DataFrame:
    """Even users like even items; half of the users and some items come late."""
    rng = np.random.default_rng(seed)
    time = np.arange(n)
    user = rng.integers(0, 20 + time // 20)
    item = 2 * rng.integers(0, 10 + time // 60) + user % 2
    return pd.DataFrame({"user": [f"u{one}" for one in user], "item": item, "time": time})


def log(frame: pd.DataFrame) -> Interactions:
    return Interactions.from_frame(frame, time="time")


def walked(frame: pd.DataFrame, model: Recommender, **settings: Any) -> Replayed:
    return replay(log(frame), model, start=START, every=STEP, **settings)


def small() -> UltraGCN:
    return UltraGCN(dim=2, epochs=1, batch_size=32, negatives=16, random_state=3)


def test_popularity_agrees_with_plain_loops() -> None:
    frame = made()
    found = walked(frame, Popularity(), policies=["popularity", "none"], k=5)
    rows = found.slices.set_index(["policy", "slice"])
    expected: dict[str, dict[str, list[float]]] = {"popularity": {}, "none": {}}
    every_list: set[Any] = set()
    for number in range(1, 6):
        low = START + (number - 1) * STEP
        before, now = frame[frame.time < low], frame[frame.time.between(low, low + STEP - 1)]
        order = frame[frame.time < 600].drop_duplicates("item").item.tolist()
        taken = before.groupby("user").item.agg(set)
        fresh = now.drop_duplicates(["user", "item"])
        fresh = fresh[[i not in taken.get(u, set()) for u, i in fresh[["user", "item"]].values]]
        for policy, horizon in (("popularity", low), ("none", START)):
            known = frame[frame.time < horizon].drop_duplicates(["user", "item"])
            counts = known.item.value_counts()
            ranked = sorted(counts.index, key=lambda i: (-counts[i], order.index(i)))
            values, listed = [], set()
            for user, items in fresh.groupby("user").item:
                best = [i for i in ranked if i not in taken.get(user, set())][:5]
                listed |= set(best)
                gains = [1 / np.log2(p + 2) for p, i in enumerate(best) if i in set(items)]
                ideal = sum(1 / np.log2(p + 2) for p in range(min(5, len(items))))
                values.append(sum(gains) / ideal)
                expected[policy].setdefault(user, []).append(values[-1])
            row = rows.loc[policy, number]
            assert row["ndcg@5"] == pytest.approx(np.mean(values))
            assert row["coverage@5"] == pytest.approx(len(listed) / before.item.nunique())
            assert (row.users, row.pairs) == (len(values), len(fresh))
            users, items = (set(frame[frame.time < horizon][c]) for c in ("user", "item"))
            assert row.unknown_users == pytest.approx(np.mean([u not in users for u in fresh.user]))
            assert row.unknown_items == pytest.approx(np.mean([i not in items for i in fresh.item]))
            if policy == "popularity":
                every_list |= listed
    for policy, by_user in expected.items():
        value = np.mean([one for values in by_user.values() for one in values])
        row = found.summary.set_index("policy").loc[policy]
        assert row["ndcg@5"] == pytest.approx(value)
        assert row.low < value < row.high
    catalogue = frame[frame.time < START + 4 * STEP].item.nunique()
    assert found.summary["coverage@5"][0] == pytest.approx(len(every_list) / catalogue)


def parts(folder: Path) -> list[pd.DataFrame]:
    return [pq.read_table(path).to_pandas() for path in sorted((folder / "slices").iterdir())]


FEWER = ["none", "update", "refit"]
MODELS = pytest.mark.parametrize(
    ("model", "policies"), [(small(), FEWER), (PureSVD(dim=4), EVERY)], ids=["ultragcn", "puresvd"]
)


@MODELS
def test_nothing_later_changes_an_answer(
    model: Recommender, policies: list[str], tmp_path: Path
) -> None:
    frame = made()
    rng = np.random.default_rng(1)
    walked(frame, model, policies=policies, out=tmp_path / "true")
    truth = parts(tmp_path / "true")
    end = START + 3 * STEP
    late = (frame.time >= end).to_numpy()
    other = frame.copy()
    other.loc[late, "user"] = [f"u{n}" for n in rng.integers(0, 90, late.sum())]
    other.loc[late, "item"] = rng.integers(0, 80, late.sum())
    walked(other.sample(frac=1, random_state=0), model, policies=policies, out=tmp_path / "other")
    shuffled = parts(tmp_path / "other")
    for number in range(3):
        pd.testing.assert_frame_equal(truth[number], shuffled[number])
    assert not truth[3].equals(shuffled[3]), "the last check sees differences"


def test_a_slice_does_not_change_its_own_lists(tmp_path: Path) -> None:
    frame = made()
    inside = frame.time.between(START + STEP, START + 2 * STEP - 1)
    other = frame.copy()
    other.loc[inside, "item"] = (frame[inside].item + 1) % 20
    for name, rows in (("one", frame), ("two", other)):
        walked(rows, PureSVD(dim=4), policies=EVERY, out=tmp_path / name)
    keys = ["policy", "user"]
    one, two = (parts(tmp_path / name)[1].set_index(keys).sort_index() for name in ("one", "two"))
    both = one.index.intersection(two.index)
    assert len(both) > 50
    assert [list(x) for x in one.loc[both, "items"]] == [list(x) for x in two.loc[both, "items"]]


def test_no_list_holds_what_was_taken_before(tmp_path: Path) -> None:
    frame = made()
    walked(frame, PureSVD(dim=4), policies=EVERY, out=tmp_path / "out", k=50)
    for number, part in enumerate(parts(tmp_path / "out")):
        before = frame[frame.time < START + number * STEP].groupby("user").item.agg(set)
        for row in part.itertuples():
            assert not set(row.items) & before.get(row.user, set())
        fresh = part[part.policy == "none"].user.isin(frame[frame.time >= START].user)
        assert fresh.all()


def test_users_a_state_does_not_know_get_its_popular_items() -> None:
    line = timeline(log(made()), START, STEP)
    model = PureSVD(dim=4).fit(line.between(0, 1))
    known, new = line.known(4), line.new(4)
    found = answers(model, known, new, 3)
    strangers = found.users >= len(model.users_)
    assert strangers.any()
    taken = dict(zip(*np.unique(known.queries, return_counts=True), strict=True))
    order = torch.argsort(model.seen_.candidate_degrees, descending=True, stable=True).tolist()
    for user, listed in zip(found.users[strangers].tolist(), found.listed[strangers], strict=True):
        mine = set(known.candidates[known.queries == user].tolist())
        assert listed.tolist() == [item for item in order if item not in mine][:3]
    assert any(user in taken for user in found.users[strangers].tolist()), "masked from later on"


def test_fresh_states_are_younger_and_know_more() -> None:
    found = walked(made(), PureSVD(dim=4), policies=EVERY, refit_every=2)
    summary = found.summary.set_index("policy")
    assert summary.age["update"] == summary.age["popularity"] == pytest.approx(29.5, abs=0.1)
    assert summary.age["none"] > summary.age["refit"] > summary.age["update"]
    assert summary.age_events["update"] == pytest.approx(29.5)
    assert summary.unknown_users["none"] > summary.unknown_users["update"] > 0
    assert summary.actions.to_dict() == {
        "none": 0, "popularity": 4, "update": 4, "refit": 2, "update+refit": 4
    }  # fmt: skip
    assert summary.refits[["none", "popularity", "update", "refit"]].tolist() == [0, 0, 0, 2]
    assert np.isnan(summary.median_seconds["none"])
    assert summary.seconds["update"] > summary.median_seconds["update"] > 0
    assert found.fit_seconds > 0


def test_the_same_seed_gives_the_same_numbers() -> None:
    one, two = (walked(made(), small(), policies=[*FEWER, "popularity"]) for _ in range(2))
    timed = ["seconds", "median_seconds"]
    pd.testing.assert_frame_equal(one.summary.drop(columns=timed), two.summary.drop(columns=timed))
    first = one.slices[one.slices.slice == 1]
    assert first.groupby("policy")["ndcg@10"].first().drop("popularity").nunique() == 1


def test_gains_are_paired() -> None:
    summary = walked(made(), EASE(l2=10.0), policies=["none", "refit"]).summary
    none, refit = summary.to_dict("records")
    assert none["gain"] == none["gain_low"] == none["gain_high"] == 0
    assert refit["gain"] == pytest.approx(refit["ndcg@10"] - none["ndcg@10"])
    assert refit["gain_low"] < refit["gain"] < refit["gain_high"]
    assert refit["gain_high"] - refit["gain_low"] < refit["high"] - refit["low"]


def test_a_user_is_drawn_with_all_answers() -> None:
    """Two users of opposite luck, one of them answered 50 times: the interval spans both."""
    line = timeline(log(made()), START, STEP)
    tally = Tally(["none"], line, 1)
    nothing = torch.full((1, 1, 1), -1)
    row = {"policy": "none", "action": "keep", "seconds": 0.0, "users": 1, "pairs": 1}
    row |= dict.fromkeys(("age", "age_events", "unknown_users", "unknown_items"), 0.0)
    for user, value in [(0, 1.0)] * 50 + [(1, 0.0)] * 10:
        score = torch.tensor([[value]]).double()
        tally.add(Walked(1, [row], torch.tensor([user]), score, nothing, {}, 0.0))
    found = tally.summary().to_dict("records")[0]
    assert found["ndcg@1"] == pytest.approx(50 / 60)
    assert (found["low"], found["high"]) == (0, 1)


@pytest.mark.parametrize("backend", ["polars", "pyarrow"])
def test_frames_are_of_the_logs_kind(backend: str) -> None:
    pytest.importorskip(backend)
    frame = log(made()).to_frame(backend)
    found = walked(frame, Popularity(), policies=["none"])
    assert type(found.summary) is type(frame)
    assert type(found.slices) is type(frame)


def test_a_slice_without_news_is_walked() -> None:
    frame = made()
    again = frame.time.between(START + STEP, START + 2 * STEP - 1)
    frame.loc[again, ["user", "item"]] = frame.loc[0, ["user", "item"]].tolist()
    found = walked(frame, PureSVD(dim=4), policies=["none", "update"])
    row = found.slices.iloc[2]
    assert (row.slice, row.users, row.pairs) == (2, 0, 0)
    assert np.isnan(row["ndcg@10"])
    assert not found.summary.isna().drop(columns="median_seconds").any().any()


def test_bad_settings_are_refused() -> None:
    frame = made()
    for name in ("k", "refit_every"):
        with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
            walked(frame, Popularity(), policies=["none"], **{name: 0})
    frame.loc[frame.time >= START, ["user", "item"]] = frame.loc[0, ["user", "item"]].tolist()
    with pytest.raises(ValueError, match="no user takes anything new from 300 on"):
        walked(frame, Popularity(), policies=["none"])
