"""What every process of a search is told."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any, NamedTuple

from hyperrank.spaces import Space


class Plan(NamedTuple):
    """A model, the space of its parameters, and what its trials learn from and are judged by."""

    model: Any
    space: Space
    kinds: dict[str, Any]  # distributions of what the space suggests, by name
    fit_on: Any
    judge_on: Any
    fit_params: dict[str, Any]
    metric: str
    trials: int
    deadline: float
    random_state: int
    check: Callable[[Any], None] | None

    def check_fit(self) -> None:
        """Passes where ``fit`` takes what it will have.

        Raises:
            ValueError: If not.
        """
        try:
            inspect.signature(self.model.fit).bind(self.fit_on, self.judge_on, **self.fit_params)
        except TypeError as error:
            call = ", ".join(["fit_on", "judge_on", *(f"{name}=..." for name in self.fit_params)])
            kind = type(self.model).__name__
            raise ValueError(f"{kind}.fit cannot be called as fit({call}): {error}") from None

    def fit(self, model: Any) -> None:
        """Fits a model as every trial is fitted."""
        model.fit(self.fit_on, self.judge_on, **self.fit_params)

    def value(self, fitted: Any) -> float:
        """The best look of early stopping, or else the score, which has no ``fit_params``.

        Raises:
            FloatingPointError: If it is NaN or infinite.
        """
        looks = [value for _, value in getattr(fitted, "validation_history_", None) or ()]
        value = max(looks) if looks else float(fitted.score(self.judge_on, self.metric))
        if not math.isfinite(value):
            raise FloatingPointError(f"{self.metric} is {value}")
        return value
