"""Do certificates of top-10 lists hold, are they tight, and what do they cost?

    python -m benchmarks.bench_certificates             # all cases
    python -m benchmarks.bench_certificates "TuckER"    # one

UltraGCN on all users of gowalla (three epochs: real tables, not the best), TriplH on those of ml-1m
(ten epochs), TuckER on all training questions of codex-s (ten). Of each: wall seconds and the peak
of memory above the tables; 100,000 perturbations by 0.999999 of the radius, half of them random and
half along differences of a listed candidate and a runner-up, with which lists change, judged in
float64 against all candidates; and for every query one perturbation by 1.001 of the radius, along
the difference that sets it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

import data
from benchmarks.quality_kg import SHAPES, SOFTMAX, VARIED
from benchmarks.quality_ultragcn import FIXED as GRAPH_FIXED
from benchmarks.record import peak_memory, record
from hyperrank.certificates import Certificates, certified
from hyperrank.pairs import PairSet
from hyperrank.retrieval import top_k
from hyperrank.scorers import Factors
from kg import TuckER
from recsys import TriplH, UltraGCN

K = 10
MOVES = 100_000
RIVALS = 100  # candidates after the list that adversarial moves are made of
INSIDE, OUTSIDE = 0.999999, 1.001
SCORES_AT_ONCE = 2**20  # 8 MB of float64


class Case(NamedTuple):
    """Tables, queries and what is left out of their lists."""

    factors: Factors
    query: Tensor
    known: PairSet
    certify: Callable[[], Any]  # the public door, timed


def ultragcn() -> Case:
    """All users of gowalla."""
    train, _ = data.split("gowalla")
    model = UltraGCN(**{**GRAPH_FIXED["gowalla"], "lr": 8e-3, "l2": 0.2, "epochs": 3}).fit(train)
    return of_recommender(model)


def triplh() -> Case:
    """All users of ml-1m; their lifted vectors."""
    train, _ = data.split("ml-1m-ultragcn")
    return of_recommender(TriplH(epochs=10).fit(train))


def of_recommender(model: Any) -> Case:
    """All users of a fitted model."""
    query = torch.arange(len(model.users_))
    return Case(model.scorer_, query, model.seen_, lambda: model.certify(k=K))


def tucker() -> Case:
    """All training questions of codex-s, tails and heads; those for tails are timed."""
    setting = {**SHAPES["codex-s"], **SOFTMAX, **VARIED[0], "epochs": 10}
    model = TuckER(**setting).fit(data.graph("codex-s")[0])
    facts = model.facts_
    with torch.no_grad():
        queries, entities = model.module_.answering(facts.anchor, facts.relation)
    forward = facts.relation < len(model.relations_)
    heads = model.entities_.take(facts.anchor[forward])
    relations = model.relations_.take(facts.relation[forward])
    known = PairSet(facts.keys, facts.n_queries, facts.n_candidates)
    factors = Factors(queries, entities.detach())
    return Case(
        factors, torch.arange(len(queries)), known, lambda: model.certify(heads, relations, K)
    )


CASES = {"UltraGCN, gowalla": ultragcn, "TriplH, ml-1m": triplh, "TuckER, codex-s": tucker}


def changed(case: Case, query: Tensor, listed: Tensor, moves: Tensor) -> Tensor:
    """Whether the set of each query's list is another after its move; float64, all candidates."""
    found, table = [], case.factors.candidates.double().T
    size = max(SCORES_AT_ONCE // table.shape[1], 1)
    buffer = torch.empty(size, table.shape[1], dtype=torch.float64)
    for part in torch.arange(len(query)).split(size):
        rows, scores = query[part], buffer[: len(part)]
        torch.mm(case.factors.queries[rows].double() + moves[part], table, out=scores)
        position, candidate = case.known.rows(rows)
        scores[position, candidate] = -torch.inf
        inside = scores.gather(1, listed[part]).amin(1)
        outside = scores.scatter_(1, listed[part], -torch.inf).amax(1)
        found.append(inside <= outside)
    return torch.cat(found)


def judge(case: Case, found: Certificates) -> dict[str, Any]:
    """Violations within, and how many lists are seen to change just outside."""
    generator = torch.Generator().manual_seed(0)
    best = top_k(case.factors, case.query, K + RIVALS, known=case.known).candidates
    able = (_real(found) & (best[:, -1] >= 0)).nonzero().squeeze(1)
    table, listed = case.factors.candidates.double(), best[:, :K]

    def unit(rows: Tensor) -> Tensor:
        return torch.nn.functional.normalize(rows, dim=1)

    chosen = able[torch.randint(len(able), (MOVES,), generator=generator)]
    i = torch.randint(K, (MOVES,), generator=generator)
    j = K + torch.randint(RIVALS, (MOVES,), generator=generator)
    adverse = table[best[chosen, j]] - table[best[chosen, i]]
    random = torch.randn(adverse.shape, generator=generator, dtype=torch.float64)
    swap = table[found.outside] - table[found.inside]
    half = torch.arange(MOVES)[:, None] < MOVES // 2
    quarter = torch.arange(MOVES)[:, None] % 4 == 0  # of the adverse: the worst move itself
    direction = unit(torch.where(half, random, torch.where(quarter, swap[chosen], adverse)))
    moves = INSIDE * found.radius[chosen, None] * direction
    broken = changed(case, case.query[chosen], listed[chosen], moves)
    beyond = OUTSIDE * found.radius[able, None] * unit(swap[able])
    crossed = changed(case, case.query[able], listed[able], beyond)
    return {
        "moves": MOVES,
        "violations": int(broken.sum()),
        "tied": int((found.radius == 0).sum()),
        "judged": len(able),
        "changed_just_outside": float(crossed.double().mean()),
    }


def _real(found: Certificates) -> Tensor:
    """Whether there is a ball to speak of: neither empty, for a tie, nor everything."""
    return (found.radius > 0) & found.radius.isfinite()


def measure(name: str) -> None:
    """Records a case."""
    case = CASES[name]()
    with peak_memory() as peak:
        start, cpu = time.perf_counter(), time.process_time()
        case.certify()
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    print(f"{name}: {seconds:.1f} s ({cpu:.1f} of CPU), {peak.gb:.2f} GB", flush=True)
    found = certified(case.factors, case.query, K, known=case.known)
    length = case.factors.queries.double().norm(dim=1)
    quarters = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    real = _real(found)
    relative = (found.radius / length)[real].quantile(quarters).tolist()
    record(
        "certificates",
        title="Radii within which top-10 lists stay: violations, tightness, cost.",
        case=name,
        sizes={
            "queries": len(case.query),
            "candidates": len(case.factors.candidates),
            "dim": case.factors.candidates.shape[1],
        },
        seconds=seconds,
        cpu_s=cpu,
        peak_gb=peak.gb,
        peak_above_start_gb=peak.above_start_gb,
        **judge(case, found),
        relative_radius=dict(zip(("10 %", "median", "90 %"), relative, strict=True)),
        median_share={
            "radius_2k": float((found.radius_2k / found.radius)[real].median()),
            "global_radius": float((found.global_radius / found.radius)[real].median()),
        },
    )


def main() -> None:
    """Runs the cases named, or all."""
    for name in CASES:
        if not sys.argv[1:] or any(asked in name for asked in sys.argv[1:]):
            measure(name)


if __name__ == "__main__":
    main()
