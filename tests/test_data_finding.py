"""Where data sets are looked for, in which order, and what is said where they are not."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import data.finding
from data.download import DownloadError
from data.finding import MissingDataError, cache, place, table
from data.formats import adjacency_parts
from data.recipe import Checksum, Recipe, Source, check_tables

TEXT = {"train.txt": "0 1 2\n1 0\n2\n", "test.txt": "0 0\n1 2\n"}
RECIPE = Recipe(
    name="tiny",
    kind="split",
    users=2,
    items=3,
    events=5,
    publisher="nobody, https://example.org",
    licence="none",
    source=Source({name: f"https://example.org/{name}" for name in TEXT}, adjacency_parts),
)


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    shared, cached = tmp_path / "shared", tmp_path / "cache"
    monkeypatch.setenv("HYPERRANK_DATA", str(shared))
    monkeypatch.setenv("HYPERRANK_CACHE", str(cached))
    return shared, cached


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What the publisher serves now, by file name; may be changed by the test."""
    import hashlib

    served = dict(TEXT)

    def fetch(url: str, target: Path, *, checksum: Checksum | None = None) -> str:
        del checksum
        name = url.rsplit("/", 1)[1]
        if name not in served:
            raise DownloadError(f"{url} answered 404 Not Found")
        target.write_text(served[name])
        return hashlib.sha256(served[name].encode()).hexdigest()

    monkeypatch.setattr(data.finding, "fetch", fetch)
    return served


def put(folder: Path, user: int = 7) -> None:
    folder.mkdir(parents=True)
    for part in ("train", "test"):
        pq.write_table(pa.table({"user": [user], "item": [1]}), folder / f"{part}.parquet")


def users(part: str = "train") -> list[int]:
    return table(RECIPE, part).column("user").to_pylist()


def test_the_named_folder_comes_before_the_cache(folders: tuple[Path, Path]) -> None:
    shared, cached = folders
    put(cached / "tiny", user=1)
    assert (place(RECIPE).kind, users()) == ("cache", [1])
    put(shared / "tiny", user=2)
    assert (place(RECIPE).kind, users()) == ("HYPERRANK_DATA", [2])
    put(shared / "recsys" / "tiny", user=3)
    assert place(RECIPE) == ("HYPERRANK_DATA", shared / "recsys" / "tiny")
    assert users() == [3]


def test_a_folder_without_all_parts_is_passed_over(folders: tuple[Path, Path]) -> None:
    put(folders[0] / "tiny")
    (folders[0] / "tiny" / "test.parquet").unlink()
    assert place(RECIPE).kind == "publisher"


def test_files_put_there_by_hand_are_read(folders: tuple[Path, Path]) -> None:
    folder = folders[1] / "tiny"
    folder.mkdir(parents=True)
    for name, text in TEXT.items():
        (folder / name).write_text(text)
    assert place(RECIPE).kind == "cache"
    assert table(RECIPE, "train").to_pylist()[0] == {"user": 0, "item": 1}


def test_the_cache_follows_the_system_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HYPERRANK_CACHE", raising=False)
    assert cache().parts[-2:] == ("hyperrank", "data")


@pytest.mark.usefixtures("published")
def test_a_download_is_converted_once_and_says_where_it_is_from(
    folders: tuple[Path, Path], published: dict[str, str]
) -> None:
    assert users() == [0, 0, 1]
    origin = json.loads((folders[1] / "tiny" / "SOURCE.json").read_text())
    assert origin["urls"]["test.txt"] == "https://example.org/test.txt"
    assert origin["licence"] == "none"
    assert origin["verified_by_publisher"] == []
    published.clear()  # the publisher is gone, the cache stays
    assert users("test") == [0, 1]


def test_a_publisher_that_is_away_leaves_nothing_and_advice(
    folders: tuple[Path, Path], published: dict[str, str]
) -> None:
    del published["test.txt"]
    with pytest.raises(MissingDataError) as caught:
        users()
    said = str(caught.value)
    assert "tiny is not here: https://example.org/test.txt answered 404 Not Found" in said
    assert "Set HYPERRANK_DATA to a folder that holds tiny/" in said
    assert f"into {folders[1] / 'tiny'}. It comes from nobody" in said
    assert not (folders[1] / "tiny").exists()


@pytest.mark.usefixtures("folders")
def test_without_a_known_address_the_advice_says_so() -> None:
    with pytest.raises(MissingDataError, match="no stable address of its publisher is known"):
        table(replace(RECIPE, source=None), "train")
    assert place(replace(RECIPE, source=None)).kind == "nowhere"


def test_other_sizes_than_known_are_refused(
    folders: tuple[Path, Path], published: dict[str, str]
) -> None:
    published["test.txt"] = "0 0\n"
    with pytest.raises(ValueError, match="2 users, 3 items, 4 events, but 2 users, 3 items, 5 e"):
        users()
    assert not (folders[1] / "tiny").exists()


@pytest.mark.usefixtures("folders", "published")
def test_other_pairs_than_known_are_refused() -> None:
    with pytest.raises(ValueError, match="the rows of train differ from the known ones"):
        table(replace(RECIPE, digests={"train": "0" * 64}), "train")


def test_another_edition_is_not_compared(
    folders: tuple[Path, Path], published: dict[str, str]
) -> None:
    assert RECIPE.source is not None
    published["test.txt"] = "0 0\n"
    other = replace(RECIPE, source=replace(RECIPE.source, same_edition=False))
    assert table(other, "test").num_rows == 1


def test_a_file_that_changed_since_it_first_came_is_refused(
    folders: tuple[Path, Path], published: dict[str, str]
) -> None:
    import shutil

    users()
    shutil.rmtree(folders[1] / "tiny")
    published["train.txt"] = "0 2 1\n1 0\n2\n"  # the same pairs, other bytes
    with pytest.raises(DownloadError, match=r"train.txt changed since it first came: .* delete"):
        users()
    (folders[1] / "tiny.first.json").unlink()
    assert users() == [0, 0, 1]


def test_an_absent_package_names_the_extra() -> None:
    recipe = replace(RECIPE, package="no_such_package", read=lambda _: pa.table({}))
    with pytest.raises(MissingDataError, match=r"no_such_package, which is not installed; pip ins"):
        table(recipe, "interactions")


@pytest.mark.usefixtures("folders", "published")
def test_a_table_that_no_publisher_has() -> None:
    users()
    with pytest.raises(MissingDataError, match="tiny has no table 'items' in"):
        table(RECIPE, "items")


def test_the_digest_of_pairs_depends_on_the_pairs_alone() -> None:
    one = pa.table({"user": [1, 2], "item": [5, 6], "rating": [1, 1]})
    other = pa.table({"item": pa.array([6, 5], pa.int32()), "user": [2, 1]})
    assert RECIPE.digest(one) == RECIPE.digest(other)
    assert RECIPE.digest(one) != RECIPE.digest(pa.table({"user": [5, 6], "item": [1, 2]}))


def test_a_missing_table_is_named() -> None:
    with pytest.raises(ValueError, match=r"tiny: the publisher's files gave no table \['test'\]"):
        check_tables(RECIPE, {"train": pa.table({"user": [0], "item": [0]})})


def test_a_conversion_that_fails_stores_nothing(
    folders: tuple[Path, Path], published: dict[str, str]
) -> None:
    def fail(_: Mapping[str, Path]) -> dict[str, pa.Table]:
        raise ValueError("unreadable")

    tables: Callable[[Mapping[str, Path]], dict[str, pa.Table]] = fail
    assert RECIPE.source is not None
    with pytest.raises(ValueError, match="unreadable"):
        table(replace(RECIPE, source=replace(RECIPE.source, tables=tables)), "train")
    assert not (folders[1] / "tiny").exists()
