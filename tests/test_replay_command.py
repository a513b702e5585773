"""``recsys replay`` through its door: what it prints, writes and refuses."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from test_replay import made

from recsys.cli import main

Run = Callable[..., tuple[int, str, str]]
LINE = "replay log.csv --time when --from 0.5 --every 60 --model puresvd --set dim=4"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs a command line in a folder with ``log.csv``; gives exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    frame = made().rename(columns={"time": "when"})
    frame.to_csv("log.csv", index=False)
    dates = pd.Timestamp("2024-01-01") + pd.to_timedelta(frame.when, unit="h")
    frame.assign(when=dates).to_parquet("dated.parquet")

    def call(line: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = main(line.split())
        return code, *capfd.readouterr()

    return call


def refused(found: tuple[int, str, str], message: str, code: int = 2) -> None:
    assert found[0] == code
    assert found[1] == ""
    assert message in found[2]
    assert found[2].count("\n") == 1, "one sentence"
    assert "Traceback" not in found[2]


def test_it_prints_a_price_list(run: Run) -> None:
    code, out, err = run(LINE)
    lines = out.splitlines()
    assert code == 0
    assert lines[0].startswith("PureSVD, 5 slices from 300 to 540; ")
    assert lines[1].split()[:5] == ["policy", "ndcg@10", "low", "high", "gain"]
    assert [line.split()[0] for line in lines[2:6]] == ["none", "popularity", "update", "refit"]
    assert lines[6].startswith("gain: above none, paired over users, 95% interval")
    assert len(lines) == 7
    assert "replay:" in err


def test_dates_make_ages_of_dates(run: Run) -> None:
    line = LINE.replace("log.csv", "dated.parquet").replace(
        "0.5 --every 60", "2024-01-14 --every 2d"
    )
    code, out, err = run(f"{line} --quiet --policies none,update --plot a/b.svg")
    assert (code, err) == (0, "")
    assert "slices from 2024-01-14 00:00:00 to 2024-01-24 00:00:00" in out
    assert re.search(r"none .* \d\.\d+ d ", out)
    assert re.search(r"update .* \d+\.\d h ", out)
    assert out.endswith("drew a/b.svg\n")
    assert "<svg" in Path("a/b.svg").read_text()


def test_it_prints_json(run: Run) -> None:
    code, out, err = run(f"{LINE} --quiet --json -k 5 --policies update,none --refit-every 2")
    assert (code, err) == (0, "")
    answer = json.loads(out)
    assert (answer["model"], answer["params"]["dim"]) == ("PureSVD", 4)
    assert [row["policy"] for row in answer["summary"]] == ["update", "none"]
    assert len(answer["slices"]) == 10
    assert answer["slices"][0]["ndcg@5"] == answer["slices"][1]["ndcg@5"]
    assert answer["summary"][1]["median_seconds"] is None
    assert answer["out"] is answer["plot"] is None


def test_a_folder_holds_all_of_it(run: Run) -> None:
    assert run(f"{LINE} --quiet --out found")[0] == 0
    inside = sorted(path.name for path in Path("found").iterdir() if path.name[0] != ".")
    assert inside == ["_parts.json", "replay.png", "slices", "slices.csv", "summary.csv"]
    assert pd.read_csv("found/summary.csv").policy.tolist()[0] == "none"
    refused(run(f"{LINE} --quiet --out found"), "found exists already; choose another name")
    assert run(f"{LINE} --quiet --out found --resume")[0] == 0
    refused(run(f"{LINE} --quiet -k 3 --out found --resume"), "holds parts of another run: k is 10")


def test_public_data_by_name(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYPERRANK_DATA", "sets")
    Path("sets/recsys/toy").mkdir(parents=True)
    frame = made().rename(columns={"time": "timestamp"})
    frame.to_parquet("sets/recsys/toy/interactions.parquet")
    line = LINE.replace("log.csv --time when", "toy")
    assert run(f"{line} --quiet")[0] == 0
    refused(run(f"{line.replace('toy', 'toi')} --quiet"), "there is no file toi")


def test_bad_use_is_refused(run: Run) -> None:
    quiet = f"{LINE} --quiet"
    refused(run(quiet.replace(" --time when", "")), "needs times; name their column with --time")
    refused(run(quiet.replace("0.5", "9999")), "a start at 9999.0 leaves no event from then on")
    refused(run(quiet.replace("0.5", "soon")), "cut 'soon' is no ISO date or time")
    refused(run(quiet.replace("60", "1w")), "every 1w makes one slice")
    refused(run(quiet.replace("60", "often")), "every must be a length of time such as 30m")
    refused(run(f"{quiet} --policies updat"), "no policy 'updat'; did you mean 'update'?")
    refused(run(f"{quiet} --policies ,"), "no policy was named")
    refused(run(quiet.replace("puresvd --set dim=4", "ease")), "EASE cannot be updated")
    refused(run(f"{quiet} --resume"), "--resume goes on in a folder; name it with --out")
    refused(run(f"{quiet} --plot a.gif"), "a plot is a file that ends in .png, .svg, .pdf")
    refused(run(f"{quiet} --refit-every 0"), "refit_every must be at least 1, got 0")


def test_without_matplotlib(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    refused(run(f"{LINE} --plot a.png"), "a plot needs matplotlib: pip install 'hyperrank[plots]'")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert run(f"{LINE} --quiet --out found")[0] == 0
    assert not Path("found/replay.png").exists()
