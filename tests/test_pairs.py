"""``PairSet`` against a Python set of tuples."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hyperrank.pairs import PairSet, pair_set

N_QUERIES, N_CANDIDATES = 6, 5
Pairs = set[tuple[int, int]]

some_pairs = st.sets(
    st.tuples(st.integers(0, N_QUERIES - 1), st.integers(0, N_CANDIDATES - 1)), max_size=20
)


def made(pairs: Pairs) -> PairSet:
    columns = torch.tensor(sorted(pairs, reverse=True), dtype=torch.int64).view(-1, 2)
    return pair_set(columns[:, 0], columns[:, 1], n_queries=N_QUERIES, n_candidates=N_CANDIDATES)


def listed(pairs: PairSet) -> list[tuple[int, int]]:
    return list(zip(pairs.queries.tolist(), pairs.candidates.tolist(), strict=True))


@given(some_pairs)
def test_holds_each_pair_once_in_order(drawn: Pairs) -> None:
    pairs = made(drawn)
    assert listed(pairs) == sorted(drawn)
    assert len(pairs) == len(drawn)
    assert (pairs.keys.diff() > 0).all()
    assert pairs.query_degrees.tolist() == [sum(q == u for q, _ in drawn) for u in range(N_QUERIES)]
    assert pairs.candidate_degrees.tolist() == [
        sum(c == i for _, c in drawn) for i in range(N_CANDIDATES)
    ]


@given(some_pairs)
def test_membership_and_places(drawn: Pairs) -> None:
    pairs = made(drawn)
    query, candidate = torch.meshgrid(
        torch.arange(N_QUERIES), torch.arange(N_CANDIDATES), indexing="ij"
    )
    inside = pairs.contains(query, candidate)
    assert {(q, c) for q, c in inside.nonzero().tolist()} == drawn
    spot = pairs.find(query, candidate)
    assert torch.equal(spot >= 0, inside)
    assert torch.equal(pairs.keys[spot[inside]], (query * N_CANDIDATES + candidate)[inside])


@given(some_pairs, st.lists(st.integers(0, N_QUERIES - 1), max_size=8))
def test_rows_of_any_queries(drawn: Pairs, asked: list[int]) -> None:
    pairs = made(drawn)
    position, candidate = pairs.rows(torch.tensor(asked, dtype=torch.int64))
    expected = [(p, c) for p, q in enumerate(asked) for u, c in sorted(drawn) if u == q]
    assert list(zip(position.tolist(), candidate.tolist(), strict=True)) == expected
    again, spot = pairs.row_spots(torch.tensor(asked, dtype=torch.int64))
    assert torch.equal(again, position)
    assert torch.equal(pairs.candidates[spot], candidate)


@given(some_pairs, some_pairs)
def test_set_operations(one: Pairs, other: Pairs) -> None:
    assert set(listed(made(one).union(made(other)))) == one | other
    assert set(listed(made(one).difference(made(other)))) == one - other


@given(some_pairs)
def test_other_forms(drawn: Pairs) -> None:
    pairs = made(drawn)
    values = torch.arange(len(drawn), dtype=torch.float32) + 1
    dense = torch.zeros(N_QUERIES, N_CANDIDATES)
    for value, (q, c) in zip(values.tolist(), sorted(drawn), strict=True):
        dense[q, c] = value
    assert torch.equal(pairs.to_csr(values).to_dense(), dense)
    assert (pairs.to_scipy(values).toarray() == dense.numpy()).all()
    assert (pairs.to_scipy().toarray() == (dense > 0).numpy()).all()
    assert set(listed(pairs.transpose())) == {(c, q) for q, c in drawn}
    assert listed(pairs.transpose().transpose()) == listed(pairs)
    larger = pairs.resize(n_queries=N_QUERIES + 2, n_candidates=N_CANDIDATES + 3)
    assert listed(larger) == sorted(drawn)
    assert listed(pairs.select(values > 1)) == sorted(drawn)[1:]


def test_duplicates_collapse() -> None:
    pairs = pair_set(torch.tensor([1, 1]), torch.tensor([2, 2]), n_queries=2, n_candidates=3)
    assert listed(pairs) == [(1, 2)]


def test_the_same_device_is_the_same_set() -> None:
    pairs = made({(0, 1)})
    assert pairs.to("cpu") is pairs
    assert pairs.device == torch.device("cpu")


@pytest.mark.parametrize(
    ("query", "candidate", "message"),
    [
        ([0, 6], [0, 0], r"query numbers run from 0 to 6, but only 0\.\.5 exist; extend"),
        ([0], [-1], r"candidate numbers run from -1 to -1, but only 0\.\.4 exist"),
        ([0, 1], [0], "got 2 queries but 1 candidates"),
    ],
)
def test_numbers_out_of_range_are_named(
    query: list[int], candidate: list[int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        pair_set(
            torch.tensor(query),
            torch.tensor(candidate),
            n_queries=N_QUERIES,
            n_candidates=N_CANDIDATES,
        )


def test_too_many_possible_pairs() -> None:
    none = torch.zeros(0, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"exceed 2\*\*63 possible pairs"):
        pair_set(none, none, n_queries=2**32, n_candidates=2**32)


def test_sets_of_different_sizes_do_not_mix() -> None:
    larger = made({(0, 0)}).resize(n_queries=9, n_candidates=9)
    with pytest.raises(ValueError, match=r"different sizes, \(6, 5\) and \(9, 9\)"):
        made({(0, 0)}).union(larger)


def test_rows_only_grow() -> None:
    with pytest.raises(ValueError, match="cannot shrink 6 x 5 pairs to 3 x 5; rows only grow"):
        made({(0, 0)}).resize(n_queries=3, n_candidates=5)
