"""How accurate are TuckER and MIG-TF on the published graphs, and what does each option give?

    python -m benchmarks.quality_kg search codex-s             # TuckER's settings, on validation
    python -m benchmarks.quality_kg search codex-s mixed       # MIG-TF's, on the best TuckER
    python -m benchmarks.quality_kg search codex-s mixed 1     # the first of them alone
    python -m benchmarks.quality_kg judge codex-s 3            # both, three seeds, on test, once
    python -m benchmarks.quality_kg ablate codex-s             # one option at a time, on validation
    python -m benchmarks.quality_kg run wn18rr published       # a named configuration, by epochs
    python -m benchmarks.quality_kg run fb15k-237 stronger     # this one wants a GPU

Filtered ranks of both directions, ties by their mean, unseen entities kept, no head excluded.
``search`` fits every setting with early stopping on the MRR of the validation facts and records the
best. ``judge`` takes the recorded setting of the best validation MRR, fits it anew for each seed,
on train alone and stopped by validation again, and evaluates it on test, train and validation
answers hidden. MIG-TF starts from the TuckER that is judged beside it. ``ablate`` changes the
chosen setting of TuckER in one option at a time. ``run`` records the validation MRR by epoch, and
the test figures at its best epoch.
"""

from __future__ import annotations

import sys
import time
from typing import Any
from unittest.mock import patch

import data
from benchmarks.record import record, recorded
from hyperrank.training import EarlyStopping
from kg import MIGTF, Triples, TuckER, evaluate

QUESTION = "quality_kg"
Setting = dict[str, Any]
Graph = tuple[Triples, Triples, Triples]

SOFTMAX: Setting = {"loss": "softmax", "smoothing": 0.0, "smoothing_rule": "uniform"}
SHAPES: dict[str, Setting] = {
    "umls": {"entity_dim": 100, "relation_dim": 30, "batch_size": 64, "core_scale": 0.1},
    "kinship": {"entity_dim": 100, "relation_dim": 30, "batch_size": 64, "core_scale": 0.1},
    "codex-s": {"entity_dim": 200, "relation_dim": 30, "batch_size": 256, "core_scale": 0.1},
}
FALL: Setting = {"lr_fall": True, "evaluate_every": 10, "patience": 3}
VARIED: list[Setting] = [
    {"lr": 5e-3, "epochs": 60, "input_dropout": 0.3, "core_dropout": 0.2, "output_dropout": 0.4},
    {"lr": 5e-3, "epochs": 60, "input_dropout": 0.5, "core_dropout": 0.4, "output_dropout": 0.6},
    {"lr": 5e-3, "epochs": 60, "input_dropout": 0.2, "core_dropout": 0.1, "output_dropout": 0.2},
]
BLOCKS: Setting = {  # from ComplEx on, regularized by the sizes of the vectors and not by noise
    "entity_dim": 500,
    "relation_dim": 500,
    "blocks": 250,
    "core_start": "complex",
    "core_lr": 1e-5,
    "batch_norm": False,
    "input_dropout": 0.0,
    "core_dropout": 0.0,
    "output_dropout": 0.0,
    "core_scale": 1.0,
    "n3": 5e-3,
    "relation_weight": 0.25,
    "lr": 5e-3,
    "epochs": 20,
}
BLOCKED: dict[str, list[Setting]] = {"codex-s": [BLOCKS, {**BLOCKS, "n3": 2.5e-3}]}
DENSE: Setting = {
    "blocks": 1,
    "core_start": "uniform",
    "core_lr": None,
    "batch_norm": True,
    "n3": 0.0,
    "relation_weight": 0.0,
}
MIXED: list[Setting] = [
    {"hyperbolic_dim": 50},
    {"hyperbolic_dim": 50, "curvature": -1 / 1.3, "gate": 1.0, "learn_gate": False},
    {"hyperbolic_dim": 50, "gate": 1.0, "training": "joint"},
]
SLOWLY: Setting = {"hyperbolic_dim": 50, "point_dropout": 0.3, "epochs": 10, "evaluate_every": 2}
MIXED_BLOCKS: list[Setting] = [
    {"hyperbolic_dim": 50, "point_dropout": 0.3},
    {**SLOWLY, "lr": 5e-4},
    {**SLOWLY, "lr": 1e-3, "training": "joint"},
]
ABLATED: dict[str, Setting] = {
    "as chosen": {},
    "binary cross-entropy": {"loss": "bce", "smoothing": 0.1, "smoothing_rule": "conve"},
    "relations not predicted": {"relation_weight": 0.0},
    "no N3": {"n3": 0.0},
    "DURA for N3": {"n3": 0.0, "dura": 5e-3},
    "the core's rate that of all": {"core_lr": None},
    "the core from a uniform start": {"core_start": "uniform"},
    "muon for the core": {"optimizer": "muon"},
    "one block, dropped and normalized": {**SHAPES["codex-s"], **VARIED[0], **DENSE},
    "no falling rate": {"lr_fall": False},
}
PUBLISHED: Setting = {
    "entity_dim": 200,
    "epochs": 500,
    "batch_size": 128,
    "evaluate_every": 5,
    "patience": 10,
}
RUNS: dict[tuple[str, str], Setting] = {  # TuckER's of Balazevic et al.; ours beside them
    ("wn18rr", "published"): {
        **PUBLISHED,
        "relation_dim": 30,
        "lr": 3e-3,
        "input_dropout": 0.2,
        "core_dropout": 0.2,
        "output_dropout": 0.3,
    },
    ("fb15k-237", "published"): {
        **PUBLISHED,
        "relation_dim": 200,
        "lr": 5e-4,
        "input_dropout": 0.3,
        "core_dropout": 0.4,
        "output_dropout": 0.5,
    },
    ("wn18rr", "stronger"): {
        **PUBLISHED,
        **SOFTMAX,
        "relation_dim": 30,
        "epochs": 100,
        "lr": 3e-3,
        "lr_fall": True,
        "core_scale": 0.1,
        "smoothing": 0.1,
    },
    ("wn18rr", "short"): {  # what two cores do in an hour
        **PUBLISHED,
        **SOFTMAX,
        "relation_dim": 30,
        "batch_size": 512,
        "epochs": 30,
        "evaluate_every": 3,
        "lr": 5e-3,
        "lr_fall": True,
        "core_scale": 0.1,
        "smoothing": 0.1,
        "input_dropout": 0.2,
        "core_dropout": 0.2,
        "output_dropout": 0.3,
    },
    ("fb15k-237", "stronger"): {
        **PUBLISHED,
        **SOFTMAX,
        "entity_dim": 512,
        "relation_dim": 200,
        "batch_size": 512,
        "epochs": 100,
        "lr": 3e-3,
        "lr_fall": True,
        "core_scale": 0.1,
        "input_dropout": 0.3,
        "core_dropout": 0.4,
        "output_dropout": 0.5,
        "relation_weight": 0.1,
        "precision": "tf32",
    },
}


def settings(name: str, arm: str) -> list[Setting]:
    """What is tried of an arm: "tucker" or "mixed"."""
    if arm == "mixed":
        return MIXED_BLOCKS if name in BLOCKED else MIXED
    tried = BLOCKED.get(name, VARIED)
    return [{**SHAPES[name], **SOFTMAX, **FALL, **varied} for varied in tried]


def searched(name: str, arm: str) -> list[dict[str, Any]]:
    """The recorded lines of ``search`` of an arm on a graph."""
    return recorded(QUESTION, step="search", data=name, model=arm)


def chosen(name: str, arm: str) -> Setting:
    """The recorded setting of the best validation MRR.

    Raises:
        SystemExit: If no search is recorded.
    """
    known = searched(name, arm)
    if not known:
        sys.exit(f"no search of {arm} on {name} is recorded; run `search {name} {arm}` first")
    setting: Setting = max(known, key=lambda line: line["validation_mrr"])["setting"]
    return setting


def fitted(
    graph: Graph, tucker: Setting, mixed: Setting | None = None, base: TuckER | None = None
) -> tuple[TuckER, dict[str, Any]]:
    """A TuckER, or a MIG-TF on ``base``, and how it went."""
    train, valid, _ = graph
    start = time.perf_counter()
    if mixed is None:
        model = TuckER(**tucker).fit(train, valid)
    else:
        model = MIGTF(**{**tucker, **mixed}).fit(train, valid, base=base)
    facts = {
        "seconds": time.perf_counter() - start,
        "best_epoch": model.best_epoch_,
        "epochs_run": len(model.history_),
        "validation_mrr": max(value for _, value in model.validation_history_),
        "validation_history": model.validation_history_,
    }
    return model, facts


def search(name: str, arm: str = "tucker", most: str = "9") -> None:
    """Records the validation MRR of every setting not yet tried, of the first so many."""
    graph, base = data.graph(name), None
    done = [line["setting"] for line in searched(name, arm)]
    for setting in settings(name, arm)[: int(most)]:
        if setting in done:
            continue
        if arm == "mixed":
            if base is None:
                base, _ = fitted(graph, chosen(name, "tucker"))
            _, facts = fitted(graph, chosen(name, "tucker"), setting, base)
        else:
            _, facts = fitted(graph, setting)
        record(QUESTION, step="search", data=name, model=arm, setting=setting, **facts)


def figures(model: TuckER, graph: Graph) -> dict[str, Any]:
    """The measures of a model on test, with intervals."""
    train, valid, test = graph
    frame = evaluate(model, test, known=[train, valid])
    return {
        row.metric: {"value": row.value, "low": row.low, "high": row.high, "seen": row.value_seen}
        for row in frame.itertuples()
    }


def judge(name: str, seeds: str = "3") -> None:
    """Records the figures of both models on test, seed by seed."""
    graph = data.graph(name)
    tucker, mixed = chosen(name, "tucker"), chosen(name, "mixed")
    for seed in range(int(seeds)):
        setting = {**tucker, "random_state": seed}
        base, facts = fitted(graph, setting)
        line = {"step": "judge", "data": name, "seed": seed}
        record(
            QUESTION, **line, model="tucker", setting=setting, **facts, test=figures(base, graph)
        )
        model, facts = fitted(graph, setting, mixed, base)
        record(QUESTION, **line, model="mixed", setting=mixed, **facts, test=figures(model, graph))


def ablate(name: str) -> None:
    """Records the validation MRR of the chosen TuckER with each option not yet changed."""
    graph, setting = data.graph(name), chosen(name, "tucker")
    done = [line["what"] for line in recorded(QUESTION, step="ablate", data=name)]
    for what, change in ABLATED.items():
        if what in done:
            continue
        _, facts = fitted(graph, {**setting, **change})
        record(QUESTION, step="ablate", data=name, model="tucker", what=what, **facts)


def run(name: str, arm: str) -> None:
    """Records the course of a configuration of TuckER look by look, and of MIG-TF upon it."""
    graph, setting = data.graph(name), RUNS[name, arm]
    line, start = {"data": name, "arm": arm}, time.perf_counter()
    look = EarlyStopping.look

    def told(stop: EarlyStopping, epochs: int = 0) -> None:
        look(stop, epochs)
        facts = {"epochs": epochs, "validation_mrr": stop.record[-1][1]}
        record(QUESTION, step="look", **line, **facts, seconds=time.perf_counter() - start)

    with patch.object(EarlyStopping, "look", told):
        base, facts = fitted(graph, setting)
    line = {"step": "run", **line}
    record(QUESTION, **line, model="tucker", setting=setting, **facts, test=figures(base, graph))
    model, facts = fitted(graph, setting, MIXED[0], base)
    record(QUESTION, **line, model="mixed", setting=MIXED[0], **facts, test=figures(model, graph))


def main() -> None:
    """Runs one step on one graph."""
    step, *options = sys.argv[1:]
    {"search": search, "judge": judge, "ablate": ablate, "run": run}[step](*options)


if __name__ == "__main__":
    main()
