"""Rows of a file before anybody asks what they mean: fast as columns, or slowly line by line."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from hyperrank import tables
from hyperrank.frames import require_columns
from hyperrank.rendering import plain
from recsys.measures import TIME_UNIT


class Unparsed(NamedTuple):
    """A line that is no row."""

    line: int
    reason: str
    row: str


@dataclass(frozen=True)
class RawRows:
    """Columns of a file; those of CSV and TSV are text.

    Attributes:
        columns: By name: integers, datetimes, or objects with None where a value is missing.
        is_text: Whether values have no type of their own.
        lines: Line of each row, from 1; None where only their order is known.
        texts: Each row as it stood, where lines are known.
        unparsed: Lines that are no rows.
    """

    columns: dict[str, pd.Series]
    is_text: bool
    lines: list[int] | None = None
    texts: list[str] | None = None
    unparsed: list[Unparsed] = field(default_factory=list)

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    @property
    def has_lines(self) -> bool:
        """Whether ``line`` tells lines of the file."""
        return self.lines is not None

    def line(self, row: int) -> int:
        """Line of a row in the file, from 1."""
        return row + 1 if self.lines is None else self.lines[row]

    def text(self, row: int) -> str:
        """A row as it stood."""
        if self.texts is not None:
            return self.texts[row]
        values = {name: column[row] for name, column in self.columns.items()}
        return json.dumps(values, default=plain)


def read_fast(file: Path, columns: list[str], ids: list[str]) -> RawRows | None:
    """The rows without their lines; None where a line is no row.

    Raises:
        ValueError: If a column is missing, or a Parquet file is damaged.
    """
    text, parquet = tables.is_text(file), tables.is_parquet(file)
    try:
        names = tables.header(file)
    except ValueError:
        if parquet or not file.stat().st_size:
            raise
        return None
    if text:
        _check_header(file, names, columns)
    if text or parquet:  # JSON may have a column further down
        require_columns(names, columns, str(file))
    try:
        return _columns(file, columns, columns if text else ids)
    except ValueError:
        if parquet:
            raise
        return None


def _columns(file: Path, columns: list[str], ids: list[str]) -> RawRows | None:
    text = tables.is_text(file)
    batches = list(tables.stream(file, columns, ids=ids))
    if not batches:
        return RawRows({name: pd.Series([], dtype=object) for name in columns}, text)
    table = pa.Table.from_batches(batches)
    if any(pa.types.is_nested(kind) for kind in table.schema.types):
        return None
    rows = list(range(1, len(table) + 1)) if tables.is_parquet(file) else None
    return RawRows({name: _series(table.column(name)) for name in columns}, text, rows)


def read_slowly(file: Path, columns: list[str]) -> RawRows:
    """The rows with their lines, and the lines that are none; a second per million.

    Raises:
        ValueError: If a column is missing.
    """
    text = tables.is_text(file)
    unparsed: list[Unparsed] = []
    kept: dict[str, list[Any]] = {name: [] for name in columns}
    lines, texts = [], []
    known: dict[str, None] = {}
    for line, raw, values in _csv_rows(file, columns) if text else _json_rows(file, columns):
        if isinstance(values, str):
            unparsed.append(Unparsed(line, values, raw))
            continue
        known |= dict.fromkeys(values)
        lines.append(line)
        texts.append(raw)
        for name in columns:
            kept[name].append(values.get(name))
    if known:
        require_columns(list(known), columns, str(file))
    series = {name: pd.Series(values, dtype=object) for name, values in kept.items()}
    return RawRows(series, text, lines, texts, unparsed)


def _series(column: Any) -> pd.Series:
    """Integers and datetimes as such where none is missing, else objects."""
    kind = column.type
    if pa.types.is_integer(kind) and not column.null_count:
        return pd.Series(column.to_numpy())
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        moments = column.cast(pa.timestamp(TIME_UNIT), safe=False).to_numpy()
        return pd.Series(moments.astype(f"datetime64[{TIME_UNIT}]"))
    found = np.fromiter(column.to_pylist(), dtype=object, count=len(column))
    return pd.Series(found, dtype=object)


Row = tuple[int, str, dict[str, Any] | str]  # line, as it stood, values or what is wrong


def _lines(file: Path) -> Iterator[str]:
    """Lines of a text file; bytes that are no UTF-8 become lone surrogates."""
    with pa.input_stream(str(file), compression="detect") as stream:
        yield from io.TextIOWrapper(
            stream, encoding="utf-8-sig", errors="surrogateescape", newline=""
        )


def _csv_rows(file: Path, columns: list[str]) -> Iterator[Row]:
    seen: list[str] = []

    def remembered() -> Iterator[str]:
        for line in _lines(file):
            seen.append(line)
            yield line

    reader = csv.reader(remembered(), delimiter=tables.separator(file))
    names = next(reader, [])
    _check_header(file, names, columns)
    require_columns(names, columns, str(file))
    while True:
        seen.clear()
        first = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            yield first, "".join(seen).rstrip("\r\n"), f"it is no CSV: {error}"
            continue
        if cells is None:
            return
        raw = "".join(seen).rstrip("\r\n")
        if not cells:
            continue
        if len(cells) != len(names):
            quoted = f", if the quote closes in line {reader.line_num}"
            more = quoted if reader.line_num > first else ""
            yield first, raw, f"it has {len(cells)} values{more}, the header has {len(names)}"
        elif not _is_utf8(raw):
            yield first, _readable(raw), "it is not UTF-8 text"
        else:
            yield first, raw, {n: c or None for n, c in zip(names, cells, strict=True)}


def _json_rows(file: Path, columns: list[str]) -> Iterator[Row]:
    for number, line in enumerate(_lines(file), 1):
        raw = line.strip()
        if not raw:
            continue
        if not _is_utf8(raw):
            yield number, _readable(raw), "it is not UTF-8 text"
            continue
        try:
            values = json.loads(raw)
        except ValueError as error:
            yield number, raw, f"it is no JSON: {error}"
            continue
        if not isinstance(values, dict):
            yield number, raw, "it is no JSON object"
        elif nested := [name for name in columns if isinstance(values.get(name), list | dict)]:
            yield number, raw, f"its {nested[0]!r} is not a single value"
        else:
            yield number, raw, values


def _check_header(file: Path, names: list[str], columns: list[str]) -> None:
    """Raises where the header shows a file that is written in another way altogether."""
    whole = "".join(names)
    if not _is_utf8(whole) or "\0" in whole:
        raise ValueError(f"{file} is not UTF-8 text; write it as UTF-8")
    sign = next((one for one in ";|\t," if one in whole), None)
    if sign is not None and len(names) == 1 and names != columns:
        raise ValueError(
            f"{file} has a single column, {whole!r}, whose parts seem to be separated by {sign!r}; "
            f"write it with {tables.separator(file)!r}"
        )


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _readable(text: str) -> str:
    return text.encode(errors="surrogateescape").decode(errors="backslashreplace")
