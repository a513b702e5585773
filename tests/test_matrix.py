"""The matrix door: scikit-learn's own checks, and what it answers."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Binarizer
from sklearn.utils.estimator_checks import parametrize_with_checks

from recsys.baselines import EASE, ItemKNN, Popularity, PureSVD
from recsys.matrix import EXPECTED_FAILED_CHECKS, MatrixRecommender
from recsys.recommender import Recommender

MODELS = [ItemKNN(neighbours=20), EASE(l2=5.0), PureSVD(dim=3), Popularity()]


# sklearn warns of checks that it skips itself
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks(
    [MatrixRecommender(), MatrixRecommender(PureSVD(dim=2))],
    expected_failed_checks=lambda estimator: EXPECTED_FAILED_CHECKS,
)
def test_sklearn_checks(estimator: MatrixRecommender, check: object) -> None:
    assert callable(check)
    check(estimator)


@pytest.fixture
def matrix() -> scipy.sparse.csr_array:
    """Even rows like even columns."""
    draw = np.random.default_rng(0)
    row = draw.integers(50, size=600)
    column = 2 * draw.integers(15, size=600) + row % 2
    full = scipy.sparse.coo_array((np.ones(600), (row, column)), shape=(50, 30)).tocsr()
    full.data[:] = 1
    return full


@pytest.mark.parametrize("model", MODELS, ids=lambda one: type(one).__name__)
def test_training_rows_get_the_model_s_own_scores(
    model: Recommender, matrix: scipy.sparse.csr_array
) -> None:
    door = MatrixRecommender(model).fit(matrix)
    users, items = np.meshgrid(np.arange(50), np.arange(30), indexing="ij")
    own = door.recommender_.predict(users.ravel(), items.ravel()).reshape(50, 30)
    np.testing.assert_allclose(door.transform(matrix), own, atol=2e-4)
    np.testing.assert_allclose(door.transform(matrix.toarray()), own, atol=2e-4)


@pytest.mark.parametrize("model", MODELS[:3], ids=lambda one: type(one).__name__)
def test_new_rows_are_served(model: Recommender, matrix: scipy.sparse.csr_array) -> None:
    door = MatrixRecommender(model).fit(matrix)
    new = np.zeros((2, 30))
    new[0, [0, 4, 8]] = new[1, [1, 5, 9]] = 1
    best = door.recommend(new, k=5)
    assert (best[0] % 2 == 0).all()
    assert (best[1] % 2 == 1).all()
    assert not set(best[0]) & {0, 4, 8}
    with_seen = door.recommend(new, k=40, exclude_seen=False)
    assert sorted(with_seen[0][:30]) == list(range(30))
    assert (with_seen[:, 30:] == -1).all()


def test_partial_ease_serves_new_rows(matrix: scipy.sparse.csr_array) -> None:
    door = MatrixRecommender(EASE(l2=5.0, max_items=20)).fit(matrix)
    scores = door.transform(matrix)
    assert (np.isfinite(scores).sum(1) == 20).all()
    own = door.recommender_.predict(np.zeros(30, dtype=int), np.arange(30))
    np.testing.assert_allclose(scores[0], own, atol=1e-6)


def test_bad_matrices(matrix: scipy.sparse.csr_array) -> None:
    with pytest.raises(ValueError, match="Negative values in data passed to MatrixRecommender"):
        MatrixRecommender().fit(-matrix)
    with pytest.raises(TypeError, match=r"must be a Recommender such as EASE\(\), got 'EASE'"):
        MatrixRecommender("EASE").fit(matrix)
    with pytest.raises(ValueError, match="train holds no interactions"):
        MatrixRecommender().fit(np.zeros((3, 4)))
    with pytest.raises(NotFittedError):
        MatrixRecommender().recommend(matrix)
    with pytest.raises(ValueError, match="30 features"):
        MatrixRecommender().fit(matrix).recommend(matrix[:, :4])


def test_in_a_pipeline(matrix: scipy.sparse.csr_array) -> None:
    line = make_pipeline(Binarizer(), MatrixRecommender(EASE(l2=5.0)))
    assert line.fit_transform(matrix * 3).shape == (50, 30)
