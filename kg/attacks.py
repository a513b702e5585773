"""Attacks on a link predictor's vectors, and what is left of its accuracy under them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias, TypeVar, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from hyperrank import attacks
from hyperrank.attacks import EPSILONS, Method, relative_radii
from hyperrank.batches import NegativeSampler
from hyperrank.devices import seeded
from hyperrank.questions import whole
from hyperrank.tables import to_backend
from kg.answer_batches import AnswerBatch, AnswerBatches, Objective
from kg.judging import judge
from kg.mixed_module import MixedModule
from kg.predictor import LinkPredictor
from kg.queries import Queries
from kg.ranking import parse_all, per_fact
from kg.triples import Triples
from kg.tucker_module import TuckerModule

# a choice among all entities, and no regularization
SOFTMAX = Objective("softmax", 0.0, "uniform", 0.0, 0.0, 0.0, None)
TABLES = {  # what is moved -> the name of its radius
    "entities": "entity",
    "relations": "relation",
    "points": "point",
    "relation_points": "relation_point",
}
LossName: TypeAlias = Literal["softmax", "auc"]
LOSSES: tuple[LossName, ...] = get_args(LossName)
AUC_UNIT = 0.5  # of the deviation: lost more MRR than 1 and 0.3 did, with "softmax" beside it
Model = TypeVar("Model", bound=LinkPredictor)


def attacked(
    model: Model,
    facts: Triples,
    epsilon: float,
    method: Method = "pgd",
    *,
    loss: LossName = "softmax",
    steps: int = 10,
    queries: int = 2048,
    random_state: int = 0,
) -> Model:
    """A copy of ``model`` whose entity and relation vectors were moved to rank ``facts`` badly.

    Every vector moves within a ball of ``epsilon`` times the root mean square length of its table's
    rows; see ``hyperrank.attacks.attacked`` for how. MIG-TF's points move too. What rises is a
    loss of drawn queries of ``facts``, both ways, each with all its answers. With "softmax" it is
    the cross-entropy of the answers against all entities; since it grows without bound, an attack
    may spend itself on facts that are wrong already. "auc" is bounded: each fact's answer against a
    drawn entity that is none, and of the differences of their logits the mean logistic function, in
    units of half their deviation before the attack: about the share of wrong pairs. The former
    mostly does more harm at a small ``epsilon``, the latter at a large one.

    Args:
        model: A fitted TuckER or MIG-TF.
        facts: Most often the training facts. Those of unknown entities or relations count not.
        epsilon: Relative radius; 0 moves nothing.
        method: "pgd", "fgsm", or "random" as a control.
        loss: What rises, but for "random".
        steps: Of "pgd".
        queries: How many are drawn: at least so many, where there are, and less than twice as many.
        random_state: Of what is drawn.

    Returns:
        The copy. Its ``attack_`` holds method, loss, epsilon and the absolute radii.

    Raises:
        TypeError: If the model is no TuckER or MIG-TF.
        ValueError: If ``epsilon`` is negative or not finite, a count is less than 1, the method or
            the loss is unknown, or no fact has its head, relation and tail in the model.
        NotFittedError: Before ``fit``.
    """
    attacks.check_loss(loss, LOSSES)
    module = copy.deepcopy(model._fitted("module_"))
    if not isinstance(module, TuckerModule | MixedModule):
        raise TypeError(f"{type(model).__name__} cannot be attacked; TuckER and MIGTF can")
    # by the last part of the name: the tables of MIG-TF's TuckER are in a module of their own
    tables = {n: p for n, p in module.named_parameters() if n.rpartition(".")[2] in TABLES}
    named = {TABLES[name.rpartition(".")[2]]: table for name, table in tables.items()}
    radii = relative_radii(named, epsilon)
    known = facts.reindex(model.entities_, model.relations_, unknown="drop")
    if not len(known):
        raise ValueError("no fact has its head, relation and tail in the model; attack with others")
    generator = seeded(random_state, model.facts_.device)
    asked = known.queries().to(generator.device)
    batch = next(iter(AnswerBatches(asked, whole("queries", queries), generator)))
    rising = _rising(loss, module, asked, batch, tables, generator)
    moved = attacks.attacked(
        rising,
        list(tables.values()),
        list(radii.values()),
        method,
        steps=steps,
        generator=generator,
    )
    with torch.no_grad():
        for table, rows in zip(tables.values(), moved, strict=True):
            table.copy_(rows)
    found = copy.copy(model)
    found.module_ = module
    vars(found)["attack_"] = {"method": method, "loss": loss, "epsilon": epsilon, **radii}
    return found


def accuracy_under_attack(
    model: LinkPredictor,
    train: Triples,
    test: Triples,
    epsilons: Sequence[float] = EPSILONS,
    methods: Sequence[Method] = attacks.METHODS,
    metric: str = "mrr",
    seeds: Sequence[int] = (0,),
    *,
    steps: int = 10,
) -> Any:
    """A frame of epsilon, method, value, deviation and the absolute radii; clean first.

    ``value`` is the mean over ``seeds`` of the filtered measure of ``test``, both ways: the
    least of it over both losses of ``attacked``. ``deviation`` is over seeds (NaN of one). The
    first row is the model as it is: epsilon 0, method "clean".

    Args:
        model: A fitted TuckER or MIG-TF.
        train: Whose queries the attacks use; see ``attacked``.
        test: What is judged; its entities and relations are the model's.
        epsilons: Radii, relative to the root mean square length of each table's rows.
        methods: Of ``attacked``.
        metric: One of ``kg.evaluate``, such as "hits@10".
        seeds: Of what is drawn.
        steps: Of "pgd".

    Returns:
        A frame of the kind that ``test`` came in.

    Raises:
        ValueError: If the metric is unknown, nothing is asked, or as ``attacked``.
        TypeError: As ``attacked``.
        UnknownIdError: If an id of ``test`` is not in the model's vocabularies.
        NotFittedError: Before ``fit``.
    """
    (wanted,) = parse_all(metric)

    def accuracy(one: LinkPredictor) -> float:
        judged = judge(one, test, (), "realistic", "filtered")
        values, weights = per_fact(wanted, judged.rank, judged.rivals)
        return float((values * weights).sum() / weights.sum())

    def attack(epsilon: float, method: Method, **drawn: Any) -> LinkPredictor:
        return attacked(model, train, epsilon, method, steps=steps, **drawn)

    told = attacks.curve(model, attack, accuracy, LOSSES, epsilons, methods, seeds)
    return to_backend(told, test.backend)


class _Asked(nn.Module):
    """A module whose call is one of its methods, so that it can be called with other tables."""

    def __init__(self, module: nn.Module, method: str) -> None:
        super().__init__()
        self.module, self.method = module, method

    def forward(self, *asked: Any) -> Tensor:
        found: Tensor = getattr(self.module, self.method)(*asked)
        return found


def _rising(
    name: LossName,
    module: TuckerModule | MixedModule,
    queries: Queries,
    batch: AnswerBatch,
    tables: Mapping[str, Tensor],
    generator: torch.Generator,
) -> Callable[..., Float[Tensor, ""]]:
    """The loss of a batch, of the tables that are moved."""
    judged = copy.deepcopy(module).eval()
    (judged.base if isinstance(judged, MixedModule) else judged).objective = SOFTMAX
    asked = _Asked(judged, "loss" if name == "softmax" else "logits")

    def called(moved: Sequence[Tensor], *given: Any) -> Tensor:
        named = {f"module.{n}": table for n, table in zip(tables, moved, strict=True)}
        found: Tensor = functional_call(asked, named, given)
        return found

    if name == "softmax":
        return lambda *moved: called(moved, batch) / len(batch.positive)
    number = queries.number(batch.anchor, batch.relation)[batch.position]
    other = NegativeSampler(queries, 1, generator, shared=False, reject=2).draw(number)[:, 0]
    position, answer = batch.position.repeat(2), torch.cat([batch.positive, other])

    def scores(*moved: Tensor) -> tuple[Tensor, Tensor]:
        both = called(moved, batch.anchor, batch.relation, position, answer)
        known, drawn = both.chunk(2)
        return known, drawn

    return attacks.share_wrong(scores, list(tables.values()), AUC_UNIT)
