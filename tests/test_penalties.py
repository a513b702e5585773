"""Penalties against their dense definitions: values, gradients, warm starts, schedules."""

from __future__ import annotations

import copy
import gc
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hyperrank import penalties
from hyperrank.devices import seeded
from hyperrank.penalties import FactorRows, Injective, JacobianRows, ScoreRows, Spectral, named
from hyperrank.tensor_norms import injective
from reference_norms import longest_rows, top_rows


class Tables(nn.Module):
    """Two tables and a core."""

    def __init__(self, generator: torch.Generator, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.left, self.right, self.core = (
            nn.Parameter(torch.randn(*shape, generator=generator, dtype=dtype))
            for shape in ((40, 5), (23, 5), (3, 16))
        )

    def factors(self) -> tuple[Tensor, Tensor]:
        return self.left, self.right


class Lifted(Tables):
    """Its left table is no parameter."""

    def factors(self) -> tuple[Tensor, Tensor]:
        return self.left / 2, self.right


@pytest.fixture
def tables(generator: torch.Generator) -> Tables:
    return Tables(generator)


def slopes(value: Tensor, *of: nn.Parameter) -> list[Tensor]:
    found = torch.autograd.grad(value, of)
    return [slope.to_dense() if slope.is_sparse else slope for slope in found]


@pytest.mark.parametrize("share", [0.0, 0.05, 0.3, 1.0])
@pytest.mark.parametrize("kind", [Tables, Lifted])
def test_score_rows(kind: type[Tables], share: float, generator: torch.Generator) -> None:
    module = kind(generator)
    value = ScoreRows(weight=0.7, share=share)(module)
    dense = 0.7 * top_rows(*module.factors(), share)
    torch.testing.assert_close(value, dense)
    of = module.left, module.right
    torch.testing.assert_close(slopes(value, *of), slopes(dense, *of), rtol=1e-4, atol=1e-4)


def test_the_ends_of_the_share_are_known_norms(tables: Tables) -> None:
    scores = tables.left @ tables.right.T
    largest = ScoreRows(weight=1.0, share=0.0)(tables)
    torch.testing.assert_close(largest.sqrt(), scores.norm(dim=1).max())
    whole = ScoreRows(weight=1.0, share=1.0)(tables)
    torch.testing.assert_close(whole, scores.norm().square() / len(scores))


def test_only_chosen_rows_get_a_gradient(tables: Tables) -> None:
    ScoreRows(weight=1.0, share=0.1)(tables).backward()
    assert tables.left.grad is not None
    assert tables.right.grad is not None
    assert tables.left.grad.is_sparse
    assert tables.left.grad._indices().shape == (1, 4)
    assert not tables.right.grad.is_sparse


def test_factor_rows(tables: Tables) -> None:
    value, of = FactorRows(weight=2.0)(tables), (tables.left, tables.right)
    dense = 2.0 * longest_rows(*of)
    torch.testing.assert_close(value, dense)
    torch.testing.assert_close(slopes(value, *of), slopes(dense, *of))
    assert value.item() >= 4 * (tables.left @ tables.right.T).max().item()


def settled(penalty: penalties.Periodic, module: nn.Module, calls: int = 100) -> Tensor:
    """The value once the warm start has had its time."""
    for _ in range(calls):
        penalty(module)
    return penalty(module)


@pytest.mark.parametrize(("table", "name"), [(None, "right"), ("left", "left"), ("core", "core")])
def test_spectral(table: str | None, name: str, tables: Tables) -> None:
    value, of = settled(Spectral(weight=0.5, table=table), tables), tables.get_parameter(name)
    dense = 0.5 * torch.linalg.matrix_norm(of, 2).square()
    torch.testing.assert_close(value, dense)
    torch.testing.assert_close(slopes(value, of), slopes(dense, of), rtol=1e-3, atol=1e-3)


def test_injective(tables: Tables) -> None:
    value = settled(Injective(weight=0.5, table="core"), tables)
    found = injective(tables.core.view(3, 4, 4), restarts=50, generator=seeded(1)).lower
    torch.testing.assert_close(value, 0.5 * found.square())
    expected = slopes(0.5 * found.square(), tables.core)
    torch.testing.assert_close(slopes(value, tables.core), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("make", [Spectral, Injective])
def test_a_warm_start_follows_a_table_that_moves(
    make: Callable[..., penalties.Periodic], tables: Tables, generator: torch.Generator
) -> None:
    """Two iterations a call, from where the last one ended, stay as good as the first fifty."""
    penalty = make(weight=1.0, table="core")
    way = torch.randn(3, 16, generator=generator)
    for _ in range(30):
        with torch.no_grad():
            tables.core.add_(way, alpha=0.01)
        value = penalty(tables)
        assert value.item() == pytest.approx(
            make(weight=1.0, table="core")(tables).item(), rel=0.02
        )


def test_spectral_of_nothing_is_nothing(tables: Tables) -> None:
    penalty = Spectral(weight=1.0, table="core")
    before = tables.core.detach().clone()
    with torch.no_grad():
        tables.core.zero_()
    assert penalty(tables).item() == 0
    with torch.no_grad():
        tables.core.copy_(before)
    torch.testing.assert_close(
        settled(penalty, tables), torch.linalg.matrix_norm(before, 2).square()
    )


class Net(nn.Module):
    """A small scorer of 6 numbers."""

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.randn(8, 6, generator=generator, dtype=torch.double))
        self.second = nn.Parameter(torch.randn(20, 8, generator=generator, dtype=torch.double))

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x @ self.first.T) @ self.second.T


@pytest.mark.parametrize("budget", [8, 200])
def test_jacobian_rows(budget: int, generator: torch.Generator) -> None:
    net = Net(generator)
    points = torch.randn(3, 6, generator=generator, dtype=torch.double)
    penalty = JacobianRows(
        weight=0.1, scorer=lambda module, x: module(x), inputs=lambda module: points, budget=budget
    )
    value = settled(penalty, net, calls=8)
    parts = [torch.autograd.functional.jacobian(net, x, create_graph=True) for x in points]
    squares = torch.cat([part.square().sum(1) for part in parts])
    dense = 0.1 * squares.max()
    torch.testing.assert_close(value, dense)
    of = net.first, net.second
    torch.testing.assert_close(slopes(value, *of), slopes(dense, *of))


def test_it_is_evaluated_now_and_then(tables: Tables) -> None:
    whole, some = ScoreRows(weight=0.5), ScoreRows(weight=0.5, every=3)
    expected = 3 * whole(tables).item()
    found = [some(tables).item() for _ in range(7)]
    assert found == pytest.approx([expected, 0, 0, expected, 0, 0, expected])
    other = Tables(seeded(1))
    assert some(other).item() > 0  # a run of its own


def test_a_copy_is_a_penalty_too_and_runs_end_with_their_module(tables: Tables) -> None:
    penalty = Spectral(weight=0.5, table="core")
    penalty(tables)
    assert copy.deepcopy(penalty) == penalty
    assert pickle.loads(pickle.dumps(penalty))(tables).item() > 0
    made = Tables(seeded(1))
    penalty(made)
    assert len(penalty._runs) == 2
    del made
    gc.collect()
    assert len(penalty._runs) == 1


@pytest.mark.parametrize("name", ["cvar", "rows", "frobenius", "factors", "spectral", "injective"])
def test_every_name_makes_a_penalty(name: str, tables: Tables) -> None:
    value = named(name, 0.1, core="core")(tables)
    assert value.shape == ()
    assert value.item() > 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: named("cvr", 1.0), "no penalty 'cvr' here; known are cvar, rows, frobenius, fac"),
        (lambda: named("injective", 1.0), "no penalty 'injective' of a module with a core here"),
        (lambda: ScoreRows(weight=-1.0), "weight must be finite and not negative, got -1.0"),
        (lambda: ScoreRows(weight=1.0, every=0), "every must be at least 1 call, got 0"),
        (lambda: ScoreRows(weight=1.0, share=2.0), "share is a part of the rows .* got 2.0"),
        (
            lambda: Injective(weight=1.0, table="w")(nn.ParameterDict({"w": torch.zeros(3)})),
            r"a core has three axes, got w of \(3,\)",
        ),
    ],
)
def test_what_is_wrong_is_said(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_a_module_without_factors_is_refused() -> None:
    with pytest.raises(TypeError, match=r"Linear gives no factors\(\): two tables whose products"):
        ScoreRows(weight=1.0)(nn.Linear(2, 2))
