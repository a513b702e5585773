"""Indices of other libraries give the exact lists."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from hyperrank import retrieval
from hyperrank.scorers import Constant, Factors
from recsys.export import export_index
from recsys.interactions import Interactions
from recsys.recommender import Recommender


class Vectors(Recommender):
    """Random vectors, in half precision to see them converted."""

    def _learn(self, train: Interactions, validation: Interactions | None) -> Any:
        source = torch.Generator().manual_seed(0)
        return Factors(
            *(torch.randn(n, 8, generator=source) for n in (train.n_users, train.n_items))
        )


class Flat(Recommender):
    """Equal scores."""

    def _learn(self, train: Interactions, validation: Interactions | None) -> Any:
        return Constant(torch.zeros(train.n_items))


def exact(model: Vectors, k: int) -> np.ndarray[Any, Any]:
    users = torch.arange(len(model.users_))
    return retrieval.top_k(model.scorer_, users, k).candidates.numpy()


def test_faiss_gives_the_exact_lists(checkerboard: Interactions, tmp_path: Path) -> None:
    faiss = pytest.importorskip("faiss", reason="faiss is not installed (extra ann)")
    model = Vectors().fit(checkerboard)
    ids = export_index(model, tmp_path / "deep" / "items.faiss", "faiss")
    index = faiss.read_index(str(tmp_path / "deep" / "items.faiss"))
    found = index.search(model.transform(model.users_.ids), 10)[1]
    assert (found == exact(model, 10)).all()
    assert pd.read_parquet(ids)["id"].tolist() == model.items_.ids.tolist()
    assert sorted(p.name for p in ids.parent.iterdir()) == [
        "items.faiss",
        "items.faiss.ids.parquet",
    ]


def test_a_trained_faiss_index_is_trained(checkerboard: Interactions, tmp_path: Path) -> None:
    faiss = pytest.importorskip("faiss", reason="faiss is not installed (extra ann)")
    model = Vectors().fit(checkerboard)
    export_index(model, tmp_path / "items", factory="IVF1,Flat")
    found = faiss.read_index(str(tmp_path / "items")).search(model.transform([0]), 5)[1]
    assert (found == exact(model, 5)[:1]).all()


def test_usearch_gives_the_exact_lists(checkerboard: Interactions, tmp_path: Path) -> None:
    reader = pytest.importorskip("usearch.index", reason="usearch is not installed (extra ann)")
    model = Vectors().fit(checkerboard)
    export_index(model, tmp_path / "items.usearch", "usearch")
    index = reader.Index.restore(str(tmp_path / "items.usearch"))
    found = index.search(model.transform(model.users_.ids), 10, exact=True)
    assert (found.keys.astype(int) == exact(model, 10)).all()


def test_what_has_no_vectors_is_refused(checkerboard: Interactions, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match="Flat scores with Constant, not with item vectors; export"
    ):
        export_index(Flat().fit(checkerboard), tmp_path / "items")
    with pytest.raises(
        ValueError, match="index must be one of faiss, usearch, parquet, got 'annoy'"
    ):
        export_index(Vectors().fit(checkerboard), tmp_path / "items", "annoy")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("index", ["faiss", "usearch"])
def test_a_missing_library_names_the_extra(
    index: str, checkerboard: Interactions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("faiss", "usearch", "usearch.index"):
        monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(
        ImportError, match=rf"{index} is not installed; pip install hyperrank\[ann\]"
    ):
        export_index(Vectors().fit(checkerboard), tmp_path / "items", index)
    assert list(tmp_path.iterdir()) == []
