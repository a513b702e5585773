"""Every command of ``kg``: what it answers, and what it refuses in one sentence."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from command_lines import Run, data, refused
from hyperrank import store
from kg import commands
from kg.cli import main
from kg.triples import Triples
from link_predictors import Paths, parity_facts

EVENS = {f"e{n}" for n in range(0, 30, 2)}


@pytest.fixture(scope="session")
def beside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of facts.tsv, held.csv and, of the facts, the model ``m``."""
    folder = tmp_path_factory.mktemp("kg")
    known, other = parity_facts(), parity_facts(60, number=1)
    known.to_frame("pandas").to_csv(folder / "facts.tsv", sep="\t", index=False)
    held = other.to_frame("pandas").merge(known.to_frame("pandas"), how="left", indicator=True)
    held = held[held["_merge"] == "left_only"].drop(columns="_merge")
    held.to_csv(folder / "held.csv", index=False)
    model = Paths().fit(*Triples.read_parts([folder / "facts.tsv", folder / "held.csv"]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "PACKAGES", (*store.PACKAGES, "link_predictors"))
        store.save(model, folder / "m")
    return folder


@pytest.fixture
def run(
    beside: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[[str], tuple[int, str, str]]:
    """Runs a command line in a copy of ``beside``, where ``--model paths`` can be fitted."""
    shutil.copytree(beside, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(store, "PACKAGES", (*store.PACKAGES, "link_predictors"))
    monkeypatch.setitem(commands.MODELS, "paths", "link_predictors:Paths")

    def call(line: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = main(shlex.split(line))
        return code, *capfd.readouterr()

    return call


def test_fit(run: Run) -> None:
    found = data(run("fit facts.tsv --model paths --valid held.csv --out n --json --seed 3"))
    assert found["model"] == "Paths"
    assert (found["entities"], found["relations"], found["facts"]) == (30, 2, 325)
    assert found["params"]["random_state"] == 3
    assert 0 < found["validation_mrr"] < 1
    assert store.describe("n").digest == found["digest"]
    code, out, err = run("fit facts.tsv --model paths --out o")
    assert (code, err) == (0, "")
    assert out.startswith("saved Paths of 325 facts in o, ")
    refused(run("fit facts.tsv --model paths --out o"), "o exists already; choose another name")
    assert run("fit facts.tsv --model paths --out o --force")[0] == 0


def test_repeated_rows_are_told(run: Run) -> None:
    rows = Path("facts.tsv").read_text().splitlines()
    Path("twice.tsv").write_text("\n".join([*rows, rows[1], rows[2]]))
    _, out, _ = run("fit twice.tsv --model paths --out o")
    assert out.endswith("; 2 rows repeated a fact\n")


def test_fit_of_files_without_header_and_other_names(run: Run) -> None:
    frame = pd.read_csv("facts.tsv", sep="\t")
    frame.to_csv("train.txt", sep="\t", index=False, header=False)
    assert data(run("fit train.txt --no-header --model paths --out a --json"))["facts"] == 325
    line = "fit train.txt --head 0 --relation 1 --tail 2 --model paths --out b --json"
    assert data(run(line))["facts"] == 325
    frame.set_axis(["s", "p", "o"], axis=1).to_parquet("spo.parquet")
    line = "fit spo.parquet --head s --relation p --tail o --model paths --out c --json"
    assert data(run(line))["facts"] == 325
    frame.assign(year=2000).to_csv("four.txt", sep="\t", index=False, header=False)
    refused(run("fit four.txt --no-header --out d"), "four.txt has 4 columns; --no-header expects")
    refused(run("fit train.txt --model paths --out d"), "give the columns by number: 0, 1, 2")
    refused(run("fit spo.parquet --model paths --out d"), "has no column 'head'")


@pytest.mark.filterwarnings("default")
def test_fit_of_models_with_a_base(run: Run) -> None:
    small = "--set entity_dim=4 --set relation_dim=2 --set epochs=2 --quiet"
    frame = pd.read_csv("facts.tsv", sep="\t")
    frame.sample(frac=1, random_state=0).to_csv("mixed.csv", index=False)
    assert data(run(f"fit facts.tsv {small} --out t --json"))["model"] == "TuckER"
    line = f"fit mixed.csv --valid held.csv --model migtf --base t {small} --out g --json"
    assert data(run(line))["model"] == "MIGTF"
    asked = "--head e2 --relation like -k 3 --json"
    assert len(data(run(f"complete g {asked}"))["completions"]) == 3
    assert data(run("evaluate g held.csv --json"))["metrics"][0]["value"] > 0
    assert data(run("score-all g --out all -k 3 --quiet --json"))["written"] == 2
    code, _, err = run(f"fit facts.tsv --valid facts.tsv --model migtf {small} --out v")
    assert (code, err.count("325 of 325 validation facts are in train too")) == (0, 1)
    Path("other.csv").write_text("head,relation,tail\ne1,like,new\n")
    refused(run("fit other.csv --model migtf --base t --out h"), "unknown id 'new'")


def test_models_of_the_other_command_are_refused(run: Run) -> None:
    from recsys import Interactions, Popularity
    from recsys.cli import main as recsys

    log = Interactions.from_frame(pd.DataFrame({"user": [1, 2], "item": [1, 2]}))
    store.save(Popularity().fit(log), "r")
    said = "r holds a Popularity, which is no LinkPredictor; the models of recsys and of kg have a"
    for line in ("complete r --head a --relation b", "evaluate r held.csv", "predict r held.csv"):
        refused(run(line), said)
    refused(run("score-all r --out x"), said)
    refused(run("fit facts.tsv --model migtf --base r --out x"), "which is no TuckER")
    assert recsys(["recommend", "m", "--users", "1"]) == 2
    assert recsys(["compare", "r", "m", "held.csv"]) == 2
    assert recsys(["export", "m", "--index", "parquet", "--out", "i"]) == 2


def test_ids_may_be_known_before_there_are_facts(run: Run) -> None:
    Path("test.csv").write_text("head,relation,tail\ne1,like,new\n")
    refused(run("evaluate m test.csv"), "unknown id 'new'")
    assert run("fit facts.tsv --model paths --out n --ids-from test.csv")[0] == 0
    found = data(run("evaluate n test.csv --metrics mrr --json"))["metrics"]
    assert found[0]["unseen"] == 1
    assert run("fit facts.tsv --model paths --valid held.csv --known test.csv --out o")[0] == 0
    assert "new" in store.load("o").entities_
    refused(run("fit facts.tsv --out p --known test.csv"), "give --valid too")
    code, _, err = run("evaluate m test.csv --drop-unknown")
    assert code == 2
    assert "test holds no facts; the 1 that it had" in err


def test_known_facts_are_hidden_on_validation(run: Run) -> None:
    parity_facts(100, number=5).to_frame().to_csv("other.csv", index=False)
    sizes = "--model tucker --set entity_dim=8 --set relation_dim=4 --set epochs=2 --quiet"
    line = f"fit facts.tsv --valid held.csv --known other.csv {sizes}"
    told = data(run(f"{line} --out t --json"))
    model = store.load("t")
    held, other = Triples.read_parts(["held.csv", "other.csv"])
    assert told["validation_mrr"] == pytest.approx(model.score(held, known=other))
    assert told["validation_mrr"] > model.score(held)
    with Path("other.csv").open("a") as more:
        more.write("e1,like,new\n")
    line = f"{line.replace('tucker', 'migtf')} --base t --set hyperbolic_dim=4"
    assert data(run(f"{line} --out u --json"))["entities"] == told["entities"]


def test_complete(run: Run) -> None:
    rows = data(run("complete m --head e2 --relation like -k 3 --json"))["completions"]
    assert [row["rank"] for row in rows] == [1, 2, 3]
    assert {row["tail"] for row in rows} <= EVENS
    assert {(row["head"], row["relation"]) for row in rows} == {("e2", "like")}
    rows = data(run("complete m --tail e2 --tail e4 --relation unlike -k 2 --json"))["completions"]
    assert [row["tail"] for row in rows] == ["e2", "e2", "e4", "e4"]
    assert not {row["head"] for row in rows} & EVENS
    rows = data(run("complete m --head e2 --relation like --relation unlike -k 1 --json"))
    assert [row["relation"] for row in rows["completions"]] == ["like", "unlike"]
    every = data(run("complete m --head e2 --relation like -k 99 --include-known --json"))
    assert len(every["completions"]) == 30
    Path("few.csv").write_text("candidate\ne4\ne7\n")
    line = "complete m --head e2 --relation like --include-known --candidates few.csv --json"
    assert [row["tail"] for row in data(run(line))["completions"]] == ["e4", "e7"]
    code, out, _ = run("complete m --head e2 --relation like -k 2")
    assert code == 0
    assert out.splitlines()[0].split() == ["head", "relation", "tail", "score", "rank"]


def test_complete_of_a_file(run: Run) -> None:
    Path("q.csv").write_text("head,relation\ne1,like\ne2,unlike\n")
    assert data(run("complete m --queries q.csv -k 4 --out a.parquet --json"))["rows"] == 8
    assert pd.read_parquet("a.parquet")["head"].tolist() == ["e1"] * 4 + ["e2"] * 4
    refused(run("complete m --queries q.csv --out a.parquet"), "a.parquet exists already; choose")
    Path("q.csv").write_text("tail,relation\ne1,like\n")
    found = data(run("complete m --queries q.csv -k 4 --json"))["completions"]
    assert [row["tail"] for row in found] == ["e1"] * 4
    Path("q.csv").write_text("tail,relation,head\ne1,like,e3\n")
    refused(run("complete m --queries q.csv"), "must have a column head or a column tail, and not")
    refused(run("complete m --queries q.csv --relation like"), "--relation applies to --head and")


def test_complete_refuses(run: Run) -> None:
    refused(run("complete m --head e3x --relation like"), "head: unknown id 'e3x'; closest to")
    refused(run("complete m --head e3 --relation lik"), "relation: unknown id 'lik'; closest to")
    refused(run("complete m --head e3"), "got 1 --head and 0 --relation; give a --relation for")
    three = "--tail a --tail b --tail c --relation r --relation s"
    refused(run(f"complete m {three}"), "got 3 --tail and 2 --relation; give a --relation for each")
    refused(run("complete nowhere --head a --relation b"), "there is no saved model at")
    refused(run("complete m --head e3 --relation like -k 0"), "k must be at least 1, got 0")
    refused(run("complete m --head e3 --relation like --device abacus"), "device 'abacus' is")


def test_predict(run: Run) -> None:
    Path("asked.csv").write_text("head,relation,tail\ne1,like,e3\ne1,like,e2\ne1,like,e3\n")
    rows = data(run("predict m asked.csv --probability --json"))["predictions"]
    assert [row["tail"] for row in rows] == ["e3", "e2", "e3"]
    assert rows[0] == rows[2]
    assert rows[0]["score"] > rows[1]["score"]
    assert 0 < rows[1]["probability"] < 0.5 < rows[0]["probability"] < 1
    assert data(run("predict m asked.csv --out p.tsv --json")) == {"out": "p.tsv", "rows": 3}
    assert list(pd.read_csv("p.tsv", sep="\t").columns) == ["head", "relation", "tail", "score"]
    Path("bare.tsv").write_text("e1\tlike\te3\n")
    assert len(data(run("predict m bare.tsv --no-header --json"))["predictions"]) == 1
    Path("none.tsv").write_text("")
    refused(run("predict m none.tsv --no-header"), "none.tsv is empty; expected rows")
    Path("asked.csv").write_text("head,relation,tail\ne1,lik,e3\n")
    refused(run("predict m asked.csv"), "relation: unknown id 'lik'; closest to 'lik': 'like'")
    run("fit facts.tsv --model paths --out bare")
    refused(run("predict bare facts.tsv --probability"), "this model was not calibrated; fit it")


def test_score_all(run: Run) -> None:
    found = data(run("score-all m --out all -k 7 --quiet --json"))
    assert found == {"out": "all", "written": 2, "done": 2, "total": 2}
    frame = pd.read_parquet("all")
    assert len(frame) == 14
    assert run("score-all m --out all -k 7")[1].startswith("wrote 0 parts in all; 2 of 2 are")
    refused(run("score-all m --out all -k 8"), "all holds parts of another run: k is 7 there and 8")
    one = data(run("score-all m --out one --relation like -k 7 --memory 0.001 --quiet --json"))
    assert one["total"] == 1
    like = frame[frame["relation"] == "like"].reset_index(drop=True)
    pd.testing.assert_frame_equal(pd.read_parquet("one"), like)
    refused(run("score-all m --out x --shard 3"), "--shard expects I/N, such as 1/4, got '3'")
    refused(run("score-all m --out x --relation lik"), "relation: unknown id 'lik'")


@pytest.mark.filterwarnings("always")
def test_evaluate(run: Run) -> None:
    rows = data(run("evaluate m held.csv --json"))["metrics"]
    assert [row["metric"] for row in rows] == ["mrr", "hits@1", "hits@3", "hits@10"]
    model = store.load("m")
    held = Triples.read("held.csv")
    assert rows[0]["value"] == pytest.approx(model.score(held))
    by = data(run("evaluate m held.csv --by side --metrics mrr --known facts.tsv --json"))
    assert [row["side"] for row in by["metrics"]] == ["head", "tail"]
    code, _, err = run("evaluate m facts.tsv --metrics mrr")
    assert code == 0
    assert "warning" in err
    refused(run("evaluate m held.csv --metrics ndgc"), "ndgc")


def test_describe(run: Run) -> None:
    Path("few.csv").write_text(
        "head,relation,tail\na,in,b\nb,in,a\nc,in,a\na,of,a\na,in,b\nd,of,a\n"
    )
    found = data(run("describe few.csv --json"))
    rows = found.pop("by_relation")
    assert found == {
        "facts": 5,
        "duplicates": 1,
        "entities": 4,
        "relations": 2,
        "heads_only": 2,
        "tails_only": 0,
        "entities_of_one_fact": 2,
        "median_degree": 1,
        "largest_degree": 6,
        "loops": 1,
    }
    assert rows[0] == {
        "relation": "in",
        "facts": 3,
        "heads": 3,
        "tails": 2,
        "tails_per_head": 1.0,
        "heads_per_tail": 1.5,
        "reversed": pytest.approx(2 / 3),
    }
    assert [row["relation"] for row in rows] == ["in", "of"]
    code, out, _ = run("describe few.csv")
    assert (code, out.splitlines()[0]) == (0, "facts                 5")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty; expected rows"),
        ("head,relation,tail\n", "holds no rows; expected at least one fact"),
        ("head,tail\na,b\n", "has no column 'relation'"),
        ("head,relation,tail\na,b\n", "cannot be read"),
        ("head,relation,tail\na,,b\n", "missing"),
    ],
    ids=["empty", "header only", "two columns", "short line", "no relation"],
)
def test_bad_files(run: Run, text: str, message: str) -> None:
    Path("bad.csv").write_text(text)
    refused(run("fit bad.csv --model paths --out n"), message)
    assert not Path("n").exists()


def test_bad_wishes_of_a_fit(run: Run) -> None:
    refused(run("fit facts.tsv --model tuker --out n"), "there is no model 'tuker'; did you mean")
    refused(run("fit facts.tsv --model paths --set x=1 --out n"), "Paths has no parameter 'x'")
    refused(run("fit facts.tsv --model paths --base m --out n"), "--base applies to --model migtf")
    refused(run("fit fact.tsv --model paths --out n"), "there is no file fact.tsv; did you mean")
    refused(run("fit facts.tsv --model paths --device cuda:99 --out n"), "device 'cuda:99' was")
