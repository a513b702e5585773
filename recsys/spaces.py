"""A search space for every recommender: the ranges that its paper and its peers searched.

``search(UltraGCN(), spaces.ultragcn, train, validation, metric="ndcg@20")``; the functions are
named as ``recsys.models`` names the models.
"""

from __future__ import annotations

from typing import Any

DIMS = (32, 64, 128, 256)  # 64 in most papers, and what their tables compare


def ultragcn(trial: Any) -> dict[str, Any]:
    """Mao et al. 2021 and their released settings: rate, L2, both losses' weights, neighbours."""
    return {
        "dim": trial.suggest_categorical("dim", DIMS),
        "lr": trial.suggest_float("lr", 5e-4, 3e-2, log=True),
        "l2": trial.suggest_float("l2", 1e-2, 3.0, log=True),
        "negative_weight": trial.suggest_float("negative_weight", 10.0, 1500.0, log=True),
        "negative_power": trial.suggest_float("negative_power", 0.0, 0.75),
        "positive_base": trial.suggest_float("positive_base", 1e-8, 1.0, log=True),
        "item_weight": trial.suggest_float("item_weight", 1e-5, 3.0, log=True),
        "item_neighbours": trial.suggest_categorical("item_neighbours", (5, 10, 20, 50)),
    }


def triplh(trial: Any) -> dict[str, Any]:
    """The softmax's scale and sampling beside rate, L2 and start (arXiv:2508.11978)."""
    return {
        "dim": trial.suggest_categorical("dim", DIMS),
        "lr": trial.suggest_float("lr", 3e-3, 0.2, log=True),
        "scale": trial.suggest_float("scale", 2.0, 30.0, log=True),
        "l2": trial.suggest_float("l2", 1e-3, 2.0, log=True),
        "negative_power": trial.suggest_float("negative_power", 0.0, 1.0),
        "init_scale": trial.suggest_float("init_scale", 0.01, 0.5, log=True),
    }


def bprmf(trial: Any) -> dict[str, Any]:
    """As Rendle et al. 2020 tune it: rate, L2, number and popularity of negatives."""
    return {
        "dim": trial.suggest_categorical("dim", DIMS),
        "lr": trial.suggest_float("lr", 3e-4, 3e-2, log=True),
        "l2": trial.suggest_float("l2", 1e-4, 0.3, log=True),
        "negatives": trial.suggest_int("negatives", 1, 16, log=True),
        "negative_power": trial.suggest_float("negative_power", 0.0, 0.75),
    }


def ease(trial: Any) -> dict[str, Any]:
    """The ridge (Steck 2019; from 1 to 10,000 in Dacrema et al. 2021)."""
    return {"l2": trial.suggest_float("l2", 1.0, 1e4, log=True)}


def itemknn(trial: Any) -> dict[str, Any]:
    """Dacrema et al. 2019: neighbours from 5 to 1,000, shrinkage to 1,000."""
    return {
        "neighbours": trial.suggest_int("neighbours", 5, 1000, log=True),
        "shrinkage": trial.suggest_float("shrinkage", 0.0, 1000.0),
        "popularity_power": trial.suggest_float("popularity_power", 0.0, 1.0),
    }


def puresvd(trial: Any) -> dict[str, Any]:
    """Dacrema et al. 2019: from 1 to 350 singular vectors."""
    return {"dim": trial.suggest_int("dim", 2, 350, log=True)}


squaredultragcn = puresvd


def implicitals(trial: Any) -> dict[str, Any]:
    """Rendle et al. 2022, who found what older tables lacked: ridge and confidence, widely."""
    return {
        "dim": trial.suggest_categorical("dim", DIMS),
        "regularization": trial.suggest_float("regularization", 1e-3, 100.0, log=True),
        "alpha": trial.suggest_float("alpha", 0.1, 100.0, log=True),
        "iterations": trial.suggest_int("iterations", 5, 30),
    }


def implicitbpr(trial: Any) -> dict[str, Any]:
    """Rate, L2 and passes."""
    return {
        "dim": trial.suggest_categorical("dim", DIMS),
        "lr": trial.suggest_float("lr", 1e-3, 0.3, log=True),
        "regularization": trial.suggest_float("regularization", 1e-5, 0.1, log=True),
        "iterations": trial.suggest_int("iterations", 30, 300, log=True),
    }


def popularity(trial: Any) -> dict[str, Any]:
    """Nothing: the model has no parameters, and a search of it is refused."""
    del trial
    return {}
