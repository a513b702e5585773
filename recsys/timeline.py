"""A log in order of time, cut into the slices that a replay walks."""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from hyperrank.pairs import PairSet
from hyperrank.vocabulary import Vocabulary
from recsys.interactions import Interactions
from recsys.splits import moment_of

SECONDS = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}
LATEST = 253_402_300_799  # Unix second of the end of the year 9999, the last date there is

Every = str | int | dt.timedelta


@dataclass(frozen=True, eq=False)
class Timeline:
    """What was known at the opening of each slice, and what the slice brought.

    Users and items are numbered in the order of their first events, so what is known at a moment
    is the first so many rows, and no number tells of what came later.

    Attributes:
        log: The log on these numbers.
        event_slice: The slice of each event, from 1; 0 is what came before the first.
        pair_slice: That of the first event of each pair.
        starts: Opening of each slice, in the log's own unit; that of 0 is its first event.
        dates: Whether times are dates; else they are numbers of which nothing is known.
    """

    log: Interactions
    event_slice: Int[Tensor, " n"]
    pair_slice: Int[Tensor, " n_pairs"]
    starts: np.ndarray
    dates: bool

    def __len__(self) -> int:
        """How many slices there are; each holds events."""
        return len(self.starts) - 1

    def between(self, first: int, end: int) -> Interactions:
        """The events from the opening of slice ``first`` to that of slice ``end``."""
        return self.log.select((self.event_slice >= first) & (self.event_slice < end))

    def known(self, number: int) -> PairSet:
        """The pairs from before a slice."""
        return self.log.pairs.select(self.pair_slice < number)

    def new(self, number: int) -> PairSet:
        """The pairs whose first event is in a slice."""
        return self.log.pairs.select(self.pair_slice == number)

    def n_items(self, number: int) -> int:
        """Items met before a slice."""
        return int(self.known(number).candidates.max()) + 1

    @cached_property
    def _ends(self) -> np.ndarray:
        """How many events there were at the end of each slice."""
        counts: np.ndarray = np.bincount(self.event_slice.numpy()).cumsum()
        return counts

    def age(self, number: int, made: int) -> tuple[float, float]:
        """Mean time and mean events from the opening of slice ``made`` to an event of ``number``.

        Time is in seconds, or in the log's own unit where that is not known.
        """
        assert self.log.events.time is not None
        moments = self.log.events.time[self.event_slice == number].numpy() - self.starts[made]
        place = (self._ends[number - 1] + self._ends[number] - 1) / 2
        since = float(place - self._ends[made - 1])
        return float(moments.mean()) / self._unit, since

    @property
    def _unit(self) -> int:
        return 1_000_000 if self.log.time_unit else 1

    def opening(self, number: int) -> Any:
        """When a slice begins: a NumPy datetime, or a number where nothing is known of times."""
        moment = self.starts[number]
        return (
            np.datetime64(int(moment * (1_000_000 // self._unit)), "us") if self.dates else moment
        )

    @cached_property
    def digest(self) -> str:
        """SHA-256 of ids and events, on the slices."""
        log = self.log
        seal = hashlib.sha256(f"{log.users.digest} {log.items.digest} {log.repeated}".encode())
        for column in (*log.events, self.event_slice):
            if column is not None:
                seal.update(column.numpy().tobytes())
        return seal.hexdigest()


def timeline(log: Interactions, start: Any, every: Every) -> Timeline:
    """The log from ``start`` on in slices; slices without an event are passed over.

    Args:
        log: With times.
        start: Of the first slice: a share of the events, a moment in the log's own unit, a date,
            a datetime or ISO text, as for ``splits.by_time``.
        every: A length of time, such as "1d", "12h", "30m", "1w" or a timedelta; times that are
            plain numbers then mean Unix seconds. Or a number of events: such slices end at the
            first change of the time after so many.

    Raises:
        ValueError: If the log has no times, nothing is before or after ``start``, there are fewer
            than two slices, ``every`` is not understood, or times are no Unix seconds where they
            must be.
        TypeError: If ``start`` is no moment.
    """
    length, count = _length(every)
    first = _checked_start(log, start)
    log = log.select(torch.ones(len(log), dtype=torch.bool))
    time = log.events.time
    assert time is not None
    user, item = (rows.numpy() for rows in log._rows())
    log = log.reindex(_by_first(log.users, user, time), _by_first(log.items, item, time))
    assert log.events.time is not None
    assert log.time is not None
    moments = log.events.time.numpy()
    late = np.sort(moments[moments >= first])
    if length is None:
        edges = _edges_by_count(late, count)
    else:
        if log.time_unit is None and not abs(late[-1]) <= LATEST:
            raise ValueError(
                f"times run to {late[-1]}, which is no Unix second; make the column dates, or "
                "give every as a number of events"
            )
        step = int(length.total_seconds()) * (1_000_000 if log.time_unit else 1)
        edges = first + np.unique((late - first) // step) * step
    if len(edges) < 2:
        raise ValueError(
            f"every {every} makes one slice of the {len(late)} events from the start on, so "
            "nothing would ever be taken in; give a shorter time or fewer events"
        )
    event_slice, pair_slice = (
        torch.from_numpy(np.searchsorted(edges, times.numpy(), side="right"))
        for times in (log.events.time, log.time)
    )
    starts = np.concatenate([[moments.min()], edges])
    dates = bool(log.time_unit) or length is not None
    return Timeline(log, event_slice, pair_slice, starts, dates)


def _length(every: Every) -> tuple[dt.timedelta | None, int]:
    """A length of time, or None and a number of events."""
    found: dt.timedelta | None = None
    count = 0
    if isinstance(every, dt.timedelta):
        found = every
    elif matched := re.fullmatch(r"\s*(\d+)\s*([mhdw]?)\s*", str(every).lower()):
        count, unit = int(matched[1]), matched[2]
        found = dt.timedelta(seconds=count * SECONDS[unit]) if unit else None
    if count < 1 and (found is None or found < dt.timedelta(seconds=1)):
        raise ValueError(
            "every must be a length of time such as 30m, 12h, 1d or 1w, or a number of events such "
            f"as 500, got {every!r}"
        )
    return found, count


def _checked_start(log: Interactions, start: Any) -> Any:
    try:
        first = moment_of(log, start)
    except ValueError as error:
        raise ValueError(f"cannot start at {start!r}: {error}") from None
    assert log.events.time is not None
    time = log.events.time.numpy()
    for side, there in (("before", time < first), ("from then on", time >= first)):
        if not there.any():
            ends = [time.min(), time.max()]
            low, high = (np.datetime64(int(t), "us") if log.time_unit else t for t in ends)
            raise ValueError(
                f"a start at {start} leaves no event {side}: times run from {low} to {high}; "
                "choose one inside"
            )
    return first


def _by_first(ids: Vocabulary, row: np.ndarray, time: Tensor) -> Vocabulary:
    """The ids by the time of their first event, among equal ones by their text."""
    import pandas as pd

    first = pd.Series(time.numpy()).groupby(row).min().tolist()
    named = ids.ids.tolist()
    order = sorted(range(len(ids)), key=lambda one: (first[one], str(named[one])))
    return ids.select(np.array(order))


def _edges_by_count(late: np.ndarray, count: int) -> np.ndarray:
    """The first time of each slice of ``count`` events or a few more; ``late`` rises."""
    edges, place = [], 0
    while place < len(late):
        edges.append(late[place])
        last = min(place + count, len(late)) - 1
        place = int(np.searchsorted(late, late[last], side="right"))
    return np.array(edges)
