"""The frame of the command ``kg``: light start, exit codes."""

from __future__ import annotations

import subprocess
import sys
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
