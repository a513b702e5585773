"""Certificates of top-k lists: how far vectors may move, at least, and the list stays."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from hyperrank.pairs import PairSet
from hyperrank.products import exact_products, fast_products
from hyperrank.retrieval import largest, queries_at_once
from hyperrank.scorers import Factors

Offset: TypeAlias = Callable[[Int[Tensor, " b"]], Float[Tensor, "b n"]]

RUNNERS_UP = 128  # of each query that are compared at first
GROWTH = 8  # of their number, for queries that need more
NUMBERS_AT_ONCE = 2**20  # of the comparison, in float64: 8 MB
SLACK = 1e-5  # relative, of bounds made in float32 from numbers that are right to some 1e-6


class Certificates(NamedTuple):
    """Radii of balls in which each query's list stays; float64, infinite where it always does.

    Attributes:
        radius: Of the query's vector: the set of its top k stays. Tight: beyond it lies a vector
            with another set.
        radius_2k: Of the query's vector: all of its top k stay among the top 2k. Not tight.
        global_radius: ``radius`` from two numbers alone, the smallest difference of scores and the
            longest candidate; not tight.
        candidate_radius: Of every candidate's vector, each in its own direction; tight.
        joint_radius: Of all vectors together, the query's and the candidates'; not tight.
        inside: The candidate of the top k that the least move swaps; -1 where none does.
        outside: The candidate that it is swapped with; -1 likewise.
    """

    radius: Float[Tensor, " q"]
    radius_2k: Float[Tensor, " q"]
    global_radius: Float[Tensor, " q"]
    candidate_radius: Float[Tensor, " q"]
    joint_radius: Float[Tensor, " q"]
    inside: Int[Tensor, " q"]
    outside: Int[Tensor, " q"]

    def columns(self, vectors: Float[Tensor, "q d"], candidate: str) -> dict[str, np.ndarray]:
        """The radii as columns of a frame, and ``radius`` over the length of the queries' vectors.

        ``candidate`` is what the candidates are called.
        """
        radii = {
            "radius": self.radius,
            "relative_radius": quotient(self.radius, vectors.double().norm(dim=1)),
            "radius_2k": self.radius_2k,
            "global_radius": self.global_radius,
            f"{candidate}_radius": self.candidate_radius,
            "joint_radius": self.joint_radius,
        }
        return {name: column.cpu().numpy() for name, column in radii.items()}


@torch.no_grad()
def certified(
    factors: Factors,
    query: Int[Tensor, " q"],
    k: int,
    *,
    known: PairSet | None = None,
    offset: Offset | None = None,
    chunk: int | None = None,
) -> Certificates:
    """Certificates of the ``k`` best candidates of each query, as ``top_k`` finds them.

    A score is the product of two vectors, plus an ``offset`` that moves with neither. A move delta
    of the query changes the difference of two scores by <delta, v_i - v_j>, at most by
    |delta| |v_i - v_j|, so that the set of the top k stays where

        |delta| < min over i in it, j not in it of (s_i - s_j) / |v_i - v_j|,

    and another set is reached just beyond. A candidate of the top k leaves the top 2k only where
    k + 1 of those outside pass it: ``radius_2k`` is the least over i of its k + 1st smallest ratio.

    Scores are taken for what they are in real numbers. The ratios are made in float64, less their
    rounding; a tie at the k-th place, or an order that float32 has wrong there, gives 0. Only the
    runners-up are compared: those for which (s_i - s_j) / (|v_i - c| + |v_j - c|), c being the mean
    candidate, less the rounding of float32, does not rule them out; so nothing is lost.

    Memory: about four blocks of ``chunk`` rows of scores, and some 50 MB.

    Args:
        factors: Both tables.
        query: Query numbers, repeats and any order allowed.
        k: Length of the list. Where no candidate is left outside, every radius is infinite.
        known: Pairs to leave out.
        offset: What is added to the products of these queries; -inf for what is no candidate.
        chunk: Queries at once.

    Raises:
        ValueError: If ``k`` or ``chunk`` is not positive, or a score is NaN.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    if chunk is not None and chunk < 1:
        raise ValueError(f"chunk must be at least 1 query, got {chunk}")
    table, query = _Table.of(factors.candidates), query.to(factors.candidates.device)
    known = None if known is None else known.to(query.device)
    never = torch.full((5, len(query)), torch.inf, dtype=torch.float64, device=query.device)
    found = Certificates(*never, *torch.full((2, len(query)), -1, device=query.device))
    size = chunk or queries_at_once(len(factors.candidates), query.device)
    # nothing small is kept from a chunk: it would lie where the next one's scores could
    buffer = factors.queries.new_empty(min(size, len(query)), len(factors.candidates))
    for start in range(0, len(query), size):
        part = slice(start, start + size)
        rows = query[part]
        more = None if offset is None else offset(rows)
        block = _Block.of(factors.queries[rows], table, more, buffer[: len(rows)])
        if known is not None:
            position, candidate = known.rows(rows)
            block.scores[position, candidate] = -torch.inf
        _certify(block, table, k, Certificates(*(column[part] for column in found)))
    return found


class _Table(NamedTuple):
    """The candidates, and their distances from their mean, rounded up."""

    rows: Float[Tensor, "n d"]
    spread: Float[Tensor, " n"]
    longest: float

    @classmethod
    def of(cls, rows: Float[Tensor, "n d"]) -> _Table:
        centre = rows.mean(0, dtype=torch.float64)
        pieces = rows.split(2**16)
        spread = torch.cat([(piece.double() - centre).norm(dim=1) for piece in pieces])
        longest = max((float(piece.double().norm(dim=1).max()) for piece in pieces), default=0.0)
        return cls(rows, (spread * (1 + SLACK)).float(), longest * (1 + 1e-12))


class _Block(NamedTuple):
    """Some queries, their scores in float32, and what these may be wrong by."""

    queries: Float[Tensor, "b d"]  # float64
    scores: Float[Tensor, "b n"]
    offset: Float[Tensor, "b n"] | None
    error: Float[Tensor, " b"]

    @classmethod
    def of(cls, queries: Tensor, table: _Table, offset: Tensor | None, scores: Tensor) -> _Block:
        with exact_products(queries.device), fast_products():
            torch.mm(queries, table.rows.T, out=scores)
        exact = queries.double()
        # of a sum of products, in any order: its length times eps / 2 times the lengths
        size = (queries.shape[1] + 8) * exact.norm(dim=1) * table.longest
        if offset is not None:
            scores += offset
            size += 8 * torch.where(offset.isfinite(), offset, 0).abs().amax(1)
        return cls(exact, scores, offset, size * torch.finfo(scores.dtype).eps)

    def select(self, rows: Tensor) -> _Block:
        offset = None if self.offset is None else self.offset[rows]
        return _Block(self.queries[rows], self.scores[rows], offset, self.error[rows])


def _certify(block: _Block, table: _Table, k: int, found: Certificates) -> None:
    """Writes the certificates of a block, whose scores are used up; infinite ones are there."""
    top = largest(block.scores, k).candidates
    wide = table.spread[top.clamp_min(0)].amax(1)
    lowest = block.scores.gather(1, top[:, -1:].clamp_min(0)) - 2 * block.error[:, None]
    # minus a lower bound of the ratios of every candidate outside, made in place
    bound = block.scores.scatter_(1, top.clamp_min(0), -torch.inf)
    bound -= lowest.to(bound.dtype)
    bound /= (wide[:, None] + table.spread).clamp_min_(torch.finfo(bound.dtype).tiny)
    left, count = (top[:, -1] >= 0).nonzero().squeeze(1), max(RUNNERS_UP, 2 * k)
    while len(left):
        count = min(count, bound.shape[1])
        each = NUMBERS_AT_ONCE // (k * count + (k + count) * table.rows.shape[1])
        unsettled = []
        for rows in left.split(max(each, 1)):
            part, beyond = _compared(block.select(rows), table, top[rows], wide[rows], count)
            for whole, piece in zip(found, part, strict=True):
                whole[rows] = piece
            unsettled.append(rows[part.radius_2k > beyond])
        left, count = torch.cat(unsettled), count * GROWTH


def _compared(
    block: _Block,
    table: _Table,
    top: Int[Tensor, "b k"],
    wide: Float[Tensor, " b"],
    count: int,
) -> tuple[Certificates, Float[Tensor, " b"]]:
    """Certificates from ``count`` runners-up, and a lower bound of the ratios of all others."""
    bounds, k = largest(block.scores, count), top.shape[1]
    others, beyond = bounds.candidates, -bounds.scores[:, -1].double() * (1 - SLACK)
    inside, outside = (table.rows[rows.clamp_min(0)].double() for rows in (top, others))
    high, low = (torch.bmm(rows, block.queries[:, :, None])[:, :, 0] for rows in (inside, outside))
    size, eps = block.queries.norm(dim=1), (inside.shape[2] + 8) * torch.finfo(torch.float64).eps
    error = 2 * size * table.longest
    if block.offset is not None:
        given = [block.offset.gather(1, rows.clamp_min(0)).double() for rows in (top, others)]
        high, low = high + given[0], low + given[1]
        error = error + torch.cat(given, 1).nan_to_num(neginf=0).abs().amax(1)
    margin = (high[:, :, None] - low[:, None] - eps * error[:, None, None]).clamp_min_(0)
    margin.masked_fill_((others < 0)[:, None], torch.inf)
    apart = torch.cdist(inside, outside, compute_mode="donot_use_mm_for_euclid_dist") * (1 + eps)
    ratio = quotient(margin, apart)
    radius, place = ratio.flatten(1).min(1)
    swapped = radius < torch.inf
    passed = torch.full_like(radius, torch.inf)
    if count > k:
        passed = ratio.kthvalue(k + 1, dim=2).values.amin(1)
    # the differences of scores of those that are not compared, at least, and how far apart they are
    rest = torch.where(beyond < torch.inf, beyond.clamp_min(0) * wide, torch.inf)
    least = torch.minimum(margin.flatten(1).amin(1), rest)
    joint = torch.minimum(
        _joint(margin, apart, size[:, None, None]).flatten(1).amin(1),
        _joint(rest, wide.double(), size),
    )
    found = Certificates(
        radius,
        passed,
        quotient(least, 2 * table.longest * torch.ones_like(size)) * (1 - eps),
        quotient(least, 2 * size) * (1 - eps),
        joint * (1 - eps),
        torch.where(swapped, top.gather(1, place[:, None] // count)[:, 0], -1),
        torch.where(swapped, others.gather(1, place[:, None] % count)[:, 0], -1),
    )
    return found, beyond


def _joint(margin: Tensor, apart: Tensor, size: Tensor) -> Tensor:
    """The root r of r (apart + 2 size) + 2 r^2 = margin."""
    linear = apart + 2 * size
    root = quotient(2 * margin, linear + (linear.square() + 8 * margin).sqrt())
    return torch.where(margin < torch.inf, root, torch.inf)


def quotient(above: Float[Tensor, "*q"], below: Float[Tensor, "*q"]) -> Float[Tensor, "*q"]:
    """Elementwise, 0 over 0 being 0."""
    return torch.where(above > 0, above / below, 0)
