"""Link prediction on knowledge graphs; comes with its own models."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hyperrank.evaluation import Resampling
    from kg.evaluation import compare, evaluate
    from kg.migtf import MIGTF
    from kg.triples import Triples
    from kg.tucker import TuckER

HOME = {  # public name -> the module that is imported when it is first asked for
    "MIGTF": "kg.migtf",
    "Resampling": "hyperrank.evaluation",
    "Triples": "kg.triples",
    "TuckER": "kg.tucker",
    "compare": "kg.evaluation",
    "evaluate": "kg.evaluation",
}

__all__ = ["MIGTF", "Resampling", "Triples", "TuckER", "compare", "evaluate"]


def __getattr__(name: str) -> Any:
    if name not in HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
