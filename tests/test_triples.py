"""Triples against a Python set of tuples: doors in and out, reindexing, union, splits."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperrank import tables
from hyperrank.vocabulary import UnknownIdError, Vocabulary
from kg import Triples
from kg.intake import gather_files

FRAMES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "pandas": pd.DataFrame,
    "polars": pl.DataFrame,
    "polars lazy": pl.LazyFrame,
    "pyarrow": pa.table,
}
ROWS = {
    "head": ["oslo", "bergen", "oslo", "norway", "oslo"],
    "relation": ["capital_of", "city_of", "city_of", "borders", "city_of"],
    "tail": ["norway", "norway", "norway", "sweden", "norway"],
}
Fact = tuple[int, int, int]
facts_of = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, 3), st.integers(0, 6)), min_size=1, max_size=40
)


def made(rows: list[Fact]) -> Triples:
    return Triples.from_arrays(*zip(*rows, strict=True))


def named(facts: Triples) -> list[tuple[Any, ...]]:
    return sorted(facts.to_frame("pandas").itertuples(index=False, name=None))


@pytest.mark.parametrize("kind", FRAMES)
def test_every_frame_gives_the_same_facts_and_goes_back(kind: str) -> None:
    facts = Triples.from_frame(FRAMES[kind](ROWS))
    assert facts.entities.ids.tolist() == ["oslo", "norway", "bergen", "sweden"]
    assert facts.relations.ids.tolist() == ["capital_of", "city_of", "borders"]
    assert (facts.n_entities, facts.n_relations, len(facts), facts.duplicates) == (4, 3, 4, 1)
    assert repr(facts) == "Triples(4 facts, 4 entities, 3 relations)"
    back = facts.to_frame()
    assert nw.from_native(back).implementation.value == kind.removesuffix(" lazy")
    assert named(Triples.from_frame(back)) == sorted(set(zip(*ROWS.values(), strict=True)))


def test_columns_by_choice() -> None:
    frame = pd.DataFrame({"s": [1, 1], "p": ["x", "y"], "o": [2, 3], "head": [None, None]})
    assert named(Triples.from_frame(frame, "s", "p", "o")) == [(1, "x", 2), (1, "y", 3)]
    plain = pd.DataFrame([[1, "x", 2]])
    assert named(Triples.from_frame(plain, 0, 1, 2)) == [(1, "x", 2)]
    with pytest.raises(ValueError, match="the frame has no column 3; it has 0, 1, 2"):
        Triples.from_frame(plain, 0, 1, 3)


@pytest.mark.parametrize(
    "columns",
    [
        ([1, 1], ["r", "r"], [2, 1]),
        (np.array([1, 1]), np.array(["r", "r"]), torch.tensor([2, 1])),
        (pl.Series([1, 1]), pd.Series(["r", "r"]), pa.array([2, 1])),
    ],
)
def test_columns_of_any_kind(columns: tuple[Any, Any, Any]) -> None:
    assert named(Triples.from_arrays(*columns)) == [(1, "r", 1), (1, "r", 2)]


def test_ids_may_be_anything_hashable() -> None:
    one, other = uuid.UUID(int=1), uuid.UUID(int=2)
    facts = Triples.from_arrays([one, other], [("a", 1), ("b", 2)], [other, one])
    assert facts.entities.kind == "uuid"
    assert facts.relations.kind == "tuple"


@settings(max_examples=40)
@given(facts_of)
def test_facts_are_the_set_of_rows(rows: list[Fact]) -> None:
    facts = made(rows)
    assert named(facts) == sorted(set(rows))
    assert facts.duplicates == len(rows) - len(set(rows))
    columns = zip(facts.head.tolist(), facts.relation.tolist(), facts.tail.tolist(), strict=True)
    assert list(columns) == sorted(
        zip(
            facts.entities.rows([h for h, _, _ in set(rows)]).tolist(),
            facts.relations.rows([r for _, r, _ in set(rows)]).tolist(),
            facts.entities.rows([t for _, _, t in set(rows)]).tolist(),
            strict=True,
        )
    )
    met = dict.fromkeys(one for head, _, tail in rows for one in (head, tail))
    assert facts.entities.ids.tolist() == list(met)
    assert facts.relations.ids.tolist() == list(dict.fromkeys(r for _, r, _ in rows))


@settings(max_examples=10)
@given(facts_of, st.integers(60, 400))
def test_files_in_blocks_equal_the_frame(
    tmp_path_factory: Any, rows: list[Fact], block: int
) -> None:
    whole = made(rows)
    frame = pd.DataFrame(rows, columns=["head", "relation", "tail"])
    folder = tmp_path_factory.mktemp("files")
    for name in ("a.csv", "a.tsv", "a.parquet", "a.jsonl"):
        tables.write(frame, folder / name)
        gatherer = gather_files([[folder / name]], ("head", "relation", "tail"), None, block)
        (read,) = Triples._of(gatherer)
        assert (read.entities, read.relations) == (whole.entities, whole.relations)
        assert torch.equal(read.keys, whole.keys)
        assert read.duplicates == whole.duplicates
    frame.to_csv(folder / "plain.txt", sep="\t", header=False, index=False)
    assert torch.equal(Triples.read(folder / "plain.txt", 0, 1, 2).keys, whole.keys)


def test_parts_share_the_vocabulary_of_all(tmp_path: Path) -> None:
    for name, text in (("train", "1\tr\t2\n"), ("valid", "2\tr\t07\n"), ("test", "3\ts\t1\n")):
        (tmp_path / f"{name}.txt").write_text(text)
    paths = [tmp_path / f"{name}.txt" for name in ("train", "valid", "test")]
    train, valid, test = Triples.read_parts(paths, 0, 1, 2)
    assert train.entities.ids.tolist() == ["1", "2", "07", "3"]  # text, as "07" is no number
    assert train.entities is test.entities
    assert train.relations is valid.relations
    assert [named(part) for part in (train, valid, test)] == [
        [("1", "r", "2")],
        [("2", "r", "07")],
        [("3", "s", "1")],
    ]
    alone = Triples.read(paths[0], 0, 1, 2)
    assert alone.entities.kind == "integer"
    like = (train.entities, train.relations)
    assert Triples.read(paths[0], 0, 1, 2, like=like).entities.ids.tolist() == ["1", "2"]


def test_other_orders_and_files_together(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("x\ty\tr\n")
    (tmp_path / "b.csv").write_text("y,z,r\n")
    facts = Triples.read(tmp_path, 0, 2, 1)
    assert named(facts) == [("x", "r", "y"), ("y", "r", "z")]


def test_files_of_several_formats(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("head,relation,tail\n7,r,8\n")
    tables.write(
        pd.DataFrame({"head": [9], "relation": ["r"], "tail": [7]}), tmp_path / "b.parquet"
    )
    paths = [tmp_path / "a.csv", tmp_path / "b.parquet"]
    assert Triples.read_parts(paths)[1].entities.ids.tolist() == [7, 8, 9]
    numbers = made([(7, 0, 8)])
    names = Vocabulary.from_ids(["r"])
    test, known = Triples.read_parts(paths, like=(numbers.entities, names))
    assert test.known_to(known.union(test)).all()
    assert test.entities.kind == "integer"


@settings(max_examples=40)
@given(facts_of, st.permutations(range(7)), st.integers(0, 7))
def test_reindex_keeps_facts_by_name(rows: list[Fact], order: list[int], known: int) -> None:
    facts = made(rows)
    entities, relations = Vocabulary.from_ids(order[:known]), Vocabulary.from_ids([3, 2, 1, 0])
    moved = facts.reindex(entities, relations, unknown="drop")
    kept = {row for row in rows if {row[0], row[2]} <= set(order[:known])}
    assert named(moved) == sorted(kept)
    assert moved.dropped == len(set(rows)) - len(kept)
    assert moved.duplicates == facts.duplicates
    assert moved.entities is entities
    assert (moved.keys.diff() > 0).all()


@settings(max_examples=40)
@given(facts_of, facts_of)
def test_union_is_that_of_sets_and_rows_stay(first: list[Fact], second: list[Fact]) -> None:
    one, other = made(first), made(second)
    both = one.union(other)
    whole = made(first + second)
    assert (both.entities, both.relations) == (whole.entities, whole.relations)
    assert torch.equal(both.keys, whole.keys)
    assert both.duplicates == whole.duplicates
    mine, theirs = Triples.align(one, other)
    assert torch.equal(mine.head, one.head)
    assert (named(mine), named(theirs)) == (named(one), named(other))
    assert mine.entities is theirs.entities
    shared = named(one.select(one.known_to(other)))
    assert shared == sorted(set(first) & set(second))


@settings(max_examples=40)
@given(
    st.lists(st.integers(0, 7 * 4 * 7 - 1), min_size=30, max_size=90, unique=True),
    st.floats(0.05, 0.5),
    st.integers(0, 3),
    st.booleans(),
)
def test_a_random_split(numbers: list[int], fraction: float, seed: int, cover: bool) -> None:
    facts = made([(n // 28, n // 7 % 4, n % 7) for n in numbers])
    train, test = facts.split_random(fraction, seed, cover=cover)
    assert sorted(named(train) + named(test)) == named(facts)
    assert len(test) == round(fraction * len(facts))
    assert train.entities is test.entities is facts.entities
    assert torch.equal(facts.split_random(fraction, seed, cover=cover)[1].keys, test.keys)
    if cover:
        assert len(torch.cat([train.head, train.tail]).unique()) == facts.n_entities
        assert len(train.relation.unique()) == facts.n_relations


def test_a_split_says_what_cannot_be() -> None:
    chain = made([(i, 0, i + 1) for i in range(6)])
    with pytest.raises(ValueError, match=r"fraction must be between 0 and 1, got 1\.5"):
        chain.split_random(1.5)
    with pytest.raises(ValueError, match=r"0\.01 holds out nothing of 6 facts; ask for a larger"):
        chain.split_random(0.01)
    message = (
        r"0\.9 holds out 5 of 6 facts, but only \d can be while .*; ask for less, or give cover"
    )
    with pytest.raises(ValueError, match=message):
        chain.split_random(0.9)
    assert len(chain.split_random(0.9, cover=False)[1]) == 5


def test_an_unknown_id_is_named() -> None:
    facts = Triples.from_frame(pd.DataFrame(ROWS))
    typed = Triples.from_arrays(["osla"], ["city_of"], ["norway"])
    message = "entities: unknown id 'osla'; closest to 'osla': 'oslo'; the vocabulary holds 4 text"
    with pytest.raises(UnknownIdError, match=message):
        typed.reindex(facts.entities, facts.relations)
    typed = Triples.from_arrays(["oslo"], ["cityof"], ["norway"])
    with pytest.raises(
        UnknownIdError, match=r"relations: unknown id 'cityof'; closest .* 'city_of'"
    ):
        typed.reindex(facts.entities, facts.relations)
    numbers = made([(1, 2, 3)])
    with pytest.raises(TypeError, match="this vocabulary holds text ids such as 'oslo', got int"):
        numbers.reindex(facts.entities, facts.relations)
    with pytest.raises(ValueError, match="unknown must be 'raise' or 'drop', got 'mark'"):
        typed.reindex(facts.entities, facts.relations, unknown="mark")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"tail": None}, ValueError, "the frame has no column 'tail'; .*it has 'head', 'relation'"),
        (
            {"head": ["a", None, "b"]},
            ValueError,
            "'head': 1 of 3 ids are missing .* in row 1; drop",
        ),
        (
            {"tail": [1, 2, 3]},
            TypeError,
            "'tail': integer ids such as 1 after text ids such as 'a'",
        ),
        (
            {"head": [], "relation": [], "tail": []},
            ValueError,
            "the frame holds no rows; expected at",
        ),
    ],
)
def test_bad_frames(change: dict[str, Any], error: type[Exception], message: str) -> None:
    rows = {"head": ["a", "a", "b"], "relation": ["r", "r", "s"], "tail": ["c", "d", "a"]} | change
    frame = pd.DataFrame({name: column for name, column in rows.items() if column is not None})
    with pytest.raises(error, match=message):
        Triples.from_frame(frame)


def test_bad_columns() -> None:
    with pytest.raises(
        TypeError, match=r"expected a pandas, .* got list; Triples.read takes a path"
    ):
        Triples.from_frame([[1, 2, 3]])
    with pytest.raises(ValueError, match=r"heads, relations, tails have \[2, 1, 2\] ids; expected"):
        Triples.from_arrays([1, 2], [1], [1, 2])
    with pytest.raises(ValueError, match="the columns holds no rows"):
        Triples.from_arrays([], [], [])


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        ("", (0, 1, 2), r"train\.txt is empty; expected rows"),
        (
            "a\tr\tb\na\tr\n",
            (0, 1, 2),
            r"train\.txt cannot be read: .* Expected 3 columns, got 2: a",
        ),
        ("a\tb\n", (0, 1, 2), r"train\.txt has no column '2'; it has '0', '1'"),
        (
            "a\tr\tb\n",
            ("head", "relation", "tail"),
            "no column 'head'; .*if it has no header, give the columns by number: 0, 1, 2",
        ),
        ("a\tr\t\n", (0, 1, 2), r"train\.txt, column 2: 1 of 1 ids are missing .* row 0"),
        ("head\trelation\ttail\n", ("head", "relation", "tail"), r"train\.txt holds no rows; expe"),
    ],
)
def test_bad_files(tmp_path: Path, text: str, columns: tuple[Any, ...], message: str) -> None:
    (tmp_path / "train.txt").write_text(text)
    with pytest.raises(ValueError, match=message):
        Triples.read(tmp_path / "train.txt", *columns)


def test_numbers_and_names_do_not_mix(tmp_path: Path) -> None:
    tables.write(pd.DataFrame(ROWS), tmp_path / "a.parquet")
    with pytest.raises(
        TypeError, match=r"all columns by name, or all by number, got \(0, 'r', 2\)"
    ):
        Triples.read(tmp_path / "a.parquet", 0, "r", 2)
    with pytest.raises(ValueError, match=r"a\.parquet has names for its columns, .*; give these"):
        Triples.read(tmp_path / "a.parquet", 0, 1, 2)
    with pytest.raises(FileNotFoundError, match=r"no file .*b\.parquet; did you mean 'a.parquet'"):
        Triples.read(tmp_path / "b.parquet")


def test_too_many_possible_facts() -> None:
    none = torch.zeros(0, dtype=torch.int64)
    many, few = Vocabulary("integer", np.arange(2**20)), Vocabulary("integer", np.arange(2**22))
    with pytest.raises(ValueError, match=r"4194304 entities x 2097152 directed .* exceed 2\*\*63"):
        Triples.from_rows(few, many, none, none, none)


def test_real_graphs(shared_data: Path) -> None:
    paths = [shared_data / "kg" / "umls" / f"{part}.parquet" for part in ("train", "valid", "test")]
    train, valid, test = Triples.read_parts(paths)
    assert (train.n_entities, train.n_relations) == (135, 46)
    assert [len(part) for part in (train, valid, test)] == [5216, 652, 661]
    assert not test.known_to(train.union(valid)).any()
