"""Tensors on disk as changes of others: to the bit, few bytes, independent of each other."""

from __future__ import annotations

import errno
import math
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from hyperrank import tensor_files
from hyperrank.tensor_files import BASE, TENSORS, applied, changes, load, save

ROW = torch.tensor([[0.0, -0.0, math.nan, 1.0]])


def same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are equal to the bit."""
    bits = (t.contiguous().reshape(-1).view(torch.uint8) for t in (one, other))
    return (one.dtype, one.shape) == (other.dtype, other.shape) and torch.equal(*bits)


NEW_AND_OLD = {
    "equal": (ROW, ROW),
    "minus zero": (ROW, ROW.abs()),
    "another NaN": (-ROW, ROW),
    "more rows": (torch.cat([ROW, ROW + 1]), ROW),
    "fewer rows": (ROW, torch.cat([ROW, ROW])),
    "wider": (torch.ones(2, 3), torch.ones(2, 2)),
    "another type": (torch.ones(2), torch.ones(2, dtype=torch.float64)),
    "flags": (torch.tensor([True, False, True]), torch.tensor([True, True])),
    "halves": (torch.ones(3, 2, dtype=torch.bfloat16), torch.zeros(2, 2, dtype=torch.bfloat16)),
    "complex": (torch.tensor([1j, 2.0], dtype=torch.complex128), torch.zeros(2).cdouble()),
    "three axes": (torch.ones(2, 3, 2), torch.zeros(2, 3, 2)),
    "a number": (torch.tensor(1.0), torch.tensor(2.0)),
    "nothing": (torch.zeros(0, 3), torch.zeros(0, 3)),
    "no columns": (torch.zeros(3, 0), torch.zeros(2, 0)),
    "from nothing": (torch.ones(2), torch.zeros(0)),
    "numbers from nothing": (torch.tensor([1, 5]), torch.zeros(0, dtype=torch.int64)),
    "no order": (torch.tensor([1, 3, 2]), torch.tensor([1, 2])),
}


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize("name", NEW_AND_OLD)
def test_changes_give_the_new_from_the_old_to_the_bit(name: str) -> None:
    new, old = NEW_AND_OLD[name]
    copy = old.clone()
    found = applied(changes({"a b": new}, {"a b": old}), {"a b": old})
    assert found.keys() == {"a b"}
    assert same(found["a b"], new)
    assert same(old, copy)


def test_tensors_that_came_and_went() -> None:
    old = {"gone": ROW, "stays": ROW}
    found = applied(changes({"stays": ROW, "new": ROW + 1}, old), old)
    assert found.keys() == {"stays", "new"}
    assert found["stays"] is old["stays"]


@pytest.fixture(params=[1, 3, 4096])
def block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Rows that are compared at once."""
    monkeypatch.setattr(tensor_files, "BLOCK", request.param)
    return int(request.param)


@given(st.sets(st.integers(0, 30)), st.sets(st.integers(0, 30)))
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.usefixtures("block")
def test_increasing_numbers(new: set[int], old: set[int]) -> None:
    now, then = (torch.tensor(sorted(one), dtype=torch.int64) for one in (new, old))
    told = changes({"n": now}, {"n": then})
    assert set(told["n came"].tolist()) == new - old
    assert set(told["n went"].tolist()) == old - new
    assert torch.equal(applied(told, {"n": then})["n"], now)


def folder(path: Path) -> Path:
    path.mkdir()
    return path


def test_a_chain_of_folders(tmp_path: Path) -> None:
    table = torch.zeros(1000, 8)
    before = folder(tmp_path / "0")
    save({"table": table}, before)
    assert not (before / BASE).exists()
    written, bases = 0, 0
    for step in range(1, 200):
        table = table.clone()
        table[step * 37 % 1000] = step
        now = folder(tmp_path / str(step))
        save({"table": table}, now, before)
        assert torch.equal(load(now)["table"], table)
        bases += not (now / BASE).exists()
        written += (now / TENSORS).stat().st_size
        for path in before.iterdir():
            path.unlink()  # no folder needs another
        assert torch.equal(load(now)["table"], table)
        before = now
    assert 3 < bases < 8
    assert written < 200 * table.nbytes / 6


def test_many_changes_are_not_told(tmp_path: Path) -> None:
    save({"table": torch.zeros(100, 4)}, folder(tmp_path / "a"))
    save({"table": torch.ones(100, 4)}, folder(tmp_path / "b"), tmp_path / "a")
    assert [path.name for path in (tmp_path / "b").iterdir()] == [TENSORS]


def test_where_files_have_one_name_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError

    monkeypatch.setattr("os.link", refuse)
    save({"table": ROW.repeat(100, 1)}, folder(tmp_path / "a"))
    save({"table": ROW.repeat(101, 1)}, folder(tmp_path / "b"), tmp_path / "a")
    assert (tmp_path / "b" / BASE).read_bytes() == (tmp_path / "a" / TENSORS).read_bytes()
    assert same(load(tmp_path / "b")["table"], ROW.repeat(101, 1))


def test_what_cannot_be_written_is_told(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="limits of file size need Unix")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match=r"s cannot be written: .*; is the disk full") as told:
            tensor_files.save({"a": torch.zeros(1000)}, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert told.value.errno == errno.EFBIG
