"""Group-and-Shuffle orthogonal matrices: block-diagonal rotations with shuffles between them."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

MOST_ENTRIES = 1e7  # float64 then leaves 1e-8, which one Newton-Schulz step squares


class GroupShuffle(nn.Module):
    """An orthogonal n x n matrix, or a stack of ``maps`` of them, of n / b blocks a factor.

    Q = P^-(f-1) B_f P ... B_2 P B_1 for f factors: block-diagonal B of orthogonal b x b blocks, and
    the shuffle P that reads an (n / b) x b grid by columns. Two factors are the GS-matrices
    P_L (L P R) P_R of arXiv:2406.10019 with P_L = P^-1 and P_R = I; the last shuffles here make
    Q the identity where the blocks are. Blocks are Cayley transforms (I + K)^-1 (I - K) of skew K,
    so every factor is a rotation, and K = 0 is the identity.

    One product with a vector costs n b for each factor, and the inverses of n / b blocks once for
    a call. With two factors every output sees every input if and only if n <= b^2; f factors reach
    n <= b^f. Parameters: factors * n (b - 1) / 2, of n (n - 1) / 2 for any rotation.

    Attributes:
        skew: What lies above the diagonal of each K, (maps, factors, n / b, b (b - 1) / 2).
    """

    def __init__(
        self,
        n: int,
        block: int,
        *,
        factors: int = 2,
        maps: int = 1,
        scale: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if block < 1 or n < 1 or n % block:
            raise ValueError(f"block must divide n, got n = {n} and block = {block}")
        if factors < 1 or maps < 1:
            raise ValueError(f"factors and maps must be at least 1, got {factors} and {maps}")
        if scale and generator is None:
            raise ValueError(f"scale {scale} draws a random start; pass a generator")
        self.n, self.block, self.factors, self.maps = n, block, factors, maps
        shape = (maps, factors, n // block, block * (block - 1) // 2)
        start = torch.randn(shape, generator=generator) * scale if scale else torch.zeros(shape)
        self.skew = nn.Parameter(start)

    def extra_repr(self) -> str:
        """Sizes, for ``print``."""
        return f"n={self.n}, block={self.block}, factors={self.factors}, maps={self.maps}"

    @property
    def is_dense(self) -> bool:
        """Whether every output depends on every input, for blocks in general position."""
        return bool(self.block**self.factors >= self.n)

    def blocks(
        self, chosen: Int[Tensor, " k"] | None = None
    ) -> Float[Tensor, "k factors groups b b"]:
        """The orthogonal blocks of the chosen maps (all, without a choice)."""
        if chosen is None:
            return cayley(self.skew, self.block)
        # embedding, not an index: its gradient is summed in a fixed order
        rows = nn.functional.embedding(chosen, self.skew.flatten(1))
        return cayley(rows.view(len(chosen), *self.skew.shape[1:]), self.block)

    def forward(
        self, x: Float[Tensor, "k m n"], chosen: Int[Tensor, " k"] | None = None
    ) -> Float[Tensor, "k m n"]:
        """Each row v of ``x[i]`` sent to Q v, for the map ``chosen[i]`` (map i, without a choice).

        Raises:
            ValueError: If x has other than n columns, or another number of maps.
        """
        return self._applied(x, chosen, transposed=False)

    def transpose(
        self, x: Float[Tensor, "k m n"], chosen: Int[Tensor, " k"] | None = None
    ) -> Float[Tensor, "k m n"]:
        """Each row v of ``x[i]`` sent to Q^T v, which undoes ``forward``.

        Raises:
            ValueError: As ``forward``.
        """
        return self._applied(x, chosen, transposed=True)

    def dense(self, chosen: Int[Tensor, " k"] | None = None) -> Float[Tensor, "k n n"]:
        """The matrices Q themselves, n^2 b for each factor."""
        count = self.maps if chosen is None else len(chosen)
        identity = torch.eye(self.n, dtype=self.skew.dtype, device=self.skew.device)
        return self.forward(identity.expand(count, -1, -1), chosen).mT

    def _applied(self, x: Tensor, chosen: Tensor | None, *, transposed: bool) -> Tensor:
        count = self.maps if chosen is None else len(chosen)
        if x.ndim != 3 or x.shape[0] != count or x.shape[2] != self.n:
            raise ValueError(
                f"expected vectors of shape ({count}, m, {self.n}): {count} maps of {self.n} "
                f"numbers, got {tuple(x.shape)}"
            )
        return apply_blocks(self.blocks(chosen), x, transposed=transposed)


def cayley(skew: Float[Tensor, "*batch entries"], size: int) -> Float[Tensor, "*batch size size"]:
    """Orthogonal ``size`` x ``size`` matrices (I + K)^-1 (I - K), K skew with these upper entries.

    Every rotation without the eigenvalue -1 is one of them. Computed in float64 as
    2 (I + K)^-1 - I, with one Newton-Schulz step: orthogonal to the rounding of the dtype of
    ``skew``. The inverse gives up digits by its condition, so a K whose upper entries add up to
    more than 1e7 is shrunk to that: the angles of half turns then miss by 2e-7 or so. NaN and
    infinity come out as NaN.
    """
    rows, columns = torch.triu_indices(size, size, 1, device=skew.device)
    entries = skew.double()
    entries = entries / (entries.abs().sum(-1, keepdim=True) / MOST_ENTRIES).clamp_min(1.0)
    upper = entries.new_zeros(*skew.shape[:-1], size, size)
    upper[..., rows, columns] = entries
    identity = torch.eye(size, dtype=entries.dtype, device=skew.device)
    turn: Tensor = 2 * torch.linalg.inv(identity + upper - upper.mT) - identity
    with torch.no_grad():  # a correction by rounding only: its slope is that of rounding
        rounding = 0.5 * turn @ (identity - turn.mT @ turn)
    return (turn + rounding).to(skew.dtype)


def apply_blocks(
    blocks: Float[Tensor, "k factors groups b b"],
    x: Float[Tensor, "k m n"],
    *,
    transposed: bool = False,
) -> Float[Tensor, "k m n"]:
    """Rows of x through all factors with their shuffles; the transposed product for Q^T.

    A vector is read as a groups x b grid, a row for each block; the shuffle reads it by columns.
    After the last factor the shuffles are undone, so with identity blocks this is the identity.
    """
    groups, size = blocks.shape[-3], blocks.shape[-1]
    first, *others = blocks.unbind(1)
    if transposed:
        for _ in others:
            x = _shuffled(x, groups, size)
        for turn in reversed(others):
            x = _shuffled(_rotated(turn.mT, x), size, groups)
        return _rotated(first.mT, x)
    x = _rotated(first, x)
    for turn in others:
        x = _rotated(turn, _shuffled(x, groups, size))
    for _ in others:
        x = _shuffled(x, size, groups)
    return x


def factors_needed(n: int, block: int) -> int:
    """The least number of factors that makes the matrix dense: the least f with block^f >= n.

    Raises:
        ValueError: If blocks of 1 are to mix more than one number.
    """
    if n > 1 and block < 2:
        raise ValueError(f"blocks of {block} never mix {n} numbers; use at least 2")
    factors = 1
    while block**factors < n:
        factors += 1
    return factors


def _rotated(turn: Tensor, x: Tensor) -> Tensor:
    """Each group of coordinates through its block."""
    k, m, _ = x.shape
    groups, size = turn.shape[1], turn.shape[-1]
    grid = x.view(k, m, groups, size).transpose(1, 2)
    return (grid @ turn.mT).transpose(1, 2).reshape(k, m, groups * size)


def _shuffled(x: Tensor, groups: int, size: int) -> Tensor:
    """The coordinates of a groups x size grid, by columns."""
    return x.view(*x.shape[:-1], groups, size).mT.reshape(x.shape)
