"""Honest numbers: filtered ranks of held-out facts, both ways, with intervals and paired tests.

Every entity of the model competes, nothing is sampled, and a score is compared as the model gives
it: logits, whose ties are real.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hyperrank.devices import seeded
from hyperrank.evaluation import RESAMPLING, Resampling, bootstrap_interval, paired_tests
from hyperrank.ranking import Ties
from hyperrank.tables import to_backend
from kg.judging import SIDES, Judged, RankingProtocol, check_options, judge
from kg.predictor import LinkPredictor
from kg.ranking import parse_all, per_fact
from kg.triples import Triples, listed

By: TypeAlias = Literal["side", "relation"]

DEFAULT_METRICS = ("mrr", "hits@1", "hits@3", "hits@10")


def evaluate(
    model: LinkPredictor,
    test: Triples,
    metrics: str | Sequence[str] = DEFAULT_METRICS,
    *,
    known: Triples | Sequence[Triples] = (),
    ties: Ties = "realistic",
    by: By | None = None,
    protocol: RankingProtocol = "filtered",
    resampling: Resampling = RESAMPLING,
) -> Any:
    """A frame of metric, value, low, high, n, value_seen, unseen, dropped, protocol.

    Each fact is ranked twice, among all heads and among all tails, and counts once in ``n``, with
    the mean of the two. ``low`` and ``high`` bound the value by bootstrap over facts. Facts with an
    entity or a relation that stands in no training fact are judged like all others; ``unseen``
    counts them, and ``value_seen`` is the value without them. Ids that the model has never met are
    refused; ``test.reindex(model.entities_, model.relations_, unknown="drop")`` leaves their facts
    out, and ``dropped`` counts those.

    Args:
        model: Fitted.
        test: Held out from the model's training facts.
        metrics: "mrr", "hits@k" of any k, "mean_rank", and "amri", the adjusted mean rank index.
        known: Facts whose answers are hidden, as other true answers than the one that is judged:
            the training facts of the model and those of ``test`` always are, so this is for
            validation facts, or for test facts while validation ones are judged.
        ties: Whether entities of equal score stand before the answer: "optimistic", "pessimistic",
            or "realistic", the mean over all orders.
        by: One row a metric for each "side" that is asked for, or for each "relation", in a first
            column of that name; all together by default.
        protocol: "murp" hides the entity given in the question too, as MuRP, HyboNet and LorentzKG
            do. Its figures are higher and compare with no others.
        resampling: Level and draws of the intervals.

    Returns:
        A frame of the kind that ``test`` came in.

    Raises:
        ValueError: If a metric or an option is unknown, no fact can be judged, or a score is NaN.
        UnknownIdError: If an id of ``test`` is not in the model's vocabularies.
        TypeError: If facts are not ``Triples``, or their ids of another kind than the model's.
        NotFittedError: Before ``fit``.
    """
    chosen = parse_all(metrics)
    known = _checked(test, known, ties, protocol, by)
    judged = judge(model, test, known, ties, protocol)
    tables = []
    for label, group in _groups(judged, model, by):
        seen = group.select(group.seen)
        columns = {
            **_summarized(group, chosen, resampling),
            "value_seen": _means(seen, chosen).numpy(),
            "unseen": len(group.rank) - len(seen.rank),
            "dropped": group.dropped,
            "protocol": np.array(protocol, dtype=object),
        }
        tables.append({k: np.broadcast_to(v, len(chosen)) for k, v in (label | columns).items()})
    joined = {key: np.concatenate([table[key] for table in tables]) for key in tables[0]}
    return to_backend(joined, test.backend)


def compare(
    models: Mapping[str, LinkPredictor],
    test: Triples,
    metrics: str | Sequence[str] = DEFAULT_METRICS,
    *,
    baseline: str | None = None,
    known: Triples | Sequence[Triples] = (),
    ties: Ties = "realistic",
    protocol: RankingProtocol = "filtered",
    resampling: Resampling = RESAMPLING,
) -> Any:
    """A frame of metric, model, value, low, high, n, difference, p_value, p_adjusted.

    ``difference`` is the value minus the baseline's. ``p_value`` is that of the paired sign-flip
    test over facts; ``p_adjusted`` corrects it by Holm's rule for all the tests in the frame. Both
    are NaN for the baseline itself. The training facts of every model are hidden for all.

    Args:
        models: Fitted models by name, on the same vocabularies: then the same entities compete.
        test: As in ``evaluate``, like the arguments not named here.
        metrics: As in ``evaluate``.
        baseline: Name of the model that the others are tested against; the first by default.
        known: As in ``evaluate``.
        ties: As in ``evaluate``.
        protocol: As in ``evaluate``.
        resampling: Level and draws of the intervals and the tests.

    Raises:
        ValueError: If there are no models, ``baseline`` is none of them, their vocabularies differ,
            or as ``evaluate``.
        UnknownIdError: As ``evaluate``.
        TypeError: As ``evaluate``.
        NotFittedError: As ``evaluate``.
    """
    if not models:
        raise ValueError("compare got no models; give them by name, as in {'tucker': model}")
    base = next(iter(models)) if baseline is None else baseline
    if base not in models:
        raise ValueError(f"baseline {base!r} is none of the models {', '.join(models)}")
    _check_same_vocabularies(models)
    chosen, every = parse_all(metrics), list(models.values())
    known = _checked(test, known, ties, protocol)
    judged = [judge(one, test, known, ties, protocol, every) for one in every]
    tables = [_summarized(one, chosen, resampling) for one in judged]
    # models beside each other under each metric
    columns = {key: np.stack([table[key] for table in tables], axis=1) for key in tables[0]}
    place = list(models).index(base)
    columns["difference"] = columns["value"] - columns["value"][:, [place]]
    p, adjusted = paired_tests([_shares(one, chosen) for one in judged], place, resampling)
    columns |= {"p_value": p.T.numpy(), "p_adjusted": adjusted.T.numpy()}
    names = np.broadcast_to(np.array(list(models), dtype=object), columns["metric"].shape)
    ordered = {"metric": columns.pop("metric"), "model": names, **columns}
    return to_backend({key: column.reshape(-1) for key, column in ordered.items()}, test.backend)


def _checked(test: Any, known: Any, ties: Any, protocol: Any, by: Any = None) -> Sequence[Triples]:
    """What is known, as a sequence, all options being allowed."""
    check_options(
        test,
        ties=(ties, get_args(Ties)),
        protocol=(protocol, get_args(RankingProtocol)),
        by=(by, (None, *get_args(By))),
    )
    return listed(known)


def _check_same_vocabularies(models: Mapping[str, LinkPredictor]) -> None:
    (first, one), *others = models.items()
    for name, other in others:
        if (one._fitted("entities_"), one.relations_) != (
            other._fitted("entities_"),
            other.relations_,
        ):
            raise ValueError(
                f"{first!r} and {name!r} were fitted on other vocabularies, so other entities "
                "would compete; fit both on facts that were read together (Triples.read_parts)"
            )


def _groups(
    judged: Judged, model: LinkPredictor, by: By | None
) -> Iterator[tuple[dict[str, Any], Judged]]:
    """The facts of each group, and the column that names it."""
    if by is None:
        yield {}, judged
    elif by == "side":
        for side, rank, rivals in zip(SIDES, *(t.T[..., None] for t in judged[:2]), strict=True):
            yield {by: np.array(side, dtype=object)}, judged._replace(rank=rank, rivals=rivals)
    else:
        for relation in judged.relation.unique().split(1):
            group = judged.select(judged.relation == relation)
            yield {by: model.relations_.take(relation)}, group


def _summarized(
    judged: Judged, metrics: Sequence[str], resampling: Resampling
) -> dict[str, np.ndarray]:
    """Columns metric, value, low, high, n."""
    values, weights = _table(judged, metrics)
    bounds = torch.empty(2, len(metrics), dtype=torch.float64)
    weighted = torch.tensor([metric == "amri" for metric in metrics])
    for columns in (weighted, ~weighted):
        if columns.any():
            bounds[:, columns] = torch.stack(
                bootstrap_interval(
                    values[:, columns],
                    generator=seeded(resampling.random_state),
                    weights=weights[:, columns][:, 0],
                    resamples=resampling.draws,
                    level=resampling.level,
                )
            )
    return {
        "metric": np.array(metrics, dtype=object),
        "value": _means(judged, metrics).numpy(),
        "low": bounds[0].numpy(),
        "high": bounds[1].numpy(),
        "n": np.full(len(metrics), len(judged.rank)),
    }


def _means(judged: Judged, metrics: Sequence[str]) -> Float[Tensor, " m"]:
    return _shares(judged, metrics).mean(0)


def _shares(judged: Judged, metrics: Sequence[str]) -> Float[Tensor, "n m"]:
    """What each fact adds to n times each measure."""
    values, weights = _table(judged, metrics)
    return values * weights / weights.mean(0)


def _table(
    judged: Judged, metrics: Sequence[str]
) -> tuple[Float[Tensor, "n m"], Float[Tensor, "n m"]]:
    """The value of each fact, and its weight."""
    both = zip(*(per_fact(metric, judged.rank, judged.rivals) for metric in metrics), strict=True)
    values, weights = (torch.stack(columns, dim=1) for columns in both)
    return values, weights
