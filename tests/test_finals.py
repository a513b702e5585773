"""The last choice of a search: who is fitted again, how often, and whose mean decides."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest

optuna = pytest.importorskip("optuna")

from hyperrank import finals  # noqa: E402
from hyperrank.search import search  # noqa: E402
from searched_models import Hill, line  # noqa: E402


@dataclass(kw_only=True, eq=False)
class Lucky(Hill):
    """A plain, lower where x is above 0.2, and with luck: each seed has its own."""

    seen: list[tuple[float, int]] = field(default_factory=list, repr=False)
    breaks: bool = False

    def fit(self, fit_on: Any, judge_on: Any) -> Self:
        if self.breaks and len(self.seen) >= 12 and self.x != 0.2:
            raise FloatingPointError("mean loss of epoch 0 is nan")
        self.seen.append((self.x, self.random_state))
        luck = 0.02 * np.random.default_rng(self.random_state).normal()
        self.validation_history_ = [(1, 0.5 - 0.01 * (self.x > 0.2) + float(luck))]
        self.best_epoch_ = 1
        return self


def found(model: Any, **options: Any) -> Any:
    settings: dict[str, Any] = {"metric": "height", "trials": 12, "pruner": "none"} | options
    return search(model, line, "train", "valid", **settings)


def test_the_best_and_the_model_as_given_are_fitted_again_with_seeds_of_their_own() -> None:
    model = Lucky()
    told = found(model).searched
    values = {row["number"]: row["value"] for row in told.trials}
    best = sorted(values, key=lambda number: -values[number])[:3]
    assert sorted(row["number"] for row in told.finalists) == sorted({0, *best})
    assert [row["given"] for row in told.finalists].count(True) == 1
    assert len(model.seen) == 12 + 2 * 4 + 1
    again = model.seen[12:-1]
    assert len({seed for _, seed in again}) == finals.TURNS
    assert not {seed for _, seed in again} & {seed for _, seed in model.seen[:12]}
    means = [row["mean"] for row in told.finalists]
    assert means == sorted(means, reverse=True)
    assert all(row["mean"] == pytest.approx(np.mean(row["values"])) for row in told.finalists)
    assert told.best == told.finalists[0]["number"]
    assert told.finalists[0]["epochs"] == [1, 1]


def test_luck_is_told_from_worth() -> None:
    """A trial whose value was lucky loses in the finals, more often than it would win without."""
    wrong = dict.fromkeys((0, 5), 0)
    for seed in range(20):
        for finalists in wrong:
            best = found(Lucky(), random_state=seed, finalists=finalists)
            wrong[finalists] += best.x > 0.2
    assert wrong[5] < wrong[0]


def test_nothing_is_fitted_again_without_choice_or_luck() -> None:
    model = Lucky()
    assert found(model, trials=1).searched.finalists == []
    assert len(model.seen) == 2
    model = Lucky()
    told = found(model, finalists=0).searched
    assert told.finalists == []
    assert told.value == max(row["value"] for row in told.trials)
    assert len(model.seen) == 13


def test_a_finalist_that_fails_is_last_and_not_the_best() -> None:
    told = found(Lucky(breaks=True)).searched
    assert told.finalists[0]["given"]
    assert told.best == 0
    assert told.finalists[-1]["mean"] is None
    assert told.finalists[-1]["values"] == [None, None]


def test_finals_go_on_where_they_were(tmp_path: Path) -> None:
    storage = tmp_path / "study.log"
    first = found(Lucky(), storage=storage)
    model = Lucky()
    again = found(model, storage=storage, finalists=4)
    assert len(model.seen) == 2 + 1, "one more finalist, and the best"
    assert len(again.searched.finalists) == len(first.searched.finalists) + 1
    assert found(Lucky(), storage=storage, timeout=0).searched.best == again.searched.best


def test_finals_that_all_fail_decide_nothing() -> None:
    class Ending(Lucky):
        def fit(self, fit_on: Any, judge_on: Any) -> Self:
            if len(self.seen) >= 12:
                raise FloatingPointError("mean loss of epoch 0 is nan")
            return super().fit(fit_on, judge_on)

    told = found(Ending(), refit=False).searched
    assert told.finalists == []
    assert told.value == max(row["value"] for row in told.trials)


def test_finals_that_are_stopped_before_there_is_a_choice_decide_nothing() -> None:
    class Stopped(Lucky):
        def fit(self, fit_on: Any, judge_on: Any) -> Self:
            if len(self.seen) == 12 + 5:  # all once, the first twice
                raise KeyboardInterrupt
            return super().fit(fit_on, judge_on)

    told = found(Stopped(), refit=False).searched
    assert told.interrupted
    assert told.finalists == []
    assert told.value == max(row["value"] for row in told.trials)
