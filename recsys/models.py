"""Recommenders by name, and their parameters from text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hyperrank import named_models

MODELS = {  # every recommender that a command can fit -> module:Class
    "ultragcn": "recsys.ultragcn:UltraGCN",
    "triplh": "recsys.triplet:TriplH",
    "bprmf": "recsys.bpr:BPRMF",
    "ease": "recsys.baselines:EASE",
    "itemknn": "recsys.baselines:ItemKNN",
    "puresvd": "recsys.baselines:PureSVD",
    "squaredultragcn": "recsys.squared:SquaredUltraGCN",
    "implicitals": "recsys.implicit_models:ImplicitALS",
    "implicitbpr": "recsys.implicit_models:ImplicitBPR",
    "popularity": "recsys.baselines:Popularity",
}


def make_model(name: str, settings: Sequence[str] = (), **params: Any) -> Any:
    """An unfitted recommender; see ``hyperrank.named_models.make_model``.

    Raises:
        ValueError: If a model, a parameter or a value is unknown; the closest name is offered.
    """
    return named_models.make_model(MODELS, name, settings, **params)
