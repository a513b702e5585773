"""Saving and loading: every kind of state comes back, every kind of damage is refused."""

from __future__ import annotations

import contextlib
import itertools
import json
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pytest
import torch
from torch import Tensor

from hyperrank import durable, store
from hyperrank.estimator import Estimator, NotFittedError
from hyperrank.store import State, StoreError
from hyperrank.vocabulary import Vocabulary


@dataclass(kw_only=True, eq=False)
class Shelf(Estimator):
    """An estimator that learns whatever it is given."""

    dim: int = 3
    shape: tuple[int, ...] = (1, 2)
    device: Any = "cpu"
    limit: Any = None

    def fit(self, tensors: dict[str, Tensor], **notes: Any) -> Self:
        self.tensors_, self.notes_ = tensors, notes
        self.names_ = Vocabulary.from_ids(["ann", "bob"])
        return self

    def _state(self) -> State:
        return State(self._fitted("tensors_"), {"names": self.names_}, self.notes_)

    def _restore(self, state: State) -> None:
        self.tensors_, self.notes_ = state.tensors, state.notes
        self.names_ = state.vocabularies["names"]


@pytest.fixture(autouse=True)
def _shelf_may_be_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "PACKAGES", (Shelf.__module__.partition(".")[0],))


@pytest.fixture
def shelf() -> Shelf:
    return Shelf(dim=5).fit({"table": torch.arange(6.0).reshape(2, 3)}, epochs=4)


def test_everything_comes_back(shelf: Shelf, tmp_path: Path) -> None:
    base = torch.arange(12.0)
    tensors = {
        "view": base[2:8].reshape(2, 3),
        "same": base[2:8],
        "strided": base.reshape(3, 4).T,
        "expanded": torch.ones(1).expand(4),
        "empty": torch.zeros(0, 3),
        "half": torch.ones(2, dtype=torch.bfloat16),
        "flags": torch.tensor([True, False]),
        "long": torch.tensor([2**62]),
        "learned": torch.nn.Parameter(torch.ones(2)),
    }
    notes = {
        "pair": (1, (2.5, None)),
        "inf": [float("inf")],
        "dtype": torch.float64,
        "device": torch.device("cpu"),
        "map": {"kind": "tuple", "value": {"a": torch.tensor(3)}},
    }
    model = Shelf(dim=7, shape=(3, 4), limit=float("-inf")).fit(tensors, **notes)
    digest = store.save(model, tmp_path / "m")
    back = store.load(tmp_path / "m")
    assert back.get_params() == model.get_params()
    assert back.names_ == model.names_
    assert back.notes_ == notes | {"map": {"kind": "tuple", "value": {"a": 3}}}
    assert back.tensors_.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert torch.equal(back.tensors_[name], tensor), name
        assert back.tensors_[name].dtype == tensor.dtype
    assert digest == store.save(model, tmp_path / "again") == store.describe(tmp_path / "m").digest
    assert store.describe(tmp_path / "m").vocabularies["names"]["size"] == 2
    assert digest != store.save(model.set_params(dim=8), tmp_path / "m")


def test_all_files_have_the_usual_rights(shelf: Shelf, tmp_path: Path) -> None:
    store.save(shelf, tmp_path / "m")
    (tmp_path / "usual").touch()
    modes = {path.stat().st_mode for path in (tmp_path / "m").iterdir()}
    assert modes == {(tmp_path / "usual").stat().st_mode}


def test_load_takes_another_device(shelf: Shelf, tmp_path: Path) -> None:
    store.save(shelf.set_params(device="cuda"), tmp_path / "m")
    assert store.load(tmp_path / "m", device="cpu").device == "cpu"


def test_overwriting_is_a_choice(shelf: Shelf, tmp_path: Path) -> None:
    store.save(shelf, tmp_path / "m", overwrite=False)
    with pytest.raises(FileExistsError, match="exists already; choose another folder"):
        store.save(shelf, tmp_path / "m", overwrite=False)
    store.save(shelf.set_params(dim=9), tmp_path / "m")
    assert store.load(tmp_path / "m").dim == 9


def test_only_a_model_is_overwritten(shelf: Shelf, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"meow")
    (tmp_path / "file").write_text("text")
    for name in ("photos", "file"):
        with pytest.raises(StoreError, match="exists and is not a saved model"):
            store.save(shelf, tmp_path / name)
    assert (tmp_path / "photos" / "cat.jpg").read_bytes() == b"meow"


def test_what_cannot_be_saved_is_refused_first(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NotFittedError):
        store.save(Shelf(), tmp_path / "m")
    with pytest.raises(StoreError, match="parameter limit is a object, which has no safe written"):
        store.save(Shelf(limit=object()).fit({}), tmp_path / "m")
    with pytest.raises(StoreError, match=r"tensor x is torch.sparse_coo; give its parts as dense"):
        store.save(Shelf().fit({"x": torch.eye(2).to_sparse()}), tmp_path / "m")
    monkeypatch.setattr(store, "PACKAGES", ("recsys",))
    with pytest.raises(StoreError, match="Shelf lives outside of the packages recsys"):
        store.save(shelf, tmp_path / "m")
    assert [p.name for p in tmp_path.iterdir() if p.is_dir()] == []


def test_missing_and_foreign_folders(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no saved model at"):
        store.load(tmp_path / "none")
    with pytest.raises(StoreError, match=r"it has no manifest\.json"):
        store.load(tmp_path)
    (tmp_path / "file").write_text("text")
    with pytest.raises(StoreError, match=r"it has no manifest\.json"):
        store.load(tmp_path / "file")


def rewrite(folder: Path, **changes: Any) -> None:
    """Alters the manifest and signs it anew."""
    path = folder / store.MANIFEST
    raw = json.loads(path.read_text()) | changes
    body = {k: v for k, v in raw.items() if k not in ("written", "digest")}
    path.write_text(json.dumps(raw | {"digest": store.digest_of(body)}))


def test_a_newer_format_is_refused(shelf: Shelf, tmp_path: Path) -> None:
    store.save(shelf, tmp_path)
    rewrite(tmp_path, format=store.FORMAT + 1, novelty={})
    with pytest.raises(StoreError, match=r"format 3, but this version reads up to 2; upgrade"):
        store.load(tmp_path)


def test_classes_come_from_our_packages_only(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.save(shelf, tmp_path)
    monkeypatch.setattr(store, "PACKAGES", ("hyperrank",))
    for name, message in {
        "os:system": "lives outside of the packages hyperrank",
        "hyperrank.pairs:Gone": "there is no class hyperrank.pairs:Gone in this installation",
        "hyperrank.gone:Gone": "there is no class hyperrank.gone:Gone in this installation",
        "hyperrank.pairs:pair_set": "is not an estimator",
        "hyperrank.vocabulary:Vocabulary": "is not an estimator",
        "hyperrank.estimator:Estimator": "cannot be saved",
    }.items():
        rewrite(tmp_path, name=name)
        with pytest.raises(StoreError, match=message):
            store.load(tmp_path)


def test_unknown_parameters_are_refused(shelf: Shelf, tmp_path: Path) -> None:
    store.save(shelf, tmp_path)
    rewrite(tmp_path, params={"gone": 1})
    with pytest.raises(StoreError, match=r"does not accept its saved parameters.*gone"):
        store.load(tmp_path)


DAMAGE = {
    "manifest.json": "manifest.json is damaged",
    "tensors.safetensors": "tensors.safetensors",
    "names.parquet": "names.parquet",
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_refused(name: str, shelf: Shelf, tmp_path: Path) -> None:
    store.save(shelf, tmp_path)
    path = tmp_path / name
    whole = path.read_bytes()
    for cut in (0, 1, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(StoreError, match=DAMAGE[name]):
            store.load(tmp_path)
    if name != store.MANIFEST:
        for spot in range(0, len(whole), max(len(whole) // 20, 1)):
            path.write_bytes(whole[:spot] + bytes([whole[spot] ^ 1]) + whole[spot + 1 :])
            with pytest.raises(StoreError, match="does not match its digest"):
                store.load(tmp_path)
        path.unlink()
        with pytest.raises(StoreError, match=f"lacks {name}; restore the folder or save again"):
            store.load(tmp_path)
    path.write_bytes(whole)
    store.load(tmp_path)


@pytest.mark.parametrize(
    "text", ["[]", "3", '{"format": 1}', '{"format": "one"}', "\udcff", '{"format": 1, "x": 2}']
)
def test_a_manifest_of_another_shape_is_refused(text: str, shelf: Shelf, tmp_path: Path) -> None:
    store.save(shelf, tmp_path)
    (tmp_path / store.MANIFEST).write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(StoreError, match=r"manifest\.json is damaged|is written in format one"):
        store.load(tmp_path)


def test_an_altered_manifest_is_refused(shelf: Shelf, tmp_path: Path) -> None:
    store.save(shelf, tmp_path)
    path = tmp_path / store.MANIFEST
    path.write_text(path.read_text().replace('"dim": 5', '"dim": 6'))
    with pytest.raises(StoreError, match=r"manifest\.json is damaged"):
        store.load(tmp_path)


def test_a_reader_sees_one_model_while_another_takes_its_place(tmp_path: Path) -> None:
    folder, stop, failures = tmp_path / "m", threading.Event(), []

    def model(number: int) -> Shelf:
        return Shelf(dim=number).fit({"x": torch.full((2000,), float(number))}, number=number)

    def keep_saving() -> None:
        for number in range(1, 40):
            store.save(model(number), folder)
        stop.set()

    store.save(model(0), folder)
    writer = threading.Thread(target=keep_saving)
    writer.start()
    while not stop.is_set():
        back = store.load(folder)
        seen = {back.dim, back.notes_["number"], *back.tensors_["x"].unique().tolist()}
        if len(seen) > 1:
            failures.append(seen)
    writer.join()
    assert not failures
    assert store.load(folder).dim == 39


def test_a_reader_overtaken_every_time_makes_the_writers_wait(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, numbers, read = tmp_path / "m", itertools.count(100), store._read_model
    store.save(shelf, folder)

    def overtaken(*args: Any) -> Any:
        with contextlib.suppress(TimeoutError):  # raised once the reader keeps writers away
            store.save(Shelf(dim=next(numbers)).fit({"x": torch.zeros(3)}), folder)
        return read(*args)

    monkeypatch.setattr(durable, "LOCK_SECONDS", 0.05)
    monkeypatch.setattr(store, "_read_model", overtaken)
    assert store.load(folder).dim == 99 + store.REREADS
