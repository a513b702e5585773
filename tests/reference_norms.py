"""Slow, obviously right versions of what penalties are made of."""

from __future__ import annotations

import math

import torch


def top_rows(left, right, share):
    """Mean of the largest squared row norms of the dense score matrix, at least one of them."""
    squares = ((left @ right.T) ** 2).sum(1).sort(descending=True).values
    return squares[: max(math.ceil(share * len(squares)), 1)].mean()


def longest_rows(*tables):
    """Sum of the squared lengths of the longest row of each."""
    return sum((table**2).sum(1).max() for table in tables)


def softmax_jacobian_norm(p):
    """Largest singular value of diag(p) - p p^T, by SVD."""
    return torch.linalg.matrix_norm(torch.diag(p) - torch.outer(p, p), 2)


def adversarial_loss(loss, tables, epsilon, steps, weight):
    """Clean loss plus that at dense tables moved row by row; the moves are not differentiated."""
    start, moved = [t.detach() for t in tables], [t.detach().clone() for t in tables]
    radii = [epsilon * t.square().sum(1).mean().sqrt() for t in start]
    for _ in range(steps):
        leaves = [t.clone().requires_grad_() for t in moved]
        slopes = torch.autograd.grad(loss(*leaves), leaves)
        for table, here, slope, radius in zip(start, moved, slopes, radii, strict=True):
            for row in range(len(table)):
                if slope[row].norm() > 0:
                    way = radius * min(1, 2.5 / steps) * slope[row] / slope[row].norm()
                    off = here[row] + way - table[row]
                    here[row] = table[row] + off * min(1, float(radius / off.norm()))
    off = [there - table for there, table in zip(moved, start, strict=True)]
    return loss(*tables) + weight * loss(*(t + d for t, d in zip(tables, off, strict=True)))
