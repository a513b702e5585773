"""Probabilities from logits: two parameters, fitted to facts against corruptions of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import softplus

from kg.queries import Queries
from kg.triples import Triples

STEPS = 50  # of Newton's method, which takes five to ten


class Calibration(NamedTuple):
    """The probability of a logit s is ``sigmoid(slope * s + intercept)``."""

    slope: float
    intercept: float
    prior: float  # share of true facts among what is asked

    def probabilities(self, logits: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """In float64."""
        return torch.sigmoid(self.slope * logits.double() + self.intercept)


def corrupted(
    facts: Triples, known: Sequence[Queries], per_fact: int, generator: torch.Generator
) -> tuple[Int[Tensor, " m"], Int[Tensor, " m"], Int[Tensor, " m"]]:
    """Head, relation and tail of facts in which one end was replaced, drawn on the CPU.

    Every fact gives ``per_fact`` triples; in each the head or the tail, with even chances, makes
    place for an entity drawn uniformly. Those in ``facts`` or one of ``known`` are left out.
    """
    head, relation, tail = (
        rows.repeat(per_fact) for rows in (facts.head, facts.relation, facts.tail)
    )
    drawn = torch.randint(facts.n_entities, head.shape, generator=generator)
    front = torch.rand(head.shape, generator=generator) < 0.5
    head, tail = torch.where(front, drawn, head), torch.where(front, tail, drawn)
    fresh = torch.ones_like(head, dtype=torch.bool)
    for one in (facts.queries(), *known):
        fresh &= ~one.to("cpu").holds(head, relation, tail)
    return head[fresh], relation[fresh], tail[fresh]


def platt(true: Float[Tensor, " p"], false: Float[Tensor, " m"], prior: float) -> Calibration:
    """The logistic curve of least log-loss, the true logits together weighing ``prior``.

    Targets are (p + 1) / (p + 2) and 1 / (m + 2) in place of 1 and 0, so that the curve exists
    where the two sides do not overlap (Platt 1999, section 2.2). Newton's method with halved steps
    (Lin, Lin and Weng 2007) in float64.
    """
    p, m = len(true), len(false)
    logits = torch.cat([true, false]).double()
    center, spread = logits.mean(), logits.std(correction=0).clamp_min(1e-12)
    x = torch.stack([(logits - center) / spread, torch.ones_like(logits)], dim=1)
    side = torch.arange(p + m, device=logits.device) < p
    target = torch.where(side, (p + 1) / (p + 2), 1 / (m + 2)).double()
    weight = torch.where(side, prior / p, (1 - prior) / m).double()

    def loss(line: Tensor) -> Tensor:
        z = x @ line
        return weight @ (softplus(z) - target * z)

    line, ridge = x.new_zeros(2), 1e-9 * torch.eye(2, dtype=x.dtype, device=x.device)
    for _ in range(STEPS):
        share = torch.sigmoid(x @ line)
        slope = x.T @ (weight * (share - target))
        bend = x.T @ ((weight * share * (1 - share))[:, None] * x) + ridge
        step, before = torch.linalg.solve(bend, slope), loss(line)
        while loss(line - step) > before and step.abs().max() > 1e-12:
            step = step / 2
        line = line - step
        if step.abs().max() < 1e-9:
            break
    a, b = (line[0] / spread, line[1] - line[0] * center / spread)
    return Calibration(float(a), float(b), prior)
