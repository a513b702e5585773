"""A sparse matrix that multiplies fast and differentiates: rows and their transpose, stored once.

On a CPU a product is one weighted ``embedding_bag`` over the row pointers, which is about 2.4 times
as fast as torch's CSR product and 30 times as fast as torch-sparse; on CUDA it is torch's CSR
product. The transpose is stored, so the backward pass is a product like any other, where torch
would rebuild the transpose on every call.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from hyperrank.linear_map import LinearMap
from hyperrank.pairs import PairSet


@dataclass(frozen=True, eq=False)
class SparseMatrix:
    """An m x n matrix by its rows: 16 bytes a non-zero, and as much for the stored transpose."""

    starts: Int[Tensor, " m_plus_1"]
    columns: Int[Tensor, " nnz"]
    values: Float[Tensor, " nnz"]
    shape: tuple[int, int]
    T: SparseMatrix | None = None  # the stored transpose; None in the transpose itself

    def __matmul__(self, dense: Float[Tensor, "n k"]) -> Float[Tensor, "m k"]:
        """Product with ``dense``, differentiable in ``dense`` where the transpose is stored.

        Raises:
            ValueError: If the inner sizes differ.
        """
        if dense.ndim != 2 or dense.shape[0] != self.shape[1]:
            raise ValueError(
                f"a matrix of shape {self.shape} cannot multiply one of shape {tuple(dense.shape)}"
            )
        product: Tensor = _Product.apply(dense, self)  # type: ignore[no-untyped-call]
        return product

    @property
    def row_numbers(self) -> Int[Tensor, " nnz"]:
        """Row of each non-zero, nondecreasing."""
        rows = torch.arange(self.shape[0], device=self.starts.device)
        size = len(self.columns)
        return torch.repeat_interleave(rows, self.starts.diff(), output_size=size)

    def with_values(self, values: Float[Tensor, " nnz"]) -> SparseMatrix:
        """Other values at the same places, without a stored transpose."""
        return SparseMatrix(self.starts, self.columns, values, self.shape)

    def select(self, chosen: Int[Tensor, " c"]) -> SparseMatrix:
        """These rows, in this order, without a stored transpose."""
        count = self.starts.diff()[chosen]
        starts = torch.cat([count.new_zeros(1), count.cumsum(0)])
        first = self.starts[chosen] - starts[:-1]
        spot = torch.repeat_interleave(first, count) + torch.arange(
            int(starts[-1]), device=starts.device
        )
        shape = (len(chosen), self.shape[1])
        return SparseMatrix(starts, self.columns[spot], self.values[spot], shape)

    def __add__(self, other: SparseMatrix) -> SparseMatrix:
        """The sum, without a stored transpose; one sort.

        Raises:
            ValueError: If the shapes differ.
        """
        if self.shape != other.shape:
            raise ValueError(f"matrices of shape {self.shape} and {other.shape} have no sum")
        rows = torch.cat([self.row_numbers, other.row_numbers])
        order = rows.argsort(stable=True)
        columns = torch.cat([self.columns, other.columns])[order]
        values = torch.cat([self.values, other.values])[order]
        return SparseMatrix(self.starts + other.starts, columns, values, self.shape).coalesced()

    def coalesced(self) -> SparseMatrix:
        """The same matrix with the values of repeated places added up; one sort."""
        keys = self.row_numbers * self.shape[1] + self.columns
        keys, place = torch.unique(keys, return_inverse=True)
        values = self.values.new_zeros(len(keys)).index_add_(0, place, self.values)
        edges = torch.arange(self.shape[0] + 1, device=keys.device) * self.shape[1]
        starts = torch.searchsorted(keys, edges)
        return SparseMatrix(starts, keys % self.shape[1], values, self.shape)

    def transposed(self) -> SparseMatrix:
        """The transpose, made by one sort; it stores none itself."""
        order = torch.argsort(self.columns, stable=True)
        edges = torch.arange(self.shape[1] + 1, device=order.device)
        starts = torch.searchsorted(self.columns[order], edges)
        rows = self.row_numbers[order]
        return SparseMatrix(starts, rows, self.values[order], self.shape[::-1])

    def _rows_times(self, dense: Tensor) -> Tensor:
        if not dense.shape[1]:  # which embedding_bag refuses
            return dense.new_zeros(self.shape[0], 0)
        if dense.device.type == "cpu":
            return nn.functional.embedding_bag(
                self.columns, dense, self.starts[:-1], mode="sum", per_sample_weights=self.values
            )
        matrix = torch.sparse_csr_tensor(
            self.starts, self.columns, self.values, self.shape, check_invariants=False
        )
        product: Tensor = matrix @ dense
        return product

    def linear_map(self) -> LinearMap:
        """This matrix by its products; each is one pass over the non-zeros.

        Raises:
            ValueError: If the transpose is not stored.
        """
        transpose = self.T
        if transpose is None:
            raise ValueError("this matrix stores no transpose; build it with sparse.from_pairs")
        return LinearMap(
            self.shape,
            lambda x: self @ x,
            lambda y: transpose @ y,
            self.values.dtype,
            self.values.device,
        )

    def to_torch_sparse(self) -> Any:
        """A ``torch_sparse.SparseTensor`` of the same matrix.

        Raises:
            ImportError: If the optional package is not installed.
        """
        try:
            from torch_sparse import SparseTensor
        except ImportError as error:
            raise ImportError(
                "torch-sparse is not installed: pip install --no-build-isolation torch-scatter "
                "torch-sparse (a long compilation; nothing here needs it)"
            ) from error
        return SparseTensor(
            rowptr=self.starts, col=self.columns, value=self.values, sparse_sizes=self.shape
        )


class _Product(torch.autograd.Function):
    """``matrix @ dense``; the backward pass is the stored transpose's product."""

    @staticmethod
    def forward(ctx: Any, dense: Tensor, matrix: SparseMatrix) -> Tensor:
        ctx.transpose = matrix.T
        return matrix._rows_times(dense)

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> tuple[Tensor, None]:
        if ctx.transpose is None:
            raise RuntimeError("this matrix stores no transpose, so its product has no gradient")
        return ctx.transpose._rows_times(above[0].contiguous()), None


def from_pairs(pairs: PairSet, values: Float[Tensor, " nnz"] | None = None) -> SparseMatrix:
    """The queries x candidates matrix of ``values`` (ones by default) at ``pairs``; one sort."""
    if values is None:
        values = torch.ones(len(pairs), device=pairs.device)
    shape = (pairs.n_queries, pairs.n_candidates)
    matrix = SparseMatrix(pairs.starts, pairs.candidates, values, shape)
    return replace(matrix, T=matrix.transposed())


def from_torch_sparse(matrix: Any) -> SparseMatrix:
    """The matrix of a ``torch_sparse.SparseTensor``; missing values are ones."""
    row, column, values = matrix.coo()
    n_rows, n_columns = matrix.sparse_sizes()
    keys = row * n_columns + column
    keys, order = torch.sort(keys)
    pairs = PairSet(keys, n_rows, n_columns)
    return from_pairs(pairs, None if values is None else values[order].float())
