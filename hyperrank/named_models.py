"""Models by name, and their parameters from text."""

from __future__ import annotations

import difflib
import importlib
import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints


def model_class(known: Mapping[str, str], name: str) -> type[Any]:
    """The class of that name in ``known`` (module:Class); case, "-" and "_" do not matter.

    Raises:
        ValueError: If there is none.
    """
    plain = name.lower().replace("-", "").replace("_", "")
    if plain not in known:
        raise ValueError(f"there is no model {name!r}; {closest(name, known)}")
    module, _, attribute = known[plain].partition(":")
    found: type[Any] = getattr(importlib.import_module(module), attribute)
    return found


def closest(name: str, known: Iterable[str]) -> str:
    """A clause that offers the closest of the known names, or all of them."""
    names = list(known)
    near = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"known are {', '.join(names)}"


def make_model(
    known: Mapping[str, str], name: str, settings: Sequence[str] = (), **params: Any
) -> Any:
    """An unfitted model with parameters given as ``name=value`` texts.

    Texts are read as the type of the field that they name. ``params`` are set where the model has
    such a field and dropped where it has not; ``settings`` win over them.

    Raises:
        ValueError: If a model, a parameter or a value is unknown; the closest name is offered.
    """
    kind = model_class(known, name)
    names = [f.name for f in fields(kind)]
    hints = get_type_hints(kind)
    chosen = {key: value for key, value in params.items() if key in names}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise ValueError(f"expected name=value, got {setting!r}")
        if key not in names:
            raise ValueError(f"{kind.__name__} has no parameter {key!r}; {closest(key, names)}")
        chosen[key] = _value(text, hints[key], f"{kind.__name__} parameter {key}")
    return kind(**chosen)


def _value(text: str, hint: Any, what: str) -> Any:
    for one in _alternatives(hint):
        try:
            return _read(text, one)
        except ValueError:
            continue
    expected = " or ".join(_spoken(one) for one in _alternatives(hint))
    raise ValueError(f"{what} expects {expected}, got {text!r}")


def _alternatives(hint: Any) -> tuple[Any, ...]:
    """The members of a union, text last, since text reads anything."""
    if get_origin(hint) in (Union, types.UnionType):
        return tuple(sorted(get_args(hint), key=lambda one: one is str))
    return (hint,)


def _spoken(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return " or ".join(map(str, get_args(hint)))
    return "none" if hint is type(None) else getattr(hint, "__name__", str(hint))


def _read(text: str, hint: Any) -> Any:
    """``text`` as one type; ValueError where it does not fit."""
    low = text.strip().lower()
    words: dict[Any, dict[str, Any]] = {
        bool: {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False},
        type(None): {"none": None, "null": None},
    }
    if get_origin(hint) is Literal:
        words[hint] = {str(choice).lower(): choice for choice in get_args(hint)}
    if hint in words:
        if low not in words[hint]:
            raise ValueError(text)
        return words[hint][low]
    if hint is int:
        return _whole(low)
    if get_origin(hint) in (tuple, list):
        inner = [one for one in get_args(hint) if one is not Ellipsis] or [str]
        parts = [part for part in text.strip("()[] ").split(",") if part.strip()]
        kinds = inner if len(inner) == len(parts) else inner[:1] * len(parts)
        read = [_read(part, one) for part, one in zip(parts, kinds, strict=True)]
        return tuple(read) if get_origin(hint) is tuple else read
    if hint is float:
        return float(low)
    if hint is str or hint is Any:
        return text
    raise ValueError(text)


def _whole(text: str) -> int:
    """An integer; also ``1e6`` and ``1_000``."""
    try:
        return int(text)
    except ValueError:
        number = float(text)
        if not number.is_integer():
            raise
        return int(number)
