"""Train and test of a data set by name, and the validation part of its train.

A name is that of a published split, or a log's and a rule: "ml-100k random", a random 20% of each
user's pairs; "ml-100k time", the last 10% of all events. Validation is cut from train in the same
way: 10% of each user's pairs, or the last 10% of the events.
"""

from __future__ import annotations

import data
from recsys import Interactions

Parts = tuple[Interactions, Interactions]


def parts(name: str) -> Parts:
    """Train and test.

    Raises:
        ValueError: If the rule is none of the two.
    """
    log, _, rule = name.partition(" ")
    if not rule:
        return data.split(log)
    if rule == "time":
        return data.log(log).split_by_time(0.9)
    if rule == "random":
        return data.log(log).split_random(0.2, random_state=0)
    raise ValueError(f"a rule is random or time, got {rule!r} in {name!r}")


def validation(name: str) -> Parts:
    """What a search fits on, and what it is judged on: both from train."""
    train, _ = parts(name)
    if by_time(name):
        return train.split_by_time(0.9)
    return train.split_random(0.1, random_state=0)


def by_time(name: str) -> bool:
    """Whether test is later than train, so that it holds users whom train has never met."""
    return name.endswith(" time")
