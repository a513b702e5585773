"""The adapter of the package implicit: its answers, its warning, its absence."""

from __future__ import annotations

import sys
import warnings

import numpy as np
import pytest
import scipy.sparse
import torch

from recsys.implicit_models import ImplicitALS, ImplicitBPR
from recsys.interactions import Interactions
from tests.update_logs import BASE, NEWS, log


def test_als_solves_its_normal_equations(checkerboard: Interactions) -> None:
    """At the fixed point each item's vector is the ridge solution given the users' vectors."""
    model = ImplicitALS(dim=3, regularization=2.0, alpha=4.0, iterations=60, num_threads=1)
    model.fit(checkerboard)
    users, items = (table.double() for table in model.scorer_.state_dict().values())
    liked = checkerboard.pairs.to_csr().to_dense().double()
    for item in (0, 7, 39):
        confidence = 1 + 3 * liked[:, item]
        system = users.T @ (confidence[:, None] * users) + 2.0 * torch.eye(3, dtype=torch.float64)
        answer = torch.linalg.solve(system, users.T @ (confidence * liked[:, item]))
        torch.testing.assert_close(items[item], answer, rtol=0.01, atol=0.003)


def test_als_weighs_pairs() -> None:
    pairs = np.array([[1.0, 5.0, 0], [1.0, 0, 1.0], [0, 1.0, 1.0]])
    weighted = Interactions.from_matrix(scipy.sparse.csr_array(pairs))
    plain = Interactions.from_matrix(scipy.sparse.csr_array(pairs > 0))
    one, other = (
        ImplicitALS(dim=2, regularization=1.0, num_threads=1).fit(log).predict([0], [1])
        for log in (weighted, plain)
    )
    assert other < 0.8 * one < one < 1


def test_als_without_a_ridge_takes_news() -> None:
    model = ImplicitALS(dim=64, regularization=0.0, alpha=50.0).fit(log(BASE))
    model.partial_fit(log(NEWS))
    assert np.isfinite(model.transform(model.users_.ids)).all()


def test_bpr_keeps_the_item_bias(checkerboard: Interactions) -> None:
    model = ImplicitBPR(dim=3, iterations=5).fit(checkerboard)
    assert model.transform([1, 2]).shape == (2, 4)
    assert (model.transform([1, 2])[:, -1] == 1).all()


@pytest.mark.parametrize("kind", [ImplicitALS, ImplicitBPR])
def test_no_warning_about_blas(
    kind: type[ImplicitALS], checkerboard: Interactions, monkeypatch: pytest.MonkeyPatch
) -> None:
    import implicit.utils

    monkeypatch.setattr(implicit.utils, "_checked_blas_config", False)
    before = torch.get_num_threads()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kind(dim=2, iterations=1).fit(checkerboard)
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("kind", [ImplicitALS, ImplicitBPR])
def test_absent_package_is_named(
    kind: type[ImplicitALS], checkerboard: Interactions, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("implicit.cpu.als", "implicit.cpu.bpr"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"pip install 'hyperrank\[baselines\]'"):
        kind().fit(checkerboard)
