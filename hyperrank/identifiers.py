"""Columns of outside ids: which kind they are, their distinct values, and their Arrow form."""

from __future__ import annotations

import datetime as dt
import json
import sys
import uuid
from collections.abc import Iterable
from typing import Any, NamedTuple, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
ArrowArray: TypeAlias = Any  # whole or chunked; pyarrow is imported only where used

EMPTY = "empty"
STORED = {  # kind -> NumPy type of its column; every other kind is a column of Python objects
    "integer": np.dtype(np.int64),
    "float": np.dtype(np.float64),
    "date": np.dtype("datetime64[D]"),
    "datetime": np.dtype("datetime64[us]"),
}
PYTHON_TYPES: tuple[tuple[type, str], ...] = (  # the first that fits; bool is an int to Python
    (bool, "boolean"),
    (np.bool_, "boolean"),
    (int, "integer"),
    (np.integer, "integer"),
    (str, "text"),
    (bytes, "bytes"),
    (float, "float"),
    (np.floating, "float"),
    (dt.datetime, "datetime"),
    (dt.date, "date"),
    (uuid.UUID, "uuid"),
    (tuple, "tuple"),
)
SAVEABLE = ("integer", "float", "date", "datetime", "boolean", "text", "bytes", "uuid", "tuple")


class IdColumn(NamedTuple):
    """Ids of one kind in their normal form."""

    kind: str
    values: Array  # of the type in STORED, else of Python objects


def id_column(ids: Any, *, name: str = "ids") -> IdColumn:
    """The ids in their normal form, all rows of them.

    Takes any iterable of hashables, NumPy arrays, torch tensors, Arrow arrays, and pandas or
    polars series. Integers are int64 (Python objects beyond 63 bits), datetimes are microseconds.

    Raises:
        TypeError: If the ids are not one column, mix kinds, or cannot be hashed.
        ValueError: If an id is missing (None or NaN).
    """
    column = _raw_column(ids, name)
    if _is_arrow(column):
        codes, distinct = _distinct_arrow(column, name)
        return IdColumn(distinct.kind, distinct.values[codes])
    return _normal(column, name)


def distinct_ids(ids: Any, *, name: str = "ids") -> tuple[Array, IdColumn]:
    """Position of each id among the distinct ones, and these in order of first appearance.

    Arrow text is hashed as it lies, so a Python object is made per distinct id, not per row.

    Raises:
        TypeError: As ``id_column``.
        ValueError: As ``id_column``.
    """
    column = _raw_column(ids, name)
    if _is_arrow(column):
        return _distinct_arrow(column, name)
    normal = _normal(column, name)
    import pandas as pd

    try:
        codes, values = pd.factorize(hashable_view(normal.values))
    except TypeError as error:
        raise TypeError(f"{name}: every id must be hashable; {error}") from None
    return codes, IdColumn(normal.kind, values.view(normal.values.dtype))


def hashable_view(values: Array) -> Array:
    """The same memory as integers where the values are dates; itself otherwise."""
    return values.view(np.int64) if values.dtype.kind == "M" else values


def _is_arrow(column: Any) -> bool:
    pa = sys.modules.get("pyarrow")
    return pa is not None and isinstance(column, (pa.Array, pa.ChunkedArray))


def _raw_column(ids: Any, name: str) -> Any:
    """``ids`` as a NumPy vector or an Arrow array."""
    if isinstance(ids, (str, bytes)):
        raise TypeError(f"{name}: got the single id {ids!r}; give a list of ids, [{ids!r}]")
    if _is_arrow(ids):
        return ids
    torch, pandas = sys.modules.get("torch"), sys.modules.get("pandas")
    if torch is not None and isinstance(ids, torch.Tensor):
        ids = ids.detach().cpu().numpy()
    if pandas is not None and isinstance(ids, (pandas.Series, pandas.Index)):
        ids = ids.to_numpy() if isinstance(ids.dtype, np.dtype) else _arrow(ids)
    elif hasattr(ids, "to_arrow"):  # a polars or narwhals series
        ids = _arrow(ids.to_arrow()) if str(ids.dtype) != "Object" else ids.to_list()
    if _is_arrow(ids):
        return ids
    if not isinstance(ids, np.ndarray):
        if not isinstance(ids, Iterable):
            raise TypeError(f"{name}: expected a column of ids, got {type(ids).__name__}")
        ids = np.fromiter(ids, dtype=object)
    if ids.ndim != 1:
        raise TypeError(f"{name}: ids must be one column, got an array of shape {ids.shape}")
    return ids


def _arrow(column: Any) -> ArrowArray:
    import pyarrow as pa

    if isinstance(column, (pa.Array, pa.ChunkedArray)):
        return column
    return pa.array(column, from_pandas=True)


def _normal(values: Array, name: str) -> IdColumn:
    """A NumPy vector in normal form, checked."""
    if not len(values):
        return IdColumn(EMPTY, np.empty(0, dtype=object))
    if values.dtype.kind in "OfM":
        _refuse_missing(values, name)
    if values.dtype.kind in "iu":
        return _integers(values)
    if values.dtype.kind == "f":
        return IdColumn("float", values.astype(np.float64))
    if values.dtype.kind == "M":
        kind = "date" if values.dtype == STORED["date"] else "datetime"
        return IdColumn(kind, _exact_moments(values, kind, name))
    if values.dtype.kind in "UTSb":
        values = values.astype(object)
    if values.dtype.kind != "O":
        raise TypeError(f"{name}: cannot use NumPy type {values.dtype} as ids")
    kind = _object_kind(values, name)
    if kind == "integer":
        return _integers(values)
    if kind == "datetime" and any(value.tzinfo is not None for value in values):
        raise TypeError(f"{name}: ids with a time zone are not supported; convert them to UTC")
    return IdColumn(kind, values.astype(STORED[kind]) if kind in STORED else values)


def _object_kind(values: Array, name: str) -> str:
    kinds: dict[str, Any] = {}
    for found in set(map(type, values)):
        fits = (kind for parent, kind in PYTHON_TYPES if issubclass(found, parent))
        kinds[next(fits, f"object {found.__module__}.{found.__qualname__}")] = found
    if len(kinds) > 1:
        shown = {kind: next(v for v in values if type(v) is kinds[kind]) for kind in sorted(kinds)}
        examples = " and ".join(f"{kind} ({value!r})" for kind, value in shown.items())
        raise TypeError(
            f"{name}: ids mix {examples}; 1 and '1' would be two ids, so convert the column to "
            "one type first"
        )
    return next(iter(kinds))


def _integers(values: Array) -> IdColumn:
    if values.dtype.kind == "i" or not len(values):
        return IdColumn("integer", values.astype(np.int64, copy=False))
    if max(values) < 2**63 and min(values) >= -(2**63):
        return IdColumn("integer", values.astype(np.int64))
    return IdColumn("big integer", np.fromiter(map(int, values), dtype=object))


def _exact_moments(values: Array, kind: str, name: str) -> Array:
    stored = values.astype(STORED[kind])
    if (stored.astype(values.dtype) != values).any():
        raise ValueError(f"{name}: datetimes finer than a microsecond; use integers as ids instead")
    return stored


def _refuse_missing(values: Array, name: str) -> None:
    import pandas as pd

    missing = pd.isna(values)
    if missing.any():
        _raise_missing(int(missing.sum()), len(values), int(missing.argmax()), name)


def _raise_missing(count: int, rows: int, first: int, name: str) -> None:
    raise ValueError(
        f"{name}: {count} of {rows} ids are missing (None or NaN), the first in row {first}; "
        "drop these rows or give them an id"
    )


def _distinct_arrow(column: ArrowArray, name: str) -> tuple[Array, IdColumn]:
    import pandas as pd
    import pyarrow as pa

    if isinstance(column, pa.ChunkedArray):
        column = column.unify_dictionaries().combine_chunks()
        if isinstance(column, pa.ChunkedArray):  # no chunks, or text of more than 2 GiB
            column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([])
    if isinstance(column, pa.ExtensionArray) and column.type.extension_name == "arrow.uuid":
        return distinct_ids(np.fromiter(column.to_pylist(), dtype=object), name=name)
    if column.null_count:
        first = int(np.asarray(column.is_null()).argmax())
        _raise_missing(column.null_count, len(column), first, name)
    kind = column.type
    if pa.types.is_string_view(kind) or pa.types.is_binary_view(kind):
        plain = pa.large_string() if pa.types.is_string_view(kind) else pa.large_binary()
        column = column.cast(plain)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return distinct_ids(column.to_numpy(zero_copy_only=False), name=name)
    if not pa.types.is_dictionary(kind):
        try:
            column = column.dictionary_encode()
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            return distinct_ids(np.fromiter(column.to_pylist(), dtype=object), name=name)
    codes, used = pd.factorize(column.indices.to_numpy(zero_copy_only=False))
    return codes, _arrow_values(column.dictionary.take(pa.array(used)), name)


def _arrow_values(values: ArrowArray, name: str) -> IdColumn:
    import pyarrow as pa

    if values.null_count:
        _raise_missing(values.null_count, len(values), 0, name)
    if pa.types.is_timestamp(values.type) and values.type.tz is not None:
        raise TypeError(f"{name}: ids with a time zone are not supported; convert them to UTC")
    if pa.types.is_date32(values.type) or pa.types.is_timestamp(values.type):
        unit = "D" if pa.types.is_date32(values.type) else values.type.unit
        return _normal(values.to_numpy(zero_copy_only=False).astype(f"datetime64[{unit}]"), name)
    return _normal(values.to_numpy(zero_copy_only=False).astype(object), name)


def to_arrow(column: IdColumn) -> ArrowArray:
    """The column as an Arrow array that ``from_arrow`` turns back into the same ids.

    Raises:
        TypeError: If ids of this kind have no form outside Python.
    """
    import pyarrow as pa

    kind, values = column
    if kind not in (*SAVEABLE, "big integer", EMPTY):
        raise TypeError(
            f"ids of kind {kind!r} cannot be saved; use integers, text, bytes, dates, datetimes, "
            "UUIDs, or tuples of these"
        )
    if kind == "text":
        return pa.array(map(str.__str__, values), type=pa.large_string(), size=len(values))
    if kind == "big integer":
        return pa.array(map(str, values), type=pa.large_string(), size=len(values))
    if kind == "bytes":
        return pa.array(values, type=pa.large_binary())
    if kind == "uuid":
        return pa.array((v.bytes for v in values), type=pa.binary(16), size=len(values))
    if kind == "tuple":
        texts = (json.dumps(_tagged(v)) for v in values)
        return pa.array(texts, type=pa.large_string(), size=len(values))
    return pa.array(values, type=pa.null() if kind == EMPTY else None)


def from_arrow(kind: str, array: ArrowArray) -> IdColumn:
    """The column that ``to_arrow`` wrote."""
    if kind in STORED:
        values = array.to_numpy(zero_copy_only=False).astype(STORED[kind])
        return IdColumn(kind, values)
    values = np.fromiter(array.to_pylist(), dtype=object)
    if kind == "big integer":
        values = np.fromiter(map(int, values), dtype=object)
    elif kind == "uuid":
        values = np.fromiter((uuid.UUID(bytes=v) for v in values), dtype=object)
    elif kind == "tuple":
        values = np.fromiter((_untagged(json.loads(v)) for v in values), dtype=object)
    return IdColumn(kind, values)


def _tagged(value: Any) -> list[Any]:
    kind = _object_kind(np.fromiter([value], dtype=object), "ids")
    if kind == "tuple":
        return [kind, [_tagged(part) for part in value]]
    if kind in ("boolean", "integer", "text"):
        return [kind, int(value) if kind == "integer" else value]
    if kind == "float":
        return [kind, float(value).hex()]
    if kind in ("bytes", "uuid"):
        return [kind, value.hex if kind == "uuid" else value.hex()]
    if kind in ("date", "datetime"):
        return [kind, value.isoformat()]
    raise TypeError(
        f"ids that are tuples holding {kind!r} cannot be saved; use integers, text, bytes, dates, "
        "datetimes or UUIDs inside them"
    )


def _untagged(tagged: list[Any]) -> Any:
    kind, value = tagged
    if kind == "tuple":
        return tuple(_untagged(part) for part in value)
    read = {
        "float": float.fromhex,
        "bytes": bytes.fromhex,
        "uuid": uuid.UUID,
        "date": dt.date.fromisoformat,
        "datetime": dt.datetime.fromisoformat,
    }
    return read[kind](value) if kind in read else value
