"""What TriplH owes to its geometry: the ablation's tables, and what they come to in words.

The newest line of each arm and the newest tests of each data set, from ``quality_geometry``.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from benchmarks.record import RESULTS, recorded

SURE = 0.05
ASKED = {
    "negatives": "All items as negatives instead of 64",
    "draws": "One negative for each of 2,048 pairs instead of 64 shared by a batch",
    "loss": "Softmax over 64 instead of 64 pairs",
    "item term": "The published item-item term",
    "boundedness": "A bounded score instead of the inner product",
    "geometry": "Triangle instead of cosine",
    "distance": "A hyperbolic distance instead of cosine",
}
FLAT = ("cosine", "inner", "cosine bias")
# whom the triangle is held against under softmax, among the comparisons of all arms with it
OF_TRIANGLE = {"boundedness": ("inner",), "geometry": ("cosine", "cosine bias")}
Line = dict[str, Any]


def tables(folder: Path = RESULTS) -> list[str]:
    """Markdown: for each data set what was found in words, then a table, arms as rows."""
    lines = recorded("quality_geometry", folder)
    page: list[str] = []
    for name, tests in {one["data"]: one for one in lines if one["step"] == "test"}.items():
        arms = {one["model"]: one for one in lines if one["step"] == "arm" and one["data"] == name}
        page += [f"### {name}, {tests['users']:,} users", "", *_words(arms, tests), ""]
        page += [*_table(arms, tests), ""]
    return page


def _words(arms: dict[str, Line], tests: Line) -> list[str]:
    """The share of each cause, then every comparison by what it asks."""
    twins = {row["model"]: _turned(row) for row in _of(tests, *FLAT)}
    best = max(twins, key=lambda arm: arms[arm]["means"]["ndcg@20"])
    flat = f"Under softmax the best flat score is {best}: {_compared(twins[best])}."
    said = [f"{flat} {_shares(arms, tests['comparisons'])}", ""]
    for question, meaning in ASKED.items():
        found = [row for row in tests["comparisons"] if row["question"] == question]
        found += [_turned(row) for row in _of(tests, *OF_TRIANGLE.get(question, ()))]
        if found:
            said.append(f"- {meaning}: {'; '.join(map(_compared, found))}.")
    return said


def _of(tests: Line, *arms: str) -> list[Line]:
    """The comparisons of these arms with the triangle and softmax."""
    return [
        row for row in tests["comparisons"] if row["question"] == "all" and row["model"] in arms
    ]


def _turned(row: Line) -> Line:
    """The same comparison from the other side."""
    gap = row["ndcg@20"] | {"gap": -row["ndcg@20"]["gap"]}
    return {"model": row["against"], "against": row["model"], "ndcg@20": gap}


def _compared(row: Line) -> str:
    gap = row["ndcg@20"]
    return f"{row['model']} over {row['against']} {gap['gap']:+.4f} ({_chance(gap)})"


def _chance(gap: Line) -> str:
    sure = gap["p_adjusted"] < SURE
    return f"p {gap['p_adjusted']:.2g}" if sure else f"may be chance, p {gap['p_adjusted']:.2g}"


def _shares(arms: dict[str, Line], comparisons: list[Line]) -> str:
    """The way from the inner product in pairs to the triangle in a softmax, cause by cause."""
    corners = ("inner pairwise", "cosine pairwise", "triangle pairwise", "inner", "cosine")
    if not {*corners, "triangle"} <= arms.keys():
        return "The arms with other losses, which would separate the causes, are not judged."
    value = {arm: arms[arm]["means"]["ndcg@20"] for arm in (*corners, "triangle")}
    total = value["triangle"] - value["inner pairwise"]
    single = [arm for arm in ("triangle pairwise 1", "triangle triplet 1") if arm in arms]
    causes = {
        "a softmax over all items (instead of pairs, of 64 shared negatives or one each)": [
            *(value[score] - value[f"{score} pairwise"] for score in ("inner", "cosine")),
            *(value["triangle"] - arms[arm]["means"]["ndcg@20"] for arm in single),
            value["triangle"] - value["triangle pairwise"],
        ],
        "boundedness (cosine instead of inner product)": [
            value[f"cosine{loss}"] - value[f"inner{loss}"] for loss in ("", " pairwise")
        ],
        "geometry (triangle instead of cosine)": [
            value[f"triangle{loss}"] - value[f"cosine{loss}"] for loss in ("", " pairwise")
        ],
    }
    parts = "; ".join(f"{name} {_range(gaps)}" for name, gaps in causes.items())
    largest = max(causes, key=lambda name: statistics.fmean(causes[name]))
    best = max(arms, key=lambda arm: arms[arm]["means"]["ndcg@20"])
    beaten = [
        row["model"]
        for row in comparisons
        if row["question"] == "all" and row["ndcg@20"]["p_adjusted"] >= SURE
    ]
    tied = f" Not told apart from triangle: {', '.join(beaten)}." if beaten else ""
    return (
        f"From the inner product with 64 negatives in pairs to the triangle score with a softmax "
        f"over all items NDCG@20 changes by {total:+.4f}. By cause, depending on what the others "
        f"are: {parts}. The largest is {largest}. The best arm is {best} "
        f"({arms[best]['means']['ndcg@20']:.4f}).{tied}"
    )


def _range(gaps: list[float]) -> str:
    return f"{min(gaps):+.4f} to {max(gaps):+.4f}"


def _table(arms: dict[str, Line], tests: Line) -> list[str]:
    gaps = {row["model"]: row for row in tests["comparisons"] if row["question"] == "all"}
    heads = ("NDCG@20 (sd of seeds)", "Recall@20", "coverage@10", "NDCG@20 over triangle", "seeds")
    page = [f"| arm | {' | '.join(heads)} | scale, L2, epochs |", f"|---|{'---:|' * 5}---|"]
    for arm in sorted(arms, key=lambda one: -arms[one]["means"]["ndcg@20"]):
        line = arms[arm]
        means, each, setting = line["means"], line["seeds"]["ndcg@20"], line["setting"]
        gap = gaps[arm]["ndcg@20"] if arm in gaps else None
        cells = [
            f"{means['ndcg@20']:.4f} ({statistics.stdev(each):.4f})",
            f"{means['recall@20']:.4f}",
            f"{means['coverage@10']:.3f}",
            "" if gap is None else f"{gap['gap']:+.4f} ({_chance(gap)})",
            str(len(each)),
            f"{setting['scale']}, {setting['l2']}, {setting['epochs']}",
        ]
        page.append(f"| {arm} | {' | '.join(cells)} |")
    return page
