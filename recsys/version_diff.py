"""What changed for whom between two versions of a model, and which interactions did it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hyperrank.retrieval import top_k
from hyperrank.scorers import Factors
from recsys.recommender import Recommender

CHUNK = 4096  # users whose lists are compared at once


@dataclass(frozen=True)
class ListChange:
    """How the list of one user changed.

    Attributes:
        user: Its id.
        entered: Items that came into the list, best first.
        left: Items that went out of it.
        because: Interactions of this user between the two versions, those first that count most
            for what entered; without any, what else did it.
        overlap: Share of the old list that is still there.
    """

    user: Any
    entered: list[Any]
    left: list[Any]
    because: list[Any] | str
    overlap: float


@dataclass(frozen=True)
class Difference:
    """All that changed.

    Attributes:
        users: Users of both versions.
        changed: How many of them have other lists.
        users_added: Users of the second version alone.
        items_added: Items of the second version alone.
        overlap: Mean share of a list that is still there, over the users of both.
        changes: The lists that changed most, as many as were asked for.
    """

    users: int
    changed: int
    users_added: int
    items_added: int
    overlap: float
    changes: list[ListChange]


@torch.no_grad()
def compare_versions(
    old: Recommender, new: Recommender, *, k: int = 10, users: Any = None, most: int = 20
) -> Difference:
    """Compares the lists of ``k`` unseen items.

    Args:
        old: The model of the first version.
        new: Of the second.
        k: Length of a list.
        users: Ids to look at; None means all that both versions know.
        most: How many changes to describe, those of least overlap first.

    Raises:
        UnknownIdError: If one of ``users`` is not known to both.
    """
    if users is None:
        theirs = new.users_.rows(old.users_.ids, unknown="mark")
        mine = torch.arange(len(old.users_))[theirs >= 0]
        theirs = theirs[theirs >= 0]
    else:
        mine, theirs = old.users_.rows(users), new.users_.rows(users)
    names = new.items_.rows(old.items_.ids, unknown="mark")  # of the old items; gone ones are -1
    names = torch.where(names < 0, -2 - torch.arange(len(names)), names)
    share = torch.ones(len(mine))
    lists: dict[int, tuple[Tensor, Tensor]] = {}
    for chunk in torch.arange(len(mine)).split(CHUNK):
        before, after = _lists(old, mine[chunk], k), _lists(new, theirs[chunk], k)
        before = torch.where(before < 0, -1, names[before.clamp_min(0)])
        there = ((before[:, :, None] == after[:, None, :]) & (before != -1)[:, :, None]).any(2)
        share[chunk] = there.sum(1) / (before != -1).sum(1).clamp_min(1)
        fresh = (after != -1).sum(1) > there.sum(1)
        for place in ((share[chunk] < 1) | fresh).nonzero().squeeze(1).tolist():
            lists[int(chunk[place])] = before[place], after[place]
    shared = new.users_.rows(old.users_.ids, unknown="mark") >= 0
    worst = sorted(lists, key=lambda place: float(share[place]))[:most]
    changes = [
        _change(old, new, int(mine[p]), int(theirs[p]), *lists[p], float(share[p])) for p in worst
    ]
    return Difference(
        users=len(mine),
        changed=len(lists),
        users_added=len(new.users_) - int(shared.sum()),
        items_added=len(new.items_) - int((names >= 0).sum()),
        overlap=float(share.mean()) if len(share) else float("nan"),
        changes=changes,
    )


def _lists(model: Recommender, rows: Tensor, k: int) -> Tensor:
    """Best unseen items of these users, -1 where there are no more."""
    scorer: Any = model.scorer_
    rows, limit = rows.to(model.seen_.device), min(k, len(model.items_))
    return top_k(scorer, rows, limit, known=model.seen_).candidates.cpu()


def _change(
    old: Recommender,
    new: Recommender,
    before_row: int,
    row: int,
    before: Tensor,
    after: Tensor,
    overlap: float,
) -> ListChange:
    entered = [item for item in after.tolist() if item >= 0 and item not in before.tolist()]
    left = [item for item in before.tolist() if item != -1 and item not in after.tolist()]
    gone = [old.items_.ids[-2 - item] if item < -1 else new.items_.ids[item] for item in left]
    return ListChange(
        user=_plain(new.users_.ids[row]),
        entered=[_plain(new.items_.ids[item]) for item in entered],
        left=[_plain(item) for item in gone],
        because=_because(old, new, before_row, row, entered),
        overlap=overlap,
    )


def _because(
    old: Recommender, new: Recommender, before_row: int, row: int, entered: list[int]
) -> list[Any] | str:
    """New interactions of the user by what they add to the scores of what entered."""
    history = new.seen_.rows(torch.tensor([row], device=new.seen_.device))[1]
    past = old.seen_.rows(torch.tensor([before_row], device=old.seen_.device))[1]
    known = new.items_.rows(old.items_.take(past.cpu()), unknown="mark").to(history.device)
    fresh = ~torch.isin(history, known)
    if not bool(fresh.any()):
        if not _same_fit(old, new):
            return "another fit"
        return "new items" if any(item >= len(old.items_) for item in entered) else "moved items"
    weight, scorer = torch.zeros(len(history), device=history.device), new._fitted("scorer_")
    query = torch.tensor([row], device=history.device)
    for item in entered:
        target = torch.tensor([item], device=history.device)
        weight += scorer.contributions(query, target, history)
    order = torch.argsort(weight[fresh], descending=True, stable=True)
    return [_plain(item) for item in new.items_.take(history[fresh][order].cpu())]


def _same_fit(old: Recommender, new: Recommender) -> bool:
    """Whether only updates lie between: they keep rows, and the vector of the first item."""
    if old.items_.ids[0] != new.items_.ids[0]:
        return False
    mine, theirs = old.scorer_, new.scorer_
    if not (isinstance(mine, Factors) and isinstance(theirs, Factors)):
        return False
    return bool(torch.equal(mine.candidates[0].cpu(), theirs.candidates[0].cpu()))


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
