"""Popularity at matched accuracy: the newest line of each data set from ``quality_popularity``."""

from __future__ import annotations

from pathlib import Path

from benchmarks.record import RESULTS, recorded

MEASURES = ("ndcg@20", "coverage@10", "gini@10", "popularity@10", "tail_recall@10")


def tables(folder: Path = RESULTS) -> list[str]:
    """Markdown: a table per data set, models as rows, each followed by TriplH at its accuracy."""
    lines = recorded("quality_popularity", folder)
    page: list[str] = []
    for name, line in {line["data"]: line for line in lines}.items():
        page += [f"### {name}", "", f"| model | dial | {' | '.join(MEASURES)} |"]
        page += [f"|---|---:|{'---:|' * len(MEASURES)}"]
        for row in line["models"]:
            who = f"{row['model']} at its accuracy" if row["matched"] else f"**{row['model']}**"
            dial = "" if row["dial"] is None else f"{row['dial']:.2f}"
            cells = [f"{row[measure]:.4g}" for measure in MEASURES]
            page.append(f"| {who} | {dial} | {' | '.join(cells)} |")
        matched = {row["matched"] for row in line["models"]}
        out = [other for other in line["validation"] if other not in matched]
        said = f"On validation TriplH is never as accurate as {', '.join(out)}." if out else ""
        page += ["", *[said, ""] * bool(said), f"![trade-off](results/popularity_{name}.png)", ""]
    return page
