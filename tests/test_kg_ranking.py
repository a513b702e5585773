"""Filtered ranks of facts, against loops over facts; their measures: known answers."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from hyperrank.vocabulary import Vocabulary
from kg.ranking import filtered_ranks, parse_all, parse_larger, per_fact, shares
from kg.triples import Triples
from reference_kg import filtered_ranks_plain

N_ENTITIES, N_RELATIONS = 9, 3


class Table(nn.Module):
    """Any logits at all: a table of anchor x directed relation x entity."""

    def __init__(self, table):
        super().__init__()
        self.register_buffer("table", table)
        self.eval()

    def score(self, anchor, relation):
        return self.table[anchor, relation]


def facts_of(rows):
    head, relation, tail = torch.tensor(rows).reshape(-1, 3).unbind(1)
    names = (Vocabulary.from_ids(range(N_ENTITIES)), Vocabulary.from_ids(range(N_RELATIONS)))
    return Triples.from_rows(*names, head, relation, tail)


def some_facts(count, generator):
    bounds = torch.tensor([N_ENTITIES, N_RELATIONS, N_ENTITIES])
    rows = (torch.rand(count, 3, generator=generator) * bounds).long()
    return [tuple(row) for row in torch.unique(rows, dim=0).tolist()]


@given(
    seed=st.integers(0, 1000),
    levels=st.sampled_from([1, 3, 1000]),
    ties=st.sampled_from(["optimistic", "realistic", "pessimistic"]),
    chunk=st.sampled_from([None, 1, 5]),
)
@settings(max_examples=25, deadline=None)
def test_ranks_are_those_of_a_loop_over_facts(seed, levels, ties, chunk):
    generator = torch.Generator().manual_seed(seed)
    size = (N_ENTITIES, 2 * N_RELATIONS, N_ENTITIES)
    table = torch.randint(levels, size, generator=generator).float()
    judged, known = some_facts(12, generator), some_facts(60, generator)
    wanted = filtered_ranks_plain(
        lambda anchor, relation: table[anchor, relation].tolist(),
        *(judged, known, N_RELATIONS, ties),
    )
    queries = facts_of(judged).queries()
    found = filtered_ranks(
        Table(table),
        queries,
        queries.answers(facts_of(known)),
        ties=ties,
        chunk=chunk,
    )
    for (head, relation, tail), (of_head, of_tail) in wanted.items():
        asked = ((tail, relation + N_RELATIONS, head, of_head), (head, relation, tail, of_tail))
        for anchor, directed, answer, rank in asked:
            number = queries.number(torch.tensor([anchor]), torch.tensor([directed]))
            assert found[queries.find(number, torch.tensor([answer]))].tolist() == [rank]


def test_a_module_in_training_mode_is_refused():
    module = Table(torch.zeros(N_ENTITIES, 2 * N_RELATIONS, N_ENTITIES)).train()
    with pytest.raises(ValueError, match=r"training mode; call module\.eval\(\) before ranking"):
        filtered_ranks(module, facts_of([(0, 0, 1)]).queries())


def measured(name, rank, rivals):
    value, weight = per_fact(name, torch.tensor(rank).double(), torch.tensor(rivals))
    return float((value * weight).sum() / weight.sum())


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("mrr", (1 + 0.5 + 0.25 + 0.1) / 4), ("hits@2", 0.5), ("hits@4", 0.75), ("mean_rank", 4.25)],
)
def test_means_over_ranks(name, wanted):
    assert measured(name, [[1, 2], [4, 10]], [[9, 9], [9, 9]]) == pytest.approx(wanted)


def test_adjusted_index_is_one_for_the_best_and_zero_for_the_middle():
    assert measured("amri", [[1, 1]], [[8, 4]]) == 1
    assert measured("amri", [[5, 3]], [[8, 4]]) == 0
    assert measured("amri", [[9, 5]], [[8, 4]]) == -1
    assert measured("amri", [[1, 3], [1, 1]], [[8, 4], [0, 0]]) == pytest.approx(1 - 4 / 12)


def test_names_are_read_once_each():
    assert parse_all(["MRR", "hits@10", "mrr "]) == ["mrr", "hits@10"]
    assert parse_all("amri") == ["amri"]


def test_shares_of_a_measure_add_up_to_it():
    rank = torch.tensor([1.0, 2.5, 4.0, 10.0], dtype=torch.float64)
    assert shares("mrr", rank).tolist() == [1, 0.4, 0.25, 0.1]
    assert shares("hits@3", rank).tolist() == [1, 1, 0, 0]
    for name in ("mrr", "hits@1", "hits@4"):
        value, weight = per_fact(name, rank[:, None], torch.full((4, 1), 9))
        assert float(shares(name, rank).mean()) == float((value * weight).sum() / weight.sum())


def test_measures_that_are_larger_for_better_ranks():
    assert [parse_larger(name) for name in ("mrr", "hits@7")] == ["mrr", "hits@7"]
    for name in ("mean_rank", "amri"):
        said = f"expected 'mrr' or hits with a cutoff, as in 'hits@10', got '{name}'"
        with pytest.raises(ValueError, match=said):
            shares(name, torch.ones(2))
    with pytest.raises(ValueError, match="unknown metric 'mrrr'; did you mean 'mrr'"):
        parse_larger("mrrr")
