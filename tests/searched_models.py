"""Estimators that cost nothing to search, at the top of a module, so that processes find them."""

from __future__ import annotations

import multiprocessing
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import torch
from torch import nn

from hyperrank.estimator import Estimator
from hyperrank.parameters import bounded, check
from hyperrank.training import EarlyStopping


@dataclass(kw_only=True, eq=False)
class Hill(Estimator):
    """Climbs to 1 - (x - 0.7)^2 in so many epochs; fails where it is told to."""

    x: float = bounded(0.2, least=-1, most=1)
    epochs: int = bounded(6, least=1)
    evaluate_every: int = 2
    random_state: int = 0
    monitor: str = "height"
    fail: str = ""
    pause: float = 0.0
    fits: list[float] = field(default_factory=list, repr=False)

    def fit(self, fit_on: Any, judge_on: Any) -> Self:
        if self.fail == "fall":
            raise FloatingPointError("mean loss of epoch 0 is nan")
        if self.fail == "memory" and self.x > 0.3:
            raise MemoryError("no room for 3 TB")
        if self.fail == "nan" and self.x != 0.2:
            self.x = torch.nan
        self.fits.append(self.x)
        done = 0

        def height() -> float:
            return (1 - (self.x - 0.7) ** 2) * done / self.epochs

        stop = EarlyStopping(
            nn.Linear(1, 1), height, epochs=self.epochs, every=self.evaluate_every, patience=9
        )
        for epoch in range(self.epochs):
            time.sleep(self.pause)
            done += 1
            if stop(epoch, 0.0):
                break
        self.best_epoch_, self.validation_history_ = stop.best_epoch, stop.record
        self.height_ = height()
        return self

    def score(self, judge_on: Any, metric: str) -> float:
        return self.height_

    def _check_params(self) -> None:
        check(self)
        if self.fail == "given":
            raise ValueError("these do not go together")

    def _check_metric(self, name: str) -> None:
        if name not in ("height", "depth"):
            raise ValueError(f"unknown metric {name!r}")


@dataclass(kw_only=True, eq=False)
class Noted(Hill):
    """Leaves a file in a folder at each fit, and goes on once two processes have left one."""

    folder: str = ""

    def fit(self, fit_on: Any, judge_on: Any) -> Self:
        folder, late = Path(self.folder), time.time() + 60
        (folder / f"{os.getpid()}-{time.time_ns()}").touch()
        while len({path.name.partition("-")[0] for path in folder.iterdir()}) < 2:
            assert time.time() < late, "the other process has not come"
            time.sleep(0.05)
        return super().fit(fit_on, judge_on)


@dataclass(kw_only=True, eq=False)
class Late(Noted):
    """Takes a second for each epoch in a process that another began."""

    def fit(self, fit_on: Any, judge_on: Any) -> Self:
        self.pause = 0.0 if multiprocessing.parent_process() is None else 1.0
        return super().fit(fit_on, judge_on)


def line(trial: Any) -> dict[str, Any]:
    return {"x": trial.suggest_float("x", -1.0, 1.0)}
