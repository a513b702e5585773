"""Vectors that an update changed, as Parquet, for an index that is kept beside a model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from hyperrank import identifiers
from hyperrank.durable import new_file
from hyperrank.identifiers import IdColumn
from hyperrank.scorers import Factors
from hyperrank.vocabulary import Vocabulary

ArrowTable: TypeAlias = Any


def write_delta(path: str | Path, before: Factors, model: Any) -> int:
    """Writes ``changed_vectors`` to a Parquet file, whole or not at all; returns how many."""
    with new_delta(path, before, model) as count:
        return count


@contextmanager
def new_delta(path: str | Path, before: Factors, model: Any) -> Iterator[int]:
    """As ``write_delta``; the file appears once the block ends without an error."""
    table = changed_vectors(before, model)
    with new_file(Path(path).expanduser().resolve()) as fresh:
        pq.write_table(table, fresh, compression="zstd")
        yield len(table)


def changed_vectors(before: Factors, model: Any) -> ArrowTable:
    """Vectors of ``model`` that are new or unlike those before, users first.

    Columns: ``side`` ("user" or "item"); ``id``, as in the vocabularies of a saved model where ids
    of users and items are of one kind, else as text; ``row`` of the model's table, for items the
    number by which the index of ``recsys export`` knows them; ``vector`` in float32, as in that
    index, whose inner product with one of the other side is the score; ``new``, whether there was
    none before.

    Args:
        before: Tables of a version that ``model`` was updated from, of which rows kept places.
        model: A recommender of two vector tables.
    """
    after = model._factors()
    sides = [
        ("user", before.queries, after.queries, model.users_),
        ("item", before.candidates, after.candidates, model.items_),
    ]
    alike = model.users_.kind == model.items_.kind
    return pa.concat_tables([_side(*side, alike) for side in sides])


def _side(name: str, before: Tensor, after: Tensor, ids: Vocabulary, alike: bool) -> ArrowTable:
    n = len(before)
    unlike = (after[:n] != before).any(1).nonzero().squeeze(1)
    rows = torch.cat([unlike, torch.arange(n, len(after), device=after.device)])
    vectors, places = after[rows].float().cpu().numpy(), rows.cpu().numpy()
    chosen = ids.ids[places]
    texts = pa.array([str(one) for one in chosen], pa.large_string())
    return pa.table(
        {
            "side": pa.array([name] * len(places), pa.string()),
            "id": identifiers.to_arrow(IdColumn(ids.kind, chosen)) if alike else texts,
            "row": pa.array(places),
            "vector": pa.FixedSizeListArray.from_arrays(vectors.reshape(-1), after.shape[1]),
            "new": pa.array(places >= n),
        }
    )
