"""Slow, obviously right versions of what knowledge-graph models compute."""

from __future__ import annotations

from torch import Tensor


def answer_loss_plain(
    kind: str,
    scores: Tensor,
    position: Tensor,
    candidate: Tensor,
    kept: float,
    floor: Tensor,
) -> Tensor:
    """Cross-entropy against a dense target matrix, cell by cell."""
    target = floor[:, None].expand_as(scores).clone()
    for p, c in zip(position.tolist(), candidate.tolist(), strict=True):
        target[p, c] += kept
    if kind == "softmax":
        return -(target * scores.log_softmax(1)).sum()
    p = scores.sigmoid()
    return -(target * p.log() + (1 - target) * (1 - p).log()).sum()
