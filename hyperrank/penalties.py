"""Penalties on norms of what a module learns: what an adversary can gain from a small change.

Each is a value for the ``penalty`` of ``hyperrank.training.train``, which multiplies it by the
positive pairs of a batch: ``weight`` is the strength of the norm beside the loss of one pair.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from hyperrank import operators
from hyperrank.devices import seeded
from hyperrank.norms import two_to_infinity
from hyperrank.products import exact_products
from hyperrank.tensor_norms import ascended, injective

FIRST, NEXT = 50, 2  # power iterations of a first call, and of one that starts where it was left
TINY = torch.finfo(torch.float32).tiny
NAMES = ("cvar", "rows", "frobenius", "factors", "spectral", "injective")


@runtime_checkable
class Factored(Protocol):
    """A module whose scores are the products of the rows of two tables."""

    def factors(self) -> tuple[Float[Tensor, "m d"], Float[Tensor, "n d"]]:
        """Both tables, differentiable; a parameter itself where the table is one."""
        ...


@dataclass
class Run:
    """What a penalty remembers of a module between its calls."""

    calls: int = 0
    warm: tuple[Tensor, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Periodic(ABC):
    """A penalty that is evaluated at each ``every``-th call of a module, times ``every``; else 0.

    Attributes:
        weight: Strength of the norm beside the loss of one positive pair.
        every: Calls for one evaluation; the first call is one.

    Raises:
        ValueError: If a setting is out of its range.
    """

    weight: float
    every: int = 1
    _runs: WeakKeyDictionary[Any, Run] = field(
        default_factory=WeakKeyDictionary, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        if not 0 <= self.weight < math.inf:
            raise ValueError(f"weight must be finite and not negative, got {self.weight}")
        if self.every < 1:
            raise ValueError(f"every must be at least 1 call, got {self.every}")

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_runs"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _runs=WeakKeyDictionary())

    def __call__(self, module: Any) -> Float[Tensor, ""]:
        """What is added to the loss for each positive pair."""
        run = self._runs.setdefault(module, Run())
        run.calls += 1
        device = next(module.parameters()).device
        if (run.calls - 1) % self.every:
            return torch.zeros((), device=device)
        with exact_products(device):
            return self.weight * self.every * self.norm(module, run)

    @abstractmethod
    def norm(self, module: Any, run: Run) -> Float[Tensor, ""]:
        """What is penalized, of the tables as they are now; ``run.warm`` is this method's own."""


@dataclass(frozen=True, kw_only=True)
class LargestRows(Periodic):
    """A penalty of the largest of some rows.

    Attributes:
        share: Part of the rows, at least one of them.
    """

    share: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.share <= 1:
            raise ValueError(f"share is a part of the rows between 0 and 1, got {self.share}")

    def count(self, rows: int) -> int:
        """How many of so many rows."""
        return max(math.ceil(self.share * rows), 1)


@dataclass(frozen=True, kw_only=True)
class ScoreRows(LargestRows):
    """Mean of the largest squared row norms of the score matrix left @ right.T.

    ``share`` 0 is the squared two-to-infinity norm, 1 the squared Frobenius norm over the rows, and
    what lies between, the mean over the top of the rows, is a conditional value at risk. Exact, in
    float32, through right.T @ right: (2 m + 4 n) d^2 operations for m and n rows of size d. There
    is no factor of 1/2: the gradient in a chosen row is 2 weight row (right.T @ right) / count.

    Of the left table only the chosen rows get a gradient, on a CPU a sparse one where the table is
    a parameter; that of the right table is dense, which with ``hyperrank.optim.RowAdam`` costs a
    step of the whole table, and is why ``every`` matters.
    """

    share: float = 0.05

    def norm(self, module: Any, run: Run) -> Float[Tensor, ""]:
        """The mean over the rows that are largest now."""
        del run
        left, right = _factors(module)
        gram, count = right.mT @ right, self.count(len(left))
        if count < len(left):
            with torch.no_grad():
                rows = ((left @ gram) * left).sum(1).topk(count).indices
            left = _rows(left, rows)
        return ((left @ gram) * left).sum() / count


@dataclass(frozen=True, kw_only=True)
class FactorRows(Periodic):
    """Sum of both tables' squared two-to-infinity norms: at least twice the largest score.

    It is least where both are the square root of the max-norm of the score matrix. Costs 2 (m + n)
    d operations; one row of either table gets a gradient, a sparse one as in ``ScoreRows``.
    """

    def norm(self, module: Any, run: Run) -> Float[Tensor, ""]:
        """The squares of the longest rows."""
        del run
        left, right = (
            _rows(table, table.detach().square().sum(1).argmax(0, keepdim=True)).square().sum()
            for table in _factors(module)
        )
        return left + right


@dataclass(frozen=True, kw_only=True)
class Spectral(Periodic):
    """Squared spectral norm of a matrix, from below, by a power iteration that goes on.

    The vector is kept between calls: the first makes 50 iterations from a random one, a later call
    two. Each costs 4 m n operations; the gradient is dense, of rank one.

    Attributes:
        table: Name of a parameter, its rows as they are and other axes flattened; None for the
            right one of the ``factors()``.
    """

    table: str | None = None

    def norm(self, module: Any, run: Run) -> Float[Tensor, ""]:
        """|A v|^2 at the vector reached, which is not differentiated."""
        table = _factors(module)[1] if self.table is None else module.get_parameter(self.table)
        matrix = table.flatten(1)
        with torch.no_grad():
            random = torch.ones_like(matrix[0]).normal_(generator=seeded(0, matrix.device))
            vector = run.warm[0] if run.warm else random
            for _ in range(NEXT if run.warm else FIRST):
                image = matrix.mT @ (matrix @ vector)
                size = image.norm()
                vector = torch.where(size > 0, image / size.clamp_min(TINY), vector)
        run.warm = (vector,)
        return (matrix @ vector).square().sum()


@dataclass(frozen=True, kw_only=True)
class Injective(Periodic):
    """Squared injective norm of a core of three axes, from below: what unit vectors make of it.

    ``tensor_norms.injective`` at the first call, whose vectors then go on by two sweeps of the
    higher-order power method a call, 6 a b c operations each; the gradient is dense, of rank one.

    Attributes:
        table: Name of a parameter of three axes, or of two with rows that are square matrices.
    """

    table: str

    def norm(self, module: Any, run: Run) -> Float[Tensor, ""]:
        """T(x, y, z)^2 at the vectors reached, which are not differentiated."""
        core: Tensor = module.get_parameter(self.table)
        if core.ndim == 2:
            core = core.view(len(core), math.isqrt(core.shape[1]), -1)
        if core.ndim != 3:
            raise ValueError(f"a core has three axes, got {self.table} of {tuple(core.shape)}")
        if run.warm:
            run.warm = ascended(core.detach(), *run.warm[1:], iterations=NEXT)
        else:
            run.warm = injective(core.detach(), generator=seeded(0, core.device)).vectors
        return torch.einsum("abc,a,b,c->", core, *run.warm).square()


@dataclass(frozen=True, kw_only=True)
class JacobianRows(Periodic):
    """Squared two-to-infinity norm of a scorer's Jacobian, from below, without forming it.

    ``norms.two_to_infinity`` chooses the row without gradients, in ``budget`` passes of the scorer,
    those that were largest at the last call among its candidates; then one reverse pass of that
    row, through which the gradient goes (a double backward). Costs ``budget`` + 3 passes.

    Attributes:
        scorer: From the module and the inputs, scores; pure: no dropout, no state.
        inputs: From the module, where the Jacobian is taken; they get no gradient. Rows of a batch
            are scored side by side, and the norm is that of the largest row of any.
        budget: Most products.
    """

    scorer: Callable[[Any, Tensor], Tensor]
    inputs: Callable[[Any], Tensor]
    budget: int = 32

    def norm(self, module: Any, run: Run) -> Float[Tensor, ""]:
        """The square of the norm of the row found."""
        point = self.inputs(module).detach()
        a = operators.jacobian(lambda x: self.scorer(module, x), point)
        warm: Int[Tensor, " w"] | None = run.warm[0] if run.warm else None
        generator = seeded(run.calls, point.device)
        found = two_to_infinity(a, self.budget, generator=generator, warm=warm)
        run.warm = (found.rows,)
        return found.value.square()


def named(name: str, weight: float, *, core: str | None = None) -> Periodic:
    """The penalty of that name, evaluated so seldom that an epoch takes at most 15% longer.

    "cvar" is ``ScoreRows`` of the top 5% of the rows, "rows" of one, "frobenius" of all; "factors"
    is ``FactorRows``. "spectral" and "injective" are of the parameter ``core``; without one,
    "spectral" is of the right table, and there is no "injective".

    Raises:
        ValueError: If there is no such name, or it needs a core.
    """
    made: dict[str, Callable[[], Periodic]] = {
        "cvar": lambda: ScoreRows(weight=weight, every=8),
        "rows": lambda: ScoreRows(weight=weight, every=8, share=0.0),
        "frobenius": lambda: ScoreRows(weight=weight, every=8, share=1.0),
        "factors": lambda: FactorRows(weight=weight, every=2),
        "spectral": lambda: Spectral(weight=weight, every=8, table=core),
    }
    if core is not None:
        made["injective"] = lambda: Injective(weight=weight, every=8, table=core)
    if name not in made:
        why = "of a module with a core " if name in NAMES else ""
        raise ValueError(f"there is no penalty {name!r} {why}here; known are {', '.join(made)}")
    return made[name]()


def _factors(module: Any) -> tuple[Tensor, Tensor]:
    if not isinstance(module, Factored):
        raise TypeError(
            f"{type(module).__name__} gives no factors(): two tables whose products are its scores"
        )
    return module.factors()


def _rows(table: Tensor, rows: Int[Tensor, " c"]) -> Tensor:
    sparse = table.is_leaf and table.device.type == "cpu"
    return nn.functional.embedding(rows, table, sparse=sparse)
