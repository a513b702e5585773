"""What each policy does at the opening of a slice."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from recsys import EASE, Interactions, Popularity, PureSVD
from recsys.policies import POLICIES, check_policies, first_states, opened
from recsys.timeline import Timeline, timeline


@pytest.fixture
def line() -> Timeline:
    rng = np.random.default_rng(0)
    frame = {"user": rng.integers(0, 30, 400), "item": rng.integers(0, 20, 400), "time": range(400)}
    return timeline(Interactions.from_frame(pd.DataFrame(frame), time="time"), 200, 50)


def vectors(model: Any) -> torch.Tensor:
    table: torch.Tensor = model._factors().queries
    return table


def test_the_start_is_shared(line: Timeline) -> None:
    states, seconds = first_states(list(POLICIES), PureSVD(dim=4), line)
    assert len({id(state.model) for state in states.values()}) == 2
    assert {state.made for state in states.values()} == {1}
    assert isinstance(states["popularity"].model, Popularity)
    assert seconds > 0
    torch.testing.assert_close(
        vectors(states["none"].model), vectors(PureSVD(dim=4).fit(line.between(0, 1)))
    )


def test_each_does_what_it_says(line: Timeline) -> None:
    states, _ = first_states(list(POLICIES), PureSVD(dim=4), line)
    found = {name: opened(name, state, line, 3, 1) for name, state in states.items()}
    assert {name: one.action for name, one in found.items()} == {
        "none": "keep",
        "popularity": "update",
        "update": "update",
        "sweep": "sweep",
        "refit": "refit",
        "update+refit": "update+refit",  # a third more pairs is past the rule's limit
    }
    assert found["none"].state is states["none"]
    again = PureSVD(dim=4).fit(line.between(0, 3))
    for name in ("refit", "update+refit"):
        torch.testing.assert_close(vectors(found[name].state.model), vectors(again))
    updated = PureSVD(dim=4).fit(line.between(0, 1))
    updated.partial_fit(line.between(1, 3))
    torch.testing.assert_close(vectors(found["update"].state.model), vectors(updated))
    updated = PureSVD(dim=4).fit(line.between(0, 1))
    updated.partial_fit(line.between(1, 3), sweeps=2)
    torch.testing.assert_close(vectors(found["sweep"].state.model), vectors(updated))
    assert len(states["update"].model.seen_) < len(found["update"].state.model.seen_), "a copy"
    counts = line.known(3).candidate_degrees[: len(again.items_)]
    assert found["popularity"].state.model.scorer_.values.tolist() == counts.tolist()


def test_an_update_takes_in_all_since_the_last(line: Timeline) -> None:
    states, _ = first_states(["update"], PureSVD(dim=4), line)
    later = opened("update", states["update"], line, 4, 1).state
    assert len(later.model.seen_) == len(line.known(4))
    assert (later.made, later.name) == (4, "update-4")


def test_a_small_drift_is_kept(line: Timeline) -> None:
    states, _ = first_states(["update+refit"], PureSVD(dim=4), line)
    fine = timeline(line.log, 200, 5)
    found = opened("update+refit", states["update+refit"], fine, 2, 1)
    assert found.action == "update"


@pytest.mark.parametrize(("number", "action"), [(2, "keep"), (3, "keep"), (4, "refit")])
def test_refits_every_third_slice(line: Timeline, number: int, action: str) -> None:
    states, _ = first_states(["refit"], PureSVD(dim=4), line)
    assert opened("refit", states["refit"], line, number, 3).action == action


def test_bad_policies_are_refused() -> None:
    assert check_policies(["none", "refit", "none"], EASE()) == ["none", "refit"]
    with pytest.raises(ValueError, match=r"no policy 'popularty'; did you mean 'popularity'\?"):
        check_policies(["popularty"], PureSVD())
    with pytest.raises(
        ValueError, match=r"no policy was named; there are none, popularity, update"
    ):
        check_policies([], PureSVD())
    for name in ("update", "update+refit"):
        with pytest.raises(TypeError, match=r"EASE cannot be updated, as the policy 'update"):
            check_policies([name], EASE())
