"""Evaluation of recommenders: conventions, strangers, groups, comparisons, frames."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch

from hyperrank.estimator import NotFittedError
from hyperrank.evaluation import Resampling
from hyperrank.scorers import Constant, Factors
from hyperrank.vocabulary import UnknownIdError
from recsys import evaluation
from recsys.baselines import Popularity, PureSVD
from recsys.evaluation import breakdown, compare, evaluate
from recsys.interactions import Interactions
from reference import metric_plain

QUICK = Resampling(draws=50, flips=200)


def log(rows):
    user, item = zip(*rows, strict=True)
    return Interactions.from_frame(pd.DataFrame({"user": list(user), "item": list(item)}))


def value(frame, metric, column="value", **where):
    chosen = frame[frame["metric"] == metric]
    for key, wanted in where.items():
        chosen = chosen[chosen[key] == wanted]
    (found,) = chosen[column]
    return found


TRAIN = log(
    [
        *[("ann", "a"), ("bob", "a"), ("cal", "a"), ("dan", "a")],
        *[("ann", "b"), ("bob", "b"), ("cal", "b")],
        *[("ann", "c"), ("bob", "c"), ("ann", "d")],
    ]
)  # users of a, b, c, d: 4, 3, 2, 1


@pytest.fixture(scope="module")
def popular():
    return Popularity().fit(TRAIN)


def test_numbers_by_hand(popular):
    """dan has seen a and is shown b, c, d; cal has seen a, b and is shown c, d."""
    test = log([("dan", "c"), ("dan", "d"), ("cal", "c")])
    frame = evaluate(popular, test, ["recall@1", "recall@2", "ndcg@2", "mrr@3"], resampling=QUICK)
    assert list(frame.columns) == ["metric", "value", "low", "high", "n", "unknown_users"]
    assert list(frame["metric"]) == ["recall@1", "recall@2", "ndcg@2", "mrr@3"]
    assert value(frame, "recall@1") == pytest.approx((0 + 1) / 2)
    assert value(frame, "recall@2") == pytest.approx((1 / 2 + 1) / 2)
    second = 1 / math.log2(3)
    assert value(frame, "ndcg@2") == pytest.approx((second / (1 + second) + 1) / 2)
    assert value(frame, "mrr@3") == pytest.approx((1 / 2 + 1) / 2)
    assert (frame["n"] == 2).all()
    assert (frame["unknown_users"] == 0).all()


def test_unknown_items_stay_in_the_denominator(popular):
    test = log([("dan", "b"), ("dan", "new")])
    assert value(evaluate(popular, test, "recall@3"), "recall@3") == pytest.approx(1 / 2)
    only = log([("dan", "new"), ("dan", "newer")])
    frame = evaluate(popular, only, ["recall@3", "ndcg@3"])
    assert list(frame["value"]) == [0.0, 0.0]


def test_unknown_users_by_switch(popular):
    test = log([("dan", "b"), ("eve", "b"), ("eve", "a")])
    shown = evaluate(popular, test, "recall@1", resampling=QUICK)
    assert value(shown, "recall@1") == pytest.approx((1 + 1 / 2) / 2)
    assert (value(shown, "recall@1", "n"), value(shown, "recall@1", "unknown_users")) == (2, 1)
    left_out = evaluate(popular, test, "recall@1", unknown="skip", resampling=QUICK)
    assert value(left_out, "recall@1") == 1.0
    assert (value(left_out, "recall@1", "n"), value(left_out, "recall@1", "unknown_users")) == (
        1,
        0,
    )
    with pytest.raises(UnknownIdError, match="eve"):
        evaluate(popular, test, "recall@1", unknown="raise")


def test_only_strangers(popular):
    test = log([("eve", "a"), ("fay", "b")])
    assert value(evaluate(popular, test, "hr@1", resampling=QUICK), "hr@1") == 0.5
    with pytest.raises(
        ValueError, match=r"no user of the test log can be judged: it holds 2 pairs"
    ):
        evaluate(popular, test, "hr@1", unknown="skip")


def test_a_user_who_has_seen_everything_misses(popular):
    test = log([("ann", "new"), ("dan", "b")])
    frame = evaluate(popular, test, ["hr@2", "precision@2"], resampling=QUICK)
    assert value(frame, "hr@2") == 0.5
    assert value(frame, "precision@2") == 0.25


def test_seen_test_pairs_are_warned_of(popular):
    test = log([("dan", "a"), ("dan", "b")])
    with pytest.warns(UserWarning, match="1 of 2 test pairs are in the training log"):
        frame = evaluate(popular, test, "recall@2")
    assert value(frame, "recall@2") == 0.5
    again = evaluate(popular, test, "recall@2", exclude_seen=False)
    assert value(again, "recall@2") == 1.0


def test_k_beyond_the_catalogue(popular):
    test = log([("dan", "b"), ("cal", "d")])
    frame = evaluate(popular, test, ["recall@500", "precision@500", "map@500"], resampling=QUICK)
    assert value(frame, "recall@500") == 1.0
    assert value(frame, "precision@500") == pytest.approx(1 / 500)


def test_measures_of_the_lists(popular):
    test = log([("dan", "c"), ("cal", "c")])
    names = [
        "coverage@1",
        "gini@1",
        "popularity@1",
        "novelty@1",
        "diversity@2",
        "popularity_lift@1",
    ]
    frame = evaluate(popular, test, names, resampling=QUICK)
    assert value(frame, "coverage@1") == 2 / 4  # b to dan, c to cal
    assert math.isnan(value(frame, "coverage@1", "low"))
    assert value(frame, "popularity@1") == (3 + 2) / 2
    assert value(frame, "novelty@1") == pytest.approx((math.log2(4 / 3) + 1) / 2)
    assert value(frame, "popularity_lift@1") == pytest.approx((3 / 4 + 2 / 3.5) / 2)
    assert 0 < value(frame, "diversity@2") < 1


def test_intervals_hold_the_value_and_repeat(checkerboard):
    train, test = checkerboard.split_random(0.3, random_state=0)
    model = PureSVD(dim=4).fit(train)
    names = ["recall@5", "ndcg@5"]
    one, two = (evaluate(model, test, names) for _ in range(2))
    assert ((one["low"] < one["value"]) & (one["value"] < one["high"])).all()
    pd.testing.assert_frame_equal(one, two)
    other = evaluate(model, test, names, resampling=Resampling(random_state=1))
    assert (other["low"] != one["low"]).any()
    wider = evaluate(model, test, names, resampling=Resampling(level=0.99))
    assert (wider["high"] - wider["low"] > one["high"] - one["low"]).all()


def test_agrees_with_plain_loops_over_recommendations(checkerboard):
    train, test = checkerboard.split_random(0.3, random_state=1)
    model = PureSVD(dim=4).fit(train)
    shown = model.recommend(test.users.ids, k=5)
    lists = shown.groupby("user", sort=False)["item"].agg(list)
    held = test.to_frame("pandas").groupby("user")["item"].agg(set)
    names = ["recall", "precision", "ndcg", "hr", "mrr", "map", "map_capped", "recall_capped"]
    frame = evaluate(model, test, [f"{name}@5" for name in names], resampling=QUICK)
    for name in names:
        plain = [metric_plain(name, lists.get(user, []), truth, 5) for user, truth in held.items()]
        assert value(frame, f"{name}@5") == pytest.approx(np.mean(plain)), name


def test_frames_come_in_the_kind_of_the_test_log(popular):
    frame = pl.DataFrame({"user": ["dan"], "item": ["b"]})
    test = Interactions.from_frame(frame)
    assert isinstance(evaluate(popular, test, "hr@1"), pl.DataFrame)
    assert isinstance(compare({"it": popular}, test, "hr@1"), pl.DataFrame)
    assert isinstance(breakdown(popular, test, "hr@1"), pl.DataFrame)


def test_comparison_finds_the_better_model(checkerboard):
    train, test = checkerboard.split_random(0.3, random_state=0)
    models = {
        "popular": Popularity().fit(train),
        "again": Popularity().fit(train),
        "svd": PureSVD(dim=4).fit(train),
    }
    frame = compare(models, test, ["recall@5", "coverage@5", "ndcg@5"], resampling=QUICK)
    assert list(frame.columns) == [
        "metric", "model", "value", "low", "high", "n", "difference", "p_value", "p_adjusted",
    ]  # fmt: skip
    assert list(frame["metric"]) == ["recall@5"] * 3 + ["coverage@5"] * 3 + ["ndcg@5"] * 3
    assert list(frame["model"][:3]) == ["popular", "again", "svd"]
    gap = value(frame, "recall@5", model="svd") - value(frame, "recall@5", model="popular")
    assert value(frame, "recall@5", "difference", model="svd") == pytest.approx(gap)
    assert gap > 0
    assert value(frame, "recall@5", "p_value", model="svd") == pytest.approx(1 / 201)
    assert value(frame, "recall@5", "p_adjusted", model="svd") == pytest.approx(4 / 201)
    assert value(frame, "recall@5", "p_adjusted", model="again") == 1.0
    assert frame.loc[frame["model"] == "popular", "p_value"].isna().all()
    assert frame.loc[frame["metric"] == "coverage@5", "p_value"].isna().all()
    alone = evaluate(models["svd"], test, ["recall@5", "coverage@5"], resampling=QUICK)
    for name in ("recall@5", "coverage@5"):
        assert value(frame, name, model="svd") == pytest.approx(value(alone, name))
    turned = compare(models, test, "recall@5", baseline="svd", resampling=QUICK)
    assert value(turned, "recall@5", "difference", model="popular") == pytest.approx(-gap)


def test_models_are_compared_on_the_users_of_both(popular):
    other = Popularity().fit(log([("dan", "a"), ("dan", "c"), ("eve", "b"), ("eve", "c")]))
    test = log([("dan", "b"), ("eve", "d"), ("cal", "c")])
    frame = compare({"one": popular, "other": other}, test, "hr@1", unknown="skip")
    assert list(frame["n"]) == [1, 1]
    strangers = Popularity().fit(log([("zoe", "a"), ("zed", "b")]))
    with pytest.raises(ValueError, match="no user of the test log can be judged"):
        compare({"one": popular, "far": strangers}, test, "hr@1", unknown="skip")
    apart = Popularity().fit(log([("eve", "a"), ("zed", "b")]))
    with pytest.raises(ValueError, match="no user of the test log can be judged on all models"):
        compare({"one": popular, "apart": apart}, test, "hr@1", unknown="skip")


def test_bad_comparisons_are_refused(popular):
    test = log([("dan", "b")])
    with pytest.raises(ValueError, match=r"compare got no models; give them by name"):
        compare({}, test)
    with pytest.raises(ValueError, match="baseline 'ease' is none of the models it"):
        compare({"it": popular}, test, baseline="ease")


def test_breakdown_by_hand(popular):
    """Four items: the head at 0.25 is a alone; d has one user; eve and new are unknown."""
    test = log([("dan", "b"), ("dan", "d"), ("eve", "a"), ("cal", "new"), ("cal", "c")])
    frame = breakdown(popular, test, "recall@1", head_share=0.25, resampling=QUICK)
    assert list(frame.columns) == ["group", "metric", "value", "low", "high", "n", "pairs"]
    found = {row.group: (row.value, row.n, row.pairs) for row in frame.itertuples()}
    assert found["all"] == pytest.approx(((0.5 + 1 + 0.5) / 3, 3, 5))
    assert found["warm users"] == pytest.approx((0.5, 2, 4))
    assert found["cold users"] == (1.0, 1, 1)
    assert found["warm items"] == pytest.approx(((0.5 + 1 + 1) / 3, 3, 4))
    assert found["cold items"] == (0.0, 1, 1)
    assert found["head items"] == (1.0, 1, 1)
    assert found["tail items"] == pytest.approx(((0.5 + 0.5) / 2, 2, 4))
    wider = breakdown(popular, test, "recall@1", cold_at_most=1, resampling=QUICK)
    cold = value(wider, "recall@1", "pairs", group="cold items")
    assert cold == 2, "d, with one user, and the unknown one"


def test_empty_groups_say_so(popular):
    frame = breakdown(popular, log([("dan", "b")]), "recall@1", resampling=QUICK)
    assert value(frame, "recall@1", "n", group="cold users") == 0
    assert math.isnan(value(frame, "recall@1", group="cold users"))


def test_bad_breakdowns_are_refused(popular):
    test = log([("dan", "b")])
    with pytest.raises(ValueError, match=r"no groups for coverage@2; it knows recall"):
        breakdown(popular, test, ["recall@2", "coverage@2"])
    with pytest.raises(ValueError, match="head_share must lie between 0 and 1, got 20"):
        breakdown(popular, test, head_share=20.0)


def test_bad_input_is_refused(popular):
    test = log([("dan", "b")])
    with pytest.raises(ValueError, match=r"unknown metric 'recal@2'; did you mean 'recall'"):
        evaluate(popular, test, ["recal@2"])
    with pytest.raises(NotFittedError, match="not fitted"):
        evaluate(Popularity(), test)


def test_nan_from_a_model_is_refused(popular):
    model = Popularity().fit(TRAIN)
    model.scorer_ = Constant(torch.full((4,), torch.nan))
    with pytest.raises(ValueError, match="hold NaN"):
        evaluate(model, log([("dan", "b")]))


def test_gowalla_by_the_convention_of_lightgcn(shared_data: Path):
    """Popularity on the published split, by the loops of that evaluation on part of the users."""
    folder = shared_data / "recsys" / "gowalla"
    if not folder.is_dir():
        pytest.skip("the data folder has no gowalla")
    train, test = (Interactions.read(folder / f"{part}.parquet") for part in ("train", "test"))
    some = test.users.ids[:300]
    frame = test.to_frame("pandas")
    part = Interactions.from_frame(frame[frame["user"].isin(some)][["user", "item"]])
    generator = torch.Generator().manual_seed(0)
    model = Popularity().fit(train)
    model.scorer_ = Factors(
        torch.randn(train.n_users, 16, generator=generator),
        torch.randn(train.n_items, 16, generator=generator).abs()
        * train.pairs.candidate_degrees[:, None].float().sqrt(),
    )
    found = evaluate(model, part, ["recall@20", "ndcg@20"], resampling=QUICK)
    recalls, gains = [], []
    discount = 1 / np.log2(np.arange(2, 22))
    for user in part.users.ids:
        row = int(train.users.rows([user]))
        scores = model.scorer_.score(torch.tensor([row]))[0]
        seen = train.pairs.rows(torch.tensor([row]))[1]
        scores[seen] = -(1 << 10)
        top = train.items.take(scores.topk(20).indices)
        truth = set(part.items.take(part.pairs.rows(part.users.rows([user]))[1]))
        right = np.array([item in truth for item in top], dtype=float)
        recalls.append(right.sum() / len(truth))
        gains.append((right * discount).sum() / discount[: min(20, len(truth))].sum())
    assert value(found, "recall@20") == pytest.approx(np.mean(recalls), abs=1e-9)
    assert value(found, "ndcg@20") == pytest.approx(np.mean(gains), abs=1e-9)


def test_defaults_are_those_of_the_field():
    assert evaluation.DEFAULT_METRICS == ("recall@20", "ndcg@20")


@pytest.mark.filterwarnings("ignore:.*test pairs are in the training log")
def test_models_of_different_logs_are_not_compared(checkerboard: Interactions) -> None:
    train, test = checkerboard.split_random(0.2, random_state=0)
    models = {"part": Popularity().fit(train), "whole": Popularity().fit(checkerboard)}
    with pytest.raises(ValueError, match=r"different logs: of \d+ test pairs .* part 0, whole \d+"):
        compare(models, test)
    assert len(compare(models, test, exclude_seen=False))
