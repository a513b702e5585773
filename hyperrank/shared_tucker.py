"""Third-order tensors of fixed Tucker rank whose first and third modes share a factor (SF-Tucker).

T = core x1 shared x2 other x3 shared, with orthonormal factors: the set is a smooth manifold
(arXiv:2508.20928). Its gradients come from one backward pass, its steps from a truncated
higher-order SVD; nothing of the size of the tensor is made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

# (core, shared, other) to a scalar of their tensor
TuckerLoss = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class SharedTucker:
    """``core x1 shared x2 other x3 shared``; ``orthonormalized`` makes one from any factors."""

    core: Float[Tensor, "r q r"]
    shared: Float[Tensor, "n r"]  # orthonormal columns
    other: Float[Tensor, "p q"]  # orthonormal columns

    def dense(self) -> Float[Tensor, "n p n"]:
        """The tensor itself."""
        return assembled(self.core, self.shared, self.other)


@dataclass(frozen=True, eq=False)
class SharedTuckerTangent:
    """A direction at a point, in coordinates that keep inner products.

    With Q1, Q3 the core's unfoldings along modes 1 and 3, orthonormalized together, and Q2 that
    along mode 2, the direction is core' x (shared, other, shared) + Q1 x1 shared' + Q3 x3 shared' +
    Q2 x2 other', the factors of the point in the modes not named.
    """

    point: SharedTucker
    core: Float[Tensor, "r q r"]
    shared: Float[Tensor, "n r"]  # orthogonal to the point's
    other: Float[Tensor, "p q"]  # orthogonal to the point's

    def factors(
        self,
    ) -> tuple[Float[Tensor, "r2 q2 r2"], Float[Tensor, "n r2"], Float[Tensor, "p q2"]]:
        """Core and factors of twice the ranks whose tensor is this direction."""
        return _doubled(self.point, self.core, self.shared, self.other, 1.0)

    def dense(self) -> Float[Tensor, "n p n"]:
        """The direction as a tensor."""
        return assembled(*self.factors())

    def norm(self) -> Float[Tensor, ""]:
        """Its Frobenius norm."""
        parts = [part.square().sum() for part in (self.core, self.shared, self.other)]
        return torch.stack(parts).sum().sqrt()


def assembled(core: Tensor, shared: Tensor, other: Tensor) -> Tensor:
    """``core x1 shared x2 other x3 shared``."""
    return _times(core, shared, other, shared)


def orthonormalized(
    core: Float[Tensor, "r q r"], shared: Float[Tensor, "n r"], other: Float[Tensor, "p q"]
) -> SharedTucker:
    """The same tensor by orthonormal factors.

    Raises:
        ValueError: If a rank exceeds the size of its mode, or the middle rank the square of the
            shared one, which no tensor of such ranks has.
    """
    r, q = shared.shape[1], other.shape[1]
    if r > len(shared) or q > len(other) or q > r * r:
        raise ValueError(
            f"ranks ({r}, {q}, {r}) need factors of at least as many rows, got {len(shared)} and "
            f"{len(other)}, and a middle rank of at most {r * r}"
        )
    outer, outer_root = torch.linalg.qr(shared)
    inner, inner_root = torch.linalg.qr(other)
    return SharedTucker(assembled(core, outer_root, inner_root), outer, inner)


def gradient(
    loss: TuckerLoss, point: SharedTucker
) -> tuple[Float[Tensor, ""], SharedTuckerTangent]:
    """The loss at a point, and the projection of its gradient on the tangent space.

    Riemannian automatic differentiation (arXiv:2103.14974; with a shared factor, arXiv:2508.20928):
    ``loss`` is called once with a core and factors of twice the ranks that make the point's tensor,
    [core, Q1; Q3; Q2], [shared, Z], [other, Y] at Z = 0, Y = 0. It must be a function of the
    tensor alone. Departure: the core's unfoldings are orthonormalized, so no Gram matrix of the
    core is inverted and a core of lower rank does no harm.

    Costs one forward and backward pass at twice the ranks: eight times the core.

    Raises:
        ValueError: If the loss is not a scalar.
    """
    fixed = SharedTucker(point.core.detach(), point.shared.detach(), point.other.detach())
    leaves = (
        fixed.core.clone().requires_grad_(),
        torch.zeros_like(fixed.shared).requires_grad_(),
        torch.zeros_like(fixed.other).requires_grad_(),
    )
    with torch.enable_grad():
        value = loss(*_doubled(fixed, *leaves, 1.0))
        if value.ndim:
            raise ValueError(f"the loss must be a scalar, got shape {tuple(value.shape)}")
        core, shared, other = torch.autograd.grad(value, leaves, materialize_grads=True)
    shared = shared - fixed.shared @ (fixed.shared.mT @ shared)
    other = other - fixed.other @ (fixed.other.mT @ other)
    return value.detach(), SharedTuckerTangent(fixed, core, shared, other)


def project_factors(
    point: SharedTucker,
    core: Float[Tensor, "a b a"],
    shared: Float[Tensor, "n a"],
    other: Float[Tensor, "p b"],
) -> SharedTuckerTangent:
    """The tangent direction nearest to ``core x1 shared x2 other x3 shared``.

    The gradient of the inner product with that tensor. With ``factors`` of a direction at another
    point this is its transport to this one.
    """

    def inner(their_core: Tensor, their_shared: Tensor, their_other: Tensor) -> Tensor:
        outer, middle = shared.mT @ their_shared, other.mT @ their_other
        return (core * assembled(their_core, outer, middle)).sum()

    return gradient(inner, point)[1]


def retract(tangent: SharedTuckerTangent, step: float = 1.0) -> SharedTucker:
    """A tensor of the point's ranks near ``point + step * tangent``.

    Truncated higher-order SVD, the shared factor from the unfoldings of both its modes side by
    side (arXiv:2508.20928): error at most sqrt(3) times the least possible, and of second order in
    ``step``. Costs O(n r^2 + p q^2) and SVDs of the unfoldings of a core of twice the ranks.
    """
    point, (r, q, _) = tangent.point, tangent.core.shape
    core, shared, other = _doubled(
        point, point.core + step * tangent.core, tangent.shared, tangent.other, step
    )
    outer, outer_root = torch.linalg.qr(shared)
    inner, inner_root = torch.linalg.qr(other)
    core = assembled(core, outer_root, inner_root)
    both = torch.cat([_unfolded(core, 0), _unfolded(core, 2)], 1)
    keep_outer = torch.linalg.svd(both, full_matrices=False).U[:, :r]
    core = torch.einsum("abc,ai,ck->ibk", core, keep_outer, keep_outer)
    keep_inner = torch.linalg.svd(_unfolded(core, 1), full_matrices=False).U[:, :q]
    core = torch.einsum("abc,bj->ajc", core, keep_inner)
    return SharedTucker(core, outer @ keep_outer, inner @ keep_inner)


def _doubled(
    point: SharedTucker, core: Tensor, shared: Tensor, other: Tensor, step: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The tensor of ``core`` and ``step`` times the two factor parts, with factors side by side."""
    first, middle, third = _orthonormal_unfoldings(point.core)
    nothing = torch.zeros_like(core)
    rows = [  # of the first mode, halves of the third side by side
        torch.cat([core, step * third], 2),
        torch.cat([step * first, nothing], 2),
    ]
    more = torch.cat([step * middle, nothing], 2)
    whole = torch.cat([torch.cat(rows), torch.cat([more, torch.zeros_like(more)])], 1)
    return whole, torch.cat([point.shared, shared], 1), torch.cat([point.other, other], 1)


def _orthonormal_unfoldings(core: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Cores (Q1, Q2, Q3): rows of [Q1 unfolded, Q3 unfolded] orthonormal, and rows of Q2 unfolded.

    Their spans contain the rows of the core's own unfoldings.
    """
    r, q = core.shape[:2]
    both = torch.cat([_unfolded(core, 0), _unfolded(core, 2)], 1)
    rows = torch.linalg.qr(both.mT).Q.mT
    middle = torch.linalg.qr(_unfolded(core, 1).mT).Q.mT
    first = rows[:, : q * r].reshape(r, q, r)
    third = rows[:, q * r :].reshape(r, r, q).permute(1, 2, 0)
    return first, middle.reshape(q, r, r).transpose(0, 1), third


def _unfolded(core: Tensor, mode: int) -> Tensor:
    """The modes but one side by side, in their order: (size of the mode, the others' product)."""
    return core.movedim(mode, 0).flatten(1)


def _times(core: Tensor, first: Tensor, second: Tensor, third: Tensor) -> Tensor:
    """``core x1 first x2 second x3 third``."""
    return torch.einsum("abc,ia,jb,kc->ijk", core, first, second, third)
