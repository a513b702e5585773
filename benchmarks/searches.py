"""What searches found, each time that they were judged, and what pruning saves."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from benchmarks.record import RESULTS, recorded

QUESTION = "quality_search"
Line = dict[str, Any]


def tables(folder: Path = RESULTS) -> list[str]:
    """Markdown: defaults and found on test; then value and epochs with pruning and without."""
    return [*_judged(folder), *_pruned(folder)]


def _judged(folder: Path) -> list[str]:
    heads = ["validation, defaults", "found", "test, defaults", "found", "p", "trials", "finals"]
    head = f"| data | model | metric | {' | '.join(heads)} | found has |"
    page = [head, f"|---|---|---|{'---:|' * len(heads)}---|"]
    for line in recorded(QUESTION, folder, step="judge"):
        cells = [f"{line[arm]['validation']:.4f}" for arm in ("defaults", "found")]
        cells += [_mean(line[arm]) for arm in ("defaults", "found")]
        finals = "yes" if line.get("finalists") else "no"
        cells += [f"{line['p_value']:.2g}", _counts(line["trials"]), finals]
        changes = ", ".join(f"{key} {value}" for key, value in line["changes"].items())
        cells.append(changes or "the defaults")
        again = f", judged {turn} times" if (turn := line.get("turn", 1)) > 1 else ""
        again += ", test facts hidden on validation" * line.get("hidden", False)
        names = [line["data"], line["model"] + again, line["metric"]]
        page.append(f"| {' | '.join([*names, *cells])} |")
    return [*page, ""]


def _mean(arm: Line) -> str:
    return f"{arm['test']:.4f} ± {arm['deviation']:.4f}"


def _counts(trials: dict[str, int]) -> str:
    return ", ".join(f"{count} {state}" for state, count in trials.items())


def _pruned(folder: Path) -> list[str]:
    pairs: dict[tuple[str, str], dict[int, dict[str, Line]]] = {}
    for line in recorded(QUESTION, folder, step="prune"):
        seeds = pairs.setdefault((line["data"], line["model"]), {})
        seeds.setdefault(line["seed"], {})[line["pruner"]] = line
    page: list[str] = []
    for (name, kind), seeds in pairs.items():
        whole = {seed: both for seed, both in seeds.items() if {"median", "none"} <= both.keys()}
        if not whole:
            continue
        shares = [both["median"]["epochs"] / both["none"]["epochs"] for both in whole.values()]
        gains = [both["median"]["value"] - both["none"]["value"] for both in whole.values()]
        told = (
            f"Pruning {kind} on {name}: {statistics.median(shares):.0%} of the epochs, and a best "
            f"value {statistics.median(gains):+.4f} beside that without (medians; seeds: "
            f"{len(whole)})."
        )
        page += [
            told,
            "",
            "| seed | best, pruned | not pruned | epochs, pruned | not pruned | share |",
            "|---:|---:|---:|---:|---:|---:|",
        ]
        for (seed, both), share in zip(whole.items(), shares, strict=True):
            cells = [f"{both[pruner]['value']:.4f}" for pruner in ("median", "none")]
            cells += [f"{both[pruner]['epochs']:,}" for pruner in ("median", "none")]
            page.append(f"| {seed} | {' | '.join(cells)} | {share:.0%} |")
        page.append("")
    return page
