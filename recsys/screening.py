"""Rows of files that cannot be taken in, told from those that can, by line numbers."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from hyperrank import tables
from hyperrank.identifiers import Array
from hyperrank.rendering import plain
from hyperrank.vocabulary import Vocabulary
from hyperrank.written_ids import integers_written_as, read_ids
from recsys.intake import Roles
from recsys.interactions import Interactions
from recsys.measures import TIME_UNIT
from recsys.moments import ahead_of
from recsys.raw_rows import RawRows, read_fast, read_slowly

OnBad = Literal["fail", "skip", "quarantine"]
SHOWN = 5  # bad rows in a message
IN_JSON = ("text", "integer", "big integer", "float", "boolean")
EXACT = 2.0**53  # whole numbers below it are exact in float64
AHEAD = dt.timedelta(days=1)  # a clock elsewhere may be in another zone


class BadRow(NamedTuple):
    """A row that cannot be taken in."""

    source: str
    line: int  # from 1, the header counted; of Parquet the row
    reason: str
    row: str  # as it stood

    def __str__(self) -> str:
        return f"{self.source}, line {self.line}: {self.reason}"


class Screened(NamedTuple):
    """The good rows as a log, and the others."""

    log: Interactions
    bad: list[BadRow]


@dataclass(frozen=True)
class Screen:
    """What rows are compared with.

    Attributes:
        roles: Which column plays which part.
        users: Says of which kind the ids of users are.
        items: Says of which kind the ids of items are.
        repeated: Rule for repeats of the log.
        now: Times more than a day after this are bad; numbers count as ``moments`` tells.
    """

    roles: Roles
    users: Vocabulary
    items: Vocabulary
    repeated: str
    now: dt.datetime

    def read(self, path: str | Path | Sequence[str | Path], on_bad: OnBad = "fail") -> Screened:
        """The rows of a file, the files of a folder or a list of files.

        Bad is a row that cannot be parsed, lacks an id or has one of another kind, has a weight
        that is no number above 0, or a time that is missing, no time, or in the future.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If a column is missing, no row is good, or one is bad and ``on_bad`` is
                "fail".
        """
        frames, bad = [], []
        for file in tables.files_of(path):
            good, others = self._one(file)
            frames.append(good)
            bad += others
        frame = pd.concat(frames, ignore_index=True)
        if bad and (on_bad == "fail" or not len(frame)):
            raise ValueError(_complaint(bad, len(frame)))
        if not len(frame):
            raise ValueError(f"{path} holds no rows; expected at least one interaction")
        time, weight = (role if role in frame else None for role in ("time", "weight"))
        log = Interactions.from_frame(frame, time=time, weight=weight, repeated=self.repeated)
        return Screened(log, bad)

    def _one(self, file: Path) -> tuple[pd.DataFrame, list[BadRow]]:
        columns = list(dict.fromkeys(self.roles.columns))
        raw = read_fast(file, columns, [self.roles.user, self.roles.item])
        found = None if raw is None else self._checked(raw)
        if raw is None or (found is not None and found[1] and not raw.has_lines):
            raw = read_slowly(file, columns)
            found = self._checked(raw)
        assert found is not None
        frame, reasons = found
        bad = [
            BadRow(file.name, raw.line(row), reason, raw.text(row))
            for row, reason in reasons.items()
        ]
        bad += [BadRow(file.name, *one) for one in raw.unparsed]
        return frame, sorted(bad, key=lambda one: one.line)

    def _checked(self, raw: RawRows) -> tuple[pd.DataFrame, dict[int, str]]:
        """The good rows under the names of their roles, and why others are bad."""
        reasons: dict[int, str] = {}
        columns: dict[str, Any] = {}
        for role, like in (("user", self.users), ("item", self.items)):
            values, wrong = _ids(raw, getattr(self.roles, role), role, like)
            columns[role] = values
            reasons = wrong | reasons
        if self.roles.weight is not None:
            columns["weight"], wrong = _weights(raw.columns[self.roles.weight])
            reasons |= {row: why for row, why in wrong.items() if row not in reasons}
        if self.roles.time is not None:
            columns["time"], wrong = _times(raw.columns[self.roles.time], self.now)
            reasons |= {row: why for row, why in wrong.items() if row not in reasons}
        good = np.ones(len(raw), dtype=bool)
        good[list(reasons)] = False
        return pd.DataFrame({name: column[good] for name, column in columns.items()}), reasons


def _ids(
    raw: RawRows, column: str, role: str, like: Vocabulary
) -> tuple[pd.Series, dict[int, str]]:
    """Ids of the kind in ``like``; those that are not, by row."""
    codes, distinct = pd.factorize(raw.columns[column])
    given = np.asarray(distinct)
    read, wrong = _read_distinct(given, like, raw.is_text)
    reasons = dict.fromkeys(np.flatnonzero(codes < 0).tolist(), f"the {role} is missing")
    for row in np.flatnonzero(np.isin(codes, list(wrong))).tolist():
        reasons[row] = (
            f"{plain(given[codes[row]])!r} cannot be the id of {role}s: {wrong[codes[row]]}"
        )
    return pd.Series(read[codes] if len(read) else np.empty(len(codes), dtype=object)), reasons


def _read_distinct(
    distinct: Array, like: Vocabulary, is_text: bool
) -> tuple[Array, dict[int, str]]:
    """Distinct ids as the kind in ``like``, and why some are not, by position."""
    if like.kind == "empty" or _kind(distinct) in _kinds(like.kind):
        return distinct, {}
    if is_text and like.kind == "integer":
        numbers = integers_written_as(pa.array(distinct, pa.string()))
        if numbers is not None:
            return numbers.to_numpy(zero_copy_only=False), {}
    known = f"those known are of kind {like.kind}, such as {like.ids[:1].tolist()[0]!r}"
    read, wrong = np.empty(len(distinct), dtype=object), {}
    for place, value in enumerate(distinct.tolist()):
        try:
            spelled = isinstance(value, str) and (is_text or like.kind not in IN_JSON)
            fits = read_ids(like, [value])[0] if spelled else value
        except ValueError:
            wrong[place] = known
            continue
        if _kind([fits]) not in _kinds(like.kind):
            wrong[place] = known
        read[place] = fits
    return read, wrong


def _kind(ids: Any) -> str | None:
    """Kind of ids; None where they mix kinds."""
    try:
        return Vocabulary.from_ids(ids).kind
    except TypeError:
        return None


def _kinds(kind: str) -> tuple[str, ...]:
    return ("integer", "big integer") if "integer" in kind else (kind,)


def _weights(given: pd.Series) -> tuple[pd.Series, dict[int, str]]:
    with np.errstate(over="ignore"):
        numbers = pd.to_numeric(given, errors="coerce").to_numpy(np.float64).astype(np.float32)
    bad = ~(np.isfinite(numbers) & (numbers > 0))
    reasons = {}
    for row in np.flatnonzero(bad).tolist():
        why = "is not above 0" if np.isfinite(numbers[row]) else "is no number"
        reasons[row] = f"the weight {_shown(given[row])} {why}"
    return pd.Series(numbers), reasons


def _times(given: pd.Series, now: dt.datetime) -> tuple[pd.Series, dict[int, str]]:
    """Numbers where at least as many rows are numbers as are dates, else datetimes."""
    if given.dtype.kind == "M":
        dates, numbers = given, np.full(len(given), np.nan)
    else:
        numbers = pd.to_numeric(given, errors="coerce").to_numpy(np.float64)
        dates = pd.Series(np.full(len(given), np.datetime64("NaT", "us")))
        if np.isnan(numbers).any():
            texts = given.astype(object)
            parsed = pd.to_datetime(texts, errors="coerce", utc=True, format="ISO8601")
            dates = parsed.dt.tz_localize(None).astype(f"datetime64[{TIME_UNIT}]")
    finite, limit = np.isfinite(numbers), now + AHEAD
    if finite.sum() >= dates.notna().sum():
        reasons = _not_times(given, ~finite)
        rows, unit = ahead_of(numbers, limit)
        for row in rows:
            reasons[row] = f"the time {_shown(given[row])}, in {unit} since 1970, is in the future"
        if given.dtype.kind in "iu":
            return given.astype(np.int64), reasons
        whole = np.where(finite, numbers, 0)
        exact = bool((whole % 1 == 0).all() and (np.abs(whole) < EXACT).all())
        return pd.Series(whole.astype(np.int64) if exact else whole), reasons
    reasons = _not_times(given, dates.isna())
    late = dates > pd.Timestamp(limit).tz_convert("UTC").tz_localize(None)
    for row in np.flatnonzero(late).tolist():
        reasons[row] = f"the time {dates[row]} is in the future"
    return dates, reasons


def _not_times(given: pd.Series, bad: Any) -> dict[int, str]:
    rows = np.flatnonzero(np.asarray(bad)).tolist()
    return {row: f"the time {_shown(given[row])} is none that can be read" for row in rows}


def _shown(value: Any) -> str:
    return "(nothing)" if value is None or pd.isna(value) else repr(value)


def _complaint(bad: list[BadRow], n_good: int) -> str:
    more = f"; and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
    listed = "; ".join(map(str, bad[:SHOWN]))
    if not n_good:
        return f"none of the {len(bad)} rows can be taken in: {listed}{more}"
    return (
        f"{len(bad)} of {len(bad) + n_good} rows cannot be taken in: {listed}{more}; mend them, or "
        "choose --on-bad-rows skip or quarantine"
    )


def quarantine_lines(bad: Sequence[BadRow]) -> str:
    """Bad rows as JSON lines."""
    return "".join(f"{json.dumps(one._asdict(), ensure_ascii=False)}\n" for one in bad)
