"""The table of accuracies: every model's judged run on every published split.

A row is the newest ``judge`` line of a model on a data set, from the ``quality_*`` scripts.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.record import RESULTS

PUBLISHED = {  # Recall@20, NDCG@20 of UltraGCN (Mao et al. 2021; its benchmark logs)
    "gowalla": (0.1862, 0.1580),
    "yelp2018": (0.0683, 0.0561),
    "amazon-cds": (0.1622, 0.1043),
    "ml-1m-ultragcn": (0.2787, 0.2642),
}
FIRST = ("UltraGCN", "Popularity", "EASE")  # a linear model heads the table; the rest follow


def judged(folder: Path = RESULTS) -> dict[str, dict[str, dict[str, Any]]]:
    """The newest judged line of each model, by data set and model."""
    found: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in PUBLISHED}
    for path in sorted(folder.glob("quality_*.jsonl")):
        for line in map(json.loads, path.read_text().splitlines()):
            if line.get("step") == "judge":
                found[line["data"]][line.get("model", "UltraGCN")] = line
    return found


def tables(folder: Path = RESULTS) -> list[str]:
    """Markdown: a table per data set, models as rows, intervals in brackets."""
    page: list[str] = []
    for name, runs in judged(folder).items():
        if not runs:
            continue
        page += [f"### {name}", "", "| model | Recall@20 | NDCG@20 | fit, s | setting |"]
        page += ["|---|---:|---:|---:|---|"]
        recall, ndcg = PUBLISHED[name]
        page.append(f"| UltraGCN as published, epoch picked on test | {recall} | {ndcg} | | |")
        first = [model for model in FIRST if model in runs]
        rest = sorted(runs.keys() - set(first))
        page += [_row(model, runs[model]) for model in [*first, *rest]]
        page.append("")
    return page


def _row(model: str, line: dict[str, Any]) -> str:
    cells = [_interval(line["accuracy"][metric]) for metric in ("recall@20", "ndcg@20")]
    setting = ", ".join(f"{key} {value}" for key, value in line["setting"].items())
    return f"| {model} | {' | '.join(cells)} | {line['seconds']:.3g} | {setting} |"


def _interval(measured: dict[str, float]) -> str:
    return f"{measured['value']:.4f} [{measured['low']:.4f}, {measured['high']:.4f}]"
