"""Does a store survive kill -9 at any moment of an update or a compaction?

A process that has everything imported forks children: one that works and is killed, one that looks
at what is left, one that does the work again. Moments are random in time (``--kills``), and then
every call that changes a file or brings it to the disk (``--steps``). Between the two, pairs of
updates run at once and both must be there afterwards.

Run: ``python -m benchmarks.bench_kill --kills 200 --steps``
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.record import record

CHANGES = ("fsync", "rename", "replace", "unlink", "rmdir", "mkdir", "link")
EVENTS = 3  # of a batch: a new user each, so that every batch adds as many pairs
KEEP = 3


def main() -> None:
    """Runs both ways of killing and records what was found."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--steps", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        found = kill_at_random(Path(folder), options.kills, options.seed)
    record("kill", how="random", **found, seconds=time.perf_counter() - began)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        found = two_at_once(Path(folder), options.pairs)
    record("kill", how="two updates at once", **found, seconds=time.perf_counter() - began)
    if options.steps:
        began = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            found = kill_at_every_step(Path(folder))
        record("kill", how="every step", **found, seconds=time.perf_counter() - began)


class Trial:
    """A store, the batches that it should hold, and what happened to it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.store = folder, folder / "shop"
        self.pairs, self.number, self.outcomes = 0, 0, Counter[str]()
        self.pairs = int(self._told(self._fit)["pairs"])

    def copied(self, folder: Path) -> Trial:
        """The same in another folder."""
        shutil.copytree(self.folder, folder)
        other = copy.copy(self)
        other.folder, other.store, other.outcomes = folder, folder / "shop", Counter[str]()
        return other

    def _fit(self) -> dict[str, Any]:
        import numpy as np
        import pandas as pd

        from hyperrank import store
        from recsys import Interactions, UltraGCN

        source = np.random.default_rng(0)
        frame = {"user": source.integers(0, 200, 2000), "item": source.integers(0, 100, 2000)}
        log = Interactions.from_frame(pd.DataFrame(frame))
        store.save(UltraGCN(dim=16, epochs=1, device="cpu").fit(log), self.store)
        return {"pairs": len(log.pairs)}

    def batch(self) -> Path:
        """A file of events that nobody has seen."""
        self.number += 1
        path = self.folder / "new.csv"
        users = (10**6 + self.number * EVENTS + n for n in range(EVENTS))
        rows = "".join(f"{user},{self.number % 100}\n" for user in users)
        path.write_text(f"user,item\n{rows}")
        return path

    def run(self, line: str) -> None:
        """A command that is not killed; it must succeed."""
        status = forked(lambda: command(line))
        if status != 0:
            raise AssertionError(f"{line} ended with {status} after {dict(self.outcomes)}")

    def look(self) -> int:
        """Pairs of the model that stands, after a look at every file.

        Raises:
            AssertionError: If something is not whole.
        """
        found = self._told(self._looked)
        if found["wrong"]:
            raise AssertionError(f"{found['wrong']} after {dict(self.outcomes)}")
        return int(found["pairs"])

    def _looked(self) -> dict[str, Any]:
        from hyperrank import generations, store

        model = store.load(self.store)
        return {"pairs": len(model.seen_), "wrong": generations.verify(self.store)}

    def _told(self, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        path = self.folder / "told.json"
        path.unlink(missing_ok=True)

        def tell() -> int:
            path.write_text(json.dumps(work()))
            return 0

        if forked(tell) != 0:
            raise AssertionError(f"the store cannot be read after {dict(self.outcomes)}")
        answer: dict[str, Any] = json.loads(path.read_text())
        return answer

    def survive(self, name: str, kill: Callable[[str], bool]) -> bool:
        """Kills one command and does it again; says whether it was killed."""
        added = 0
        if name == "update":
            line, added = f"update {self.store} {self.batch()} --quiet --keep {KEEP}", EVENTS
        else:
            line = f"compact {self.store} --keep 1"
        killed = kill(line)
        pairs = self.look()
        if pairs not in (self.pairs, self.pairs + added):
            raise AssertionError(f"{pairs} pairs after {self.pairs} and a batch of {added}")
        when = "killed" if killed else "finished"
        self.outcomes[f"{name} {when}, {'new' if pairs > self.pairs else 'old'} stands"] += 1
        self.run(line)
        self.pairs += added
        if self.look() != self.pairs:
            raise AssertionError(f"{self.look()} pairs where {self.pairs} were expected")
        left = [path.name for path in self.store.glob(".*") if path.name != ".lock"]
        left += [path.name for path in self.folder.glob(".*.writing")]
        if left:
            raise AssertionError(f"left behind: {left}")
        return killed


def kill_at_random(folder: Path, kills: int, seed: int) -> dict[str, Any]:
    """Kills ``kills`` commands at random moments of about their length."""
    prepare()
    trial, source = Trial(folder), random.Random(seed)
    length = 0.0
    for _ in range(3):  # the last counts: the first ones also wait for the disk
        began = time.perf_counter()
        trial.run(f"update {trial.store} {trial.batch()} --quiet")
        trial.pairs += EVENTS
        length = time.perf_counter() - began
    while sum(count for name, count in trial.outcomes.items() if "killed" in name) < kills:
        name = "update" if source.random() < 0.75 else "compact"
        share = 1.0 if name == "update" else 0.3
        moment = source.uniform(0, share * length)
        trial.survive(name, lambda line, moment=moment: killed_after(line, moment))
    return {"kills": kills, "outcomes": dict(trial.outcomes), "lost": 0}


def two_at_once(folder: Path, pairs: int) -> dict[str, Any]:
    """Two processes update one store at the same time, again and again."""
    prepare()
    trial = Trial(folder)
    for number in range(pairs):
        children = []
        for name in ("left", "right"):
            path = trial.batch().rename(folder / f"{name}.csv")
            line = f"update {trial.store} {path} --quiet"
            children.append(child(lambda line=line: command(line)))
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        trial.pairs += 2 * EVENTS
        if codes != [0, 0] or trial.look() != trial.pairs:
            raise AssertionError(f"codes {codes}, {trial.look()} pairs of {trial.pairs}: {number}")
    return {"pairs": pairs, "lost": 0}


def kill_at_every_step(folder: Path) -> dict[str, Any]:
    """Kills an update of a plain folder, one of a store, and a compaction, at each step."""
    prepare()
    trials: dict[str, Any] = {}
    for case, before in {"first update": 0, "update": 1, "compact": 4}.items():
        outcomes, step, killed = Counter[str](), 0, True
        (folder / case.split()[0]).mkdir()
        start = Trial(folder / case.split()[0])
        for _ in range(before):
            start.run(f"update {start.store} {start.batch()} --quiet --keep {KEEP}")
            start.pairs += EVENTS
        while killed:
            step += 1
            trial = start.copied(folder / f"{case.split()[0]}-{step}")
            killed = trial.survive(case.split()[-1], lambda line, step=step: killed_at(line, step))
            outcomes += trial.outcomes
            shutil.rmtree(trial.folder)
        trials[case] = {"steps": step - 1, "outcomes": dict(outcomes)}
    return {"cases": trials, "lost": 0}


def prepare() -> None:
    """Imports what the commands need, so that children have it; makes no threads."""
    import torch

    import recsys.commands
    import recsys.screening
    import recsys.store_updates
    import recsys.ultragcn  # noqa: F401

    torch.set_num_threads(1)


def command(line: str) -> int:
    """Exit code of a ``recsys`` command line."""
    from recsys.cli import main as recsys

    return recsys(line.split())


def forked(work: Callable[[], int]) -> int:
    """Exit code of ``work`` in a child; minus the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child(work), 0)[1])


def killed_after(line: str, seconds: float) -> bool:
    """Whether a command was still running when it was killed."""
    pid = child(lambda: command(line))
    time.sleep(seconds)
    os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


def killed_at(line: str, step: int) -> bool:
    """Whether a command came to its change number ``step``, before which it is killed."""

    def work() -> int:
        left = [step]
        for name in CHANGES:
            _count_down(name, left)
        return command(line)

    return forked(work) == -signal.SIGKILL


def _count_down(name: str, left: list[int]) -> None:
    real = getattr(os, name)

    def wrapped(*arguments: Any, **options: Any) -> Any:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **options)

    setattr(os, name, wrapped)


def child(work: Callable[[], int]) -> int:
    """The process that does ``work``, silent on stdout, and exits with what it gives."""
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        with open(os.devnull, "w") as nowhere:  # noqa: PTH123
            os.dup2(nowhere.fileno(), 1)
        code = work()
        sys.stdout.flush()
    finally:
        os._exit(code)


if __name__ == "__main__":
    main()
