"""What every benchmark records: the circumstances of a run, timings turn by turn, one JSON line.

A script asks one question. It starts with ``under_both_heaps(main)``, times its sides with
``turn_by_turn`` and ends with ``record(...)``::

    def main() -> None:
        times = turn_by_turn({"ours": ours, "peer": peer}, repeats=7)
        record("topk", sizes={...}, **compared(times, ours="ours", base="peer"), ...)

    if __name__ == "__main__":
        under_both_heaps(main)
"""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"

# glibc settings under which freed memory stays with the process. With glibc's defaults a large
# tensor is mapped afresh on every step, and fresh pages are dear on virtual machines.
KEPT = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "20000000000",
    "MALLOC_TOP_PAD_": "268435456",
}
MARK = "HYPERRANK_BENCH_HEAP"


def heap() -> str:
    """``"kept"`` when freed memory stays with this process, else ``"default"``."""
    return "kept" if all(os.environ.get(k) == v for k, v in KEPT.items()) else "default"


def under_both_heaps(main: Callable[[], None]) -> None:
    """Run this script once by default malloc and once with the heap kept, a process each.

    ``--heap kept`` or ``--heap default`` on the command line picks one; the script's own parser
    never sees the option.
    """
    chosen = _take_option("--heap", ("default", "kept"))
    if os.environ.get(MARK):
        main()
        return
    clean = {name: value for name, value in os.environ.items() if name not in KEPT}
    for setting in [chosen] if chosen else ["default", "kept"]:
        extra = KEPT if setting == "kept" else {}
        environment = {**clean, **extra, MARK: setting}
        done = subprocess.run([sys.executable, *_arguments()], env=environment, check=False)
        if done.returncode:
            sys.exit(done.returncode)


def _arguments() -> list[str]:
    """How this process was called, without the interpreter and without ``--heap``."""
    given = sys.orig_argv[1:]
    if "--heap" in given:
        at = given.index("--heap")
        given = given[:at] + given[at + 2 :]
    return given


def _take_option(name: str, choices: tuple[str, ...]) -> str | None:
    if name not in sys.argv:
        return None
    at = sys.argv.index(name)
    value = sys.argv[at + 1] if at + 1 < len(sys.argv) else ""
    if value not in choices:
        sys.exit(f"{name} takes one of {', '.join(choices)}, got {value!r}")
    del sys.argv[at : at + 2]
    return value


@dataclass(frozen=True)
class Timing:
    """Seconds of each repetition of one side."""

    wall: tuple[float, ...]
    cpu: tuple[float, ...]  # of all threads of this process

    def summary(self) -> dict[str, float]:
        """Median, minimum and spread (interquartile range over median) of wall; median CPU."""
        middle = statistics.median(self.wall)
        if len(self.wall) > 1:
            quarters = statistics.quantiles(self.wall, n=4, method="inclusive")
            spread = (quarters[2] - quarters[0]) / middle
        else:
            spread = float("nan")
        return {
            "median_s": middle,
            "min_s": min(self.wall),
            "spread": spread,
            "cpu_s": statistics.median(self.cpu),
        }


def turn_by_turn(
    sides: Mapping[str, Callable[[], object]], *, repeats: int = 5, warmups: int = 1
) -> dict[str, Timing]:
    """Timings of each side, the sides taking turns so that a slow minute hits them all."""
    wall: dict[str, list[float]] = {name: [] for name in sides}
    cpu: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(warmups + repeats):
        for name, side in sides.items():
            wall_from, cpu_from = time.perf_counter(), time.process_time()
            side()
            if turn >= warmups:
                wall[name].append(time.perf_counter() - wall_from)
                cpu[name].append(time.process_time() - cpu_from)
    return {name: Timing(tuple(wall[name]), tuple(cpu[name])) for name in sides}


def compared(times: Mapping[str, Timing], *, ours: str, base: str) -> dict[str, Any]:
    """The timings and ``ratio``: how many times faster ``ours`` is than ``base``, by medians."""
    each = {name: timing.summary() for name, timing in times.items()}
    return {
        "times": each,
        "ratio": each[base]["median_s"] / each[ours]["median_s"],
        "ratio_cpu": each[base]["cpu_s"] / max(each[ours]["cpu_s"], 1e-9),
        "ratio_of": f"{ours} against {base}",
    }


class Peak:
    """Highest resident memory seen inside ``peak_memory``, in GB (1e9 bytes)."""

    gb: float = 0.0  # of the whole process
    above_start_gb: float = 0.0  # of what the block added


@contextmanager
def peak_memory(every: float = 0.002) -> Iterator[Peak]:
    """Watches this process's resident memory from a thread while the block runs."""
    import psutil

    process, peak, done = psutil.Process(), Peak(), threading.Event()
    start = highest = process.memory_info().rss

    def watch() -> None:
        nonlocal highest
        while not done.wait(every):
            highest = max(highest, process.memory_info().rss)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        done.set()
        watcher.join()
        highest = max(highest, process.memory_info().rss)
        peak.gb, peak.above_start_gb = highest / 1e9, (highest - start) / 1e9


def circumstances() -> dict[str, Any]:
    """Where and when: commit, machine, versions, threads, heap, load."""
    import torch

    facts: dict[str, Any] = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "machine": _machine(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "heap": heap(),
        "load": [round(load, 2) for load in os.getloadavg()],
        "process_peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
    }
    if torch.cuda.is_available():
        facts["gpu"] = torch.cuda.get_device_name()
    return facts


def recorded(question: str, folder: Path = RESULTS, **asked: Any) -> list[dict[str, Any]]:
    """The lines recorded of a question so far, in order: those with these facts."""
    place = folder / f"{question}.jsonl"
    lines = map(json.loads, place.read_text().splitlines()) if place.exists() else ()
    return [line for line in lines if all(line.get(key) == asked[key] for key in asked)]


def record(question: str, **facts: Any) -> dict[str, Any]:
    """Print one JSON line and append it to ``results/<question>.jsonl``; returns what it wrote."""
    line = {"question": question, **facts, **circumstances()}
    text = json.dumps(_rounded(line))
    RESULTS.mkdir(exist_ok=True)
    with (RESULTS / f"{question}.jsonl").open("a") as file:
        file.write(text + "\n")
    print(text, flush=True)
    return line


def _rounded(value: Any) -> Any:
    """Floats to five digits; NaN and infinities, which JSON lacks, to null."""
    if isinstance(value, float):
        return float(f"{value:.5g}") if abs(value) < float("inf") else None
    if isinstance(value, Mapping):
        return {str(key): _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(inner) for inner in value]
    return value


def _commit() -> str:
    """Short commit, with ``+`` where tracked files differ from it."""
    here = Path(__file__).parent
    asked = ["git", "describe", "--always", "--exclude=*", "--abbrev=10", "--dirty=+"]
    done = subprocess.run(asked, cwd=here, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _machine() -> str:
    import psutil

    model = platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        model = lines[0].split(":", 1)[1].strip() if lines else model
    cores = len(os.sched_getaffinity(0))
    return f"{cores} cores of {model}, {psutil.virtual_memory().total / 1e9:.0f} GB"
