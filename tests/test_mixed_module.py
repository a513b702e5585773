"""MIG-TF's hyperbolic term: its identities and limits, and the module that adds it to TuckER."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hyperrank.hyperbolic import squared_lorentzian
from hyperrank.products import reduced_products
from kg.answer_batches import AnswerBatch, Objective
from kg.mixed_module import MixedModule, MixedShape, bounded_products, lifted, tetrahedron
from kg.tucker_module import TuckerModule, TuckerShape
from reference_kg import edges_plain

N, M, D = 9, 3, 5  # entities, directed relations, size of a point
BETAS = (0.3, 1.0, 1.3, 20.0)
SHAPE = MixedShape(
    dim=D,
    curvature=-1 / 1.3,
    learn_curvature=False,
    origin="exact",
    normalize=True,
    orthonormal_relations=False,
    gate=1.0,
    learn_gate=False,
    point_scale=0.5,
    point_norm=True,
    point_dropout=0.0,
    freeze_base=True,
    freeze_norm=True,
)


def points(generator: torch.Generator, size: float = 1.0, b: int = 50) -> tuple[Tensor, ...]:
    drawn = torch.randn(3, b, D, dtype=torch.float64, generator=generator)
    return tuple(size * drawn)


def term(u: Tensor, r: Tensor, v: Tensor, beta: float, **options: Any) -> Tensor:
    """S/N, or S, of aligned points."""
    rows, shift = tetrahedron(
        u, r, beta, options.get("origin", "exact"), normalize=options.get("normalize", True)
    )
    right, v0 = lifted(v, beta)
    product = (rows * right).sum(1)
    return product / (shift + v0) if options.get("normalize", True) else product


@pytest.mark.parametrize("beta", BETAS)
def test_one_product_is_six_edges(beta: float, generator: torch.Generator) -> None:
    u, r, v = points(generator)
    s, n = edges_plain(u, r, v, beta)
    torch.testing.assert_close(term(u, r, v, beta, normalize=False), s)
    torch.testing.assert_close(term(u, r, v, beta), s / n)


@pytest.mark.parametrize("beta", BETAS)
def test_edges_are_half_squared_lorentzian_distances(
    beta: float, generator: torch.Generator
) -> None:
    u, r, v = points(generator)
    o = torch.zeros_like(u)

    def edge(x: Tensor, y: Tensor) -> Tensor:
        return squared_lorentzian(x, y, curvature=-1 / beta) / 2

    s = edge(u, r) + edge(o, v) - edge(u, v) - edge(r, v) - edge(o, u) - edge(o, r)
    torch.testing.assert_close(term(u, r, v, beta, normalize=False), s)


@pytest.mark.parametrize("beta", BETAS)
def test_closed_form(beta: float, generator: torch.Generator) -> None:
    """S is half of minus the Lorentz square of u + r - v - o."""
    u, r, v = points(generator)
    u0, r0, v0 = ((beta + x.square().sum(1)).sqrt() for x in (u, r, v))
    square = (u + r - v).square().sum(1) - (u0 + r0 - v0 - beta**0.5).square()
    torch.testing.assert_close(term(u, r, v, beta, normalize=False), -square / 2)


@pytest.mark.parametrize("size", [1e-3, 0.1, 1.0, 30.0, 1e4])
@pytest.mark.parametrize("beta", BETAS)
def test_the_term_is_bounded_by_two(beta: float, size: float, generator: torch.Generator) -> None:
    assert float(term(*points(generator, size, 5000), beta).abs().max()) < 2


def test_flat_space_is_the_limit(generator: torch.Generator) -> None:
    """TransE with squares, as the curvature goes to 0."""
    u, r, v = points(generator)
    flat = -(u + r - v).square().sum(1) / 2
    for beta, close in ((1e3, 5e-2), (1e6, 1e-3)):
        torch.testing.assert_close(
            term(u, r, v, beta, normalize=False), flat, rtol=close, atol=close
        )


def test_the_authors_origin_is_exact_at_one(generator: torch.Generator) -> None:
    u, r, v = points(generator)
    torch.testing.assert_close(term(u, r, v, 1.0, origin="authors"), term(u, r, v, 1.0))
    beta = 1.3
    u0, r0, v0 = ((beta + x.square().sum(1)).sqrt() for x in (u, r, v))
    dots = (u * r).sum(1), (u * v).sum(1), (r * v).sum(1)
    released = u0 * r0 - dots[0] - u0 - r0 + dots[1] + dots[2] - u0 * v0 - r0 * v0 + v0 + 2 * beta
    found = term(u, r, v, beta, origin="authors", normalize=False)
    torch.testing.assert_close(found, released)


@pytest.mark.parametrize("size", [0.0, 1e-15, 1e-6, 1.0, 1e6])
def test_gradients_are_finite_where_points_meet(size: float, generator: torch.Generator) -> None:
    u, r, v = (x.float().requires_grad_() for x in points(generator, size))
    slopes = torch.autograd.grad(term(u, r, v, 1.3).sum(), (u, r, v))
    assert all(slope.isfinite().all() for slope in slopes)


@pytest.mark.parametrize("bounded", [True, False])
def test_slopes_of_bounded_products(bounded: bool, generator: torch.Generator) -> None:
    def real(*shape: int) -> Tensor:
        return torch.rand(*shape, dtype=torch.float64, generator=generator).requires_grad_()

    rows, points, shift, v0 = real(4, 3), real(5, 3), real(4) if bounded else None, real(5)
    found = bounded_products(rows, points, shift, v0)
    plain = rows @ points.T if shift is None else rows @ points.T / (shift[:, None] + v0)
    torch.testing.assert_close(found, plain)
    assert torch.autograd.gradcheck(bounded_products, (rows, points, shift, v0))


def module(
    generator: torch.Generator, joint: bool = False, **changes: Any
) -> tuple[MixedModule, TuckerModule]:
    size = TuckerShape(N, M, 4, 3, 0.0, 0.0, 0.0, "gaussian", True, 1.0, 1, "uniform")
    base = TuckerModule(size, Objective("bce", 0.1, "conve", 0.0, 0.0, 0.0, 4), generator)
    changes |= {"freeze_base": not joint, "freeze_norm": not joint}
    return MixedModule(base, replace(SHAPE, **changes), generator), base


def every(made: nn.Module) -> tuple[Tensor, Tensor, Tensor]:
    anchor, relation, answer = torch.cartesian_prod(
        torch.arange(N), torch.arange(M), torch.arange(N)
    ).unbind(1)
    return anchor, relation, answer


def batch(generator: torch.Generator) -> AnswerBatch:
    anchor, relation, answer = (torch.randint(n, (6,), generator=generator) for n in (N, M, N))
    at = torch.arange(6)
    return AnswerBatch(anchor, relation, at, answer, at)


def test_switched_off_it_is_tucker(generator: torch.Generator) -> None:
    made, base = module(generator, gate=0.0)
    anchor, relation, answer = every(made.eval())
    assert torch.equal(made.score(anchor, relation), base.score(anchor, relation))
    one = made.score_triples(anchor, relation, answer)
    assert torch.equal(one, base.score_triples(anchor, relation, answer))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"normalize": False, "gate": -0.7},
        {"origin": "authors", "point_norm": False},
        {"orthonormal_relations": True, "learn_curvature": True},
    ],
)
def test_rows_of_scores_are_those_of_single_facts(
    changes: dict[str, Any], generator: torch.Generator
) -> None:
    made, base = module(generator, **changes)
    anchor, relation, answer = every(made.eval())
    found = made.score_triples(anchor, relation, answer)
    torch.testing.assert_close(made.score(anchor[::N], relation[::N]).flatten(), found)
    if made.shape.normalize:
        apart = found - base.score_triples(anchor, relation, answer)
        assert 0 < float(apart.abs().max()) < 2.5  # the authors' origin adds a constant


def test_orthonormal_relations(generator: torch.Generator) -> None:
    made, _ = module(generator, orthonormal_relations=True, point_norm=False)
    made.train()
    loss = made.loss(batch(generator))
    loss.backward()
    slope = made.relation_points.grad
    assert slope is not None
    assert bool(slope.isfinite().all())
    assert float(slope.abs().max()) > 0


@pytest.mark.parametrize("joint", [False, True])
def test_what_is_not_divided_learns_too(joint: bool, generator: torch.Generator) -> None:
    made, _ = module(generator, joint, normalize=False)
    made.train()
    made.loss(batch(generator)).backward()
    assert made.points.grad is not None
    assert float(made.points.grad.abs().max()) > 0


@pytest.mark.parametrize("joint", [False, True])
def test_what_is_frozen_gets_no_gradient(joint: bool, generator: torch.Generator) -> None:
    made, base = module(generator, joint, learn_gate=True, learn_curvature=True)
    made.train()
    before = {name: t.clone() for name, t in base.named_buffers()}
    made.loss(batch(generator)).backward()
    assert all((p.grad is not None) == joint for p in base.parameters())
    moved = any(not torch.equal(t, before[name]) for name, t in base.named_buffers())
    assert moved == joint
    for name in ("points", "relation_points", "gate", "spread"):
        slope = getattr(made, name).grad
        assert slope is not None
        assert bool(slope.isfinite().all())


def test_the_curvature_starts_where_it_is_put(generator: torch.Generator) -> None:
    made, _ = module(generator, learn_curvature=True, curvature=-1 / 1.3)
    assert torch.as_tensor(made.beta).item() == pytest.approx(1.3, rel=1e-5)
    fixed, _ = module(generator)
    assert fixed.beta == pytest.approx(1.3)


def test_the_hyperbolic_product_is_never_rounded(generator: torch.Generator) -> None:
    made, base = module(generator)
    nn.init.zeros_(base.core)
    nn.init.zeros_(base.entities)
    anchor, relation, _ = every(made.eval())
    exact = made.score(anchor, relation)
    with reduced_products(torch.device("cpu"), "bf16"):
        torch.testing.assert_close(made.score(anchor, relation), exact, rtol=1e-6, atol=1e-6)
