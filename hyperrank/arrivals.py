"""Batches of rows as they arrived: an append-only log in Parquet, known by their content.

A folder of files ``000007-DIGEST.parquet``, one batch each, numbered from 1 in the order in which
they came. ``merge`` joins neighbours into one file, ``000001-000040.merged.parquet``, one row group
a batch; where both stand, as a kill may leave them, the merged file counts. A batch of which rows
were left out, before or after it was logged, has the digest of all of them in its note ``arrived``,
by which it is known when it comes again, and lies in a merged file, if need be of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hyperrank.durable import new_file, sync

ArrowTable: TypeAlias = Any
ArrowSchema: TypeAlias = Any
BATCHES, SEAL = b"batches", b"seal"  # keys in the metadata: what is in a file, a digest of that
ARRIVED = "arrived"  # note: digest of the batch as it came, where rows of it were left out
SHORT = 16  # hex digits of a digest in a file name: 64 bits
SINGLE = re.compile(r"(\d{6,})-([0-9a-f]{16})\.parquet")
MERGED = re.compile(r"(\d{6,})-(\d{6,})\.merged\.parquet")
MOST_MERGED = 1000  # batches in one file: a footer of a few hundred kB
ROWS_MERGED = 2**22  # rows in one file: a merge holds that many in memory


UNREADABLE = (pa.ArrowException, OSError, KeyError, TypeError, ValueError)


class LogError(ValueError):
    """A log whose files are damaged or missing."""


@dataclass(frozen=True)
class Batch:
    """One arrival."""

    number: int
    digest: str  # of its rows, whatever their order
    rows: int
    notes: dict[str, Any]


class _File(NamedTuple):
    folder: Path
    name: str
    first: int
    last: int
    short: str | None  # beginning of the digest, of a single batch

    @property
    def path(self) -> Path:
        return self.folder / self.name


def digest_of(table: ArrowTable) -> str:
    """SHA-256 of the rows of a table, whatever their order; columns by name, type and value.

    Takes columns of numbers, booleans, dates, text and bytes without missing values. Equal for
    equal tables whichever file they came from.
    """
    ordered = table.sort_by([(name, "ascending") for name in table.column_names])
    seal = hashlib.sha256(f"{len(table)} rows".encode())
    for name in sorted(table.column_names):
        column = ordered.column(name).combine_chunks()
        seal.update(f"\n{name} {column.type}\n".encode())
        for part in _plain_bytes(column):
            seal.update(part)
    return seal.hexdigest()


def _plain_bytes(column: Any) -> Iterator[Any]:
    if isinstance(column, pa.ChunkedArray):  # none, or more than one array can hold
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_binary(kind):
        column = column.cast(pa.large_binary())
    if pa.types.is_fixed_size_binary(kind):
        column = column.cast(pa.binary()).cast(pa.large_binary())
    if not pa.types.is_large_binary(column.type):
        yield column.to_numpy(zero_copy_only=False).tobytes()
        return
    if not len(column):
        return
    _, offsets, content = column.buffers()
    edges = np.frombuffer(offsets, np.int64)[column.offset : column.offset + len(column) + 1]
    yield (edges - edges[0]).tobytes()
    if content is not None:
        yield memoryview(content)[edges[0] : edges[-1]]


@dataclass(frozen=True)
class ArrivalLog:
    """The log in a folder. One process at a time may change it; any number may read.

    Batches are tables of numbers, booleans, dates, text and bytes; metadata of the schema stay.
    """

    folder: Path

    def __len__(self) -> int:
        return self._newest()

    def find(self, digest: str) -> list[int]:
        """Numbers of the batches that have, or came with, these rows; opens merged files only."""
        found = []
        for file in self._files():
            if file.short is None:
                try:
                    there = _batches(file.path)
                except FileNotFoundError:  # merged meanwhile
                    return self.find(digest)
                found += [b.number for b in there if digest in (b.digest, b.notes.get(ARRIVED))]
            elif digest.startswith(file.short):
                found.append(file.first)
        return found

    def batches(self) -> list[Batch]:
        """Every batch, by number."""
        return [batch for file in self._files() for batch in _batches(file.path)]

    def append(self, table: ArrowTable, digest: str, notes: Mapping[str, Any]) -> Batch:
        """Writes the next batch; it is on the disk, whole, when this returns.

        Args:
            table: Its rows.
            digest: Their ``digest_of``.
            notes: JSON values to keep with it.

        Raises:
            ValueError: If the table has no rows.
            OSError: If the disk is full.
        """
        if not len(table):
            raise ValueError("this batch holds no rows; there is nothing to log")
        batch = Batch(self._newest() + 1, digest, len(table), dict(notes))
        if ARRIVED in batch.notes:
            self._write_merged(table.schema, [batch], [table])
            return batch
        with new_file(self._path(batch)) as fresh:
            labelled = table.cast(_labelled(table.schema, [batch]))
            pq.write_table(labelled, fresh, compression="zstd")
        return batch

    def rewrite(self, change: Callable[[ArrowTable], ArrowTable]) -> list[int]:
        """Leaves rows out of batches; returns the numbers of those that changed.

        Each file is whole before and after. Whatever else there is of the old rows goes too.

        Args:
            change: Gives the rows of a batch that stay.

        Raises:
            LogError: If a file cannot be read.
            OSError: If the disk is full.
        """
        changed = []
        for file in self._files():
            before = list(self.read(range(file.first, file.last + 1)))
            tables = [change(table) for _, table in before]
            batches = [_amended(b, rest) for (b, _), rest in zip(before, tables, strict=True)]
            numbers = [
                new.number for new, (old, _) in zip(batches, before, strict=True) if new != old
            ]
            if numbers:
                self._write_merged(tables[0].schema, batches, tables)
            changed += numbers
        self.remove_shadowed()
        return changed

    def remove_after(self, number: int) -> None:
        """Removes the batches beyond ``number``, which were written and never taken in."""
        for file in self._files():
            if file.first > number:
                file.path.unlink(missing_ok=True)

    def read(self, numbers: Collection[int]) -> Iterator[tuple[Batch, ArrowTable]]:
        """These batches and their rows, in order.

        Raises:
            LogError: If one is not there, or its file cannot be read.
        """
        wanted, files = set(numbers), self._files()
        try:
            for file in files:
                if wanted.isdisjoint(range(file.first, file.last + 1)):
                    continue
                for place, batch in enumerate(_batches(file.path)):
                    if batch.number in wanted:
                        rows = _rows(file, place)
                        wanted.discard(batch.number)
                        yield batch, rows
        except FileNotFoundError:
            pass
        if wanted and self._files() != files:  # merged meanwhile
            yield from self.read(wanted)
        elif wanted:
            raise LogError(f"{self.folder} lacks batch {min(wanted)}; restore it from a copy")

    def verify(self) -> list[str]:
        """What is wrong, a sentence each: missing numbers, damaged files, altered rows."""
        wrong, there = [], 0
        files = self._files()
        for file in files:
            if file.first != there + 1:
                wrong.append(f"{self.folder} lacks batches {there + 1} to {file.first - 1}")
            there = file.last
            try:
                for batch, table in self.read(range(file.first, file.last + 1)):
                    short = file.short or batch.digest
                    if digest_of(table) != batch.digest or not batch.digest.startswith(short):
                        wrong.append(f"batch {batch.number} does not match its digest")
            except LogError as error:
                wrong.append(str(error))
            except UNREADABLE as error:  # rows that read as something else
                wrong.append(str(_damaged(file.path, error)))
        known = {file.name for file in files}
        whole = [range(file.first, file.last + 1) for file in files if file.short is None]
        for name in sorted({path.name for path in self.folder.glob("[!.]*")} - known):
            single = SINGLE.fullmatch(name) or MERGED.fullmatch(name)
            if not single or not any(int(single[1]) in numbers for numbers in whole):
                wrong.append(f"{self.folder} holds {name}, which is not of it")
        return wrong

    def merge(self) -> int:
        """Joins neighbours of one schema into few files; returns how many files went.

        The log reads the same before, after, and after a kill at any moment between.
        """
        before = len(list(self.folder.glob("*.parquet")))
        self.remove_shadowed()
        for run in self._runs():
            if len(run) > 1:
                self._join(run)
        self.remove_shadowed()
        return before - len(list(self.folder.glob("*.parquet")))

    def _runs(self) -> Iterator[list[_File]]:
        """Neighbours that can become one file."""
        run, last, rows = list[_File](), None, 0
        for file in self._files():
            schema, more = pq.read_schema(file.path), sum(b.rows for b in _batches(file.path))
            like = (schema.remove_metadata(), _unlabelled(schema.metadata))
            long = bool(run) and file.last - run[0].first >= MOST_MERGED
            if run and (like != last or long or rows + more > ROWS_MERGED):
                yield run
                run, rows = [], 0
            run.append(file)
            last, rows = like, rows + more
        if run:
            yield run

    def _join(self, run: list[_File]) -> None:
        batches = [batch for file in run for batch in _batches(file.path)]
        schema = pq.read_schema(run[0].path)
        tables = (table for _, table in self.read(range(run[0].first, run[-1].last + 1)))
        self._write_merged(schema, batches, tables)

    def _write_merged(
        self, schema: Any, batches: list[Batch], tables: Iterable[ArrowTable]
    ) -> None:
        target = self.folder / f"{batches[0].number:06d}-{batches[-1].number:06d}.merged.parquet"
        labelled = _labelled(schema, batches)
        with (
            new_file(target) as fresh,
            pq.ParquetWriter(fresh, labelled, compression="zstd") as out,
        ):
            for table in tables:
                out.write_table(table.cast(labelled), row_group_size=max(len(table), 1))

    def remove_shadowed(self) -> None:
        """Removes files whose batches are in a merged one, which a kill may leave."""
        kept = {file.path for file in self._files()}
        for path in self.folder.glob("*.parquet"):
            if path not in kept and (SINGLE.fullmatch(path.name) or MERGED.fullmatch(path.name)):
                path.unlink()
        if self.folder.is_dir():
            sync(self.folder)

    def _path(self, batch: Batch) -> Path:
        return self.folder / f"{batch.number:06d}-{batch.digest[:SHORT]}.parquet"

    def _newest(self) -> int:
        return max((file.last for file in self._files()), default=0)

    def _files(self) -> list[_File]:
        """The files that count, by number; wider ones hide what they hold."""
        found = []
        names = os.listdir(self.folder) if self.folder.is_dir() else ()  # noqa: PTH208  # thousands
        for name in names:
            if single := SINGLE.fullmatch(name):
                found.append(_File(self.folder, name, int(single[1]), int(single[1]), single[2]))
            elif merged := MERGED.fullmatch(name):
                found.append(_File(self.folder, name, int(merged[1]), int(merged[2]), None))
        found.sort(key=lambda file: (file.first, -file.last, file.short or ""))
        counting, end = [], 0
        for file in found:
            if file.last > end:
                counting.append(file)
                end = file.last
        return counting


def _amended(batch: Batch, rest: ArrowTable) -> Batch:
    """The batch with these rows of it; itself where they are all."""
    if len(rest) == batch.rows:
        return batch
    notes = {ARRIVED: batch.digest} | batch.notes
    return replace(batch, digest=digest_of(rest), rows=len(rest), notes=notes)


def _damaged(path: Path, error: Exception) -> LogError:
    return LogError(f"{path} cannot be read ({error}); restore it from a copy")


def _opened(path: Path) -> pq.ParquetFile:
    parquet = pq.ParquetFile(path)
    metadata = parquet.schema_arrow.metadata or {}
    if BATCHES not in metadata or metadata.get(SEAL, b"") not in (b"", _seal(parquet.schema_arrow)):
        raise ValueError("its head does not match its digest")
    return parquet


def _batches(path: Path) -> list[Batch]:
    try:
        with _opened(path) as parquet:
            return [Batch(**one) for one in json.loads(parquet.schema_arrow.metadata[BATCHES])]
    except FileNotFoundError:
        raise
    except UNREADABLE as error:
        raise _damaged(path, error) from error


def _rows(file: _File, place: int) -> ArrowTable:
    try:
        with _opened(file.path) as parquet:
            rows = parquet.read() if file.short is not None else parquet.read_row_group(place)
            return rows.replace_schema_metadata(parquet.schema_arrow.metadata)  # what was sealed
    except FileNotFoundError:
        raise
    except UNREADABLE as error:
        raise _damaged(file.path, error) from error


def _labelled(schema: ArrowSchema, batches: list[Batch]) -> ArrowSchema:
    label = json.dumps([asdict(batch) for batch in batches]).encode()
    labelled = schema.with_metadata({**(schema.metadata or {}), BATCHES: label})
    return labelled.with_metadata({**labelled.metadata, SEAL: _seal(labelled)})


def _seal(schema: ArrowSchema) -> bytes:
    """Digest of columns and metadata."""
    said = [(field.name, str(field.type)) for field in schema]
    said += sorted((key, value) for key, value in schema.metadata.items() if key != SEAL)
    return hashlib.sha256(repr(said).encode()).hexdigest().encode()


def _unlabelled(metadata: dict[bytes, bytes] | None) -> dict[bytes, bytes]:
    return {key: value for key, value in (metadata or {}).items() if key not in (BATCHES, SEAL)}
