"""Ways to keep a model fresh: what each does with the events that came since."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from hyperrank.named_models import closest
from recsys.baselines import Popularity
from recsys.recommender import Recommender
from recsys.timeline import Timeline
from recsys.updatable import UpdatableRecommender
from recsys.updates import UpdateReport

SWEEPS = 2  # of the policy of that name
UPDATING = ("update", "sweep", "update+refit")


class State(NamedTuple):
    """A model and when it was made."""

    model: Recommender
    made: int  # it knows all that came before this slice
    name: str  # among the states of a replay


class Opened(NamedTuple):
    """The state that answers in a slice, and what it took to make it."""

    state: State
    action: str  # "keep", "update", "sweep", "refit" or "update+refit"
    seconds: float


Refresh = Callable[[State, Timeline, int], tuple[Recommender, str]]


def _refit(state: State, line: Timeline, number: int) -> tuple[Recommender, str]:
    return replace(state.model).fit(line.between(0, number)), "refit"


def _recounted(state: State, line: Timeline, number: int) -> tuple[Recommender, str]:
    return _refit(state, line, number)[0], "update"


def _updated(
    state: State, line: Timeline, number: int, sweeps: int = 0
) -> tuple[Recommender, UpdateReport]:
    model = copy.copy(state.model)
    assert isinstance(model, UpdatableRecommender)
    report = model.partial_fit(line.between(state.made, number), sweeps=sweeps)
    return model, report


def _update(state: State, line: Timeline, number: int) -> tuple[Recommender, str]:
    return _updated(state, line, number)[0], "update"


def _sweep(state: State, line: Timeline, number: int) -> tuple[Recommender, str]:
    return _updated(state, line, number, SWEEPS)[0], "sweep"


def _update_or_refit(state: State, line: Timeline, number: int) -> tuple[Recommender, str]:
    model, report = _updated(state, line, number)
    if report.verdict == "keep":
        return model, "update"
    return _refit(state, line, number)[0], "update+refit"


POLICIES: dict[str, Refresh | None] = {
    "none": None,  # the model of the start answers for ever
    "popularity": _recounted,  # the items with most users so far; no model at all
    "update": _update,
    "sweep": _sweep,  # the update solves items with news again, too
    "refit": _refit,
    "update+refit": _update_or_refit,  # fitted again where the report of the update says so
}


def check_policies(names: Sequence[str], model: Recommender) -> list[str]:
    """The names, each once.

    Raises:
        ValueError: If there is none, or one is unknown; the closest is offered.
        TypeError: If the model has no ``partial_fit`` and one needs it.
    """
    found = list(dict.fromkeys(names))
    if not found:
        raise ValueError(f"no policy was named; there are {', '.join(POLICIES)}")
    for name in found:
        if name not in POLICIES:
            raise ValueError(f"there is no policy {name!r}; {closest(name, POLICIES)}")
        if name not in UPDATING:
            continue
        if not isinstance(model, UpdatableRecommender):
            raise TypeError(
                f"{type(model).__name__} cannot be updated, as the policy {name!r} needs; leave it "
                "out, or take UltraGCN, ImplicitALS or PureSVD"
            )
        model.check_updatable()
    return found


def first_states(
    names: Sequence[str], model: Recommender, line: Timeline
) -> tuple[dict[str, State], float]:
    """The states that answer in the first slice, and the seconds of the one fit they share."""
    before = line.between(0, 1)
    began = time.perf_counter()
    base = State(replace(model).fit(before), 1, "start") if set(names) - {"popularity"} else None
    seconds = time.perf_counter() - began
    popular = State(Popularity(device=model.device).fit(before), 1, "popularity-1")
    return {n: popular if n == "popularity" or base is None else base for n in names}, seconds


def opened(name: str, state: State, line: Timeline, number: int, refit_every: int) -> Opened:
    """The state of a policy at the opening of a slice after the first."""
    refresh = POLICIES[name]
    if refresh is None or (name == "refit" and (number - 1) % refit_every):
        return Opened(state, "keep", 0.0)
    began = time.perf_counter()
    model, action = refresh(state, line, number)
    seconds = time.perf_counter() - began
    return Opened(State(model, number, f"{name}-{number}"), action, seconds)
