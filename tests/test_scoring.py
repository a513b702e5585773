"""Recommendations of all users in parts: complete, without duplicates, after any kill."""

from __future__ import annotations

import subprocess
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from hyperrank.parts import is_whole
from hyperrank.scorers import Factors
from recsys.interactions import Interactions
from recsys.recommender import Recommender
from recsys.scoring import score_all


@dataclass(kw_only=True, eq=False)
class Random(Recommender):
    """Random vectors."""

    dim: int = 4

    def _learn(self, train: Interactions, validation: Interactions | None) -> Factors:
        source = torch.Generator().manual_seed(0)
        sizes = (train.n_users, train.n_items)
        return Factors(*(torch.randn(n, self.dim, generator=source) for n in sizes))


@pytest.fixture
def model(checkerboard: Interactions) -> Random:
    return Random().fit(checkerboard)


def contents(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder).sort_values(["user", "rank"], ignore_index=True)


def expected(model: Random, **settings: Any) -> pd.DataFrame:
    frame = model.recommend(k=5, **settings)
    return frame.sort_values(["user", "rank"], ignore_index=True)


@pytest.mark.parametrize("exclude_seen", [True, False])
def test_the_parts_hold_what_recommend_says(
    model: Random, tmp_path: Path, exclude_seen: bool
) -> None:
    settings: dict[str, Any] = {"digest": "d", "k": 5, "exclude_seen": exclude_seen}
    parts = score_all(model, tmp_path / "out", users_per_part=7, **settings)
    assert parts == (9, 9, 9)
    found = contents(tmp_path / "out")
    pd.testing.assert_frame_equal(found, expected(model, exclude_seen=exclude_seen))
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    assert score_all(model, tmp_path / "out", **settings) == (0, 9, 9)
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}


def test_shards_share_the_work(model: Random, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"digest": "d", "k": 5, "users_per_part": 7}
    shares = [(2, 3), (1, 3), (3, 3), (1, 2)]
    written = [score_all(model, tmp_path, shard=shard, **settings).written for shard in shares]
    assert written == [3, 3, 3, 0]
    pd.testing.assert_frame_equal(contents(tmp_path), expected(model))


def test_a_damaged_part_is_made_again(model: Random, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"digest": "d", "k": 5, "users_per_part": 30}
    score_all(model, tmp_path, **settings)
    part = tmp_path / "part-000001.parquet"
    part.write_bytes(part.read_bytes()[:100])
    assert score_all(model, tmp_path, **settings) == (1, 2, 2)
    pd.testing.assert_frame_equal(contents(tmp_path), expected(model))


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
from hyperrank.pairs import pair_set
from hyperrank.scorers import Constant
from recsys import scoring
from recsys.baselines import Popularity
from recsys.interactions import Interactions

rows = torch.arange(100)
pairs = pair_set(rows, rows % 10, n_queries=100, n_candidates=10)
model = Popularity().fit(Interactions.from_pairs(pairs))
steps, real = int(sys.argv[2]), os.fsync

def fsync(handle):
    global steps
    steps -= 1
    if steps == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    real(handle)

os.fsync = fsync
print(scoring.score_all(model, sys.argv[1], digest="d", k=3, users_per_part=10))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_killed_and_rerun_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    def run(steps: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", KILLED, str(tmp_path / "out"), str(steps)]
        return subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)

    assert run(8).returncode == -9
    found = contents(tmp_path / "out")
    assert 0 < len(found) < 300
    assert not found.duplicated(["user", "rank"]).any()
    done = run(0)
    assert done.returncode == 0, done.stderr
    found = contents(tmp_path / "out")
    assert len(found) == 300
    assert not found.duplicated(["user", "rank"]).any()


def test_parts_of_different_runs_never_mix(model: Random, tmp_path: Path) -> None:
    score_all(model, tmp_path, digest="d", k=5)
    for changes, said in [
        ({"digest": "e"}, "model is d there and e here"),
        ({"k": 6}, "k is 5 there and 6 here"),
        ({"exclude_seen": False}, "exclude_seen is True there and False here"),
    ]:
        with pytest.raises(ValueError, match=f"parts of another run: {said}; choose a new folder"):
            score_all(model, tmp_path, **({"digest": "d", "k": 5} | changes))


def test_other_folders_are_left_alone(model: Random, tmp_path: Path) -> None:
    (tmp_path / "cat.jpg").write_bytes(b"meow")
    with pytest.raises(
        ValueError, match=r"holds other files, such as cat\.jpg; choose a new folder"
    ):
        score_all(model, tmp_path, digest="d")
    with pytest.raises(ValueError, match=r"cat\.jpg is a file; give a folder for the parts"):
        score_all(model, tmp_path / "cat.jpg", digest="d")


@pytest.mark.parametrize("shard", [(0, 2), (3, 2), (1, 0)])
def test_shards_are_counted_from_one(model: Random, tmp_path: Path, shard: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="shard must be I/N with 1 <= I <= N, got"):
        score_all(model, tmp_path, digest="d", shard=shard)


def test_more_than_the_catalogue_is_the_catalogue(model: Random, tmp_path: Path) -> None:
    assert score_all(model, tmp_path, digest="d", k=400).written == 1
    every = model.recommend(k=400).sort_values(["user", "rank"], ignore_index=True)
    pd.testing.assert_frame_equal(contents(tmp_path), every)
    assert score_all(model, tmp_path, digest="d", k=40).written == 0
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        score_all(model, tmp_path, digest="d", k=0)


def test_users_with_nothing_left_and_odd_ids(tmp_path: Path) -> None:
    users = [uuid.UUID(int=1), uuid.UUID(int=2)]
    rows = [(users[0], "a"), (users[0], "b"), (users[1], "a")]
    log = Interactions.from_frame(pd.DataFrame(rows, columns=["user", "item"]))
    score_all(Random().fit(log), tmp_path, digest="d", k=2)
    found = pd.read_parquet(tmp_path)
    assert found["item"].tolist() == ["b"]
    assert found["user"].tolist() == [users[1].bytes]
    assert found["rank"].tolist() == [1]


def test_every_part_names_its_model(model: Random, tmp_path: Path) -> None:
    score_all(model, tmp_path, digest="abc", k=5)
    assert is_whole(tmp_path / "part-000000.parquet", "abc")
    assert not is_whole(tmp_path / "part-000000.parquet", "abd")
