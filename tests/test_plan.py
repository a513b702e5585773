"""Predicted memory against measured fits, and refusals before them."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import recsys
from recsys import costs, plan
from recsys.costs import Sizes
from recsys.interactions import Interactions
from recsys.models import MODELS, make_model

RATES = plan.Rates(1e10, 1e9)
GOWALLA = Sizes(29_858, 40_981, 810_128)

MEASURED = """
import ctypes, json, sys
import torch
from hyperrank.pairs import pair_set
from recsys.interactions import Interactions
from recsys.models import make_model
from recsys import plan

def log_of(n_users, n_items, n):
    source = torch.Generator().manual_seed(0)
    user = (torch.rand(n, generator=source) ** 1.5 * n_users).long()
    item = (torch.rand(n, generator=source) ** 2 * n_items).long()
    return Interactions.from_pairs(pair_set(user, item, n_queries=n_users, n_candidates=n_items))

def peak():
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

for name, sizes, settings in json.loads(sys.argv[1]):
    once = [one for one in settings if one.startswith(("epochs", "iterations"))]
    make_model(name, once).fit(log_of(50, 40, 200))  # what is imported and cached once
    model, log = make_model(name, settings), log_of(*sizes)
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/clear_refs", "w") as mark:
        mark.write("5")
    before = peak()
    model.fit(log)
    predicted = plan.plan(model, plan.sizes_of(log), rates=plan.Rates(1e9, 1e9)).cost.peak
    print(json.dumps([name, peak() - before, predicted]), flush=True)
"""
FITS: list[tuple[str, tuple[int, int, int], list[str]]] = [
    ("popularity", (200_000, 100_000, 3_000_000), []),
    ("puresvd", (60_000, 40_000, 100_000), ["dim=60", "iterations=0"]),
    ("ease", (5_000, 3_000, 100_000), []),
    ("itemknn", (10_000, 4_000, 200_000), []),
    (
        "ultragcn",
        (40_000, 40_000, 4_000),
        ["dim=128", "epochs=1", "batch_size=1024", "init=normal"],
    ),
    ("bprmf", (40_000, 40_000, 4_000), ["dim=128", "epochs=1"]),
    ("triplh", (40_000, 40_000, 4_000), ["dim=128", "epochs=1"]),
    ("triplh", (4_000, 20_000, 400_000), ["epochs=1", "batch_size=500", "negatives=20000"]),
]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_memory_is_predicted_within_a_factor_of_two() -> None:
    command = [sys.executable, "-c", MEASURED, json.dumps(FITS)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [name for name, _, _ in found] == [name for name, _, _ in FITS]
    for name, measured, predicted in found:
        assert 0.5 < predicted / measured < 2, (name, measured >> 20, predicted >> 20)


@pytest.mark.parametrize("name", MODELS)
def test_every_model_has_a_plan(name: str) -> None:
    kind = MODELS[name].partition(":")[2]
    assert kind in costs.COUNTS
    assert recsys.HOME[kind] == MODELS[name].partition(":")[0]
    found = plan.plan(make_model(name), GOWALLA, available=2**34, rates=RATES)
    assert found.fits
    assert 0 < found.cost.peak < 2**34
    assert 0 < found.seconds < math.inf
    assert json.loads(json.dumps(found.as_dict()))["model"] == kind


@pytest.mark.parametrize("name", MODELS)
def test_more_of_anything_never_costs_less(name: str) -> None:
    model = make_model(name)
    base = costs.cost_of(model, GOWALLA)
    for field in ("n_users", "n_items", "n_pairs"):
        more = GOWALLA._replace(**{field: 2 * getattr(GOWALLA, field), "squares": GOWALLA.work})
        cost = costs.cost_of(model, more)
        assert cost.peak >= base.peak
        assert cost.flops + cost.moved >= 0.99 * (base.flops + base.moved)


def test_what_does_not_fit_is_said_with_figures() -> None:
    huge = Sizes(1_000_000, 200_000, 50_000_000)
    found = plan.plan(make_model("ease"), huge, available=2**34, rates=RATES)
    assert not found.fits
    assert found.sentence.startswith(
        "EASE on 1,000,000 users x 200,000 items, 50,000,000 pairs would need "
    )
    assert (
        "GiB, 149.0 of it for the items x items matrix, but 16.0 GiB are available"
        in found.sentence
    )
    assert found.sentence.endswith("set max_items, or use ItemKNN, which never makes that matrix")
    assert plan.plan(make_model("ultragcn"), huge, available=2**34, rates=RATES).fits


def test_what_fits_is_said_with_time() -> None:
    sizes = Sizes(1000, 1000, 10_000)
    found = plan.plan(make_model("ease"), sizes, available=2**30, rates=RATES)
    assert (
        found.sentence
        == "EASE on 1,000 users x 1,000 items, 10,000 pairs: 0.01 of 1.0 GiB, about 1 s"
    )


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.1, "1 s"), (61, "61 s"), (600, "10 min"), (9000, "2.5 h")]
)
def test_times_are_spoken(seconds: float, said: str) -> None:
    assert plan._spoken(seconds) == said


def test_a_fit_is_refused_before_it_starts(
    checkerboard: Interactions, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan.check_memory(make_model("ease"), checkerboard)
    monkeypatch.setattr("hyperrank.devices.free_memory", lambda device: 1000)
    with pytest.raises(
        plan.OutOfMemoryPlanError, match=r"EASE on 60 users x 40 items, .* would need"
    ):
        plan.check_memory(make_model("ease"), checkerboard)


def test_fits_at_once_share_the_memory(
    checkerboard: Interactions, monkeypatch: pytest.MonkeyPatch
) -> None:
    peak = plan.plan(make_model("ease"), plan.sizes_of(checkerboard)).cost.peak
    monkeypatch.setattr("hyperrank.devices.free_memory", lambda device: 3 * peak)
    plan.check_memory(make_model("ease"), checkerboard, at_once=2)
    with pytest.raises(plan.OutOfMemoryPlanError, match="fewer than 4 fits at once"):
        plan.check_memory(make_model("ease"), checkerboard, at_once=4)


def test_sizes_of_a_log(checkerboard: Interactions) -> None:
    found = plan.sizes_of(checkerboard)
    degrees = checkerboard.pairs.query_degrees.tolist()
    assert found == (60, 40, sum(degrees), sum(d * d for d in degrees))


def test_the_probe_measures_something() -> None:
    rates = plan.probe(torch.device("cpu"))
    assert rates.flops > 1e7
    assert rates.moved > 1e6


def test_an_unknown_model_has_no_plan(tmp_path: Path) -> None:
    model: Any = object()
    with pytest.raises(
        ValueError, match="no plan is known for object; known are UltraGCN, TriplH, BPRMF"
    ):
        costs.cost_of(model, GOWALLA)


def test_sizes_start_at_one() -> None:
    said = "expected at least one user, item and pair, got 0, 5 and 7"
    with pytest.raises(ValueError, match=said):
        plan.plan(make_model("ease"), Sizes(0, 5, 7), rates=RATES)


@pytest.mark.parametrize(
    ("name", "gpu", "host", "where"),
    [
        ("ultragcn", 2**40, 2**26, "main memory"),  # its item graph is made there
        ("ultragcn", 2**26, 2**40, "cuda"),
        ("itemknn", 2**10, 2**40, "main memory"),
        ("puresvd", 2**40, 2**10, "cuda"),
        ("ease", 2**32, 2**40, "cuda"),
        ("ease", 2**40, 2**32, "main memory"),
    ],
)
def test_each_phase_is_held_against_its_own_memory(
    name: str, gpu: int, host: int, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hyperrank.devices.resolve", torch.device)
    free = {"cuda": gpu, "cpu": host}
    monkeypatch.setattr("hyperrank.devices.free_memory", lambda device: free[device.type])
    found = plan.plan(make_model(name, device="cuda"), GOWALLA, rates=RATES)
    assert (found.where, found.available) == (where, free["cuda" if where == "cuda" else "cpu"])
    assert f" in {where}" in found.sentence.replace("available in", "in")
