"""Tables in files, by blocks and whole (CSV, TSV, JSON lines, Parquet), and frames of all kinds."""

from __future__ import annotations

import csv
import difflib
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias, cast

from hyperrank.durable import new_file
from hyperrank.frames import require_columns
from hyperrank.identifiers import Array

ArrowBatch: TypeAlias = Any  # pyarrow is imported only where used
ArrowSchema: TypeAlias = Any

FORMATS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".jsonl": "json",
    ".ndjson": "json",
    ".parquet": "parquet",
    ".pq": "parquet",
}
TABBED = (".tsv", ".txt")
COMPRESSIONS = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2"}
BLOCK_BYTES = 2**24  # of text read at once; a row of Parquet counts as 16 bytes
WIDER = {"int64": "double", "date32[day]": "timestamp[ns]", "timestamp[s]": "timestamp[ns]"}


class ColumnTypeError(ValueError):
    """A later value does not fit the type that the first block of a text file showed.

    Attributes:
        types: Wider types to read the file with from its start.
    """

    def __init__(self, message: str, types: dict[str, str]) -> None:
        super().__init__(message)
        self.types = types


def files_of(path: str | PathLike[str] | Sequence[str | PathLike[str]]) -> list[Path]:
    """The files meant: the one named, those listed, or the readable ones of a folder by name.

    Raises:
        FileNotFoundError: If a path does not exist, naming the closest.
        ValueError: If a suffix is unknown, or a folder holds nothing readable.
    """
    if not isinstance(path, (str, PathLike)):
        return [file for part in path for file in files_of(part)]
    place = Path(path)
    if place.is_dir():
        inside = sorted(p for p in place.rglob("*") if p.is_file() and p.name[0] not in "._")
        readable = [p for p in inside if _suffixes(p)[0] in FORMATS.keys() - {".txt"}]  # notes
        if not readable:
            raise ValueError(f"the folder {place} holds no file that ends in {_readable()}")
        return readable
    if not place.exists():
        beside = [p.name for p in place.parent.iterdir()] if place.parent.is_dir() else []
        near = difflib.get_close_matches(place.name, beside, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise FileNotFoundError(f"there is no file {place}{hint}")
    _format(place)
    return [place]


def _suffixes(path: Path) -> tuple[str, str]:
    """Suffix of the format and suffix of the compression, in lower case, "" where absent."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in COMPRESSIONS:
        return (suffixes[-2] if len(suffixes) > 1 else "", suffixes[-1])
    return (suffixes[-1] if suffixes else "", "")


def _readable() -> str:
    return f"{', '.join(FORMATS)} (the text ones also with {', '.join(COMPRESSIONS)})"


def _format(path: Path) -> str:
    suffix, compression = _suffixes(path)
    if suffix not in FORMATS or (compression and FORMATS[suffix] == "parquet"):
        ending = suffix + compression
        raise ValueError(f"{path}: unknown suffix {ending!r}; the name must end in {_readable()}")
    return FORMATS[suffix]


def is_text(path: Path) -> bool:
    """Whether the file holds plain text without types: CSV or TSV."""
    return _format(path) == "csv"


def is_parquet(path: Path) -> bool:
    """Whether the file is Parquet."""
    return _format(path) == "parquet"


def separator(path: Path) -> str:
    """What stands between the values of a CSV or TSV file."""
    return "\t" if _suffixes(path)[0] in TABBED else ","


@contextmanager
def _named_errors(path: Path) -> Iterator[None]:
    """Complaints about content as ValueError with the name of the file."""
    import pyarrow as pa

    try:
        yield
    except (FileNotFoundError, PermissionError):
        raise
    except (pa.ArrowException, OSError) as error:  # the latter from damaged compression
        raise ValueError(f"{path} cannot be read: {error}") from error


def _open(path: Path) -> Any:
    """The decompressed bytes of a text file.

    Raises:
        ValueError: If it is empty.
    """
    import pyarrow as pa

    if not path.stat().st_size:
        raise ValueError(f"{path} is empty; expected rows")
    compression = COMPRESSIONS.get(_suffixes(path)[1])
    return pa.input_stream(str(path), compression=compression, buffer_size=2**20)


def header(path: str | PathLike[str]) -> list[str]:
    """The names of the columns, as they stand.

    Those of JSON lines are the ones met in the first block.

    Raises:
        ValueError: If the file is empty or damaged.
    """
    place = files_of(path)[0]
    if _format(place) == "csv":
        with _named_errors(place), _open(place) as stream:
            try:
                text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
                names = next(csv.reader(text, delimiter=separator(place)), [])
            except UnicodeDecodeError as error:
                raise ValueError(f"{place} is not UTF-8 text: {error}; save it as UTF-8") from None
        if not names:
            raise ValueError(f"{place} is empty; expected rows")
        return names
    if _format(place) == "json":
        return list(_json_schema(place, BLOCK_BYTES).names)
    return list(_parquet(place).schema_arrow.names)


def stream(
    path: str | PathLike[str],
    columns: Sequence[str],
    *,
    ids: Sequence[str] = (),
    types: Mapping[str, str] | None = None,
    block_bytes: int = BLOCK_BYTES,
    headless: bool = False,
) -> Iterator[ArrowBatch]:
    """The rows of one file as Arrow record batches of these columns, a block at a time.

    Memory holds a few blocks, never the file. Text formats take the type of a column from the
    first block, unless ``types`` names it; columns in ``ids`` come from CSV and TSV as text, so
    that "007" stays what it is, and an unquoted nothing is a missing value. The columns of a CSV or
    TSV file that is ``headless`` are "0", "1", ...

    Raises:
        FileNotFoundError: If there is no such file.
        ColumnTypeError: If a later block needs a wider type than the first.
        ValueError: If the file is empty, damaged, of unknown suffix, or lacks a column.
    """
    place = files_of(path)[0]
    names = header(place)
    if headless:
        if not is_text(place):
            raise ValueError(f"{place} has names for its columns, {names}; give these")
        names = [str(number) for number in range(len(names))]
    require_columns(names, columns, str(place))
    with _named_errors(place):
        if is_parquet(place):
            rows = max(block_bytes // 16, 1)
            yield from _parquet(place).iter_batches(batch_size=rows, columns=list(columns))
        elif is_text(place):
            reading = {"block_size": block_bytes, "column_names": names if headless else None}
            yield from _stream_csv(place, columns, ids, dict(types or {}), reading)
        else:
            yield from _stream_json(place, columns, ids, dict(types or {}), block_bytes)


def _parquet(path: Path) -> Any:
    from pyarrow import parquet

    if not path.stat().st_size:
        raise ValueError(f"{path} is empty; expected a Parquet file")
    with _named_errors(path):
        return parquet.ParquetFile(path, pre_buffer=False)


def _csv_options(path: Path) -> dict[str, Any]:
    from pyarrow import csv as arrow_csv

    return {
        "parse_options": arrow_csv.ParseOptions(delimiter=separator(path), newlines_in_values=True),
        "convert_options": arrow_csv.ConvertOptions(
            null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False
        ),
    }


def _stream_csv(
    path: Path,
    columns: Sequence[str],
    ids: Sequence[str],
    types: dict[str, str],
    reading: dict[str, Any],
) -> Iterator[ArrowBatch]:
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    options = _csv_options(path)
    convert = options["convert_options"]
    convert.include_columns = list(columns)
    convert.column_types = {**dict.fromkeys(ids, "string"), **types}
    read = arrow_csv.ReadOptions(**reading)
    names = reading["column_names"] or header(path)
    with _open(path) as source:
        found: dict[str, str] = {}
        try:
            reader = arrow_csv.open_csv(source, read_options=read, **options)
            found = {field.name: str(field.type) for field in reader.schema}
            yield from reader
        except pa.ArrowInvalid as error:
            where = re.search(r"In CSV column #(\d+): (.*)", str(error), flags=re.DOTALL)
            if where is None:
                raise
            name = names[int(where[1])]
            _raise_type_error(path, f"column {name!r}: {where[2]}", {name: found.get(name, "")})


def _stream_json(
    path: Path, columns: Sequence[str], ids: Sequence[str], types: dict[str, str], block_bytes: int
) -> Iterator[ArrowBatch]:
    import pyarrow as pa
    from pyarrow import json as arrow_json

    seen = {field.name: field.type for field in _json_schema(path, block_bytes)}
    plain = {n: pa.string() for n in ids if pa.types.is_temporal(seen[n])}  # text all the same
    schema = pa.schema({n: types.get(n, plain.get(n, seen[n])) for n in columns})
    parse = arrow_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    read = arrow_json.ReadOptions(block_size=block_bytes)
    with _open(path) as source:
        try:
            reader = arrow_json.open_json(source, read_options=read, parse_options=parse)
            yield from (batch.select(list(columns)) for batch in reader)
        except pa.ArrowInvalid as error:
            open_to_change = {f.name: str(f.type) for f in schema if f.name not in ids}
            if "Failed to convert" in str(error):
                _raise_type_error(path, str(error), open_to_change)
            raise


def _json_schema(path: Path, block_bytes: int) -> ArrowSchema:
    """Names and types in the first block."""
    from pyarrow import json as arrow_json

    read = arrow_json.ReadOptions(block_size=block_bytes)
    with _open(path) as source, _named_errors(path):
        return arrow_json.open_json(source, read_options=read).schema


def _raise_type_error(path: Path, message: str, found: dict[str, str]) -> None:
    wider = {name: WIDER[kind] for name, kind in found.items() if kind in WIDER}
    text = f"{path}, {message}"
    raise ColumnTypeError(text, wider) if wider else ValueError(text)


def read(
    path: str | PathLike[str],
    columns: Sequence[str] | None = None,
    backend: str = "pandas",
) -> Any:
    """The whole file as a frame; CSV, TSV and JSON columns have the type that fits all their rows.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is empty, damaged, of unknown suffix, or lacks a column.
    """
    import narwhals as nw
    from pyarrow import csv as arrow_csv
    from pyarrow import json as arrow_json

    _check_backend(backend)
    place = files_of(path)[0]
    names = header(place)
    wanted = names if columns is None else list(columns)
    require_columns(names, wanted, str(place))
    with _named_errors(place):
        if _format(place) == "parquet":
            table = _parquet(place).read(columns=wanted)
        else:
            with _open(place) as source:
                if _format(place) == "csv":
                    table = arrow_csv.read_csv(source, **_csv_options(place)).select(wanted)
                else:
                    table = arrow_json.read_json(source)
                    table = table if columns is None else table.select(wanted)
    frame = nw.from_native(table, eager_only=True)
    if backend == "pandas":
        return frame.to_pandas()
    return frame.to_polars() if backend == "polars" else table


def _check_backend(backend: str) -> None:
    if backend not in ("pandas", "polars", "pyarrow"):
        raise ValueError(f"backend must be pandas, polars or pyarrow, got {backend!r}")


def write(frame: Any, path: str | PathLike[str]) -> None:
    """The frame in a file whose format is its suffix; the file appears whole or not at all.

    Raises:
        TypeError: If the frame is no frame, or a column has no form in a file.
        ValueError: If the suffix is unknown.
    """
    import narwhals as nw
    import pyarrow as pa

    place = Path(path)
    kind = _format(place)
    try:
        table = nw.from_native(frame, eager_only=True).to_arrow()
    except pa.ArrowException as error:
        raise TypeError(f"{place} cannot be written: {error}; convert the column first") from error
    compression = COMPRESSIONS.get(_suffixes(place)[1])
    with new_file(place) as fresh:
        if kind == "parquet":
            from pyarrow import parquet

            parquet.write_table(table, fresh, compression="zstd")
            return
        with pa.output_stream(str(fresh), compression=compression) as sink:
            if kind == "csv":
                from pyarrow import csv as arrow_csv

                options = arrow_csv.WriteOptions(delimiter=separator(place))
                arrow_csv.write_csv(table, sink, options)
            else:
                for batch in table.to_batches(max_chunksize=2**16):
                    lines = (json.dumps(row, default=str) for row in batch.to_pylist())
                    sink.write("".join(f"{line}\n" for line in lines).encode())


def to_backend(columns: Mapping[str, Array], backend: str = "pandas") -> Any:
    """A frame of the given kind with these columns.

    Raises:
        ValueError: If the kind is unknown.
        ImportError: If polars is asked for and absent.
    """
    import narwhals as nw

    _check_backend(backend)
    plain = {
        name: column.tolist() if column.dtype == object else column
        for name, column in columns.items()
    }
    try:
        return nw.from_dict(plain, backend=cast("Any", backend)).to_native()
    except ModuleNotFoundError as error:
        raise ImportError(
            f"a {backend} frame needs {backend}: pip install 'hyperrank[{backend}]'"
        ) from error
