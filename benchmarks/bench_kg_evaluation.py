"""How fast is filtered evaluation of FB15k-237, against PyKEEN's RankBasedEvaluator?

    HYPERRANK_DATA=... python -m benchmarks.bench_kg_evaluation [--facts 512] [--repeats 3]
        [--models distmult,tucker] [--heap kept|default]

Both sides rank heads and tails of the same test facts, all known facts hidden, with the same tables
of 200 dimensions, and are timed with the building of their filters from the facts; "ours_indexed"
has the index of known facts that a fitted model keeps, as ``kg.evaluate`` does. DistMult's tables
are trained for some seconds, then rounded to whole numbers from -7 to 7: any order of adding gives
the same float32 score, so the ranks must be equal to the last. TuckER's tables are drawn.

PyKEEN writes out batch x entities x 200 products to score DistMult. So that this is not mistaken
for the cost of judging, another side runs PyKEEN's evaluator on our scores, which are one product.
All float32 products may go to oneDNN, on every side. "memory": what one evaluation of 512 facts
adds to the process, with the known facts and with ten times as many (the rest drawn); it is read
under default malloc only, where freed memory leaves the process.

PyKEEN is no dependency of this project: ``pip install pykeen==1.11.1``, or let it into a folder of
its own with ``pip install --target FOLDER --no-deps`` (and what it then misses: class-resolver,
click-default-group, docdata, dataclasses-json, marshmallow, more-click, more-itertools, optuna,
pystow, torch-max-mem, torch-ppr, typing-inspect) and add that to PYTHONPATH.
"""

from __future__ import annotations

import argparse
import os
import warnings
from collections.abc import Callable
from functools import partial, reduce
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.record import compared, heap, peak_memory, record, turn_by_turn, under_both_heaps
from hyperrank.pairs import PairSet
from hyperrank.products import fast_products
from kg.queries import Queries
from kg.ranking import filtered_ranks
from kg.triples import Triples
from kg.tucker import TuckER
from kg.tucker_module import TuckerModule

DIM = 200
BATCH = 64  # of PyKEEN; of 8, 32, 64 and 256 its fastest by default malloc, its equal fastest else
STEPS, ROWS = 150, 1024  # of DistMult's training


class DistMult(nn.Module):
    """``score(h, r) = (E[h] * R[r]) E^T``, the same for both directions of r."""

    def __init__(self, entities: Tensor, relations: Tensor) -> None:
        super().__init__()
        self.entities, self.relations = entities, relations
        self.eval()

    def score(self, anchor: Tensor, relation: Tensor) -> Tensor:
        """Logits of all entities; relations may be directed."""
        rows = self.entities[anchor] * self.relations[relation % len(self.relations)]
        return rows @ self.entities.T


def trained(train: Triples) -> DistMult:
    """DistMult after some softmax steps over all entities, its tables in whole numbers."""
    generator = torch.Generator().manual_seed(0)
    sizes = (train.n_entities, train.n_relations)
    tables = [nn.Parameter(0.1 * torch.randn(n, DIM, generator=generator)) for n in sizes]
    adam, queries = torch.optim.Adam(tables, lr=0.02), train.queries()
    for _ in range(STEPS):
        spot = torch.randint(len(queries), (ROWS,), generator=generator)
        number = queries.queries[spot]
        logits = DistMult(*tables).score(queries.anchor[number], queries.relation[number])
        loss = cross_entropy(logits, queries.candidates[spot])
        adam.zero_grad()
        loss.backward()
        adam.step()
    whole = (t.detach() * 3.5 / t.detach().std() for t in tables)
    return DistMult(*(t.round().clamp(-7, 7) for t in whole))


def ours(module: nn.Module, test: Triples, known: list[Triples]) -> float:
    """MRR, everything built from the facts."""
    queries = test.queries()
    hidden = reduce(PairSet.union, [queries.answers(facts) for facts in known])
    return float((1 / filtered_ranks(module, queries, hidden)).mean())


def ours_indexed(module: nn.Module, test: Triples, known: Queries) -> float:
    """The same, against an index of known facts such as a fitted model keeps."""
    queries = test.queries()
    hidden = known.lookup(queries.anchor, queries.relation)
    return float((1 / filtered_ranks(module, queries, hidden)).mean())


def theirs(model: Any, test: Tensor, known: list[Tensor]) -> float:
    """MRR of PyKEEN's ranks; its own figure is a mean in float32."""
    from pykeen.evaluation import RankBasedEvaluator

    evaluator = RankBasedEvaluator(clear_on_finalize=False)
    with fast_products():
        evaluator.evaluate(
            model, test, batch_size=BATCH, additional_filter_triples=known, use_tqdm=False
        )
    ranks = [evaluator.ranks[side, "realistic"] for side in ("head", "tail")]
    return float((1 / np.concatenate([*ranks[0], *ranks[1]]).astype(np.float64)).mean())


def rows_of(facts: Triples) -> Tensor:
    """Facts as PyKEEN has them."""
    return torch.stack([facts.head, facts.relation, facts.tail], dim=1)


def factory(train: Triples, inverse: bool) -> Any:
    """What PyKEEN builds its models from."""
    from pykeen.triples import CoreTriplesFactory

    sizes = {"num_entities": train.n_entities, "num_relations": train.n_relations}
    return CoreTriplesFactory(rows_of(train), **sizes, create_inverse_triples=inverse)


def peers_of_distmult(module: DistMult, train: Triples) -> dict[str, Any]:
    """PyKEEN's DistMult with the same tables, as it comes and with our scores."""
    from pykeen.models import DistMult as Theirs

    class OnOurScores(Theirs):  # type: ignore[misc]
        def score_t(self, hr_batch: Tensor, **_: Any) -> Tensor:
            return module.score(hr_batch[:, 0], hr_batch[:, 1])

        def score_h(self, rt_batch: Tensor, **_: Any) -> Tensor:
            return module.score(rt_batch[:, 1], rt_batch[:, 0])

    peers = {}
    for name, kind in (("pykeen", Theirs), ("pykeen_on_our_scores", OnOurScores)):
        model = kind(triples_factory=factory(train, False), embedding_dim=DIM, random_seed=0)
        copy_tables(model, module.entities, module.relations)
        peers[name] = model
    return peers


def peers_of_tucker(module: TuckerModule, train: Triples) -> dict[str, Any]:
    """PyKEEN's TuckER with the same tables; its inverse relations stand beside their own."""
    from pykeen.models import TuckER as Theirs

    model = Theirs(
        triples_factory=factory(train, True), embedding_dim=DIM, relation_dim=DIM, random_seed=0
    )
    both = module.relations.detach().view(2, -1, DIM).transpose(0, 1).reshape(-1, DIM)
    copy_tables(model, module.entities.detach(), both)
    core = module.core.detach().view(DIM, DIM, DIM)  # relation x given x answer
    model.interaction.core_tensor.data.copy_(core.transpose(0, 1))
    return {"pykeen": model}


def copy_tables(model: Any, entities: Tensor, relations: Tensor) -> None:
    """Writes both tables into a model of PyKEEN."""
    for owner, table in (
        (model.entity_representations, entities),
        (model.relation_representations, relations),
    ):
        (weight,) = owner[0].parameters()
        weight.data.copy_(table)


def memory(module: DistMult, model: Any, test: Triples, train: Triples) -> dict[str, float]:
    """GB that one evaluation adds, with the known facts and with ten times as many."""
    generator = torch.Generator().manual_seed(1)
    bounds = torch.tensor([train.n_entities, train.n_relations, train.n_entities])
    extra = (torch.rand(9 * len(train), 3, generator=generator) * bounds).long()
    names, rows, part = (train.entities, train.relations), rows_of(train), rows_of(test)
    added = {}
    for times, known in (("1x", rows), ("10x", torch.cat([rows, extra]))):
        facts = Triples.from_rows(*names, *known.unbind(1))
        index = facts.queries()
        ours_indexed(module, test, index)  # what an index is asked first, it keeps
        sides: dict[str, Callable[[], object]] = {
            "ours_indexed": partial(ours_indexed, module, test, index),
            "ours": partial(ours, module, test, [facts]),
            "pykeen": partial(theirs, model, part, [known]),
        }
        for name, side in sides.items():
            with peak_memory() as peak:
                side()
            added[f"{name}_{times}_gb"] = peak.above_start_gb
    return added


def compare(
    case: str, module: nn.Module, peers: dict[str, Any], parts: tuple[Triples, ...], repeats: int
) -> None:
    """Times the sides turn by turn and records the line."""
    train, valid, test = parts
    known = [train, valid]
    sides: dict[str, Callable[[], object]] = {
        "ours": partial(ours, module, test, known),
        "ours_indexed": partial(ours_indexed, module, test, train.union(valid).queries()),
    }
    for name, model in peers.items():
        rows = [rows_of(facts) for facts in known]
        sides[name] = partial(theirs, model, rows_of(test), rows)
    facts: dict[str, Any] = {"mrr": {name: side() for name, side in sides.items()}}
    facts["mrr_gap"] = max(facts["mrr"].values()) - min(facts["mrr"].values())
    if heap() == "default" and isinstance(module, DistMult):
        few = test.select(torch.arange(len(test)) < 512)
        facts["memory"] = memory(module, peers["pykeen_on_our_scores"], few, train)
    times = turn_by_turn(sides, repeats=repeats, warmups=0)
    each = compared(times, ours="ours", base="pykeen")
    facts["ratio_indexed"] = compared(times, ours="ours_indexed", base="pykeen")["ratio"]
    if "pykeen_on_our_scores" in times:
        judge = compared(times, ours="ours", base="pykeen_on_our_scores")
        facts["ratio_of_judging"], facts["ratio_cpu_of_judging"] = (
            judge["ratio"],
            judge["ratio_cpu"],
        )
    record(
        "kg_evaluation",
        case=case,
        title="Filtered evaluation of FB15k-237, both ways, against PyKEEN's evaluator.",
        sizes={"test_facts": len(test), "known_facts": len(train) + len(valid), "dim": DIM},
        **each,
        **facts,
        torch_threads=torch.get_num_threads(),
    )


def main() -> None:
    """Runs every model that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--facts", type=int, default=512, help="0 for all 20,466")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--models", default="distmult,tucker")
    options = parser.parse_args()
    data = os.environ.get("HYPERRANK_DATA")
    if not data:
        raise SystemExit("set HYPERRANK_DATA to the folder of data sets")
    folder = Path(data) / "kg" / "fb15k-237"
    train, valid, test = Triples.read_parts(
        [folder / f"{part}.parquet" for part in ("train", "valid", "test")]
    )
    if options.facts:
        order = torch.randperm(len(test), generator=torch.Generator().manual_seed(0))
        test = test.select(order.argsort() < options.facts)
    warnings.simplefilter("ignore")
    for name in options.models.split(","):
        if name == "distmult":
            module: Any = trained(train)
            peers = peers_of_distmult(module, train)
        else:
            drawn = torch.Generator().manual_seed(0)
            estimator = TuckER(entity_dim=DIM, relation_dim=DIM)
            module = estimator.module(train.n_entities, train.n_relations, drawn).eval()
            peers = peers_of_tucker(module, train)
        case = f"{name} {len(test)}"
        with torch.no_grad():
            compare(case, module, peers, (train, valid, test), options.repeats)


if __name__ == "__main__":
    under_both_heaps(main)
