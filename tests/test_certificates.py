"""Certificates never promise too much, and no less than there is, to the rounding of float64."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from hyperrank import certificates
from hyperrank.certificates import certified
from hyperrank.estimator import NotFittedError
from hyperrank.pairs import PairSet
from hyperrank.retrieval import top_k
from hyperrank.scorers import Factors
from hyperrank.vocabulary import UnknownIdError
from recsys import EASE, Interactions, PureSVD, TriplH
from recsys.triplet_scores import triangle_rows
from reference_certificates import certified_plain

Q, N, D = 6, 17, 3


def drawn(generator: torch.Generator, kind: str) -> Factors:
    """Tables; "ties" have few distinct numbers, "twins" candidates twice, "far" a common part."""
    queries, rows = (torch.randn(n, D, generator=generator) for n in (Q, N))
    if kind == "ties":
        queries, rows = queries.round(), rows.round()
    if kind == "twins":
        rows[N // 2 :] = rows[: N - N // 2].clone()
    if kind == "far":
        rows = 1000 + 1e-3 * rows
    if kind == "zero":
        queries[0], rows[::3] = 0, 0
    return Factors(queries, rows)


def known_pairs(generator: torch.Generator) -> PairSet:
    hidden = torch.rand(Q, N, generator=generator) < 0.3
    hidden[0] = True  # a query that knows all
    hidden[1, 2:] = True  # and one with two left
    return PairSet(hidden.flatten().nonzero().squeeze(1), Q, N)


def lists(factors: Factors, k: int, known: PairSet | None, offset: Tensor | None) -> list:
    """Of each query: its list, and what is left outside."""
    scores = factors.queries @ factors.candidates.T
    scores = scores if offset is None else scores + offset
    hidden = torch.zeros(Q, N, dtype=torch.bool)
    if known is not None:
        hidden[known.queries, known.candidates] = True
    scores[hidden] = -torch.inf
    found = []
    for row in scores:
        order = row.sort(descending=True, stable=True).indices
        order = [int(j) for j in order if row[j] > -math.inf]
        found.append((order[:k], order[k:]))
    return found


@pytest.mark.parametrize("with_offset", [False, True])
@pytest.mark.parametrize("kind", ["plain", "ties", "twins", "far", "zero"])
@pytest.mark.parametrize("k", [1, 3, 8, 30])
def test_radii_are_those_of_rational_numbers(
    kind: str, k: int, with_offset: bool, generator: torch.Generator
) -> None:
    for known in (None, known_pairs(generator)):
        factors = drawn(generator, kind)
        offset = torch.randn(Q, N, generator=generator).round() if with_offset else None
        call = None if offset is None else lambda rows, given=offset: given[rows].clone()
        found = certified(factors, torch.arange(Q), k, known=known, offset=call, chunk=4)
        for row, (inside, outside) in enumerate(lists(factors, k, known, offset)):
            if not outside:
                assert all(float(column[row]) == math.inf for column in found[:5])
                assert found.inside[row] == found.outside[row] == -1
                continue
            query, rows = factors.queries[row].tolist(), factors.candidates.tolist()
            given = [0.0] * N if offset is None else offset[row].tolist()
            exact = certified_plain(query, rows, given, inside, outside)
            scale = float(factors.queries[row].norm()) * float(factors.candidates.norm(dim=1).max())
            for ours, square in zip((found.radius, found.radius_2k), exact, strict=True):
                value = float(ours[row])
                if square == math.inf:
                    assert value == math.inf
                    continue
                assert Fraction(value) ** 2 <= square
                close = 1e-9 if kind == "far" else 1e-12
                assert value == pytest.approx(math.sqrt(square), rel=1e-9, abs=close * (1 + scale))
            if found.radius[row] < math.inf:
                assert int(found.inside[row]) in inside
                assert int(found.outside[row]) in outside


def same_sets(factors: Factors, k: int) -> list[set[int]]:
    wide = Factors(factors.queries.double(), factors.candidates.double())
    return [set(row.tolist()) for row in top_k(wide, torch.arange(len(wide.queries)), k).candidates]


def random_tables(generator: torch.Generator) -> Factors:
    return Factors(*(torch.randn(n, 4, generator=generator) for n in (40, 60)))


def test_nothing_changes_inside_and_something_just_outside(generator: torch.Generator) -> None:
    factors, k = random_tables(generator), 5
    found, before = certified(factors, torch.arange(40), k), same_sets(factors, k)
    apart = factors.candidates[found.inside].double() - factors.candidates[found.outside].double()
    swap = -torch.nn.functional.normalize(apart)
    for _ in range(20):
        chance = torch.randn(40, 4, generator=generator, dtype=torch.float64)
        for direction in (torch.nn.functional.normalize(chance), swap):
            near = factors.queries + 0.999999 * found.radius[:, None] * direction
            assert same_sets(Factors(near, factors.candidates), k) == before
            near = factors.queries + 0.999999 * found.radius_2k[:, None] * direction
            after = same_sets(Factors(near, factors.candidates), 2 * k)
            assert all(few <= many for few, many in zip(before, after, strict=True))
    beyond = factors.queries + 1.000001 * found.radius[:, None] * swap
    after = same_sets(Factors(beyond, factors.candidates), k)
    assert all(one != other for one, other in zip(before, after, strict=True))


def test_moves_of_candidates_and_of_all(generator: torch.Generator) -> None:
    factors, k = random_tables(generator), 5
    found, before = certified(factors, torch.arange(40), k), same_sets(factors, k)
    for row in range(40):
        query = factors.queries[row].double()
        inside = torch.zeros(60, 1, dtype=torch.float64) - 1
        inside[list(before[row])] = 1
        worst = -inside * query / query.norm()
        for radius, harmless in (
            (found.candidate_radius[row], 0.999),
            (found.joint_radius[row], 1),
        ):
            moved = factors.candidates + harmless * radius * worst
            alone = Factors(query[None], moved)
            assert same_sets(alone, k) == [before[row]]
        swap = factors.candidates[found.inside[row]] - factors.candidates[found.outside[row]]
        both = query - found.joint_radius[row] * swap / swap.norm()
        moved = factors.candidates - found.joint_radius[row] * inside * both / both.norm()
        assert same_sets(Factors(both[None], moved), k) == [before[row]]
        beyond = factors.candidates + 1.001 * found.candidate_radius[row] * worst
        assert same_sets(Factors(query[None], beyond), k) != [before[row]]
    assert (found.joint_radius <= torch.minimum(found.radius, found.candidate_radius)).all()
    assert (found.global_radius <= found.radius).all()
    assert (found.radius <= found.radius_2k).all()


@pytest.mark.parametrize("few", [1, 2, 5])
def test_few_runners_up_are_enough(
    few: int, generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    factors = random_tables(generator)
    usual = certified(factors, torch.arange(40), 2)
    asked: list[int] = []
    compared = certificates._compared

    def counting(block, table, top, wide, count):
        asked.append(count)
        return compared(block, table, top, wide, count)

    monkeypatch.setattr(certificates, "_compared", counting)
    monkeypatch.setattr(certificates, "RUNNERS_UP", few)
    monkeypatch.setattr(certificates, "GROWTH", 2)
    monkeypatch.setattr(certificates, "NUMBERS_AT_ONCE", 400)
    found = certified(factors, torch.arange(40), 2)
    torch.testing.assert_close(found, usual, rtol=1e-5, atol=0)
    torch.testing.assert_close(found.radius, usual.radius, rtol=0, atol=0)
    torch.testing.assert_close(found.radius_2k, usual.radius_2k, rtol=0, atol=0)
    assert len(set(asked)) > 1


def test_repeats_order_and_no_queries(generator: torch.Generator) -> None:
    factors, query = random_tables(generator), torch.tensor([3, 1, 3])
    found, every = certified(factors, query, 5), certified(factors, torch.arange(40), 5)
    torch.testing.assert_close(found.radius, every.radius[query])
    nothing = certified(factors, query[:0], 5)
    assert [column.shape for column in nothing] == [(0,)] * 7


@pytest.mark.gpu
def test_the_gpu_finds_the_same(generator: torch.Generator) -> None:
    here = random_tables(generator)
    there = Factors(here.queries.cuda(), here.candidates.cuda())
    known = PairSet(torch.arange(0, 40 * 60, 7), 40, 60)
    ours, theirs = (certified(one, torch.arange(40), 5, known=known) for one in (there, here))
    assert ours.radius.device.type == "cuda"
    torch.testing.assert_close([one.cpu() for one in ours], list(theirs))


def test_refusals(generator: torch.Generator) -> None:
    factors, query = random_tables(generator), torch.arange(3)
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        certified(factors, query, 0)
    with pytest.raises(ValueError, match="chunk must be at least 1 query, got 0"):
        certified(factors, query, 5, chunk=0)
    factors.candidates[3] = torch.nan
    with pytest.raises(ValueError, match="hold NaN"):
        certified(factors, query, 5)


def log() -> Interactions:
    source = np.random.default_rng(0)
    frame = pd.DataFrame({"user": source.integers(0, 50, 600), "item": source.integers(0, 40, 600)})
    return Interactions.from_frame(frame)


@pytest.mark.parametrize("model", [PureSVD(dim=6), TriplH(dim=6, epochs=2)], ids=["svd", "triplh"])
def test_a_recommender_certifies_its_lists(model) -> None:
    model.fit(log())
    frame = model.certify([3, 1, 3], 5)
    assert list(frame) == [
        "user",
        "radius",
        "relative_radius",
        "radius_2k",
        "global_radius",
        "item_radius",
        "joint_radius",
    ]
    assert frame["user"].tolist() == [3, 1, 3]
    length = np.linalg.norm(model.transform([3, 1, 3]), axis=1)
    assert frame["relative_radius"].tolist() == pytest.approx((frame["radius"] / length).tolist())
    every = model.certify(k=5).set_index("user")
    assert len(every) == 50
    assert every["radius"][3] == pytest.approx(frame["radius"][0])
    assert np.isinf(model.certify([3], 400).iloc[0, 1:].astype(float)).all()
    free = model.certify([3], 5, exclude_seen=False)
    found = certified(model.scorer_, model.users_.rows([3]), 5)
    assert free["radius"][0] == pytest.approx(float(found.radius))


def test_lifting_lengthens_no_move(generator: torch.Generator) -> None:
    size = 10 ** (4 * torch.rand(2000, 1, generator=generator, dtype=torch.float64) - 2)
    one, other = (size * torch.randn(2000, 5, generator=generator).double() for _ in range(2))
    near = one + 1e-3 * other
    for left, right in ((one, other), (one, near)):
        lifted = (triangle_rows(left) - triangle_rows(right)).norm(dim=1)
        assert (lifted <= (left - right).norm(dim=1) * (1 + 1e-9)).all()


def test_refusals_of_models() -> None:
    with pytest.raises(TypeError, match="EASE learns no vectors; use a factor model"):
        EASE().fit(log()).certify([3])
    model = PureSVD(dim=6).fit(log())
    with pytest.raises(UnknownIdError, match="777"):
        model.certify([777])
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        model.certify([3], 0)
    with pytest.raises(NotFittedError):
        PureSVD().certify()
