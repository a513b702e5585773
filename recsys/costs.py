"""What the fit of each model allocates and does, counted from its code.

A count is a sum over the largest arrays that live at the same time. ``tests/test_plan.py`` holds
the memory counts against measured fits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from hyperrank import devices
from hyperrank.neighbours import PRODUCTS_PER_BLOCK

SKEW = (
    4  # squared degrees over those of equal users, where only sizes are known; 2 to 6 in our logs
)
LONG, SINGLE = 8, 4  # bytes of int64 and float32
ROWS_AT_ONCE = 2048  # of a dense Gram matrix while EASE fills it


class Sizes(NamedTuple):
    """How large a log is."""

    n_users: int
    n_items: int
    n_pairs: int
    squares: int = 0  # sum of the users' squared numbers of items; 0 where it is not known

    @property
    def work(self) -> int:
        """Multiply-adds of R^T R."""
        return self.squares or SKEW * self.n_pairs**2 // max(self.n_users, 1)

    @property
    def rows(self) -> int:
        """Users and items."""
        return self.n_users + self.n_items


@dataclass(frozen=True)
class Cost:
    """Bytes by phase and part, and the operations of a whole fit."""

    phases: dict[str, dict[str, float]]
    flops: float  # of dense products
    moved: float  # bytes gathered from and written to large arrays
    advice: str
    on_host: frozenset[str] = frozenset()  # phases in main memory whatever the model's device

    def on(self, host: bool) -> Cost | None:
        """Only the phases that run in main memory whatever the device, or only the others."""
        kept = {
            name: parts for name, parts in self.phases.items() if host == (name in self.on_host)
        }
        return replace(self, phases=kept) if kept else None

    @property
    def parts(self) -> dict[str, int]:
        """Bytes by part in the phase that needs most."""
        most = max(self.phases.values(), key=lambda parts: sum(parts.values()))
        return {name: int(size) for name, size in most.items()}

    @property
    def peak(self) -> int:
        """Bytes in the phase that needs most."""
        return sum(self.parts.values())

    @property
    def largest(self) -> tuple[str, int]:
        """The largest part of that phase."""
        parts = self.parts
        name = max(parts, key=lambda one: parts[one])
        return name, parts[name]


def cost_of(model: Any, sizes: Sizes) -> Cost:
    """The cost of ``model.fit`` on a log of these sizes.

    Raises:
        ValueError: If the model is not one that is counted here.
    """
    name = type(model).__name__
    if name not in COUNTS:
        raise ValueError(f"no plan is known for {name}; known are {', '.join(COUNTS)}")
    return COUNTS[name](model, sizes)


def _pairs(sizes: Sizes) -> dict[str, float]:
    """The pair set's own columns, made when first asked for."""
    return {"columns of the pairs": 2 * LONG * sizes.n_pairs + LONG * sizes.rows}


def _scipy(sizes: Sizes) -> float:
    """R and its transpose for SciPy: values, column numbers, and a column in transit."""
    return sizes.n_pairs * (2 * (SINGLE + LONG) + LONG)


def _gram_block(sizes: Sizes) -> float:
    """A block of R^T R with the keys that sort it."""
    return min(sizes.work, PRODUCTS_PER_BLOCK, sizes.n_items**2) * (SINGLE + LONG + 3 * LONG)


def _neighbours(sizes: Sizes, k: int) -> dict[str, float]:
    return {
        **_pairs(sizes),
        "sparse matrices": _scipy(sizes),
        "blocks of co-occurrences": _gram_block(sizes),
        "neighbours": sizes.n_items * k * (LONG + SINGLE),
    }


def _subspace(sizes: Sizes, dim: int) -> dict[str, float]:
    width = dim + 10  # oversampling of the randomized SVD
    return {
        **_pairs(sizes),
        "sparse matrices": sizes.n_pairs * 2 * (LONG + SINGLE) + LONG * sizes.n_pairs,
        "bases of the SVD": 3 * SINGLE * width * sizes.rows,
    }


def _subspace_work(sizes: Sizes, dim: int, iterations: int) -> tuple[float, float]:
    """Flops of the QR factorizations, bytes of the sparse products."""
    width, turns = dim + 10, 2 * iterations + 2
    # tall QR runs at about a fifth of the rate of a product; each turn does one of either side
    flops = 5 * 4 * turns * sizes.rows / 2 * width**2
    return flops, turns * sizes.n_pairs * width * SINGLE


def _popularity(model: Any, sizes: Sizes) -> Cost:
    del model
    moved = 4 * LONG * sizes.n_pairs
    phases = {"count": {**_pairs(sizes), "column in transit": LONG * sizes.n_pairs}}
    return Cost(phases, 0, moved, "give a smaller log", frozenset(phases))


def _item_knn(model: Any, sizes: Sizes) -> Cost:
    phases = {"neighbours": _neighbours(sizes, min(model.neighbours, sizes.n_items))}
    advice = "lower neighbours, or drop rare users and items with a k-core"
    return Cost(phases, 0, _gram_moves(sizes), advice, frozenset(phases))


def _gram_moves(sizes: Sizes) -> float:
    """Each multiply-add of R^T R scatters a number, and its entry is weighed and sorted."""
    return 700 * sizes.work


def _ease(model: Any, sizes: Sizes) -> Cost:
    n = min(model.max_items or sizes.n_items, sizes.n_items)
    double = model.dtype == "float64"
    matrix = n**2 * (2 * SINGLE + SINGLE if double else SINGLE)
    block = min(ROWS_AT_ONCE * n, sizes.work) * (SINGLE + LONG)
    parts = {
        **_pairs(sizes),
        "the items x items matrix": matrix,
        "blocks of co-occurrences": block,
        "sparse matrices": _scipy(sizes),
    }
    phases = {"inverse": parts}
    if devices.resolve(model.device).type == "cuda":
        phases = {"gram": parts, "inverse": {"three items x items matrices": 3 * matrix}}
    advice = "set max_items, or use ItemKNN, which never makes that matrix"
    flops = (4 if double else 2) * n**3
    return Cost(phases, flops, 16 * sizes.work, advice, frozenset({"gram"}))


def _pure_svd(model: Any, sizes: Sizes) -> Cost:
    flops, moved = _subspace_work(sizes, model.dim, model.iterations)
    return Cost({"svd": _subspace(sizes, model.dim)}, flops, moved, "lower dim")


def _ultragcn(model: Any, sizes: Sizes) -> Cost:
    dim = model.dim
    n_rows = sizes.n_users if model.batch_by == "users" else sizes.n_pairs
    rows_of_batch = min(model.rows_a_step(n_rows), n_rows)
    pool = model.negatives
    if model.shared_negatives and not model.negative_power:
        pool = min(pool, sizes.n_items)
    mean = sizes.n_pairs / max(sizes.n_users, 1) if model.batch_by == "users" else 1
    near = model.item_neighbours if model.item_weight else 0
    positives = rows_of_batch * mean * (1 + near)
    touched = min(positives + pool, sizes.n_items) + rows_of_batch
    scores = rows_of_batch * pool * (1 if model.shared_negatives else dim)
    tables = {"tables of vectors and their moments": 4 * SINGLE * dim * sizes.rows}
    training = {
        **_pairs(sizes),
        **tables,
        "neighbours": sizes.n_items * near * (LONG + SINGLE),
        "a batch": 8 * SINGLE * scores + SINGLE * dim * (2 * positives + 6 * touched),
    }
    phases = {"training": training}
    flops = moved = 0.0
    if near:
        phases["neighbours"] = _neighbours(sizes, near)
        moved += _gram_moves(sizes)
    if model.init == "spectral":
        phases["spectral start"] = _subspace(sizes, dim)
        flops, more = _subspace_work(sizes, dim, 4)
        moved += more
    steps = model.epochs * n_rows / rows_of_batch
    flops += steps * 6 * rows_of_batch * pool * dim
    moved += steps * SINGLE * (8 * scores + dim * (4 * positives + 14 * touched))
    advice = "lower dim, or drop rare users and items with a k-core"
    return Cost(phases, flops, moved, advice, frozenset({"neighbours"}))


def _triplh(model: Any, sizes: Sizes) -> Cost:
    dim = model.dim
    by_users = model.batch_by == "users"
    n_rows = sizes.n_users if by_users else sizes.n_pairs
    rows_of_batch = min(model.rows_a_step(n_rows), n_rows)
    positives = rows_of_batch * (sizes.n_pairs / max(sizes.n_users, 1) if by_users else 1)
    pool = {"gumbel": model.pool, "released": sizes.n_items}.get(model.sampler, model.negatives)
    pool = min(pool, sizes.n_items)
    by_pairs = model.loss != "softmax" or model.item_weight
    own = not model.shared_negatives or model.sampler in ("gumbel", "released")
    each = min(model.negatives, pool) * (dim if own or model.loss == "tetrahedron" else 1)
    scores = rows_of_batch * pool + (positives if by_pairs else rows_of_batch) * each
    touched = min(positives + (rows_of_batch if own else 1) * pool, sizes.n_items) + rows_of_batch
    training = {
        **_pairs(sizes),
        "tables of vectors and their moments": 4 * SINGLE * dim * sizes.rows,
        "a batch": 4 * SINGLE * scores + SINGLE * dim * (5 * positives + 10 * touched),
    }
    steps = model.epochs * n_rows / rows_of_batch
    flops = steps * 6 * rows_of_batch * pool * dim
    moved = steps * SINGLE * (10 * scores + dim * (10 * positives + 20 * touched))
    advice = "lower dim, batch_size or negatives, or drop rare users and items with a k-core"
    return Cost({"training": training}, flops, moved, advice)


def _bprmf(model: Any, sizes: Sizes) -> Cost:
    batch = min(model.batch_size, sizes.n_pairs)
    drawn = batch * (2 + model.negatives)
    parts = {
        **_pairs(sizes),
        "tables of vectors and their moments": 4 * SINGLE * model.dim * sizes.rows,
        "the order of the pairs": LONG * sizes.n_pairs,
        "a batch": 8 * SINGLE * model.dim * drawn,
    }
    steps = model.epochs * sizes.n_pairs / batch
    moved = steps * SINGLE * model.dim * drawn * 20
    advice = "lower dim, or drop rare users and items with a k-core"
    return Cost({"training": parts}, 0, moved, advice)


def _implicit(model: Any, sizes: Sizes, moved: float, flops: float) -> Cost:
    parts = {
        **_pairs(sizes),
        "sparse matrices": _scipy(sizes),
        "tables of vectors": 3 * SINGLE * model.dim * sizes.rows,
    }
    return Cost({"training": parts}, flops, moved, "lower dim", frozenset({"training"}))


def _implicit_als(model: Any, sizes: Sizes) -> Cost:
    solves = 4  # three steps of conjugate gradients and the residual before them
    once = solves * 2 * sizes.n_pairs * model.dim * SINGLE  # both sides
    dense = solves * 2 * sizes.rows * model.dim**2
    return _implicit(model, sizes, model.iterations * once, model.iterations * dense)


def _implicit_bpr(model: Any, sizes: Sizes) -> Cost:
    moved = model.iterations * sizes.n_pairs * 6 * model.dim * SINGLE
    return _implicit(model, sizes, moved, 0)


COUNTS: dict[str, Callable[[Any, Sizes], Cost]] = {
    "UltraGCN": _ultragcn,
    "TriplH": _triplh,
    "BPRMF": _bprmf,
    "EASE": _ease,
    "ItemKNN": _item_knn,
    "PureSVD": _pure_svd,
    "SquaredUltraGCN": _pure_svd,
    "ImplicitALS": _implicit_als,
    "ImplicitBPR": _implicit_bpr,
    "Popularity": _popularity,
}
