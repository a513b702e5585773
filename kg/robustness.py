"""What ``kg robustness`` tells of a model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd
import torch

from hyperrank.devices import seeded
from hyperrank.rendering import records
from hyperrank.robustness import Findings, Row, alone, certified, norm_row, norm_rows
from hyperrank.tensor_norms import injective
from kg.attacks import accuracy_under_attack
from kg.predictor import LinkPredictor
from kg.triples import Triples

MOST = 20_000  # questions that are certified


@torch.no_grad()
def findings(
    model: LinkPredictor, test: Triples | None, k: int, epsilons: Sequence[float], seed: int
) -> Findings:
    """MRR under attack, the radii of the lists of questions, norms.

    The questions are those of ``test``, or of the training facts without it; of more than 20,000,
    so many drawn ones.

    Raises:
        TypeError: If the model is no TuckER or MIG-TF.
        ValueError: If no test fact has its head, relation and tail in the training facts.
        UnknownIdError: If an id of ``test`` is unknown.
    """
    train = model._learned_facts()
    curve: list[Row] = []
    if test is not None:
        curve = records(accuracy_under_attack(model, train, test, epsilons, seeds=(seed,)))
    generator = seeded(seed, model.facts_.device)
    module: Any = model.module_
    asked = model.facts_ if test is None else test.reindex(*_ids(model)).queries()
    lists = _certified(model, asked.anchor.cpu(), asked.relation.cpu(), k, seed)
    tucker = getattr(module, "base", module)
    tables = {
        "logits of training questions": module.answering(
            model.facts_.anchor, model.facts_.relation
        ),
        "entity vectors": alone(tucker.entities.detach()),
        "relation vectors": alone(tucker.relations.detach()),
        "core, as a matrix": alone(tucker.core.detach().T),
    }
    rows = norm_rows(tables, generator)
    square = tucker.core.detach().unflatten(1, (math.isqrt(tucker.core.shape[1]), -1))
    core = injective(square, restarts=5, generator=generator)
    rows.append(norm_row("core", "injective", core.lower, core.upper))
    return Findings("mrr", curve, lists, rows, k, "questions")


def _certified(
    model: LinkPredictor, anchor: torch.Tensor, relation: torch.Tensor, k: int, seed: int
) -> pd.DataFrame:
    """Certificates of these directed questions: given, relation, asked for, radii."""
    drawn = torch.randperm(len(anchor), generator=seeded(seed))[:MOST].sort().values
    anchor, relation = anchor[drawn], relation[drawn]
    n_relations, parts = len(model.relations_), []
    for back, (given, wanted) in enumerate((("head", "tail"), ("tail", "head"))):
        side = relation // n_relations == back
        if not side.any():
            continue
        ids: dict[str, Any] = {f"{given}s": model.entities_.take(anchor[side])}
        named = model.relations_.take(relation[side] % n_relations)
        frame = model.certify(**ids, relations=named, k=k)
        asked = (column[side].to(model.facts_.device) for column in (anchor, relation))
        vectors: torch.Tensor = model.module_.answering(*asked)[0]  # type: ignore[operator]
        part = certified(frame, vectors.norm(dim=1)).rename(columns={given: "given"})
        part.insert(2, "asked", wanted)
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def _ids(model: LinkPredictor) -> Any:
    return model.entities_, model.relations_
