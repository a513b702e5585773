"""Adversarial training against its dense definition, and the tables as they were afterwards."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from hyperrank.adversarial import Adversarial
from hyperrank.training import train
from reference_norms import adversarial_loss

embedding = nn.functional.embedding


class Batch(NamedTuple):
    query: Tensor
    positive: Tensor


class Module(nn.Module):
    """Softplus of minus the scores of pairs, times a number that is learned too."""

    def __init__(self, generator: torch.Generator, sparse: bool) -> None:
        super().__init__()
        self.left, self.right = (
            nn.Parameter(torch.randn(n, 4, generator=generator)) for n in (12, 9)
        )
        self.scale, self.unread = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
        self.sparse, self.fail_at, self.losses = sparse, 0, 0

    def loss(self, batch: Batch) -> Tensor:
        self.losses += 1
        if self.losses == self.fail_at:
            raise KeyboardInterrupt
        return self.value(batch, self.left, self.right, self.scale, self.sparse)

    @staticmethod
    def value(batch: Batch, left: Tensor, right: Tensor, scale: Tensor, sparse: Any = False) -> Any:
        u, v = (
            embedding(batch.query, left, sparse=sparse),
            embedding(batch.positive, right, sparse=sparse),
        )
        return nn.functional.softplus(-scale * (u * v).sum(1)).sum()


@pytest.fixture
def batch(generator: torch.Generator) -> Batch:
    return Batch(*(torch.randint(8, (7,), generator=generator) for _ in range(2)))


@pytest.mark.parametrize("sparse", [True, False])
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_it_is_its_definition(
    sparse: bool, steps: int, batch: Batch, generator: torch.Generator
) -> None:
    module = Module(generator, sparse)
    tables = module.left, module.right
    before = [table.detach().clone() for table in tables]
    attack = Adversarial(weight=0.7, tables=("left", "right"), epsilon=0.3, steps=steps)
    value = 2 * attack(module, batch)
    assert all(torch.equal(table, old) for table, old in zip(tables, before, strict=True))
    assert module.losses == 1 + steps
    dense = 2 * adversarial_loss(
        lambda left, right: module.value(batch, left, right, module.scale), tables, 0.3, steps, 0.7
    )
    torch.testing.assert_close(value, dense)
    of = *tables, module.scale
    expected = torch.autograd.grad(dense, of)
    value.backward()
    assert module.left.grad is not None
    assert module.left.grad.is_sparse == sparse
    for parameter, slope in zip(of, expected, strict=True):
        found = parameter.grad
        assert found is not None
        torch.testing.assert_close(found.to_dense() if found.is_sparse else found, slope)
    assert module.unread.grad is None


def test_it_raises_the_loss_within_its_radius(batch: Batch, generator: torch.Generator) -> None:
    module = Module(generator, True)

    def gain(epsilon: float, relative: bool) -> float:
        attack = Adversarial(weight=1.0, tables=("left",), epsilon=epsilon, relative=relative)
        return float((attack(module, batch) - 2 * module.loss(batch)).detach())

    size = float(module.left.detach().norm()) / 12**0.5
    assert gain(0.0, True) == pytest.approx(0)
    assert 0 < gain(0.1, True) < gain(0.2, True)
    assert gain(0.2 * size, False) == pytest.approx(gain(0.2, True), rel=1e-4)


def test_tables_come_back_from_an_interrupted_step(
    batch: Batch, generator: torch.Generator
) -> None:
    module = Module(generator, True)
    before, module.fail_at = module.left.detach().clone(), 2
    with pytest.raises(KeyboardInterrupt):
        Adversarial(weight=1.0, tables=("left", "right"))(module, batch)
    assert torch.equal(module.left, before)


def test_the_loop_minimizes_it(batch: Batch, generator: torch.Generator) -> None:
    module = Module(generator, False)
    attack = Adversarial(weight=1.0, tables=("left", "right"), epsilon=0.5)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    history = train(module, [batch], optimizer, epochs=20, objective=attack)
    assert module.losses == 40
    assert history[-1] < history[0] / 2
