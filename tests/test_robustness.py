"""Both commands that tell of robustness: what they measure, print, draw and refuse."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from command_lines import data, refused
from hyperrank import store
from hyperrank.robustness import across, alone, certified, fragile, norm_rows, quantiles
from kg import TuckER
from kg.cli import main as kg
from link_predictors import parity_facts
from recsys import Interactions, Popularity, PureSVD
from recsys.cli import main as recsys

FACTS = parity_facts()


def log() -> tuple[Interactions, Interactions]:
    source = np.random.default_rng(0)
    user = source.integers(0, 60, 2400)
    item = 2 * (30 * source.random(2400) ** 2).astype(int) + user % 2
    return Interactions.from_frame(pd.DataFrame({"user": user, "item": item})).split_random(0.3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("stores")
    train, test = log()
    store.save(PureSVD(dim=5).fit(train), place / "svd")
    store.save(Popularity().fit(train), place / "popular")
    test.to_frame().to_csv(place / "test.csv", index=False)
    setting: dict[str, Any] = {"entity_dim": 6, "relation_dim": 3, "epochs": 4, "batch_size": 30}
    store.save(TuckER(**setting).fit(FACTS), place / "tucker")
    others = parity_facts(50, number=1)
    others.select(~others.known_to(FACTS)).to_frame().to_csv(place / "facts.csv", index=False)
    return place


def run(main: Any, line: str, capfd: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    code = main(f"robustness {line}".split())
    return code, *capfd.readouterr()


def test_recommender(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    found = data(run(recsys, "svd --test test.csv --epsilons 0.1,0.5 -k 5 --json", capfd))
    assert found["metric"] == "ndcg@5"
    assert [row["method"] for row in found["curve"]] == ["clean", *np.repeat(
        ["pgd", "fgsm", "random", "balanced pgd"], 2)]  # fmt: skip
    assert found["curve"][2]["value"] < found["curve"][0]["value"]
    assert len(found["fragile"]) == 10
    smallest = [row["relative_radius"] for row in found["fragile"]]
    assert smallest == sorted(smallest)
    model = store.load("svd")
    assert isinstance(model, PureSVD)
    assert smallest[0] == pytest.approx(model.certify(k=5).relative_radius.min())
    norms = {(row["of"], row["norm"]): row for row in found["norms"]}
    scores = model.scorer_.queries @ model.scorer_.candidates.T
    exact = norms["scores", "two to infinity"]
    assert exact["lower"] == exact["upper"]
    assert exact["lower"] == pytest.approx(float(scores.norm(dim=1).max()), rel=1e-5)
    spectral, largest = norms["scores", "spectral"], float(torch.linalg.matrix_norm(scores, 2))
    assert spectral["lower"] * 0.9999 <= largest <= spectral["upper"]
    code, out, err = run(recsys, "svd", capfd)
    assert (code, err) == (0, "")
    assert out.startswith("radii of the lists of 10")
    assert "the most fragile users" in out


@pytest.mark.parametrize("with_test", [True, False])
def test_link_predictor(
    with_test: bool,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    given = "--test facts.csv --epsilons 0.3" * with_test
    found = data(run(kg, f"tucker {given} -k 3 --json", capfd))
    assert len(found["curve"]) == 4 * with_test
    assert list(found["fragile"][0])[:3] == ["given", "relation", "asked"]
    core = found["norms"][-1]
    assert (core["of"], core["norm"]) == ("core", "injective")
    assert 0 < core["lower"] <= core["upper"]
    first = found["fragile"][0]
    side = {f"{'head' if first['asked'] == 'tail' else 'tail'}s": [first["given"]]}
    model = store.load("tucker")
    assert isinstance(model, TuckER)
    told = model.certify(**side, relations=[first["relation"]], k=3).relative_radius
    assert float(told.iloc[0]) == pytest.approx(first["relative_radius"])


@pytest.mark.parametrize(("main", "line"), [(recsys, "svd --test test.csv"), (kg, "tucker")])
def test_pages(
    main: Any,
    line: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(folder)
    code, out, err = run(main, f"{line} --epsilons 0.2 --report a.html", capfd)
    assert (code, err) == (0, "")
    assert out.endswith("wrote a.html\n")
    text = Path("a.html").read_text(encoding="utf-8")
    assert text.count("<svg ") == (2 if "--test" in line else 1)
    assert not re.search(r"<script|<link|@import|src=|href=\"http", text)
    assert "Robustness of" in text


@pytest.mark.parametrize(("main", "store"), [(recsys, "svd"), (kg, "tucker")])
def test_a_page_of_lists_that_hold_all(
    main: Any,
    store: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(folder)
    found = data(run(main, f"{store} -k 1000 --report all.html --json", capfd))
    assert found["fragile"] == []
    assert {row["50%"] for row in found["radii"]} == {None}
    text = Path("all.html").read_text(encoding="utf-8")
    assert "lists can change, whatever the move: each holds all that can be listed" in text
    assert "<svg" not in text
    assert not re.search(r">(inf|nan)<|median relative", text)
    code, out, err = run(main, f"{store} -k 1000", capfd)
    assert (code, err) == (0, "")
    assert "no rows" in out


def test_rows() -> None:
    told = {"radius": [2.0, 0.0, np.inf], "relative_radius": [0.5, 0.0, np.inf]}
    rest = {"radius_2k": [8.0, 1.0, np.inf], "global_radius": [1.0, 0.0, np.inf]}
    frame = pd.DataFrame({"user": ["a", "b", "c"], **told, **rest})
    rows = certified(frame, torch.full((3,), 4.0))
    assert rows["relative_radius_2k"].tolist() == [2.0, 0.25, np.inf]
    assert fragile(rows)[0] == {"user": "b", "relative_radius": 0.0, "relative_radius_2k": 0.25}
    assert [row["user"] for row in fragile(rows)] == ["b", "a"]
    assert quantiles(rows)[0]["50%"] == 0.5
    assert quantiles(rows)[0]["95%"] == 0.5
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(100, 80, generator=generator)
    values = {row["norm"]: row["lower"] for row in norm_rows({"it": alone(table)}, generator)}
    assert values["Frobenius"] == pytest.approx(float(table.norm()), rel=1e-5)
    assert values["two to infinity"] == pytest.approx(float(table.norm(dim=1).max()), rel=1e-5)


def test_methods_stand_side_by_side() -> None:
    rows = [("clean", 0.0, 0.5), ("pgd", 0.1, 0.4), ("pgd", 0.2, 0.3), ("x", 0.1, 0.45)]
    names = ("method", "epsilon", "value")
    curve = [dict(zip(names, row, strict=True)) | {"user_radius": 2 * row[1]} for row in rows]
    assert across([*curve, curve[3] | {"epsilon": 0.2, "user_radius": 0.4}]) == [
        {"epsilon": 0.0, "PGD-10": 0.5, "x": 0.5, "user_radius": 0.0},
        {"epsilon": 0.1, "PGD-10": 0.4, "x": 0.45, "user_radius": 0.2},
        {"epsilon": 0.2, "PGD-10": 0.3, "x": 0.45, "user_radius": 0.4},
    ]


def test_refusals(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    refused(run(recsys, "svd --report a.pdf", capfd), "a.pdf: a page is a file that ends in .html")
    Path("reports").mkdir()
    for main in (recsys, kg):  # said before the store is read
        line = "nowhere --report reports"
        refused(run(main, line, capfd), "reports is a folder; name a file in it, such as reports/r")
    refused(run(recsys, "popular", capfd), "Popularity learns no vectors")
    for wrong in ("much", "0.1,,0.2", "0.1,0", "nan", "inf", "-1"):
        code, _, err = run(recsys, f"svd --epsilons={wrong}", capfd)
        assert code == 2
        assert f"--epsilons: expected numbers above 0 such as 0.1,0.4, got '{wrong}'" in err
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    refused(run(kg, "tucker --report a.html", capfd), "a report needs matplotlib: pip install")
