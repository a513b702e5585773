"""The tensors of MIG-TF: a TuckER and a hyperbolic term, in one block of logits."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, Self, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from hyperrank.answer_losses import dot_products
from hyperrank.orthogonal import polar
from hyperrank.products import exact_products
from kg.answer_batches import AnswerBatch
from kg.tucker_module import SingleAnswers, TuckerModule, dropped

Origin: TypeAlias = Literal["exact", "authors"]
Number: TypeAlias = float | Float[Tensor, ""]
embedding = nn.functional.embedding


@dataclass(frozen=True)
class MixedShape:
    """Size and options of the hyperbolic term; see ``MIGTF`` for each."""

    dim: int
    curvature: float
    learn_curvature: bool
    origin: Origin
    normalize: bool
    orthonormal_relations: bool
    gate: float
    learn_gate: bool
    point_scale: float
    point_norm: bool
    point_dropout: float
    freeze_base: bool
    freeze_norm: bool


def tetrahedron(
    head: Float[Tensor, "b d"],
    relation: Float[Tensor, "b d"],
    beta: Number,
    origin: Origin,
    *,
    normalize: bool,
) -> tuple[Float[Tensor, "b d_plus_2"], Float[Tensor, " b"]]:
    """What a query brings to ``S/N``: rows that meet those of ``lifted``, and what to add to v0.

    Space parts u, r, v of points of the hyperboloid with time parts x0 = sqrt(beta + |x|^2), and
    its origin o. S is the signed sum of the six edges D(x, y) = x0 y0 - <x, y> - beta of the
    tetrahedron (o, u, r, v), + for (u, r) and (o, v), - for the others. It is half of -<w, w> in
    the Lorentz form, w = u + r - v - o: v closes the parallelogram, and

        S = <u + r, v> - (u0 + r0 - o0) v0 + u0 r0 - <u, r> - o0 (u0 + r0) + 2 beta.

    N = u0 r0 + u0 v0 + r0 v0 = (u0 + r0) (v0 + u0 r0 / (u0 + r0)), and |S/N| < 2 ("exact" origin,
    o0 = sqrt(beta); "authors" has o0 = 1, the same where beta is 1). (Yusupov et al. 2025.)
    """
    u0, r0 = ((beta + x.square().sum(1)).sqrt() for x in (head, relation))
    o0 = 1.0 if origin == "authors" else beta**0.5
    constant = u0 * r0 - (head * relation).sum(1) - o0 * (u0 + r0) + 2 * beta
    rows = torch.cat([head + relation, (o0 - u0 - r0)[:, None], constant[:, None]], 1)
    if not normalize:
        return rows, torch.zeros_like(u0)
    return rows / (u0 + r0)[:, None], u0 * r0 / (u0 + r0)


def lifted(
    answer: Float[Tensor, "n d"], beta: Number
) -> tuple[Float[Tensor, "n d_plus_2"], Float[Tensor, " n"]]:
    """The rows (v, v0, 1) of candidates, and v0."""
    v0 = (beta + answer.square().sum(1)).sqrt()
    return torch.cat([answer, v0[:, None], torch.ones_like(v0)[:, None]], 1), v0


def bounded_products(
    rows: Float[Tensor, "b k"],
    points: Float[Tensor, "c k"],
    shift: Float[Tensor, " b"] | None,
    v0: Float[Tensor, " c"],
) -> Float[Tensor, "b c"]:
    """Products of all rows, over ``shift + v0`` unless that is None; exact, and so are slopes."""
    found: Tensor = _BoundedProducts.apply(rows, points, shift, v0)  # type: ignore[no-untyped-call]
    return found


class _BoundedProducts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, points: Tensor, shift: Tensor | None, v0: Tensor) -> Tensor:
        with exact_products(rows.device):
            found = rows @ points.T
        if shift is not None:
            found /= shift[:, None] + v0
        ctx.save_for_backward(rows, points, shift, v0, found)
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        rows, points, shift, v0, found = ctx.saved_tensors
        of_shift = of_v0 = None
        if shift is not None:
            slope = slope / (shift[:, None] + v0)
            lost = slope * found
            of_shift, of_v0 = -lost.sum(1), -lost.sum(0)
        with exact_products(rows.device):
            return slope @ points, slope.T @ rows, of_shift, of_v0


class MixedModule(SingleAnswers):
    """MIG-TF: logits of a TuckER plus ``gate * S/N`` of hyperbolic points.

    The hyperbolic product stays in float32 whatever the precision of the others.
    """

    def __init__(
        self,
        base: TuckerModule,
        shape: MixedShape,
        generator: torch.Generator,
        point_lr: float | None = None,
    ) -> None:
        super().__init__()
        self.base, self.shape, self.generator = base, shape, generator
        size, device = base.shape, generator.device
        of_points = ("points", "relation_points")
        self.rates = {} if point_lr is None else dict.fromkeys(of_points, point_lr)

        def points(n: int) -> nn.Parameter:
            drawn = torch.randn(n, shape.dim, generator=generator, device=device)
            return nn.Parameter(shape.point_scale * drawn)

        self.points, self.relation_points = points(size.n_entities), points(size.n_relations)
        self.norm = nn.BatchNorm1d(shape.dim, device=device) if shape.point_norm else nn.Identity()
        beta = -1 / shape.curvature  # the softplus of what is learned
        spread = torch.tensor(beta + math.log(-math.expm1(-beta)), device=device)
        self.spread = nn.Parameter(spread, requires_grad=shape.learn_curvature)
        gate = torch.tensor(shape.gate, device=device)
        self.gate = nn.Parameter(gate, requires_grad=shape.learn_gate)
        for name, parameter in base.named_parameters():
            frozen = shape.freeze_norm if name.startswith("norm") else shape.freeze_base
            parameter.requires_grad_(not frozen)

    def train(self, mode: bool = True) -> Self:
        """Switches to training; frozen normalization stays as it is learned."""
        super().train(mode)
        if self.shape.freeze_norm:
            self.base.norm_in.eval()
            self.base.norm_out.eval()
        return self

    @property
    def beta(self) -> Number:
        """-1/curvature."""
        if self.shape.learn_curvature:
            return nn.functional.softplus(self.spread)
        return -1 / self.shape.curvature

    def loss(self, batch: AnswerBatch) -> Float[Tensor, ""]:
        """Sum over the batch, in the units of ``Objective.fit``."""
        self.base.last = batch.anchor, batch.relation
        given = self.base.given(batch.anchor)
        y = self.base.wanted(given, batch.relation)
        queries = (y, *self._query_side(batch.anchor, batch.relation))
        fit = self.base.objective.fit(self._block, queries, self._candidates(), batch)
        if self.shape.freeze_base:
            return fit
        return fit + self.base.penalties(batch, given, y)

    def factors(self) -> tuple[Float[Tensor, "b d"], Float[Tensor, "n d"]]:
        """Those of the TuckER; the hyperbolic term is no product of two tables."""
        return self.base.factors()

    def _query_side(
        self, anchor: Int[Tensor, " b"], relation: Int[Tensor, " b"]
    ) -> tuple[Tensor, Tensor]:
        """Rows of ``tetrahedron`` times the gate, and what is added to v0."""
        table = self.relation_points
        if self.shape.orthonormal_relations:
            table = polar(table)  # type: ignore[assignment]  # rows: there are at most as many
        u, r = self.norm(embedding(anchor, self.points)), self.norm(embedding(relation, table))
        rows, shift = tetrahedron(
            self._dropped(u),
            self._dropped(r),
            self.beta,
            self.shape.origin,
            normalize=self.shape.normalize,
        )
        return self.gate * rows, shift

    def _candidates(self) -> tuple[Tensor, ...]:
        return (self.base.entities, *lifted(self._dropped(self.points), self.beta))

    def _dropped(self, x: Tensor) -> Tensor:
        return dropped(x, self.shape.point_dropout, self.generator) if self.training else x

    def _block(
        self, y: Tensor, rows: Tensor, shift: Tensor, entities: Tensor, points: Tensor, v0: Tensor
    ) -> Tensor:
        term = bounded_products(rows, points, shift if self.shape.normalize else None, v0)
        return dot_products(y, entities).to(term.dtype) + term

    def answering(
        self, anchor: Int[Tensor, " b"], relation: Int[Tensor, " b"]
    ) -> tuple[Float[Tensor, "b d"], Float[Tensor, "n d"]]:
        """As TuckER's, whose products are the logits but for ``hyperbolic_term``."""
        return self.base.answering(anchor, relation)

    def slopes(self, relation: Int[Tensor, " g"]) -> Float[Tensor, "g d d"]:
        """As TuckER's."""
        return self.base.slopes(relation)

    def hyperbolic_term(
        self, anchor: Int[Tensor, " b"], relation: Int[Tensor, " b"]
    ) -> Float[Tensor, "b n"]:
        """What points add to the logits of all entities."""
        rows, shift = self._query_side(anchor, relation)
        points, v0 = self._candidates()[1:]
        return bounded_products(rows, points, shift if self.shape.normalize else None, v0)

    @torch.no_grad()
    def score(self, anchor: Int[Tensor, " b"], relation: Int[Tensor, " b"]) -> Float[Tensor, "b n"]:
        """Logits of all entities as answers."""
        y = self.base.wanted(self.base.given(anchor), relation)
        return self._block(y, *self._query_side(anchor, relation), *self._candidates())

    def logits(
        self,
        anchor: Int[Tensor, " b"],
        relation: Int[Tensor, " b"],
        position: Int[Tensor, " p"],
        answer: Int[Tensor, " p"],
    ) -> Float[Tensor, " p"]:
        """Logits of single answers to the questions at these positions, with their slopes."""
        rows, shift = self._query_side(anchor, relation)
        points, v0 = lifted(embedding(answer, self.points), self.beta)
        term = (embedding(position, rows) * points).sum(1)
        if self.shape.normalize:
            term = term / (embedding(position, shift[:, None]).squeeze(1) + v0)
        return self.base.logits(anchor, relation, position, answer) + term

    def vectors(self) -> Float[Tensor, "n d"]:
        """A vector for each entity: TuckER's, then the space part of its point."""
        return torch.cat([self.base.entities, self.points], 1).detach()
