"""The tables of accuracies: every model's judged run on every split.

A row is the newest ``judge`` line of a model on a data set, from the ``quality_*`` scripts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from benchmarks.record import RESULTS, recorded
from benchmarks.splits import by_time

PUBLISHED = {  # Recall@20, NDCG@20 of UltraGCN (Mao et al. 2021; its benchmark logs)
    "gowalla": (0.1862, 0.1580),
    "yelp2018": (0.0683, 0.0561),
    "amazon-cds": (0.1622, 0.1043),
    "ml-1m-ultragcn": (0.2787, 0.2642),
}
OTHERS = {  # judged too, and what is said of them
    "amazon-cd-hgcf": (
        "The split of the hyperbolic graph models. Their figures are quoted from memory and could "
        "not be checked: Recall@10 and @20 of HGCF .0962 and .1455, HRCF .1003 and .1503, HICF "
        ".1079 and .1586."
    ),
    "amazon-beauty time": "The last 10% of all events are test; users whom train knows are judged.",
    "ml-100k time": (
        "The last 10% of all events are test; the few users whom train knows are judged, so "
        "intervals are wide. Coverage@1 is what the authors of TriplH call coverage."
    ),
}
USUAL = ("recall@20", "ndcg@20", "coverage@10")
IN_TIME = tuple(f"{kind}@{k}" for kind in ("hr", "ndcg", "coverage") for k in (1, 5, 10))
METRICS = (
    dict.fromkeys(PUBLISHED, USUAL)
    | {name: IN_TIME for name in OTHERS if by_time(name)}
    | {"amazon-cd-hgcf": ("recall@10", "recall@20", "ndcg@10", "ndcg@20", "coverage@10")}
)
FIRST = ("UltraGCN", "Popularity", "EASE")  # a linear model heads the table; the rest follow


def unknown(name: str) -> Literal["popular", "skip"]:
    """What becomes of test users whom train does not know: in time, they are not judged."""
    return "skip" if by_time(name) else "popular"


def figures(table: Any) -> dict[str, dict[str, float]]:
    """An evaluation's frame as what is recorded: value, interval and users of each metric."""
    return {
        row.metric: {"value": row.value, "low": row.low, "high": row.high, "users": row.n}
        for row in table.itertuples()
    }


def judged(folder: Path = RESULTS) -> dict[str, dict[str, dict[str, Any]]]:
    """The newest judged line of each model, by data set and model."""
    found: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in METRICS}
    for path in sorted(folder.glob("quality_*.jsonl")):
        for line in recorded(path.stem, folder, step="judge"):
            if line["data"] in found and "accuracy" in line:
                found[line["data"]][line.get("model", "UltraGCN")] = line
    return found


def tables(folder: Path = RESULTS) -> list[str]:
    """Markdown: a table per published split, models as rows, intervals in brackets."""
    page: list[str] = []
    for name, runs in judged(folder).items():
        if not runs or name not in PUBLISHED:
            continue
        page += [f"### {name}", "", "| model | Recall@20 | NDCG@20 | fit, s | setting |"]
        page += ["|---|---:|---:|---:|---|"]
        recall, ndcg = PUBLISHED[name]
        page.append(f"| UltraGCN as published, epoch picked on test | {recall} | {ndcg} | | |")
        if name == "gowalla":
            page.append("| SimpleX as published by BARS | 0.1872 | 0.1557 | | |")
        page += [_row(model, runs[model], ("recall@20", "ndcg@20")) for model in _ordered(runs)]
        page.append("")
    return page


def other_tables(folder: Path = RESULTS) -> list[str]:
    """Markdown: a table per other split, the same with its own metrics."""
    page: list[str] = []
    for name, said in OTHERS.items():
        runs = judged(folder)[name]
        if runs:
            metrics = METRICS[name]
            users = next(iter(runs.values()))["accuracy"][metrics[0]]["users"]
            page += [f"#### {name}", "", f"{said} {users:,} users.", ""]
            page += [f"| model | {' | '.join(metrics)} | fit, s | setting |"]
            page += [f"|---|{'---:|' * (len(metrics) + 1)}---|"]
            page += [_row(model, runs[model], metrics) for model in _ordered(runs)]
            page.append("")
    return page


def _ordered(runs: dict[str, Any]) -> list[str]:
    first = [model for model in FIRST if model in runs]
    return [*first, *sorted(runs.keys() - set(first))]


def _row(model: str, line: dict[str, Any], metrics: tuple[str, ...]) -> str:
    cells = [_interval(line["accuracy"][metric]) for metric in metrics]
    setting = ", ".join(f"{key} {value}" for key, value in line["setting"].items())
    return f"| {model} | {' | '.join(cells)} | {line['seconds']:.3g} | {setting} |"


def _interval(measured: dict[str, float]) -> str:
    if measured["low"] is None:
        return f"{measured['value']:.4f}"
    return f"{measured['value']:.4f} [{measured['low']:.4f}, {measured['high']:.4f}]"
