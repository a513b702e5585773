"""Changed vectors of an update: which, whether new, and that an index kept by them stays right."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from command_lines import Run, data
from hyperrank import store, writers
from recsys import Interactions, UltraGCN
from recsys.store_updates import Update
from recsys.vector_delta import changed_vectors, write_delta

LINE = "update shop new.csv --quiet --json --export-delta out/delta.parquet"
OUT = Path("out/delta.parquet")


def log(*pairs: tuple[Any, Any]) -> Interactions:
    return Interactions.from_frame(pd.DataFrame(list(pairs), columns=["user", "item"]))


def test_what_changed_is_written(run: Run) -> None:
    assert data(run(f"{LINE} --dry-run"))["delta"] is None
    assert not OUT.exists()
    Path("new.csv").write_text("user,item\neve,tea\nann,mint\n")
    found = data(run(LINE))
    rows = pq.read_table(OUT).to_pylist()
    assert found["delta"] == len(rows) == 3
    assert [(row["side"], row["id"], row["new"]) for row in rows] == [
        ("user", "ann", False),
        ("user", "eve", True),
        ("item", "mint", True),
    ]
    assert [path.name for path in OUT.parent.iterdir()] == ["delta.parquet"]
    code, out, _ = run(LINE.replace(" --json", " --again"))
    assert code == 0
    assert "changed vectors are in out/delta.parquet" in out


def test_an_index_follows(run: Run) -> None:
    before, after = store.load("shop"), store.load("shop")
    after.partial_fit(log(("eve", "tea"), ("ann", "mint"), ("ann", "milk"), ("bob", "mint")))
    tables = {"user": before._factors().queries, "item": before._factors().candidates}
    index = {side: dict(enumerate(table.numpy())) for side, table in tables.items()}
    for row in changed_vectors(before._factors(), after).to_pylist():
        assert row["new"] == (row["row"] not in index[row["side"]])
        index[row["side"]][row["row"]] = np.float32(row["vector"])
    for side, table in (("user", after._factors().queries), ("item", after._factors().candidates)):
        np.testing.assert_array_equal(np.stack(list(index[side].values())), table.numpy())


def test_ids_of_two_kinds_are_text(tmp_path: Path) -> None:
    one = uuid.UUID(int=7)
    model = UltraGCN(dim=2, epochs=1, device="cpu").fit(log((1, one), (2, one)))
    before = model._factors()
    model.partial_fit(log((3, one)))
    assert write_delta(tmp_path / "delta.parquet", before, model) == 1
    (row,) = pq.read_table(tmp_path / "delta.parquet").to_pylist()
    assert (row["side"], row["id"], row["row"], row["new"]) == ("user", "3", 2, True)
    assert len(row["vector"]) == 2
    model.partial_fit(log((4, uuid.UUID(int=8))))
    assert changed_vectors(before, model).column("id").to_pylist() == [
        "3",
        "4",
        str(uuid.UUID(int=8)),
    ]


def test_ids_of_one_kind_keep_it() -> None:
    model = UltraGCN(dim=2, epochs=1, device="cpu").fit(log((1, 7), (2, 7)))
    before = model._factors()
    assert changed_vectors(before, model).schema.field("id").type == "int64", "and without rows"
    model.partial_fit(log((3, 7)))
    assert changed_vectors(before, model).column("id").to_pylist() == [3]


def test_an_update_that_fails_writes_none(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(writers, "_complete", full)
        assert run(LINE)[0] == 1
    assert list(OUT.parent.iterdir()) == []


def test_a_killed_update_can_be_repeated(run: Run) -> None:
    assert data(run(LINE))["taken"]
    whole = pq.read_table(OUT)
    OUT.unlink()  # as if killed before it had its name
    found = data(run(LINE))
    assert (found["taken"], found["delta"]) == (False, len(whole))
    assert pq.read_table(OUT).equals(whole)
    OUT.unlink()
    assert data(run(f"{LINE} --dry-run"))["delta"] is None
    outcome = Update(delta=OUT).apply("shop", lambda model: log(("fay", "tea")))
    assert outcome.delta == 1
    assert data(run(LINE))["delta"] is None, "another batch came since"
