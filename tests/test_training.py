"""The loop sums, stops and refuses what is not finite."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from hyperrank.training import EarlyStopping, NonFiniteLossError, falling_rate, train, watched


class Batch(NamedTuple):
    positive: Tensor


class Parabola(nn.Module):
    """Loss (x - 3)^2 for each positive."""

    def __init__(self, start: float = 0.0) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.tensor(start))

    def loss(self, batch: Batch) -> Tensor:
        return (self.x - 3).square() * len(batch.positive)


BATCHES = [Batch(torch.arange(2)), Batch(torch.arange(3))]


def test_history_is_the_mean_loss_of_a_positive() -> None:
    module = Parabola()
    history = train(module, BATCHES, torch.optim.SGD(module.parameters(), lr=0.0), epochs=2)
    assert history == [9.0, 9.0]


def test_it_learns_with_penalty_and_after_step() -> None:
    module, seen = Parabola(), []
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.5, total_iters=4)

    def after(module: Parabola) -> None:
        seen.append(module.x.item())
        schedule.step()

    train(
        module,
        BATCHES,
        optimizer,
        epochs=50,
        penalty=lambda m: m.x.square() / 2,
        after_step=after,
    )
    # (x - 3)^2 + x^2 / 2 for each pair is least at 2, in batches of any size
    assert module.x.item() == pytest.approx(2.0)
    assert len(seen) == 100
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.05)


def test_a_loss_that_is_not_finite_is_an_error() -> None:
    module = Parabola(float("inf"))
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    with pytest.raises(NonFiniteLossError, match=r"mean loss of epoch 0 is nan.*lower lr"):
        train(module, BATCHES, optimizer, epochs=3)


def test_early_stopping_restores_the_best_state() -> None:
    module = Parabola()
    values = iter([1.0, 3.0, 2.0, 2.5, 9.0])
    stop = EarlyStopping(module, lambda: next(values), epochs=20, every=2, patience=2)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.01)
    path: list[float] = []

    def ending(epoch: int, loss: float) -> bool:
        path.append(module.x.item())
        return stop(epoch, loss)

    history = train(module, BATCHES, optimizer, epochs=20, stop=ending)
    assert len(history) == 8
    assert stop.record == [(2, 1.0), (4, 3.0), (6, 2.0), (8, 2.5)]
    assert stop.restore() == 4
    assert module.x.item() == path[3]


def test_looks_are_told_to_who_watches_inside_alone() -> None:
    module, outer, inner = Parabola(), [], []

    def look(epochs: int, value: float) -> None:
        EarlyStopping(module, lambda: value, epochs=9, every=1, patience=1).look(epochs)

    look(1, 0.1)
    with watched(lambda *told: outer.append(told)):
        look(2, 0.2)
        with watched(lambda *told: inner.append(told)):
            look(3, 0.3)
        look(4, 0.4)
    look(5, 0.5)
    assert (outer, inner) == ([(2, 0.2), (4, 0.4)], [(3, 0.3)])


def test_who_watches_may_end_the_run_at_a_look() -> None:
    module, seen = Parabola(), []
    stop = EarlyStopping(module, module.x.item, epochs=20, every=2, patience=9)

    def pruned(epochs: int, value: float) -> None:
        seen.append(epochs)
        if epochs == 6:
            raise InterruptedError("weak")

    optimizer = torch.optim.SGD(module.parameters(), lr=0.01)
    with pytest.raises(InterruptedError, match="weak"), watched(pruned):
        train(module, BATCHES, optimizer, epochs=20, stop=stop)
    assert seen == [epoch for epoch, _ in stop.record] == [2, 4, 6]
    stop.look(8)
    assert seen == [2, 4, 6], "nobody watches once it has ended by an error"


def test_early_stopping_refuses_zero() -> None:
    with pytest.raises(ValueError, match="must be at least 1, got 1 and 0"):
        EarlyStopping(Parabola(), lambda: 0.0, epochs=1, every=1, patience=0)


def test_the_last_epoch_is_looked_at_too() -> None:
    module = Parabola()
    stop = EarlyStopping(module, module.x.item, epochs=5, every=3, patience=9)
    train(module, BATCHES, torch.optim.SGD(module.parameters(), lr=0.01), epochs=5, stop=stop)
    assert [epoch for epoch, _ in stop.record] == [3, 5]
    assert stop.restore() == 5


@pytest.mark.parametrize(("decay", "linear"), [(1.0, True), (0.5, False), (0.5, True)])
def test_a_rate_falls_step_by_step(decay: float, linear: bool) -> None:
    optimizer = torch.optim.SGD(Parabola().parameters(), lr=8.0)
    after_step = falling_rate(4, decay=decay, linear=linear)(optimizer)
    seen = []
    for _ in range(4):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        after_step(None)
    whole = [8.0 * decay**step * ((1 - step / 4) if linear else 1) for step in range(4)]
    assert seen == pytest.approx(whole)


def test_the_start_may_be_the_best() -> None:
    module = Parabola(start=3.0)
    stop = EarlyStopping(
        module, lambda: -float(module.loss(BATCHES[0]).detach()), epochs=9, every=1, patience=2
    )
    stop.look()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.0)
    history = train(
        module, BATCHES, optimizer, epochs=9, stop=stop, after_step=lambda m: m.x.add_(1.0)
    )
    assert len(history) == 2
    assert [epochs for epochs, _ in stop.record] == [0, 1, 2]
    assert stop.restore() == 0
    assert float(module.x.detach()) == 3.0
