"""The matrix door: any recommender as a scikit-learn transformer of a users x items matrix."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import scipy.sparse
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from hyperrank import scorers, sparse
from hyperrank.pairs import PairSet
from hyperrank.questions import whole
from hyperrank.retrieval import top_k
from recsys.baselines import ItemKNN
from recsys.interactions import Interactions
from recsys.recommender import Recommender

try:
    from sklearn.base import BaseEstimator, TransformerMixin, clone
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise ImportError("recsys.matrix needs scikit-learn: pip install scikit-learn") from error

RIDGE = 1e-6  # of the mean square of the features: decides only where they are dependent

# check of sklearn's check_estimator -> why this door fails it on purpose; it fails none
EXPECTED_FAILED_CHECKS: dict[str, str] = {}


class MatrixRecommender(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """A recommender that takes matrices: rows are histories, columns are items, values are weights.

    ``transform`` and ``recommend`` take any histories over the same items, those of new users too.
    Models of item-item weights score a new history exactly as one of the training log. Models of
    vectors give it the linear map of the sum and the mean of its item vectors that fits the vectors
    of the training users best: exact for ``PureSVD``, an approximation for others.

    Attributes:
        recommender: The ``Recommender`` that learns, cloned by ``fit``; None means ``ItemKNN()``.
    """

    def __init__(self, recommender: Any = None) -> None:
        self.recommender = recommender

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learns from a dense or sparse matrix; zeros are no interactions.

        Raises:
            TypeError: If ``recommender`` is none.
            ValueError: If an entry is negative, NaN or infinite, or none is above zero.
        """
        del y
        if self.recommender is not None and not isinstance(self.recommender, Recommender):
            raise TypeError(
                f"recommender must be a Recommender such as EASE(), got {self.recommender!r}"
            )
        log = self._log(X, reset=True)
        model = ItemKNN() if self.recommender is None else clone(self.recommender)
        self.recommender_ = model.fit(log)
        self.map_ = _vector_map(model.scorer_, model.seen_)
        return self

    def transform(self, X: Any) -> Float[np.ndarray, "n_users n_items"]:
        """Scores of all items for the history in each row.

        Raises:
            ValueError: If the matrix is of other width or holds what ``fit`` refuses.
            NotFittedError: Before ``fit``.
        """
        scorer, pairs = self._scorer(X)
        with torch.no_grad():
            every = torch.arange(pairs.n_queries, device=pairs.device)
            scores: np.ndarray = scorer.score(every).cpu().numpy()
        return scores

    def recommend(
        self, X: Any, k: int = 10, *, exclude_seen: bool = True
    ) -> Int[np.ndarray, "n_users k"]:
        """Columns of the ``k`` best items for each row, best first; -1 where no more are left.

        Raises:
            ValueError: As ``transform``, or if ``k`` is less than 1.
            NotFittedError: Before ``fit``.
        """
        scorer, pairs = self._scorer(X)
        known = pairs if exclude_seen else None
        found = top_k(
            scorer, torch.arange(pairs.n_queries, device=pairs.device), whole("k", k), known=known
        )
        best: np.ndarray = found.candidates.cpu().numpy()
        return best

    def get_feature_names_out(self, input_features: Any = None) -> Any:
        """Names of the items, which are the columns of ``transform`` as of the input."""
        from sklearn.utils.validation import _check_feature_names_in

        check_is_fitted(self)
        return _check_feature_names_in(self, input_features)

    def _log(self, X: Any, *, reset: bool) -> Interactions:
        X = validate_data(self, X, reset=reset, accept_sparse="csr", dtype=[np.float64, np.float32])
        lowest = X.min() if X.size else 0
        if lowest < 0:
            raise ValueError(
                f"Negative values in data passed to {type(self).__name__}: the lowest is {lowest}; "
                "interactions have weights above zero"
            )
        return Interactions.from_matrix(scipy.sparse.csr_array(X))

    def _scorer(self, X: Any) -> tuple[Any, PairSet]:
        """Scores for the rows of ``X``, and the rows as pairs."""
        check_is_fitted(self)
        pairs = self._log(X, reset=False).pairs.to(self.recommender_.seen_.device)
        known: Any = self.recommender_.scorer_
        if self.map_ is not None:
            table = known.candidates
            return scorers.Factors(_features(pairs, table) @ self.map_, table), pairs
        return known.with_histories(pairs), pairs

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.positive_only = True
        tags.transformer_tags.preserves_dtype = ["float32"]  # scores are float32, whatever came
        return tags


def _features(pairs: PairSet, table: Float[Tensor, "n dim"]) -> Float[Tensor, "m two_dim_plus_1"]:
    """Sum and mean of the history's item vectors, and 1."""
    total = sparse.from_pairs(pairs) @ table
    mean = total / pairs.query_degrees.clamp_min(1)[:, None]
    return torch.cat([total, mean, total.new_ones(len(total), 1)], 1)


def _vector_map(scorer: nn.Module, seen: PairSet) -> Float[Tensor, "two_dim_plus_1 dim"] | None:
    """Least-squares map from histories' features to the users' vectors; None without vectors."""
    if not isinstance(scorer, scorers.Factors):
        return None
    features = _features(seen, scorer.candidates).double()
    gram = features.T @ features
    gram.diagonal().add_(RIDGE * gram.diagonal().mean())
    answer: Tensor = torch.linalg.solve(gram, features.T @ scorer.queries.double())
    return answer.to(scorer.queries.dtype)
