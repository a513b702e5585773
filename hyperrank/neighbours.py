"""Candidates that share queries: the strongest entries of R^T R, row by row, never dense."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import scipy.sparse
import torch
from jaxtyping import Float, Int
from torch import Tensor

from hyperrank.pairs import PairSet

PRODUCTS_PER_BLOCK = 30_000_000  # multiply-adds of one block of R^T R: at most 0.5 GB at once


class Neighbours(NamedTuple):
    """The strongest neighbours of every candidate, strongest first."""

    nearest: Int[Tensor, "n k"]  # filler is the candidate itself
    weight: Float[Tensor, "n k"]  # 0 for filler


Weigh = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""(row, column, count) of co-occurrences -> their weights, at least 0."""


def strongest_neighbours(pairs: PairSet, k: int, weigh: Weigh) -> Neighbours:
    """The ``k`` largest ``weigh(i, j, (R^T R)_ij)`` of every candidate i; ties: lower j first.

    R^T R is made in blocks of rows on the host, with memory that does not grow with the catalogue;
    the cost is the sum of squared query degrees, in multiply-adds.

    Raises:
        ValueError: If ``k`` is not positive.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1 neighbour, got {k}")
    n, device = pairs.n_candidates, pairs.device
    index = np.repeat(np.arange(n)[:, None], k, axis=1)
    weight = np.zeros((n, k), dtype=np.float32)
    matrix = pairs.to_scipy()
    for first, block in _gram_blocks(matrix):
        row, column, best = _top_of_rows(first, block, k, weigh)
        place = np.arange(len(row)) - np.searchsorted(row, row)
        index[row, place], weight[row, place] = column, best
    return Neighbours(torch.from_numpy(index).to(device), torch.from_numpy(weight).to(device))


def _gram_blocks(
    matrix: scipy.sparse.csr_array,
) -> Iterator[tuple[int, scipy.sparse.csr_array]]:
    """Blocks of rows of ``matrix.T @ matrix``, each with the number of its first row."""
    transpose = matrix.T.tocsr()
    work = transpose @ np.diff(matrix.indptr)  # multiply-adds of each row of the product
    most_rows = 2 ** (32 - _bits(matrix.shape[1]))  # so that row and column share 32 bits of a key
    block_of = (np.cumsum(work) / PRODUCTS_PER_BLOCK).astype(np.int64)
    first = 0
    while first < matrix.shape[1]:
        last = int(np.searchsorted(block_of, block_of[first], side="right"))
        last = min(last, first + most_rows)
        yield first, transpose[first:last] @ matrix
        first = last


def _top_of_rows(
    first: int, block: scipy.sparse.csr_array, k: int, weigh: Weigh
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row, column and weight of the k largest of each row; rows rise, weights fall."""
    row = np.repeat(np.arange(block.shape[0]), np.diff(block.indptr))
    weight = weigh(row + first, block.indices, block.data).astype(np.float32)
    # a nonnegative float32 sorts as its bits do: one sort of (row, falling weight, column)
    bits, ones = np.uint64(_bits(block.shape[1])), np.uint64(2**32 - 1)
    key = row.astype(np.uint64) << np.uint64(32)
    key |= ones - weight.view(np.uint32)
    key = np.sort((key << bits) | block.indices.astype(np.uint64))
    key = key[np.arange(len(key)) - block.indptr[row] < k]
    column = (key & ((np.uint64(1) << bits) - np.uint64(1))).astype(np.int64)
    key >>= bits
    best = (ones - (key & ones)).astype(np.uint32).view(np.float32)
    return (key >> np.uint64(32)).astype(np.int64) + first, column, best


def _bits(n: int) -> int:
    return max(n - 1, 1).bit_length()
