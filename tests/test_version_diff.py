"""What changed between two versions, and because of what."""

from __future__ import annotations

import copy

import numpy as np
import pandas as pd
import pytest

from hyperrank.vocabulary import UnknownIdError
from recsys import Interactions, Popularity, UltraGCN
from recsys.version_diff import compare_versions


def log(*pairs: tuple[int, int]) -> Interactions:
    return Interactions.from_frame(pd.DataFrame(list(pairs), columns=["user", "item"]))


@pytest.fixture(scope="module")
def old() -> UltraGCN:
    source = np.random.default_rng(0)
    user = source.integers(0, 30, 300)
    item = 2 * source.integers(0, 10, 300) + user % 2
    pairs = list(zip(user.tolist(), item.tolist(), strict=True))
    return UltraGCN(dim=4, epochs=10, item_weight=0.0, device="cpu").fit(log(*pairs))


def best(model: UltraGCN, user: int, k: int = 5) -> list[int]:
    frame = model.recommend([user], k=k)
    return list(frame.item)


def test_nothing_changed(old: UltraGCN) -> None:
    found = compare_versions(old, old, k=5)
    assert (found.users, found.changed, found.overlap) == (30, 0, 1.0)
    assert (found.users_added, found.items_added, found.changes) == (0, 0, [])


def test_an_interaction_changes_the_list_of_its_user(old: UltraGCN) -> None:
    new = copy.copy(old)
    bought = best(old, 3)[:2]
    new.partial_fit(log((3, bought[0]), (3, bought[1]), (77, 1)))
    found = compare_versions(old, new, k=5)
    assert (found.changed, found.users_added) == (1, 1)
    (change,) = found.changes
    before, after = best(old, 3), best(new, 3)
    assert change.user == 3
    assert change.entered == [item for item in after if item not in before]
    assert change.left == [item for item in before if item not in after]
    assert set(change.left) >= set(bought)
    assert isinstance(change.because, list)
    assert set(change.because) == set(bought)
    assert change.overlap == pytest.approx(1 - len(change.left) / 5)
    assert found.overlap == pytest.approx((29 + change.overlap) / 30)
    assert compare_versions(old, new, k=5, users=[4]).changed == 0
    with pytest.raises(UnknownIdError):
        compare_versions(old, new, users=[77])


def test_back_again(old: UltraGCN) -> None:
    new = copy.copy(old)
    new.partial_fit(log((3, best(old, 3)[0]), (3, 500)))
    back = compare_versions(new, old, k=40, most=100)
    assert back.items_added == 0
    change = next(one for one in back.changes if one.user == 3)
    assert change.because == "moved items"


def test_new_items_and_their_moves(old: UltraGCN) -> None:
    new = copy.copy(old)
    new.partial_fit(log(*((user, 500) for user in range(0, 28, 2))))
    found = compare_versions(old, new, k=20, most=100)
    assert found.items_added == 1
    causes = {one.user: one.because for one in found.changes}
    assert {causes[user] for user in range(1, 30, 2)} == {"new items"}
    nearer = compare_versions(old, new, k=3, most=100).changes
    assert [500] in [one.because for one in nearer if one.user % 2 == 0]
    newer = copy.copy(new)
    newer.partial_fit(log((29, 500), (29, best(old, 29)[0])))
    assert {str(one.because) for one in compare_versions(new, newer, k=3, most=100).changes} <= {
        "moved items",
        "[500]",
        str([500, best(old, 29)[0]]),
        str([best(old, 29)[0], 500]),
    }


def test_another_fit(old: UltraGCN) -> None:
    other = UltraGCN(dim=4, epochs=10, item_weight=0.0, device="cpu", random_state=5)
    other.fit(log(*((user, item) for user in range(30) for item in range(user % 7, 20, 7))))
    found = compare_versions(other, old, k=5, most=3)
    assert len(found.changes) == 3
    shares = [one.overlap for one in found.changes]
    assert shares == sorted(shares)
    popular = Popularity().fit(log((1, 2), (2, 3), (2, 2)))
    other_popular = Popularity().fit(log((2, 3), (1, 2), (2, 2), (1, 9)))
    change = compare_versions(popular, other_popular, users=[2]).changes[0]
    assert (change.entered, change.because) == ([9], "another fit")
