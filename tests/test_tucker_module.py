"""TuckER's tensors against loops: scores, noise of the core, losses of a batch, penalties."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hyperrank.vocabulary import Vocabulary
from kg.answer_batches import AnswerBatch, AnswerBatches, Objective
from kg.triples import Triples
from kg.tucker_module import TuckerModule, TuckerShape, dropped
from reference_kg import answer_loss_plain, tucker_blocks_plain, tucker_plain

N, M, D, K = 9, 3, 4, 2  # entities, relations of one direction, sizes of vectors
SHAPE = TuckerShape(N, 2 * M, D, K, 0.0, 0.0, 0.0, "gaussian", True, 1.0, 1, "uniform")
PLAIN = Objective("bce", 0.0, "conve", 0.0, 0.0, 0.0, None)


def module(
    generator: torch.Generator, objective: Objective = PLAIN, **changes: Any
) -> TuckerModule:
    """A module whose normalizations have seen something."""
    made = TuckerModule(replace(SHAPE, **changes), objective, generator)
    for norm in (made.norm_in, made.norm_out):
        for tensor in norm.state_dict().values():
            if tensor.is_floating_point():
                tensor.uniform_(0.5, 2.0, generator=generator)
    return made


def graph(generator: torch.Generator, n_facts: int = 25) -> Triples:
    columns = [torch.randint(n, (n_facts,), generator=generator) for n in (N, M, N)]
    names = Vocabulary.from_ids(range(N)), Vocabulary.from_ids(list("abc"))
    return Triples.from_rows(*names, *columns)


def batch(generator: torch.Generator) -> AnswerBatch:
    return next(iter(AnswerBatches(graph(generator).queries(), 100, generator)))


def cells(made: nn.Module) -> tuple[Tensor, Tensor, Tensor]:
    """Every (anchor, directed relation, answer)."""
    grid = torch.cartesian_prod(torch.arange(N), torch.arange(2 * M), torch.arange(N))
    anchor, relation, answer = grid.unbind(1)
    return anchor, relation, answer


def test_scores_are_the_tucker_product(generator: torch.Generator) -> None:
    made = module(generator, batch_norm=False).eval()
    anchor, relation, answer = cells(made)
    found = made.score_triples(anchor, relation, answer)
    tables = made.entities.detach(), made.relations.detach(), made.core.detach()
    facts = zip(anchor.tolist(), relation.tolist(), answer.tolist(), strict=True)
    plain = torch.tensor([tucker_plain(*tables, fact) for fact in facts])
    torch.testing.assert_close(found, plain, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("blocks", [2, 4])  # not smaller than a block, and smaller
def test_blocks_are_tucker_products_of_one_core(blocks: int, generator: torch.Generator) -> None:
    made = module(generator, batch_norm=False, blocks=blocks, relation_dim=4).eval()
    anchor, relation, answer = cells(made)
    found = made.score_triples(anchor, relation, answer)
    tables = made.entities.detach(), made.relations.detach(), made.core.detach()
    facts = zip(anchor.tolist(), relation.tolist(), answer.tolist(), strict=True)
    plain = torch.tensor([tucker_blocks_plain(*tables, fact, blocks) for fact in facts])
    torch.testing.assert_close(found, plain, atol=1e-5, rtol=1e-5)


def test_blocks_of_two_numbers_may_start_as_complex(generator: torch.Generator) -> None:
    """Re <h, r, conj(t)> of complex vectors, real parts first (Trouillon et al. 2016)."""
    changes: dict[str, Any] = {"relation_dim": D, "blocks": D // 2, "core_start": "complex"}
    made = module(generator, batch_norm=False, **changes).eval()
    anchor, relation, answer = cells(made)
    h, r, t = (
        torch.complex(*table.detach()[rows].chunk(2, 1))
        for table, rows in zip(
            (made.entities, made.relations, made.entities), (anchor, relation, answer), strict=True
        )
    )
    plain = (h * r * t.conj()).real.sum(1)
    torch.testing.assert_close(made.score_triples(anchor, relation, answer), plain)


@pytest.mark.parametrize("blocks", [1, 2])
def test_rows_of_scores_are_those_of_single_facts(blocks: int, generator: torch.Generator) -> None:
    made = module(generator, blocks=blocks).eval()
    anchor, relation, answer = cells(made)
    block = made.score(anchor[::N], relation[::N])
    torch.testing.assert_close(block.flatten(), made.score_triples(anchor, relation, answer))


def test_relations_are_contracted_once_each(generator: torch.Generator) -> None:
    """Normalized scores equal those of each query's own matrix."""
    made = module(generator).eval()
    anchor, relation = torch.tensor([3, 3, 5, 0]), torch.tensor([4, 1, 4, 4])
    x = made.norm_in(made.entities[anchor])
    matrices = torch.einsum("bk,kij->bij", made.relations[relation], made.core.view(K, D, D))
    y = made.norm_out(torch.einsum("bi,bij->bj", x, matrices))
    torch.testing.assert_close(made.score(anchor, relation), (y @ made.entities.T).detach())


@pytest.mark.parametrize("blocks", [1, 2])
@pytest.mark.parametrize("noise", ["gaussian", "relation", "query"])
def test_noise_of_the_core_has_the_mean_and_variance_of_masks(
    noise: Any, blocks: int, generator: torch.Generator
) -> None:
    changes: dict[str, Any] = {"core_noise": noise, "batch_norm": False, "blocks": blocks}
    made = module(generator, core_dropout=0.4, **changes).train()
    relation, x = torch.tensor([2, 0, 2]), torch.randn(3, D, generator=generator)
    core = made.core.view(K // blocks, D // blocks, D // blocks)
    parts = made.relations[relation].view(3, -1, blocks)
    matrices = torch.einsum("bkn,kij->bijn", parts, core)
    rows = x.view(3, -1, blocks)
    mean = torch.einsum("bin,bijn->bjn", rows, matrices).flatten(1)
    variance = (
        torch.einsum("bin,bijn->bjn", rows.square(), matrices.square()).flatten(1) * 0.4 / 0.6
    )
    with torch.no_grad():
        draws = torch.stack([made.wanted(x, relation) for _ in range(1500)])
    spread = variance.sqrt() / 1500**0.5
    assert ((draws.mean(0) - mean).abs() < 5 * spread).all()
    torch.testing.assert_close(draws.var(0), variance.detach(), rtol=0.3, atol=1e-4)


def test_dropping_keeps_the_mean(generator: torch.Generator) -> None:
    x = torch.ones(20_000)
    found = dropped(x, 0.3, generator)
    assert found.unique().tolist() == pytest.approx([0.0, 1 / 0.7], rel=1e-4)
    assert float(found.mean()) == pytest.approx(1, abs=0.03)
    assert dropped(x, 0.0, generator) is x


@pytest.mark.parametrize("rule", ["conve", "uniform"])
@pytest.mark.parametrize("loss", ["bce", "softmax"])
def test_loss_of_a_batch_is_the_plain_one(loss: Any, rule: Any, generator: torch.Generator) -> None:
    made = module(generator, replace(PLAIN, loss=loss, smoothing=0.1, smoothing_rule=rule)).eval()
    asked = batch(generator)
    floor = torch.full((len(asked.anchor),), (1.0 if rule == "conve" else 0.1) / N)
    if loss == "softmax":  # each fact is a choice, with a target of its own
        floor = floor * asked.counts
    scores = made.score(asked.anchor, asked.relation)
    plain = answer_loss_plain(loss, scores, asked.position, asked.positive, 0.9, floor)
    torch.testing.assert_close(made.loss(asked), plain)


@pytest.mark.parametrize("blocks", [1, 2])
def test_penalties_are_sums_over_facts(blocks: int, generator: torch.Generator) -> None:
    def cubed(x: Tensor) -> float:
        norms = x.view(len(x), -1, blocks).norm(dim=1) if blocks > 1 else x.abs()
        return float(norms.pow(3).sum())

    base = module(generator, blocks=blocks).eval()
    asked = batch(generator)
    with torch.no_grad():
        given = base.given(asked.anchor)
        y = base.wanted(given, asked.relation)
        rows = base.entities[asked.anchor], base.relations[asked.relation]
        answer = base.entities[asked.positive]
        at = asked.position
        cubes = sum(cubed(x[at]) for x in rows) + cubed(answer)
        squares = float((rows[0][at].square() + y[at].square() + answer.square()).sum())
        base.objective = replace(PLAIN, n3=0.5)
        assert float(base.penalties(asked, given, y)) == pytest.approx(0.5 * cubes, rel=1e-4)
        base.objective = replace(PLAIN, dura=0.25)
        assert float(base.penalties(asked, given, y)) == pytest.approx(0.25 * squares, rel=1e-4)


@pytest.mark.parametrize("blocks", [1, 2])
@pytest.mark.parametrize("normed", [True, False])
@pytest.mark.parametrize("loss", ["bce", "softmax"])
def test_relations_are_predicted_from_the_scores(
    loss: Any, normed: bool, blocks: int, generator: torch.Generator
) -> None:
    objective = replace(PLAIN, loss=loss, relation_weight=0.7)
    made = module(generator, objective, batch_norm=normed, blocks=blocks).eval()
    asked = batch(generator)
    answer, total = asked.positive[asked.draw], 0.0
    assert (asked.position[asked.draw] == torch.arange(len(asked.anchor))).all()
    weights = asked.counts if loss == "softmax" else torch.ones_like(asked.counts)
    for a, r, t, weight in zip(asked.anchor, asked.relation, answer, weights, strict=True):
        every = torch.arange(2 * M)
        logits = made.score_triples(a.expand(2 * M), every, t.expand(2 * M))
        total += -float(weight * logits.log_softmax(0)[r])
    given = made.given(asked.anchor)
    found = made.penalties(asked, given, made.wanted(given, asked.relation))
    assert float(found.detach()) == pytest.approx(0.7 * total, rel=1e-4)


def test_an_epoch_holds_every_fact_twice(generator: torch.Generator) -> None:
    facts = graph(generator, 60)
    queries = facts.queries()
    for size in (2, 7, 1000):
        batches = AnswerBatches(queries, size, generator)
        walked = list(batches)
        assert len(walked) == len(batches)
        assert min(len(one.anchor) for one in walked) >= min(size, queries.n_queries)
        seen = {
            (int(one.anchor[p]), int(one.relation[p]), int(t))
            for one in walked
            for p, t in zip(one.position, one.positive, strict=True)
        }
        assert len(seen) == sum(len(one.positive) for one in walked) == 2 * len(facts)
