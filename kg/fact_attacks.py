"""Facts whose removal or addition hurts a given fact most: what the training can be fed.

Instance attribution by gradients (Pezeshkpour, Tian, Singh 2019; Bhardwaj, Kelleher, Costabello,
O'Sullivan 2021): what a fact does to a target is the slope of the target's own loss along the step
that learning the fact would take. Departures: the slopes are of all parameters; the step is taken
on the fact's logit, not on its loss, which is flat for a fact that is known well; the target's loss
is that of both its directions against all entities.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hyperrank.devices import seeded
from kg.answer_batches import AnswerBatch
from kg.attacks import SOFTMAX
from kg.predictor import LinkPredictor
from kg.triples import Triples
from kg.tucker_module import TuckerModule

KINDS = ("gradient", "random")
MOST = 2**15  # false facts that are weighed for a target; more are drawn from
STEP = 1e-3  # of the parameters' length, to either side
TINY = 1e-100  # length of a slope that is taken for zero
Keys = Int[Tensor, " n"]


def removals(
    model: LinkPredictor,
    train: Triples,
    targets: Triples,
    kind: str = "gradient",
    *,
    random_state: int = 0,
) -> Triples:
    """Facts of ``train`` to leave out, one for each target, in the order of the targets' keys.

    Each shares an entity with its target and is no target. None is named twice, so there are fewer
    than targets where neighbourhoods are small. Costs a slope and the logits of the neighbourhood a
    target.

    Args:
        model: Fitted on ``train``: a TuckER or MIG-TF.
        train: What a model is trained on.
        targets: Facts to hurt, of known entities and relations.
        kind: "gradient": the fact that supports the target most; "random": any, as a control.
        random_state: Of "random".

    Raises:
        ValueError: If ``kind`` is neither, or there are no facts.
        TypeError: If the model is no TuckER or MIG-TF.
        UnknownIdError: If an id is not in the model's vocabularies.
        NotFittedError: Before ``fit``.
    """
    train = train.reindex(model.entities_, model.relations_)

    def neighbours(head: Tensor, tail: Tensor) -> Keys:
        ends = torch.stack([head, tail])
        return train.keys[torch.isin(train.head, ends) | torch.isin(train.tail, ends)]

    return _chosen(model, targets, neighbours, kind, 1.0, random_state)


def additions(
    model: LinkPredictor,
    train: Triples,
    targets: Triples,
    kind: str = "gradient",
    *,
    random_state: int = 0,
) -> Triples:
    """False facts to add to ``train``, one for each target, in the order of the targets' keys.

    Each has the target's head or its tail in the same place, and is neither in ``train`` nor a
    target; where there are more than 32,768 such facts, so many are drawn and weighed. Else as
    ``removals``; "gradient" is the fact that opposes the target most.

    Raises:
        ValueError: As ``removals``.
        TypeError: As ``removals``.
        UnknownIdError: As ``removals``.
        NotFittedError: As ``removals``.
    """
    train = train.reindex(model.entities_, model.relations_)
    n, ways, generator = train.n_entities, train.n_relations, seeded(random_state)

    def around(head: Tensor, tail: Tensor) -> Keys:
        pair = torch.arange(ways * n)  # relation * n + entity
        onward = head * ways * n + pair
        back = (pair % n * ways + pair // n) * n + tail
        keys = torch.cat([onward, back]).unique()
        keys = keys[~torch.isin(keys, train.keys)]
        few: Tensor = keys[torch.randperm(len(keys), generator=generator)[:MOST]]
        return few

    return _chosen(model, targets, around, kind, -1.0, random_state)


def _chosen(
    model: LinkPredictor,
    targets: Triples,
    candidates: Callable[[Tensor, Tensor], Keys],
    kind: str,
    sign: float,
    random_state: int,
) -> Triples:
    """For each target the candidate of the largest signed influence that is not taken yet."""
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    if not len(targets):
        raise ValueError("there is no target; give the facts to hurt")
    influence, generator = Influence(model), seeded(random_state)
    targets = targets.reindex(model.entities_, model.relations_)
    taken = targets.keys
    for fact in zip(targets.head, targets.relation, targets.tail, strict=True):
        keys = candidates(fact[0], fact[2])
        keys = keys[~torch.isin(keys, taken)]
        if not len(keys):
            continue
        if kind == "random":
            best = torch.randint(len(keys), (1,), generator=generator)
        else:
            facts = Triples(targets.entities, targets.relations, keys)
            best = (sign * influence(*fact, facts)).argmax()[None]
        taken = torch.cat([taken, keys[best]])
    found = taken[len(targets) :].sort().values
    return Triples(targets.entities, targets.relations, found, backend=targets.backend)


class Influence:
    """How much a step that raises the logit of each fact lowers the loss of a target."""

    def __init__(self, model: LinkPredictor) -> None:
        self.module: Any = copy.deepcopy(model._fitted("module_")).double().eval()
        judged = getattr(self.module, "base", self.module)
        if not isinstance(judged, TuckerModule):
            raise TypeError(f"{type(model).__name__} has no slopes; TuckER and MIGTF have")
        judged.objective = SOFTMAX
        self.parameters = [p.requires_grad_() for p in self.module.parameters()]
        self.start = [p.detach().clone() for p in self.parameters]
        self.n_relations, self.device = len(model.relations_), model.facts_.device

    def __call__(
        self, head: Tensor, relation: Tensor, tail: Tensor, facts: Triples
    ) -> Float[Tensor, " n"]:
        """By central differences in float64: two readings of the facts' logits."""
        place = torch.arange(2, device=self.device)
        batch = AnswerBatch(
            torch.stack([head, tail]).to(self.device),
            torch.stack([relation, relation + self.n_relations]).to(self.device),
            place,
            torch.stack([tail, head]).to(self.device),
            place,
        )
        slope = torch.autograd.grad(
            self.module.loss(batch), self.parameters, allow_unused=True, materialize_grads=True
        )
        step = STEP * float(_length(self.start) / _length(slope).clamp_min(TINY))
        columns = [rows.to(self.device) for rows in (facts.head, facts.relation, facts.tail)]
        logits = []
        for side in (-step, step, 0.0):  # at last it is back where it was
            with torch.no_grad():
                for p, start, by in zip(self.parameters, self.start, slope, strict=True):
                    p.copy_(start + side * by)
            logits.append(self.module.score_triples(*columns))
        found: Tensor = (logits[0] - logits[1]) / (2 * step)
        return found.cpu()


def _length(tensors: Iterable[Tensor]) -> Float[Tensor, ""]:
    length: Tensor = torch.stack([one.norm() for one in tensors]).norm()
    return length
