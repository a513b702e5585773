"""Spaces: functions that make parameters of an estimator from what a trial suggests.

``lambda trial: {"lr": trial.suggest_float("lr", 1e-4, 1e-1, log=True)}`` is one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from hyperrank import parameters
from hyperrank.named_models import closest
from hyperrank.studies import quiet
from hyperrank.trials import Row

Space = Callable[[Any], dict[str, Any]]


def held(space: Space, values: Row) -> Space:
    """The space without the parameters of these names, which keep their values in all trials."""
    return partial(_held, space, values)


def _held(space: Space, values: Row, trial: Any) -> Row:
    return {k: v for k, v in space(_Holding(trial, values)).items() if k not in values}


class _Holding:
    """A trial that does not suggest what is held."""

    def __init__(self, trial: Any, values: Row) -> None:
        self._trial, self._values = trial, values

    def __getattr__(self, attribute: str) -> Any:
        found, values = getattr(self._trial, attribute), self._values
        if not attribute.startswith("suggest_"):
            return found
        return lambda name, *given, **named: (
            values[name] if name in values else found(name, *given, **named)
        )


def suggested_by(optuna: Any, space: Space, base: Any) -> dict[str, Any]:
    """What the space suggests to a first trial, once the parameters that it makes are checked.

    Only parameters that are what was suggested, under the same name, are told.

    Raises:
        TypeError: If it makes no dictionary.
        ValueError: If it names an unknown parameter, or one out of bounds, or suggests nothing.
    """
    name, known = type(base).__name__, list(base.get_params())
    with quiet(optuna):
        trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask()
    changes = space(trial)
    if not isinstance(changes, dict):
        raise TypeError(f"a space makes a dictionary of parameters, got {changes!r}")
    for key in changes:
        if key not in known:
            raise ValueError(
                f"the space names {key!r}, but {name} has no such parameter; {closest(key, known)}"
            )
    if not changes:
        raise ValueError(f"the space suggests nothing, so there is no search of {name}; fit it")
    try:
        parameters.check(replace(base, **changes))
    except (TypeError, ValueError) as error:
        raise ValueError(f"the space does not fit the model: {error}") from None
    same = {name for name, value in trial.params.items() if changes.get(name, trial) == value}
    return {name: kind for name, kind in trial.distributions.items() if name in same}


def check_sendable(function: Any) -> None:
    """Passes when another process can be given the function, such as a space.

    Raises:
        ValueError: If it was defined inside a function.
    """
    for one in (function, *getattr(function, "args", ())):
        if "<" in getattr(one, "__qualname__", ""):  # as Python names what is inside a function
            raise ValueError(
                f"n_jobs starts processes, which cannot be given {one.__qualname__}; define it at "
                "the top of a module, or use n_jobs=1"
            )


def suggest(trial: Any, name: str, kind: Any) -> Any:
    """What the trial gets for a distribution."""
    if hasattr(kind, "choices"):
        return trial.suggest_categorical(name, kind.choices)
    whole = isinstance(kind.low, int)
    ask = trial.suggest_int if whole else trial.suggest_float
    return ask(name, kind.low, kind.high, step=kind.step, log=kind.log)


def within(kinds: dict[str, Any], name: str, value: Any) -> bool:
    """Whether the space could have suggested that value."""
    kind = kinds.get(name)
    if kind is None or hasattr(kind, "choices"):
        return kind is not None and value in kind.choices
    if not isinstance(value, int | float) or not kind.low <= value <= kind.high:
        return False
    cells = (value - kind.low) / (kind.step or 1)
    return not kind.step or math.isclose(cells, round(cells), abs_tol=1e-8)
