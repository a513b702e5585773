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
    by_pruner: dict[tuple[str, str], dict[str, dict[int, Line]]] = {}
    for line in recorded(QUESTION, folder, step="prune"):
        pruners = by_pruner.setdefault((line["data"], line["model"]), {})
        pruners.setdefault(line["pruner"], {})[line["seed"]] = line
    page: list[str] = []
    for (name, kind), pruners in by_pruner.items():
        whole = pruners.pop("none", {})
        for pruner, lines in pruners.items():
            if pairs := {seed: (lines[seed], whole[seed]) for seed in lines.keys() & whole.keys()}:
                page += _pairs(f"Pruning {kind} on {name} ({pruner})", pairs)
    return page


def _pairs(what: str, pairs: dict[int, tuple[Line, Line]]) -> list[str]:
    """By seed, a search that was pruned and one that was not."""
    shares = {seed: pruned["epochs"] / full["epochs"] for seed, (pruned, full) in pairs.items()}
    gain = statistics.median(pruned["value"] - full["value"] for pruned, full in pairs.values())
    told = (
        f"{what}: {statistics.median(shares.values()):.0%} of the epochs, and a best value "
        f"{gain:+.4f} beside that without (medians; seeds: {len(pairs)})."
    )
    page = [
        told,
        "",
        "| seed | best, pruned | not pruned | epochs, pruned | not pruned | share |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    for seed, both in sorted(pairs.items()):
        cells = [f"{line['value']:.4f}" for line in both]
        cells += [f"{line['epochs']:,}" for line in both]
        page.append(f"| {seed} | {' | '.join(cells)} | {shares[seed]:.0%} |")
    return [*page, ""]
