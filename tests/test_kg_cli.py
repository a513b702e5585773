"""The frame of the command ``kg``: light start, exit codes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from kg import commands
from kg.cli import main

HEAVY = ("torch", "pandas", "numpy", "scipy", "pyarrow", "narwhals", "polars", "tqdm")


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys; from kg.cli import main; main(['fit', '--help']); "
        f"print(sorted(set({HEAVY}) & set(sys.modules)), len(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    last = done.stdout.splitlines()[-1]
    assert last.startswith("[] ")
    assert int(last.removeprefix("[] ")) < 250


def test_usage_errors_are_2_and_help_is_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "exit codes: 0 done" in capsys.readouterr().out
    lines = ([], ["frobnicate"], ["fit"], ["complete", "m"], ["score-all", "m"])
    for line in (*lines, ["complete", "m", "--head", "a", "--tail", "b"]):
        assert main(line) == 2
        assert "usage: kg" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "kg score-all: interrupted; nothing was left half-written"),
        (ValueError("a\nb"), 2, "kg score-all: a b"),
        (RuntimeError("loss is nan"), 1, "kg score-all: loss is nan"),
        (TimeoutError("another writes"), 4, "kg score-all: another writes"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_exit_codes(
    error: BaseException,
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(options: Any) -> None:
        raise error

    monkeypatch.setattr(commands, "score_all", fail)
    assert main(["score-all", "m", "--out", "x"]) == code
    assert capsys.readouterr() == ("", f"{said}\n")


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGINT")
def test_control_c_during_a_fit_leaves_nothing(tmp_path: Path) -> None:
    rows = "".join(f"e{n % 20}\tr{n % 3}\te{n * 7 % 19}\n" for n in range(300))
    (tmp_path / "facts.txt").write_text(rows)
    line = "fit facts.txt --no-header --set epochs=1000000 --set entity_dim=4 --out m"
    command = [sys.executable, "-m", "kg", *line.split()]
    root = Path(__file__).resolve().parent.parent
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stderr is not None
        seen = b""
        while b"loss" not in seen and process.poll() is None:  # the bar shows: it is learning
            seen += process.stderr.read(1)
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        assert process.wait(timeout=60) == 130, rest.decode()
    assert b"kg fit: interrupted; nothing was left half-written" in rest
    assert [path.name for path in tmp_path.iterdir()] == ["facts.txt"]
