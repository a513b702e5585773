"""What does TriplH owe to its geometry, to its negatives, and to its scores being bounded?

    python -m benchmarks.quality_geometry search "ml-100k random"         # every arm, validation
    python -m benchmarks.quality_geometry judge "ml-100k random"          # every arm, seeds, test
    python -m benchmarks.quality_geometry test "ml-100k random"           # paired tests of all
    python -m benchmarks.quality_geometry search ml-1m-ultragcn cosine    # one arm

An arm is a score (triangle, cosine, inner product, lorentzian, geodesic) and a loss; all have one
loop and one number of settings. ``search`` walks the plane of scale and L2 from the score's start:
the next setting is an untried neighbour of the best so far, in the first half of the budget at two
steps (a step is a factor of 1.5 in the scale, of 2 in L2), then at one; so there is no edge of a
grid to be left at. Every setting is fitted on the validation split's train and recorded with its
NDCG@20 and the epoch that was best at it.

``judge`` fits the best setting on all of train with every seed, evaluates each once on test and
keeps the mean over seeds of each user's Recall@20 and NDCG@20 in build/; ``test`` compares arms by
paired sign-flip tests over users, corrected by Holm's rule for all comparisons of the data set.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.quality_baselines import validation_accuracy
from benchmarks.record import record, recorded
from benchmarks.splits import parts, validation
from hyperrank.devices import seeded
from hyperrank.evaluation import holm, sign_flip_test
from hyperrank.metrics import parse_all
from recsys import TriplH
from recsys.judging import judge as judged

QUESTION = "quality_geometry"
BEFORE = "quality_triplh"  # where six settings of each softmax arm on ml-1m-ultragcn are recorded
KEPT = Path(__file__).parent.parent / "build" / QUESTION
METRICS = ("recall@20", "ndcg@20", "coverage@10")
Setting = dict[str, Any]

# where each score's walk starts: scale of the loss, L2
STARTS: dict[str, tuple[float, float]] = {
    "triangle": (7.0, 0.1),
    "cosine": (6.0, 0.02),
    "inner": (1.0, 0.1),
    "lorentzian": (0.3, 0.05),
    "geodesic": (4.0, 0.05),
}
ONE: Setting = {"negatives": 1, "shared_negatives": False, "batch_by": "pairs", "batch_size": 2048}
LOSSES: dict[str, Setting] = {
    "": {},  # softmax over all items
    "64": {"negatives": 64},  # softmax over 64 items, drawn for the batch
    "pairwise": {"loss": "pairwise", "negatives": 64},
    "triplet": {"loss": "triangle", "item_weight": 0.5, "negatives": 64},
    "pairwise 1": {"loss": "pairwise", **ONE},
    "triplet 1": {"loss": "triangle", "item_weight": 0.5, **ONE},  # as published, but for scalars
    "bias": {"item_radius": True},  # softmax too: is the triangle more than a cosine and a bias?
}
SMALL: Setting = {"dim": 64, "epochs": 30, "batch_size": 32, "lr": 0.04}
LOOPS: dict[str, Setting] = {
    "ml-100k random": SMALL,
    "amazon-electronics": SMALL,
    "ml-1m-ultragcn": {**SMALL, "batch_size": 64},
}
BUDGET = {"ml-100k random": 12, "amazon-electronics": 6, "ml-1m-ultragcn": 6}
ARMS = (
    *STARTS,
    *(f"{score} pairwise" for score in STARTS),
    *(f"{score} triplet" for score in ("triangle", "cosine", "inner", "geodesic")),
    "triangle 64",
    "triangle pairwise 1",
    "triangle triplet 1",
    "cosine bias",
)
SEEDS = {"ml-100k random": 5, "amazon-electronics": 5, "ml-1m-ultragcn": 2}
FEWER = 3  # of the triplet arms, which take four times as long
BASE = "triangle"
NEAR = 1.1  # two values closer than this factor are one
LEAST_L2 = 5e-3  # of a step from 0


def setting(name: str, arm: str, scale: float, l2: float) -> Setting:
    """The parameters of an arm on a data set.

    Raises:
        SystemExit: If there is no such arm.
    """
    score, _, loss = arm.partition(" ")
    if score not in STARTS or loss not in LOSSES:
        sys.exit(f"no arm {arm!r}; there are {', '.join(ARMS)}")
    return {**LOOPS[name], "geometry": score, **LOSSES[loss], "scale": scale, "l2": l2}


def around(scale: float, l2: float, steps: tuple[int, ...]) -> Iterator[tuple[float, float]]:
    """Scale and L2 of the neighbours at so many steps along one axis, then along both."""
    strength = max(l2, LEAST_L2)
    for step in steps:
        for sign in (step, -step):
            yield scale * 1.5**sign, l2
            yield scale, strength * 2.0**sign
    for sign in (1, -1):
        for other in (1, -1):
            yield scale * 1.5**sign, strength * 2.0**other


def following(name: str, arm: str) -> Setting | None:
    """The next setting to try; None when the budget is spent or everything near is tried."""
    done = searched(name, arm)
    if len(done) >= BUDGET[name]:
        return None
    if not done:
        return setting(name, arm, *STARTS[arm.partition(" ")[0]])
    best = max(done, key=lambda line: line["ndcg@20"])["setting"]
    tried = [(line["setting"]["scale"], line["setting"]["l2"]) for line in done]
    steps = (2, 1) if len(done) < BUDGET[name] // 2 else (1,)
    for scale, l2 in around(best["scale"], best["l2"], steps):
        if not any(_same(scale, one) and _same(l2, other) for one, other in tried):
            return setting(name, arm, float(f"{scale:.3g}"), float(f"{l2:.3g}"))
    return None


def _same(value: float, other: float) -> bool:
    return value <= other * NEAR and other <= value * NEAR


def search(name: str, arms: list[str]) -> None:
    """Records the validation accuracy of each arm's settings, and the best epoch of each."""
    fit_on, held_out = validation(name)
    for arm in arms:
        while found := following(name, arm):
            start = time.perf_counter()
            model = TriplH(**{**found, "patience": 4}).fit(fit_on, held_out)
            facts = {"seconds": time.perf_counter() - start, "best_epoch": model.best_epoch_}
            accuracy = validation_accuracy(model, held_out)
            record(
                QUESTION, step="search", data=name, model=arm, setting=found, **facts, **accuracy
            )


def lines(step: str, name: str, arm: str | None = None) -> list[dict[str, Any]]:
    """The recorded lines of a step on a data set, of one arm or of all."""
    asked = {"step": step, "data": name} | ({} if arm is None else {"model": arm})
    return [line for question in (BEFORE, QUESTION) for line in recorded(question, **asked)]


def searched(name: str, arm: str) -> list[dict[str, Any]]:
    """The recorded settings of an arm."""
    return lines("search", name, arm)


def chosen(name: str, arm: str) -> Setting:
    """The recorded setting of the best validation NDCG@20, its epochs those it was best at.

    Raises:
        SystemExit: If no search is recorded.
    """
    known = searched(name, arm)
    if not known:
        sys.exit(f"no search of {arm} on {name} is recorded; run `search {name!r} {arm!r}` first")
    best = max(known, key=lambda line: line["ndcg@20"])
    return {**best["setting"], "epochs": best["best_epoch"]}


def judge(name: str, arms: list[str]) -> None:
    """Fits the chosen setting once a seed; records accuracy on test and keeps that of each user."""
    train, test = parts(name)
    metrics = parse_all(METRICS)
    for arm in arms:
        found = chosen(name, arm)
        start = time.perf_counter()
        tables = []
        values: dict[str, list[float]] = {name: [] for name in METRICS}
        for seed in range(min(SEEDS[name], FEWER) if "triplet" in arm else SEEDS[name]):
            model = TriplH(**{**found, "random_state": seed}).fit(train)
            lists = judged(model, test, metrics, exclude_seen=True, unknown="popular")
            each = [metric.values(lists.hits, model.seen_) for metric in metrics]
            for metric, one in zip(METRICS, each, strict=True):
                values[metric].append(float(one.mean()))
            tables.append(torch.stack(each[:2]))
        seconds = (time.perf_counter() - start) / len(tables)
        KEPT.mkdir(parents=True, exist_ok=True)
        np.save(KEPT / f"{name} {arm}.npy", torch.stack(tables).mean(0).numpy())
        means = {metric: statistics.fmean(seen) for metric, seen in values.items()}
        facts = {"setting": found, "seconds": seconds, "seeds": values, "means": means}
        record(QUESTION, step="arm", data=name, model=arm, **facts)


def comparisons(arms: list[str]) -> list[tuple[str, str, str]]:
    """What is compared, and with what: (question, arm, arm that it is held against)."""
    found = [("all", arm, BASE) for arm in arms if arm != BASE]
    for loss in ("", "pairwise", "triplet"):
        score = {name: f"{name} {loss}".strip() for name in STARTS}
        if loss:
            found.append(("geometry", score["triangle"], score["cosine"]))
        found.append(("boundedness", score["cosine"], score["inner"]))
        if loss:
            found.append(("boundedness", score["triangle"], score["inner"]))
        found += [("distance", score[name], score["cosine"]) for name in ("lorentzian", "geodesic")]
    for name in STARTS:
        found += [
            ("negatives", name, f"{name} 64"),
            ("draws", f"{name} pairwise 1", f"{name} pairwise"),
            ("draws", f"{name} triplet 1", f"{name} triplet"),
            ("loss", f"{name} 64", f"{name} pairwise"),
            ("item term", f"{name} triplet", f"{name} pairwise"),
        ]
    return [row for row in found if set(row[1:]) <= set(arms)]


def test(name: str, arms: list[str]) -> None:
    """Records the paired tests of all comparisons between the judged arms."""
    users = {arm: np.load(KEPT / f"{name} {arm}.npy") for arm in arms if lines("arm", name, arm)}
    asked = comparisons(list(users))
    gaps = torch.from_numpy(np.stack([users[arm] - users[base] for _, arm, base in asked]))
    rows: list[dict[str, Any]] = [
        {"question": question, "model": arm, "against": base} for question, arm, base in asked
    ]
    for place, metric in enumerate(METRICS[:2]):
        p = sign_flip_test(gaps[:, place].T.contiguous(), generator=seeded(0))
        for row, gap, one, all_ in zip(rows, gaps[:, place].mean(1), p, holm(p), strict=True):
            row[metric] = {"gap": float(gap), "p": float(one), "p_adjusted": float(all_)}
    n_users = len(next(iter(users.values()))[0])
    record(QUESTION, step="test", data=name, users=n_users, comparisons=rows)


def main() -> None:
    """Runs the step for the arms named, or for all."""
    steps = {"search": search, "judge": judge, "test": test}
    step, name, *arms = sys.argv[1:] if len(sys.argv) > 2 else ("", "")
    if step not in steps or name not in LOOPS or not set(arms) <= set(ARMS):
        sys.exit(f"usage: {' | '.join(steps)}, one of {', '.join(LOOPS)}, arms of {ARMS}")
    steps[step](name, arms or list(ARMS))


if __name__ == "__main__":
    main()
