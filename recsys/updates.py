"""What an update did, and whether the model should rather be trained again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class UpdateReport:
    """What ``partial_fit`` did.

    Attributes:
        events: Events that arrived.
        pairs_added: User-item pairs that the model had not seen.
        users_touched: Users who were solved again, new ones included.
        users_added: Users whom the model had not known.
        users_cold: Added users none of whose items was there at the last full fit.
        items_touched: Items that were solved.
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
