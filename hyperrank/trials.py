"""Trials of a search as plain rows, and what is told of them all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

Row = dict[str, Any]


class Searched(NamedTuple):
    """What a search found.

    Attributes:
        study: Optuna's own.
        metric: What was maximized, on held-out data.
        trials: A row a trial: number, whether it is the estimator as ``given``, state ("complete",
            "pruned", "failed", "running", "waiting", or "lost", where its process ended and it was
            given up or taken up again), value, epochs run, seconds, reason of a failure, and
            ``params`` as the space suggested them.
        best: Number of the best trial: of the finalists, where there are any.
        changes: Parameters of the best trial that differ from the estimator as given.
        finalists: A row for each trial that was fitted again with other seeds, the best first:
            number, given, ``mean`` and ``values`` of the metric, and best ``epochs``; where one of
            these fits failed its value and the mean are None.
        importance: Share of each suggested parameter in what made good trials good (PED-ANOVA,
            Watanabe et al. 2023); empty for fewer than four finished trials.
        interrupted: Whether it was stopped from outside before all trials had run.
    """

    study: Any
    metric: str
    trials: list[Row]
    best: int
    changes: Row
    finalists: list[Row]
    importance: dict[str, float]
    interrupted: bool

    @property
    def value(self) -> float:
        """The metric of the best trial."""
        return float(next(row["value"] for row in self.trials if row["number"] == self.best))

    @property
    def as_given(self) -> float | None:
        """The metric of the estimator as given; None before that trial is complete."""
        complete = (row for row in self.trials if row["given"] and row["state"] == "complete")
        return next((float(row["value"]) for row in complete), None)

    @property
    def counts(self) -> dict[str, int]:
        """Trials by state."""
        states = [row["state"] for row in self.trials]
        return {state: states.count(state) for state in dict.fromkeys(states)}


def row(trial: Any) -> Row:
    """The row of one of Optuna's trials."""
    states = {"COMPLETE": "complete", "FAIL": "failed"}
    reason, took = trial.user_attrs.get("reason"), trial.duration
    state = states.get(trial.state.name, trial.state.name.lower())
    if state == "failed" and reason is None:
        state, reason = "lost", "its process ended"
    return {
        "number": trial.number,
        "given": bool(trial.user_attrs.get("given")),
        "state": state,
        "value": trial.value,
        "epochs": trial.user_attrs.get("epochs", trial.last_step or 0),
        "seconds": None if took is None else took.total_seconds(),
        "reason": reason,
        "params": dict(trial.params),
    }


def best_so_far(trials: Sequence[Row]) -> list[tuple[int, float]]:
    """(number, value) of every finished trial that was better than all before it."""
    found: list[tuple[int, float]] = []
    for row in trials:
        if row["state"] == "complete" and (not found or row["value"] > found[-1][1]):
            found.append((row["number"], row["value"]))
    return found


def epochs_run(trials: Sequence[Row]) -> int:
    """Epochs of all trials that have ended."""
    return sum(int(row["epochs"]) for row in trials)


def epochs_saved(trials: Sequence[Row]) -> int:
    """About how many epochs pruning saved: pruned trials against the mean of the complete ones."""
    full = [float(row["epochs"]) for row in trials if row["state"] == "complete"]
    mean = sum(full) / max(len(full), 1)
    short = [float(row["epochs"]) for row in trials if row["state"] == "pruned"]
    return round(sum(max(mean - epochs, 0) for epochs in short))
