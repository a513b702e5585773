"""Does a search survive kill -9 at any moment?

``recsys search`` with two processes and the journal that it has by default is killed at a random
moment of its length: both processes, the first alone, or the second alone. What had ended before
must be there after, unchanged. Then the same command runs to its end, and all is looked at: how
many trials there are, that none was run twice, every file, and that the saved model is the best of
the study.

Run: ``python -m benchmarks.bench_search_kill --kills 20``
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil

from benchmarks.bench_kill import child, command, forked, prepare
from benchmarks.record import record

TRIALS = 20
WAYS = ("both", "the first", "the second")
ENDED = ("complete", "pruned", "failed")
TITLE = (
    f"A `recsys search` of {TRIALS} trials of BPRMF in two processes is killed (SIGKILL) at a "
    "random moment, then run again: both processes, the first, which saves the model, or the "
    "second. Lost are trials that had ended before the kill and were not there, or not the same, "
    "after; a trial that the kill ended is tried again under a new number."
)
ATTRIBUTE = 8  # what Optuna's journal calls a trial's attribute being set
BEGUN = "changes"  # the attribute that a process sets when it runs a trial


def main() -> None:
    """Kills searches and records what was found."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    prepare()
    for name in ("optuna", "hyperrank.search", "recsys.bpr"):  # so that children have them
        importlib.import_module(name)

    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        found = kill_at_random(Path(folder), options.kills, options.seed)
    record("search_kill", title=TITLE, **found, seconds=time.perf_counter() - began)


def kill_at_random(folder: Path, kills: int, seed: int) -> dict[str, Any]:
    """Kills ``kills`` searches, each in a folder of its own, at random moments of their length."""
    source, sums, ways = random.Random(seed), Counter[str](), Counter[str]()
    began = time.perf_counter()
    length = 0.0
    for number in range(2):  # the last counts: the first also waits for the disk
        began = time.perf_counter()
        Search(folder / f"whole-{number}").finish()
        length = time.perf_counter() - began
    done = 0
    while done < kills:
        way = WAYS[done % len(WAYS)]
        search = Search(folder / f"{done}")
        if not search.killed(way, source.uniform(0.4 if way == "the second" else 0, 1) * length):
            ways["had ended, or had no second yet"] += 1
            shutil.rmtree(search.folder)
            continue
        sums += search.survived()
        ways[f"killed {way}"] += 1
        done += 1
        print(done, way, dict(sums), flush=True)
        shutil.rmtree(search.folder)
    return {"kills": kills, "seconds_unkilled": length, **ways, **_zeros(sums)}


def _zeros(sums: Counter[str]) -> dict[str, int]:
    names = ("ended before", "lost", "run twice", "files damaged", "left behind", "not the best")
    return {name: sums[name] for name in (*names, *(set(sums) - set(names)))}


class Search:
    """A search in a folder, and what was in its study."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.out = folder, folder / "best"
        self.journal = folder / "best.study.log"
        folder.mkdir()
        source = random.Random(0)
        rows = ((u, source.randrange(u % 5, 300, 5)) for u in range(200) for _ in range(40))
        text = "".join(f"{user},{item}\n" for user, item in rows)
        (folder / "log.csv").write_text(f"user,item\n{text}")
        self.line = (
            f"search {folder}/log.csv --model bprmf --metric ndcg@10 --trials {TRIALS} --n-jobs 2 "
            f"--set dim=32 --set epochs=12 --set evaluate_every=2 --out {self.out} --force --quiet "
            "--finalists 0"
        )
        self.before: list[dict[str, Any]] = []

    def finish(self) -> None:
        """Runs the search to its end; it must succeed."""
        if (code := forked(lambda: command(self.line))) != 0:
            raise AssertionError(f"{self.line} ended with {code}")

    def killed(self, way: str, seconds: float) -> bool:
        """Whether the search was still running when it was killed; waits until all of it ended."""
        first = psutil.Process(child(lambda: command(self.line)))
        time.sleep(seconds)
        others = [one for one in first.children() if "spawn_main" in " ".join(one.cmdline())]
        self.before = self.ended() if self.journal.exists() else []
        there = first.status() != psutil.STATUS_ZOMBIE
        if way != "the second":
            first.send_signal(signal.SIGKILL)
        for other in others if way != "the first" else ():
            other.send_signal(signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(first.pid, 0)[1])
        psutil.wait_procs(others, timeout=600)  # seconds count for little on a busy machine
        if left := [other for other in others if other.is_running()]:
            raise AssertionError(f"{left} goes on without the process that began it")
        return there and (code == -signal.SIGKILL if way != "the second" else bool(others))

    def survived(self) -> Counter[str]:
        """What is wrong after the kill, and when the search has been run to its end."""
        found = Counter({"ended before": len(self.before)})
        self._look(found, self.before)
        after = self.ended() if self.journal.exists() else []
        self.finish()
        self._look(found, after)
        rows, begun = self.trials(), self._begun()
        counted = [row for row in rows if row["state"] in ENDED]
        if len(counted) != TRIALS or {row["state"] for row in rows} - {*ENDED, "lost"}:
            raise AssertionError(f"{Counter(row['state'] for row in rows)} of {TRIALS}")
        found["run twice"] += sum(count - 1 for count in begun.values())
        found["tried again"] += sum(row["state"] == "lost" for row in rows)
        found["not the best"] += not self._saved_is_best(rows)
        there = {path.name for path in self.folder.iterdir()}
        found["left behind"] += len(there - {"log.csv", "best", *self._journals()})
        return found

    def _journals(self) -> tuple[str, ...]:
        return (self.journal.name, f"{self.journal.name}.lock", ".best.lock")

    def _look(self, found: Counter[str], wanted: list[dict[str, Any]]) -> None:
        """Counts trials of ``wanted`` that are not as they were, and files that are damaged."""
        from hyperrank import store

        now = self.ended() if self.journal.exists() else []
        found["lost"] += sum(row not in now for row in wanted)
        try:
            if self.out.exists():
                store.verify(self.out)
                store.load(self.out)
        except (OSError, ValueError) as error:
            print(error)
            found["files damaged"] += 1

    def ended(self) -> list[dict[str, Any]]:
        """Rows of the trials that have ended."""
        return [row for row in self.trials() if row["state"] in ENDED]

    def trials(self) -> list[dict[str, Any]]:
        """Rows of all trials, read from a copy, so that the journal is left as it is."""
        import optuna

        from hyperrank.trials import row

        copy = self.folder / "copy.log"
        whole = self.journal.read_bytes()
        copy.write_bytes(whole[: whole.rfind(b"\n") + 1])
        backend = optuna.storages.journal.JournalFileBackend(str(copy))
        storage = optuna.storages.JournalStorage(backend)
        rows = [
            row(trial)
            for study in storage.get_all_studies()
            for trial in storage.get_all_trials(study._study_id)
            if not trial.user_attrs.get("surplus")
        ]
        copy.unlink()
        return rows

    def _begun(self) -> Counter[int]:
        """How many times each trial was begun by a process."""
        lines = map(json.loads, self.journal.read_text().splitlines())
        sets = [line for line in lines if line["op_code"] == ATTRIBUTE]
        begun = Counter(line["trial_id"] for line in sets if BEGUN in line["user_attr"])
        if len(begun) < TRIALS:
            raise AssertionError(f"{len(begun)} trials were begun, of {TRIALS}")
        return begun

    def _saved_is_best(self, rows: list[dict[str, Any]]) -> bool:
        from hyperrank import store

        model = store.load(self.out)
        complete = [row for row in rows if row["state"] == "complete"]
        best = max(complete, key=lambda row: (row["value"], -row["number"]))
        value = max(value for _, value in model.validation_history_)
        params = model.get_params()
        same = all(params[key] == value for key, value in best["params"].items())
        return same and value == best["value"]


if __name__ == "__main__":
    main()
