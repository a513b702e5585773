"""Checks of an estimator's parameters: kinds from annotations, bounds from the fields."""

from __future__ import annotations

import math
import numbers
import types
import typing
from dataclasses import field, fields
from typing import Any, Literal

from hyperrank.estimator import Estimator

NUMBERS: dict[type, tuple[type, str]] = {
    int: (numbers.Integral, "a whole number"),
    float: (numbers.Real, "a number"),
}


def bounded(
    default: Any,
    *,
    least: int | float | None = None,
    above: int | float | None = None,
    most: int | float | None = None,
) -> Any:
    """A dataclass field whose value must be at least ``least``, above ``above``, at most ``most``.

    None passes where the annotation admits it.
    """
    return field(default=default, metadata={"least": least, "above": above, "most": most})


def check(estimator: Estimator) -> None:
    """Refuses the first parameter that is of the wrong kind or beyond its bounds.

    Numbers, booleans, text and ``Literal`` choices are checked, alone or in a union; a field of any
    other annotation passes.

    Raises:
        TypeError: If a value is of the wrong kind.
        ValueError: If it is out of bounds, not finite, or not one of the choices.
    """
    hints = typing.get_type_hints(type(estimator))
    for one in fields(estimator):
        value = getattr(estimator, one.name)
        name = f"{type(estimator).__name__}: {one.name}"
        _check_kind(name, value, hints[one.name])
        if type(value) is not bool and isinstance(value, numbers.Real):
            _check_bounds(name, value, **one.metadata)


def _check_kind(name: str, value: Any, hint: Any) -> None:
    choices = _choices(hint)
    kinds = [_kind(choice) for choice in choices]
    if None in kinds or any(_fits(value, choice) for choice in choices):
        return
    expected = " or ".join(dict.fromkeys(str(kind) for kind in kinds))
    wrong = ValueError if isinstance(value, str) and _literals(choices) else TypeError
    raise wrong(f"{name} must be {expected}, got {value!r}")


def _choices(hint: Any) -> tuple[Any, ...]:
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    return typing.get_args(hint) if union else (hint,)


def _literals(choices: tuple[Any, ...]) -> bool:
    return any(typing.get_origin(choice) is Literal for choice in choices)


def _kind(choice: Any) -> str | None:
    """The choice in words; None for an annotation that is not checked."""
    if typing.get_origin(choice) is Literal:
        return f"one of {', '.join(map(repr, typing.get_args(choice)))}"
    if choice in NUMBERS:
        return NUMBERS[choice][1]
    words = {bool: "True or False", str: "text", type(None): "None"}
    return words.get(choice)


def _fits(value: Any, choice: Any) -> bool:
    if typing.get_origin(choice) is Literal:
        return value in typing.get_args(choice)
    if choice in NUMBERS:
        return isinstance(value, NUMBERS[choice][0]) and not isinstance(value, bool)
    return isinstance(value, choice)


def _check_bounds(
    name: str,
    value: Any,
    least: int | float | None = None,
    above: int | float | None = None,
    most: int | float | None = None,
) -> None:
    if not math.isfinite(value):
        raise ValueError(f"{name} must be finite, got {value}")
    if least is not None and value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")
    if above is not None and value <= above:
        raise ValueError(f"{name} must be above {above}, got {value}")
    if most is not None and value > most:
        raise ValueError(f"{name} must be at most {most}, got {value}")
