"""Pictures of a fitted link predictor, as figures of matplotlib.

``hyperrank.figures.save(disk(model), "disk.svg")`` writes one; ``kg plot`` does all of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from hyperrank.plots import Names, NothingToDrawError
from hyperrank.point_plots import Table
from hyperrank.portrait import Look, Subject, draw
from hyperrank.spectrum import Spectrum
from hyperrank.spectrum import spectrum as spectrum_of
from kg.mixed_module import MixedModule
from kg.predictor import LinkPredictor
from kg.queries import AskedScorer


def disk(
    model: LinkPredictor, groups: Mapping[Any, Any] | None = None, *, random_state: int = 0
) -> Any:
    """The entities' points of MIG-TF on the Poincare disk; TuckER's vectors on two principal axes.

    Args:
        model: A fitted link predictor.
        groups: Group of each entity, instead of its number of facts, for the colours: the six
            largest, and the rest as "other".
        random_state: Of the 5,000 points that are drawn where there are more.

    Raises:
        ValueError: If the model learns no vectors, or no entity of ``groups`` is known.
        NotFittedError: Before ``fit``.
        ImportError: If matplotlib is not installed.
    """
    return draw(subject(model), "disk", Look(groups=groups, random_state=random_state)).figure


def radius(model: LinkPredictor, *, random_state: int = 0) -> Any:
    """Entities' distance from the origin against their number of facts; errors as of ``disk``."""
    return draw(subject(model), "radius", Look(random_state=random_state)).figure


def popularity(model: LinkPredictor, k: int = 10, *, random_state: int = 0) -> Any:
    """How much of the ``k`` best new answers to training questions are entities of many facts.

    Of more than 10,000 questions (head, relation, ?) and (?, relation, tail) a sample is asked.
    """
    return draw(subject(model), "popularity", Look(k=k, random_state=random_state)).figure


def spectrum(model: LinkPredictor) -> Any:
    """Singular values of the entities' tables; errors as of ``disk``."""
    return draw(subject(model), "spectrum").figure


def training(model: LinkPredictor) -> Any:
    """Loss by epoch, and validation measure by epoch where ``fit`` had validation facts.

    Of a MIG-TF in two stages this is the second.

    Raises:
        ValueError: If the model is not learned in epochs.
        NotFittedError: Before ``fit``.
        ImportError: If matplotlib is not installed.
    """
    return draw(subject(model), "training").figure


def subject(model: LinkPredictor) -> Subject:
    """What pictures need of a fitted link predictor.

    Raises:
        NotFittedError: Before ``fit``.
    """
    module, facts = model._fitted("module_"), model.facts_
    names = Names(type(model).__name__, "entities", "facts of the entity in training", "questions")
    mixed = module if isinstance(module, MixedModule) else None

    def table() -> Table:
        rows = _vectors(model) if mixed is None else mixed.points
        curvature = None if mixed is None else -1 / float(mixed.beta)
        return Table(rows.detach(), facts.candidate_degrees, names, curvature)

    def spectra() -> dict[str, Spectrum]:
        tables = {"vectors": _vectors(model)}
        if mixed is not None:
            tables = {"points": mixed.points, "TuckER's vectors": mixed.base.entities}
        return {name: spectrum_of(rows.detach()) for name, rows in tables.items()}

    scorer = AskedScorer(module, facts)
    return Subject(model, names, model.entities_, scorer, facts, table, spectra)


def _vectors(model: LinkPredictor) -> Tensor:
    try:
        return model._vectors()
    except TypeError as error:
        raise NothingToDrawError(str(error)) from None
