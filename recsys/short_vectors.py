"""The shortest vectors that give a factor model's lists."""

from __future__ import annotations

from hyperrank import gauges
from recsys.recommender import Recommender


def balanced(model: Recommender) -> Recommender:
    """A model with the lists of ``model``, by the shortest user and item vectors that give them.

    See ``hyperrank.gauges.balanced``. A move of a given share of the vectors' length, be it the
    rounding of a compressed index or an attack, changes these lists least; scores are lower by
    each user's mean over the items. The model answers, is certified, exported and saved; updates
    go to ``model``, which is left as it is.

    Raises:
        TypeError: If the model's scores are no dot products of vectors.
        NotFittedError: Before ``fit``.
    """
    short = Recommender(device=model.device)
    tables = gauges.balanced(model._factors())
    short._settle(model.users_, model.items_, model.seen_, model.backend_, tables)
    return short
