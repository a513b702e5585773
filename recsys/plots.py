"""Pictures of a fitted recommender, as figures of matplotlib.

``hyperrank.figures.save(disk(model), "disk.svg")`` writes one; ``recsys plot`` does all of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from hyperrank.distance_scorer import Distances
from hyperrank.plots import Names, NothingToDrawError
from hyperrank.point_plots import Table
from hyperrank.portrait import Look, Subject, draw
from hyperrank.scorers import Factors
from hyperrank.spectrum import Spectrum, product_spectrum
from hyperrank.spectrum import spectrum as spectrum_of
from recsys.recommender import Recommender
from recsys.triplet import TriplH

CURVED = ("triangle", "lorentzian", "geodesic")


def disk(
    model: Recommender,
    groups: Mapping[Any, Any] | None = None,
    *,
    users: bool = False,
    random_state: int = 0,
) -> Any:
    """Items as points of the Poincare disk; for a Euclidean model on two principal axes.

    Args:
        model: A fitted recommender that learns vectors; TriplH is the hyperbolic one.
        groups: Group of each item, instead of its popularity, for the colours: the six largest, and
            the rest as "other".
        users: Whether users are drawn too, as crosses beneath.
        random_state: Of the 5,000 points that are drawn where there are more.

    Raises:
        ValueError: If the model learns no vectors, or no item of ``groups`` is known.
        NotFittedError: Before ``fit``.
        ImportError: If matplotlib is not installed.
    """
    look = Look(groups=groups, others=users, random_state=random_state)
    return draw(subject(model), "disk", look).figure


def radius(model: Recommender, *, random_state: int = 0) -> Any:
    """Items' distance from the origin against their number of users; errors as of ``disk``."""
    return draw(subject(model), "radius", Look(random_state=random_state)).figure


def popularity(model: Recommender, k: int = 10, *, random_state: int = 0) -> Any:
    """How much of its lists of ``k`` a model gives to the most popular items.

    Of any recommender; of more than 10,000 users a sample gets lists.
    """
    return draw(subject(model), "popularity", Look(k=k, random_state=random_state)).figure


def spectrum(model: Recommender) -> Any:
    """Singular values of the table of items, and of the matrix of scores where that is a product.

    The former are a matter of how scores are shared out between users and items; the latter are
    not. Errors as of ``disk``.
    """
    return draw(subject(model), "spectrum").figure


def training(model: Recommender) -> Any:
    """Loss by epoch, and validation metric by epoch where ``fit`` had a validation log.

    Raises:
        ValueError: If the model is not learned in epochs.
        NotFittedError: Before ``fit``.
        ImportError: If matplotlib is not installed.
    """
    return draw(subject(model), "training").figure


def subject(model: Recommender) -> Subject:
    """What pictures need of a fitted recommender.

    Raises:
        NotFittedError: Before ``fit``.
    """
    scorer = model._fitted("scorer_")
    names = Names(type(model).__name__, "items", "users of the item in training", "users")

    def table() -> Table:
        users, items, curvature = _tables(model)
        return Table(items, model.seen_.candidate_degrees, names, curvature, users)

    def spectra() -> dict[str, Spectrum]:
        found = {"items": spectrum_of(_tables(model)[1])}
        if isinstance(scorer, Factors):
            found["scores of all users"] = product_spectrum(scorer.queries, scorer.candidates)
        return found

    return Subject(model, names, model.items_, scorer, model.seen_, table, spectra)


def _tables(model: Recommender) -> tuple[Tensor, Tensor, float | None]:
    """Vectors of users and of items, and their curvature: free ones of a hyperbolic model."""
    if isinstance(model.scorer_, Distances):
        return model.scorer_.queries, model.scorer_.candidates, -1.0
    try:
        factors = model._factors()
    except TypeError as error:
        raise NothingToDrawError(str(error)) from None
    if not isinstance(model, TriplH) or model.geometry not in CURVED:
        return factors.queries, factors.candidates, None
    free = model._free(factors)
    return free.queries, free.candidates, -1.0
