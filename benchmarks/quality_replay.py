"""What is freshness worth as time goes by, and what does it cost?

    python -m benchmarks.quality_replay ml-100k          # or several, or all by default

Each log is replayed from the moment before which 80% of its events lie, in slices of five days.
Nothing of a slice reaches an answer in it; pairs known from before are left out of the lists;
items and users that a policy's model does not know are misses and get the popular items. Policies:
the first fit for ever, popularity, an update for each slice, a refit for each slice, and an update
with a refit where its report says so.
"""

from __future__ import annotations

import sys
from typing import Any

import data
from benchmarks.record import record
from recsys import ImplicitALS, Interactions, UltraGCN
from recsys.policies import POLICIES
from recsys.recommender import Recommender
from recsys.replay import replay

SETS = ("ml-100k", "movietweetings")
START, EVERY = 0.8, "5d"


def models() -> dict[str, Recommender]:
    """Few epochs of UltraGCN, since it is fitted a dozen times; its start is spectral."""
    return {
        "UltraGCN": UltraGCN(negatives=1024, epochs=10),
        "ALS": ImplicitALS(regularization=10.0, alpha=10.0),
    }


def run(name: str) -> None:
    """Records one line for a set."""
    frame = data.log(name).to_frame("pandas")[["user", "item", "time"]]
    log = Interactions.from_frame(frame, time="time")
    found: dict[str, Any] = {}
    for label, model in models().items():
        done = replay(log, model, start=START, every=EVERY, policies=list(POLICIES), progress=True)
        each = done.slices.groupby("policy", sort=False)
        found[label] = {
            "settings": repr(model),
            "fit_seconds": done.fit_seconds,
            "policies": done.summary.set_index("policy").to_dict("index"),
            "ndcg@10 by slice": each["ndcg@10"].agg(list).to_dict(),
        }
    slices = done.slices[done.slices.policy == "none"]
    record(
        "quality_replay",
        data=name,
        start=START,
        every=EVERY,
        sizes={
            "users": log.n_users,
            "items": log.n_items,
            "pairs": len(log.pairs),
            "slices": len(slices),
            "answers": int(slices.users.sum()),
            "new_pairs": int(slices.pairs.sum()),
        },
        models=found,
    )


def main() -> None:
    """Every set named, or all."""
    for name in sys.argv[1:] or SETS:
        run(name)


if __name__ == "__main__":
    main()
