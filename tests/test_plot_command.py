"""``recsys plot`` and ``kg plot``: what they write, tell and refuse."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from test_pages import Nested

from command_lines import data, refused
from hyperrank import store
from kg import MIGTF
from kg.cli import main as kg
from link_predictors import parity_facts
from recsys import EASE, Interactions, TriplH
from recsys.cli import main as recsys

pytest.importorskip("matplotlib")

STARTS = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF", "html": b"<!doctype html>"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("stores")
    rows = [(user, (7 * user + 3 * n * n) % 23) for user in range(40) for n in range(user % 9 + 2)]
    frame: Any = {"user": [user for user, _ in rows], "item": [item for _, item in rows]}
    import pandas as pd

    log = Interactions.from_frame(pd.DataFrame(frame))
    store.save(TriplH(dim=3, epochs=2, evaluate_every=1).fit(*log.split_random(0.2)), place / "hyp")
    store.save(EASE().fit(log), place / "ease")
    small: dict[str, Any] = {"entity_dim": 6, "relation_dim": 3, "epochs": 2, "batch_size": 30}
    store.save(MIGTF(**small, hyperbolic_dim=3).fit(parity_facts()), place / "mig")
    kinds = [f"{item},{'ab'[item % 2]}" for item in range(23)]
    (place / "items.csv").write_text("\n".join(["item,genre", *kinds]))
    (place / "other.csv").write_text("item,genre\n98,a\n99,b\n")
    ids = [f"e{n},{'ab'[n % 2]}" for n in range(30)]
    (place / "things.csv").write_text("\n".join(["entity,kind", *ids]))
    return place


@pytest.fixture
def run(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Any:
    """Runs ``plot`` beside the stores; ``OUT`` in a line is a folder of the test."""
    monkeypatch.chdir(folder)

    def call(line: str, main: Any = recsys) -> tuple[int, str, str]:
        capfd.readouterr()
        code = main(f"plot {line.replace('OUT', str(tmp_path))}".split())
        return code, *capfd.readouterr()

    return call


@pytest.mark.parametrize("suffix", STARTS)
def test_a_picture_in_a_file(suffix: str, run: Any, tmp_path: Path) -> None:
    found = data(run(f"hyp radius --out OUT/a.{suffix} --json"))
    assert (tmp_path / f"a.{suffix}").read_bytes().startswith(STARTS[suffix])
    assert (found["model"], found["out"]) == ("TriplH", str(tmp_path / f"a.{suffix}"))
    assert -1 <= found["pictures"]["radius"]["spearman"] <= 1
    assert found["left_out"] == {}
    refused(run(f"hyp radius --out OUT/a.{suffix}"), "exists already; choose another name")
    code, out, _ = run(f"hyp radius --out OUT/a.{suffix} --force")
    assert code == 0
    assert out.startswith("TriplH: distance against popularity, Spearman ")
    assert out.endswith(f"a.{suffix}\n")


def test_a_page_of_all(run: Any, tmp_path: Path) -> None:
    found = data(run("hyp all --out OUT/a.html --group-by items.csv:genre --users -k 3 --json"))
    assert list(found["pictures"]) == ["disk", "radius", "popularity", "spectrum", "training"]
    assert found["pictures"]["popularity"]["k"] == 3
    assert sum(found["pictures"]["disk"]["groups"].values()) == found["pictures"]["disk"]["items"]
    assert found["pictures"]["disk"]["users_drawn"] == 40
    reader = Nested()
    reader.feed((tmp_path / "a.html").read_text())
    assert reader.open == []
    assert "TriplH of hyp" in reader.words
    assert (tmp_path / "a.html").read_text().count("<figure>") == 5
    text = run("ease all --out OUT/b.html")[1]
    assert "no disk: EASE learns no vectors" in text
    assert "no training: EASE keeps no training history" in text
    assert (tmp_path / "b.html").read_text().count("<figure>") == 1


def test_link_predictors(run: Any) -> None:
    line = "mig disk --group-by things.csv:kind --out OUT/a.png --json"
    assert data(run(line, kg))["pictures"]["disk"]["groups"] == {"a": 15, "b": 15}
    found = data(run("mig all --out OUT/a.html --json", kg))
    assert found["pictures"]["popularity"]["of"].endswith(" questions")
    assert found["pictures"]["training"]["epochs"] == 2
    refused(run("mig disk --out OUT/b.png"), "mig holds a MIGTF, which is no Recommender")
    refused(run("hyp disk --out OUT/b.png", kg), "hyp holds a TriplH, which is no LinkPredictor")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "ease disk --out OUT/a.png",
            "EASE learns no vectors; use a factor model such as UltraGCN",
        ),
        ("ease training --out OUT/a.png", "EASE keeps no training history: it is not learned in"),
        ("hyp disk --out OUT/a.gif", "a.gif: a plot is a file that ends in .png, .svg, .pdf"),
        ("hyp all --out OUT/a.png", "a.png: all of them make a page, a file that ends in .html"),
        ("hyp radius -k 5 --out OUT/a.png", "-k applies to popularity and all, not to radius"),
        ("hyp radius --users --out OUT/a.png", "--users applies to disk and all, not to radius"),
        ("hyp training --group-by a:b --out OUT/a.png", "--group-by applies to disk and all"),
        ("hyp popularity -k 0 --out OUT/a.png", "-k must be at least 1, got 0"),
        (
            "hyp disk --group-by items.csv --out OUT/a.png",
            "expects FILE:COLUMN, such as items.csv:",
        ),
        ("hyp disk --group-by items.csv:gnere --out OUT/a.png", "did you mean 'genre'?"),
        ("hyp disk --group-by none.csv:genre --out OUT/a.png", "there is no file none.csv"),
        ("hyp disk --group-by things.csv:kind --out OUT/a.png", "has no column 'item'"),
        (
            "hyp disk --group-by things.csv:kind --item entity --out OUT/a.png",
            "'e0' cannot be an id",
        ),
        (
            "hyp disk --group-by other.csv:genre --out OUT/a.png",
            "such as 98, 99, of which the model",
        ),
        ("none disk --out OUT/a.png", "none"),
    ],
)
def test_what_is_refused(line: str, message: str, run: Any, tmp_path: Path) -> None:
    refused(run(line), message)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_kind(run: Any) -> None:
    code, out, err = run("hyp face --out OUT/a.png")
    assert (code, out) == (2, "")
    assert "argument KIND: invalid choice: 'face'" in err


@pytest.mark.parametrize("name", ["a.png", "a.html"])
def test_the_extra_is_named(name: str, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    refused(run(f"hyp disk --out OUT/{name}"), "needs matplotlib: pip install 'hyperrank[plots]'")
