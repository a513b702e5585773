"""What a log holds, in numbers."""

from __future__ import annotations

import pandas as pd

from recsys.interactions import Interactions
from recsys.summary import summary

FRAME = pd.DataFrame(
    {
        "user": ["a", "a", "a", "b", "c"],
        "item": [1, 1, 2, 1, 3],
        "weight": [1.0, 2.0, 3.0, 4.0, 5.0],
        "time": pd.to_datetime(
            ["2024-01-01", "2024-01-02", "2024-01-03", "2024-01-03", "2024-02-01"]
        ),
    }
)


def test_counts_and_quantiles() -> None:
    found = summary(Interactions.from_frame(FRAME, weight="weight", time="time"))
    assert {
        key: found[key] for key in ("users", "items", "events", "pairs", "repeated_events")
    } == {
        "users": 3,
        "items": 3,
        "events": 5,
        "pairs": 4,
        "repeated_events": 1,
    }
    assert found["density"] == 4 / 9
    assert found["items_per_user"]["most"] == 2.0
    assert (found["users_with_one_item"], found["items_with_one_user"]) == (2, 2)
    assert found["top_tenth"] == 0.5
    assert found["weights"]["median"] == 3.0
    assert found["times"] == {
        "first": "2024-01-01 00:00:00",
        "last": "2024-02-01 00:00:00",
        "distinct": 4,
    }


def test_what_the_log_lacks_is_left_out() -> None:
    found = summary(Interactions.from_frame(FRAME[["user", "item"]]))
    assert "weights" not in found
    assert "times" not in found


def test_times_without_a_calendar_stay_numbers() -> None:
    log = Interactions.from_frame(FRAME.assign(time=[5, 3, 1, 2, 4]), time="time")
    assert summary(log)["times"] == {"first": 1, "last": 5, "distinct": 5}
