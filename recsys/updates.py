"""What goes into an update and what it did; whether the model should rather be trained again."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hyperrank.neighbours import Neighbours
from hyperrank.pairs import PairSet
from hyperrank.retrieval import top_k
from hyperrank.scorers import Factors
from hyperrank.vocabulary import Vocabulary
from recsys.histories import Record
from recsys.row_solvers import Solution

OVERLAP_K = 10


@dataclass(frozen=True)
class UpdateReport:
    """What ``partial_fit`` did.

    Attributes:
        events: Events that arrived.
        pairs_added: User-item pairs that the model had not seen.
        users_touched: Users who were solved again, new ones included; with sweeps, all with news
            since the last full fit.
        users_added: Users whom the model had not known.
        users_cold: Added users none of whose items was there at the last full fit.
        items_touched: Items that were solved; with sweeps, all with news since the last full fit.
        items_added: Items that the model had not known.
        items_cold: Added items none of whose users was there at the last full fit.
        seconds: Wall seconds by stage.
        residual: Largest gradient norm of a row where it was left; 0 for closed forms.
        score_error: Bound on how far any score is from that of exactly solved users and items;
            infinite where the loss is not strongly convex.
        overlap: Mean share of the ten best unseen items that known touched users kept; NaN
            without one.
        drift: Pairs added since the last full fit, over those it had.
        verdict: "keep", or "refit" when training again is due.
        reason: Why.
    """

    events: int
    pairs_added: int
    users_touched: int
    users_added: int
    users_cold: int
    items_touched: int
    items_added: int
    items_cold: int
    seconds: dict[str, float] = field(repr=False)
    residual: float
    score_error: float
    overlap: float
    drift: float
    verdict: Literal["keep", "refit"]
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Every field by name, for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class RefitRule:
    """When item vectors have grown too old to go on with.

    Attributes:
        drift: Share of pairs added since the last full fit from which a refit is due.
        new_items: Share of items added since then.
        score_error: Certified error of a score.
    """

    drift: float = 0.2
    new_items: float = 0.1
    score_error: float = 0.5

    def judge(
        self, drift: float, new_items: float, score_error: float
    ) -> tuple[Literal["keep", "refit"], str]:
        """The verdict and its reason, the first limit that is passed."""
        for name, value, limit in (
            ("pairs added since the last full fit, over those it had,", drift, self.drift),
            ("items added since the last full fit, over those it had,", new_items, self.new_items),
            ("the certified error of a score", score_error, self.score_error),
        ):
            if not value <= limit:  # NaN too
                return "refit", f"{name} came to {value:.3g}, over {limit:g}"
        return "keep", f"pairs added since the last full fit came to {drift:.3g} of those it had"


class Stopwatch:
    """Wall seconds by stage: ``with watch("users"): ...`` adds to ``watch.seconds["users"]``."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Adds the block's wall time to the stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start


@dataclass(frozen=True, eq=False)
class Base:
    """What updates stand on: the tables of the last full fit or of the last sweep, and their rows.

    Later rows are solved against these, and weigh nothing as negatives.
    """

    users: Float[Tensor, "n_users d"]
    items: Float[Tensor, "n_items d"]
    user_degree: Int[Tensor, " n_users"]
    item_degree: Int[Tensor, " n_items"]
    mean_user: Float[Tensor, " d"]  # where new users start
    neighbours: Neighbours | None = None  # of the items, where the loss has them
    totals: Float[Tensor, "n_users k"] | None = None  # over a user's items, where it has those
    kept: dict[str, Any] = field(default_factory=dict)  # factorizations, by who made them


class Fit(NamedTuple):
    """What the last full fit left behind."""

    base: Base
    n_pairs: int  # of those who have not been forgotten
    mean_weight: float


class Updated(NamedTuple):
    """A model after an update, not yet put in place."""

    users: Vocabulary
    items: Vocabulary
    record: Record
    news: tuple[Bool[Tensor, " n_users"], Bool[Tensor, " n_items"]]  # rows touched since the fit
    tables: Factors
    user_rows: Int[Tensor, " touched"]
    item_rows: Int[Tensor, " moved"]
    solved: tuple[Solution, Solution]  # users, items
    base: Base


def count_without(n: int, first: int, row: Tensor, there: Tensor) -> int:
    """How many rows from ``first`` on have no pair that is ``there``."""
    has = torch.zeros(n, dtype=torch.bool, device=row.device)
    has[row[there]] = True
    return int((~has[first:]).sum())


def overlap(before: Factors, after: Factors, rows: Tensor, seen: PairSet, now: PairSet) -> float:
    """Mean share of these users' best unseen items that the update kept; NaN for no user."""
    k = min(OVERLAP_K, len(before.candidates))
    if not len(rows):
        return math.nan
    old = top_k(before, rows, k, known=seen).candidates
    new = top_k(after, rows, k, known=now).candidates
    kept = ((old[:, :, None] == new[:, None, :]) & (old >= 0)[:, :, None]).any(2)
    share: Tensor = kept.sum(1) / (old >= 0).sum(1).clamp_min(1)
    return float(share.mean())
