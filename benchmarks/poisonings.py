"""What fake users and a few facts do: the newest line of each fit from ``quality_poisoning``."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from benchmarks.record import RESULTS, recorded

QUESTION = "quality_poisoning"
KINDS = ("random", "bandwagon", "segment", "gradient")
WAYS = ("random removals", "gradient removals", "random additions", "gradient additions")
ATTACKS = ("none", *WAYS)
Line = dict[str, Any]


def tables(folder: Path = RESULTS) -> list[str]:
    """Markdown: hits by data set, model and share of fake users; MRR of targets by graph."""
    return [*_users(recorded(QUESTION, folder, step="users")), *_facts(folder)]


def _users(lines: list[Line]) -> list[str]:
    found: dict[tuple[str, str], dict[tuple[str, float], dict[int, Line]]] = {}
    for line in lines:
        arms = found.setdefault((line["data"], line["model"]), {})
        arms.setdefault((line["kind"], line["share"]), {})[line["seed"]] = line
    rows = []
    for (name, model), arms in found.items():
        for share in sorted({share for _, share in arms} - {0.0}):
            shown = [arms.get(arm, {}) for arm in (("none", 0.0), *((k, share) for k in KINDS))]
            shared = set.intersection(*(set(runs) for runs in shown if runs))
            cells = [_hits([runs[seed] for seed in shared] if runs else []) for runs in shown]
            rows.append(f"| {name} | {model} | {share:.1%} | {len(shared)} | {' | '.join(cells)} |")
    if not rows:
        return []
    head = f"| data | model | fake users | seeds | none | {' | '.join(KINDS)} |"
    return [head, f"|---|---|---:|---:|---:|{'---:|' * len(KINDS)}", *rows, ""]


def _hits(runs: list[Line]) -> str:
    """Hits in ten thousand, and the mean rank; means over the seeds that all arms have."""
    if not runs:
        return ""
    hits, rank = (statistics.fmean(run[name] for run in runs) for name in ("hit_rate", "rank"))
    return f"{1e4 * hits:.2f} ({rank:.0f})"


def _facts(folder: Path) -> list[str]:
    found: dict[str, dict[str, dict[int, float]]] = {}
    for line in recorded(QUESTION, folder, step="facts"):
        runs = found.setdefault(line["data"], {}).setdefault(line["attack"], {})
        runs[line["seed"]] = line["targets"]
    if not found:
        return []
    page = [f"| graph | {' | '.join(ATTACKS)} |", f"|---|{'---:|' * len(ATTACKS)}"]
    for name, attacks in found.items():
        cells = [_spread(list(attacks.get(attack, {}).values())) for attack in ATTACKS]
        page.append(f"| {name} | {' | '.join(cells)} |")
    return [*page, ""]


def _spread(values: list[float]) -> str:
    if len(values) < 2:
        return "".join(f"{value:.4f}" for value in values)
    return f"{statistics.fmean(values):.4f} ± {statistics.stdev(values):.4f}"
