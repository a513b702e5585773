"""Lists of test users: which log's rows they speak of, and which users several models share."""

from __future__ import annotations

import pandas as pd
import pytest

from hyperrank.metrics import Metric
from recsys.baselines import Popularity
from recsys.interactions import Interactions
from recsys.judging import judge, on_common_users

HR = [Metric("hr", 2)]


def log(rows):
    return Interactions.from_frame(pd.DataFrame(rows, columns=["user", "item"]))


@pytest.fixture
def model():
    return Popularity().fit(log([("ann", "a"), ("bob", "a"), ("ann", "b"), ("bob", "c")]))


def test_rows_are_those_of_the_test_log_and_numbers_those_of_the_model(model):
    test = log([("eve", "z"), ("bob", "b"), ("eve", "a")])
    judged = judge(model, test, HR, True, "popular")
    assert judged.rows.tolist() == [0, 1]
    assert judged.hits.query.tolist() == [2, 1], "eve is none of the model's two users"
    assert judged.n_unknown == 1
    shown = [list(model.items_.take(row)) for row in judged.hits.candidates[:1]]
    assert shown == [["a", "b"]]
    assert judged.hits.candidates[1].tolist() == [1, -1], "bob has seen a and c"
    assert judged.true_item.tolist() == [[2, 1], [1, -1]]
    assert judged.hits.hit.tolist() == [[True, False], [True, False]]
    assert judged.hits.n_truth.tolist() == [2, 1]


def test_selection_keeps_columns_together(model):
    judged = judge(model, log([("ann", "c"), ("bob", "b")]), HR, True, "skip")
    one = judged.select(judged.rows == 1)
    assert one.rows.tolist() == [1]
    assert one.hits.query.tolist() == [1]
    assert one.true_item.tolist() == judged.true_item[1:].tolist()


def test_common_users(model):
    test = log([("ann", "c"), ("bob", "b"), ("eve", "a")])
    other = Popularity().fit(log([("bob", "a"), ("eve", "b")]))
    judged = {name: judge(m, test, HR, True, "skip") for name, m in (("x", model), ("y", other))}
    common = on_common_users(judged)
    assert [one.rows.tolist() for one in common.values()] == [[1], [1]]


@pytest.mark.parametrize("case", ["switch", "frame"])
def test_bad_arguments_are_refused_without_the_type_check(case, model):
    import inspect

    unchecked = inspect.unwrap(judge)
    test = log([("ann", "c")])
    if case == "switch":
        with pytest.raises(ValueError, match="unknown must be 'popular', 'skip' or 'raise', got"):
            unchecked(model, test, HR, True, "ignore")
    else:
        with pytest.raises(TypeError, match="test must be Interactions, got dict; make it with"):
            unchecked(model, {}, HR, True, "skip")
