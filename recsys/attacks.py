"""Attacks on a recommender's vectors, and what is left of its accuracy under them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from hyperrank import attacks
from hyperrank.attacks import EPSILONS, Method, relative_radii
from hyperrank.batches import NegativeSampler
from hyperrank.devices import seeded
from hyperrank.losses import bpr
from hyperrank.metrics import parse
from hyperrank.pairs import PairSet
from hyperrank.questions import whole
from hyperrank.scorers import Factors
from hyperrank.tables import to_backend
from recsys.interactions import Interactions
from recsys.judging import judge
from recsys.recommender import Recommender
from recsys.triplet import TriplH
from recsys.updatable import UpdatableRecommender

DRAWS_OF_A_PAIR = 16  # on average at most, where a log is smaller than the sample
TRIPLES_AT_ONCE = 2**14  # or as many as users and items: a slope is as large as its table
LossName: TypeAlias = Literal["bpr", "auc"]
LOSSES: tuple[LossName, ...] = get_args(LossName)
Model = TypeVar("Model", bound=Recommender)


class Vectors(NamedTuple):
    """What of a model is moved, and how it becomes the vectors that answer."""

    free: Factors
    users: Callable[[Tensor], Tensor]
    items: Callable[[Tensor], Tensor]


def attacked(
    model: Model,
    log: Interactions,
    epsilon: float,
    method: Method = "pgd",
    *,
    loss: LossName = "bpr",
    steps: int = 10,
    triples: int = 2**18,
    random_state: int = 0,
) -> Model:
    """A copy of ``model`` whose user and item vectors were moved to rank ``log`` badly.

    Every vector moves within a ball of ``epsilon`` times the root mean square length of its table's
    rows; see ``hyperrank.attacks.attacked`` for how. What rises is a loss over triples of ``log``,
    drawn once: a pair, uniformly, and an item that is no pair of its user. With "bpr" it is that of
    BPR, as usual; since it grows without bound, an attack may spend itself on triples that are
    wrong already, and do less harm at a larger ``epsilon``. "auc", one's own, is the mean logistic
    function of the differences, in units of their deviation before the attack: about the share of
    wrong triples. Neither is always the stronger. TriplH's free vectors are moved, then lifted. The
    copy answers; it keeps what the model knows for updates as it was.

    Args:
        model: Fitted; its scores are dot products of vectors.
        log: Most often the training log. Users and items that the model does not know count not.
        epsilon: Relative radius; 0 moves nothing.
        method: "pgd", "fgsm", or "random" as a control.
        loss: What rises, but for "random".
        steps: Of "pgd".
        triples: How many are drawn; at most 16 for each pair.
        random_state: Of what is drawn.

    Returns:
        The copy. Its ``attack_`` holds method, epsilon and both absolute radii.

    Raises:
        TypeError: If the model's scores are no dot products of vectors.
        ValueError: If ``epsilon`` is negative or not finite, a count is less than 1, the method or
            the loss is unknown, or ``log`` has no pair of a known user and a known item.
        NotFittedError: Before ``fit``.
    """
    attacks.check_loss(loss, LOSSES)
    vectors = vectors_of(model)
    tables = vectors.free.queries, vectors.free.candidates
    radii = relative_radii(dict(zip(("user", "item"), tables, strict=True)), epsilon)
    pairs = log.reindex(model.users_, model.items_).pairs.to(model.seen_.device)
    if not len(pairs):
        raise ValueError("no pair of the log has a user and an item of the model; attack another")
    generator = seeded(random_state, pairs.device)
    rising = _rising(loss, vectors, pairs, whole("triples", triples), generator)
    users, items = attacks.attacked(
        rising, tables, list(radii.values()), method, steps=steps, generator=generator
    )
    moved = copy.copy(model)
    if epsilon:
        with torch.no_grad():
            moved.scorer_ = Factors(vectors.users(users), vectors.items(items)).eval()
    vars(moved)["attack_"] = {"method": method, "loss": loss, "epsilon": epsilon, **radii}
    return moved


def vectors_of(model: Recommender) -> Vectors:
    """The vectors that a model learned, and how they answer; TriplH's are free vectors.

    Raises:
        TypeError: If the model's scores are no dot products of vectors.
        NotFittedError: Before ``fit``.
    """
    factors = model._factors()
    if not isinstance(model, UpdatableRecommender):
        return Vectors(factors, _itself, _itself)
    if isinstance(model, TriplH) and model.item_radius:
        raise TypeError(
            "TriplH with item_radius=True has vectors that are not all free; fit it without"
        )
    return Vectors(model._free(factors), model._user_vectors, model._item_vectors)


def accuracy_under_attack(
    model: Recommender,
    train: Interactions,
    test: Interactions,
    epsilons: Sequence[float] = EPSILONS,
    methods: Sequence[Method] = attacks.METHODS,
    metric: str = "ndcg@10",
    seeds: Sequence[int] = (0,),
    *,
    steps: int = 10,
) -> Any:
    """A frame of epsilon, method, value, deviation, user_radius, item_radius; clean first.

    ``value`` is the mean over ``seeds`` of the metric's mean over the users of ``test``, all items
    ranked, seen ones left out, unknown users served the popular items: the least of it over
    both losses of ``attacked``. ``deviation`` is over seeds (NaN of one). The first row is the
    model as it is: epsilon 0, method "clean".

    Args:
        model: Fitted; its scores are dot products of vectors.
        train: Whose triples the attacks use; see ``attacked``.
        test: What is judged.
        epsilons: Radii, relative to the root mean square length of each table's rows.
        methods: Of ``attacked``.
        metric: Of truth, such as "recall@20".
        seeds: Of what is drawn.
        steps: Of "pgd".

    Returns:
        A frame of the kind that ``test`` came in.

    Raises:
        ValueError: If the metric is unknown, nothing is asked, or as ``attacked``.
        TypeError: As ``attacked``.
        NotFittedError: Before ``fit``.
    """
    wanted = parse(metric)

    def accuracy(one: Recommender) -> float:
        hits = judge(one, test, [wanted], exclude_seen=True, unknown="popular").hits
        return wanted.mean(hits, model.seen_)

    def attack(epsilon: float, method: Method, **drawn: Any) -> Recommender:
        return attacked(model, train, epsilon, method, steps=steps, **drawn)

    told = attacks.curve(model, attack, accuracy, LOSSES, epsilons, methods, seeds)
    return to_backend(told, test.backend)


def _rising(
    name: LossName, vectors: Vectors, pairs: PairSet, triples: int, generator: torch.Generator
) -> Callable[[Tensor, Tensor], Float[Tensor, ""]]:
    """The loss over drawn triples, of the vectors that are moved."""
    count = min(triples, DRAWS_OF_A_PAIR * len(pairs))
    spot = torch.randint(len(pairs), (count,), generator=generator, device=pairs.device)
    spot = spot.sort().values  # neighbours read the same rows
    query, positive = pairs.queries[spot], pairs.candidates[spot]
    sampler = NegativeSampler(pairs, 1, generator, shared=False, reject=2)
    negative = sampler.draw(query)[:, 0]
    size = max(TRIPLES_AT_ONCE, pairs.n_queries + pairs.n_candidates)
    pieces = list(zip(*(rows.split(size) for rows in (query, positive, negative)), strict=True))

    def scores(users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        left, right = vectors.users(users), vectors.items(items)
        found = [checkpoint(_products, left, right, *p, use_reentrant=False) for p in pieces]
        liked, other = torch.cat(found, 1)
        return liked, other

    def bpr_loss(users: Tensor, items: Tensor) -> Tensor:
        liked, other = scores(users, items)
        return bpr(liked, other[:, None]) / count

    if name == "bpr":
        return bpr_loss
    return attacks.share_wrong(scores, (vectors.free.queries, vectors.free.candidates))


def _products(
    left: Tensor, right: Tensor, query: Tensor, positive: Tensor, negative: Tensor
) -> Float[Tensor, "2 t"]:
    """Scores of the positives and of the negatives."""
    embedding = nn.functional.embedding  # whose slopes are summed in a fixed order
    user = embedding(query, left)
    return torch.stack([(user * embedding(item, right)).sum(1) for item in (positive, negative)])


def _itself(rows: Tensor) -> Tensor:
    return rows
