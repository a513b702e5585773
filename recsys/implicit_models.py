"""Models of the package ``implicit`` behind our doors: its solvers learn, our scorers answer."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import scipy.sparse
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from hyperrank.parameters import bounded
from hyperrank.scorers import Factors
from recsys.histories import Histories
from recsys.interactions import Interactions
from recsys.recommender import Recommender
from recsys.row_solvers import Solution
from recsys.updatable import UpdatableRecommender
from recsys.update_passes import Care
from recsys.updates import Base
from recsys.warm_start import confidence_weighted, whitened

LEAST_RIDGE = 1e-5  # of a Gram matrix's largest diagonal entry; less is rounding in float32
MODULES = {
    "AlternatingLeastSquares": "implicit.cpu.als",
    "BayesianPersonalizedRanking": "implicit.cpu.bpr",
}


@dataclass(kw_only=True, eq=False)
class ImplicitALS(UpdatableRecommender):
    """Weighted matrix factorization by alternating least squares (Hu, Koren, Volinsky 2008).

    Solved by ``implicit`` on the CPU. A pair of the log counts with ``alpha`` times its weight (1
    where the log has none), every other pair with 1.

    Attributes:
        dim: Size of a vector.
        regularization: Ridge of each small system.
        alpha: Confidence of an observed pair.
        iterations: Rounds over users and items.
        num_threads: Threads; 0 means one per core. The result does not depend on it.
        random_state: Start of the vectors.
    """

    dim: int = bounded(64, least=1)
    regularization: float = bounded(0.01, least=0)
    alpha: float = bounded(1.0, above=0)
    iterations: int = bounded(15, least=1)
    num_threads: int = bounded(0, least=0)
    random_state: int = bounded(0, least=0)

    def _learn(self, train: Interactions, validation: Interactions | None) -> nn.Module:
        del validation
        settings = {
            "factors": self.dim,
            "regularization": self.regularization,
            "alpha": self.alpha,
            "iterations": self.iterations,
            "num_threads": self.num_threads,
            "random_state": self.random_state,
        }
        matrix = scipy.sparse.csr_matrix(train.pairs.to_scipy(train.weight))
        return _fitted_factors("AlternatingLeastSquares", settings, matrix)

    def _solve_users(
        self, histories: Histories, base: Base, items: Tensor, start: Tensor, care: Care = "usual"
    ) -> Solution:
        del care  # a closed form is exact
        return self._half_step(histories, base, "items", items, start)

    def _solve_items(
        self, histories: Histories, base: Base, users: Tensor, start: Tensor, care: Care = "usual"
    ) -> Solution:
        del care
        return self._half_step(histories, base, "users", users, start)

    def _half_step(
        self,
        histories: Histories,
        base: Base,
        side: Literal["users", "items"],
        table: Tensor,
        start: Tensor,
    ) -> Solution:
        """The rows that ALS itself would find next, by every row of the base's table."""
        pairs = histories.pairs
        confidence = pairs.with_values(pairs.values * (self.alpha * self._fit.mean_weight))
        if side not in base.kept:
            frozen = getattr(base, side)
            least = LEAST_RIDGE * (1 + float(frozen.square().sum(0).max()))
            base.kept[side] = whitened(frozen, max(self.regularization, least))
        known = base.kept[side]
        rows = confidence_weighted(confidence, known.extended(table[known.n_negatives :]))
        return Solution(rows, start.new_zeros(len(rows)), 1)


@dataclass(kw_only=True, eq=False)
class ImplicitBPR(Recommender):
    """Matrix factorization with an item bias by Bayesian personalized ranking (Rendle et al. 2009).

    Learned by ``implicit`` on the CPU; weights of the log play no part. The bias is the vectors'
    last coordinate, so they have ``dim + 1``.

    Attributes:
        dim: Size of a vector, without the bias.
        lr: Step of stochastic gradient ascent.
        regularization: L2 at each step.
        iterations: Passes over the pairs.
        num_threads: Threads; 0 means one per core. More than one race with each other: faster, but
            no two runs are equal.
        random_state: Start of the vectors and of the draws.
    """

    dim: int = bounded(64, least=1)
    lr: float = bounded(0.05, above=0)
    regularization: float = bounded(0.01, least=0)
    iterations: int = bounded(100, least=1)
    num_threads: int = bounded(1, least=0)
    random_state: int = bounded(0, least=0)

    def _learn(self, train: Interactions, validation: Interactions | None) -> nn.Module:
        del validation
        settings = {
            "factors": self.dim,
            "learning_rate": self.lr,
            "regularization": self.regularization,
            "iterations": self.iterations,
            "num_threads": self.num_threads,
            "random_state": self.random_state,
        }
        matrix = scipy.sparse.csr_matrix(train.pairs.to_scipy())
        return _fitted_factors("BayesianPersonalizedRanking", settings, matrix)


def _fitted_factors(
    name: str, settings: dict[str, Any], matrix: scipy.sparse.csr_matrix
) -> Factors:
    """The vectors that the model of that name learns from users x items.

    Raises:
        ImportError: If ``implicit`` is not installed.
    """
    try:
        kind = getattr(importlib.import_module(MODULES[name]), name)
    except ImportError as error:
        raise ImportError(
            f"{name} needs the package implicit: pip install 'hyperrank[baselines]'"
        ) from error
    # its solvers thread by themselves; a threaded BLAS below them is many times slower, and its
    # constructor warns of that unless BLAS is held to one thread
    with threadpool_limits(1, "blas"):
        model = kind(**settings)
        model.fit(matrix, show_progress=False)
    tables = (
        np.asarray(table, dtype=np.float32) for table in (model.user_factors, model.item_factors)
    )
    return Factors(*map(torch.from_numpy, tables))
