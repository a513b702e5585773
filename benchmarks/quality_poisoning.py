"""How far can fake users push items into lists, and how much do removed facts hurt a fact?

    python -m benchmarks.quality_poisoning users ml-1m-ultragcn       # every model, seed 0
    python -m benchmarks.quality_poisoning users ml-1m-ultragcn 1 ImplicitALS EASE
    python -m benchmarks.quality_poisoning facts umls 3               # so many seeds

``users``: ten items drawn from the 80% of fewest users are pushed by fake users, 0.5, 1 and 2% of
the real ones, of each kind of ``recsys.poisoning``; the seed draws items, profiles and fits. Models
have the settings that validation chose (UltraGCN on amazon-beauty its defaults; fewer epochs of it
and of BPRMF, see ``MODELS``). Told is the share of (real user, new target) pairs with the target
in the list of 10, and the mean rank of those targets. Each line is one fit.

``facts``: see ``facts``.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import torch

from benchmarks.quality_baselines import FAMILIES, best_setting
from benchmarks.record import record, recorded
from benchmarks.splits import parts
from hyperrank.devices import seeded
from recsys import BPRMF, EASE, ImplicitALS, UltraGCN
from recsys.poisoning import KINDS, poisoned, target_exposure
from recsys.recommender import Recommender

QUESTION = "quality_poisoning"
SHARES = (0.005, 0.01, 0.02)
TARGETS, TAIL = 10, 0.8
EPOCHS = {"UltraGCN": 5, "BPRMF": 10}


def made(model: str, name: str, seed: int) -> Recommender:
    """An unfitted model by its class name."""
    if model == "EASE":
        return EASE(**best_setting(name, "EASE"))
    if model == "ImplicitALS":
        family = FAMILIES["ImplicitALS 64"]
        setting = {**family.fixed, **best_setting(name, "ImplicitALS 64")}
        return ImplicitALS(**setting, num_threads=1, random_state=seed)
    kind = {"UltraGCN": UltraGCN, "BPRMF": BPRMF}[model]
    return kind(epochs=EPOCHS[model], random_state=seed)


MODELS = ("EASE", "ImplicitALS", "UltraGCN", "BPRMF")


def users(name: str, seed: str = "0", *models: str) -> None:
    """Records the exposure of the targets under every attack, and without any."""
    train, _ = parts(name)
    degrees = train.pairs.candidate_degrees
    tail = torch.nonzero(degrees <= degrees.float().quantile(TAIL)).squeeze(1)
    tail = tail[degrees[tail] > 0]
    drawn = torch.randperm(len(tail), generator=seeded(int(seed)))[:TARGETS]
    targets = train.items.take(tail[drawn])
    done = recorded(QUESTION, step="users", data=name, seed=int(seed))
    attacks = [("none", 0.0), *((kind, share) for share in SHARES for kind in KINDS)]
    for kind, share in sorted(attacks, key=lambda attack: abs(attack[1] - 0.01)):
        log = train
        if share:
            log = poisoned(train, targets, kind, share, random_state=int(seed))
        for model in models or MODELS:
            facts: dict[str, Any] = {"model": model, "kind": kind, "share": share}
            if any(facts.items() <= line.items() for line in done):
                continue
            start = time.perf_counter()
            fitted = made(model, name, int(seed)).fit(log)
            facts["seconds"] = time.perf_counter() - start
            found = target_exposure(fitted, targets, train.users.ids)._asdict()
            record(QUESTION, step="users", data=name, seed=int(seed), **facts, **found)


def main() -> None:
    """Runs one step on one data set."""
    step, *options = sys.argv[1:]
    {"users": users}[step](*options)


if __name__ == "__main__":
    main()
