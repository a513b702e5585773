"""Logs as Arrow tables that say of which kind their ids are, and back."""

from __future__ import annotations

import json
from typing import Any, TypeAlias

import pandas as pd
import pyarrow as pa

from hyperrank import identifiers
from hyperrank.identifiers import IdColumn
from hyperrank.vocabulary import Vocabulary
from recsys.interactions import Interactions

ArrowTable: TypeAlias = Any
EVENTS = b"events"  # key of the kinds in the metadata of the schema


def to_table(log: Interactions) -> ArrowTable:
    """One row an event: user, item, and weight and time where the log has them.

    Raises:
        TypeError: If ids of their kind have no form outside Python.
    """
    user, item = log._rows()
    columns = {"user": _column(log.users, user), "item": _column(log.items, item)}
    if log.events.weight is not None:
        columns["weight"] = pa.array(log.events.weight.numpy())
    if log.events.time is not None:
        time = log.events.time.numpy()
        columns["time"] = pa.array(time if log.time_unit is None else time.view("datetime64[us]"))
    kinds = {"user": log.users.kind, "item": log.items.kind}
    return pa.table(columns).replace_schema_metadata({EVENTS: json.dumps(kinds).encode()})


def from_table(table: ArrowTable) -> pd.DataFrame:
    """The events that ``to_table`` wrote, ids in their own kind."""
    kinds = json.loads(table.schema.metadata[EVENTS])
    columns = {
        name: column.combine_chunks().to_numpy(zero_copy_only=False)
        for name, column in zip(table.column_names, table.columns, strict=True)
        if name not in kinds
    }
    ids = {
        name: identifiers.from_arrow(kind, table.column(name).combine_chunks()).values
        for name, kind in kinds.items()
    }
    return pd.DataFrame(ids | columns)


def _column(ids: Vocabulary, rows: Any) -> Any:
    return identifiers.to_arrow(IdColumn(ids.kind, ids.ids)).take(pa.array(rows.numpy()))
