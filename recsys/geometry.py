"""Is hyperbolic space worth it for a log? Two descriptions of it, and a measured answer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hyperrank.devices import seeded
from hyperrank.pairs import PairSet, pair_set
from recsys.evaluation import compare
from recsys.interactions import Interactions
from recsys.triplet import TriplH
from recsys.triplet_scores import GeometryName

# scales to choose from: what a unit of each score is worth in a softmax differs
CURVED: dict[GeometryName, tuple[float, ...]] = {"triangle": (6.0, 8.0), "lorentzian": (0.5, 1.5)}
FLAT: dict[GeometryName, tuple[float, ...]] = {"cosine": (5.0, 7.0), "inner": (0.7, 1.5)}
SURE = 0.05  # largest p-value of a difference that is called one
LEAST_USERS = 20


class Interval(NamedTuple):
    """A value and the ends of its 95% interval."""

    value: float
    low: float
    high: float


def relative_delta(distances: Float[Tensor, "n n"]) -> float:
    """Gromov's delta at the first point, twice, over the diameter: 0 for a tree, at most 1.

    By the largest entry of (A o A) - A, with A the Gromov products and o the max-min product
    (Fournier, Ismail, Vigneron 2015); at another base delta is at most twice this. Costs n^3.
    Equal distances are a star, hence 0 too: a sparse log looks like a tree whatever it holds.
    """
    base = distances[0]
    products = (base[:, None] + base - distances) / 2
    widest = max(float((torch.minimum(row, products).amax(1) - row).max()) for row in products)
    return 2 * widest / max(float(distances.max()), torch.finfo(distances.dtype).tiny)


def sampled_delta(
    pairs: PairSet, generator: torch.Generator, *, points: int = 100, samples: int = 20
) -> Interval:
    """Mean ``relative_delta`` over samples of items, with a normal interval of that mean.

    The distance of two items is that of their unit vectors of users, sqrt(2 - 2 cosine). Items
    without a pair are left out.
    """
    matrix = pairs.transpose().to_scipy()
    known = (pairs.candidate_degrees > 0).nonzero()[:, 0].cpu()
    found = []
    for _ in range(samples):
        rows = known[torch.randperm(len(known), generator=generator)[:points]]
        part = matrix[rows.numpy()]
        size = torch.from_numpy(part.sum(1)).double().sqrt()
        cosine = torch.from_numpy((part @ part.T).toarray()).double() / size / size[:, None]
        found.append(relative_delta((2 - 2 * cosine).clamp_min(0).sqrt()))
    values = torch.tensor(found)
    error = 1.96 * float(values.std()) / math.sqrt(samples)
    mean = float(values.mean())
    return Interval(mean, mean - error, mean + error)


def shuffled(pairs: PairSet, generator: torch.Generator) -> PairSet:
    """The same users' numbers and nearly the same items' popularity, without any taste."""
    order = torch.randperm(len(pairs), generator=generator)
    return pair_set(
        pairs.queries,
        pairs.candidates[order],
        n_queries=pairs.n_queries,
        n_candidates=pairs.n_candidates,
    )


def tail_index(degree: Int[Tensor, " n"], share: float = 0.1) -> Interval:
    """Hill's estimate of the power of the tail of P(degree > x), from the largest ``share``.

    Small is heavy: below 2 the variance is infinite. The interval is estimate (1 +- 1.96/sqrt(k)).
    """
    ordered = degree[degree > 0].double().sort(descending=True).values
    k = min(max(int(share * len(ordered)), 1), len(ordered) - 1)
    excess = float((ordered[:k] / ordered[k]).log().mean()) if k else 0.0
    value = 1 / excess if excess else math.inf
    error = 1.96 * value / math.sqrt(max(k, 1)) if math.isfinite(value) else 0.0
    return Interval(value, value - error, value + error)


@dataclass(frozen=True)
class Verdict:
    """What was found.

    Attributes:
        worth: Whether a hyperbolic score was better than both flat twins, beyond chance.
        sentence: The verdict in words.
        geometry, dim, scale: Recommended for ``TriplH``: the best on the validation part.
        delta, delta_shuffled: Sampled hyperbolicity of the log and of the log without its taste.
        item_tail: Power of the tail of item popularity.
        rows: Each geometry's best setting, its NDCG@20 on the test part, the difference to the best
            flat one and the p-value of that.
    """

    worth: bool
    sentence: str
    geometry: str
    dim: int
    scale: float
    delta: Interval
    delta_shuffled: Interval
    item_tail: Interval
    rows: list[dict[str, Any]]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, intervals as [value, low, high]."""
        return {key: list(v) if isinstance(v, Interval) else v for key, v in asdict(self).items()}


def assess(
    log: Interactions,
    *,
    users: int = 2000,
    dims: tuple[int, ...] = (16, 64),
    epochs: int = 20,
    random_state: int = 0,
) -> Verdict:
    """Whether hyperbolic scores beat their flat twins on a sample of the log's users.

    Every geometry gets the same loop, dimensions and number of scales; the best setting of each is
    chosen on 10% of the sample's training pairs and judged on 20% of its pairs, with a paired test
    against the better of cosine and inner product, corrected by Holm's rule.

    Raises:
        ValueError: If the log has fewer than 20 users with 5 items.
    """
    generator = seeded(random_state)
    sample = _sampled(log, users, generator)
    train, test = sample.split_random(0.2, random_state=random_state)
    fit_on, held_out = train.split_random(0.1, random_state=random_state)
    start = TriplH(epochs=epochs, evaluate_every=5, patience=2, random_state=random_state)
    best: dict[GeometryName, TriplH] = {}
    reached: dict[GeometryName, float] = {}
    for geometry, scales in (CURVED | FLAT).items():
        tried = [
            replace(start, geometry=geometry, dim=dim, scale=scale).fit(fit_on, held_out)
            for dim in dims
            for scale in scales
        ]
        looks = [max(value for _, value in one.validation_history_) for one in tried]
        reached[geometry] = max(looks)
        best[geometry] = tried[looks.index(reached[geometry])]
    flat = max(FLAT, key=lambda name: reached[name])
    frame = compare(
        {str(name): model for name, model in best.items()}, test, "ndcg@20", baseline=flat
    )
    rows = [
        {
            "geometry": row["model"],
            "dim": best[row["model"]].dim,
            "scale": best[row["model"]].scale,
            "validation": reached[row["model"]],
            "ndcg@20": row["value"],
            "difference": row["difference"],
            "p": None if row["model"] == flat else row["p_adjusted"],
        }
        for row in frame.to_dict("records")
    ]
    curved = max((row for row in rows if row["geometry"] in CURVED), key=lambda r: r["validation"])
    first = max(reached, key=lambda name: reached[name])
    worth = curved["difference"] > 0 and curved["p"] < SURE
    return Verdict(
        worth=worth,
        sentence=_sentence(worth, curved, flat, best),
        geometry=first,
        dim=best[first].dim,
        scale=best[first].scale,
        delta=sampled_delta(sample.pairs, generator),
        delta_shuffled=sampled_delta(shuffled(sample.pairs, generator), generator),
        item_tail=tail_index(log.pairs.candidate_degrees),
        rows=rows,
    )


def _sampled(log: Interactions, users: int, generator: torch.Generator) -> Interactions:
    """The pairs of some users with at least 5 items, with no other users and items."""
    active = (log.pairs.query_degrees >= 5).nonzero()[:, 0]
    if len(active) < LEAST_USERS:
        raise ValueError(
            f"{len(active)} users have 5 items or more, but {LEAST_USERS} are needed to measure "
            "anything; give a longer log"
        )
    chosen = active[torch.randperm(len(active), generator=generator)[:users]]
    mask = torch.zeros(log.n_users, dtype=torch.bool)
    mask[chosen] = True
    kept = log.pairs.select(mask[log.pairs.queries])
    (_, user), (items, item) = (
        torch.unique(rows, return_inverse=True) for rows in (kept.queries, kept.candidates)
    )
    return Interactions.from_pairs(
        pair_set(user, item, n_queries=len(chosen), n_candidates=len(items))
    )


def _sentence(worth: bool, curved: dict[str, Any], flat: str, best: Mapping[Any, TriplH]) -> str:
    name, gap, p = curved["geometry"], curved["difference"], curved["p"]
    what = f"NDCG@20 {gap:+.4f} of {name} (dim {curved['dim']}) over {flat} (dim {best[flat].dim})"
    if worth:
        return f"yes: {what}, p {p:.2g}; use geometry={name}"
    if p < SURE:
        return f"no: {what}, p {p:.2g}; use geometry={flat}"
    return f"no: {what} may be chance, p {p:.2g}; geometry={flat} is simpler"
