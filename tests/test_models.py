"""Recommenders by name, and parameters from text."""

from __future__ import annotations

import re
import sys
import types
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from hyperrank.estimator import Estimator
from recsys import models


@dataclass(kw_only=True, eq=False)
class Knobs(Estimator):
    """One field of each kind."""

    dim: int = 1
    lr: float = 0.1
    fast: bool = False
    way: Literal["code", "paper"] = "code"
    limit: int | None = 3
    device: str = "auto"
    either: float | Literal["scale"] = 1.0
    sizes: tuple[int, ...] = ()
    random_state: int = 0


@pytest.fixture(autouse=True)
def _knobs(monkeypatch: pytest.MonkeyPatch) -> None:
    home: Any = types.ModuleType("knobs")
    home.Knobs = Knobs
    monkeypatch.setitem(sys.modules, "knobs", home)
    monkeypatch.setitem(models.MODELS, "knobs", "knobs:Knobs")


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("dim=64", 64),
        ("dim=1e3", 1000),
        ("dim=1_000", 1000),
        ("lr=1e-3", 1e-3),
        ("lr=2", 2.0),
        ("fast=true", True),
        ("fast=No", False),
        ("way=paper", "paper"),
        ("limit=none", None),
        ("limit=7", 7),
        ("device=cuda:1", "cuda:1"),
        ("either=scale", "scale"),
        ("either=0.5", 0.5),
        ("sizes=1,2,3", (1, 2, 3)),
        ("sizes=(4,)", (4,)),
    ],
)
def test_texts_are_read_as_the_type_of_the_field(setting: str, value: Any) -> None:
    found = getattr(models.make_model("knobs", [setting]), setting.partition("=")[0])
    assert found == value
    assert type(found) is type(value)


def test_settings_win_over_params_and_strangers_are_dropped() -> None:
    model = models.make_model("Kno-bs", ["dim=5"], dim=6, random_state=7, progress=True)
    assert (model.dim, model.random_state) == (5, 7)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("ultragnc", [], "there is no model 'ultragnc'; did you mean 'ultragcn'?"),
        ("zzz", [], "there is no model 'zzz'; known are ultragcn, triplh, bprmf"),
        ("knobs", ["dim"], "expected name=value, got 'dim'"),
        ("knobs", ["dims=3"], "Knobs has no parameter 'dims'; did you mean 'dim'?"),
        ("knobs", ["dim=2.5"], "Knobs parameter dim expects int, got '2.5'"),
        ("knobs", ["dim=inf"], "Knobs parameter dim expects int, got 'inf'"),
        ("knobs", ["fast=maybe"], "Knobs parameter fast expects bool, got 'maybe'"),
        ("knobs", ["way=papre"], "Knobs parameter way expects code or paper, got 'papre'"),
        ("knobs", ["limit=x"], "Knobs parameter limit expects int or none, got 'x'"),
        ("knobs", ["either=x"], "Knobs parameter either expects float or scale, got 'x'"),
    ],
)
def test_what_is_unknown_is_refused(name: str, settings: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        models.make_model(name, settings)
