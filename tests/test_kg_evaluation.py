"""Evaluation of link predictors: filters, sides, groups, protocols, comparisons, bad input."""

from __future__ import annotations

import inspect
import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from hyperrank.estimator import NotFittedError
from hyperrank.evaluation import Resampling
from hyperrank.vocabulary import UnknownIdError
from kg.evaluation import compare, evaluate
from kg.predictor import LinkPredictor
from kg.triples import Triples
from reference_kg import filtered_ranks_plain

QUICK = Resampling(draws=20, flips=200)
NAMES = ["mrr", "hits@1", "hits@3", "mean_rank", "amri"]
ENTITIES, RELATIONS = [f"e{n}" for n in range(12)], ["likes", "knows", "owns"]


class Table(nn.Module):
    """Logits from a table of anchor x directed relation x answer, all by row numbers."""

    def __init__(self, table):
        super().__init__()
        self.register_buffer("table", table)

    def score(self, anchor, relation):
        return self.table[anchor, relation]


@dataclass(kw_only=True, eq=False)
class Fixed(LinkPredictor):
    """Random logits of few levels, the same for the same ids whatever their rows."""

    seed: int = 0
    levels: int = 4
    device: str = "cpu"

    def _learn(self, train, validation):
        generator = torch.Generator().manual_seed(self.seed)
        size = (len(ENTITIES), 2, len(RELATIONS), len(ENTITIES))
        table = torch.randint(self.levels, size, generator=generator).float()
        entity = torch.tensor([ENTITIES.index(one) for one in train.entities.ids])
        relation = torch.tensor([RELATIONS.index(one) for one in train.relations.ids])
        table = table[entity][:, :, relation][..., entity]
        return Table(table.reshape(len(entity), -1, len(entity)))


def triples(rows):
    return Triples.from_frame(pd.DataFrame(rows, columns=["head", "relation", "tail"]))


def drawn(count, generator):
    shape = (len(ENTITIES), len(RELATIONS), len(ENTITIES))
    rows = (torch.rand(count, 3, generator=generator) * torch.tensor(shape)).long().unique(dim=0)
    return [(ENTITIES[h], RELATIONS[r], ENTITIES[t]) for h, r, t in rows.tolist()]


@pytest.fixture
def graph(generator):
    """Train, validation and test facts, disjoint, each id in train."""
    rows = drawn(150, generator)
    order = torch.randperm(len(rows), generator=generator).tolist()
    parts = [rows[i] for i in order]
    cover = [(e, RELATIONS[n % 3], e) for n, e in enumerate(ENTITIES)]
    rest = [row for row in parts if row not in cover]
    return triples(cover + rest[:60]), triples(rest[60:80]), triples(rest[80:])


def rows_of(facts):
    return [tuple(row) for row in facts.to_frame().to_numpy().tolist()]


def plain(model, test, known, ties="realistic", exclude_given=False):
    """Ranks (n, 2) of the head and the tail of every test fact, by loops."""
    every = model.entities_.ids.tolist(), model.relations_.ids.tolist()

    def numbers(rows):
        return [(every[0].index(h), every[1].index(r), every[0].index(t)) for h, r, t in rows]

    known = [row for facts in known for row in numbers(rows_of(facts))]
    table = model.module_.table
    ranks = filtered_ranks_plain(
        lambda anchor, relation: table[anchor, relation].tolist(),
        *(numbers(rows_of(test)), known, len(every[1]), ties, exclude_given),
    )
    return np.array([ranks[row] for row in numbers(rows_of(test))])


@given(
    seed=st.integers(0, 100),
    ties=st.sampled_from(["optimistic", "realistic", "pessimistic"]),
    protocol=st.sampled_from(["filtered", "murp"]),
    with_validation=st.booleans(),
)
@settings(max_examples=15, deadline=None)
def test_values_are_those_of_loops(seed, ties, protocol, with_validation):
    generator = torch.Generator().manual_seed(seed)
    train, valid, test = (triples(drawn(count, generator)) for count in (90, 20, 20))
    cover = triples([(e, r, e) for e in ENTITIES for r in RELATIONS[:1]] + [("e0", "owns", "e1")])
    model = Fixed(seed=seed).fit(train.union(cover))
    known = [valid] if with_validation else []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = evaluate(
            model, test, NAMES, known=known, ties=ties, protocol=protocol, resampling=QUICK
        )
    ranks = plain(model, test, [train, cover, *known], ties, exclude_given=protocol == "murp")
    wanted = [(1 / ranks).mean(), (ranks <= 1).mean(), (ranks <= 3).mean(), ranks.mean()]
    np.testing.assert_allclose(found["value"][:4], wanted, rtol=1e-12)
    assert set(found["protocol"]) == {protocol}


def test_what_a_perfect_a_blind_and_a_random_model_reach(graph):
    train, _, test = graph
    model = Fixed(levels=1).fit(train)
    by_rule = {
        ties: evaluate(model, test, ["mrr", "amri"], ties=ties, resampling=QUICK)["value"].tolist()
        for ties in ("optimistic", "realistic", "pessimistic")
    }
    assert by_rule["optimistic"] == [1.0, 1.0]
    assert by_rule["realistic"][1] == pytest.approx(0.0, abs=1e-12)
    assert by_rule["pessimistic"][1] == pytest.approx(-1.0)
    assert by_rule["pessimistic"][0] < by_rule["realistic"][0] < 1
    queries = test.reindex(train.entities, train.relations).queries()
    table = model.module_.table.clone()
    table[
        queries.anchor[queries.queries], queries.relation[queries.queries], queries.candidates
    ] = 1
    model.module_ = Table(table).eval()
    assert evaluate(model, test, NAMES, resampling=QUICK)["value"].tolist() == [1] * 5


def test_more_known_facts_never_lower_a_rank(graph):
    train, valid, test = graph
    model = Fixed(levels=50).fit(train)
    without, hidden = (
        evaluate(model, test, "mrr", known=known, resampling=QUICK) for known in ((), [valid])
    )
    assert hidden["value"][0] > without["value"][0]
    same = evaluate(model, test, "mrr", known=[train, valid, test], resampling=QUICK)
    assert same.equals(hidden)
    assert evaluate(model, test, "mrr", known=valid, resampling=QUICK).equals(hidden)


def test_order_of_facts_and_ids_changes_nothing(graph):
    train, valid, test = graph
    other = [triples(rows_of(facts)[::-1]) for facts in graph]
    assert other[0].entities != train.entities
    found = evaluate(Fixed().fit(train), test, NAMES, known=[valid], resampling=QUICK)
    again = evaluate(Fixed().fit(other[0]), other[2], NAMES, known=[other[1]], resampling=QUICK)
    np.testing.assert_allclose(found["value"], again["value"], rtol=1e-12)


def test_sides_and_relations_break_the_mean_down(graph):
    train, valid, test = graph
    model = Fixed().fit(train)
    whole = evaluate(model, test, NAMES, known=valid, resampling=QUICK).set_index("metric")
    sides = evaluate(model, test, NAMES, known=valid, by="side", resampling=QUICK)
    assert sides["side"].tolist() == ["head"] * 5 + ["tail"] * 5
    ranks = plain(model, test, [train, valid])
    assert sides[sides["metric"] == "mrr"]["value"].tolist() == pytest.approx(
        (1 / ranks).mean(0).tolist()
    )
    apart = evaluate(model, test, "mrr", known=valid, by="relation", resampling=QUICK)
    assert sorted(apart["relation"]) == sorted(RELATIONS)
    assert apart["n"].sum() == len(test) == whole.loc["mrr", "n"]
    mean = (apart["value"] * apart["n"]).sum() / len(test)
    assert mean == pytest.approx(whole.loc["mrr", "value"])
    wanted = (1 / ranks[[row[1] == "owns" for row in rows_of(test)]]).mean()
    assert apart.set_index("relation").loc["owns", "value"] == pytest.approx(wanted)


def test_facts_of_unseen_ids_are_judged_and_told_apart():
    rows = [("e0", "likes", "e1"), ("e1", "likes", "e2")]
    held_out = [("e2", "likes", "e0"), ("e0", "likes", "e3"), ("e0", "owns", "e1")]
    every = triples(rows + held_out)
    train = triples(rows).reindex(every.entities, every.relations)
    model = Fixed(levels=100).fit(train)
    found = evaluate(model, triples(held_out), "mrr", resampling=QUICK)
    assert found[["n", "unseen", "dropped"]].values.tolist() == [[3, 2, 0]]
    ranks = plain(model, triples(held_out), [train])
    assert found["value"][0] == pytest.approx((1 / ranks).mean())
    seen = [row == held_out[0] for row in rows_of(triples(held_out))]
    assert found["value_seen"][0] == pytest.approx((1 / ranks[seen]).mean())


def test_facts_of_strange_ids_are_refused_or_dropped_first(graph):
    train, _, test = graph
    model = Fixed().fit(train)
    strange = test.union(triples([("e1", "likes", "e99")]))
    said = (
        r"test does not match the vocabulary of this Fixed: entities: unknown id 'e99'; .*Triples"
    )
    with pytest.raises(UnknownIdError, match=said):
        evaluate(model, strange)
    with pytest.raises(TypeError, match="test does not match the vocabulary of this Fixed"):
        evaluate(model, triples([(1, "likes", 2)]))
    left = strange.reindex(model.entities_, model.relations_, unknown="drop")
    found = evaluate(model, left, "mrr", resampling=QUICK)
    assert found[["n", "dropped"]].values.tolist() == [[len(test), 1]]


def test_facts_of_training_are_warned_of(graph):
    train, _, test = graph
    model = Fixed().fit(train)
    both = triples(rows_of(train)[:3] + rows_of(test))
    said = f"3 of {len(test) + 3} test facts are among those that this Fixed was trained on"
    with pytest.warns(UserWarning, match=said):
        evaluate(model, both, resampling=QUICK)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ties": "fair"}, "ties must be one of 'optimistic', 'realistic', 'pessimistic', got"),
        ({"protocol": "raw"}, "protocol must be one of 'filtered', 'murp', got 'raw'"),
        ({"by": "user"}, "by must be one of None, 'side', 'relation', got 'user'"),
        ({"metrics": "mmr"}, r"unknown metric 'mmr'; did you mean 'mrr'\? there are mrr, mean_"),
        ({"metrics": "hits"}, "unknown metric 'hits'; .* as in 'hits@10'"),
        ({"metrics": []}, r"no metric was named; give some, such as \['mrr', 'hits@10'\]"),
    ],
)
def test_bad_options_are_refused(graph, change, said):
    train, _, test = graph
    with pytest.raises(ValueError, match=said):
        inspect.unwrap(evaluate)(Fixed().fit(train), test, **change)


def test_bad_facts_and_models_are_refused(graph):
    train, _, test = graph
    unchecked = inspect.unwrap(evaluate)
    model = Fixed().fit(train)
    with pytest.raises(NotFittedError, match="this Fixed is not fitted"):
        evaluate(Fixed(), test)
    with pytest.raises(TypeError, match="test must be Triples, got list; build them with Triples"):
        unchecked(model, [("e0", "likes", "e1")])
    other = triples([("x", "y", "z")])
    with pytest.raises(ValueError, match=r"none of the 1 facts of known\[0\] .* another graph\?"):
        evaluate(model, test, known=[other])
    with pytest.raises(ValueError, match="test holds no facts; the 1 that it had are of unknown i"):
        evaluate(model, other.reindex(model.entities_, model.relations_, unknown="drop"))
    model.module_.table.fill_(torch.nan)
    with pytest.raises(ValueError, match="score returned NaN"):
        evaluate(model, test)


def test_frames_are_of_the_kind_of_the_test_facts(graph):
    train, _, test = graph
    model = Fixed().fit(train)
    found = evaluate(model, Triples.from_frame(pl.DataFrame(test.to_frame())), resampling=QUICK)
    assert isinstance(found, pl.DataFrame)
    assert found["metric"].to_list() == ["mrr", "hits@1", "hits@3", "hits@10"]
    assert (found["low"] <= found["value"]).all()
    assert (found["value"] <= found["high"]).all()


def test_comparison_is_paired_and_hides_the_same(graph):
    train, valid, test = graph
    union = train.union(valid)
    models = {"a": Fixed(levels=50).fit(train), "b": Fixed(seed=1, levels=50).fit(union)}
    names = ["mrr", "hits@10", "amri"]
    found = compare(models, test, names, resampling=QUICK)
    assert found["model"].tolist() == ["a", "b"] * 3
    base, other = found[found["model"] == "a"], found[found["model"] == "b"]
    alone = evaluate(models["a"], test, names, known=valid, resampling=QUICK)
    assert base["value"].tolist() == alone["value"].tolist()
    gap = other["value"].to_numpy() - base["value"].to_numpy()
    np.testing.assert_allclose(other["difference"], gap)
    assert base["p_value"].isna().all()
    assert other["p_adjusted"].between(0, 1).all()
    same = compare({"a": models["a"], "twin": models["a"]}, test, "mrr", resampling=QUICK)
    assert same["p_value"].tolist()[1] == 1


def test_comparisons_that_make_no_sense_are_refused(graph):
    train, _, test = graph
    model = Fixed().fit(train)
    with pytest.raises(ValueError, match="compare got no models; give them by name"):
        compare({}, test)
    with pytest.raises(ValueError, match="baseline 'b' is none of the models a"):
        compare({"a": model}, test, baseline="b")
    other = Fixed().fit(triples(rows_of(train)[::-1]))
    with pytest.raises(ValueError, match="'a' and 'b' were fitted on other vocabularies"):
        compare({"a": model, "b": other}, test)
