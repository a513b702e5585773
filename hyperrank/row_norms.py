"""The largest row norm (2 to infinity) and column norm (1 to 2) of a map known by its products."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hyperrank.linear_map import LinearMap, check_estimable
from hyperrank.magnitudes import check_products
from hyperrank.row_estimators import (
    RowEstimates,
    adaptive,
    row_sketch,
    twinest,
    twinest_plus,
    xrownorm,
)

Method = Literal["auto", "exact", "gram", "twinest", "twinest++", "rowsketch", "xrownorm"]
# with the fewest products of each
ESTIMATORS: dict[str, tuple[Callable[[LinearMap, int, torch.Generator], RowEstimates], int]] = {
    "auto": (adaptive, 1),
    "twinest": (twinest, 2),
    "twinest++": (twinest_plus, 6),
    "rowsketch": (row_sketch, 1),
    "xrownorm": (xrownorm, 3),
}
BLOCK = 256  # rows evaluated at once: bounds the memory, not the result


class RowNorm(NamedTuple):
    """The largest row norm found.

    Attributes:
        value: The norm of ``row``, so never above the true maximum but by roundoff; its gradient
            flows through that row.
        row: Where it was found.
        upper: Above the true maximum with probability ``1 - alpha``; equal to ``value`` where
            that is exact, infinite where no ``alpha`` was given.
        rows: At most ``candidates`` of the rows evaluated exactly, the largest, falling; for
            ``warm``.
        products: What was spent.
    """

    value: Float[Tensor, ""]
    row: int
    upper: Float[Tensor, ""]
    rows: Int[Tensor, " c"]
    products: int


def two_to_infinity(
    a: LinearMap,
    budget: int = 64,
    *,
    generator: torch.Generator,
    method: Method = "auto",
    candidates: int = 8,
    alpha: float | None = None,
    warm: Int[Tensor, " w"] | None = None,
) -> RowNorm:
    """The largest row norm: random products rank the rows, the leading ones are evaluated exactly.

    ``method="auto"`` is exact, through the Gram matrix, for a factored map (one product and
    (m + n) r^2 work), and where the budget reaches the smaller side; else
    ``row_estimators.adaptive`` chooses by a pilot. The others do what they are named after: TwINEst
    and TwINEst++ as published (arXiv:2508.04444) are ``candidates=1``; "exact" evaluates all of the
    smaller side whatever the budget. Memory: the sketch, (m + n) ``budget`` numbers.

    Spends at most ``budget`` products, candidates and warm rows included, and one more where
    gradients are recorded.

    Args:
        a: The map, of float32 or float64.
        budget: Most products.
        generator: Source of the probes, on the map's device.
        method: Which estimator ranks the rows.
        candidates: Rows evaluated exactly; at most half of the budget goes there.
        alpha: Probability allowed for ``upper`` to lie below the norm; for "rowsketch", "xrownorm"
            and "auto", whose Gaussian probes bound every row by chi-square; tightest for
            "rowsketch", all of whose products are such probes. None for no bound.
        warm: Rows to evaluate in any case, as ``rows`` of the last training step; repeated ones
            count once. Where they leave too little for a sketch and a candidate, they alone are
            evaluated, the first ``budget`` of them, and ``upper`` is infinite.

    Raises:
        ValueError: If an argument is out of range, a method lacks what it needs, or a product is
            not finite.
    """
    check_estimable(a, generator)
    _check(a, budget, method, candidates, alpha)
    with torch.no_grad():
        if method == "gram" or (method == "auto" and a.factors is not None):
            squares, products = _gram(a), 0
            rows, upper = squares.topk(min(candidates, len(squares))).indices, None
            squares = squares[rows]
        elif method == "exact" or (method == "auto" and budget >= min(a.shape)):
            squares, products = _all_rows(a)
            rows, upper = squares.topk(min(candidates, len(squares))).indices, None
            squares = squares[rows]
        else:
            rows, squares, upper, products = _search(
                a, budget, generator, method, candidates, alpha, warm
            )
        check_products(squares, a.shape)
        order = squares.argsort(descending=True, stable=True)
        rows, squares = rows[order[:candidates]], squares[order[:candidates]]
    row = int(rows[0])
    value = squares[0].sqrt().to(a.dtype)
    if torch.is_grad_enabled():
        image, products = a.rmatmat(_units(a, rows[:1])), products + 1
        size = image.detach().abs().max().clamp_min(torch.finfo(a.dtype).tiny)
        value = torch.linalg.vector_norm(image / size) * size
    top = value.detach() if upper is None else torch.full_like(value, upper, requires_grad=False)
    return RowNorm(value, row, torch.maximum(top, value.detach()), rows, products)


def one_to_two(
    a: LinearMap,
    budget: int = 64,
    *,
    generator: torch.Generator,
    method: Method = "auto",
    candidates: int = 8,
    alpha: float | None = None,
    warm: Int[Tensor, " w"] | None = None,
) -> RowNorm:
    """The largest column norm: ``two_to_infinity`` of the adjoint; ``row`` is the column."""
    return two_to_infinity(
        a.T,
        budget,
        generator=generator,
        method=method,
        candidates=candidates,
        alpha=alpha,
        warm=warm,
    )


def _search(
    a: LinearMap,
    budget: int,
    generator: torch.Generator,
    method: str,
    candidates: int,
    alpha: float | None,
    warm: Tensor | None,
) -> tuple[Tensor, Tensor, float, int]:
    """Rows evaluated, their squared norms, the upper bound and the products."""
    named = [] if warm is None else list(dict.fromkeys(warm.tolist()))
    if named and not 0 <= min(named) <= max(named) < a.shape[0]:
        raise ValueError(
            f"the {len(named)} warm rows run from {min(named)} to {max(named)}, but only "
            f"0..{a.shape[0] - 1} exist"
        )
    kept = torch.tensor(named[:budget], dtype=torch.int64, device=a.device)
    estimator, least = ESTIMATORS[method]
    left = budget - len(kept)
    count = min(candidates, max(left // 2, 1), a.shape[0] - len(kept))
    if named and left - count < least:
        return kept, _squares(a, kept), math.inf, len(kept)
    if left - count < 1:
        raise ValueError(
            f"a budget of {budget} leaves no product to choose rows by; give at least 2"
        )
    found = estimator(a, left - count, generator)
    check_products(found.squares, a.shape)
    ranking = found.squares.index_fill(0, kept, -math.inf)
    rows = torch.cat([ranking.topk(count).indices, kept])
    squares = _squares(a, rows)
    upper = math.inf
    if alpha is not None:
        bounds = found.bounds(alpha).index_copy(0, rows, squares)
        upper = float(bounds.max().sqrt()) * (1 + 8 * torch.finfo(a.dtype).eps)
    return rows, squares, upper, found.products + len(rows)


def _gram(a: LinearMap) -> Tensor:
    """Squared row norms ``u_i^T (v^T v) u_i`` of a factored map, in double precision."""
    assert a.factors is not None
    u, v = (factor.double() for factor in a.factors)
    return ((u @ (v.mT @ v)) * u).sum(1)


def _all_rows(a: LinearMap) -> tuple[Tensor, int]:
    """All squared row norms, from the products with the unit vectors of the smaller side."""
    m, n = a.shape
    if m <= n:
        chunks = torch.arange(m, device=a.device).split(BLOCK)
        return torch.cat([_squares(a, chunk) for chunk in chunks]), m
    total = torch.zeros(m, dtype=torch.float64, device=a.device)
    for chunk in torch.arange(n, device=a.device).split(BLOCK):
        total += a.matmat(_units(a.T, chunk)).double().square().sum(1)
    return total, n


def _squares(a: LinearMap, rows: Tensor) -> Tensor:
    return a.rmatmat(_units(a, rows)).double().square().sum(0)


def _units(a: LinearMap, rows: Tensor) -> Tensor:
    """The unit vectors of R^m that ``rows`` name, as columns."""
    units = torch.zeros(a.shape[0], len(rows), dtype=a.dtype, device=a.device)
    units[rows, torch.arange(len(rows), device=a.device)] = 1
    return units


def _check(a: LinearMap, budget: int, method: str, candidates: int, alpha: float | None) -> None:
    if method not in get_args(Method):
        raise ValueError(f"method is one of {', '.join(get_args(Method))}, got {method!r}")
    if method == "gram" and a.factors is None:
        raise ValueError("method 'gram' needs a map of operators.from_factors; use 'auto'")
    for name, count in (("budget", budget), ("candidates", candidates)):
        if count < 1:
            raise ValueError(f"{name} must be at least 1, got {count}")
    if alpha is None:
        return
    if not 0 < alpha < 1:
        raise ValueError(f"alpha is a probability between 0 and 1, got {alpha}")
    if method in {"twinest", "twinest++"}:
        raise ValueError(
            f"method {method!r} draws no Gaussian probes and has no upper bound; use 'rowsketch', "
            "'xrownorm' or 'auto', or leave alpha out"
        )
