"""Parameters of estimators that the training loop makes robust: penalties, adversarial training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from hyperrank.adversarial import Adversarial
from hyperrank.estimator import Estimator
from hyperrank.parameters import bounded
from hyperrank.penalties import named
from hyperrank.training import Penalty


@dataclass(kw_only=True, eq=False)
class RobustTraining(Estimator):
    """An estimator whose training can be penalized or attacked.

    What solves single rows later, as updates do, knows of neither.

    Attributes:
        robustness: A penalty by its name in ``hyperrank.penalties.named``, or any function of the
            module, such as one of ``hyperrank.penalties``, whose weight is its own.
        robustness_weight: Strength of the named penalty beside the loss of one positive pair.
        adversarial_weight: Weight of the loss at tables that are moved against it; 0 leaves it out.
        adversarial_epsilon: How far their rows are moved, a part of the RMS row norm of the table.
        adversarial_steps: Gradient steps of that move, each at the price of a loss.
    """

    robustness: str | Penalty | None = None
    robustness_weight: float = bounded(0.0, least=0)
    adversarial_weight: float = bounded(0.0, least=0)
    adversarial_epsilon: float = bounded(0.1, least=0)
    adversarial_steps: int = bounded(1, least=1)

    def _check_robustness(self, core: str | None = None) -> None:
        name, asked, weight = type(self).__name__, self.robustness, self.robustness_weight
        if asked is not None and not isinstance(asked, str) and not callable(asked):
            raise TypeError(
                f"{name}: robustness must be the name of a penalty, a function of the module or "
                f"None, got {asked!r}"
            )
        if isinstance(asked, str) != bool(weight):
            advice = (
                "a penalty object has a weight of its own"
                if callable(asked)
                else "give both, such as robustness='cvar' and robustness_weight=1e-3, or neither"
            )
            raise ValueError(
                f"{name}: got robustness={asked!r} with robustness_weight={weight}; {advice}"
            )
        if isinstance(asked, str):
            try:
                named(asked, weight, core=core)
            except ValueError as error:
                raise ValueError(f"{name}: robustness: {error}") from None

    def _robust(self, module: nn.Module, endings: tuple[str, ...]) -> dict[str, Any]:
        """What ``training.train`` needs for these parameters.

        Attacked are the learned tables whose names have one of the ``endings``; a named penalty of
        a core is of the parameter whose name ends with that word.
        """
        names = dict(module.named_parameters())
        learned = [name for name in names if names[name].requires_grad]
        asked = self.robustness
        if isinstance(asked, str):
            cores = [name for name in names if name.endswith("core")]
            asked = named(asked, self.robustness_weight, core=cores[0] if cores else None)
        attack = Adversarial(
            weight=self.adversarial_weight,
            epsilon=self.adversarial_epsilon,
            steps=self.adversarial_steps,
            tables=tuple(name for name in learned if name.endswith(endings)),
        )
        return {"penalty": asked, "objective": attack if attack.weight else None}
