"""A search space for every link predictor: the ranges that its paper and its peers searched.

``search(TuckER(), spaces.tucker, train, valid, metric="mrr")``; the functions are named as the
commands name the models.
"""

from __future__ import annotations

from typing import Any


def tucker(trial: Any) -> dict[str, Any]:
    """Balazevic et al. 2019: rate, its decay, sizes, three dropouts; losses as in LibKGE."""
    dropouts = ("input_dropout", "core_dropout", "output_dropout")
    return {
        "entity_dim": trial.suggest_categorical("entity_dim", (50, 100, 200)),
        "relation_dim": trial.suggest_categorical("relation_dim", (30, 100, 200)),
        "loss": trial.suggest_categorical("loss", ("bce", "softmax")),
        "smoothing": trial.suggest_float("smoothing", 0.0, 0.3),
        "batch_size": trial.suggest_categorical("batch_size", (128, 256, 512)),
        "lr": trial.suggest_float("lr", 5e-4, 3e-2, log=True),
        "lr_decay": trial.suggest_float("lr_decay", 0.98, 1.0),
        **{name: trial.suggest_float(name, 0.0, 0.6) for name in dropouts},
    }


def migtf(trial: Any) -> dict[str, Any]:
    """Yusupov, Rakhuba, Frolov 2025: the points' size, curvature and start, beside TuckER's.

    The points have TuckER's rate and dropout.
    """
    return tucker(trial) | {
        "hyperbolic_dim": trial.suggest_categorical("hyperbolic_dim", (20, 50, 100, 200)),
        "curvature": trial.suggest_float("curvature", -3.0, -0.1),
        "point_scale": trial.suggest_float("point_scale", 0.01, 0.5, log=True),
    }
