"""Saving and loading of fitted estimators: safetensors + Parquet + JSON in one folder, no pickle.

Protocol. An estimator that can be saved has two methods:

- ``_state() -> State``: everything ``fit`` learned, as named tensors, vocabularies and JSON notes.
  It is called on a fitted estimator and raises ``NotFittedError`` otherwise.
- ``_restore(state: State) -> None``: the opposite, called on a new estimator built from the saved
  parameters. Tensors arrive on the CPU; the method moves them to the estimator's device.

A subclass that learns more extends what its parent returns::

    def _state(self):
        state = super()._state()
        return state._replace(tensors=state.tensors | {"trace": self.trace_})

Format. ``manifest.json`` holds the format number, the class as ``module:Class``, the parameters,
the notes, size and SHA-256 of every other file, and a digest over all of these, by which a model is
known elsewhere. Tensors lie in safetensors files, each vocabulary in ``NAME.parquet``. The digest
does not depend on when or by which version the folder was written.

Format 2 is that of a folder of which only the changes since another were written, see
``hyperrank.tensor_files``; what is not such is written in format 1.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import math
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import pyarrow.parquet
import torch
from torch import Tensor

from hyperrank import tensor_files
from hyperrank.durable import POINTER, link, new_folder, pointed, sole_writer, standing
from hyperrank.estimator import Estimator
from hyperrank.tensor_files import BASE, TENSORS
from hyperrank.vocabulary import Vocabulary

FORMAT = 2  # the newest that is read
PACKAGES = ("hyperrank", "recsys", "kg")  # classes are looked up nowhere else
MANIFEST = "manifest.json"
REREADS = 5  # a reader meets a replacement this many times before it makes the writers wait


class StoreError(ValueError):
    """A folder that is not a readable model, or a model that cannot be written."""


class State(NamedTuple):
    """What ``fit`` learned, in kinds that can be written."""

    tensors: dict[str, Tensor]
    vocabularies: dict[str, Vocabulary]
    notes: dict[str, Any]  # JSON values; tuples, torch devices and dtypes too


@runtime_checkable
class Storable(Protocol):
    """A fitted estimator that can be written and read back."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """All parameters by name."""
        ...

    def _state(self) -> State: ...
    def _restore(self, state: State) -> None: ...


@dataclass(frozen=True)
class Manifest:
    """What a model folder says about itself."""

    format: int
    name: str  # module:Class
    params: dict[str, Any]
    notes: dict[str, Any]
    files: dict[str, dict[str, Any]]  # bytes and sha256 by file name
    vocabularies: dict[str, dict[str, Any]]  # size and digest by name
    written: dict[str, str]  # when, and by which versions; not part of the digest
    digest: str


def save(model: Storable, folder: str | Path, *, overwrite: bool = True) -> str:
    """Writes a fitted model into ``folder`` and returns its digest.

    The folder appears whole or not at all. Where it holds a model already, readers see the old or
    the new one, never a mixture.

    Raises:
        StoreError: If something learned has no safe form, or ``folder`` holds anything but a model.
        FileExistsError: If ``folder`` exists and ``overwrite`` is False.
        NotFittedError: If the model is not fitted.
    """
    target = Path(folder).expanduser().resolve()
    _check_target(target, overwrite)
    described = _described(model)
    with new_folder(target) as fresh:
        _check_target(target, overwrite)  # another may have been there meanwhile
        return _write(described, fresh)


def write(model: Storable, folder: Path, like: Path | None = None) -> str:
    """Writes a fitted model into an empty folder and returns its digest; see ``save``.

    Where the model folder ``like`` holds much the same, only the changes are written.

    Raises:
        StoreError: If something learned has no safe form.
        NotFittedError: If the model is not fitted.
        OSError: If the disk is full.
    """
    return _write(_described(model), folder, like)


def load(folder: str | Path, *, device: str | None = None) -> Any:
    """The model that ``folder`` holds, ready to answer.

    Args:
        folder: What ``save`` wrote.
        device: Replaces the parameter ``device`` of the model, where it has one.

    Raises:
        FileNotFoundError: If there is no such folder.
        StoreError: If it is not a model, is damaged, or was written by a newer version.
    """
    target = Path(folder).expanduser().resolve()
    for _ in range(REREADS):
        place, manifest = _place(target), None
        try:
            manifest = _read_manifest(place)
            model = _read_model(place, manifest, device)
        except (StoreError, OSError):
            if _place(target) == place and (manifest is None or _unchanged(target, manifest)):
                raise
            continue  # replaced while it was read
        if place.parent == target or _unchanged(target, manifest):  # a version never changes
            return model
    with sole_writer(target):  # replaced faster than it can be read: the writers wait
        place = _place(target)
        return _read_model(place, _read_manifest(place), device)


def describe(folder: str | Path) -> Manifest:
    """The manifest of a model folder; reads no tensors.

    Raises:
        FileNotFoundError: If there is no such folder.
        StoreError: If it is not a model, or was written by a newer version.
    """
    return _read_manifest(_place(Path(folder).expanduser().resolve()))


def verify(folder: str | Path) -> Manifest:
    """The manifest of a model folder, once every file has been compared with its digest.

    Raises:
        FileNotFoundError: If there is no such folder.
        StoreError: If it is not a model, is damaged, or was written by a newer version.
    """
    place = _place(Path(folder).expanduser().resolve())
    manifest = _read_manifest(place)
    _check_files(place, manifest)
    return manifest


def _place(target: Path) -> Path:
    """Where the model is: in ``target`` or, for a store of versions, in the current one."""
    place = standing(target)
    try:
        names = pointed(place)
    except ValueError as error:
        raise StoreError(str(error)) from None
    return place if names is None else place / names[0]


def _unchanged(target: Path, manifest: Manifest) -> bool:
    return describe(target).digest == manifest.digest


def _described(model: Storable) -> tuple[State, dict[str, Any]]:
    """The state of a model, and its manifest without files and digest."""
    name = f"{type(model).__module__}:{type(model).__qualname__}"
    _find_class(name)  # what could not be loaded is not written
    state = model._state()
    for key, tensor in state.tensors.items():
        if tensor.layout != torch.strided:
            raise StoreError(f"tensor {key} is {tensor.layout}; give its parts as dense tensors")
    return state, {
        "name": name,
        "params": {k: encode(v, f"parameter {k}") for k, v in model.get_params().items()},
        "notes": {k: encode(v, f"note {k}") for k, v in state.notes.items()},
        "vocabularies": {
            k: {"size": len(v), "digest": v.digest} for k, v in state.vocabularies.items()
        },
    }


def _write(described: tuple[State, dict[str, Any]], fresh: Path, like: Path | None = None) -> str:
    state, body = described
    tensor_files.save(state.tensors, fresh, like)
    other, like = (_read_manifest(like), like) if like else (None, fresh)
    for key, vocabulary in state.vocabularies.items():
        name = f"{key}.parquet"
        if other and other.vocabularies.get(key) == body["vocabularies"][key]:
            link(like / name, fresh / name)
        else:
            pyarrow.parquet.write_table(vocabulary.to_arrow(), fresh / name)
    shared = {_inode(like / name): said for name, said in other.files.items()} if other else {}
    files = {p.name: shared.get(_inode(p)) or _fingerprint(p) for p in sorted(fresh.iterdir())}
    whole = {"format": 2 if BASE in files else 1} | body | {"files": files}
    whole |= {"written": versions(), "digest": digest_of(whole)}
    (fresh / MANIFEST).write_text(json.dumps(whole, indent=1), encoding="utf-8")
    return str(whole["digest"])


def _inode(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def _check_target(target: Path, overwrite: bool) -> None:
    if not target.exists():
        return
    if not overwrite:
        raise FileExistsError(f"{target} exists already; choose another folder or ask to overwrite")
    if (target / POINTER).exists():
        raise StoreError(
            f"{target} is a store of versions; add one with hyperrank.writers.add(model, "
            "folder), or choose another folder"
        )
    if not target.is_dir() or (any(target.iterdir()) and not (target / MANIFEST).exists()):
        raise StoreError(f"{target} exists and is not a saved model; choose another folder")
    if others := [path.name for path in strangers(target) if not path.name.startswith(".")]:
        raise StoreError(
            f"{target} holds {', '.join(sorted(others))} beside a model, and would lose it; move "
            "it, or choose another folder"
        )


def strangers(place: Path) -> list[Path]:
    """What lies in a model folder and is not of the model; nothing where that cannot be told."""
    try:
        own = {MANIFEST, *_read_manifest(place).files}
    except (StoreError, FileNotFoundError):
        return []
    return [path for path in place.iterdir() if path.name not in own]


def _find_class(name: str) -> type[Any]:
    module, _, attribute = name.partition(":")
    if module.partition(".")[0] not in PACKAGES:
        raise StoreError(
            f"{name} lives outside of the packages {', '.join(PACKAGES)}; only their estimators "
            "can be saved and loaded"
        )
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError):
        raise StoreError(
            f"there is no class {name} in this installation; install the version that wrote it"
        ) from None
    if not (isinstance(found, type) and issubclass(found, Estimator)):
        raise StoreError(f"{name} is not an estimator; the manifest was altered")
    if not (hasattr(found, "_state") and hasattr(found, "_restore")):
        raise StoreError(f"{name} cannot be saved: it has no _state and _restore")
    return found


def _read_manifest(place: Path) -> Manifest:
    if not place.exists():
        raise FileNotFoundError(f"there is no saved model at {place}; save one there first")
    damaged = StoreError(f"{place / MANIFEST} is damaged; restore the folder or save again")
    try:
        raw = json.loads((place / MANIFEST).read_bytes())
        number = raw["format"]
    except (FileNotFoundError, NotADirectoryError):
        raise StoreError(f"{place} is not a saved model: it has no {MANIFEST}") from None
    except (ValueError, KeyError, TypeError):  # not text, not JSON, not an object with a format
        raise damaged from None
    if not isinstance(number, int) or number > FORMAT:
        raise StoreError(
            f"{place} is written in format {number}, but this version reads up to {FORMAT}; "
            "upgrade hyperrank"
        )
    body = {k: v for k, v in raw.items() if k not in ("written", "digest")}
    if {*raw} != {f.name for f in fields(Manifest)} or digest_of(body) != raw["digest"]:
        raise damaged
    if {*raw["files"]} - {BASE} != {TENSORS, *(f"{name}.parquet" for name in raw["vocabularies"])}:
        raise damaged
    for key in ("params", "notes"):
        raw[key] = {k: decode(v) for k, v in raw[key].items()}
    return Manifest(**raw)


def _read_model(place: Path, manifest: Manifest, device: str | None) -> Any:
    _check_files(place, manifest)
    kind = _find_class(manifest.name)
    params = dict(manifest.params)
    if device is not None and "device" in params:
        params["device"] = device
    try:
        model = kind(**params)
    except TypeError as error:
        raise StoreError(f"{manifest.name} does not accept its saved parameters: {error}") from None
    vocabularies = {
        name: Vocabulary.from_arrow(pyarrow.parquet.read_table(place / f"{name}.parquet"))
        for name in manifest.vocabularies
    }
    model._restore(State(tensor_files.load(place), vocabularies, manifest.notes))
    return model


def _check_files(place: Path, manifest: Manifest) -> None:
    for name, expected in manifest.files.items():
        path = place / name
        if not path.is_file():
            raise StoreError(f"{place} lacks {name}; restore the folder or save again")
        found = path.stat().st_size
        if found != expected["bytes"]:
            raise StoreError(
                f"{path} has {found} bytes where {expected['bytes']} were written; "
                "restore the folder or save again"
            )
        if _fingerprint(path) != expected:
            raise StoreError(f"{path} does not match its digest; restore the folder or save again")


def encode(value: Any, what: str) -> Any:
    """A JSON value; what JSON has no form for becomes ``{"kind": ..., "value": ...}``."""
    if hasattr(value, "dtype") and getattr(value, "ndim", None) == 0:
        value = value.tolist()  # a NumPy or torch number
    if isinstance(value, float) and not math.isfinite(value):
        return {"kind": "float", "value": str(value)}
    if isinstance(value, torch.device | torch.dtype):
        return {"kind": type(value).__name__, "value": str(value).removeprefix("torch.")}
    if isinstance(value, list | tuple):
        parts = [encode(one, what) for one in value]
        return parts if isinstance(value, list) else {"kind": "tuple", "value": parts}
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {"kind": "dict", "value": {key: encode(one, what) for key, one in value.items()}}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise StoreError(
        f"{what} is a {type(value).__name__}, which has no safe written form; use a number, text, "
        "a list, a tuple or a dictionary of these"
    )


def decode(value: Any) -> Any:
    """The value of which ``encode`` made this."""
    if isinstance(value, list):
        return [decode(one) for one in value]
    if not isinstance(value, dict):
        return value
    read: dict[str, Callable[[Any], Any]] = {
        "tuple": lambda inner: tuple(map(decode, inner)),
        "dict": lambda inner: {key: decode(one) for key, one in inner.items()},
        "float": float,
        "device": torch.device,
        "dtype": lambda inner: getattr(torch, inner),
    }
    return read[value["kind"]](value["value"])


def _fingerprint(path: Path) -> dict[str, Any]:
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}


def digest_of(body: Mapping[str, Any]) -> str:
    """SHA-256 of JSON values, whatever the order of the keys."""
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def versions() -> dict[str, str]:
    """The time, and the versions of what writes now."""
    try:
        own = metadata.version("hyperrank")
    except metadata.PackageNotFoundError:
        own = "unknown"  # run from a checkout
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "hyperrank": own,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
