"""Splits of a log into train and test, each of which checks itself for leakage."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any, Literal, NamedTuple, NoReturn

import numpy as np
import torch
from jaxtyping import Bool, Int, Shaped
from torch import Tensor

from recsys.interactions import Interactions


class LeakageError(ValueError):
    """Raised when train knows what test asks."""


class WarmCold(NamedTuple):
    """The events of a test part by what train knows of them; each event is in one part."""

    warm: Interactions  # user and item are in train
    cold_users: Interactions  # the user is not in train
    cold_items: Interactions  # the user is in train, the item is not


def random(
    log: Interactions, fraction: float = 0.2, random_state: int = 0
) -> tuple[Interactions, Interactions]:
    """Train and test: of each user's d distinct pairs, ``round(fraction * d)`` are held out.

    At least one pair of each user stays in train. All repeats of a pair go to the same side. Both
    parts have vocabularies of their own ids only.

    Raises:
        ValueError: If the fraction is not between 0 and 1, or nothing is held out.
    """
    _check_fraction(fraction)
    pairs = log.pairs
    generator = torch.Generator().manual_seed(random_state)
    shuffled = torch.randperm(len(pairs), generator=generator)
    order = shuffled[torch.sort(pairs.queries[shuffled], stable=True).indices]
    degree = pairs.query_degrees
    quota = torch.minimum((fraction * degree).round().long(), (degree - 1).clamp_min(0))
    held = torch.zeros(len(pairs), dtype=torch.bool)
    held[order] = _place_in_run(degree) < quota.repeat_interleave(degree)
    if not held.any():
        raise ValueError(
            f"a fraction of {fraction} holds out nothing: {_pairs_per_user(degree)}; "
            "ask for a larger fraction"
        )
    chosen = held.repeat_interleave(log.counts)
    return _checked(log.select(~chosen), log.select(chosen), "pairs")


def leave_last(
    log: Interactions, n: int = 1, *, repeats: str = "drop"
) -> tuple[Interactions, Interactions]:
    """Train and test: the latest ``n`` pairs of each user are held out.

    With ``repeats="drop"`` a pair counts from its first event: the ``n`` pairs that a user met
    last go to test with all their events, and what the user repeated of older pairs after the
    first held-out event is dropped, so that no pair is in both parts and train never looks past
    test. With "keep" the latest ``n`` events go to test, and a pair may be in both parts. Among
    equal times the item with the higher row (which came later into the log) counts as later. At
    least one pair (event) of each user stays in train.

    Raises:
        ValueError: If the log has no times, ``n`` is below 1, or nothing is held out.
    """
    time = _times(log)
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    _check_repeats(repeats)
    user_of_event = log.events.keys // max(log.n_items, 1)
    if repeats == "keep":
        chosen = _latest(user_of_event, time, log.n_users, n)
        train = ~chosen
    else:
        pairs = log.pairs
        assert log.time is not None
        held = _latest(pairs.queries, log.time, log.n_users, n)
        cut = _by_user(pairs.queries[held], log.time[held], log.n_users, "amin")
        chosen = held.repeat_interleave(log.counts)
        train = ~chosen & (time <= cut[user_of_event])
    if not chosen.any():
        raise ValueError(
            f"leaving out the last {n} holds out nothing: "
            f"{_pairs_per_user(log.pairs.query_degrees)}, and one pair of each stays in train"
        )
    rules: tuple[str, ...] = ("user_time", "pairs") if repeats == "drop" else ("user_time",)
    return _checked(log.select(train), log.select(chosen), *rules)


def by_time(
    log: Interactions, cut: Any = 0.9, *, repeats: str = "drop"
) -> tuple[Interactions, Interactions]:
    """Train and test: the events before a moment, and those from it on.

    A float between 0 and 1 is a share of the events: the cut is the time of the event at that
    place, and all events of its tick go to test, so train may be smaller than asked. Anything else
    is the moment itself: a number in the log's own unit, or a date, datetime or ISO text, which
    for logs with plain numbers as times means Unix seconds. With ``repeats="drop"`` events of
    test whose pair is in train are dropped; with "keep" they stay. Test may hold users and items
    that train does not: see ``warm_and_cold``.

    Raises:
        ValueError: If the log has no times, or train or test would be empty.
        TypeError: If ``cut`` is none of these.
    """
    time = _times(log)
    _check_repeats(repeats)
    moment = moment_of(log, cut)
    late = time >= moment
    low, high = time.min().item(), time.max().item()
    for part, count in (("train", int((~late).sum())), ("test", int(late.sum()))):
        if not count:
            raise ValueError(
                f"a cut at {moment} leaves no event for {part}: times run from {low} to {high}"
                f"{' microseconds since 1970' if log.time_unit else ''}; choose one inside"
            )
    if repeats == "keep":
        return _checked(log.select(~late), log.select(late), "time")
    first = log.time
    assert first is not None
    fresh = late & (first >= moment).repeat_interleave(log.counts)
    if not fresh.any():
        raise ValueError(
            f"every pair from {moment} on is in train too; repeats='keep' keeps such events in test"
        )
    return _checked(log.select(~late), log.select(fresh), "time", "pairs")


def by_users(
    log: Interactions, fraction: float = 0.2, random_state: int = 0
) -> tuple[Interactions, Interactions]:
    """Train and test without a user in common: this fraction of the users is held out whole.

    Raises:
        ValueError: If the fraction is not between 0 and 1, or there are fewer than two users.
    """
    held = _drawn(log.n_users, fraction, random_state, "users")
    chosen = held[log.events.keys // max(log.n_items, 1)]
    return _checked(log.select(~chosen), log.select(chosen), "users")


def by_items(
    log: Interactions, fraction: float = 0.2, random_state: int = 0
) -> tuple[Interactions, Interactions]:
    """Train and test without an item in common: this fraction of the items is held out whole.

    Raises:
        ValueError: If the fraction is not between 0 and 1, or there are fewer than two items.
    """
    held = _drawn(log.n_items, fraction, random_state, "items")
    chosen = held[log.events.keys % max(log.n_items, 1)]
    return _checked(log.select(~chosen), log.select(chosen), "items")


def warm_and_cold(train: Interactions, test: Interactions) -> WarmCold:
    """The events of ``test`` whose user and item train knows, and the others; parts may be empty.

    Raises:
        TypeError: If the ids are of another kind.
    """
    user = test.events.keys // max(test.n_items, 1)
    item = test.events.keys % max(test.n_items, 1)
    known_user = (train.users.rows(test.users.ids, unknown="mark") >= 0)[user]
    known_item = (train.items.rows(test.items.ids, unknown="mark") >= 0)[item]
    return WarmCold(
        test.select(known_user & known_item),
        test.select(~known_user),
        test.select(known_user & ~known_item),
    )


def check_no_leakage(train: Interactions, test: Interactions, by: str = "pairs") -> None:
    """Passes when train tells nothing that test asks, by one rule.

    "pairs": no pair is in both. "time": every event of train is earlier than every one of test.
    "user_time": no event of a user in train is later than one of the same user in test. "users",
    "items": none is in both.

    Raises:
        LeakageError: If it does, with the number of cases and one of them.
        ValueError: If the rule is unknown or needs times that a part lacks.
        TypeError: If the times or ids of the parts are of different kinds.
    """
    if "time" in by and train.time_unit != test.time_unit:
        units = train.time_unit or "plain numbers", test.time_unit or "plain numbers"
        raise TypeError(f"times are {units[0]} in train and {units[1]} in test; use one unit")
    if by == "pairs":
        shared = test.reindex(train.users, train.items).pairs
        both = shared.select(train.pairs.contains(shared.queries, shared.candidates))
        if len(both):
            user = train.users.take(both.queries[:1]).tolist()[0]
            item = train.items.take(both.candidates[:1]).tolist()[0]
            _leak(f"{len(both)} pairs of test are in train too, such as {(user, item)!r}")
    elif by in ("users", "items"):
        ids = getattr(test, by).ids
        shared_ids = ids[(getattr(train, by).rows(ids, unknown="mark") >= 0).numpy()]
        if len(shared_ids):
            shown = shared_ids[:1].tolist()[0]
            _leak(f"{len(shared_ids)} {by} of test are in train too, such as {shown!r}")
    elif by == "time":
        known, first = _times(train), _times(test).min()
        late = int((known >= first).sum())
        if late:
            _leak(f"{late} events of train are not before the first of test, at {first.item()}")
    elif by == "user_time":
        _check_user_time(train, test)
    else:
        raise ValueError(f"by must be pairs, time, user_time, users or items, got {by!r}")


def _check_user_time(train: Interactions, test: Interactions) -> None:
    asked = test.reindex(train.users, test.items)
    train_user = train.events.keys // max(train.n_items, 1)
    test_user = asked.events.keys // max(asked.n_items, 1)
    last = _by_user(train_user, _times(train), train.n_users, "amax")
    first = _by_user(test_user, _times(asked), train.n_users, "amin")
    late = (last > first).nonzero().squeeze(1)
    if len(late):
        user = train.users.take(late[:1]).tolist()[0]
        _leak(f"{len(late)} users have events in train later than some in test, such as {user!r}")


def _leak(message: str) -> NoReturn:
    raise LeakageError(f"{message}; a score on this test would be too good")


def _checked(
    train: Interactions, test: Interactions, *rules: str
) -> tuple[Interactions, Interactions]:
    for rule in rules:
        check_no_leakage(train, test, by=rule)
    return train, test


def _times(log: Interactions) -> Shaped[Tensor, " n"]:
    if log.events.time is None:
        raise ValueError("this log has no times; load it with time='name of the column'")
    return log.events.time


def _check_fraction(fraction: float) -> None:
    if not 0 < fraction < 1:
        raise ValueError(f"fraction must be between 0 and 1, got {fraction}")


def _check_repeats(repeats: str) -> None:
    if repeats not in ("drop", "keep"):
        raise ValueError(f"repeats must be 'drop' or 'keep', got {repeats!r}")


def _pairs_per_user(degree: Int[Tensor, " n_users"]) -> str:
    return f"the {len(degree)} users have at most {int(degree.max())} pairs each"


def _place_in_run(lengths: Int[Tensor, " runs"]) -> Int[Tensor, " n"]:
    """0, 1, 2, ... within each of the runs that follow one another."""
    firsts = lengths.cumsum(0) - lengths
    return torch.arange(int(lengths.sum())) - firsts.repeat_interleave(lengths)


def _latest(
    user: Int[Tensor, " n"], time: Shaped[Tensor, " n"], n_users: int, n: int
) -> Bool[Tensor, " n"]:
    """The latest ``n`` of each user, one less than all at most; among equals the later row."""
    order = torch.from_numpy(np.lexsort((time.numpy(), user.numpy())))
    degree = torch.bincount(user, minlength=n_users)
    quota = torch.minimum(torch.tensor(n), (degree - 1).clamp_min(0))
    chosen = torch.zeros(len(user), dtype=torch.bool)
    chosen[order] = _place_in_run(degree) >= (degree - quota).repeat_interleave(degree)
    return chosen


def _by_user(
    user: Int[Tensor, " n"],
    time: Shaped[Tensor, " n"],
    n_users: int,
    which: Literal["amin", "amax"],
) -> Shaped[Tensor, " n_users"]:
    """First or last time of each user; the far end of the number line for users without any."""
    info = torch.finfo(time.dtype) if time.is_floating_point() else torch.iinfo(time.dtype)
    start = torch.full((n_users,), info.max if which == "amin" else info.min, dtype=time.dtype)
    return start.scatter_reduce(0, user, time, which)


def _drawn(count: int, fraction: float, random_state: int, name: str) -> Bool[Tensor, " n"]:
    _check_fraction(fraction)
    if count < 2:
        raise ValueError(f"cannot hold out some {name} of {count}; at least two are needed")
    generator = torch.Generator().manual_seed(random_state)
    held = torch.zeros(count, dtype=torch.bool)
    number = min(max(round(fraction * count), 1), count - 1)
    held[torch.randperm(count, generator=generator)[:number]] = True
    return held


def moment_of(log: Interactions, cut: Any) -> float | int:
    """The first time that is test, of the type of the log's times; ``cut`` as in ``by_time``.

    Raises:
        ValueError: If the log has no times, or ``cut`` is no date or not finite.
        TypeError: If ``cut`` is no moment of any kind.
    """
    time = _times(log)
    if isinstance(cut, float) and 0 < cut < 1:
        place = min(math.ceil(cut * len(time)), len(time) - 1)
        return time.kthvalue(place + 1).values.item()
    if isinstance(cut, (int, float)) and not isinstance(cut, bool):
        moment = cut
    elif isinstance(cut, (str, dt.date, np.datetime64)):
        moment = _microseconds(cut)
        moment = moment if log.time_unit == "us" else moment / 1_000_000
    else:
        raise TypeError(
            f"cut must be a share between 0 and 1, a time, a date or ISO text, got {cut!r}"
        )
    if not math.isfinite(moment):
        raise ValueError(f"cut must be finite, got {cut}")
    # torch would compare whole numbers with a fraction in float32
    return moment if time.is_floating_point() else math.ceil(moment)


def _microseconds(moment: str | dt.date | np.datetime64) -> int:
    import pandas as pd

    try:
        stamp = pd.Timestamp(moment)
    except ValueError as error:
        raise ValueError(f"cut {moment!r} is no ISO date or time: {error}") from None
    if stamp.tzinfo is not None:
        stamp = stamp.tz_convert("UTC").tz_localize(None)
    return int(stamp.to_datetime64().astype("datetime64[us]").astype(np.int64))
