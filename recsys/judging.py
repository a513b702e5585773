"""Lists for the users of a held-out log, and what of them is true."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, TypeAlias

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from hyperrank.metrics import Hits, Metric
from hyperrank.retrieval import top_k
from hyperrank.scorers import Constant
from recsys.interactions import Interactions
from recsys.recommender import Recommender

Unknown: TypeAlias = Literal["popular", "skip", "raise"]


class Judged(NamedTuple):
    """Lists of the test users, their hits, and the history that the lists came from."""

    rows: Int[Tensor, " q"]  # of the users in the test log, rising
    hits: Hits  # queries and candidates by the model's rows; an unknown user is n_users
    true_item: Int[Tensor, "q k"]  # the candidates by the test log's rows, -1 where it has none
    model: Recommender

    @property
    def n_unknown(self) -> int:
        """Judged users that the model does not know."""
        return int((self.hits.query == len(self.model.users_)).sum())

    def select(self, chosen: Bool[Tensor, " q"]) -> Judged:
        """The chosen users only."""
        hits = Hits(*(column[chosen] for column in self.hits))
        return Judged(self.rows[chosen], hits, self.true_item[chosen], self.model)


def judge(
    model: Recommender,
    test: Interactions,
    metrics: Sequence[Metric],
    exclude_seen: bool,
    unknown: Unknown,
) -> Judged:
    """Lists as long as the largest cutoff, of all users with test pairs, in one pass.

    Raises:
        TypeError: If ``test`` is no log.
        ValueError: If ``unknown`` is none of the three, or no user can be judged.
        UnknownIdError: If ``unknown`` is "raise" and a user is.
        NotFittedError: Before ``fit``.
    """
    if unknown not in ("popular", "skip", "raise"):
        raise ValueError(f"unknown must be 'popular', 'skip' or 'raise', got {unknown!r}")
    if not isinstance(test, Interactions):
        raise TypeError(
            f"test must be Interactions, got {type(test).__name__}; "
            "make it with Interactions.from_frame or Interactions.read"
        )
    scorer, seen = model._fitted("scorer_"), model.seen_
    pairs, n_users = test.pairs.to(seen.device), len(model.users_)
    rows = torch.nonzero(pairs.query_degrees).squeeze(1)
    missing: Literal["raise", "mark"] = "raise" if unknown == "raise" else "mark"
    user = model.users_.rows(test.users.ids[rows.cpu().numpy()], unknown=missing).to(seen.device)
    if unknown == "skip":
        rows, user = rows[user >= 0], user[user >= 0]
    if not len(rows):
        raise ValueError(
            f"no user of the test log can be judged: it holds {len(pairs)} pairs, and the model "
            f"knows none of their users; pass unknown='popular', or check that both logs have the "
            "same kind of ids"
        )
    item = model.items_.rows(test.items.ids, unknown="mark").to(seen.device)
    if exclude_seen:
        _warn_of_seen(model, test)
    true_of = torch.full((len(model.items_),), -1, device=seen.device)
    true_of[item[item >= 0]] = torch.nonzero(item >= 0).squeeze(1)
    k = min(max(metric.k for metric in metrics), len(model.items_))
    best = torch.full((len(rows), k), -1, device=seen.device)
    known = user >= 0
    found = top_k(scorer, user[known], k, known=seen if exclude_seen else None)
    best[known] = found.candidates
    if not bool(known.all()):
        popular = Constant(seen.candidate_degrees.float())
        best[~known] = top_k(popular, torch.zeros(1).long().to(seen.device), k).candidates
    true_item = torch.where(best >= 0, true_of[best.clamp_min(0)], -1)
    hit = pairs.contains(rows[:, None].expand_as(best), true_item.clamp_min(0)) & (true_item >= 0)
    query = torch.where(known, user, n_users)
    return Judged(rows, Hits(query, best, hit, pairs.query_degrees[rows]), true_item, model)


def seen_pairs(model: Recommender, test: Interactions) -> int:
    """How many pairs of ``test`` are in the model's training log."""
    user = model.users_.rows(test.users.ids, unknown="mark").to(model.seen_.device)
    item = model.items_.rows(test.items.ids, unknown="mark").to(model.seen_.device)
    pairs = test.pairs.to(model.seen_.device)
    query, candidate = user[pairs.queries], item[pairs.candidates]
    both = (query >= 0) & (candidate >= 0)
    return int(model.seen_.contains(query[both], candidate[both]).sum())


def _warn_of_seen(model: Recommender, test: Interactions) -> None:
    seen = seen_pairs(model, test)
    if seen:
        warnings.warn(
            f"{seen} of {len(test.pairs)} test pairs are in the training log of this "
            f"{type(model).__name__} and can only be missed; let seen items be recommended again "
            "with exclude_seen=False (--include-seen)",
            stacklevel=4,
        )


def check_same_history(models: Mapping[str, Recommender], test: Interactions) -> None:
    """Refuses models that have seen different shares of the test pairs.

    What a model has seen it leaves out, so the one that saw more would lose by that alone.

    Raises:
        ValueError: If the counts of seen test pairs differ.
    """
    seen = {name: seen_pairs(model, test) for name, model in models.items()}
    if len(set(seen.values())) > 1:
        counts = ", ".join(f"{name} {count}" for name, count in seen.items())
        raise ValueError(
            f"these models were fitted on different logs: of {len(test.pairs)} test pairs they "
            f"have seen {counts}; fit them all on the same train part, or compare with "
            "exclude_seen=False (--include-seen)"
        )


def on_common_users(judged: Mapping[str, Judged]) -> dict[str, Judged]:
    """The same, each restricted to the users that all of them have.

    Raises:
        ValueError: If there is none.
    """
    tables = {name: one.rows.cpu() for name, one in judged.items()}
    rows, times = torch.unique(torch.cat(list(tables.values())), return_counts=True)
    rows = rows[times == len(judged)]
    if not len(rows):
        raise ValueError(
            "no user of the test log can be judged on all models; pass unknown='popular', or "
            "compare models that were fitted on the same users"
        )
    return {
        name: one.select(torch.isin(tables[name], rows).to(one.rows.device))
        for name, one in judged.items()
    }


def groups(
    judged: Judged, model: Recommender, test: Interactions, cold_at_most: int, head_share: float
) -> dict[str, Judged]:
    """The judged users and truths of every group."""
    seen, device = model.seen_, judged.rows.device
    user_degree = torch.cat([seen.query_degrees, torch.zeros(1, dtype=torch.long, device=device)])
    cold_user = user_degree[judged.hits.query] <= cold_at_most
    item = model.items_.rows(test.items.ids, unknown="mark").to(device)
    degree = torch.where(item >= 0, seen.candidate_degrees[item.clamp_min(0)], 0)
    cold_item = degree <= cold_at_most
    order = seen.candidate_degrees.sort(descending=True, stable=True).indices
    in_head = torch.zeros(len(order) + 1, dtype=torch.bool, device=device)  # the last: unknown
    in_head[order[: round(head_share * len(order))]] = True
    head_item = in_head[item]
    return {
        "all": judged,
        "warm users": judged.select(~cold_user),
        "cold users": judged.select(cold_user),
        "warm items": _of_items(judged, test, ~cold_item),
        "cold items": _of_items(judged, test, cold_item),
        "head items": _of_items(judged, test, head_item),
        "tail items": _of_items(judged, test, ~head_item),
    }


def _of_items(judged: Judged, test: Interactions, chosen: Bool[Tensor, " n_items"]) -> Judged:
    """Only the chosen items of the test log count as true; only users with one are judged."""
    pairs = test.pairs.to(chosen.device)
    n_truth = torch.zeros(test.n_users, dtype=torch.long, device=chosen.device)
    n_truth.index_add_(0, pairs.queries, chosen[pairs.candidates].long())
    hit = judged.hits.hit & chosen[judged.true_item.clamp_min(0)]
    hits = judged.hits._replace(hit=hit, n_truth=n_truth[judged.rows])
    return judged._replace(hits=hits).select(hits.n_truth > 0)
