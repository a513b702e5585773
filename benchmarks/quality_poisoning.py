"""How far can fake users push items into lists, and how much do a few facts hurt others?

    python -m benchmarks.quality_poisoning users ml-1m-ultragcn 0.01         # every model, seed 0
    python -m benchmarks.quality_poisoning users ml-1m-ultragcn 0.01 1 EASE  # seed 1, one model
    python -m benchmarks.quality_poisoning facts umls                        # three seeds

``users``: ten items drawn from the 80% of fewest users are pushed by fake users, such a share of
the real ones, of each kind of ``recsys.poisoning``; the seed draws items, profiles and fits. EASE
and ImplicitALS have the settings that validation chose, UltraGCN and BPRMF their defaults for a few
epochs. Told is the share of (real user, new target) pairs with the target in the list of 10, and
the mean rank of those targets; each line is one fit, the share 0 that of the log as it is.

``facts``: the targets are 50 test facts that a TuckER answers rightly both ways. One fact a target
is left out of train, or a false one added (``kg.fact_attacks``), picked by that TuckER's gradients
or at random in the same neighbourhood; others are trained anew, with other seeds, and the filtered
MRR of the targets told. "none" is the same without any change.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import torch

import data
from benchmarks.quality_baselines import FAMILIES, best_setting
from benchmarks.quality_kg import SHAPES, SOFTMAX
from benchmarks.record import record, recorded
from benchmarks.splits import parts
from hyperrank.devices import seeded
from kg import Triples, TuckER, fact_attacks
from kg.ranking import filtered_ranks
from recsys import BPRMF, EASE, ImplicitALS, UltraGCN
from recsys.poisoning import KINDS, poisoned, target_exposure
from recsys.recommender import Recommender

QUESTION = "quality_poisoning"
TARGETS, TAIL = 10, 0.8
EPOCHS = {"UltraGCN": 5, "BPRMF": 10}
FACT_EPOCHS, FACT_TARGETS = 20, 50


def made(model: str, name: str, seed: int) -> Recommender:
    """An unfitted model by its class name."""
    if model == "EASE":
        return EASE(**best_setting(name, "EASE"))
    if model == "ImplicitALS":
        family = FAMILIES["ImplicitALS 64"]
        setting = {**family.fixed, **best_setting(name, "ImplicitALS 64")}
        return ImplicitALS(**setting, num_threads=1, random_state=seed)
    kind: Any = {"UltraGCN": UltraGCN, "BPRMF": BPRMF}[model]
    found: Recommender = kind(epochs=EPOCHS[model], random_state=seed)
    return found


MODELS = ("EASE", "ImplicitALS", "UltraGCN", "BPRMF")


def users(name: str, share: str, seed: str = "0", *models: str) -> None:
    """Records the exposure of the targets under every kind of attack, and without any."""
    train, _ = parts(name)
    degrees = train.pairs.candidate_degrees
    rare = degrees <= degrees.float().quantile(TAIL)
    tail = torch.nonzero(rare & (degrees > 0)).squeeze(1)
    drawn = torch.randperm(len(tail), generator=seeded(int(seed)))[:TARGETS]
    targets = train.items.take(tail[drawn])
    done = recorded(QUESTION, step="users", data=name, seed=int(seed))
    for kind in ("none", *KINDS):
        part = 0.0 if kind == "none" else float(share)
        log = poisoned(train, targets, kind, part, random_state=int(seed)) if part else train
        for model in models or MODELS:
            facts: dict[str, Any] = {"model": model, "kind": kind, "share": part}
            if any(facts.items() <= line.items() for line in done):
                continue
            start = time.perf_counter()
            fitted = made(model, name, int(seed)).fit(log)
            facts["seconds"] = time.perf_counter() - start
            found = target_exposure(fitted, targets, train.users.ids)._asdict()
            record(QUESTION, step="users", data=name, seed=int(seed), **facts, **found)


def facts(name: str) -> None:
    """Records the MRR of targets after one fact for each was left out or added."""
    graph = data.graph(name)
    train, known = graph[0], graph[0].union(graph[1]).union(graph[2])
    setting = {**SHAPES[name], **SOFTMAX, "lr_fall": True, "lr": 5e-3, "epochs": FACT_EPOCHS}
    base = TuckER(**setting).fit(train)
    right = rank_of(base, graph[2], known).amax(1) == 1
    spots = torch.nonzero(right).squeeze(1)
    chosen = torch.zeros_like(right)
    chosen[spots[torch.randperm(len(spots), generator=seeded(0))[:FACT_TARGETS]]] = True
    targets = graph[2].select(chosen)
    changed: dict[str, Triples] = {"none": train}
    for kind in fact_attacks.KINDS:
        gone = fact_attacks.removals(base, train, targets, kind)
        changed[f"{kind} removals"] = train.select(~train.known_to(gone))
        changed[f"{kind} additions"] = train.union(
            fact_attacks.additions(base, train, targets, kind)
        )
    for attack, log in changed.items():
        for seed in (1, 2, 3):
            rank = rank_of(TuckER(**setting, random_state=seed).fit(log), targets, known)
            mrr = {"targets": float((1 / rank).mean()), "n_targets": len(targets)}
            record(QUESTION, step="facts", data=name, seed=seed, attack=attack, **mrr)


def rank_of(model: TuckER, judged: Triples, known: Triples) -> torch.Tensor:
    """Filtered ranks, a row a fact: of its tail and of its head."""
    queries = judged.queries()
    rank = filtered_ranks(model.module_, queries, queries.answers(known))
    n_relations, anchor = judged.n_relations, queries.anchor[queries.queries]
    relation, answer = queries.relation[queries.queries], queries.candidates
    onward = relation < n_relations
    head, tail = anchor.where(onward, answer), answer.where(onward, anchor)
    key = (head * n_relations + relation % n_relations) * judged.n_entities + tail
    return rank[key.argsort(stable=True)].view(-1, 2)


def main() -> None:
    """Runs one step on one data set."""
    step, *options = sys.argv[1:]
    steps: dict[str, Any] = {"users": users, "facts": facts}
    steps[step](*options)


if __name__ == "__main__":
    main()
