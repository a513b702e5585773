"""Metrics: against plain loops, trec_eval and scikit-learn; definitions at the edges."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperrank import metrics
from hyperrank.evaluation import top_k_hits
from hyperrank.metrics import OF_TRUTH, Hits, Metric, parse, parse_all, parse_of_truth
from hyperrank.pairs import PairSet, pair_set
from reference import metric_plain

K = 5


class Table:
    def __init__(self, scores):
        self.scores = scores

    def score(self, query):
        return self.scores[query]


def random_case(seed, n_queries=12, n_candidates=30, share=0.2):
    """Scores without ties, and truth; every query has some."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.rand(n_queries, n_candidates, generator=generator)
    mask = torch.rand(n_queries, n_candidates, generator=generator) < share
    mask[torch.arange(n_queries), torch.arange(n_queries) % n_candidates] = True
    query, candidate = mask.nonzero().unbind(1)
    return scores, pair_set(query, candidate, n_queries=n_queries, n_candidates=n_candidates)


def table(lists, truths, n_candidates=100):
    query = torch.arange(len(lists))
    candidates = torch.tensor(lists)
    hit = torch.tensor([[c in t for c in row] for row, t in zip(lists, truths, strict=True)])
    return Hits(query, candidates, hit, torch.tensor([len(t) for t in truths]))


def history(pairs, n_queries, n_candidates) -> PairSet:
    query, candidate = torch.tensor(pairs).unbind(1)
    return pair_set(query, candidate, n_queries=n_queries, n_candidates=n_candidates)


@given(
    seed=st.integers(0, 1000),
    kind=st.sampled_from(sorted(metrics.OF_TRUTH)),
    k=st.sampled_from([1, 2, 5, 30, 40]),
    longer=st.booleans(),
)
@settings(max_examples=120, deadline=None)
def test_agrees_with_plain_loops(seed, kind, k, longer):
    scores, truth = random_case(seed)
    hits = top_k_hits(Table(scores), truth, 40 if longer else k)
    values = Metric(kind, k).values(hits)
    order = scores.argsort(dim=1, descending=True)
    for q, value in zip(hits.query.tolist(), values.tolist(), strict=True):
        wanted = set(truth.candidates[truth.queries == q].tolist())
        assert value == pytest.approx(metric_plain(kind, order[q].tolist(), wanted, k))
        assert 0 <= value <= 1 + 1e-12


TREC = {"recall": "recall", "precision": "P", "ndcg": "ndcg_cut", "map": "map_cut", "hr": "success"}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", TREC)
def test_agrees_with_trec_eval(seed, kind):
    pytrec_eval = pytest.importorskip("pytrec_eval")
    scores, truth = random_case(seed)
    qrel, run = as_dictionaries(scores, truth)
    judged = pytrec_eval.RelevanceEvaluator(qrel, {f"{TREC[kind]}.{K}"}).evaluate(run)
    wanted = [judged[str(q)][f"{TREC[kind]}_{K}"] for q in range(len(scores))]
    found = Metric(kind, K).values(top_k_hits(Table(scores), truth, K))
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_reciprocal_rank_of_whole_lists_agrees_with_trec_eval():
    pytrec_eval = pytest.importorskip("pytrec_eval")
    scores, truth = random_case(5, share=0.02)
    qrel, run = as_dictionaries(scores, truth)
    judged = pytrec_eval.RelevanceEvaluator(qrel, {"recip_rank"}).evaluate(run)
    found = Metric("mrr", 30).values(top_k_hits(Table(scores), truth, 30))
    wanted = [judged[str(q)]["recip_rank"] for q in range(len(scores))]
    np.testing.assert_allclose(found, wanted, atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("k", [1, 5, 30])
def test_ndcg_agrees_with_scikit_learn(seed, k):
    from sklearn.metrics import ndcg_score

    scores, truth = random_case(seed)
    wanted = ndcg_score(truth.to_csr().to_dense().numpy(), scores.numpy(), k=k)
    assert Metric("ndcg", k).mean(top_k_hits(Table(scores), truth, k)) == pytest.approx(wanted)


def test_average_precision_over_all_agrees_with_scikit_learn():
    from sklearn.metrics import average_precision_score

    scores, truth = random_case(7)
    wanted = average_precision_score(
        truth.to_csr().to_dense().numpy(), scores.numpy(), average="samples"
    )
    assert Metric("map", 30).mean(top_k_hits(Table(scores), truth, 30)) == pytest.approx(wanted)


def as_dictionaries(scores, truth):
    """Truth and scores as the other libraries want them."""
    relevant: dict[str, dict[str, int]] = {str(q): {} for q in range(len(scores))}
    for q, c in zip(truth.queries.tolist(), truth.candidates.tolist(), strict=True):
        relevant[str(q)][f"c{c}"] = 1
    run = {
        str(q): {f"c{c}": float(value) for c, value in enumerate(row)}
        for q, row in enumerate(scores.tolist())
    }
    return relevant, run


def test_denominators_by_hand():
    hits = table([[1, 9, 2]], [{1, 2, 3, 4}])
    values = {kind: Metric(kind, 3).mean(hits) for kind in metrics.OF_TRUTH}
    assert values == pytest.approx(
        {
            "recall": 2 / 4,
            "recall_capped": 2 / 3,
            "precision": 2 / 3,
            "hr": 1.0,
            "mrr": 1.0,
            "ndcg": 1.5 / (1 + 1 / math.log2(3) + 0.5),
            "map": (1 + 2 / 3) / 4,
            "map_capped": (1 + 2 / 3) / 3,
        }
    )


def test_one_long_table_serves_every_cutoff():
    scores, truth = random_case(3)
    long = top_k_hits(Table(scores), truth, 30)
    for kind in metrics.OF_TRUTH:
        for k in (1, 4, 17):
            short = top_k_hits(Table(scores), truth, k)
            assert torch.equal(Metric(kind, k).values(long), Metric(kind, k).values(short))


def test_a_query_without_truth_has_no_value_and_leaves_the_mean_alone():
    hits = table([[1, 2], [3, 4]], [{1}, set()])
    for kind in metrics.OF_TRUTH:
        values = Metric(kind, 2).values(hits)
        assert values.isnan().tolist() == [False, True]
        assert Metric(kind, 2).mean(hits) == values[0]


HISTORY = [(0, 0), (1, 0), (2, 0), (3, 0), (0, 1), (1, 1), (2, 2)]  # degrees 4, 2, 1, 0


def test_popularity_and_novelty_by_hand():
    known = history(HISTORY, 4, 4)
    hits = table([[0, 1, 3], [2, -1, -1], [-1, -1, -1]], [{0}, {0}, {0}])
    assert Metric("popularity", 3).values(hits, known).tolist()[:2] == [2.0, 1.0]
    novelty = Metric("novelty", 3).values(hits, known)
    assert novelty.tolist()[:2] == pytest.approx([(0 + 1 + 2) / 3, 2.0])
    assert novelty[2].isnan()
    lift = Metric("popularity_lift", 3).values(hits._replace(query=torch.tensor([0, 2, 4])), known)
    assert lift.tolist()[:2] == pytest.approx([2.0 / 3, 1.0 / 2.5])
    assert lift[2].isnan(), "a query beyond the history has none of its own"


def test_coverage_and_gini_by_hand():
    known = history(HISTORY, 4, 4)
    hits = table([[0, 1], [0, 1], [0, -1]], [{0}] * 3)
    assert Metric("coverage", 2).mean(hits, known) == 0.5
    assert Metric("coverage", 1).mean(hits, known) == 0.25
    assert Metric("gini", 1).mean(hits, known) == pytest.approx(3 / 4)
    everything = table([[0, 1, 2, 3]], [{0}])
    assert Metric("gini", 4).mean(everything, known) == pytest.approx(0.0)
    nothing = table([[-1, -1]], [{0}])
    assert math.isnan(Metric("gini", 2).mean(nothing, known))


@given(seed=st.integers(0, 50))
@settings(max_examples=20, deadline=None)
def test_diversity_agrees_with_scikit_learn(seed):
    from sklearn.metrics.pairwise import cosine_similarity

    _, known = random_case(seed, n_queries=20, n_candidates=15, share=0.1)
    generator = torch.Generator().manual_seed(seed)
    lists = torch.stack([torch.randperm(15, generator=generator)[:4] for _ in range(8)])
    lists[0, 1:], lists[1, 3], lists[2] = -1, -1, -1
    values = Metric("diversity", 4).values(
        Hits(torch.arange(8), lists, torch.zeros(8, 4, dtype=torch.bool), torch.ones(8).long()),
        known,
    )
    cosines = cosine_similarity(known.to_csr().to_dense().T.numpy())
    for row, value in zip(lists.tolist(), values.tolist(), strict=True):
        inside = [c for c in row if c >= 0]
        if len(inside) < 2:
            assert math.isnan(value)
            continue
        between = [cosines[a, b] for a in inside for b in inside if a != b]
        assert value == pytest.approx(1 - np.mean(between), abs=1e-5)


def test_measures_of_lists_need_the_history():
    with pytest.raises(ValueError, match=r"coverage@2 needs the history .* pass history="):
        parse("coverage@2").values(table([[0, 1]], [{0}]))


def test_names_are_read_whatever_their_case():
    assert parse(" Recall@20 ") == Metric("recall", 20)
    assert str(parse("NDCG@5")) == "ndcg@5"
    assert parse_all("hr@1") == [Metric("hr", 1)]
    assert parse_all(["hr@1", "mrr@3", "HR@1"]) == [Metric("hr", 1), Metric("mrr", 3)]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("recal@20", "unknown metric 'recal@20'; did you mean 'recall'.* there are recall, .*gini"),
        ("zzz", "unknown metric 'zzz'; there are recall, recall_capped, precision, ndcg, hr"),
        ("", "unknown metric ''"),
        ("recall", "metric 'recall' needs a cutoff of at least 1, as in 'recall@20'"),
        ("recall@0", "needs a cutoff of at least 1"),
        ("recall@-3", "unknown metric 'recall@-3'; did you mean 'recall'"),
    ],
)
def test_unknown_names_are_refused_with_what_there_is(name, said):
    with pytest.raises(ValueError, match=said):
        parse(name)


def test_measures_of_truth_are_told_from_those_of_lists():
    assert [parse_of_truth(f"{kind}@3") for kind in OF_TRUTH] == [
        Metric(kind, 3) for kind in OF_TRUTH
    ]
    said = r"^monitor must be a measure of what is true, one of recall, .*, got 'gini@10'$"
    with pytest.raises(ValueError, match=said):
        parse_of_truth("gini@10", "monitor")
    with pytest.raises(ValueError, match=r"^metric must be .*, got 'novelty@5'$"):
        parse_of_truth("novelty@5")
    with pytest.raises(ValueError, match="metric 'ndcg' needs a cutoff"):
        parse_of_truth("ndcg", "monitor")


def test_no_metric_is_refused():
    with pytest.raises(ValueError, match="no metric was named"):
        parse_all([])
