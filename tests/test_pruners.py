"""What ends trials: the pruners by name, and the looks that they judge by."""

from __future__ import annotations

from typing import Any

import pytest

optuna = pytest.importorskip("optuna")

from hyperrank.pruners import Looks, pruner_of  # noqa: E402
from hyperrank.workers import Flag  # noqa: E402
from searched_models import Hill  # noqa: E402


def ended(pruner: str, looks: list[float]) -> int:
    """At which look a trial ends after five that were better, 0 for never."""
    study = optuna.create_study(direction="maximize", pruner=pruner_of(optuna, pruner, Hill()))
    for turn in range(6):
        trial = study.ask()
        see = Looks(optuna, trial, Flag())
        for look in range(1, 4):
            try:
                see(2 * look, looks[look - 1] if turn == 5 else 0.5)
            except optuna.TrialPruned:
                return look
        study.tell(trial, 0.5)
    return 0


@pytest.mark.parametrize(
    ("pruner", "looks", "end"),
    [
        ("median", [0.1, 0.1, 0.1], 2),
        ("median", [0.1, 0.6, 0.1], 0),
        ("median", [0.6, 0.1, 0.1], 0),
        ("none", [0.1, 0.1, 0.1], 0),
    ],
)
def test_a_weak_trial_ends_at_its_second_look(pruner: str, looks: list[float], end: int) -> None:
    assert ended(pruner, looks) == end


def test_a_trial_has_two_fifths_of_the_usual_epochs() -> None:
    model = Hill(evaluate_every=1)
    study = optuna.create_study(direction="maximize", pruner=pruner_of(optuna, "median", model))
    for best in (8, 2, 10, 14, 8, 10):
        trial = study.ask()
        see = Looks(optuna, trial, Flag())
        for look in range(1, 17):
            see(look, 0.5 + 0.1 * (look == best))
        study.tell(trial, 0.6)
    see = Looks(optuna, study.ask(), Flag())
    for look in range(1, 4):
        see(look, 0.1)
    with pytest.raises(optuna.TrialPruned):
        see(4, 0.1)


def test_looks_tell_all_to_end() -> None:
    trial: Any = optuna.create_study().ask()
    flag = Flag()
    see = Looks(optuna, trial, flag)
    see(2, 0.1)
    see(2, 0.2)  # training begins anew
    flag.set()
    with pytest.raises(KeyboardInterrupt):
        see(4, 0.3)
    assert trial.study.trials[0].intermediate_values == {2: 0.1, 4: 0.2}
