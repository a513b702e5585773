"""Values as JSON and as text."""

from __future__ import annotations

import datetime as dt
import json

import numpy as np
import pandas as pd

from hyperrank.rendering import lines, plain, records, table


def test_frames_become_json() -> None:
    frame = pd.DataFrame({"item": [1, 2], "score": np.float32([0.5, np.nan])})
    rows = records(frame)
    assert rows == [{"item": 1, "score": 0.5}, {"item": 2, "score": None}]
    odd = {"day": dt.date(2024, 5, 1), "n": np.int64(3), "inf": float("inf")}
    text = json.dumps({k: plain(v) for k, v in odd.items()}, allow_nan=False)
    assert plain({"a": [np.inf, (1, np.int64(2))], "b": {"c": float("nan")}}) == {
        "a": [None, [1, 2]],
        "b": {"c": None},
    }
    assert json.loads(text) == {"day": "2024-05-01", "n": 3, "inf": None}


def test_tables_align_and_round() -> None:
    rows = [{"metric": "recall@20", "value": 0.123456}, {"metric": "x", "value": 12.3456}]
    assert table(rows).splitlines() == [
        "metric      value",
        "recall@20  0.1235",
        "x           12.35",
    ]
    assert table([]) == "no rows"


def test_lines_show_nested_values() -> None:
    shown = lines({"a": True, "bc": {"x": 1, "y": None}})
    assert shown.splitlines() == ["a   yes", "bc  x 1, y -"]
