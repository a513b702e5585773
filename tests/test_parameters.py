"""Bad parameters are refused in words, good ones pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pytest

from hyperrank import parameters
from hyperrank.estimator import Estimator
from hyperrank.parameters import bounded


@dataclass(kw_only=True, eq=False)
class Sample(Estimator):
    """One field of each kind."""

    dim: int = bounded(8, least=1, most=64)
    lr: float = bounded(0.1, above=0)
    most: int | None = bounded(None, least=2)
    loss: Literal["bpr", "bce"] = "bpr"
    share: bool = True
    name: str = "x"
    free: Any = None


def changed(**values: Any) -> Sample:
    """Set as ``set_params`` does: nothing is checked before ``fit``."""
    return Sample().set_params(**values)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"dim": 64, "lr": 1},
        {"dim": np.int32(3), "lr": np.float32(0.5)},
        {"most": 2},
        {"loss": "bce", "share": False, "free": object()},
    ],
)
def test_good(values: dict[str, Any]) -> None:
    parameters.check(changed(**values))


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"dim": 0}, ValueError, "Sample: dim must be at least 1, got 0"),
        ({"dim": 65}, ValueError, "Sample: dim must be at most 64, got 65"),
        ({"dim": "8"}, TypeError, "Sample: dim must be a whole number, got '8'"),
        ({"dim": 8.0}, TypeError, "Sample: dim must be a whole number, got 8.0"),
        ({"dim": True}, TypeError, "Sample: dim must be a whole number, got True"),
        ({"dim": None}, TypeError, "Sample: dim must be a whole number, got None"),
        ({"lr": 0.0}, ValueError, "Sample: lr must be above 0, got 0.0"),
        ({"lr": float("nan")}, ValueError, "Sample: lr must be finite, got nan"),
        ({"lr": float("inf")}, ValueError, "Sample: lr must be finite, got inf"),
        ({"lr": "fast"}, TypeError, "Sample: lr must be a number, got 'fast'"),
        ({"most": 1}, ValueError, "Sample: most must be at least 2, got 1"),
        ({"most": 1.5}, TypeError, "Sample: most must be a whole number or None, got 1.5"),
        ({"loss": "hinge"}, ValueError, "Sample: loss must be one of 'bpr', 'bce', got 'hinge'"),
        ({"loss": 3}, TypeError, "Sample: loss must be one of 'bpr', 'bce', got 3"),
        ({"share": 1}, TypeError, "Sample: share must be True or False, got 1"),
        ({"name": 1}, TypeError, "Sample: name must be text, got 1"),
    ],
)
def test_bad(values: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as raised:
        parameters.check(changed(**values))
    assert str(raised.value) == message


def test_bounded_is_a_plain_default() -> None:
    assert Sample().dim == Sample.dim == 8
