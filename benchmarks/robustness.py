"""The tables of robustness: accuracy of regularizers, clean and under attack.

From the lines of ``quality_robustness``: the newest judgement of each arm and choice.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.record import RESULTS, recorded

SIZES = ("0.1", "0.2", "0.4")  # of moves under which both losses are tried
# heading -> the figures of which the least is shown
SHOWN: dict[str, tuple[str, ...]] = {
    "clean": ("clean",),
    **{f"worst {size}": (f"pgd {size}", f"auc pgd {size}") for size in SIZES},
    "PGD 0.4": ("pgd 0.4",),
    "PGD 0.8": ("pgd 0.8",),
    "FGSM 0.4": ("fgsm 0.4",),
    "random 0.4": ("random 0.4",),
    **{
        f"balanced, worst {size}": (f"balanced pgd {size}", f"balanced auc pgd {size}")
        for size in ("0.2", "0.4")
    },
}
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
AS_IT_IS, BALANCED = "worst 0.4", "balanced, worst 0.4"
Line = dict[str, Any]


def tables(folder: Path = RESULTS) -> list[str]:
    """Markdown: for each data set and model what was found in words, then a table of arms."""
    lines = recorded("quality_robustness", folder, step="judge")
    page: list[str] = []
    for name, kind in dict.fromkeys((line["data"], line["model"]) for line in lines):
        own = [line for line in lines if (line["data"], line["model"]) == (name, kind)]
        runs = {(line["arm"], line["choice"]): line for line in own}
        page += [f"### {name}, {kind}", "", _words(runs), ""]
        page += [
            f"| regularizer, chosen by | {' | '.join(SHOWN)} | radius, balanced, % | setting |"
        ]
        page += [f"|---|{'---:|' * (len(SHOWN) + 1)}---|"]
        ordered = sorted(runs, key=lambda key: (list(ARMS).index(key[0]), key[1]))
        page += [_row(arm, choice, runs[arm, choice]) for arm, choice in ordered]
        page.append("")
    return page


def _row(arm: str, choice: str, line: Line) -> str:
    cells = []
    for names in SHOWN.values():
        least = min(names, key=lambda name: line["means"][name])
        cells.append(f"{line['means'][least]:.4f} ± {line['deviations'][least]:.4f}")
    radii = (line["means"][name] for name in ("radius", "balanced radius"))
    cells.append(", ".join(f"{100 * radius:.2f}" for radius in radii))
    setting = ", ".join(f"{key} {value}" for key, value in line["setting"].items())
    return f"| {ARMS[arm]}, {CHOICES[choice]} | {' | '.join(cells)} | {setting} |"


def _least(line: Line, column: str) -> float:
    return float(min(line["means"][name] for name in SHOWN[column]))


def _words(runs: dict[tuple[str, str], Line]) -> str:
    """Each arm beside L2 tuned for clean accuracy, by the target's two conditions."""
    base = _chosen(runs, "l2", "clean")
    if base is None:
        return ""
    clean, attacked = (_least(base, column) for column in ("clean", AS_IT_IS))
    said = [f"L2 itself, balanced, {_least(base, BALANCED) / attacked:.2f} times at no cost"]
    for arm, words in ARMS.items():
        line = _chosen(runs, arm, "both")
        if line is None or arm == "none":
            continue
        gain = _least(line, "clean") - clean
        kept, balanced = (_least(line, column) / attacked for column in (AS_IT_IS, BALANCED))
        met = gain >= 0 and max(kept, balanced) >= KEPT
        said.append(
            f"{words} {kept:.2f} times, balanced {balanced:.2f}, at {gain:+.4f} clean"
            f"{' (target met)' if met else ''}"
        )
    return (
        f"L2 tuned for clean accuracy has {clean:.4f}, and {attacked:.4f} under the worse PGD-10 "
        f"at 0.4. Against that: {'; '.join(said)}."
    )


def _chosen(runs: dict[tuple[str, str], Line], arm: str, choice: str) -> Line | None:
    """What was judged for a choice; one line where both choices are the same setting."""
    other = {"both": "clean", "clean": "both"}[choice]
    return runs.get((arm, choice)) or runs.get((arm, other))
