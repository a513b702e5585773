"""The tables of warm start: every way to use what came after the cut, on every log.

A row is an arm of the newest line of a data set from ``quality_warm_start``; TriplH has tables of
its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.record import RESULTS, recorded

SHOWN = ("ndcg@10", "recall@10")
ORDER = ("warm", "cold", "new items")
QUESTIONS = {"quality_warm_start": "", "quality_warm_start_triplh": ": TriplH"}


def tables(folder: Path = RESULTS) -> list[str]:
    """Markdown: a table per data set, arms as rows; accuracy by stratum, time per user."""
    page: list[str] = []
    for question, subject in QUESTIONS.items():
        lines = recorded(question, folder)
        for line in {line["data"]: line for line in lines}.values():
            page += [f"### {line['data']}{subject}", "", *_table(line), "", _gaps(line), ""]
    return page


def _table(line: dict[str, Any]) -> list[str]:
    strata = {name: line["strata"][name] for name in ORDER if name in line["strata"]}
    heads = [
        f"{name} ({part['users']} users): {metric}"
        for name, part in strata.items()
        for metric in (SHOWN if name == "warm" else SHOWN[:1])
    ]
    rows = [f"| | {' | '.join(heads)} | ms per user |", f"|---|{'---:|' * (len(heads) + 1)}"]
    for arm, milliseconds in line["ms_per_user"].items():
        cells = []
        for name, part in strata.items():
            for metric in SHOWN if name == "warm" else SHOWN[:1]:
                value, low, high, _ = part["arms"][arm][metric]
                cells.append(f"{value:.4f} [{low:.3f}, {high:.3f}]")
        rows.append(f"| {arm} | {' | '.join(cells)} | {milliseconds:.3g} |")
    return rows


def _gaps(line: dict[str, Any]) -> str:
    """Whether refits gained anything for warm users, and what partial_fit had of it."""
    warm = line["strata"]["warm"]
    judged = next(iter(warm["gaps"]))
    p = warm["arms"][f"{judged} refit"][SHOWN[0]][3]
    parts = [
        f"{family} {found['gap']:+.4f} ("
        + ", ".join(
            f"{found[share]:.0%} {share}"
            for share in ("recovered", "recovered by 2 sweeps")
            if found.get(share) is not None
        )
        + ")"
        for family, found in warm["gaps"].items()
    ]
    return (
        f"{SHOWN[0]} from stale to refit, warm users: {'; '.join(parts)}. {judged}'s gap has "
        f"p = {p:.3g}, corrected for all tests."
    )
