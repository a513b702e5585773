"""Late events: counted, left out, refused; kinds of times that do not go together."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from recsys import Interactions
from recsys.lateness import timely


def log(*times: Any) -> Interactions:
    frame = pd.DataFrame({"user": [f"u{n}" for n in range(len(times))], "item": "tea"})
    return Interactions.from_frame(frame.assign(at=list(times)), time="at")


def test_late_events_are_taken_with_a_warning() -> None:
    news = log(5, 19, 20, 30)
    with pytest.warns(UserWarning, match="2 of 4 events are older than the latest of the batches"):
        found = timely(news, [20.0, None])
    assert found.log is news
    assert (found.late, found.latest) == (2, [30.0, None])


def test_late_events_are_left_out() -> None:
    found = timely(log(5, 19, 20, 30), [20.0, None], "skip")
    assert found.log is not None
    assert sorted(found.log.users.ids) == ["u2", "u3"]
    assert (found.late, found.latest) == (2, [30.0, None])
    assert timely(log(5), [20.0, None], "skip") == (None, 1, [20.0, None])


def test_late_events_are_refused() -> None:
    message = r"1 of 2 events are older than .* before; choose --late take or skip, or leave them"
    with pytest.raises(ValueError, match=message):
        timely(log(5, 30), [20.0, None], "fail")
    assert timely(log(20, 30), [20.0, None], "fail").late == 0


def test_without_times_nothing_is_late() -> None:
    news = Interactions.from_frame(pd.DataFrame({"user": ["a"], "item": ["b"]}))
    assert timely(news, [20.0, None], "fail") == (news, 0, [20.0, None])
    assert timely(log(7), None, "fail")[1:] == (0, [7.0, None])


def test_times_of_another_kind() -> None:
    seconds, millis = 1_700_000_000, 1_700_000_000_000
    for now, before, message in (
        (pd.Timestamp("2024-01-01"), [20.0, None], "are dates here and were plain numbers before"),
        (20, [1e15, "us"], "are plain numbers here and were dates before; convert them to one"),
        (millis, [seconds, None], "are milliseconds here and were seconds before; convert them"),
    ):
        with pytest.raises(ValueError, match=f"times {message}"):
            timely(log(now), before)
    assert timely(log(seconds), [20.0, None]).latest == [seconds, None]
