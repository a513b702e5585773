"""Where studies lie: a real PostgreSQL that processes share, and storages that cannot be used."""

from __future__ import annotations

import importlib.util
import inspect
import os
import sqlite3
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

optuna = pytest.importorskip("optuna")

from command_lines import data, refused  # noqa: E402
from hyperrank import studies  # noqa: E402
from hyperrank.search import _join, search  # noqa: E402
from postgres_server import SECRET, free_port  # noqa: E402
from searched_models import Hill, Noted, line  # noqa: E402

needs_driver = pytest.mark.skipif(
    importlib.util.find_spec("psycopg") is None,
    reason="the driver is not installed: pip install 'psycopg[binary]'",
)


def found(model: Hill | None = None, **options: Any) -> Any:
    settings: dict[str, Any] = {"metric": "height", "trials": 4, "finalists": 0} | options
    return search(Hill() if model is None else model, line, "train", "valid", **settings)


def refusal(storage: str | Path, error: type[Exception] = ValueError, **options: Any) -> str:
    """What is said of a storage, after a look that no password is in it."""
    with pytest.raises(error) as caught:
        found(storage=storage, **options)
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))
    return str(caught.value)


@pytest.mark.slow
@needs_driver
def test_two_processes_share_a_study_in_postgresql(postgres: str, tmp_path: Path) -> None:
    best = found(Noted(folder=f"{tmp_path}"), trials=40, n_jobs=2, storage=postgres, name="two")
    told = best.searched
    assert len(told.trials) == 40
    assert set(told.counts) <= {"complete", "pruned"}
    assert [row["number"] for row in told.trials] == list(range(40))
    assert len({row["params"]["x"] for row in told.trials}) == 40
    notes = [path.name.partition("-")[0] for path in tmp_path.iterdir()]
    assert len(notes) == 41, "each trial was fitted once, and the best again"
    signed = {str(trial.user_attrs["signed"]["pid"]) for trial in told.study.trials}
    assert signed == set(notes)
    assert str(os.getpid()) in signed
    again = found(Noted(folder=f"{tmp_path}"), trials=40, storage=postgres, name="two").searched
    assert again.trials == told.trials


@needs_driver
def test_what_postgresql_refuses(postgres: str) -> None:
    place = postgres.rpartition("@")[2]
    wrong = refusal(postgres.replace("s3cret", "s3cret-not"))
    assert f"cannot use postgresql://shop:***@{place} as the storage of a study: " in wrong
    assert 'password authentication failed for user "shop"' in wrong
    closed = postgres.replace(place, f"127.0.0.1:{free_port()}/postgres")
    assert "Connection refused; give a file that can be written, or the add" in refusal(closed)
    assert 'database "none" does not exist' in refusal(postgres.replace("/postgres", "/none"))


@needs_driver
def test_a_database_that_is_gone_is_told_and_the_search_goes_on_later(postgres: str) -> None:
    import psycopg

    def told(statement: str) -> None:
        with psycopg.connect(postgres) as base:
            base.execute(statement)

    begun: list[Any] = []

    class Alone(Hill):
        def fit(self, fit_on: Any, judge_on: Any) -> Hill:
            begun.append(self)
            if len(begun) == 3:
                told("alter role guest nologin")
            return super().fit(fit_on, judge_on)

    told("drop role if exists guest; create role guest superuser login password 's3cret-too'")
    guest = f"postgresql://guest:s3cret-too@{postgres.rpartition('@')[2]}"
    said = refusal(guest, ConnectionError, model=Alone(), name="lost", pruner="none")
    assert 'was lost during the search: connection failed: connection to server at "127.0' in said
    assert said.endswith("; trials that had ended are in it: search again to go on")
    told("alter role guest login")
    later = found(Alone(), storage=guest, name="lost", pruner="none").searched
    assert later.counts == {"complete": 3, "running": 1}, "this process lives, and may run it"


@needs_driver
def test_passwords_stay_out_of_the_page_and_the_command(
    postgres: str, run: Any, checkerboard: Any
) -> None:
    checkerboard.to_frame().to_csv("log.csv", index=False)
    asked = "search log.csv --model ease --metric ndcg@10 --trials 2 --quiet"
    asked += f" --storage '{postgres}'"
    answer = run(f"{asked} --name page --out ease --report page.html --json")
    told = data(answer)
    place = postgres.rpartition("@")[2]
    assert told["storage"] == f"postgresql://shop:***@{place}"
    assert f"--storage 'postgresql://shop:***@{place}'" in told["command"]
    page = Path("page.html").read_text(encoding="utf-8")
    for text in (*map(str, answer), page, Path("ease/manifest.json").read_text(encoding="utf-8")):
        assert SECRET not in text
        assert "s3cret" not in text
    refused(run(f"{asked} --name page --out bpr --seed 1 --model bprmf"), "is of the model")


def test_without_a_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    for address, module, package in (
        ("postgresql+psycopg", "psycopg", r"'psycopg[binary]'"),
        ("mysql+pymysql", "pymysql", "pymysql"),
    ):
        monkeypatch.setitem(sys.modules, module, None)
        told = refusal(f"{address}://me:s3cret@127.0.0.1:1/studies")
        assert f"{module} is not installed; pip install {package}; give" in told


def test_a_folder_and_what_is_no_database(tmp_path: Path) -> None:
    assert "Is a directory" in refusal(tmp_path)
    assert not Path(f"{tmp_path}.lock").exists()
    assert "unable to open database file" in refusal(f"sqlite:///{tmp_path}")
    (tmp_path / "notes.db").write_text("no database\n" * 100)
    assert "file is not a database" in refusal(f"sqlite:///{tmp_path}/notes.db")
    assert "Could not parse SQLAlchemy URL" in refusal("://")


@pytest.fixture
def closed() -> Iterator[Path]:
    """A folder in which this process may not write."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        for file in ("study.log", "study.log.lock", "study.db"):
            (folder / file).touch(mode=0o444)
        found(trials=1, storage=f"sqlite:///{folder}/whole.db")  # and imports, as nobody cannot
        (folder / "whole.db").chmod(0o444)
        folder.chmod(0o555)
        root = os.geteuid() == 0
        if root:
            os.seteuid(65534)  # root may write anywhere
        try:
            yield folder
        finally:
            if root:
                os.seteuid(0)
            folder.chmod(0o755)


@pytest.mark.skipif(sys.platform == "win32", reason="rights are those of Unix")
def test_what_may_not_be_written(closed: Path) -> None:
    assert "Permission denied" in refusal(closed / "study.log")
    assert "Permission denied" in refusal(closed / "new.log")
    assert "attempt to write a readonly database" in refusal(f"sqlite:///{closed}/study.db")
    assert "attempt to write a readonly database" in refusal(f"sqlite:///{closed}/whole.db")


def test_a_lock_that_cannot_be_made_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "study.log.lock").mkdir()
    assert "Is a directory" in refusal(tmp_path / "study.log")


def test_a_lock_that_is_held_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(studies, "LOCK_SECONDS", 0.1)
    found(trials=1, storage=tmp_path / "study.log")
    held = studies._Lock(tmp_path / "study.log")
    held.acquire()
    try:
        assert "study.log.lock" in refusal(tmp_path / "study.log")
    finally:
        held.release()


def test_a_database_that_is_lost_is_told(tmp_path: Path) -> None:
    class Losing(Hill):
        def fit(self, fit_on: Any, judge_on: Any) -> Hill:
            with sqlite3.connect(tmp_path / "study.db") as base:
                base.execute("drop table trials")
            base.close()
            return super().fit(fit_on, judge_on)

    told = refusal(f"sqlite:///{tmp_path}/study.db", ConnectionError, model=Losing())
    assert "study.db was lost during the search: no such table: trials; trials that had" in told


def test_another_process_that_loses_it_says_so_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*told: Any) -> None:
        raise optuna.exceptions.StorageInternalError("no answer") from OSError("gone for ever")

    monkeypatch.setattr("hyperrank.search._study", lost)
    asked = (None, "postgresql://me:s3cret@here/studies", "search", "none", None)
    said = r"^postgresql://me:\*\*\*@here/studies was lost during the search: gone for ever; trials"
    with pytest.raises(SystemExit, match=said):
        inspect.unwrap(_join)(*asked)


def test_a_database_in_memory_lasts_for_the_search() -> None:
    for address in ("sqlite://", "sqlite:///:memory:"):
        assert found(storage=address).searched.counts == {"complete": 4}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("postgresql://me:p w@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me:p@s/s@host/db", "postgresql://me:***@host/db"),
        (
            "postgresql://me@host/db?a=b&password=x&c=d",
            "postgresql://me@host/db?a=b&password=***&c=d",
        ),
        ("postgresql://host/db?sslpassword=x", "postgresql://host/db?sslpassword=***"),
        ("postgresql://host:5432/db", "postgresql://host:5432/db"),
        ("study.log", "study.log"),
    ],
)
def test_passwords_of_addresses(text: str, said: str) -> None:
    assert studies.hidden(text) == said
