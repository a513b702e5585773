"""What a log of interactions holds, in numbers."""

from __future__ import annotations

import datetime as dt
from typing import Any

from torch import Tensor

from recsys.interactions import Interactions

QUANTILES = {"least": 0.0, "quarter": 0.25, "median": 0.5, "three_quarters": 0.75, "most": 1.0}


def summary(log: Interactions) -> dict[str, Any]:
    """Counts, density, degrees, concentration, weights and times of a log.

    ``top_tenth`` is the share of pairs that fall on the most popular tenth of the items.
    """
    pairs = log.pairs
    cells = log.n_users * log.n_items
    by_item = pairs.candidate_degrees.sort(descending=True).values
    tenth = by_item[: max(1, -(-log.n_items // 10))]
    found: dict[str, Any] = {
        "users": log.n_users,
        "items": log.n_items,
        "events": len(log),
        "pairs": len(pairs),
        "repeated_events": len(log) - len(pairs),
        "density": len(pairs) / cells if cells else 0.0,
        "items_per_user": _quantiles(pairs.query_degrees),
        "users_per_item": _quantiles(by_item),
        "users_with_one_item": int((pairs.query_degrees == 1).sum()),
        "items_with_one_user": int((by_item == 1).sum()),
        "top_tenth": int(tenth.sum()) / max(len(pairs), 1),
    }
    if log.events.weight is not None:
        found["weights"] = _quantiles(log.events.weight)
    if log.events.time is not None:
        first, last = log.events.time.min(), log.events.time.max()
        found["times"] = {
            "first": _moment(first, log.time_unit),
            "last": _moment(last, log.time_unit),
            "distinct": len(log.events.time.unique()),
        }
    return found


def _quantiles(column: Tensor) -> dict[str, float]:
    ordered = column.sort().values
    spots = {name: round(share * (len(ordered) - 1)) for name, share in QUANTILES.items()}
    return {name: float(ordered[spot]) for name, spot in spots.items()} if len(ordered) else {}


def _moment(time: Tensor, unit: str | None) -> int | float | str:
    """A date where the times were dates, else the number as it stands."""
    number = float(time) if time.is_floating_point() else int(time)
    if unit != "us":
        return number
    return (dt.datetime(1970, 1, 1) + dt.timedelta(microseconds=number)).isoformat(sep=" ")
