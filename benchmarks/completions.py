"""The tables of link prediction: TuckER and MIG-TF on the published graphs.

From the lines of ``quality_kg``: the newest judgement of each seed, the ablation of TuckER's
options on validation, and the course of long runs.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from benchmarks.record import RESULTS, recorded

METRICS = ("mrr", "hits@1", "hits@3", "hits@10")
NAMES = {"tucker": "TuckER", "mixed": "MIG-TF on it"}
PUBLISHED = {  # MRR of TuckER: Safavi and Koutra 2020; Balazevic et al. 2019
    "codex-s": 0.444,
    "wn18rr": 0.470,
    "fb15k-237": 0.358,
}
Line = dict[str, Any]


def tables(folder: Path = RESULTS) -> list[str]:
    """Markdown: what was judged on test, what each option gave, how long runs went."""
    lines = recorded("quality_kg", folder)
    return [*_judged(lines), *_ablated(lines), *_runs(lines)]


def _judged(lines: list[Line]) -> list[str]:
    """A row per graph and model: the mean over seeds, and MRR by seed."""
    found: dict[tuple[str, str], dict[int, Line]] = {}
    for line in lines:
        if line["step"] == "judge":
            found.setdefault((line["data"], line["model"]), {})[line["seed"]] = line
    rows = []
    for (name, model), runs in found.items():
        values = {m: [run["test"][m]["value"] for run in runs.values()] for m in METRICS}
        cells = [f"{statistics.fmean(values[metric]):.4f}" for metric in METRICS]
        seeds = ", ".join(f"{value:.4f}" for value in values["mrr"])
        setting = ", ".join(f"{key} {value}" for key, value in _setting(runs).items())
        rows.append(f"| {name} | {NAMES[model]} | {' | '.join(cells)} | {seeds} | {setting} |")
        if model == "tucker" and name in PUBLISHED:
            rows.append(f"| {name} | TuckER as published | {PUBLISHED[name]:.3f} | | | | | |")
    if not rows:
        return []
    head = f"| graph | model | {' | '.join(METRICS)} | MRR by seed | setting |"
    return [head, "|---|---|---:|---:|---:|---:|---|---|", *rows, ""]


def _setting(runs: dict[int, Line]) -> Line:
    setting: Line = next(iter(runs.values()))["setting"]
    return {key: value for key, value in setting.items() if key != "random_state"}


def _ablated(lines: list[Line]) -> list[str]:
    page: list[str] = []
    found: dict[str, dict[str, Line]] = {}
    for line in lines:
        if line["step"] == "ablate":
            found.setdefault(line["data"], {})[line["what"]] = line
    for name, runs in found.items():
        page += [f"One option changed at a time, {name}, MRR of validation facts, one seed:", ""]
        page += ["| option of TuckER | MRR | best epoch | s |", "|---|---:|---:|---:|"]
        page += [
            f"| {what} | {run['validation_mrr']:.4f} | {run['best_epoch']} | {run['seconds']:.3g} |"
            for what, run in runs.items()
        ]
        page.append("")
    return page


def _runs(lines: list[Line]) -> list[str]:
    """The looks of each long run, and what was judged at its end where it came to one."""
    looks: dict[tuple[str, str], list[Line]] = {}
    for line in lines:
        if line["step"] == "look":
            seen = looks.setdefault((line["data"], line["arm"]), [])
            if seen and line["epochs"] <= seen[-1]["epochs"]:  # run anew
                seen.clear()
            seen.append(line)
    page = []
    for (name, arm), seen in looks.items():
        course = ", ".join(f"{one['epochs']}: {one['validation_mrr']:.4f}" for one in seen)
        last = seen[-1]["seconds"] / 60
        page += [
            f"{name}, {arm}: validation MRR by epoch, {last:.0f} minutes in all: {course}.",
            "",
        ]
    for line in lines:
        if line["step"] == "run":
            ends = ", ".join(f"{metric} {line['test'][metric]['value']:.4f}" for metric in METRICS)
            page += [f"{line['data']}, {line['arm']}, {NAMES[line['model']]}, test: {ends}.", ""]
    return page
