"""What every trial is fitted with and judged by."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Self

import pytest

from hyperrank.plans import Plan


@dataclass
class Echo:
    """Keeps what ``fit`` was told, and looks as often as it is asked to."""

    looks: tuple[float, ...] = ()
    told: tuple[Any, ...] = ()

    def fit(self, fit_on: Any, judge_on: Any, known: Any = None) -> Self:
        self.told = (fit_on, judge_on, known)
        self.validation_history_ = list(enumerate(self.looks))
        return self

    def score(self, judge_on: Any, metric: str) -> float:
        return 0.1 if (judge_on, metric) == ("valid", "height") else math.nan


def plan(model: Echo, **fit_params: Any) -> Plan:
    space: Any = dict
    return Plan(model, space, {}, "train", "valid", fit_params, "height", 1, math.inf, 0, None)


def test_fit_has_both_parts_and_what_else_it_takes() -> None:
    for fit_params, told in (({}, None), ({"known": "test"}, "test")):
        model = Echo()
        plan(model, **fit_params).check_fit()
        plan(model, **fit_params).fit(model)
        assert model.told == ("train", "valid", told)


def test_what_fit_does_not_take_is_refused() -> None:
    said = "Echo.fit cannot be called as fit(fit_on, judge_on, nown=...): got an unexpected keyword"
    with pytest.raises(ValueError, match=re.escape(said)):
        plan(Echo(), nown="test").check_fit()


@pytest.mark.parametrize(("looks", "value"), [((), 0.1), ((0.3, 0.7, 0.2), 0.7)])
def test_the_value_is_the_best_look_or_the_score(looks: tuple[float, ...], value: float) -> None:
    model = Echo(looks)
    plan(model).fit(model)
    assert plan(model).value(model) == value


def test_no_number_is_no_value() -> None:
    model = Echo((math.inf,))
    plan(model).fit(model)
    with pytest.raises(FloatingPointError, match="height is inf"):
        plan(model).value(model)
