"""The best pairs of every relation: exact, within memory, and nothing is lost by a kill."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from hyperrank.vocabulary import UnknownIdError
from kg import scoring
from kg.triples import Triples
from link_predictors import Fixed, parity_facts

TESTS = Path(__file__).resolve().parent


@pytest.fixture(scope="module")
def facts() -> Triples:
    return parity_facts(n_entities=12)


def model_of(facts: Triples, levels: int = 4) -> Fixed:
    """Few levels, so that most scores are tied."""
    source = torch.Generator().manual_seed(3)
    values = torch.randint(levels, (4, 12, 12), generator=source).float()
    return Fixed(values=values).fit(facts)


def expected(model: Fixed, facts: Triples, k: int, known: bool, least: float) -> pd.DataFrame:
    """The slow way: every pair in the order of the vocabulary, sorted by score."""
    taken = set(zip(facts.head.tolist(), facts.relation.tolist(), facts.tail.tolist(), strict=True))
    rows = []
    for relation in range(2):
        every = [
            (-float(model.module_.values[relation, head, tail]), head, tail)
            for head in range(12)
            for tail in range(12)
            if known or (head, relation, tail) not in taken
        ]
        best = [row for row in sorted(every) if -row[0] >= least][:k]
        rows += [
            (f"e{h}", ["like", "unlike"][relation], f"e{t}", -minus, rank)
            for rank, (minus, h, t) in enumerate(best, 1)
        ]
    return pd.DataFrame(rows, columns=["head", "relation", "tail", "score", "rank"])


@pytest.mark.parametrize("memory", [1, 16 * 12 * 5, 1e9], ids=["a head", "five heads", "all"])
@pytest.mark.parametrize(
    ("k", "known", "least"),
    [(1, False, -9), (17, False, -9), (17, True, -9), (1000, False, 2), (1000, True, -9)],
)
def test_the_best_of_all_pairs(
    facts: Triples, tmp_path: Path, memory: float, k: int, known: bool, least: float
) -> None:
    model = model_of(facts)
    minimum = None if least < 0 else least
    parts = model.score_all(
        tmp_path, k=k, memory=memory, exclude_known=not known, min_score=minimum
    )
    assert parts == (2, 2, 2)
    found = pd.read_parquet(tmp_path)
    pd.testing.assert_frame_equal(found, expected(model, facts, k, known, least), check_dtype=False)
    assert found["score"].dtype == np.float32


def test_some_relations_and_shards(facts: Triples, tmp_path: Path) -> None:
    model = model_of(facts)
    every = expected(model, facts, 5, False, -9)
    assert model.score_all(tmp_path / "one", ["unlike"], k=5) == (1, 1, 1)
    found = pd.read_parquet(tmp_path / "one")
    wanted = every[every["relation"] == "unlike"].reset_index(drop=True)
    pd.testing.assert_frame_equal(found, wanted, check_dtype=False)
    assert model.score_all(tmp_path / "two", k=5, shard=(2, 2)) == (1, 1, 2)
    assert model.score_all(tmp_path / "two", k=5, shard=(1, 2)) == (1, 2, 2)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "two"), every, check_dtype=False)
    assert model.score_all(tmp_path / "two", k=5, memory=1).written == 0


def test_parts_of_different_runs_never_mix(facts: Triples, tmp_path: Path) -> None:
    model_of(facts).score_all(tmp_path, k=5)
    for other, changes, said in [
        (model_of(facts, 3), {}, "model is [0-9a-f]{64} there and [0-9a-f]{64} here"),
        (model_of(facts), {"k": 6}, "k is 5 there and 6 here"),
        (model_of(facts), {"min_score": 1.0}, "min_score is None there and 1.0 here"),
        (model_of(facts), {"relations": ["like"]}, r"relations is \[0, 1\] there and \[0\] here"),
    ]:
        with pytest.raises(ValueError, match=f"{said}; choose a new folder"):
            other.score_all(tmp_path, **({"k": 5} | changes))


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"k": 0}, ValueError, "k must be at least 1, got 0"),
        ({"memory": 0}, ValueError, "memory must be a positive number of bytes, got 0"),
        ({"memory": np.nan}, ValueError, "memory must be a positive number of bytes, got nan"),
        ({"shard": (3, 2)}, ValueError, "shard must be I/N with 1 <= I <= N, got 3/2"),
        ({"relations": ["lik"]}, UnknownIdError, "relation: unknown id 'lik'; closest"),
    ],
)
def test_bad_wishes(
    facts: Triples,
    tmp_path: Path,
    settings: dict[str, Any],
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        model_of(facts).score_all(tmp_path / "out", **settings)
    assert not (tmp_path / "out").exists()


def test_nan_is_refused(facts: Triples, tmp_path: Path) -> None:
    model = model_of(facts)
    model.module_.values[1, 4, 4] = torch.nan
    with pytest.raises(ValueError, match="hold NaN; the model has diverged"):
        model.score_all(tmp_path)
    assert len(pd.read_parquet(tmp_path)) > 0  # the first relation is there


def test_the_digest_is_of_what_was_learned(facts: Triples) -> None:
    assert scoring.digest_of(model_of(facts)) == scoring.digest_of(model_of(facts))
    assert scoring.digest_of(model_of(facts)) != scoring.digest_of(model_of(facts, 3))
    other = parity_facts(n_entities=12, number=4)
    assert scoring.digest_of(model_of(facts)) != scoring.digest_of(model_of(other))


KILLED = """
import os, signal, sys
from kg import scoring
from test_pair_scoring import model_of, parity_facts

scoring.SAVE_SECONDS = 0.0
real, steps = os.fsync, 43  # each save syncs a file and its folder, after two for the parts' folder

def fsync(handle):
    global steps
    steps -= 1
    if steps == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    real(handle)

os.fsync = fsync
model_of(parity_facts(n_entities=12)).score_all(sys.argv[1], k=30, memory=1)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_killed_and_rerun_nothing_is_lost_or_doubled(
    facts: Triples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "killed")],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"PYTHONPATH": f"{TESTS.parent}{os.pathsep}{TESTS}"},
    )
    assert killed.returncode == -9, killed.stderr
    assert len(list((tmp_path / "killed").glob("part-*"))) == 1
    model, heads = model_of(facts), []
    model.score_all(tmp_path / "whole", k=30, memory=1)
    score = type(model.module_).score
    monkeypatch.setattr(
        type(model.module_),
        "score",
        lambda self, anchor, relation: (heads.append(anchor), score(self, anchor, relation))[1],
    )
    assert model.score_all(tmp_path / "killed", k=30, memory=1).written == 1
    assert 0 < len(heads) < 8, "heads of the second relation that were in are not scored again"
    pd.testing.assert_frame_equal(
        pd.read_parquet(tmp_path / "killed"), pd.read_parquet(tmp_path / "whole")
    )
    assert not list((tmp_path / "killed").glob(".part-*"))
