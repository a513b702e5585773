"""Linear maps known by their products with blocks of vectors: constructors and algebra.

``LinearMap`` itself and the checks of one are in ``hyperrank.linear_map``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

from hyperrank.linear_map import LinearMap, check_adjoint, check_estimable, check_real

__all__ = [
    "LinearMap",
    "add",
    "check_adjoint",
    "check_estimable",
    "compose",
    "counted",
    "from_factors",
    "from_matrix",
    "from_scipy",
    "from_sparse",
    "gram",
    "jacobian",
    "scale",
]


def from_matrix(matrix: Tensor) -> LinearMap:
    """The map of a dense (m, n) matrix; differentiable in its entries.

    Raises:
        ValueError: If there are not two axes.
        TypeError: If the entries are not floating point.
    """
    if matrix.ndim != 2:
        raise ValueError(f"a map needs a matrix of two axes, got shape {tuple(matrix.shape)}")
    check_real(matrix.dtype)
    m, n = matrix.shape
    return LinearMap(
        (m, n), lambda x: matrix @ x, lambda y: matrix.mT @ y, matrix.dtype, matrix.device
    )


def from_factors(u: Tensor, v: Tensor) -> LinearMap:
    """The map u v^T of u (m, r) and v (n, r), never formed: (m + n) r work a product.

    The factors stay with the map, so its row norms are exact through the r x r Gram matrix.

    Raises:
        ValueError: If the factors differ in rank, dtype or device.
        TypeError: If they are not floating point.
    """
    if u.ndim != 2 or v.ndim != 2 or u.shape[1] != v.shape[1]:
        raise ValueError(
            f"factors have shapes (m, r) and (n, r), got {tuple(u.shape)} and {tuple(v.shape)}"
        )
    if u.dtype != v.dtype or u.device != v.device:
        raise ValueError(
            f"both factors must be of one dtype and device, got {u.dtype} on {u.device} and "
            f"{v.dtype} on {v.device}; convert one of them"
        )
    check_real(u.dtype)
    return LinearMap(
        (len(u), len(v)),
        lambda x: u @ (v.mT @ x),
        lambda y: v @ (u.mT @ y),
        u.dtype,
        u.device,
        (u, v),
    )


def from_sparse(matrix: Any) -> LinearMap:
    """The map of a sparse matrix: torch (any sparse layout), SciPy, ours, or torch_sparse's.

    Ours is what has a ``linear_map()``, as ``hyperrank.sparse.SparseMatrix`` has; torch_sparse's
    is what has ``coo()`` and ``sparse_sizes()``, missing values being ones. A SciPy matrix is
    copied to a torch CSR tensor on the CPU. All but ours hold the rows and the rows of the
    transpose: 32 bytes a non-zero in double precision. Differentiable in the values of a torch
    tensor that requires a gradient; its transpose is then remade in every adjoint product.

    Raises:
        ValueError: If there are not two axes.
        TypeError: If this is no sparse matrix, or one of other than floating point values.
    """
    import scipy.sparse

    if callable(getattr(matrix, "linear_map", None)):
        return cast("LinearMap", matrix.linear_map())
    if scipy.sparse.issparse(matrix):
        check_real(_torch_dtype(matrix.dtype))
        rows = matrix.tocoo()
        places = torch.stack([torch.as_tensor(side).long() for side in (rows.row, rows.col)])
        matrix = _coo(places, torch.as_tensor(rows.data.copy()), rows.shape)
    elif hasattr(matrix, "coo") and hasattr(matrix, "sparse_sizes"):
        row, column, values = matrix.coo()
        values = torch.ones(len(row), device=row.device) if values is None else values
        matrix = _coo(torch.stack([row, column]), values, tuple(matrix.sparse_sizes()))
    if not isinstance(matrix, Tensor) or matrix.layout == torch.strided:
        raise TypeError(
            f"from_sparse takes a torch, SciPy, hyperrank or torch_sparse sparse matrix, got "
            f"{type(matrix).__name__}; use from_matrix for a dense tensor"
        )
    if matrix.ndim != 2:
        raise ValueError(f"a map needs a matrix of two axes, got shape {tuple(matrix.shape)}")
    check_real(matrix.dtype)
    if matrix.layout in {torch.sparse_bsr, torch.sparse_bsc}:  # no products on every device
        matrix = matrix.to_sparse_coo()
    m, n = matrix.shape
    if matrix.requires_grad:
        return LinearMap(
            (m, n), lambda x: matrix @ x, lambda y: matrix.mT @ y, matrix.dtype, matrix.device
        )
    rows, columns = matrix.to_sparse_csr(), matrix.mT.to_sparse_csr()
    return LinearMap((m, n), lambda x: rows @ x, lambda y: columns @ y, matrix.dtype, matrix.device)


def from_scipy(operator: Any) -> LinearMap:
    """The map of a ``scipy.sparse.linalg.LinearOperator``, or of what SciPy can make one of.

    Products run in NumPy on the CPU and have no gradient.

    Raises:
        TypeError: If it is not of real floating point.
    """
    from scipy.sparse.linalg import aslinearoperator

    held = aslinearoperator(operator)
    dtype = _torch_dtype(held.dtype)
    check_real(dtype)

    def through(product: Callable[[Any], Any]) -> Callable[[Tensor], Tensor]:
        return lambda block: torch.as_tensor(product(block.detach().numpy())).to(dtype)

    m, n = held.shape
    cpu = torch.device("cpu")
    return LinearMap((m, n), through(held.matmat), through(held.rmatmat), dtype, cpu)


def jacobian(
    f: Callable[[Tensor], Tensor], point: Tensor, *, chunk: int | None = None
) -> LinearMap:
    """The Jacobian of ``f`` at ``point``, (outputs, inputs), both flattened; never formed.

    A product is one forward-mode pass, an adjoint product one reverse-mode pass; blocks are batched
    by ``torch.func.vmap``, ``chunk`` vectors at a time (all by default). ``f`` runs once here and
    its graph is kept. Products are differentiable in whatever tensors ``f`` closes over, not in
    ``point``. ``f`` must be pure: no dropout, no state.

    Raises:
        TypeError: If the point or the output is not floating point, or they differ in dtype.
    """
    check_real(point.dtype)
    point = point.detach()
    output, pull = torch.func.vjp(f, point)[:2]
    if output.dtype != point.dtype:
        raise TypeError(
            f"f takes {point.dtype} to {output.dtype}; a map has one dtype, so convert inside f"
        )

    def forward(direction: Tensor) -> Tensor:
        shaped = direction.reshape(point.shape)
        return cast("Tensor", torch.func.jvp(f, (point,), (shaped,))[1]).reshape(-1)

    def backward(direction: Tensor) -> Tensor:
        return cast("Tensor", pull(direction.reshape(output.shape))[0]).reshape(-1)

    def batched(product: Callable[[Tensor], Tensor], size: int) -> Callable[[Tensor], Tensor]:
        many = torch.func.vmap(product, in_dims=1, out_dims=1, chunk_size=chunk)

        def apply(block: Tensor) -> Tensor:
            return many(block) if block.shape[1] else block.new_zeros(size, 0)

        return apply

    m, n = output.numel(), point.numel()
    return LinearMap((m, n), batched(forward, m), batched(backward, n), point.dtype, point.device)


def compose(outer: LinearMap, inner: LinearMap) -> LinearMap:
    """The map ``x -> outer(inner(x))``.

    Raises:
        ValueError: If the inner sizes, the dtypes or the devices differ.
    """
    if outer.shape[1] != inner.shape[0]:
        raise ValueError(f"cannot apply a map of shape {outer.shape} after one of {inner.shape}")
    _check_alike(outer, inner)
    return LinearMap(
        (outer.shape[0], inner.shape[1]),
        lambda x: outer.matmat(inner.matmat(x)),
        lambda y: inner.rmatmat(outer.rmatmat(y)),
        inner.dtype,
        inner.device,
    )


def add(first: LinearMap, second: LinearMap) -> LinearMap:
    """The map ``x -> first(x) + second(x)``.

    Raises:
        ValueError: If the shapes, the dtypes or the devices differ.
    """
    if first.shape != second.shape:
        raise ValueError(f"cannot add maps of shapes {first.shape} and {second.shape}")
    _check_alike(first, second)
    return LinearMap(
        first.shape,
        lambda x: first.matmat(x) + second.matmat(x),
        lambda y: first.rmatmat(y) + second.rmatmat(y),
        first.dtype,
        first.device,
    )


def scale(a: LinearMap, factor: float | Float[Tensor, ""]) -> LinearMap:
    """The map ``x -> factor * a(x)``; differentiable in the factor, and factored where ``a`` is."""
    return LinearMap(
        a.shape,
        lambda x: factor * a.matmat(x),
        lambda y: factor * a.rmatmat(y),
        a.dtype,
        a.device,
        None if a.factors is None else (factor * a.factors[0], a.factors[1]),
    )


def gram(a: LinearMap) -> LinearMap:
    """The map ``x -> a^T a x``, its own adjoint; a product costs two of ``a``."""
    return compose(a.T, a)


def counted(a: LinearMap) -> tuple[LinearMap, Callable[[], int]]:
    """The same map, and a function that tells how many products were made with it so far."""
    made = 0

    def counting(product: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        def apply(block: Tensor) -> Tensor:
            nonlocal made
            made += block.shape[1]
            return product(block)

        return apply

    watched = LinearMap(
        a.shape, counting(a.matmat), counting(a.rmatmat), a.dtype, a.device, a.factors
    )
    return watched, lambda: made


def _coo(places: Tensor, values: Tensor, shape: tuple[int, ...]) -> Tensor:
    return torch.sparse_coo_tensor(places, values, tuple(shape), check_invariants=True).coalesce()


def _torch_dtype(dtype: Any) -> torch.dtype:
    import numpy as np

    return torch.as_tensor(np.zeros(0, dtype=dtype)).dtype


def _check_alike(first: LinearMap, second: LinearMap) -> None:
    if first.dtype != second.dtype or first.device != second.device:
        raise ValueError(
            f"both maps must be of one dtype and device, got {first.dtype} on {first.device} and "
            f"{second.dtype} on {second.device}; convert one of them"
        )
