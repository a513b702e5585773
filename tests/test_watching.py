"""Folders that are watched: which files are taken, when, how often, and what stops the watch."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from command_lines import Run, data, each, refused
from hyperrank import durable, generations, writers
from recsys import update_command
from recsys.watching import Watched, record_beside

LINE = "update shop --watch drop --every 0.01"
ONCE = f"{LINE} --once --json"


@pytest.fixture
def folder(run: Run) -> Path:
    """The folder ``drop`` beside ``shop``."""
    path = Path("drop").resolve()
    path.mkdir()
    return path


def put(path: Path, user: str, at: int = 0) -> Path:
    """A file of one event, last changed at this second."""
    path.write_text(f"user,item\n{user},tea\n")
    os.utime(path, (at, at))
    return path


def names(watched: Watched) -> list[str]:
    return [path.name for path in watched.ready()]


def test_ready_is_what_two_looks_find_alike(folder: Path) -> None:
    watched = Watched(folder)
    put(folder / "b.csv", "eve", at=2)
    assert names(watched) == []
    put(folder / "a.tsv", "eve", at=3)
    assert names(watched) == ["b.csv"]
    put(folder / "b.csv", "more and more", at=4)
    assert names(watched) == ["a.tsv"]
    assert names(watched) == ["a.tsv", "b.csv"], "oldest first"
    watched.taken(folder / "a.tsv")
    watched.refused(folder / "b.csv")
    assert names(watched) == []
    put(folder / "b.csv", "fay", at=9)
    names(watched)
    assert names(watched) == ["b.csv"]


def test_some_names_are_passed_over(folder: Path) -> None:
    for name in (".a.csv", "a.csv.tmp", "a.csv.part", "a.txt", "a.csv.bad", "z.PARQUET", "y.jsonl"):
        put(folder / name, "eve")
    (folder / "b.csv").mkdir()
    watched = Watched(folder)
    names(watched)
    assert names(watched) == ["y.jsonl", "z.PARQUET"]


def test_what_was_done_is_remembered(folder: Path) -> None:
    record = folder.parent / "record"
    for name in ("a.csv", "b.csv", "c.csv"):
        put(folder / name, "eve")

    def again(**settings: Any) -> Watched:
        watched = Watched(folder, record, **settings)
        names(watched)
        return watched

    first = again(terms="one")
    names(first)
    first.taken(folder / "a.csv")
    first.refused(folder / "b.csv")
    assert names(again(terms="one")) == ["c.csv"]
    assert names(again(terms="two")) == ["b.csv", "c.csv"], "read otherwise it may do"
    assert names(again(terms="one", fresh=True)) == ["a.csv", "b.csv", "c.csv"]
    record.write_text("[1")
    assert names(again(terms="one")) == ["a.csv", "b.csv", "c.csv"]


def test_no_folder(run: Run) -> None:
    refused(run("update shop --watch drop --once"), "there is no folder drop to watch; make it fi")
    assert not record_beside("shop").exists()


def test_each_file_is_a_version_once(run: Run, folder: Path) -> None:
    put(folder / "z.csv", "eve", at=1)
    put(folder / "a.csv", "fay", at=2)
    found = each(run(ONCE))
    assert [(Path(one["file"]).name, one["version"]) for one in found] == [
        ("z.csv", "v000002"),
        ("a.csv", "v000003"),
    ]
    assert each(run(ONCE)) == []
    put(folder / "copy.csv", "eve")
    (again,) = each(run(ONCE))
    assert (again["taken"], again["batch"]) == (False, 1), "known by its content"
    record_beside("shop").unlink()
    assert [one["taken"] for one in each(run(ONCE))] == [False] * 3, "nothing is taken in twice"
    assert generations.current("shop").version == "v000003"


def test_a_bad_file_is_set_aside(run: Run, folder: Path) -> None:
    (folder / "a.csv").write_text("user,thing\ngus,tea\n")
    (folder / "b.parquet").write_bytes(b"PAR1 half of it")
    (folder / "c.csv").write_text("user,item\nann,\n")
    put(folder / "d.csv", "eve", at=2**33)
    found = each(run(ONCE), code=2)
    assert [one.get("code") for one in found] == [2, 2, 2, None]
    assert "a.csv has no column 'item'" in found[0]["error"]
    assert "set aside until it changes: none of the 1 rows can be taken in" in found[2]["error"]
    assert found[3]["version"] == "v000002"
    assert each(run(ONCE)) == []
    (folder / "b.parquet").unlink()
    found = each(run(f"{ONCE} --item thing"), code=2)
    assert [one.get("version") for one in found] == ["v000003", None], "read otherwise it may do"
    (folder / "c.csv").write_text("user,item\nann,bread\n")
    code, out, err = run(f"{LINE} --once")
    assert (code, err) == (0, "")
    assert "c.csv: v000004: took in 1 events" in out


def test_a_refit_that_is_due_ends_the_watch(run: Run, folder: Path) -> None:
    for number, name in enumerate(("eve", "fay", "gus")):
        put(folder / f"{name}.csv", name, at=number)
    found = each(run(f"{LINE} --json --refit-if-drift 0.1"), code=3)
    assert [one["refit_due"] for one in found] == [False, True, True], "the round is ended"


def test_an_interrupt_ends_it(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(folder / "a.csv", "eve")
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) > 2:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(update_command.time, "sleep", pause)
    ours = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background
    try:
        code, out, err = run("update shop --watch drop --json")
    finally:
        signal.signal(signal.SIGINT, ours)
    assert code == 130
    assert out.count("\n") == 1
    assert err == "recsys update: interrupted; nothing was left half-written\n"
    assert pauses == [10.0] * 3


def test_a_kill_loses_nothing(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(folder / "a.csv", "eve")

    def killed(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Watched, "taken", killed)  # after the version stands
        assert run(ONCE)[0] == 130
    assert generations.current("shop").version == "v000002"
    (again,) = each(run(ONCE))
    assert (again["taken"], again["batch"]) == (False, 1)
    put(folder / "b.csv", "fay")
    with monkeypatch.context() as patched:
        patched.setattr(writers, "_complete", killed)  # before it does
        assert run(ONCE)[0] == 130
    (again,) = each(run(ONCE))
    assert (again["taken"], again["version"]) == (True, "v000003")


def test_what_is_not_the_fault_of_a_file(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(folder / "a.csv", "eve")
    run("update shop new.csv --quiet")
    with writers.writing("shop"):
        (busy,) = each(run(f"{ONCE} --wait 0.01"), code=4)
        assert "not taken yet: another process has been writing" in busy["error"]

    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(durable, "sync", full)
        refused(run(ONCE), "no room on the disk of shop", code=1)
    refused(run(f"{ONCE} --repeated last"), "the model joins repeats by 'sum'")
    refused(run(ONCE.replace("shop", "nowhere")), "there is no saved model at")
    assert [one["version"] for one in each(run(ONCE))] == ["v000003"]


def test_a_file_that_goes_is_passed_over(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(folder / "a.csv", "eve")
    ready = Watched.ready

    def gone(watched: Watched) -> list[Path]:
        found = ready(watched)
        if found:
            path.unlink()
        return found

    monkeypatch.setattr(Watched, "ready", gone)
    assert each(run(ONCE)) == []


def test_trying_remembers_nothing(run: Run, folder: Path) -> None:
    put(folder / "a.csv", "eve")
    assert each(run(f"{ONCE} --dry-run"))[0]["dry_run"]
    assert not record_beside("shop").exists()
    assert not generations.is_versioned("shop")


def test_vectors_of_each_file(run: Run, folder: Path) -> None:
    put(folder / "a.csv", "eve")
    assert each(run(f"{ONCE} --export-delta deltas"))[0]["delta"] == 1
    assert Path("deltas/a.parquet").is_file()
    refused(run(f"{LINE} --export-delta drop"), "--export-delta writes into the folder that --wa")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("update shop", "takes new events from one place: NEW, --sql URL or --watch DIR"),
        ("update shop new.csv --watch drop", "takes new events from one place"),
        ("update shop new.csv --once", "--every and --once go with --watch DIR only"),
        (f"{LINE} --quarantine x", "--quarantine names one file, --watch meets many"),
        ("update shop --watch drop --every 0", "--every takes seconds above 0, got 0.0"),
        ("update shop new.csv --check -1", "--check takes a number of users, got -1"),
    ],
)
def test_options_that_do_not_go_together(line: str, message: str, run: Run, folder: Path) -> None:
    refused(run(line), message)


def test_time_is_not_wasted(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(update_command.time, "sleep", pauses.append)
    assert run("update shop --watch drop --once")[0] == 0
    assert pauses == [1.0]
    assert data(run("status shop --json"))["version"] == "v000001"
