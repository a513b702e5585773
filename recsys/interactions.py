"""Interactions: who met what, how strongly and when, on vocabularies of users and items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from os import PathLike
from typing import Any, Self

import numpy as np
import scipy.sparse
import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from hyperrank import tables
from hyperrank.pairs import PairSet
from hyperrank.vocabulary import Vocabulary
from recsys.events import (
    Events,
    check_same_columns,
    core,
    pair_weights,
    run_starts,
    sorted_events,
)
from recsys.intake import Gathered, Roles, gather_files, gather_frame, pair_keys
from recsys.measures import check_weights

REPEATED = ("sum", "last", "first", "max", "mean", "count")


@dataclass(frozen=True, eq=False, repr=False)
class Interactions:
    """A log of interactions between users and items.

    Costs 8 bytes an event, 4 more for weights, 8 more for times, beside the vocabularies; loading
    takes three to four times that for a moment.

    Attributes:
        users: The user of each row number.
        items: The item of each row number.
        events: Every interaction.
        repeated: How several weights of one pair become one: "sum", "last", "first" (by time, then
            by the order in which they came), "max", "mean", or "count" (how many there were).
        backend: The kind of frame that the log came from: "pandas", "polars" or "pyarrow".
        time_unit: "us" where the times were dates or datetimes: microseconds since 1970 in UTC.
            None where they are numbers in the caller's own unit, or absent.
        dropped: Events that ``reindex`` left out because an id was unknown.
    """

    users: Vocabulary
    items: Vocabulary
    events: Events
    repeated: str = "sum"
    backend: str = "pandas"
    time_unit: str | None = None
    dropped: int = 0

    def __len__(self) -> int:
        return len(self.events.keys)

    def __repr__(self) -> str:
        fields = [f"{len(self)} events", f"{len(self.pairs)} pairs"]
        fields += [f"{self.n_users} users", f"{self.n_items} items"]
        fields += [name for name in ("weight", "time") if getattr(self.events, name) is not None]
        return f"Interactions({', '.join(fields)})"

    @property
    def n_users(self) -> int:
        """Users, those without any event included."""
        return len(self.users)

    @property
    def n_items(self) -> int:
        """Items, those without any event included."""
        return len(self.items)

    @cached_property
    def _firsts(self) -> Int[Tensor, " n_pairs"]:
        """Position of the first event of each pair."""
        return torch.from_numpy(np.flatnonzero(run_starts(self.events.keys.numpy())))

    @cached_property
    def pairs(self) -> PairSet:
        """The distinct pairs of user (query) and item (candidate)."""
        keys = self.events.keys
        if len(self._firsts) < len(keys):
            keys = keys[self._firsts]
        return PairSet(keys, self.n_users, self.n_items)

    @cached_property
    def counts(self) -> Int[Tensor, " n_pairs"]:
        """Events of each pair."""
        return torch.diff(self._firsts, append=torch.tensor([len(self)]))

    @cached_property
    def weight(self) -> Float[Tensor, " n_pairs"] | None:
        """Weight of each pair by the rule ``repeated``; None without weights, unless "count"."""
        return pair_weights(self.events, self._firsts, self.repeated)

    @cached_property
    def time(self) -> Shaped[Tensor, " n_pairs"] | None:
        """Time of the first event of each pair; None without times."""
        return None if self.events.time is None else self.events.time[self._firsts]

    @classmethod
    def from_frame(
        cls,
        frame: Any,
        user: str = "user",
        item: str = "item",
        time: str | None = None,
        weight: str | None = None,
        repeated: str = "sum",
    ) -> Self:
        """The log in a pandas, polars or Arrow table, or any frame that narwhals knows.

        Ids become rows in order of first appearance. Each row of the frame is an event.

        Raises:
            ValueError: If a column is missing or doubled, there is no row, an id, weight or time
                is missing, or a weight is negative or infinite.
            TypeError: If the frame is no frame, ids mix kinds, or weights or times are no numbers.
        """
        _check_rule(repeated)
        gathered, backend = gather_frame(frame, Roles(user, item, time, weight))
        return cls._of(gathered, repeated=repeated, backend=backend)

    @classmethod
    def read(
        cls,
        path: str | PathLike[str] | Sequence[str | PathLike[str]],
        user: str = "user",
        item: str = "item",
        time: str | None = None,
        weight: str | None = None,
        repeated: str = "sum",
        like: tuple[Vocabulary, Vocabulary] | None = None,
    ) -> Self:
        """The log in a file, a folder of files or a list of files, read in blocks.

        The files may be larger than memory: an event costs 8 bytes while reading, 4 more with a
        weight, 8 more with a time, and three to four times that for a moment at the end.

        CSV and TSV do not say whether 7 is a number. Their ids become integers where all of them
        are written so, else text, unless ``like`` gives the users and the items of another log or
        of a model: then they become ids of the same kinds, and the two logs match.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: As ``from_frame``, or if the suffix is unknown or the file is damaged.
            TypeError: As ``from_frame``.
        """
        _check_rule(repeated)
        gathered = gather_files(path, Roles(user, item, time, weight), like=like)
        return cls._of(gathered, repeated=repeated)

    @classmethod
    def from_matrix(cls, matrix: Any, users: Any = None, items: Any = None) -> Self:
        """The log in a SciPy sparse matrix, users x items, whose entries are the weights.

        A stored zero is no interaction. A boolean matrix has no weights. Every row and column
        becomes a user and an item, empty ones too; ids are 0, 1, ... unless given.

        Raises:
            TypeError: If the matrix is not sparse.
            ValueError: If it is not two-dimensional, ids do not match its shape, or a weight is
                NaN, infinite or negative.
        """
        if not scipy.sparse.issparse(matrix):
            raise TypeError(
                f"expected a SciPy sparse matrix, got {type(matrix).__name__}; "
                "wrap it with scipy.sparse.csr_array"
            )
        if matrix.ndim != 2:
            raise ValueError(f"expected users x items, got shape {matrix.shape}")
        entries = matrix.tocoo()
        weight = None
        if entries.data.dtype != np.bool_:
            if entries.data.dtype.kind not in "iuf":
                raise TypeError(f"matrix entries are {entries.data.dtype}, expected real numbers")
            weight = check_weights(entries.data, "the matrix")
        kept = entries.data != 0
        if weight is not None:
            weight = weight[kept]
        user_rows, item_rows = (axis[kept] for axis in entries.coords)
        known_users = _numbered(users, matrix.shape[0], "users")
        known_items = _numbered(items, matrix.shape[1], "items")
        keys = pair_keys(user_rows, item_rows, *matrix.shape)
        return cls._of(Gathered(known_users, known_items, keys, weight, None, None))

    @classmethod
    def from_pairs(cls, pairs: PairSet, users: Any = None, items: Any = None) -> Self:
        """The log with one event per pair; ids are 0, 1, ... unless given.

        Raises:
            ValueError: If there are not as many ids as rows.
        """
        users = _numbered(users, pairs.n_queries, "users")
        items = _numbered(items, pairs.n_candidates, "items")
        return cls(users, items, Events(pairs.keys.cpu(), None, None))

    @classmethod
    def _of(cls, gathered: Gathered, **settings: Any) -> Self:
        users, items, keys, weight, time, unit = gathered
        events = sorted_events(keys, weight, time)
        return cls(users, items, events, time_unit=unit, **settings)

    def _rows(self) -> tuple[Int[Tensor, " n"], Int[Tensor, " n"]]:
        """User row and item row of each event."""
        n_items = max(self.n_items, 1)
        return self.events.keys // n_items, self.events.keys % n_items

    def reindex(self, users: Vocabulary, items: Vocabulary) -> Self:
        """The same events on these vocabularies; ``dropped`` counts those with an unknown id.

        Raises:
            TypeError: If the ids are of another kind.
        """
        if self.users == users and self.items == items:
            return replace(self, users=users, items=items, dropped=0)
        user, item = self._rows()
        user = users.rows(self.users.ids, unknown="mark")[user]
        item = items.rows(self.items.ids, unknown="mark")[item]
        kept = (user >= 0) & (item >= 0)
        keys, weight, time = (
            None if column is None else column[kept].numpy()
            for column in (user * len(items) + item, *self.events[1:])
        )
        assert keys is not None
        events = sorted_events(keys, weight, time)
        dropped = len(self) - len(keys)
        return replace(self, users=users, items=items, events=events, dropped=dropped)

    def select(self, chosen: Bool[Tensor, " n"], *, compact: bool = True) -> Self:
        """The chosen events; ``compact`` leaves out users and items without any event.

        Ids keep their order, so that rows change and their order does not.
        """
        user, item = (rows[chosen] for rows in self._rows())
        users, items = self.users, self.items
        if compact:
            users, user = _compacted(users, user)
            items, item = _compacted(items, item)
        rest = (None if column is None else column[chosen] for column in self.events[1:])
        events = Events(user * max(len(items), 1) + item, *rest)
        return replace(self, users=users, items=items, events=events, dropped=0)

    def k_core(self, user_at_least: int = 5, item_at_least: int = 5) -> Self:
        """The largest part in which every user and every item has at least so many partners.

        Counts distinct pairs, not repeats. Takes as many rounds of linear cost as it needs.

        Raises:
            ValueError: If nothing is left, or a number is below 1.
        """
        if min(user_at_least, item_at_least) < 1:
            raise ValueError(f"expected numbers from 1, got {user_at_least}, {item_at_least}")
        kept = core(self.pairs, user_at_least, item_at_least)
        if not kept.any():
            raise ValueError(
                f"no pair is left of {len(kept)} when every user needs {user_at_least} items "
                f"and every item {item_at_least} users; ask for less"
            )
        return self.select(kept.repeat_interleave(self.counts))

    def extend(self, other: Interactions) -> Self:
        """The events of both logs; ids of this one keep their rows, new ones follow.

        An event in both counts twice, by the rule ``repeated`` of this log.

        Raises:
            TypeError: If ids or times are of other kinds.
            ValueError: If only one of the logs has weights, or times.
        """
        check_same_columns(self.events, other.events)
        if self.time_unit != other.time_unit:
            units = self.time_unit or "plain numbers", other.time_unit or "plain numbers"
            raise TypeError(f"times are {units[0]} here and {units[1]} there; use one type")
        users, items = self.users.extend(other.users.ids), self.items.extend(other.items.ids)
        parts = [log.reindex(users, items).events for log in (self, other)]
        keys, weight, time = (
            None if first is None else torch.cat([first, second]).numpy()
            for first, second in zip(*parts, strict=True)
        )
        assert keys is not None
        events = sorted_events(keys, weight, time)
        return replace(self, users=users, items=items, events=events, dropped=0)

    def to_frame(self, backend: str | None = None) -> Any:
        """One row per event: user, item, and weight and time where the log has them.

        The frame is of the kind that the log came from unless ``backend`` says otherwise.
        """
        user, item = self._rows()
        columns = {"user": self.users.take(user), "item": self.items.take(item)}
        if self.events.weight is not None:
            columns["weight"] = self.events.weight.numpy()
        if self.events.time is not None:
            time = self.events.time.numpy()
            columns["time"] = time if self.time_unit is None else time.view("datetime64[us]")
        return tables.to_backend(columns, backend or self.backend)

    def to_scipy(self) -> scipy.sparse.csr_array:
        """Users x items with the weight of each pair, ones without weights."""
        return self.pairs.to_scipy(self.weight)

    def split_random(
        self, fraction: float = 0.2, random_state: int = 0
    ) -> tuple[Interactions, Interactions]:
        """Train and test: a share of each user's pairs is held out, see ``splits.random``."""
        from recsys import splits

        return splits.random(self, fraction, random_state)

    def split_leave_last(
        self, n: int = 1, *, repeats: str = "drop"
    ) -> tuple[Interactions, Interactions]:
        """Train and test: the latest of each user are held out, see ``splits.leave_last``."""
        from recsys import splits

        return splits.leave_last(self, n, repeats=repeats)

    def split_by_time(
        self, cut: Any = 0.9, *, repeats: str = "drop"
    ) -> tuple[Interactions, Interactions]:
        """Train and test: before and from one moment on, see ``splits.by_time``."""
        from recsys import splits

        return splits.by_time(self, cut, repeats=repeats)

    def split_users(
        self, fraction: float = 0.2, random_state: int = 0
    ) -> tuple[Interactions, Interactions]:
        """Train and test without a user in common, see ``splits.by_users``."""
        from recsys import splits

        return splits.by_users(self, fraction, random_state)

    def split_items(
        self, fraction: float = 0.2, random_state: int = 0
    ) -> tuple[Interactions, Interactions]:
        """Train and test without an item in common, see ``splits.by_items``."""
        from recsys import splits

        return splits.by_items(self, fraction, random_state)


def _check_rule(repeated: str) -> None:
    if repeated not in REPEATED:
        raise ValueError(f"repeated must be one of {', '.join(REPEATED)}, got {repeated!r}")


def _numbered(ids: Any, count: int, name: str) -> Vocabulary:
    if ids is None:
        return Vocabulary.from_ids(np.arange(count))
    known = ids if isinstance(ids, Vocabulary) else Vocabulary.from_ids(ids)
    if len(known) != count:
        raise ValueError(f"got {len(known)} distinct ids of {name}, expected {count}")
    return known


def _compacted(ids: Vocabulary, rows: Tensor) -> tuple[Vocabulary, Tensor]:
    """The ids in use, and their rows among these."""
    used = torch.zeros(len(ids), dtype=torch.bool)
    used[rows] = True
    if used.all():
        return ids, rows
    return ids.select(used.nonzero().squeeze(1)), (used.cumsum(0) - 1)[rows]
