"""Run every benchmark script, or those named, then rewrite RESULTS.md and README's table.

``python -m benchmarks`` runs all, the accuracies first: each model's search, then its judgement;
``python -m benchmarks topk evaluation`` runs two scripts.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks import quality_geometry, quality_triplh, report
from benchmarks.accuracy import METRICS, PUBLISHED

ACCURACIES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {  # data sets, and steps of each
    "quality_baselines": (tuple(METRICS), ("search", "judge")),
    "quality_ultragcn": (tuple(PUBLISHED), ("search", "judge")),
    "quality_triplh": (tuple(quality_triplh.FIXED), ("search", "judge")),
    "quality_geometry": (tuple(quality_geometry.LOOPS), ("search", "judge", "test")),
    "quality_popularity": (("ml-1m-ultragcn",), ()),
}


def accuracies() -> int:
    """Searches and judges every model on every split; returns how many steps failed."""
    failed = 0
    for script, (names, steps) in ACCURACIES.items():
        for name in names:
            for step in steps or ("",):
                arguments = [*filter(None, [step]), name]
                print(f"== {script} {' '.join(arguments)}", flush=True)
                command = [sys.executable, "-m", f"benchmarks.{script}", *arguments]
                failed += subprocess.run(command, check=False).returncode != 0
    return failed


def main(chosen: list[str]) -> int:
    """Returns how many scripts failed."""
    found = sorted(path.stem for path in Path(__file__).parent.glob("bench_*.py"))
    known = [name.removeprefix("bench_") for name in found]
    unknown = sorted(set(chosen) - set(known))
    if unknown:
        sys.exit(f"no benchmark {', '.join(unknown)}; there are {', '.join(known)}")
    failed = 0 if chosen else accuracies()
    for name in chosen or known:
        print(f"== {name}", flush=True)
        command = [sys.executable, "-m", f"benchmarks.bench_{name}"]
        failed += subprocess.run(command, check=False).returncode != 0
    report.publish()
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
