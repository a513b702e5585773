"""The tables of link predictors' robustness: MRR of regularizers, clean and under attack.

From the lines of ``quality_kg_robustness``: the newest judgement of each arm and model.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.record import RESULTS, recorded

SIZES = ("0.05", "0.1", "0.2", "0.4", "0.8")
# heading -> the figures of which the least is shown
SHOWN: dict[str, tuple[str, ...]] = {
    "clean": ("clean",),
    **{f"PGD {size}": (f"softmax pgd {size}", f"auc pgd {size}") for size in SIZES},
    "softmax 0.2": ("softmax pgd 0.2",),
    "softmax 0.4": ("softmax pgd 0.4",),
    "FGSM 0.2": ("softmax fgsm 0.2", "auc fgsm 0.2"),
    "FGSM 0.8": ("softmax fgsm 0.8", "auc fgsm 0.8"),
    "random 0.2": ("softmax random 0.2",),
    "random 0.8": ("softmax random 0.8",),
}
MODELS = {"tucker": "TuckER", "mixed": "MIG-TF on it"}
ARMS = {
    "none": "none",
    "n3": "N3",
    "rows": "largest row of logits",
    "frobenius": "Frobenius norm of logits",
    "cvar": "CVaR of rows of logits",
    "apr": "APR",
}
CHANGED = ("lr", "n3", "robustness_weight", "adversarial_epsilon")
Line = dict[str, Any]


def tables(folder: Path = RESULTS) -> list[str]:
    """Markdown: a table for each graph, a row for each model and regularizer."""
    lines = recorded("quality_kg_robustness", folder, step="judge")
    page: list[str] = []
    for name in dict.fromkeys(line["data"] for line in lines):
        runs = {(line["model"], line["arm"]): line for line in lines if line["data"] == name}
        page += [f"### {name}", ""]
        page += [f"| model | regularizer | {' | '.join(SHOWN)} | setting |"]
        page += [f"|---|---|{'---:|' * len(SHOWN)}---|"]
        page += [
            f"| {MODELS[model]} | {ARMS[arm]} | {_cells(runs[model, arm])} |"
            for model in MODELS
            for arm in ARMS
            if (model, arm) in runs
        ]
        page.append("")
    return page


def _cells(line: Line) -> str:
    cells = []
    for names in SHOWN.values():
        least = min(names, key=lambda name: line["means"][name])
        cells.append(f"{line['means'][least]:.4f} ± {line['deviations'][least]:.4f}")
    told = {key: line["setting"][key] for key in CHANGED if line["setting"].get(key)}
    return " | ".join([*cells, ", ".join(f"{key} {value}" for key, value in told.items())])
