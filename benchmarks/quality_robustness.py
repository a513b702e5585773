"""Which regularizer keeps a ranking when tables are moved, and what does it cost unmoved?

    python -m benchmarks.quality_robustness search ml-1m-ultragcn UltraGCN        # on validation
    python -m benchmarks.quality_robustness judge ml-1m-ultragcn UltraGCN         # seeds, on test
    python -m benchmarks.quality_robustness search "amazon-beauty random" BPRMF cvar   # one arm

An arm is a regularizer: none, L2 tuned, adversarial training (APR) over its radius, and with L2 the
squared factor norms, the largest row of the score matrix, its Frobenius norm, and the mean of its
largest rows (CVaR). All arms have the same loop, the same start of their L2 and the same number of
settings. ``search`` walks the plane of an arm's two numbers (strength and L2; of L2 its rate too):
the next setting is an untried neighbour of the best so far, in the first half of the budget at two
steps of a factor two, then at one. Every setting is fitted with early stopping on the validation
split's train and recorded with its validation NDCG@10, clean and under attack (PGD of ten steps, at
0.4 of the RMS row norm of both tables), the latter also with its tables balanced, which ranks alike
(``recsys.balanced``). The walk climbs the clean figure plus the better of the other two.

``judge`` fits, on all of train with every seed, each arm's setting of the best sum (of L2 that of
the best clean figure too, the baseline) and evaluates it once on test: clean, under FGSM and PGD-10
by the gradient of BPR and a random move of equal size at 0.05 to 0.8, under PGD-10 by a bounded
loss (AUC) at 0.1 to 0.4, and the certified radius of 2,000 users; and under PGD-10 by both losses
once more with its tables balanced.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterator
from typing import Any

import torch

from benchmarks.record import record, recorded
from benchmarks.splits import parts, validation
from hyperrank.attacks import METHODS, Method
from hyperrank.metrics import parse
from recsys import BPRMF, TriplH, UltraGCN, balanced
from recsys.attacks import LossName, attacked
from recsys.interactions import Interactions
from recsys.judging import judge as judged

QUESTION = "quality_robustness"
METRIC = "ndcg@10"
EPSILONS = (0.05, 0.1, 0.2, 0.4, 0.8)
SEARCHED = 0.4
CERTIFIED = 2000  # users
BALANCED = (0.1, 0.2, 0.4)
TRIPLES = 2**17  # of each attack
BUDGET = {"UltraGCN": 8, "BPRMF": 6, "TriplH": 4}  # settings of an arm
MOST = {"yelp2018": 4}
SEEDS = 3
Setting = dict[str, Any]
Attacks = list[tuple[LossName, Method, float]]

MODELS = {"UltraGCN": UltraGCN, "BPRMF": BPRMF, "TriplH": TriplH}
STOPPING: Setting = {"monitor": METRIC, "evaluate_every": 3, "patience": 3}
FIXED: dict[tuple[str, str], Setting] = {
    ("ml-1m-ultragcn", "UltraGCN"): {
        "negative_weight": 200.0, "epochs": 12, "batch_size": 64, "item_weight": 0.0,
    },
    ("ml-1m-ultragcn", "BPRMF"): {"epochs": 15, "batch_size": 8192, "negatives": 1},
    ("ml-1m-ultragcn", "TriplH"): {"epochs": 18, "batch_size": 64},
    ("amazon-beauty random", "UltraGCN"): {
        "epochs": 12, "item_weight": 0.0, "batch_size": 256, "negatives": 2048,
    },
    ("amazon-beauty random", "BPRMF"): {"epochs": 24, "batch_size": 4096, "negatives": 1},
    ("amazon-beauty random", "TriplH"): {"epochs": 18, "negatives": 2048},
    ("yelp2018", "UltraGCN"): {"epochs": 12, "item_weight": 0.0, "negatives": 2048},
}  # fmt: skip
# where each model's walks start: learning rate and L2
STARTS: dict[tuple[str, str], tuple[float, float]] = {
    ("ml-1m-ultragcn", "UltraGCN"): (4e-3, 0.12),
    ("ml-1m-ultragcn", "BPRMF"): (5e-3, 0.02),
    ("ml-1m-ultragcn", "TriplH"): (0.04, 0.06),
    ("amazon-beauty random", "UltraGCN"): (8e-3, 0.15),
    ("amazon-beauty random", "BPRMF"): (5e-3, 0.02),
    ("amazon-beauty random", "TriplH"): (0.04, 0.06),
    ("yelp2018", "UltraGCN"): (8e-3, 0.2),
}
ARMS = ("none", "l2", "apr", "factors", "rows", "frobenius", "cvar")
# of each arm's own strength
STRENGTHS: dict[str, dict[str, float]] = {
    # losses differ in size: of a pair about 0.03, 0.4 and 6; and so do scores, about 6, 1 and 0.4
    "UltraGCN": {"apr": 0.2, "factors": 1e-4, "rows": 1e-8, "frobenius": 1e-7, "cvar": 1e-7},
    "BPRMF": {"apr": 0.2, "factors": 1e-3, "rows": 1e-5, "frobenius": 1e-3, "cvar": 1e-3},
    "TriplH": {"apr": 0.2, "factors": 1e-2, "rows": 1e-4, "frobenius": 1e-3, "cvar": 1e-3},
}


def setting(name: str, kind: str, arm: str, point: tuple[float, float]) -> Setting:
    """The parameters of an arm at a point of its plane: its strength (or rate), and L2."""
    strength, l2 = point
    lr, _ = STARTS[name, kind]
    given: Setting = {**FIXED[name, kind], "lr": lr, "l2": l2}
    if arm in ("none", "l2"):
        return given | {"lr": strength}
    if arm == "apr":
        return given | {"adversarial_weight": 1.0, "adversarial_epsilon": strength}
    return given | {"robustness": arm, "robustness_weight": strength}


def start(name: str, kind: str, arm: str) -> tuple[float, float]:
    """Where an arm's walk begins."""
    lr, l2 = STARTS[name, kind]
    if arm == "none":
        return lr, 0.0
    return (lr if arm == "l2" else STRENGTHS[kind][arm]), l2


def around(point: tuple[float, float], steps: tuple[int, ...]) -> Iterator[tuple[float, float]]:
    """The neighbours of a point: at so many steps along an axis, then along both."""
    strength, l2 = point
    for step in steps:
        for sign in (step, -step):
            yield strength * 2.0**sign, l2
            yield strength, l2 * 2.0**sign
    for sign in (1, -1):
        for other in (1, -1):
            yield strength * 2.0**sign, l2 * 2.0**other


def following(name: str, kind: str, arm: str) -> tuple[float, float] | None:
    """The next point to try; None when the budget is spent."""
    done = searched(name, kind, arm)
    budget = min(BUDGET[kind], MOST.get(name, BUDGET[kind]))
    if len(done) >= budget:
        return None
    if not done:
        return start(name, kind, arm)
    tried = [tuple(line["point"]) for line in done]
    best = max(done, key=score)["point"]
    for point in around((best[0], best[1]), (2, 1) if len(done) < budget // 2 else (1,)):
        rounded = tuple(float(f"{value:.3g}") for value in point)
        if rounded not in tried:
            return rounded[0], rounded[1]
    return None


def score(line: dict[str, Any]) -> float:
    """What a walk climbs."""
    return float(line["clean"] + max(line["attacked"], line["balanced"]))


def search(name: str, kind: str, arms: list[str]) -> None:
    """Records the validation figures of each arm's settings, and the best epoch of each."""
    fit_on, held_out = validation(name)
    for arm in arms:
        while point := following(name, kind, arm):
            found = setting(name, kind, arm, point)
            began = time.perf_counter()
            model = MODELS[kind](**found, **STOPPING).fit(fit_on, held_out)
            facts = {"seconds": time.perf_counter() - began, "best_epoch": model.best_epoch_}
            told = {"clean": accuracy(model, held_out)}
            for what, one in (("attacked", model), ("balanced", balanced(model))):
                (told[what],) = under_attack(
                    one, fit_on, held_out, [("bpr", "pgd", SEARCHED)]
                ).values()
            line = {"step": "search", "data": name, "model": kind, "arm": arm, "point": point}
            record(QUESTION, **line, setting=found, **facts, **told)


def under_attack(
    model: Any,
    train: Interactions,
    test: Interactions,
    attacks: Attacks,
) -> dict[str, float]:
    """NDCG@10 under each attack: its loss, its method and the relative size of the move."""
    found = {}
    for loss, method, epsilon in attacks:
        moved = attacked(model, train, epsilon, method, loss=loss, triples=TRIPLES)
        what = f"{method} {epsilon:g}"
        found[what if loss == "bpr" else f"{loss} {what}"] = accuracy(moved, test)
    return found


def accuracy(model: Any, test: Interactions) -> float:
    """NDCG@10, all items ranked, known ones left out."""
    metric = parse(METRIC)
    lists = judged(model, test, [metric], exclude_seen=True, unknown="popular")
    return float(metric.mean(lists.hits, model.seen_))


def searched(name: str, kind: str, arm: str) -> list[dict[str, Any]]:
    """The recorded settings of an arm."""
    return recorded(QUESTION, step="search", data=name, model=kind, arm=arm)


def chosen(name: str, kind: str, arm: str) -> dict[str, Setting]:
    """The recorded settings of the best sum and of the best clean figure, by the choice's name.

    Raises:
        SystemExit: If no search is recorded.
    """
    known = searched(name, kind, arm)
    if not known:
        sys.exit(f"no search of {arm} is recorded; run `search {name!r} {kind} {arm}` first")
    best = {"both": max(known, key=score)}
    if arm == "l2":
        best["clean"] = max(known, key=lambda line: line["clean"])
    return {
        choice: {**line["setting"], "epochs": line["best_epoch"]} for choice, line in best.items()
    }


def judge(name: str, kind: str, arms: list[str]) -> None:
    """Fits what was chosen once a seed; records test figures of each, and their radii."""
    train, test = parts(name)
    for arm in arms:
        for choice, found in chosen(name, kind, arm).items():
            done = recorded(QUESTION, step="judge", data=name, model=kind, arm=arm)
            if any(line["setting"] == found for line in done):
                continue
            began = time.perf_counter()
            runs = [figures(kind, found, seed, train, test) for seed in range(SEEDS)]
            means = {what: statistics.fmean(run[what] for run in runs) for what in runs[0]}
            spreads = {what: statistics.stdev(run[what] for run in runs) for what in runs[0]}
            line = {"step": "judge", "data": name, "model": kind, "arm": arm, "choice": choice}
            seconds = (time.perf_counter() - began) / SEEDS
            record(
                QUESTION, **line, setting=found, seconds=seconds, means=means, deviations=spreads
            )


def figures(
    kind: str, found: Setting, seed: int, train: Interactions, test: Interactions
) -> dict[str, float]:
    """The test figures of one fit: accuracy by attack, and the median certified radius."""
    model = MODELS[kind](**found, random_state=seed).fit(train)
    values = {"clean": accuracy(model, test)}
    usual: Attacks = [("bpr", method, size) for method in METHODS for size in EPSILONS]
    auc: Attacks = [("auc", "pgd", size) for size in BALANCED]
    values |= under_attack(model, train, test, [*usual, *auc])
    shorter = balanced(model)
    again: Attacks = [("bpr", "pgd", size) for size in BALANCED]
    moved = under_attack(shorter, train, test, [*again, *auc])
    values |= {f"balanced {what}": value for what, value in moved.items()}
    users = model.users_.take(torch.arange(min(CERTIFIED, len(model.users_))))
    for what, one in (("", model), ("balanced ", shorter)):
        values[f"{what}radius"] = float(one.certify(users, k=10)["relative_radius"].median())
    return values


def main() -> None:
    """Runs one step for a model on a data set, for all arms or those named."""
    step, name, kind, *arms = sys.argv[1:]
    {"search": search, "judge": judge}[step](name, kind, arms or list(ARMS))


if __name__ == "__main__":
    main()
