"""Tensors on disk in safetensors files: all of them, or what changed since those of another folder.

A folder has them in ``TENSORS``, each under its name. Where it has ``BASE`` too, that is the file
of another folder under a second name, the same bytes on the disk, and ``TENSORS`` tells changes:
``"NAME at"`` and ``"NAME rows"`` are the rows that were changed or added; of increasing numbers,
``"NAME came"`` and ``"NAME went"`` are those that did. No folder needs another one to be read.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import safetensors
import torch
from jaxtyping import Bool, Int, Shaped
from safetensors.torch import load_file, save_file
from torch import Tensor

from hyperrank.durable import link

TENSORS, BASE = "tensors.safetensors", "base.safetensors"
SHARE = 0.25  # of all bytes: changes that come to more are not told, everything is written
BLOCK = 4096  # rows that are compared at once
BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
SPENT = "spent"  # bytes of changes told since the base was written


def save(tensors: Mapping[str, Tensor], folder: Path, like: Path | None = None) -> None:
    """Writes dense tensors into a folder; as changes of those in the folder ``like``, if few.

    Changes are told until they come to the bytes of all tensors, over all folders since the base;
    so the bytes written are at most twice those of the best moment for a new base.

    Raises:
        OSError: If the disk is full.
    """
    separate = _separate(tensors)
    if like is not None:
        first = BASE if (like / BASE).exists() else TENSORS
        told = changes(separate, load_file(like / first))
        spent = _bytes(told) + (_spent(like) if first == BASE else 0)
        if _bytes(told) <= SHARE * _bytes(separate) and spent <= _bytes(separate):
            link(like / first, folder / BASE)
            return _save(told, folder / TENSORS, {SPENT: str(spent)})
    return _save(separate, folder / TENSORS, None)


def load(folder: Path) -> dict[str, Tensor]:
    """The tensors of a folder, mapped from its files where they are there whole."""
    tensors = load_file(folder / TENSORS)
    return applied(tensors, load_file(folder / BASE)) if (folder / BASE).exists() else tensors


def changes(new: Mapping[str, Tensor], old: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What ``applied`` needs beside ``old`` to give ``new``, to the bit."""
    told = {}
    for name, now in new.items():
        then = old.get(name)
        if (
            then is None
            or now.ndim == 0
            or (then.dtype, then.shape[1:]) != (now.dtype, now.shape[1:])
        ):
            told[name] = now
        elif _increases(now) and _increases(then):
            told |= {f"{name} came": _without(now, then), f"{name} went": _without(then, now)}
        elif len(now) < len(then):
            told[name] = now
        else:
            at = torch.cat([*_apart(now[: len(then)], then), torch.arange(len(then), len(now))])
            told |= {f"{name} at": at, f"{name} rows": now[at]}
    return told


def applied(told: Mapping[str, Tensor], old: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors that ``changes`` told by ``old``; those that did not change are its own."""
    new = {}
    for key, value in told.items():
        name, _, kind = key.rpartition(" ")
        if kind == "rows":
            new[name] = _with_rows(old[name], told[f"{name} at"], value)
        elif kind == "came":
            new[name] = _merged(old[name], value, told[f"{name} went"])
        elif kind not in ("at", "went"):
            new[key] = value
    return new


def _with_rows(table: Tensor, at: Int[Tensor, " n"], rows: Tensor) -> Tensor:
    if not len(at):
        return table
    more = max(0, int(at.max()) + 1 - len(table))
    grown = torch.cat([table, rows.new_empty(more, *rows.shape[1:])])
    grown[at] = rows
    return grown


def _merged(
    numbers: Int[Tensor, " n"], came: Int[Tensor, " came"], went: Int[Tensor, " went"]
) -> Int[Tensor, " m"]:
    if not len(came) and not len(went):
        return numbers
    stayed = _without(numbers, went)
    place = torch.searchsorted(stayed, came) + torch.arange(len(came))
    merged = stayed.new_empty(len(stayed) + len(came))
    old = torch.ones(len(merged), dtype=torch.bool)
    old[place] = False
    merged[place], merged[old] = came, stayed
    return merged


def _increases(numbers: Tensor) -> bool:
    whole = numbers.ndim == 1 and numbers.dtype == torch.int64
    return whole and bool((numbers[1:] > numbers[:-1]).all())


def _apart(one: Shaped[Tensor, "n ..."], other: Shaped[Tensor, "n ..."]) -> Iterator[Tensor]:
    """Rows that differ in a bit: NaN equals NaN, and 0 is not -0."""
    columns = (t.unsqueeze(-1).view(BITS.get(t.element_size(), torch.int64)) for t in (one, other))
    blocks = zip(*(column.split(BLOCK) for column in columns), strict=True)
    for number, (now, then) in enumerate(blocks):
        if not torch.equal(now, then):
            yield number * BLOCK + (now != then).flatten(1).any(1).nonzero().squeeze(1)


def _without(numbers: Int[Tensor, " n"], others: Int[Tensor, " m"]) -> Int[Tensor, " k"]:
    """Those of increasing numbers that are not among others, which increase too."""
    edges = torch.searchsorted(others, numbers[::BLOCK].contiguous()).tolist()[1:]
    blocks = zip(numbers.split(BLOCK), others.tensor_split(edges), strict=True)
    left = [block[~_among(block, part)] for block, part in blocks if not torch.equal(block, part)]
    return torch.cat(left) if left else numbers[:0]


def _among(wanted: Int[Tensor, " n"], numbers: Int[Tensor, " m"]) -> Bool[Tensor, " n"]:
    if not len(numbers):
        return torch.zeros(len(wanted), dtype=torch.bool)
    return numbers[torch.searchsorted(numbers, wanted).clamp_max(len(numbers) - 1)] == wanted


def _bytes(tensors: Mapping[str, Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors.values())


def _spent(folder: Path) -> int:
    with safetensors.safe_open(folder / TENSORS, "pt") as file:
        return int(file.metadata()[SPENT])


def _save(tensors: dict[str, Tensor], path: Path, notes: dict[str, str] | None) -> None:
    path.touch()
    mode = path.stat().st_mode
    try:
        save_file(tensors, path, notes)
    except safetensors.SafetensorError as error:
        said = (
            n for n in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) if os.strerror(n) in str(error)
        )
        message = f"{path} cannot be written: {error}; is the disk full?"
        raise OSError(next(said, errno.EIO), message) from error
    path.chmod(mode)  # safetensors makes it private to this user


def _separate(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous, on the CPU, no two in one storage: what safetensors can write."""
    separate, storages = {}, set()
    for name, tensor in tensors.items():
        dense = tensor.detach().cpu().contiguous()
        storage = dense.untyped_storage()
        if storage.data_ptr() in storages or storage.nbytes() != dense.nbytes:
            dense = dense.clone()
        storages.add(dense.untyped_storage().data_ptr())
        separate[name] = dense
    return separate
