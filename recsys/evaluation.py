"""Honest numbers: full ranking on a held-out log, with intervals, paired tests and breakdowns.

Every user with a test interaction counts once (the convention of LightGCN and UltraGCN), every item
of the model competes, and nothing is sampled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hyperrank.devices import seeded
from hyperrank.evaluation import RESAMPLING, Resampling, bootstrap_interval, paired_tests
from hyperrank.metrics import OF_TRUTH, Metric, parse_all
from hyperrank.tables import to_backend
from recsys.interactions import Interactions
from recsys.judging import (
    Judged,
    Unknown,
    check_same_history,
    groups,
    judge,
    on_common_users,
)
from recsys.recommender import Recommender

DEFAULT_METRICS = ("recall@20", "ndcg@20")


def evaluate(
    model: Recommender,
    test: Interactions,
    metrics: str | Sequence[str] = DEFAULT_METRICS,
    *,
    exclude_seen: bool = True,
    unknown: Unknown = "popular",
    resampling: Resampling = RESAMPLING,
) -> Any:
    """A frame of metric, value, low, high, n, unknown_users: one row a metric.

    ``value`` is the mean over the ``n`` users of ``test`` for whom the metric is defined;
    ``unknown_users`` says how many of them the model has never seen. Test items that the model
    does not know cannot be listed: they stay in the denominators, as misses. ``low`` and ``high``
    bound the mean by bootstrap over users; coverage and gini, which are of all lists together, have
    none (NaN).

    Args:
        model: Fitted.
        test: Held out from the model's training log.
        metrics: Names with cutoffs, such as "recall@20"; ``hyperrank.metrics.NAMES`` lists them.
        exclude_seen: Whether items of the user's training log are left out of the lists. Test pairs
            among them can then only be missed, which is warned of.
        unknown: What a user without training log gets: the items with most users ("popular"),
            nothing, being left out of the mean ("skip"), or an error ("raise").
        resampling: Level and draws of the intervals.

    Returns:
        A frame of the kind that ``test`` came in.

    Raises:
        ValueError: If a metric is unknown, or no user can be judged.
        UnknownIdError: If ``unknown`` is "raise" and a user is.
        NotFittedError: Before ``fit``.
    """
    chosen = parse_all(metrics)
    judged = judge(model, test, chosen, exclude_seen, unknown)
    table = _summarized(judged, chosen, resampling)
    return to_backend({**table, "unknown_users": _repeated(judged.n_unknown, chosen)}, test.backend)


def compare(
    models: Mapping[str, Recommender],
    test: Interactions,
    metrics: str | Sequence[str] = DEFAULT_METRICS,
    *,
    baseline: str | None = None,
    exclude_seen: bool = True,
    unknown: Unknown = "popular",
    resampling: Resampling = RESAMPLING,
) -> Any:
    """A frame of metric, model, value, low, high, n, difference, p_value, p_adjusted.

    All models are judged on the same users: those that every one of them can be judged on.
    ``difference`` is the value minus the baseline's. ``p_value`` is that of the paired sign-flip
    test over users; ``p_adjusted`` corrects it by Holm's rule for all the tests in the frame. Both
    are NaN for the baseline itself, and for coverage and gini.

    Args:
        models: Fitted models by name.
        test: As in ``evaluate``, like the arguments not named here.
        metrics: As in ``evaluate``.
        baseline: Name of the model that the others are tested against; the first by default.
        exclude_seen: As in ``evaluate``.
        unknown: As in ``evaluate``.
        resampling: Level and draws of the intervals and the tests.

    Raises:
        ValueError: If there are no models, ``baseline`` is none of them, a metric is unknown, no
            user can be judged on all, or, with ``exclude_seen``, the models have seen different
            shares of the test pairs.
    """
    if not models:
        raise ValueError("compare got no models; give them by name, as in {'ease': model}")
    base = next(iter(models)) if baseline is None else baseline
    if base not in models:
        raise ValueError(f"baseline {base!r} is none of the models {', '.join(models)}")
    chosen = parse_all(metrics)
    judged = {n: judge(model, test, chosen, exclude_seen, unknown) for n, model in models.items()}
    if exclude_seen:
        check_same_history(models, test)
    judged = on_common_users(judged)
    columns: dict[str, list[Any]] = {}
    for name, one in judged.items():
        table = _summarized(one, chosen, resampling)
        table["model"] = np.array([name] * len(chosen), dtype=object)
        for key, column in table.items():
            columns.setdefault(key, []).append(column)
    value = np.stack(columns["value"])
    columns["difference"] = list(value - value[list(models).index(base)])
    p, adjusted = _tested(judged, base, chosen, resampling)
    columns["p_value"], columns["p_adjusted"] = list(p), list(adjusted)
    # models beside each other under each metric
    joined = {key: np.stack(parts, axis=1).reshape(-1) for key, parts in columns.items()}
    order = ["metric", "model", *(key for key in joined if key not in ("metric", "model"))]
    return to_backend({key: joined[key] for key in order}, test.backend)


def breakdown(
    model: Recommender,
    test: Interactions,
    metrics: str | Sequence[str] = DEFAULT_METRICS,
    *,
    cold_at_most: int = 0,
    head_share: float = 0.2,
    exclude_seen: bool = True,
    unknown: Unknown = "popular",
    resampling: Resampling = RESAMPLING,
) -> Any:
    """A frame of group, metric, value, low, high, n, pairs: where the model is good and where not.

    Groups: all; warm and cold users; warm and cold items; head and tail items. For a group of
    items, only its test pairs count as true, and only users who have one are averaged, while all
    items go on competing. ``n`` counts users and ``pairs`` test pairs. An empty group has n = 0 and
    NaN.

    Args:
        model: As in ``evaluate``, like the arguments not named here.
        test: As in ``evaluate``.
        metrics: Of truth only: recall, precision, ndcg, hr, mrr, map and the capped ones.
        cold_at_most: Users and items with at most so many training pairs are cold, others warm;
            by default those that the model has never seen.
        head_share: The head is this share of the model's items, those with most users in training
            (equal counts by order of the vocabulary); the tail is the rest, unknown ones included.
        exclude_seen: As in ``evaluate``.
        unknown: As in ``evaluate``.
        resampling: As in ``evaluate``.

    Raises:
        ValueError: If a metric is not of truth, ``head_share`` is not between 0 and 1, or as
            ``evaluate``.
    """
    chosen = parse_all(metrics)
    strange = [str(metric) for metric in chosen if metric.kind not in OF_TRUTH]
    if strange:
        raise ValueError(
            f"breakdown has no groups for {', '.join(strange)}; it knows {', '.join(OF_TRUTH)}"
        )
    if not 0 <= head_share <= 1:
        raise ValueError(f"head_share must lie between 0 and 1, got {head_share}")
    judged = judge(model, test, chosen, exclude_seen, unknown)
    tables: dict[str, list[Any]] = {}
    for name, one in groups(judged, model, test, cold_at_most, head_share).items():
        table = _summarized(one, chosen, resampling)
        table["pairs"] = _repeated(int(one.hits.n_truth.sum()), chosen)
        table = {"group": np.array([name] * len(chosen), dtype=object), **table}
        for key, column in table.items():
            tables.setdefault(key, []).append(column)
    return to_backend({k: np.concatenate(parts) for k, parts in tables.items()}, test.backend)


def _summarized(
    judged: Judged, metrics: Sequence[Metric], resampling: Resampling
) -> dict[str, np.ndarray]:
    """Columns metric, value, low, high, n."""
    mean = [metric for metric in metrics if metric.is_mean]
    low, high, value, count = (torch.full((len(metrics),), torch.nan).double() for _ in range(4))
    place = torch.tensor([metric.is_mean for metric in metrics])
    if mean:
        values = _values(judged, mean)
        value[place], count[place] = values.nanmean(0), (~values.isnan()).sum(0).double()
        generator = seeded(resampling.random_state)
        low[place], high[place] = bootstrap_interval(
            values, generator=generator, resamples=resampling.draws, level=resampling.level
        )
    for number, metric in enumerate(metrics):
        if not metric.is_mean:
            value[number] = metric.values(judged.hits, judged.model.seen_).cpu()
            count[number] = len(judged.rows)
    names = np.array([str(metric) for metric in metrics], dtype=object)
    return {
        "metric": names,
        "value": value.numpy(),
        "low": low.numpy(),
        "high": high.numpy(),
        "n": count.long().numpy(),
    }


def _values(judged: Judged, metrics: Sequence[Metric]) -> Float[Tensor, "q m"]:
    columns = [metric.values(judged.hits, judged.model.seen_) for metric in metrics]
    return torch.stack(columns, dim=1).cpu()


def _repeated(value: int, metrics: Sequence[Metric]) -> np.ndarray:
    return np.full(len(metrics), value, dtype=np.int64)


def _tested(
    judged: Mapping[str, Judged],
    base: str,
    metrics: Sequence[Metric],
    resampling: Resampling,
) -> tuple[Float[np.ndarray, "models m"], Float[np.ndarray, "models m"]]:
    """P-values and adjusted ones of every model and metric, NaN where nothing was tested."""
    place = torch.tensor([metric.is_mean for metric in metrics])
    mean = [metric for metric in metrics if metric.is_mean]
    values = [_values(one, mean) if mean else torch.empty(0, 0) for one in judged.values()]
    found = torch.full((2, len(judged), len(metrics)), torch.nan, dtype=torch.float64)
    found[:, :, place] = torch.stack(paired_tests(values, list(judged).index(base), resampling))
    p, adjusted = found.numpy()
    return p, adjusted
