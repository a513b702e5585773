"""What is measured of a log's geometry, and the verdict."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from hyperrank.pairs import pair_set
from recsys import geometry
from recsys.cli import main
from recsys.interactions import Interactions


def test_a_tree_has_no_delta_and_a_cycle_has() -> None:
    """Distances in a path and a star are those of trees; of a cycle of 8, delta is 2."""
    place = torch.arange(9.0)
    path = (place - place[:, None]).abs()
    assert geometry.relative_delta(path) == 0
    assert geometry.relative_delta(1 - torch.eye(5)) == 0
    around = (torch.arange(8.0) - torch.arange(8.0)[:, None]).abs()
    cycle = torch.minimum(around, 8 - around)
    assert geometry.relative_delta(cycle) == pytest.approx(2 * 2 / 4)


def test_delta_is_the_largest_over_triples(generator: torch.Generator) -> None:
    x = torch.randn(12, 3, generator=generator)
    apart = torch.cdist(x, x)
    product = (apart[0][:, None] + apart[0] - apart) / 2
    plain = max(
        float(min(product[i, k], product[k, j]) - product[i, j])
        for i in range(12)
        for j in range(12)
        for k in range(12)
    )
    assert geometry.relative_delta(apart) == pytest.approx(2 * plain / float(apart.max()))


def test_the_tail_of_a_power_law(generator: torch.Generator) -> None:
    """P(degree > x) = x^-1.5: the interval holds 1.5."""
    degree = (1000 * torch.rand(20_000, generator=generator).pow(-1 / 1.5)).long()
    found = geometry.tail_index(degree)
    assert found.low < 1.5 < found.high
    assert found.high - found.low < 0.3
    assert geometry.tail_index(torch.full((5,), 3)).value == math.inf


def test_shuffling_keeps_the_degrees_and_not_the_taste(checkerboard: Interactions) -> None:
    generator = torch.Generator().manual_seed(0)
    pairs = checkerboard.pairs
    mixed = geometry.shuffled(pairs, generator)
    own = (mixed.queries % 2 == mixed.candidates % 2).float().mean()
    assert 0.4 < own < 0.6
    assert len(mixed) > 0.8 * len(pairs)
    first = geometry.sampled_delta(pairs, generator, points=20, samples=5)
    assert 0 <= first.low <= first.value <= first.high <= 1


def test_a_verdict_on_a_checkerboard(checkerboard: Interactions) -> None:
    found = geometry.assess(checkerboard, users=50, dims=(4,), epochs=2)
    assert {row["geometry"] for row in found.rows} == {"triangle", "lorentzian", "cosine", "inner"}
    assert found.geometry in found.as_dict()["geometry"]
    assert found.sentence.startswith("yes: " if found.worth else "no: ")
    assert found.dim == 4
    again = geometry.assess(checkerboard, users=50, dims=(4,), epochs=2)
    assert again.rows == found.rows


@pytest.mark.parametrize(
    ("worth", "gap", "p", "start"),
    [
        (
            True,
            0.01,
            0.001,
            "yes: NDCG@20 +0.0100 of triangle (dim 8) over cosine (dim 8), p 0.001",
        ),
        (
            False,
            -0.01,
            0.001,
            "no: NDCG@20 -0.0100 of triangle (dim 8) over cosine (dim 8), p 0.001",
        ),
        (False, 0.01, 0.4, "no: NDCG@20 +0.0100 of triangle (dim 8) over cosine (dim 8) may be"),
    ],
)
def test_the_sentence(worth: bool, gap: float, p: float, start: str) -> None:
    row = {"geometry": "triangle", "dim": 8, "difference": gap, "p": p}
    best = {"cosine": geometry.TriplH(dim=8)}
    assert geometry._sentence(worth, row, "cosine", best).startswith(start)


def test_too_short_a_log_is_refused() -> None:
    pairs = pair_set(torch.arange(4), torch.arange(4), n_queries=4, n_candidates=4)
    with pytest.raises(ValueError, match="0 users have 5 items or more, but 20 are needed"):
        geometry.assess(Interactions.from_pairs(pairs))


def test_the_command(
    checkerboard: Interactions, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log.csv"
    checkerboard.to_frame().to_csv(log, index=False)
    assert main(["geometry", str(log), "--users", "40", "--epochs", "1", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["worth"] in (True, False)
    assert len(data["delta"]) == 3
    assert len(data["rows"]) == 4
    assert main(["geometry", str(log), "--users", "40", "--epochs", "1"]) == 0
    assert "sentence" in capsys.readouterr().out
