"""The tables of robustness: accuracy of regularizers, clean and under attack.

From the lines of ``quality_robustness``: the newest judgement of each arm and choice.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.record import RESULTS, recorded

SHOWN = ("clean", "pgd 0.1", "pgd 0.2", "pgd 0.4", "pgd 0.8", "fgsm 0.4", "random 0.4")
CHOICES = {"both": "clean and attacked", "clean": "clean"}
ARMS = {
    "none": "no regularizer",
    "l2": "L2",
    "apr": "APR + L2",
    "factors": "factor norms + L2",
    "rows": "largest row of scores + L2",
    "frobenius": "Frobenius norm of scores + L2",
    "cvar": "CVaR of rows of scores + L2",
}
KEPT = 1.15  # the target: so many times L2's accuracy under PGD-10 at 0.4
Line = dict[str, Any]


def tables(folder: Path = RESULTS) -> list[str]:
    """Markdown: for each data set and model what was found in words, then a table of arms."""
    lines = recorded("quality_robustness", folder, step="judge")
    page: list[str] = []
    for name, kind in dict.fromkeys((line["data"], line["model"]) for line in lines):
        own = [line for line in lines if (line["data"], line["model"]) == (name, kind)]
        runs = {(line["arm"], line["choice"]): line for line in own}
        page += [f"### {name}, {kind}", "", _words(runs), ""]
        page += [f"| regularizer, chosen by | {' | '.join(SHOWN)} | radius, % | setting |"]
        page += [f"|---|{'---:|' * (len(SHOWN) + 1)}---|"]
        ordered = sorted(runs, key=lambda key: (list(ARMS).index(key[0]), key[1]))
        page += [_row(arm, choice, runs[arm, choice]) for arm, choice in ordered]
        page.append("")
    return page


def _row(arm: str, choice: str, line: Line) -> str:
    means, spreads = line["means"], line["deviations"]
    cells = [f"{means[what]:.4f} ± {spreads[what]:.4f}" for what in SHOWN]
    cells.append(f"{100 * means['relative_radius']:.2f}")
    setting = ", ".join(f"{key} {value}" for key, value in line["setting"].items())
    return f"| {ARMS[arm]}, {CHOICES[choice]} | {' | '.join(cells)} | {setting} |"


def _words(runs: dict[tuple[str, str], Line]) -> str:
    """Each penalty beside L2 tuned for clean accuracy, by the target's two conditions."""
    base = _chosen(runs, "l2", "clean")
    if base is None:
        return ""
    clean, attacked = base["means"]["clean"], base["means"]["pgd 0.4"]
    said = []
    for arm, words in ARMS.items():
        line = _chosen(runs, arm, "both")
        if line is None or arm in ("none", "l2"):
            continue
        gain, ratio = line["means"]["clean"] - clean, line["means"]["pgd 0.4"] / attacked
        met = gain >= 0 and ratio >= KEPT
        said.append(f"{words} {gain:+.4f} and {ratio:.2f} times{' (target met)' if met else ''}")
    return (
        f"L2 tuned for clean accuracy has {clean:.4f}, and {attacked:.4f} under PGD-10 at 0.4. "
        f"Against it: {'; '.join(said)}."
    )


def _chosen(runs: dict[tuple[str, str], Line], arm: str, choice: str) -> Line | None:
    """What was judged for a choice; one line where both choices are the same setting."""
    other = {"both": "clean", "clean": "both"}[choice]
    return runs.get((arm, choice)) or runs.get((arm, other))
