"""``recsys search`` and ``kg search``: the best model saved, the study continued, the page."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from command_lines import Run, data, refused
from hyperrank import generations, search_page, spaces, store, writers
from kg import cli as kg_cli
from kg import spaces as of_predictors
from kg.commands import MODELS
from kg.triples import Triples
from link_predictors import parity_facts
from recsys import Interactions, Popularity, cli

optuna = pytest.importorskip("optuna")

QUICK = "--set epochs=4 --set evaluate_every=2 --trials 6 --quiet"
LINE = f"log.csv --model bprmf --metric ndcg@10 --out best {QUICK}"


@pytest.fixture
def recsys(
    checkerboard: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Run:
    monkeypatch.chdir(tmp_path)
    checkerboard.to_frame().to_csv("log.csv", index=False)
    return searching(cli.main, capfd)


def searching(main: Callable[[list[str]], int], capfd: pytest.CaptureFixture[str]) -> Run:
    def call(line: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = main(["search", *shlex.split(line)])
        return code, *capfd.readouterr()

    return call


def test_the_best_recommender_is_saved_and_the_study_goes_on(recsys: Run) -> None:
    pytest.importorskip("matplotlib")
    first = data(recsys(f"{LINE} --json --report page.html"))
    model = store.load("best")
    assert model.get_params() == first["params"]
    assert (model.epochs, model.monitor) == (4, "ndcg@10")
    means = [row["mean"] for row in first["finalists"]]
    assert len(means) >= 3
    assert means == sorted(means, reverse=True)
    assert first["best"] == first["finalists"][0]["number"]
    assert first["value_as_given"] > 0
    assert first["storage"] == "best.study.log"
    assert first["command"].startswith("recsys search log.csv --model bprmf")
    assert sum(first["counts"].values()) == len(first["trials"]) == 6
    assert "epochs" not in first["trials"][1]["params"], "what --set gives is held"
    text = Path("page.html").read_text(encoding="utf-8")
    assert text.count("<svg ") == (3 if first["importance"] else 1)
    assert not re.search(r"<script|<link|@import|src=|href=\"http", text)
    assert first["command"] in text
    refused(recsys(LINE), "best exists already")
    code, out, err = recsys(LINE.replace("trials 6", "trials 8") + " --force")
    assert (code, err) == (0, "")
    assert "best ndcg@10" in out
    assert "saved BPRMF in best, the study in best.study.log" in out


def test_memory_is_planned_as_by_fit(recsys: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hyperrank.devices.free_memory", lambda device: 10**7)
    line = LINE.replace("out best", "out small --json")
    reasons = [row["reason"] for row in data(recsys(line))["trials"] if row["state"] == "failed"]
    assert reasons
    assert all(one.startswith("OutOfMemoryPlanError: BPRMF on 60 users") for one in reasons)
    monkeypatch.setattr("hyperrank.devices.free_memory", lambda device: 1000)
    refused(recsys(LINE), "BPRMF on 60 users x 40 items")
    refused(recsys(f"{LINE} --n-jobs 2"), "fewer than 2 fits at once")
    assert not Path("best.study.log").exists()
    assert recsys(f"{LINE} --ignore-plan")[0] == 0


def test_a_store_of_versions_gets_one_more(recsys: Run) -> None:
    model = Popularity().fit(Interactions.read("log.csv"))
    store.save(model, "best")
    writers.add(model, "best")
    found = data(recsys(f"{LINE} --force --json"))
    made = generations.current("best")
    assert (made.version, made.model) == ("v000003", found["digest"])
    assert made.report == {"validation_ndcg@10": found["value"]}
    assert "saved BPRMF in best as v000004, the" in recsys(f"{LINE} --force")[1]


def test_an_interrupt_saves_the_best(recsys: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from recsys.bpr import BPRMF

    learn, begun = BPRMF._learn, []

    def third(self: Any, *logs: Any) -> Any:
        begun.append(self)
        if len(begun) == 3:
            raise KeyboardInterrupt
        return learn(self, *logs)

    monkeypatch.setattr(BPRMF, "_learn", third)
    answer = data(recsys(f"{LINE} --json"), code=130)
    assert answer["interrupted"]
    assert answer["counts"]["complete"] == 2
    assert store.load("best").lr == answer["params"]["lr"]


def test_refusals(recsys: Run) -> None:
    refused(recsys("log.csv --out m --metric ndgc@10"), "did you mean 'ndcg'?")
    refused(recsys("log.csv --out m --metric gini@10"), "metric must be a measure of what is true")
    refused(recsys("log.csv --out m --model popularity"), "the space suggests nothing")
    refused(recsys("log.csv --out m --storage no/s.log"), "as the storage of a study")
    refused(recsys("log.csv --out m --split none"), "a search needs a part to judge by")
    refused(recsys(f"{LINE} --report a.pdf"), "a page is a file that ends in .html")
    assert not Path("m").exists()


def test_the_best_link_predictor_is_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    frame = parity_facts().to_frame()
    frame[:280].to_csv("facts.csv", index=False)
    frame[280:305].to_csv("valid.csv", index=False)
    frame[305:].to_csv("test.csv", index=False)
    run = searching(kg_cli.main, capfd)
    sizes = "--set entity_dim=8 --set relation_dim=4"
    found = data(run(f"facts.csv --valid valid.csv --metric hits@3 --out k {sizes} {QUICK} --json"))
    model = store.load("k")
    assert (model.entity_dim, model.monitor) == (8, "hits@3")
    assert found["value"] == max(value for _, value in model.validation_history_)
    writers.add(model, "k")
    line = "facts.csv --valid valid.csv --metric hits@3 --out k --force"
    again = data(run(f"{line} --storage k.study.log {sizes} {QUICK} --json"))
    assert generations.current("k").report == {"validation_hits@3": again["value"]}
    assert again["value"] == found["value"]
    refused(run(f"{line} --known test.csv --storage k.study.log {sizes}"), "is of the data")
    line = f"facts.csv --valid valid.csv --known test.csv --out h {sizes} {QUICK} --json"
    told = data(run(line))["value"]
    valid, test = (Triples.read(f"{name}.csv") for name in ("valid", "test"))
    model = store.load("h")
    assert model.score(valid, known=test) == pytest.approx(told)
    assert model.score(valid) < told
    line = "facts.csv --valid valid.csv --out n"
    refused(run(f"{line} --metric mean_rank"), "expected 'mrr' or hits with a cutoff")


@pytest.mark.parametrize("name", MODELS)
def test_every_link_predictor_has_a_space_that_fits_it(name: str) -> None:
    from hyperrank.named_models import make_model

    space, study = getattr(of_predictors, name), optuna.create_study()
    model = make_model(MODELS, name)
    for _ in range(5):
        replace(model, **space(study.ask()))._check_params()
    kinds = spaces.suggested_by(optuna, space, model)
    for key in kinds:
        assert spaces.within(kinds, key, getattr(model, key)), f"the default {key} lies outside"


def test_slices_tell_words_from_numbers() -> None:
    pytest.importorskip("matplotlib")
    from hyperrank.trials import Searched

    names = ("complete", "pruned", "complete")
    params = [{"lr": 1e-3**n, "loss": "ab"[n % 2]} for n in range(3)]
    rows: list[dict[str, Any]] = [
        {"number": n, "state": state, "value": n + 0.5, "params": params[n]}
        for n, state in enumerate(names)
    ]
    found = Searched(None, "mrr", rows, 2, {}, [], {"lr": 0.75, "loss": 0.25}, False)
    first, second = search_page.slices_figure(found).axes
    assert (first.get_xscale(), first.get_xlabel()) == ("log", "lr")
    assert [tick.get_text() for tick in second.get_xticklabels()] == ["a", "b"]
