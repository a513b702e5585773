"""The price lists of freshness: what each policy came to on a replayed log, and what it took.

A table is a model of the newest line of a data set from ``quality_replay``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.record import RESULTS, recorded

DAY = 86_400
HEADS = ("NDCG@10", "gain over none", "coverage", "refits", "seconds", "each", "age, days")


def tables(folder: Path = RESULTS) -> list[str]:
    """Markdown: a table per data set and model, policies as rows."""
    lines = recorded("quality_replay", folder)
    page: list[str] = []
    for line in {line["data"]: line for line in lines}.values():
        sizes = line["sizes"]
        said = (
            f"{sizes['slices']} slices of {line['every']}, {sizes['answers']:,} answers, "
            f"{sizes['new_pairs']:,} new pairs. {_unknown(line)}"
        )
        page += [f"### {line['data']}", "", said, ""]
        for name, found in line["models"].items():
            page += [*_table(name, found["policies"]), ""]
    return page


def _table(name: str, policies: dict[str, dict[str, Any]]) -> list[str]:
    rows = [f"| {name} | {' | '.join(HEADS)} |", f"|---|{'---:|' * len(HEADS)}"]
    for policy, row in policies.items():
        each = row["median_seconds"]
        cells = [
            f"{row['ndcg@10']:.4f} [{row['low']:.3f}, {row['high']:.3f}]",
            f"{row['gain']:+.4f} [{row['gain_low']:+.3f}, {row['gain_high']:+.3f}]",
            f"{row['coverage@10']:.3f}",
            str(row["refits"]),
            f"{row['seconds']:.3g}",
            "" if each is None else f"{each:.3g}",
            f"{row['age'] / DAY:.3g}",
        ]
        rows.append(f"| {policy} | {' | '.join(cells)} |")
    return rows


def _unknown(line: dict[str, Any]) -> str:
    """How much of the truth a stale and a fresh state could not know."""
    policies = next(iter(line["models"].values()))["policies"]
    stale, fresh = (policies[name] for name in ("none", "update"))
    return (
        f"Pairs whose user the state did not know: {stale['unknown_users']:.0%} without updates, "
        f"{fresh['unknown_users']:.0%} with them; whose item: {stale['unknown_items']:.1%} and "
        f"{fresh['unknown_items']:.1%}."
    )
