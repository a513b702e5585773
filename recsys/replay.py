"""The price list of freshness: one log, walked through real time by several policies.

At each slice every policy answers for the users who come in it, from what came before it; then the
slice is revealed. Prequential evaluation: nothing of a slice, nor of what follows, reaches an
answer in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm import tqdm

from hyperrank.metrics import Hits, ndcg
from hyperrank.pairs import PairSet
from hyperrank.questions import whole
from hyperrank.retrieval import top_k
from hyperrank.scorers import Constant
from recsys.interactions import Interactions
from recsys.policies import Opened, check_policies, first_states, opened
from recsys.recommender import Recommender
from recsys.replay_folder import ReplayFolder
from recsys.tally import Tally, Walked
from recsys.timeline import Every, Timeline, timeline

DEFAULT_POLICIES = ("none", "popularity", "update", "refit")


@dataclass(frozen=True)
class Replayed:
    """What a replay found.

    Attributes:
        slices: A frame with a row for each slice and policy: slice (from 1), opening, policy,
            users (who were answered), pairs (that they took), ndcg@k (the mean over these users,
            NaN without one), coverage@k (share of the items known so far in any list of the
            slice), action ("keep", "update", "refit", "update+refit"), seconds (of the action),
            age and age_events (time, in seconds, and events that had gone by since the state was
            made, the mean over the slice's events; time is in the log's own unit where that is not
            known), unknown_users and unknown_items (shares of the pairs whose user, or whose item,
            the state did not know).
        summary: A frame with a row for each policy: ndcg@k is the mean over all answers, with a
            95% bootstrap interval (low, high) over users, each drawn with all answers; gain is
            what it has above the first policy, gain_low and gain_high bound it by the same draws.
            coverage@k is that of all lists together, over the items known at the last slice;
            actions counts those other than "keep", refits the fits among them; seconds adds them
            up and median_seconds is of one; the others are means over answers (age) and over pairs
            (unknown).
        fit_seconds: Of the one fit before the start that all policies share.
        k: Length of the lists.
        dates: Whether openings are dates and ages are seconds.
    """

    slices: Any
    summary: Any
    fit_seconds: float
    k: int
    dates: bool


class Answers(NamedTuple):
    """Lists for the users of a slice."""

    users: Int[Tensor, " q"]  # rows of the timeline's log, rising
    listed: Int[Tensor, "q k"]  # rows of items, -1 where a list has ended
    ndcg: Float[Tensor, " q"]


def replay(  # noqa: PLR0913 - each with a default, and by name
    log: Interactions,
    model: Recommender,
    *,
    start: Any = 0.8,
    every: Every = "1d",
    policies: Sequence[str] = DEFAULT_POLICIES,
    k: int = 10,
    refit_every: int = 1,
    out: str | PathLike[str] | None = None,
    resume: bool = False,
    progress: bool = False,
) -> Replayed:
    """How good the lists of each policy are as time goes by, and what the policy costs.

    True are the pairs that a slice brings for the first time, for all policies alike: items that a
    state does not know are missed, users it does not know get its most popular items. Of no list
    are the pairs from before the slice, whether or not the state has seen them.

    Args:
        log: With times.
        model: Its parameters are used; it need not be fitted and is not changed.
        start: Of the first slice, as for ``timeline``.
        every: Length of a slice, as for ``timeline``.
        policies: Of "none" (never touched again), "popularity", "update" (``partial_fit``),
            "sweep" (the same with two sweeps),
            "refit", and "update+refit" (``partial_fit``, and a fit where its report says so); all
            act at the opening of a slice. The first is what the others are compared with.
        k: Length of the lists.
        refit_every: After how many slices "refit" fits.
        out: Folder that takes a Parquet file of every slice as it is done: policy, user, NDCG and
            the items listed. It also keeps the models until the end, for ``resume``.
        resume: Whether to go on in ``out`` where an interrupted call of the same settings stopped.
        progress: Whether to show a bar on stderr.

    Raises:
        ValueError: As ``timeline`` and ``check_policies``, if no slice holds a new pair, or ``out``
            belongs to another replay.
        TypeError: If a policy updates and the model cannot.
        FileExistsError: If ``out`` exists and ``resume`` is False.
        TimeoutError: If another process writes ``out``.
    """
    k, refit_every = whole("k", k), whole("refit_every", refit_every)
    names = check_policies(policies, model)
    line = timeline(log, start, every)
    if not bool((line.pair_slice > 0).any()):
        raise ValueError(
            f"no user takes anything new from {start} on, so there is nothing to predict; start "
            "earlier"
        )
    tally = Tally(names, line, k)
    with ExitStack() as stack:
        folder = None
        if out is not None:
            settings = {"k": k, "refit_every": refit_every, "policies": names}
            folder = ReplayFolder(Path(out), line, settings, model)
            stack.enter_context(folder.opened(resume))
        walk = _walk(line, model, names, tally, refit_every, folder)
        total = len(line) * len(names)
        for _ in tqdm(walk, desc="replay", total=total, disable=not progress, leave=False):
            pass
    return Replayed(tally.slices(), tally.summary(), tally.fit_seconds, k, line.dates)


def _walk(
    line: Timeline,
    model: Recommender,
    names: list[str],
    tally: Tally,
    refit_every: int,
    folder: ReplayFolder | None,
) -> Iterator[None]:
    """Answers and records slice by slice; yields after each policy of each slice."""
    done = 0
    states = None
    for past in folder.walked() if folder else ():
        for _ in names:
            yield
        tally.add(past)
        done, states = past.number, past
    if done == len(line):
        return
    if folder and states:
        current, seconds = folder.states(states), tally.fit_seconds
    else:
        current, seconds = first_states(names, model, line)
    for number in range(done + 1, len(line) + 1):
        known, new = line.known(number), line.new(number)
        rows, answered = [], []
        for name in names:
            step = Opened(current[name], "keep", 0.0)
            if number > 1:
                step = opened(name, current[name], line, number, refit_every)
            current[name] = step.state
            answered.append(answers(step.state.model, known, new, tally.k))
            rows.append(facts(name, step, answered[-1], line, number))
            yield
        walked = Walked(
            number,
            rows,
            answered[0].users,
            torch.stack([one.ndcg for one in answered]),
            torch.stack([one.listed for one in answered]),
            {name: (state.name, state.made) for name, state in current.items()},
            seconds,
        )
        if folder:
            folder.add(walked, current)
        tally.add(walked)


@torch.no_grad()
def answers(model: Recommender, known: PairSet, new: PairSet, k: int) -> Answers:
    """Lists of the ``k`` best items for every user of ``new``, none of them ``known``.

    The model numbers users and items as the sets do, as far as it knows them.
    """
    device, n_users, n_items = model.seen_.device, len(model.users_), len(model.items_)
    users = new.query_degrees.nonzero().squeeze(1)
    listed = torch.full((len(users), k), -1)
    popular = Constant(model.seen_.candidate_degrees.float())
    ways: tuple[tuple[Tensor, Any], ...] = (
        (users < n_users, model.scorer_),
        (users >= n_users, popular),
    )
    for there, scorer in ways:
        asked = users[there]
        mask = _among(known, asked, n_items).to(device)
        listed[there] = top_k(scorer, asked.to(device), k, known=mask).candidates.cpu()
    hit = new.contains(users[:, None].expand_as(listed), listed.clamp_min(0)) & (listed >= 0)
    return Answers(users, listed, ndcg(Hits(users, listed, hit, new.query_degrees[users]), k))


def _among(known: PairSet, users: Int[Tensor, " q"], n_items: int) -> PairSet:
    """The known pairs of these rising users and of the first so many items."""
    position, item = known.rows(users)
    there = item < n_items
    keys = users[position[there]] * n_items + item[there]
    return PairSet(keys, known.n_queries, n_items)


def facts(name: str, step: Opened, found: Answers, line: Timeline, number: int) -> dict[str, Any]:
    """The row of a policy in a slice."""
    model, new = step.state.model, line.new(number)
    age, age_events = line.age(number, step.state.made)
    k = found.listed.shape[1]
    distinct = torch.unique(found.listed[found.listed >= 0])
    return {
        "slice": number,
        "opening": line.opening(number),
        "policy": name,
        "users": len(found.users),
        "pairs": len(new),
        f"ndcg@{k}": float(found.ndcg.mean()),
        f"coverage@{k}": len(distinct) / line.n_items(number),
        "action": step.action,
        "seconds": step.seconds,
        "age": age,
        "age_events": age_events,
        "unknown_users": float((new.queries >= len(model.users_)).double().mean()),
        "unknown_items": float((new.candidates >= len(model.items_)).double().mean()),
    }
