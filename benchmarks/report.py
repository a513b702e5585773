"""RESULTS.md from the JSON lines in results/: ``python -m benchmarks.report``.

A question's newest line for each distinct ``case`` and heap setting is shown; older lines stay in
their file as history.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks import (
    accuracy,
    completions,
    exposures,
    freshness,
    geometries,
    kg_robustness,
    poisonings,
    prices,
    robustness,
    searches,
)
from benchmarks.record import RESULTS, recorded

PAGE = RESULTS.parent / "RESULTS.md"
README = RESULTS.parent.parent / "README.md"
BEGIN, END = "<!-- results: begin (written by benchmarks/report.py) -->", "<!-- results: end -->"
ACCURACY = [
    "By `python -m benchmarks.quality_ultragcn` and `quality_baselines`: full ranking, training",
    "items left out, the mean over users with test items, 95% bootstrap intervals. Settings and",
    "epochs were chosen on a validation part of train (10% of each user's items); then one fit on",
    "all of train was judged once on test. EASE has the 20,000 items of most users where there are",
    "more. Fit seconds are of one thread beside other work: an order of magnitude.",
]
GEOMETRY = [
    "By `python -m benchmarks.quality_geometry`: five scores of the same free vectors (triangle is",
    "TriplH's; cosine and inner product are flat; lorentzian and geodesic are minus the squared",
    "and the true hyperbolic distance) under one training loop, each with the same number of",
    "settings searched on validation by the same walk, judged once on test; users' NDCG@20 is",
    "averaged over the seeds before it is compared. p: paired sign-flip test over users, corrected",
    "by Holm's rule for all comparisons of the data set. The arm's second word is the loss: none,",
    "a softmax over all items; 64, over 64 drawn for the batch; pairwise, those 64 in pairs;",
    "triplet, the published triangle loss with them, its item-item weight fixed at 0.5; a 1 at the",
    "end, one negative drawn for each of 2,048 pairs, as published, which are more distinct ones a",
    "step than 64 that a batch shares; bias, softmax with a free number for each item.",
]
GRAPHS = [
    "By `python -m benchmarks.quality_kg`: filtered ranks of both directions, ties by their mean,",
    "unseen entities kept, no head excluded. Settings and epochs were chosen by the MRR of the",
    "validation facts, whose filter does not know test; judged once on test, a mean over seeds.",
]
EXPOSURE = [
    "By `python -m benchmarks.quality_popularity`: test NDCG@20 and lists of 10; tail recall is",
    "that of items outside the 20% of most users. Under each model stands TriplH with its",
    "popularity dial turned, on validation, to that model's accuracy.",
]
ROBUSTNESS = [
    "By `python -m benchmarks.quality_robustness`: test NDCG@10, mean and deviation of three",
    "seeds. Every arm had the same number of settings on validation, and climbed the sum of clean",
    "accuracy and that under PGD-10 at 0.4, as it is or balanced, whichever is more (L2 also by",
    "clean alone). Sizes of moves are relative to the root mean square row of each table. PGD and",
    "FGSM raise BPR's loss; worst is the worse of PGD-10 by that and by a bounded loss. Balanced",
    "are the shortest vectors with the same lists (`recsys.balanced`). The radius is the median",
    "certified one of lists of 10 over the length of the user's vector. TriplH's free vectors are",
    "moved, then lifted.",
]
KG_ROBUSTNESS = [
    "By `python -m benchmarks.quality_kg_robustness`: filtered test MRR of both directions, mean",
    "and deviation of three seeds. Every regularizer of TuckER, beside its dropouts, had eight",
    "settings on validation and was chosen by the sum of MRR as it is and under PGD-10 at 0.2;",
    "MIG-TF stands on each TuckER. Sizes of moves are relative to the root mean square row of each",
    "table; PGD and FGSM are the worse of two losses, cross-entropy (softmax) and a bounded one",
    "(AUC).",
]
FRESHNESS = [
    "By `python -m benchmarks.quality_warm_start`: models fitted on the first 90% of the pairs,",
    "all later items of a user revealed but the last, which is to be found; full ranking, all",
    "known items left out, 95% bootstrap intervals. Milliseconds are of one busy thread; those of",
    "refits are per user of the whole log.",
]
PRICES = [
    "By `python -m benchmarks.quality_replay`: models fitted on the first 80% of the events, then",
    "walked through the rest; each policy answers for the users of a slice from what came before",
    "it, then the slice is revealed. Lists of 10 without known pairs; true is what users take for",
    "the first time. 95% bootstrap intervals over users, each drawn with all answers; gains are",
    "paired. Seconds are of one busy thread, all slices together; each is the median of one",
    "action; age is the mean time since the state that answered was made.",
]
POISONING = [
    "By `python -m benchmarks.quality_poisoning`: ten items drawn from the 80% of fewest users are",
    "pushed by fake users with profiles as long as real ones. A cell is how many of ten thousand",
    "(real user, new target) pairs have the target in the list of 10, then the mean rank of the",
    "targets. Of facts: filtered MRR of 50 rightly answered test facts after a TuckER was trained",
    "anew without, or with, one fact more for each of them; mean and deviation of three seeds.",
]
SEARCHES = [
    "By `python -m benchmarks.quality_search`: thirty trials of each model's default space, the",
    "first with its defaults, weak ones ended by the median pruner; trials learn from a part of",
    "train and stop early on the rest of it. Then the defaults and the best are fitted anew on all",
    "of train for their best epochs and judged on test: mean and deviation of three seeds; p of a",
    "paired sign-flip test of the first seed. With finals the best three and the defaults were",
    "fitted twice more, and these fits chose between them; without, the best value of a trial did.",
    "Test facts are true answers too: where it says that they were hidden, they were left out when",
    "validation facts were ranked, as in LibKGE and the code of TuckER; else they count as wrong.",
    "groceries are the demo's, of Complete Journey. What the median pruner waits for was changed",
    "twice upon these results: it is the second look, and now also 0.4 of the usual epochs.",
]
# shown in the heading or the note of each line, hence not as a figure
CONTEXT = {
    "question", "title", "case", "when", "commit", "machine", "gpu", "python", "torch", "threads",
    "heap", "load", "process_peak_gb",
}  # fmt: skip


def newest(lines: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The last line of each (case, heap, gpu), in order of first appearance."""
    kept: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    for line in lines:
        kept[line.get("case"), line["heap"], line.get("gpu")] = line
    return list(kept.values())


def figures(facts: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Every figure of a line as (dotted name, text), nested mappings flattened."""
    found: list[tuple[str, str]] = []
    for name, value in facts.items():
        if not prefix and name in CONTEXT:
            continue
        if isinstance(value, Mapping):
            found += figures(value, f"{prefix}{name}.")
        else:
            found.append((prefix + name, _text(value)))
    return found


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return "not known" if value is None else str(value)


def section(question: str, lines: list[Mapping[str, Any]]) -> list[str]:
    """The Markdown lines of one question: a column per newest run, a row per figure."""
    runs = newest(lines)
    titles = [run["title"] for run in runs if "title" in run]
    page = [f"## {question}", ""]
    if titles:
        page += [titles[-1], ""]
    columns = [dict(figures(run)) for run in runs]
    heads = [", ".join(filter(None, [run.get("case"), f"heap {run['heap']}"])) for run in runs]
    page += [f"| | {' | '.join(heads)} |", f"|---{'|---:' * len(runs)}|"]
    for name in dict.fromkeys(name for column in columns for name in column):
        page.append(f"| {name} | {' | '.join(column.get(name, '') for column in columns)} |")
    page.append("")
    for head, run in zip(heads, runs, strict=True):
        page.append(
            f"- {head}: commit {run['commit']}, {run['when']}, {run.get('gpu', 'no GPU')}, "
            f"{run['machine']}, torch {run['torch']}, {run['threads']} threads, "
            f"load {_text(run['load'])}, peak of the process {_text(run['process_peak_gb'])} GB"
        )
    return [*page, ""]


def written(folder: Path = RESULTS) -> str:
    """The whole page."""
    page = [
        "# Results",
        "",
        "Generated by `python -m benchmarks.report` from the lines in `results/`; edit nothing",
        "here. Each column is one run of `python -m benchmarks.bench_<name>`; `heap kept` means",
        "glibc was told to keep freed memory (see `record.py`), `heap default` that it was not.",
        "Times are wall seconds unless a name says CPU; a ratio above 1 means ours is faster.",
        "",
    ]
    page += ["## Accuracy", "", *ACCURACY, "", *accuracy.tables(folder)]
    page += ["### Other splits", "", *accuracy.other_tables(folder)]
    page += ["## What geometry gives", "", *GEOMETRY, "", *geometries.tables(folder)]
    page += ["## Popularity at matched accuracy", "", *EXPOSURE, "", *exposures.tables(folder)]
    page += ["## Robustness", "", *ROBUSTNESS, "", *robustness.tables(folder)]
    page += ["## Knowledge graphs", "", *GRAPHS, "", *completions.tables(folder)]
    page += ["## Robustness of link predictors", "", *KG_ROBUSTNESS, ""]
    page += kg_robustness.tables(folder)
    page += ["## Interactions after the fit", "", *FRESHNESS, "", *freshness.tables(folder)]
    page += ["## The price of freshness", "", *PRICES, "", *prices.tables(folder)]
    page += ["## Poisoned training", "", *POISONING, "", *poisonings.tables(folder)]
    page += ["## Searches", "", *SEARCHES, "", *searches.tables(folder)]
    for path in sorted(folder.glob("*.jsonl")):
        if path.stem.startswith("quality_"):
            continue
        if lines := recorded(path.stem, folder):
            page += section(path.stem, lines)
    return "\n".join(page)


def publish() -> None:
    """Rewrites RESULTS.md, and the accuracies in README.md."""
    PAGE.write_text(written())
    before, rest = README.read_text().split(BEGIN)
    table = "\n".join(["", "", *accuracy.tables()])
    README.write_text(before + BEGIN + table + END + rest.split(END)[1])
    print(f"wrote {PAGE.name} and the results in {README.name}")


if __name__ == "__main__":
    publish()
