"""Where new events come from, a file, standard input or a database, as a file that can be read."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple


class Source(NamedTuple):
    """Events in a file, for as long as it is open."""

    path: str
    notes: dict[str, Any]  # kept with the batch
    name: str  # in front of what is written beside it


@contextmanager
def opened(log: str | None, sql: str | None = None, query: str | None = None) -> Iterator[Source]:
    """The events of a file, of standard input (``-``), or of a query of a database.

    Raises:
        ValueError: If standard input is empty, or as ``databases.read_query``, whose other errors
            are raised too.
    """
    if sql is not None:
        with _queried(sql, query or "") as source:
            yield source
    elif log == "-":
        with _spooled() as source:
            yield source
    else:
        yield Source(str(log), {"source": str(log)}, str(log).rstrip("/"))


@contextmanager
def _queried(sql: str, query: str) -> Iterator[Source]:
    """A query's rows: as text from SQLite, whose values have no types, else as Parquet."""
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    from recsys.databases import Address, read_query

    table = read_query(sql, query)
    address = Address.read(sql)
    binary = any(map(pa.types.is_large_binary, table.schema.types))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "query"
        if address.engine == "sqlite" and not binary:
            path = path.with_suffix(".csv")
            pyarrow.csv.write_csv(table, path)
        else:
            path = path.with_suffix(".parquet")
            pyarrow.parquet.write_table(table, path)
        yield Source(str(path), {"source": str(address), "query": query}, "query")


@contextmanager
def _spooled() -> Iterator[Source]:
    """A copy of standard input under the suffix that its content asks for."""
    import shutil
    import sys

    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "stdin"
        with copy.open("wb") as target:
            shutil.copyfileobj(sys.stdin.buffer, target)
        with copy.open("rb") as source:
            start = source.read(2**16)
        if not start.strip():
            raise ValueError("standard input is empty; expected CSV, TSV, JSON lines or Parquet")
        path = copy.rename(copy.with_suffix(_suffix(start)))
        yield Source(str(path), {"source": "-"}, "stdin")


def _suffix(start: bytes) -> str:
    if start.startswith(b"PAR1"):
        return ".parquet"
    if start.lstrip().startswith(b"{"):
        return ".jsonl"
    return ".tsv" if b"\t" in start.partition(b"\n")[0] else ".csv"
