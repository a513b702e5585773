"""The baselines that head every table: popularity, item neighbours, and two linear models.

All of them learn from which pairs occur; weights of the log play no part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.linalg.lapack
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from hyperrank import devices, sparse
from hyperrank.lowrank import randomized_svd
from hyperrank.neighbours import strongest_neighbours
from hyperrank.pairs import PairSet, pair_set
from hyperrank.parameters import bounded
from hyperrank.scorers import Constant, Factors, HistoryWeights, NeighbourWeights
from recsys.histories import Histories
from recsys.interactions import Interactions
from recsys.recommender import Recommender
from recsys.row_solvers import Solution
from recsys.updatable import UpdatableRecommender
from recsys.update_passes import Care
from recsys.updates import Base
from recsys.warm_start import projection

MEMORY_SHARE = 0.9  # of what is free; the rest is left to whatever else runs
GRAM_CUTOFF = 1e-6  # eigenvalues under this share of the largest are rounding
ROWS_AT_ONCE = 2048  # of a Gram matrix while it is filled


@dataclass(kw_only=True, eq=False)
class Popularity(Recommender):
    """The same list for everyone: items by how many users they have."""

    def _learn(self, train: Interactions, validation: Interactions | None) -> nn.Module:
        del validation
        return Constant(train.pairs.candidate_degrees.float())


@dataclass(kw_only=True, eq=False)
class ItemKNN(Recommender):
    """Items near those of the history, by cosine with shrinkage (Deshpande and Karypis 2004).

    The score of an item is the sum over the user's history of the similarity
    ``c_ji / ((d_j d_i)^popularity_power + shrinkage)``, where c_ji counts the users of both items
    and d those of each; every history item counts for its strongest neighbours only. Memory: 12
    bytes a neighbour, and blocks of co-occurrences on the host.

    Attributes:
        neighbours: Neighbours kept for each item.
        shrinkage: Added to the denominator: pairs of items with few users in common count less.
        popularity_power: 0.5 makes the cosine; more holds popular items down.
    """

    neighbours: int = bounded(100, least=1)
    shrinkage: float = bounded(10.0, least=0)
    popularity_power: float = bounded(0.5, least=0, most=1)

    def _learn(self, train: Interactions, validation: Interactions | None) -> nn.Module:
        del validation
        pairs = train.pairs
        scale = pairs.candidate_degrees.numpy().astype(np.float64) ** self.popularity_power

        def similarity(row: np.ndarray, column: np.ndarray, count: np.ndarray) -> np.ndarray:
            weight: np.ndarray = count / (scale[row] * scale[column] + self.shrinkage)
            weight[row == column] = 0
            return weight

        near = strongest_neighbours(pairs, min(self.neighbours, train.n_items), similarity)
        return NeighbourWeights(pairs.starts, pairs.candidates, near.nearest, near.weight)


@dataclass(kw_only=True, eq=False)
class EASE(Recommender):
    """The best linear map from history to history with zero diagonal (Steck 2019, algorithm 1).

    ``score = x_u B`` with ``B = I - P diag(1 / diag P)``, ``P = (X^T X + l2 I)^-1``. One dense
    items x items matrix, inverted in place: about n^3 multiply-adds (a catalogue of 40,000 takes
    ten to twenty minutes on two cores) and one matrix in memory on a CPU, three on CUDA. Asked for
    more than is free, it refuses before it starts.

    Attributes:
        l2: Strength of the ridge, in users: hundreds for logs of many thousand users.
        max_items: Only so many items are modelled, those with most users; the others score -inf,
            so they are never recommended. None means all.
        dtype: Of the matrix; "float64" is needed only for an ``l2`` below about a millionth of the
            most popular item's users times the catalogue.
    """

    l2: float = bounded(500.0, above=0)
    max_items: int | None = bounded(None, least=1)
    dtype: Literal["float32", "float64"] = "float32"

    def _learn(self, train: Interactions, validation: Interactions | None) -> nn.Module:
        del validation
        pairs = kept = train.pairs
        place = None
        if self.max_items is not None and self.max_items < train.n_items:
            place = _places_of_popular(pairs, self.max_items)
            kept = _restricted(pairs, place)
        device = self._device()
        self._check_memory(kept.n_candidates, device)
        weights = _ridge_weights(_gram(kept, self.l2, self.dtype), device)
        return HistoryWeights(kept.starts, kept.candidates, weights, place)

    def _check_memory(self, n_items: int, device: torch.device) -> None:
        """Refuses what would not fit, before anything is allocated."""
        one = n_items**2 * np.dtype(self.dtype).itemsize
        # in float64 the answer is rounded into half a matrix more
        places = [(torch.device("cpu"), 1.0 if self.dtype == "float32" else 1.5)]
        places += [(device, 3.0)] * (device.type == "cuda")
        for where, copies in places:
            need, free = copies * one, devices.free_memory(where)
            if need > MEMORY_SHARE * free:
                fits = int((MEMORY_SHARE * free / copies / np.dtype(self.dtype).itemsize) ** 0.5)
                raise MemoryError(
                    f"EASE on {n_items} items needs {need / 1e9:.1f} GB on {where}, where "
                    f"{free / 1e9:.1f} GB are free; set max_items={fits} to model the most popular "
                    "items only, or use ItemKNN, which never makes that matrix"
                )


@dataclass(kw_only=True, eq=False)
class PureSVD(UpdatableRecommender):
    """Truncated SVD of the 0/1 matrix (Cremonesi, Koren, Turrin 2010): ``score = x_u V V^T``.

    Attributes:
        dim: Singular vectors kept; at most the smaller side of the matrix are.
        iterations: Rounds of subspace iteration.
        random_state: Start of the subspace.
    """

    dim: int = bounded(64, least=1)
    iterations: int = bounded(4, least=0)
    random_state: int = bounded(0, least=0)

    def _learn(self, train: Interactions, validation: Interactions | None) -> Factors:
        del validation
        pairs = train.pairs.to(self._device())
        matrix = sparse.from_pairs(pairs)
        found = randomized_svd(
            matrix.linear_map(),
            min(self.dim, pairs.n_queries, pairs.n_candidates),
            generator=devices.seeded(self.random_state, pairs.device),
            iterations=self.iterations,
        )
        right = found.right.contiguous()
        return Factors(matrix @ right, right)

    def _solve_users(
        self, histories: Histories, base: Base, items: Tensor, start: Tensor, care: Care = "usual"
    ) -> Solution:
        """Least squares on the items of the base: R V, as fitted; a new item adds its own term."""
        del care
        rows = projection(histories.ones, items) @ inverse_gram(base, "items", base.items)
        return Solution(rows, start.new_zeros(len(start)), 1)

    def _solve_items(
        self, histories: Histories, base: Base, users: Tensor, start: Tensor, care: Care = "usual"
    ) -> Solution:
        """Least squares on the users of the base, as they are."""
        del care
        rows = projection(histories.ones, users) @ inverse_gram(base, "users", base.users)
        return Solution(rows, start.new_zeros(len(start)), 1)


def inverse_gram(
    base: Base, name: str, table: Float[Tensor, "n d"], cutoff: float = GRAM_CUTOFF
) -> Float[Tensor, "d d"]:
    """The pseudo-inverse of a table's Gram matrix; made once for as long as the base stays."""
    if name not in base.kept:
        base.kept[name] = torch.linalg.pinv(table.T @ table, hermitian=True, rtol=cutoff)
    found: Tensor = base.kept[name]
    return found


def _places_of_popular(pairs: PairSet, n: int) -> Int[Tensor, " n_items"]:
    """Number of each item among the ``n`` with most users, in item order; -1 for the others."""
    order = torch.argsort(pairs.candidate_degrees, descending=True, stable=True)
    kept = order[:n].sort().values
    place = torch.full((pairs.n_candidates,), -1)
    place[kept] = torch.arange(n)
    return place


def _restricted(pairs: PairSet, place: Int[Tensor, " n_items"]) -> PairSet:
    """The pairs of items that have a place, by that number."""
    number = place[pairs.candidates]
    kept = number >= 0
    n_kept = int(place.max()) + 1
    return pair_set(
        pairs.queries[kept], number[kept], n_queries=pairs.n_queries, n_candidates=n_kept
    )


def _gram(pairs: PairSet, l2: float, dtype: str) -> Float[np.ndarray, "n n"]:
    """``X^T X + l2 I``, dense, filled in blocks of rows."""
    n = pairs.n_candidates
    matrix = pairs.to_scipy().astype(dtype)
    transpose = matrix.T.tocsr()
    gram = np.empty((n, n), dtype=dtype)
    for first in range(0, n, ROWS_AT_ONCE):
        block = transpose[first : first + ROWS_AT_ONCE] @ matrix
        block.toarray(out=gram[first : first + ROWS_AT_ONCE])
    gram[np.diag_indices(n)] += l2
    return gram


def _ridge_weights(gram: Float[np.ndarray, "n n"], device: torch.device) -> Float[Tensor, "n n"]:
    """``I - P diag(1 / diag P)`` in float32 for ``P = gram^-1``; overwrites ``gram``."""
    if device.type == "cpu":
        weights = torch.from_numpy(_inverted(gram))
    else:
        weights = torch.cholesky_inverse(torch.linalg.cholesky(torch.from_numpy(gram).to(device)))
    weights /= -weights.diagonal().clone()
    weights.fill_diagonal_(0)
    return weights.float()


def _inverted(gram: Float[np.ndarray, "n n"]) -> Float[np.ndarray, "n n"]:
    """The inverse of a positive definite matrix, in its own memory."""
    # LAPACK writes in place only in column order: the transpose of a symmetric matrix is that
    kind = "s" if gram.dtype == np.float32 else "d"
    factorize, invert = (
        getattr(scipy.linalg.lapack, f"{kind}{name}") for name in ("potrf", "potri")
    )
    factor, failed = factorize(gram.T, lower=1, overwrite_a=1, clean=0)
    if not failed:
        factor, failed = invert(factor, lower=1, overwrite_c=1)
    if failed:
        raise np.linalg.LinAlgError(
            "X^T X + l2 I is not positive definite in this precision; raise l2 or set "
            "dtype='float64'"
        )
    # only one triangle is written; the other is filled block by block
    inverse: np.ndarray = factor.T
    for first in range(0, len(inverse), ROWS_AT_ONCE):
        last = first + ROWS_AT_ONCE
        inverse[last:, first:last] = inverse[first:last, last:].T
        corner = inverse[first:last, first:last]
        corner[...] = np.triu(corner) + np.triu(corner, 1).T
    return inverse
