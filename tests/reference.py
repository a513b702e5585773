"""Slow, obviously right versions of what the package does fast; tests hold the two together."""

from __future__ import annotations

import decimal
import math

import torch
from torch import Tensor, nn

softplus = nn.functional.softplus


def weighted_logistic_plain(
    left: Tensor,
    right: Tensor,
    position: Tensor,
    positive: Tensor,
    positive_weight: Tensor,
    negatives: Tensor,
    negative_weight: Tensor,
) -> Tensor:
    """The formula of ``hyperrank.losses.weighted_logistic``, term by term."""
    scores = (left[position] * right[positive]).sum(1)
    drawn = right[negatives.expand(len(left), -1)]
    others = (left.unsqueeze(1) * drawn).sum(2)
    return (positive_weight * softplus(-scores)).sum() + (negative_weight * softplus(others)).sum()


def ultragcn_epoch_loss(
    users: Tensor,
    items: Tensor,
    matrix: Tensor,
    *,
    positive: tuple[float, float],
    negative: tuple[float, float],
    negative_weight: float,
    item_weight: float,
    neighbours: int,
    l2: float,
) -> Tensor:
    """UltraGCN's released loss over one epoch, negatives in expectation, all matrices dense.

    ``matrix`` is the 0/1 users x items matrix; ``positive`` is (w1, w2), ``negative`` (w3, w4).
    """
    user_degree, item_degree = matrix.sum(1), matrix.sum(0)
    beta = torch.outer(
        (user_degree + 1).sqrt() / user_degree.clamp_min(1), 1 / (item_degree + 1).sqrt()
    )
    scores = users @ items.T
    total = (matrix * (positive[0] + positive[1] * beta) * softplus(-scores)).sum()
    mean_negative = ((negative[0] + negative[1] * beta) * softplus(scores)).mean(1)
    total = total + negative_weight * (user_degree * mean_negative).sum()
    omega = omega_released(matrix)
    for user, item in matrix.nonzero().tolist():
        best = sorted(range(len(items)), key=lambda j: (-float(omega[item, j]), j))[:neighbours]
        for j in best:
            total = total + item_weight * omega[item, j] * softplus(-scores[user, j])
    return total + l2 / 2 * (users.square().sum() + items.square().sum())


def omega_released(matrix: Tensor) -> Tensor:
    """Item-item weights as the released code computes them, dense."""
    gram = matrix.T @ matrix
    sums = gram.sum(1)
    return gram * torch.outer((sums + 1).sqrt() / sums.clamp_min(1), 1 / (sums + 1).sqrt())


def omega_paper(matrix: Tensor) -> Tensor:
    """Item-item weights of the paper (arXiv:2110.15114, eq. 8), dense, zero on the diagonal."""
    gram = matrix.T @ matrix
    sums, own = gram.sum(1), gram.diagonal()
    omega = torch.zeros_like(gram)
    for i in range(len(gram)):
        for j in range(len(gram)):
            if i != j and gram[i, j]:
                omega[i, j] = gram[i, j] / (sums[i] - own[i]) * math.sqrt(sums[i] / sums[j])
    return omega


# retrieval and judging


def sorted_top_k(scores, query, k, known, allowed):
    """Lists of candidates and of scores: all candidates sorted by falling score, then number."""
    pairs = set(zip(known.queries.tolist(), known.candidates.tolist(), strict=True))
    free = range(scores.shape[1]) if allowed is None else sorted(set(allowed.tolist()))
    all_candidates, all_values = [], []
    for q in query.tolist():
        row = scores[q].tolist()
        fit = [c for c in free if (q, c) not in pairs and row[c] > -math.inf]
        best = sorted(fit, key=lambda c: (-row[c], c))[:k]
        short = k - len(best)
        all_candidates.append(best + [-1] * short)
        all_values.append([row[c] for c in best] + [-math.inf] * short)
    return all_candidates, all_values


class RowAdamPlain:
    """The rule of ``hyperrank.optim.RowAdam``, one row at a time, with Adam's usual constants."""

    def __init__(self, table: Tensor, lr: float) -> None:
        self.table, self.lr, self.now = table, lr, 0
        self.first, self.second = torch.zeros_like(table), torch.zeros_like(table)
        self.touches, self.last = [0] * len(table), [0] * len(table)

    def step(
        self, slope: Tensor, rows: list[int], beta1: float = 0.9, beta2: float = 0.999
    ) -> None:
        """One step in which ``rows`` have a slope."""
        self.now += 1
        for i in rows:
            gap, self.last[i] = self.now - self.last[i], self.now
            self.touches[i] += 1
            self.first[i] = beta1**gap * self.first[i] + (1 - beta1) * slope[i]
            self.second[i] = beta2**gap * self.second[i] + (1 - beta2) * slope[i] ** 2
            ratio = beta1 / math.sqrt(beta2)
            way = sum_of_powers(ratio, self.now / self.touches[i])
            mean = self.first[i] / (1 - beta1**self.now)
            spread = (self.second[i] / (1 - beta2**self.now)).sqrt() + 1e-8
            self.table[i] -= self.lr * way * mean / spread


def sum_of_powers(ratio: float, count: float) -> float:
    """1 + ratio + ... + ratio ** (count - 1), for counts between the whole numbers too."""
    return (1 - ratio**count) / (1 - ratio)


def metric_plain(kind, listed, truth, k):
    """A metric of truth for one query: ``listed`` best first (-1 for no more), ``truth`` a set."""
    hit = [c in truth for c in listed[:k]]
    hits, most = sum(hit), min(k, len(truth))
    precisions = sum(sum(hit[: p + 1]) / (p + 1) for p, h in enumerate(hit) if h)
    if kind == "ndcg":
        ideal = sum(1 / math.log2(p + 2) for p in range(most))
        return sum(1 / math.log2(p + 2) for p, h in enumerate(hit) if h) / ideal
    if kind == "mrr":
        return 1 / (hit.index(True) + 1) if any(hit) else 0.0
    return {
        "recall": hits / len(truth),
        "recall_capped": hits / most,
        "precision": hits / k,
        "hr": float(hits > 0),
        "map": precisions / len(truth),
        "map_capped": precisions / most,
    }[kind]


def rank_plain(row, target, hidden, ties):
    """Rank of candidate ``target`` among those not hidden, ties by the rule."""
    rivals = [score for c, score in enumerate(row) if c not in hidden and c != target]
    above = sum(score > row[target] for score in rivals)
    level = sum(score == row[target] for score in rivals)
    return 1 + above + {"optimistic": 0, "realistic": level / 2, "pessimistic": level}[ties]


# hyperbolic geometry


def hyperbolic_distance_plain(x, y, curvature, digits=150):
    """Squared Lorentzian and geodesic distance of two space parts, by acosh in long decimals.

    The arguments are taken as the exact numbers that they are, whatever their precision.
    """
    with decimal.localcontext() as context:
        context.prec = digits
        space = [[decimal.Decimal(float(number)) for number in z] for z in (x, y)]
        beta = -1 / decimal.Decimal(float(curvature))
        heights = [(beta + sum(number * number for number in z)).sqrt() for z in space]
        cross = sum(a * b for a, b in zip(*space, strict=True))
        cosh = max((heights[0] * heights[1] - cross) / beta, decimal.Decimal(1))
        geodesic = beta.sqrt() * (cosh + (cosh * cosh - 1).sqrt()).ln()
        return float(2 * beta * (cosh - 1)), float(geodesic)


def boost_plain(velocity):
    """The Lorentz boost by a velocity of length below 1: a matrix on (time, space)."""
    speed_squared = velocity.square().sum()
    gamma = (1 - speed_squared).rsqrt()
    matrix = torch.eye(len(velocity) + 1, dtype=velocity.dtype)
    matrix[0, 0] = gamma
    matrix[0, 1:] = matrix[1:, 0] = -gamma * velocity
    matrix[1:, 1:] += (gamma - 1) * torch.outer(velocity, velocity) / speed_squared
    return matrix


# low rank


def matrix_of_spectrum(m, n, values, generator):
    """An m x n matrix of these singular values, with random singular vectors."""
    left = torch.linalg.qr(torch.randn(m, len(values), generator=generator, dtype=values.dtype)).Q
    right = torch.linalg.qr(torch.randn(n, len(values), generator=generator, dtype=values.dtype)).Q
    return (left * values) @ right.T


def best_of_rank(matrix: Tensor, rank: int) -> Tensor:
    """The nearest matrix of that rank, by a full SVD."""
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    return (left[:, :rank] * values[:rank]) @ right[:rank]


def coala_plain(weights: Tensor, inputs: Tensor, rank: int, ridge: float) -> Tensor:
    """What COALA minimizes over, by the root of the inputs' Gram matrix and its inverse."""
    gram = inputs.T @ inputs + ridge * torch.eye(inputs.shape[1], dtype=inputs.dtype)
    values, vectors = torch.linalg.eigh(gram)
    root = (vectors * values.sqrt()) @ vectors.T
    return best_of_rank(weights @ root, rank) @ torch.linalg.inv(root)


def coala_loss(weights: Tensor, approximation: Tensor, inputs: Tensor, ridge: float) -> Tensor:
    """Root of |(W - W') X^T|^2 + ridge |W - W'|^2."""
    gone = weights - approximation
    return ((gone @ inputs.T).square().sum() + ridge * gone.square().sum()).sqrt()


def tangent_projection(build, parameters, ambient):
    """Nearest to ``ambient`` in the range of the Jacobian of ``build`` at ``parameters``, dense."""
    jacobians = torch.autograd.functional.jacobian(build, parameters)
    columns = torch.cat([part.flatten(0, ambient.ndim - 1).flatten(1) for part in jacobians], 1)
    basis, values, _ = torch.linalg.svd(columns, full_matrices=False)
    basis = basis[:, values > 1e-10 * values[0]]
    return (basis @ (basis.T @ ambient.flatten())).reshape(ambient.shape)


def injective_norm_by_search(core: Tensor, angles: int) -> float:
    """Largest T(x, y, z) for a first side of 2: x by a grid of angles, the rest by an SVD."""
    angle = torch.arange(angles, dtype=core.dtype) * (math.pi / angles)
    x = torch.stack([angle.cos(), angle.sin()])
    return float(torch.linalg.matrix_norm(torch.einsum("abc,ai->ibc", core, x), 2).max())


class RiemannionPlain:
    """The rule of ``hyperrank.riemannion.Riemannion`` on a dense matrix, all by full SVDs."""

    def __init__(self, matrix, rank, lr, momentum, weight_decay=0.0):
        self.matrix, self.rank, self.lr = matrix, rank, lr
        self.momentum, self.shrink = momentum, 1 - lr * weight_decay
        self.last = torch.zeros_like(matrix)

    def step(self, slope):
        """One step; returns the direction D."""
        left, _, right = torch.linalg.svd(self.matrix, full_matrices=False)
        rows, columns = left[:, : self.rank], right[: self.rank].T
        rows, columns = rows @ rows.T, columns @ columns.T

        def projected(a):
            return rows @ a + a @ columns - rows @ a @ columns

        self.last = self.momentum * projected(self.last) + projected(slope)
        left, values, right = torch.linalg.svd(self.last, full_matrices=False)
        kept = values > 1e-12 * values[0]
        along = projected(left[:, kept] @ right[kept])
        self.matrix = best_of_rank(self.shrink * self.matrix - self.lr * along, self.rank)
        return along


# norms


def adaptive_power_row(matrix, start, iterations):
    """Row at which the adaptive power method for the 2-to-infinity norm settles.

    x -> y = A x -> j = argmax |y| -> x = A^T e_j; arXiv:2508.04444 shows why it is not enough.
    """
    x = start
    for _ in range(iterations):
        row = int((matrix @ x).abs().argmax())
        x = matrix[row]
    return row


def xrownorm_plain(matrix, probes):
    """The leave-one-out estimate, each probe's subspace computed from scratch."""
    total = torch.zeros(len(matrix), dtype=matrix.dtype)
    for i in range(probes.shape[1]):
        others = probes[:, [j for j in range(probes.shape[1]) if j != i]]
        basis = torch.linalg.qr(matrix.T @ (matrix @ others)).Q
        rest = probes[:, i] - basis @ (basis.T @ probes[:, i])
        total += (matrix @ basis).square().sum(1) + (matrix @ rest).square()
    return total / probes.shape[1]


def golub_kahan_plain(matrix, start, products):
    """Entries of the bidiagonal after so many products: images made orthonormal, then projected."""
    even, odd = [start / start.norm()], []
    for step in range(products):
        source, target = (even, odd) if step % 2 == 0 else (odd, even)
        image = (matrix if step % 2 == 0 else matrix.T) @ source[-1]
        for vector in target * 3:
            image = image - vector * (vector @ image)
        target.append(image / image.norm())
    entries = []
    for step in range(products):
        left, right = odd[step // 2], even[(step + 1) // 2]
        entries.append(float(left @ matrix @ right))
    return entries


# orthogonalization


def best_odd_error(a, b, degree):
    """Least maximal |p - 1| on [a, b] over odd polynomials, by linear programming on a grid."""
    import numpy as np
    from scipy.optimize import linprog

    even = np.linspace(0, 1, 2000)
    x = np.unique(np.concatenate([a + (b - a) * even, a * (b / a) ** even]))
    powers = (x[:, None] / b) ** np.arange(1, degree + 1, 2)
    ones = np.ones((len(x), 1))
    rows = np.block([[powers, -ones], [-powers, -ones]])
    bounds = np.concatenate([np.ones(len(x)), -np.ones(len(x))])
    cost = np.zeros(powers.shape[1] + 1)
    cost[-1] = 1
    free = [(None, None)] * len(cost)
    return float(linprog(cost, A_ub=rows, b_ub=bounds, bounds=free, method="highs").fun)


def polar_plain(x):
    """U V^T from the singular value decomposition in float64."""
    left, _, right = torch.linalg.svd(x.double(), full_matrices=False)
    return left @ right


def group_shuffle_plain(blocks):
    """The dense Q of ``hyperrank.group_shuffle``: block-diagonal matrices and a permutation."""
    factors, groups, size = blocks.shape[:3]
    n = groups * size
    shuffle = torch.zeros(n, n, dtype=blocks.dtype)
    for group in range(groups):
        for place in range(size):
            shuffle[place * groups + group, group * size + place] = 1
    q = torch.block_diag(*blocks[0])
    for factor in blocks[1:]:
        q = torch.block_diag(*factor) @ shuffle @ q
    return torch.linalg.matrix_power(shuffle.T, factors - 1) @ q


def muon_plain(start, slopes, *, lr, weight_decay, momentum, nesterov, match_rms):
    """Muon's formula with exact polar factors."""
    weight, average = start.clone(), torch.zeros_like(start)
    rows, columns = start.shape
    size = 0.2 * math.sqrt(max(rows, columns)) if match_rms else math.sqrt(max(1, rows / columns))
    for slope in slopes:
        average = momentum * average + (1 - momentum) * slope
        ahead = momentum * average + (1 - momentum) * slope if nesterov else average
        weight = (1 - lr * weight_decay) * weight - lr * size * polar_plain(ahead)
    return weight


# TriplH


def triangle_plain(x, y):
    """T of two space parts by its definition, (1 - <x, y>_L - x0 - y0) / (x0 y0)."""
    x0, y0 = ((1 + z.square().sum(-1)).sqrt() for z in (x, y))
    return (1 - ((x * y).sum(-1) - x0 * y0) - x0 - y0) / (x0 * y0)


def tetrahedron_plain(u, p, n, a, c, d):
    """The released z of one user, positive and negative; the user as released, not reflected."""
    u0, p0, n0 = ((1 + z.square().sum()).sqrt() for z in (u, p, n))
    liked = 1 + u0 * p0 - u @ p - n0
    other = 1 + u0 * n0 - u @ n - p0
    items = 1 + p0 * n0 - p @ n - p0 - n0 - u0
    return (a * liked - a * other - c * items + d) / (u0 * p0 + u0 * n0 + p0 * n0)


def triplh_released_loss(users, items, triples, a, c, d, penalty):
    """Mean loss of the released triangle variant over (user, positive, negative) triples."""
    total, squares = torch.zeros(()), torch.zeros(())
    for user, positive, negative in triples:
        u, p, n = users[user], items[positive], items[negative]
        z = a * triangle_plain(u, p) - a * triangle_plain(u, n) - c * triangle_plain(p, n) - d
        total = total - torch.sigmoid(z).log()
        squares = squares + (p @ n) ** 2
    return total / len(triples) + penalty * squares


def triplh_released_negatives(users, items, query, noise):
    """The released line: for each user the item of least cosh d + noise, item by item."""
    chosen = []
    for row, user in enumerate(query.tolist()):
        u0, best = (1 + users[user].square().sum()).sqrt(), (math.inf, -1)
        for item, v in enumerate(items):
            cosh = u0 * (1 + v.square().sum()).sqrt() - users[user] @ v
            best = min(best, ((cosh + noise[row, item]).item(), item))
        chosen.append(best[1])
    return torch.tensor(chosen)


def softmax_plain(positive, negative, position):
    """Sum over positives of -log of their share of the exponentials, one by one."""
    total = torch.zeros((), dtype=positive.dtype)
    for score, row in zip(positive, position.tolist(), strict=True):
        total = total - (score.exp() / (score.exp() + negative[row].exp().sum())).log()
    return total
