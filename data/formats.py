"""Readers for the formats in which publishers hand out interactions and facts."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from data.recipe import Tables


def adjacency(path: Path) -> pa.Table:
    """Pairs from lines of a user followed by its items; users without items give none.

    Raises:
        ValueError: If a word is no integer, naming its line.
    """
    users, items = [], []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        words = line.split()
        try:
            row = np.array(words, dtype=np.int64)
        except ValueError:
            raise ValueError(
                f"{path} line {number} holds {line[:40]!r}; expected a user's number and then the "
                "numbers of its items"
            ) from None
        if len(row) > 1:
            users.append(np.full(len(row) - 1, row[0]))
            items.append(row[1:])
    if not users:
        raise ValueError(f"{path} holds no pairs; expected lines of a user and its items")
    return pa.table({"user": np.concatenate(users), "item": np.concatenate(items)})


def adjacency_parts(files: Mapping[str, Path]) -> Tables:
    """Tables ``train`` and ``test`` from ``train.txt`` and ``test.txt``."""
    return {part: adjacency(files[f"{part}.txt"]) for part in ("train", "test")}


def fact_lines(text: str) -> pa.Table:
    """Facts from lines of head, relation and tail between tabs.

    Raises:
        ValueError: If a line has another number of fields.
    """
    return delimited(text, ("head", "relation", "tail"), separator="\t")


def fact_parts(files: Mapping[str, Path]) -> Tables:
    """Tables ``train``, ``valid`` and ``test`` from such text files, or from one archive of them.

    Raises:
        ValueError: If the archive is none or lacks a part.
    """
    parts = ("train", "valid", "test")
    if len(files) > 1:
        return {part: fact_lines(files[f"{part}.txt"].read_text()) for part in parts}
    (archive,) = files.values()
    try:
        with tarfile.open(archive) as bundle:
            inside = {Path(one.name).name: one for one in bundle.getmembers() if one.isfile()}
            missing = [part for part in parts if f"{part}.txt" not in inside]
            if missing:
                raise ValueError(
                    f"{archive.name} holds no {missing[0]}.txt; it has {[*inside][:9]}"
                )
            texts = {part: bundle.extractfile(inside[f"{part}.txt"]) for part in parts}
            return {
                part: fact_lines(text.read().decode())
                for part, text in texts.items()
                if text is not None
            }
    except (tarfile.TarError, EOFError):
        raise ValueError(f"{archive.name} is no tar archive; delete it and try again") from None


def delimited(
    text: str, columns: Sequence[str], *, separator: str, keep: Sequence[str] | None = None
) -> pa.Table:
    """A table from lines without a header whose separator may have several characters."""
    rows = [line.split(separator) for line in text.splitlines() if line]
    wrong = next((n for n, row in enumerate(rows, 1) if len(row) < len(columns)), None)
    if wrong is not None:
        raise ValueError(
            f"line {wrong} has {len(rows[wrong - 1])} fields; expected {len(columns)}: "
            f"{', '.join(columns)}"
        )
    frame = pd.DataFrame([row[: len(columns)] for row in rows], columns=list(columns))
    kept = frame[list(keep or columns)]
    return pa.table({name: pa.array(kept[name].astype(str).tolist()) for name in kept})


def with_types(table: pa.Table, types: Mapping[str, pa.DataType]) -> pa.Table:
    """The same table with some columns read as another type.

    Raises:
        ValueError: If a value cannot be read so, naming the column.
    """
    for name, kind in types.items():
        spot = table.schema.get_field_index(name)
        try:
            table = table.set_column(spot, name, table.column(name).cast(kind))
        except pa.ArrowInvalid as error:
            raise ValueError(f"column {name!r} cannot be read as {kind}: {error}") from None
    return table


def member(archive: Path, name: str, *, encoding: str = "utf-8") -> str:
    """Text of one file of a zip archive, by the end of its path.

    Raises:
        ValueError: If the archive has no such file, or is none.
    """
    try:
        with zipfile.ZipFile(archive) as bundle:
            found = [path for path in bundle.namelist() if path.endswith(f"/{name}")]
            if not found:
                raise ValueError(f"{archive.name} holds no {name}; it has {bundle.namelist()[:9]}")
            return bundle.read(found[0]).decode(encoding)
    except zipfile.BadZipFile:
        raise ValueError(f"{archive.name} is no zip archive; delete it and try again") from None


def json_lines(path: Path, columns: Mapping[str, str]) -> pa.Table:
    """A table from gzipped JSON lines: new column name to field name."""
    kept: dict[str, list[object]] = {name: [] for name in columns}
    with gzip.open(path) as raw, io.TextIOWrapper(raw, encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            for name, field in columns.items():
                kept[name].append(row[field])
    return pa.table(kept)
