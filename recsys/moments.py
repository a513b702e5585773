"""Times that are plain numbers, as moments: since 1970, in the unit that their size tells."""

from __future__ import annotations

import datetime as dt
import math

import numpy as np

from hyperrank.identifiers import Array

# Of today's moments each unit has three digits more; from 1e8 on (March 1973 in seconds) a number
# is taken for a moment, and each band of three digits for a unit. Smaller ones count anything.
FIRST = 1e8
UNITS = {"seconds": 1.0, "milliseconds": 1e3, "microseconds": 1e6, "nanoseconds": 1e9}


def unit_of(size: float) -> str | None:
    """Unit in which a number of this size is a moment between 1973 and 5138; None below 1e8."""
    if not size >= FIRST:
        return None
    band = int(math.log10(size / FIRST) // 3)
    return list(UNITS)[min(band, len(UNITS) - 1)]


def ahead_of(times: Array, limit: dt.datetime) -> tuple[list[int], str | None]:
    """Rows of finite times after ``limit``, and the unit, which the size of the median tells."""
    finite = np.isfinite(times)
    unit = unit_of(float(np.median(np.abs(times[finite])))) if finite.any() else None
    if unit is None:
        return [], None
    return np.flatnonzero(finite & (times > limit.timestamp() * UNITS[unit])).tolist(), unit
