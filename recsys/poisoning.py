"""Fake users that push items into the lists of real ones: what a log's training can be fed.

Every fake profile is as long as the history of some real user and holds targets in at most half of
it; kinds differ in the items that fill the rest (Mobasher, Burke, Bhaumik, Williams 2007):

- "random": items drawn evenly;
- "bandwagon": items drawn by how many users they have;
- "segment": items drawn by how often users of the profile's own targets have them;
- "gradient": the items with which a differentiable stand-in for the training brings targets into
  most lists of real users (``recsys.poisoned_ridge``), from a segment on.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hyperrank import sparse
from hyperrank.devices import seeded
from hyperrank.pairs import PairSet, pair_set
from hyperrank.questions import column_of, whole
from hyperrank.ranking import ranks
from hyperrank.retrieval import top_k
from hyperrank.vocabulary import Vocabulary
from recsys.events import Events
from recsys.interactions import Interactions
from recsys.poisoned_ridge import RidgeSurrogate, largest
from recsys.recommender import Recommender

KINDS = ("random", "bandwagon", "segment", "gradient")
FLOOR = 1e-3  # of an item's share of all pairs, so that a segment never runs out of items


class Exposure(NamedTuple):
    """How much of some items users see.

    Attributes:
        hit_rate: Share of (user, target) pairs, targets new to the user, with the target in the
            user's list.
        rank: Mean rank of those targets among the items new to the user, other targets left out.
        pairs: How many such pairs there are.
    """

    hit_rate: float
    rank: float
    pairs: int


def poisoned(
    log: Interactions,
    targets: Any,
    kind: str = "random",
    share: float = 0.01,
    *,
    random_state: int = 0,
) -> Interactions:
    """The log with fake users who push ``targets``; real users and items keep their rows.

    Fake users follow the last real one, as the next integers or as "fake 1", "fake 2", ... . The
    weight and the time of each of their events are those of an event drawn from the log. Memory:
    some dense matrices of fake users by items, of "gradient" some ten.

    Args:
        log: What a model would be trained on.
        targets: Ids of the items to push, known to the log. They are dealt to the profiles in turn.
        kind: How the rest of a profile is filled.
        share: Fake users, as a share of the real ones; at least one.
        random_state: Of all draws.

    Raises:
        ValueError: If ``kind`` or ``share`` is none of these, or there is no target.
        UnknownIdError: If a target is not in the log.
        TypeError: If users are neither integers nor text.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    if not 0 < share <= 1:
        raise ValueError(f"share must be above 0 and at most 1, got {share}")
    wanted = log.items.rows(column_of(targets, "item")).unique()
    if not len(wanted):
        raise ValueError("there is no target; give the ids of the items to push")
    n = max(round(share * log.n_users), 1)
    generator = seeded(random_state)
    fakes = _profiles(log.pairs, wanted, kind, n, generator)
    drawn = torch.randint(len(log), (len(fakes),), generator=generator)
    events = Events(
        fakes.keys + log.n_users * log.n_items,
        *(None if column is None else column[drawn] for column in log.events[1:]),
    )
    grown = replace(log, users=log.users.extend(_fresh_ids(log.users, n)))
    return grown.extend(replace(grown, events=events))


def _profiles(
    pairs: PairSet, targets: Int[Tensor, " t"], kind: str, n: int, generator: torch.Generator
) -> PairSet:
    """Fake users x items."""
    degree = pairs.query_degrees
    like = torch.multinomial((degree > 0).float(), n, replacement=True, generator=generator)
    own = _dealt(degree[like], len(targets))
    weight = _weights(pairs, targets, own, kind)
    # the largest of log weight + Gumbel noise are a draw without replacement (Yellott 1977)
    noise = -torch.empty_like(weight).exponential_(generator=generator).log()
    fillers = largest(weight.log() + noise, degree[like] - own.sum(1))
    if kind == "gradient":
        fillers = RidgeSurrogate.of(pairs, targets, generator).fillers(own, fillers, generator)
    fake, place = torch.nonzero(own, as_tuple=True)
    query, candidate = torch.nonzero(fillers, as_tuple=True)
    return pair_set(
        torch.cat([fake, query]),
        torch.cat([targets[place], candidate]),
        n_queries=n,
        n_candidates=pairs.n_candidates,
    )


def _dealt(length: Int[Tensor, " n"], n_targets: int) -> Bool[Tensor, "n t"]:
    """Which targets each profile holds: half of it at most, one at least, dealt as cards are."""
    count = (length // 2).clamp(1, n_targets)
    first = count.cumsum(0) - count
    return (torch.arange(n_targets) - first[:, None]) % n_targets < count[:, None]


def _weights(
    pairs: PairSet, targets: Int[Tensor, " t"], own: Bool[Tensor, "n t"], kind: str
) -> Float[Tensor, "n items"]:
    """How likely each item fills each profile; targets never do."""
    if kind == "random":
        weight = torch.ones(len(own), pairs.n_candidates)
    else:
        weight = (pairs.candidate_degrees / len(pairs)).expand(len(own), -1)
    if kind in ("segment", "gradient"):
        matrix = sparse.from_pairs(pairs)
        assert matrix.T is not None
        chosen = torch.zeros(pairs.n_candidates, len(targets))
        chosen[targets, torch.arange(len(targets))] = 1
        together = matrix.T @ (matrix @ chosen)
        together /= pairs.candidate_degrees[targets].clamp_min(1)
        weight = own.float() @ together.T + FLOOR * weight
    return weight.index_fill(1, targets, 0)


def _fresh_ids(users: Vocabulary, n: int) -> Any:
    """As many ids of the same kind that are not in use."""
    if users.kind == "integer":
        return int(users.ids.max()) + 1 + np.arange(n)
    if users.kind == "text":
        known = set(users.ids.tolist())
        names = (f"fake {i}" for i in range(1, n + len(known) + 1))
        return np.array([name for name in names if name not in known][:n], dtype=object)
    raise TypeError(f"fake users need ids that are integers or text, these are {users.kind}")


def target_exposure(model: Recommender, targets: Any, users: Any = None, k: int = 10) -> Exposure:
    """How often ``targets`` are in the lists of ``users`` who do not know them, and their ranks.

    Lists are of ``k`` items, training items left out. Of a model that was trained on a poisoned
    log, ``users`` should be those of the log before.

    Raises:
        ValueError: If all users know all targets, or ``k`` is less than 1.
        UnknownIdError: If a user or a target is unknown to the model.
        NotFittedError: Before ``fit``.
    """
    scorer = model._fitted("scorer_")
    seen: PairSet = model.seen_
    item = model.items_.rows(column_of(targets, "item")).unique().to(seen.device)
    asked = torch.arange(len(model.users_)) if users is None else model.users_.rows(users)
    asked = asked.unique().to(seen.device)
    crossed = asked[:, None] * seen.n_candidates + item
    truth = PairSet(crossed.flatten(), seen.n_queries, seen.n_candidates).difference(seen)
    if not len(truth):
        raise ValueError(f"all {len(asked)} users know all {len(item)} targets; nobody is exposed")
    best = top_k(scorer, asked, min(whole("k", k), seen.n_candidates), known=seen).candidates
    hits = truth.contains(asked[:, None].expand_as(best), best.clamp_min(0)) & (best >= 0)
    rank = ranks(scorer.score, truth, seen).mean()
    return Exposure(int(hits.sum()) / len(truth), float(rank), len(truth))
