"""The one training loop, and early stopping for it."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from tqdm import tqdm

Penalty = Callable[[Any], Tensor]  # module -> a scalar added to the loss of each positive pair
Objective = Callable[[Any, Any], Tensor]  # module, batch -> what is minimized for it
Watch = Callable[[int, float], None]  # epochs run, value of the held-out measure
_WATCH: ContextVar[Watch | None] = ContextVar("watch", default=None)


class NonFiniteLossError(RuntimeError):
    """The mean loss of an epoch is NaN or infinite."""


@runtime_checkable
class Learner(Protocol):
    """A torch module with an objective."""

    def loss(self, batch: Any) -> Float[Tensor, ""]:
        """Loss of one batch, summed over its pairs."""
        ...

    def train(self, mode: bool = True) -> Any:
        """Switches to training."""
        ...

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:
        """What is learned."""
        ...


def train(  # noqa: PLR0913 - by name, and most have a default
    module: Learner,
    batches: Iterable[Any],
    optimizer: torch.optim.Optimizer,
    *,
    epochs: int,
    objective: Objective | None = None,
    penalty: Penalty | None = None,
    after_step: Callable[[Any], None] | None = None,
    stop: Callable[[int, float], bool] | None = None,
    progress: bool = False,
) -> list[float]:
    """Mean loss per positive pair of each epoch run, at most ``epochs`` of them.

    The loss of a batch is ``objective(module, batch)``, by default ``module.loss(batch)``, and
    ``penalty(module)`` for each of its positive pairs: an epoch has the same penalty whatever the
    size and the number of its batches, and a pair of many has as much of it as one of few.
    ``after_step(module)`` runs after every batch, without gradients: a projection, a falling rate.
    ``stop(epoch, loss)`` ends the run when it is true. The loss stays on the device until an epoch
    ends.

    Raises:
        NonFiniteLossError: At the end of the first epoch whose mean loss is not finite.
    """
    history: list[float] = []
    bar = tqdm(range(epochs), desc="fit", unit="epoch", disable=not progress, leave=False)
    for epoch in bar:
        module.train()
        total, seen = torch.zeros((), device=next(module.parameters()).device), 0
        for batch in batches:
            optimizer.zero_grad(set_to_none=True)
            loss = module.loss(batch) if objective is None else objective(module, batch)
            if penalty is not None:
                loss = loss + len(batch.positive) * penalty(module)
            loss.backward()
            optimizer.step()
            if after_step is not None:
                with torch.no_grad():
                    after_step(module)
            total += loss.detach()
            seen += len(batch.positive)
        history.append(float(total) / max(seen, 1))
        if not math.isfinite(history[-1]):
            raise NonFiniteLossError(
                f"mean loss of epoch {epoch} is {history[-1]}, after {history[-4:-1]}; "
                "lower lr, or look for weights or table rows of huge norm"
            )
        bar.set_postfix(loss=f"{history[-1]:.4g}")
        if stop is not None and stop(epoch, history[-1]):
            break
    return history


def falling_rate(
    steps: int, *, decay: float = 1.0, linear: bool = True
) -> Callable[[torch.optim.Optimizer], Callable[[Any], None]]:
    """From an optimizer an ``after_step`` for ``train``: its rates fall to zero in so many steps.

    They are multiplied by ``decay`` at each step too; that alone where not ``linear``.
    """

    def factor(step: int) -> float:
        return decay**step * (max(1 - step / steps, 0.0) if linear else 1.0)

    def after_step(optimizer: torch.optim.Optimizer) -> Callable[[Any], None]:
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return lambda _: schedule.step()

    return after_step


@contextmanager
def watched(watch: Watch) -> Iterator[None]:
    """Inside, every look of an ``EarlyStopping`` is told to ``watch``, which may raise to end it.

    So who prunes weak fits judges by the pass over held-out data that early stopping makes anyway.
    """
    before = _WATCH.set(watch)
    try:
        yield
    finally:
        _WATCH.reset(before)


class EarlyStopping:
    """A ``stop`` for ``train`` that remembers the module's best state on a held-out measure.

    Attributes:
        best: Largest value of the measure so far.
        best_epoch: Epochs run when it was seen (1 after the first epoch); 0 before any.
        record: (epochs run, value) of every look.
    """

    def __init__(
        self,
        module: nn.Module,
        measure: Callable[[], float],
        *,
        epochs: int,
        every: int,
        patience: int,
    ) -> None:
        """Looks every ``every`` epochs and after the last of ``epochs``.

        Stops after ``patience`` looks without a new best.

        Keeps one copy of the module's state.
        """
        if every < 1 or patience < 1:
            raise ValueError(f"every and patience must be at least 1, got {every} and {patience}")
        self.module, self.measure, self.every, self.patience = module, measure, every, patience
        self.epochs, self.best, self.best_epoch = epochs, -math.inf, 0
        self.record: list[tuple[int, float]] = []
        self._state: dict[str, Any] | None = None

    def look(self, epochs: int = 0) -> None:
        """Measures after so many epochs; called before the first, where the start may be best."""
        value = self.measure()
        self.record.append((epochs, value))
        if value > self.best or self._state is None:
            self.best, self.best_epoch = value, epochs
            self._state = copy.deepcopy(self.module.state_dict())
        if (watch := _WATCH.get()) is not None:
            watch(epochs, value)

    def __call__(self, epoch: int, loss: float) -> bool:
        """True when it is time to stop."""
        del loss
        if (epoch + 1) % self.every and epoch + 1 < self.epochs:
            return False
        self.look(epoch + 1)
        return epoch + 1 - self.best_epoch >= self.patience * self.every

    def restore(self) -> int:
        """``best_epoch``, after putting its state back into the module.

        Before the first look nothing is put back, and it is 0.
        """
        if self._state is not None:
            self.module.load_state_dict(self._state)
        return self.best_epoch
