"""Recommenders with penalties and adversarial training: what they learn, keep and refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.base import clone

from hyperrank import store
from hyperrank.penalties import NAMES, FactorRows, ScoreRows
from recsys import BPRMF, Interactions, TriplH, UltraGCN
from recsys.models import make_model

SMALL: dict[type[Any], dict[str, Any]] = {
    UltraGCN: {"dim": 8, "epochs": 8, "batch_size": 16, "negatives": 40},
    BPRMF: {"dim": 8, "epochs": 15, "batch_size": 128, "lr": 0.05},
    TriplH: {"dim": 8, "epochs": 8, "batch_size": 16, "negatives": 40, "lr": 0.05},
}
KINDS = list(SMALL)


def score_norm(model: Any) -> float:
    """The Frobenius norm of all scores."""
    scores = model.scorer_.queries @ model.scorer_.candidates.T
    return float(scores.norm())


@pytest.mark.parametrize("kind", KINDS)
def test_a_penalty_shrinks_the_scores(kind: type[Any], checkerboard: Interactions) -> None:
    few = {**SMALL[kind], "epochs": 4}
    plain = score_norm(kind(**few).fit(checkerboard))
    for name in NAMES[:-1]:
        robust = kind(**few, robustness=name, robustness_weight=0.1).fit(checkerboard)
        assert score_norm(robust) < plain, name


@pytest.mark.parametrize("kind", KINDS)
def test_adversarial_training_learns(kind: type[Any], checkerboard: Interactions) -> None:
    model = kind(**SMALL[kind], adversarial_weight=0.5, adversarial_steps=2).fit(checkerboard)
    frame = model.recommend(k=5)
    assert (frame["user"] % 2 == frame["item"] % 2).mean() > 0.95


@pytest.mark.parametrize("geometry", ["cosine", "inner", "lorentzian", "geodesic"])
@pytest.mark.parametrize("radius", [False, True])
def test_the_factors_of_a_geometry_are_its_scores(
    geometry: str, radius: bool, checkerboard: Interactions, generator: torch.Generator
) -> None:
    model = TriplH(**SMALL[TriplH], geometry=geometry, item_radius=radius)
    module = model.module(checkerboard.pairs, generator)
    if radius and geometry == "geodesic":
        with pytest.raises(TypeError, match=r"a geodesic score with a radius .* no product of two"):
            module.factors()
        return
    left, right = module.factors()
    torch.testing.assert_close(left, module.scorer().queries)
    torch.testing.assert_close(right, module.scorer().candidates)
    assert left.requires_grad
    assert right.requires_grad


def test_it_saves_and_loads_and_is_cloned(checkerboard: Interactions, tmp_path: Path) -> None:
    settings = {"robustness": "cvar", "robustness_weight": 1e-3, "adversarial_weight": 0.5}
    model = BPRMF(**{**SMALL[BPRMF], "epochs": 1}, **settings).fit(checkerboard)
    store.save(model, tmp_path / "model")
    again = store.load(tmp_path / "model")
    assert again.get_params() == model.get_params() == clone(model).get_params()
    assert again.recommend(k=3).equals(model.recommend(k=3))


def test_a_penalty_object_trains_but_has_no_written_form(
    checkerboard: Interactions, tmp_path: Path
) -> None:
    penalty = ScoreRows(weight=0.01, share=0.2)
    model = BPRMF(**SMALL[BPRMF], robustness=penalty)
    assert clone(model).robustness == penalty
    assert score_norm(model.fit(checkerboard)) < score_norm(BPRMF(**SMALL[BPRMF]).fit(checkerboard))
    with pytest.raises(store.StoreError, match="parameter robustness is a ScoreRows, which has no"):
        store.save(model, tmp_path / "model")
    store.save(model.set_params(robustness=None), tmp_path / "model")
    assert store.load(tmp_path / "model").recommend(k=3).equals(model.recommend(k=3))


def test_the_command_line_knows_it() -> None:
    model = make_model("ultragcn", ["robustness=cvar", "robustness_weight=1e-3"])
    assert (model.robustness, model.robustness_weight) == ("cvar", 1e-3)
    assert make_model("bprmf", ["robustness=none"]).robustness is None


@pytest.mark.parametrize(
    ("error", "wrong", "message"),
    [
        (
            ValueError,
            {"robustness": "cvar"},
            "BPRMF: got robustness='cvar' with robustness_weight=0.0; give both, such as",
        ),
        (ValueError, {"robustness_weight": 0.1}, "got robustness=None with robustness_weight=0.1"),
        (
            ValueError,
            {"robustness": FactorRows(weight=0.1), "robustness_weight": 0.1},
            "robustness_weight=0.1; a penalty object has a weight of its own",
        ),
        (
            ValueError,
            {"robustness": "cvr", "robustness_weight": 0.1},
            "BPRMF: robustness: there is no penalty 'cvr' here; known are cvar, rows, frobenius",
        ),
        (
            ValueError,
            {"robustness": "injective", "robustness_weight": 0.1},
            "no penalty 'injective' of a module with a core here",
        ),
        (TypeError, {"robustness": 3}, "must be the name of a penalty, a function of the module"),
        (ValueError, {"robustness_weight": -1.0}, "robustness_weight must be at least 0, got -1.0"),
        (ValueError, {"adversarial_steps": 0}, "adversarial_steps must be at least 1, got 0"),
    ],
)
def test_bad_parameters_are_refused(
    error: type[Exception], wrong: dict[str, Any], message: str, checkerboard: Interactions
) -> None:
    with pytest.raises(error, match=message):
        BPRMF(**wrong).fit(checkerboard)
