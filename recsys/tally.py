"""What the policies of a replay came to: sums over slices, and frames made of them."""

from __future__ import annotations

import math
import statistics
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from hyperrank.devices import seeded
from hyperrank.evaluation import bootstrap_interval
from hyperrank.tables import to_backend
from recsys.timeline import Timeline

RANDOM_STATE = 0  # of the resamples


class Walked(NamedTuple):
    """One slice, done by all policies."""

    number: int
    rows: list[dict[str, Any]]  # of the frame of slices, one for each policy
    users: Int[Tensor, " q"]
    ndcg: Float[Tensor, "policies q"]
    listed: Int[Tensor, "policies q k"]  # rows of items, -1 where a list has ended
    states: dict[str, tuple[str, int]]  # name of each policy's state, and when it was made
    fit_seconds: float


class Tally:
    """Adds up slices; costs a few numbers a user and a bit an item for each policy."""

    def __init__(self, policies: list[str], line: Timeline, k: int) -> None:
        self.policies, self.line, self.k = policies, line, k
        self.rows: list[dict[str, Any]] = []
        self.fit_seconds = 0.0
        n = len(policies)
        self._total = torch.zeros(line.log.n_users, n, dtype=torch.float64)
        self._times = torch.zeros(line.log.n_users, dtype=torch.float64)
        self._listed = torch.zeros(n, line.log.n_items, dtype=torch.bool)

    def add(self, done: Walked) -> None:
        """Takes in a slice."""
        self.rows += done.rows
        self.fit_seconds = done.fit_seconds
        self._total[done.users] += done.ndcg.T
        self._times[done.users] += 1
        for seen, listed in zip(self._listed, done.listed, strict=True):
            seen[listed[listed >= 0]] = True

    def slices(self) -> Any:
        """A frame with a row for each slice and policy; see ``Replayed``."""
        columns = {key: np.array([row[key] for row in self.rows]) for key in self.rows[0]}
        for name in ("policy", "action"):
            columns[name] = columns[name].astype(object)
        return to_backend(columns, self.line.log.backend)

    def summary(self) -> Any:
        """A frame with a row for each policy; see ``Replayed``."""
        asked = self._times > 0
        value = self._total[asked] / self._times[asked, None]
        both = torch.cat([value, value - value[:, :1]], dim=1)
        mean = (both * self._times[asked, None]).sum(0) / self._times.sum()
        bounds = bootstrap_interval(
            both, generator=seeded(RANDOM_STATE), weights=self._times[asked]
        )
        columns = {"policy": np.array(self.policies, dtype=object)}
        names = (f"ndcg@{self.k}", "low", "high", "gain", "gain_low", "gain_high")
        halves = zip(*(column.chunk(2) for column in (mean, *bounds)), strict=True)
        parts = [part.numpy() for half in halves for part in half]
        columns |= dict(zip(names, parts, strict=True))
        reached = self._listed.sum(1).numpy() / self.line.n_items(len(self.line))
        columns[f"coverage@{self.k}"] = reached
        costs = [self._costs(name) for name in self.policies]
        columns |= {key: np.array([one[key] for one in costs]) for key in costs[0]}
        return to_backend(columns, self.line.log.backend)

    def _costs(self, policy: str) -> dict[str, float]:
        """Work and age of a policy."""
        rows = [row for row in self.rows if row["policy"] == policy]
        acted = [row for row in rows if row["action"] != "keep"]
        seconds = [row["seconds"] for row in acted]
        refits = sum("refit" in row["action"] for row in acted)
        return {
            "actions": len(acted),
            "refits": refits,
            "seconds": sum(seconds, 0.0),
            "median_seconds": statistics.median(seconds) if seconds else math.nan,
            **{name: _mean(rows, name, "users") for name in ("age", "age_events")},
            **{name: _mean(rows, name, "pairs") for name in ("unknown_users", "unknown_items")},
        }


def _mean(rows: list[dict[str, Any]], name: str, weight: str) -> float:
    """Over the slices that have some."""
    there = [row for row in rows if row[weight]]
    total = sum(row[name] * row[weight] for row in there)
    return float(total / sum(row[weight] for row in there))
