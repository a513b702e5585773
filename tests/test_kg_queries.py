"""Queries against a dict of sets."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hyperrank.pairs import PairSet
from hyperrank.vocabulary import Vocabulary
from kg.triples import Queries, Triples
from reference_kg import answers_plain

N_ENTITIES, N_RELATIONS = 7, 4
ENTITIES = Vocabulary.from_ids(range(N_ENTITIES))
RELATIONS = Vocabulary.from_ids(range(N_RELATIONS))
Fact = tuple[int, int, int]
facts_of = st.sets(
    st.tuples(
        st.integers(0, N_ENTITIES - 1),
        st.integers(0, N_RELATIONS - 1),
        st.integers(0, N_ENTITIES - 1),
    ),
    max_size=40,
)


def made(facts: set[Fact]) -> Triples:
    columns = torch.tensor(sorted(facts), dtype=torch.int64).view(-1, 3)
    return Triples.from_rows(ENTITIES, RELATIONS, *columns.unbind(1))


def spelled(queries: Queries, pairs: PairSet) -> dict[tuple[int, int], set[int]]:
    """Answers of each query that has any."""
    found: dict[tuple[int, int], set[int]] = {}
    asked = list(zip(queries.anchor.tolist(), queries.relation.tolist(), strict=True))
    for query, answer in zip(pairs.queries.tolist(), pairs.candidates.tolist(), strict=True):
        found.setdefault(asked[query], set()).add(answer)
    return found


@given(facts_of)
def test_queries_are_the_dict_of_answers(facts: set[Fact]) -> None:
    queries = made(facts).queries()
    plain = answers_plain(facts, N_RELATIONS)
    assert spelled(queries, queries) == plain
    asked = list(zip(queries.anchor.tolist(), queries.relation.tolist(), strict=True))
    assert asked == sorted(plain)
    assert queries.n_queries == len(plain)
    assert queries.n_candidates == N_ENTITIES
    assert len(queries) == 2 * len(facts)
    assert (queries.keys.diff() > 0).all()


@given(facts_of, facts_of)
def test_answers_of_other_facts(facts: set[Fact], others: set[Fact]) -> None:
    queries = made(facts).queries()
    found = queries.answers(made(others))
    plain = answers_plain(others, N_RELATIONS)
    asked = answers_plain(facts, N_RELATIONS)
    assert spelled(queries, found) == {query: plain[query] for query in asked if query in plain}
    assert (found.keys.diff() > 0).all()
    assert torch.equal(queries.answers(made(facts)).keys, queries.keys)
    assert (found.n_queries, found.n_candidates) == (queries.n_queries, N_ENTITIES)


@given(facts_of)
def test_the_number_of_each_query(facts: set[Fact]) -> None:
    queries = made(facts).queries()
    assert torch.equal(
        queries.number(queries.anchor, queries.relation), torch.arange(queries.n_queries)
    )
    anchor, relation = torch.meshgrid(
        torch.arange(N_ENTITIES), torch.arange(2 * N_RELATIONS), indexing="ij"
    )
    number = queries.number(anchor.ravel(), relation.ravel())
    assert int((number >= 0).sum()) == queries.n_queries


@given(facts_of, st.lists(st.tuples(st.integers(0, 6), st.integers(0, 7)), max_size=9))
def test_answers_to_any_questions(facts: set[Fact], asked: list[tuple[int, int]]) -> None:
    queries, plain = made(facts).queries(), answers_plain(facts, N_RELATIONS)
    anchor, relation = torch.tensor(asked, dtype=torch.int64).view(-1, 2).unbind(1)
    found = queries.lookup(anchor, relation)
    pairs = [(n, e) for n, query in enumerate(asked) for e in sorted(plain.get(query, ()))]
    assert list(zip(found.queries.tolist(), found.candidates.tolist(), strict=True)) == pairs
    assert (found.n_queries, found.n_candidates) == (len(asked), N_ENTITIES)
    held = queries.holds(anchor, relation, anchor)
    assert held.tolist() == [query[0] in plain.get(query, ()) for query in asked]


def test_a_known_answer() -> None:
    facts = Triples.from_arrays(
        ["oslo", "bergen", "oslo"], ["capital_of", "city_of", "city_of"], ["norway"] * 3
    )
    queries = facts.queries()
    heads = facts.relations.rows(["city_of"]) + facts.n_relations
    number = queries.number(facts.entities.rows(["norway"]), heads)
    _, answer = queries.rows(number)
    assert facts.entities.take(answer).tolist() == ["oslo", "bergen"]


def test_queries_move_whole() -> None:
    queries = made({(0, 1, 2)}).queries()
    assert queries.to("cpu") is queries
    moved = queries.to("meta")
    assert isinstance(moved, Queries)
    assert {moved.anchor.device, moved.relation.device, moved.device} == {torch.device("meta")}


def test_other_vocabularies_are_refused() -> None:
    queries = made({(0, 1, 2)}).queries()
    others = Triples.from_arrays([2], [1], [0])
    message = (
        "these facts have other rows for their 2 entities and 1 relations than the queries for "
        "their 7 and 4; reindex them first"
    )
    with pytest.raises(ValueError, match=message):
        queries.answers(others)
