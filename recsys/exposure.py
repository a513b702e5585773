"""Which items a model's lists show, beside another model of the same accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from hyperrank.metrics import parse, parse_all
from hyperrank.tables import to_backend
from recsys.interactions import Interactions
from recsys.judging import Unknown, check_same_history, groups, judge
from recsys.recommender import Recommender
from recsys.triplet import TriplH

DIALS = (-1.5, -1.25, -1.0, -0.75, -0.5, -0.25, 0.0, 0.25, 0.5)
HALVINGS = 6  # of the interval between two of them
ACCURACY = "ndcg@20"


class Tradeoff(NamedTuple):
    """What a popularity dial trades; frames of the kind that the test log came in.

    Attributes:
        turned: Name of the model with the dial.
        curve: That model at every dial: dial, accuracy, coverage, gini, popularity, tail recall.
        models: The same of every model as it is (``matched`` is ""), and of the turned one where
            it is as accurate as the model that ``matched`` names; without a row where it never is.
    """

    turned: str
    curve: Any
    models: Any


def exposure(
    model: Recommender,
    test: Interactions,
    *,
    accuracy: str = ACCURACY,
    k: int = 10,
    head_share: float = 0.2,
    unknown: Unknown = "popular",
) -> dict[str, float]:
    """Accuracy of a model's lists, and which items they hold.

    Coverage, gini and popularity are those of ``hyperrank.metrics`` at ``k``. ``tail_recall`` is
    recall at k of items outside the head: all but the share ``head_share`` of most users in
    training; the mean over users with a test item there, as in ``breakdown``.

    Raises:
        ValueError: If ``accuracy`` is no metric, or as ``evaluate``.
    """
    asked = parse_all([accuracy, *(f"{kind}@{k}" for kind in ("coverage", "gini", "popularity"))])
    recall = parse(f"recall@{k}")
    judged = judge(model, test, [*asked, recall], exclude_seen=True, unknown=unknown)
    rare = groups(judged, model, test, 0, head_share)["tail items"]
    values = {str(metric): metric.mean(judged.hits, model.seen_) for metric in asked}
    return values | {f"tail_recall@{k}": recall.mean(rare.hits)}


def matched_dial(
    model: TriplH,
    log: Interactions,
    value: float,
    *,
    accuracy: str = ACCURACY,
    unknown: Unknown = "popular",
    known: Mapping[float, float] | None = None,
) -> float | None:
    """The lowest dial of ``model.with_popularity`` at which it still is as accurate as ``value``.

    Lowest means rarest items. None where no dial is as accurate. Looked for among ``DIALS`` and,
    between the one that is and its neighbour that is not, by halving. ``known`` are accuracies at
    dials that are known already.

    Raises:
        ValueError: If ``accuracy`` is no metric or the model has no dial, or as ``evaluate``.
    """
    metric = parse(accuracy)

    def reached(dial: float) -> float:
        turned = model.with_popularity(dial)
        hits = judge(turned, log, [metric], exclude_seen=True, unknown=unknown).hits
        return metric.mean(hits, model.seen_)

    at = {dial: reached(dial) for dial in DIALS} if known is None else dict(known)
    falling = sorted(at, reverse=True)
    falling = falling[falling.index(max(at, key=lambda dial: at[dial])) :]
    enough = [at[dial] >= value for dial in falling]
    if not enough[0]:
        return None
    if all(enough):
        return falling[-1]
    first = enough.index(False)
    high, low = falling[first - 1], falling[first]
    for _ in range(HALVINGS):
        middle = (high + low) / 2
        high, low = (middle, low) if reached(middle) >= value else (high, middle)
    return high


def tradeoff(
    models: Mapping[str, Recommender],
    test: Interactions,
    *,
    turned: str | None = None,
    match: Mapping[str, float] | None = None,
    accuracy: str = ACCURACY,
    k: int = 10,
    unknown: Unknown = "popular",
    dials: Sequence[float] = DIALS,
) -> Tradeoff:
    """What the dial of one model trades, beside the other models at their accuracy.

    Coverage can be bought by making a model worse, so lists are to be compared where both models
    are equally accurate: the dial is turned until the accuracy is the other's.

    Args:
        models: Fitted models by name.
        test: Held out from their common training log.
        turned: Name of the model whose dial is turned; by default the first that has one.
        match: For each other model the dial, where it was found elsewhere; by default found on
            ``test`` itself.
        accuracy: Metric of truth by which models are matched.
        k: Length of the lists that are described.
        unknown: As in ``evaluate``.
        dials: Of the curve.

    Raises:
        ValueError: If no model has a dial, ``turned`` is none of the models, they have seen
            different shares of the test pairs, or as ``evaluate``.
    """
    name = _turned(models, turned)
    model, metric = models[name], str(parse(accuracy))
    assert isinstance(model, TriplH)
    check_same_history(models, test)

    def described(one: Recommender) -> dict[str, float]:
        return exposure(one, test, accuracy=accuracy, k=k, unknown=unknown)

    curve = [{"dial": dial, **described(model.with_popularity(dial))} for dial in dials]
    known = {row["dial"]: row[metric] for row in curve}
    rows: list[dict[str, Any]] = []
    for other, one in models.items():
        dial = 0.0 if other == name else float("nan")
        rows.append({"model": other, "matched": "", "dial": dial, **described(one)})
        if other == name:
            continue
        found = (
            match.get(other)
            if match is not None
            else matched_dial(
                model, test, rows[-1][metric], accuracy=metric, unknown=unknown, known=known
            )
        )
        if found is not None:
            turned_model = described(model.with_popularity(found))
            rows.append({"model": name, "matched": other, "dial": found, **turned_model})
    return Tradeoff(name, *(_frame(part, test.backend) for part in (curve, rows)))


def _turned(models: Mapping[str, Recommender], name: str | None) -> str:
    """The name of the model whose dial is turned."""
    dialled = [
        one
        for one, model in models.items()
        if isinstance(model, TriplH) and model.geometry == "triangle"
    ]
    if not dialled or name not in (None, *dialled):
        which = "none of" if name is None else f"{name!r} is not one with a dial among"
        raise ValueError(
            f"{which} {', '.join(models)}; a popularity dial has a TriplH of geometry 'triangle'"
        )
    return dialled[0] if name is None else name


def _frame(rows: list[dict[str, Any]], backend: str) -> Any:
    columns = {key: np.array([row[key] for row in rows]) for key in rows[0]}
    return to_backend(columns, backend)
