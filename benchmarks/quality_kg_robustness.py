"""Which regularizer keeps the ranks of facts when a link predictor's vectors are moved?

    python -m benchmarks.quality_kg_robustness search umls        # on validation
    python -m benchmarks.quality_kg_robustness judge umls         # seeds, on test
    python -m benchmarks.quality_kg_robustness search codex-s cvar apr     # these arms

An arm is a regularizer of TuckER beside its dropouts: none, N3, the largest row of the logits,
their Frobenius norm, the mean of their largest rows (CVaR), or adversarial training (APR). Each has
eight settings: four strengths at two learning rates; of none, eight rates. ``search`` fits every
setting with early stopping on the MRR of the validation facts, and records that MRR as it is and
under PGD-10 at 0.2 of the RMS row norm of each table, by the worse of both losses.

``judge`` takes each arm's setting of the best sum, fits it anew for each seed, a MIG-TF upon it,
and evaluates both once on test: as they are, and under PGD-10, FGSM and a random move of equal size
at 0.05 to 0.8, by both losses. Filtered ranks of both directions, ties by their mean.
"""

from __future__ import annotations

import statistics
import sys
import time
from typing import Any

import data
from benchmarks.quality_kg import BLOCKS, FALL, SOFTMAX, VARIED, Graph, Setting
from benchmarks.record import record, recorded
from hyperrank.attacks import EPSILONS, METHODS
from kg import MIGTF, Triples, TuckER
from kg.attacks import LOSSES, attacked
from kg.judging import judge as judged

QUESTION = "quality_kg_robustness"
SEARCHED = 0.2
SEEDS = 3
DENSE: Setting = {
    **SOFTMAX, **FALL, **VARIED[0], "entity_dim": 100, "relation_dim": 30, "batch_size": 128,
    "core_scale": 0.1, "epochs": 40,
}  # fmt: skip
FIXED: dict[str, Setting] = {
    "umls": DENSE,
    "kinship": DENSE,
    "codex-s": {
        **SOFTMAX, **FALL, **BLOCKS, "entity_dim": 200, "relation_dim": 200, "blocks": 100,
        "batch_size": 256, "n3": 0.0,
    },
}  # fmt: skip
MIXED: Setting = {"hyperbolic_dim": 50, "epochs": 20}
RATES = (5e-3, 1e-2)
ALONE = (1.25e-3, 1.8e-3, 2.5e-3, 3.5e-3, 5e-3, 7e-3, 1e-2, 1.4e-2)  # where nothing else is tried
STRENGTHS: dict[str, tuple[float, ...]] = {
    "none": (),
    "n3": (0.1, 1.0, 10.0, 40.0),
    "rows": (1e-5, 3e-5, 1e-4, 3e-4),
    "frobenius": (3e-5, 1e-4, 3e-4, 1e-3),
    "cvar": (3e-5, 1e-4, 3e-4, 1e-3),
    "apr": (0.1, 0.2, 0.4, 0.8),
}
OF_BLOCKS: dict[str, tuple[float, ...]] = {"n3": (1e-3, 2.5e-3, 5e-3, 1e-2)}


def settings(name: str, arm: str) -> list[Setting]:
    """What is tried of an arm on a graph."""
    if arm == "none":
        return [{**FIXED[name], "lr": lr} for lr in ALONE]
    strengths = STRENGTHS | (OF_BLOCKS if "blocks" in FIXED[name] else {})
    return [
        {**FIXED[name], "lr": lr, **_regularized(arm, strength)}
        for lr in RATES
        for strength in strengths[arm]
    ]


def _regularized(arm: str, strength: float) -> Setting:
    if arm == "n3":
        return {"n3": strength}
    if arm == "apr":
        return {"adversarial_weight": 1.0, "adversarial_epsilon": strength}
    return {"robustness": arm, "robustness_weight": strength}


def mrr(model: TuckER, facts: Triples, known: list[Triples]) -> float:
    """The mean reciprocal rank of facts, both ways, the model's own and known answers hidden."""
    return float((1 / judged(model, facts, known, "realistic", "filtered").rank).mean())


def under_attack(
    model: TuckER, train: Triples, facts: Triples, known: list[Triples], what: list[str]
) -> dict[str, float]:
    """MRR by "loss method epsilon"."""
    found = {}
    for one in what:
        loss, method, epsilon = one.split()
        moved = attacked(model, train, float(epsilon), method, loss=loss)  # type: ignore[arg-type]
        found[one] = mrr(moved, facts, known)
    return found


def search(name: str, arms: list[str]) -> None:
    """Records the validation figures of every setting not yet tried."""
    train, valid, _ = data.graph(name)
    for arm in arms:
        done = [line["setting"] for line in searched(name, arm)]
        for setting in settings(name, arm):
            if setting in done:
                continue
            began = time.perf_counter()
            model = TuckER(**setting).fit(train, valid)
            seconds = time.perf_counter() - began
            moved = under_attack(
                model, train, valid, [], [f"{loss} pgd {SEARCHED}" for loss in LOSSES]
            )
            figures = {"clean": mrr(model, valid, []), "attacked": min(moved.values()), **moved}
            line = {"step": "search", "data": name, "arm": arm, "setting": setting}
            record(QUESTION, **line, seconds=seconds, best_epoch=model.best_epoch_, **figures)


def searched(name: str, arm: str) -> list[dict[str, Any]]:
    """The recorded settings of an arm on a graph."""
    return recorded(QUESTION, step="search", data=name, arm=arm)


def chosen(name: str, arm: str) -> Setting:
    """The recorded setting of the best sum of validation MRR, as it is and under attack.

    Raises:
        SystemExit: If no search is recorded.
    """
    known = searched(name, arm)
    if not known:
        sys.exit(f"no search of {arm} on {name} is recorded; run `search {name} {arm}` first")
    best: Setting = max(known, key=lambda line: line["clean"] + line["attacked"])["setting"]
    return best


def judge(name: str, arms: list[str]) -> None:
    """Records test figures of the chosen settings, means and deviations over seeds."""
    graph = data.graph(name)
    for arm in arms:
        setting = chosen(name, arm)
        done = recorded(QUESTION, step="judge", data=name, arm=arm)
        if any(line["setting"] == setting for line in done):
            continue
        runs = [figures({**setting, "random_state": seed}, graph) for seed in range(SEEDS)]
        for model in runs[0]:
            values = {what: [run[model][what] for run in runs] for what in runs[0][model]}
            told = {
                "means": {what: statistics.fmean(values[what]) for what in values},
                "deviations": {what: statistics.stdev(values[what]) for what in values},
            }
            line = {"step": "judge", "data": name, "arm": arm, "model": model}
            record(QUESTION, **line, setting=setting, **told)


def figures(setting: Setting, graph: Graph) -> dict[str, dict[str, float]]:
    """The test figures of a TuckER and of a MIG-TF upon it."""
    train, valid, test = graph
    base = TuckER(**setting).fit(train, valid)
    plain = {key: setting[key] for key in setting if not key.startswith("robustness")}
    mixed = MIGTF(**{**plain, **MIXED}).fit(train, valid, base=base)
    what = [f"{loss} {m} {size}" for loss in LOSSES for m in METHODS[:2] for size in EPSILONS]
    what += [f"{LOSSES[0]} random {size}" for size in EPSILONS]
    return {
        name: {
            "clean": mrr(model, test, [valid]),
            **under_attack(model, train, test, [valid], what),
        }
        for name, model in (("tucker", base), ("mixed", mixed))
    }


def main() -> None:
    """Runs one step on one graph, for all arms or those named."""
    step, name, *arms = sys.argv[1:]
    {"search": search, "judge": judge}[step](name, arms or list(STRENGTHS))


if __name__ == "__main__":
    main()
