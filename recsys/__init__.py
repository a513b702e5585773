"""Recommenders: items for users, learned from a log of interactions."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hyperrank.evaluation import Resampling
    from recsys.baselines import EASE, ItemKNN, Popularity, PureSVD
    from recsys.bpr import BPRMF
    from recsys.evaluation import breakdown, compare, evaluate
    from recsys.implicit_models import ImplicitALS, ImplicitBPR
    from recsys.interactions import Interactions
    from recsys.short_vectors import balanced
    from recsys.squared import SquaredUltraGCN
    from recsys.triplet import TriplH
    from recsys.ultragcn import UltraGCN

HOME = {  # public name -> the module that is imported when it is first asked for
    "Interactions": "recsys.interactions",
    "UltraGCN": "recsys.ultragcn",
    "TriplH": "recsys.triplet",
    "BPRMF": "recsys.bpr",
    "EASE": "recsys.baselines",
    "PureSVD": "recsys.baselines",
    "SquaredUltraGCN": "recsys.squared",
    "ItemKNN": "recsys.baselines",
    "Popularity": "recsys.baselines",
    "ImplicitALS": "recsys.implicit_models",
    "ImplicitBPR": "recsys.implicit_models",
    "evaluate": "recsys.evaluation",
    "compare": "recsys.evaluation",
    "breakdown": "recsys.evaluation",
    "Resampling": "hyperrank.evaluation",
    "balanced": "recsys.short_vectors",
}

__all__ = [
    "BPRMF",
    "EASE",
    "ImplicitALS",
    "ImplicitBPR",
    "Interactions",
    "ItemKNN",
    "Popularity",
    "PureSVD",
    "Resampling",
    "SquaredUltraGCN",
    "TriplH",
    "UltraGCN",
    "balanced",
    "breakdown",
    "compare",
    "evaluate",
]


def __getattr__(name: str) -> Any:
    if name not in HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
