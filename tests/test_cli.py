"""The command's frame: light start, exit codes, interruption."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from recsys import commands
from recsys.cli import main

HEAVY = ("torch", "pandas", "numpy", "scipy", "pyarrow", "narwhals", "polars", "tqdm")


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys; from recsys.cli import main; main(['fit', '--help']); "
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
    for line in ([], ["frobnicate"], ["fit"], ["recommend", "m"], ["fit", "a", "--out"]):
        assert main(line) == 2
        assert "usage: recsys" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "recsys doctor: interrupted; nothing was left half-written"),
        (ValueError("a\nb"), 2, "recsys doctor: a b"),
        (FileNotFoundError("no such log"), 2, "recsys doctor: no such log"),
        (ImportError("pip install hyperrank[ann]"), 2, "recsys doctor: pip install hyperrank[ann]"),
        (RuntimeError("loss is nan"), 1, "recsys doctor: loss is nan"),
        (FloatingPointError("learned NaN"), 1, "recsys doctor: learned NaN"),
        (MemoryError(), 1, "recsys doctor: MemoryError"),
        (OSError(28, "No space left on device"), 1, "No space left on device"),
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

    monkeypatch.setattr(commands, "doctor", fail)
    assert main(["doctor"]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert err.count("\n") == 1


def test_debug_shows_where(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(options: Any) -> None:
        raise ValueError("deep")

    monkeypatch.setattr(commands, "doctor", fail)
    with pytest.raises(ValueError, match="deep"):
        main(["doctor", "--debug"])


def test_a_reader_that_leaves_is_no_error() -> None:
    script = (
        "import sys; from recsys import commands; from recsys.cli import main\n"
        "commands.doctor = lambda options: commands.Answer({}, 'x' * 10**6)\n"
        "sys.exit(main(['doctor']))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        assert process.wait(timeout=60) == 1
        assert process.stderr.read() == b""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGINT")
def test_control_c_during_a_fit_leaves_nothing(tmp_path: Path) -> None:
    rows = "".join(f"u{n % 50},i{n * 7 % 40}\n" for n in range(1000))
    (tmp_path / "log.csv").write_text(f"user,item\n{rows}")
    line = "fit log.csv --model ultragcn --set epochs=1000000 --set dim=4 --out m"
    command = [sys.executable, "-m", "recsys", *line.split()]
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
    assert b"interrupted; nothing was left half-written" in rest
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.csv"]
