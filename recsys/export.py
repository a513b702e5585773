"""Item vectors of factor models as nearest-neighbour indices of other libraries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hyperrank.durable import new_file
from hyperrank.scorers import Factors


def export_index(
    model: Any, path: str | Path, index: str = "faiss", *, factory: str = "Flat"
) -> Path:
    """Writes an inner-product index of the item vectors, and returns where the ids lie.

    Entry number r of the index is row r of ``PATH.ids.parquet``, column ``id``. Query it with
    ``model.transform(users)``; it knows nothing of seen items, so ask for more and drop them.

    Args:
        model: A fitted recommender whose scores are dot products of two tables.
        path: The file to write; replaced if it is there.
        index: "faiss", "usearch" (a graph, approximate unless searched with ``exact=True``), or
            "parquet": a table of a column ``vector`` for any other store of vectors.
        factory: What faiss should build: "Flat" is exact; "HNSW32", "IVF256,Flat" are faster.

    Raises:
        ValueError: If the model is no factor model, or ``index`` is unknown.
        ImportError: If the library is not installed.
    """
    scorer = model.scorer_
    if not isinstance(scorer, Factors):
        raise ValueError(
            f"{type(model).__name__} scores with {type(scorer).__name__}, not with item vectors; "
            "export needs a factor model such as UltraGCN, BPRMF, PureSVD or ImplicitALS"
        )
    writers = {"faiss": _write_faiss, "usearch": _write_usearch, "parquet": _write_parquet}
    if index not in writers:
        raise ValueError(f"index must be one of {', '.join(writers)}, got {index!r}")
    vectors = np.ascontiguousarray(scorer.candidates.float().cpu().numpy())
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    ids = target.with_name(f"{target.name}.ids.parquet")
    with new_file(target) as fresh:
        writers[index](vectors, fresh, factory)
        with new_file(ids) as fresh_ids:
            pq.write_table(model.items_.to_arrow(), fresh_ids)
    return ids


def _write_faiss(vectors: np.ndarray, path: Path, factory: str) -> None:
    try:
        import faiss
    except ImportError:
        raise _missing("faiss") from None
    built = faiss.index_factory(vectors.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
    if not built.is_trained:
        built.train(vectors)
    built.add(vectors)
    faiss.write_index(built, str(path))


def _write_usearch(vectors: np.ndarray, path: Path, factory: str) -> None:
    del factory
    try:
        from usearch.index import Index
    except ImportError:
        raise _missing("usearch") from None
    built = Index(ndim=vectors.shape[1], metric="ip", dtype="f32")
    built.add(np.arange(len(vectors)), vectors)
    built.save(str(path))


def _write_parquet(vectors: np.ndarray, path: Path, factory: str) -> None:
    del factory
    column = pa.FixedSizeListArray.from_arrays(vectors.ravel(), vectors.shape[1])
    pq.write_table(pa.table({"vector": column}), path)


def _missing(name: str) -> ImportError:
    return ImportError(f"{name} is not installed; pip install hyperrank[ann]")
