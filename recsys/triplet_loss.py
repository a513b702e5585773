"""Losses of TriplH on scores, summed over positives (arXiv:2508.11978, as released and bounded).

Scores are higher where a user likes an item: the released code's T with users reflected, so that
its S is minus these. ``positive`` holds the score of each of p known pairs, ``negative`` those of
k items not known to be liked, and ``between`` the separation of the positive item from each of
them. Margins are always smooth: softplus(-z), where the released -log(sigmoid(z)) is infinite
below z = -88.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from recsys.triplet_scores import inverse_height

Scale = float | Float[Tensor, ""]


def triangle(
    positive: Float[Tensor, " p"],
    negative: Float[Tensor, "p k"],
    between: Float[Tensor, "p k"],
    *,
    scale: Scale = 1.0,
    item_weight: Scale = 0.0,
    margin: Scale = 0.0,
) -> Float[Tensor, ""]:
    """Sum over positives of the mean softplus(-z) over their negatives.

    z = scale (positive - negative) + item_weight between - margin. The released code's a, c and d
    are ``scale``, minus ``item_weight`` and ``margin``; with a learned margin the loss falls to 0
    without any change of order.
    """
    z = scale * (positive.unsqueeze(1) - negative) + item_weight * between - margin
    return nn.functional.softplus(-z).mean(1).sum()


def tetrahedron(
    user: Float[Tensor, "p d"],
    liked: Float[Tensor, "p d"],
    other: Float[Tensor, "p k d"],
    *,
    scale: Scale = 1.0,
    item_weight: Scale = 0.0,
    margin: Scale = 0.0,
) -> Float[Tensor, ""]:
    """Sum over positives of the mean softplus(-z) over their negatives, of free vectors.

    With lifted points (u0, u), (p0, p), (n0, n) and the user reflected, z is

        [a(1 + u0 p0 + <u, p> - n0) - a(1 + u0 n0 + <u, n> - p0)
         - c(1 + p0 n0 - <p, n> - p0 - n0 - u0) - d] / (u0 p0 + u0 n0 + p0 n0)

    a, -c and d as in ``triangle``. Both sides of the ratio are divided by u0 p0 n0, so that
    everything formed lies in a few units of 0. The released branch cannot run: it is given times
    where it wants vectors.
    """
    a, c = scale, -item_weight
    user, liked = user.unsqueeze(1), liked.unsqueeze(1)
    hu, hp, hn = (inverse_height(x) for x in (user, liked, other))
    ku, kp, kn = user * hu, liked * hp, other * hn
    up, un, pn = ((x * y).sum(-1, keepdim=True) for x, y in ((ku, kp), (ku, kn), (kp, kn)))
    fit = (1 + hu) * (hn - hp) + up * hn - un * hp
    items = hu * hp * hn + hu * (1 - pn - hn - hp) - hp * hn
    z = (a * fit - c * items - margin * hu * hp * hn) / (hu + hp + hn)
    return nn.functional.softplus(-z.squeeze(-1)).mean(1).sum()


def shared_softmax(
    positive: Float[Tensor, " p"],
    negative: Float[Tensor, "b k"],
    position: Int[Tensor, " p"],
) -> Float[Tensor, ""]:
    """Sum over positives of -log(e^s / (e^s + sum of e^negative over its row)).

    ``position`` is the row of ``negative`` of each positive. Every row's sum is made once, so a
    user with many positives costs no more than one. A negative of -inf is none; a row may have
    none.
    """
    return softmax(positive, nn.functional.embedding(position, _log_sums(negative)).squeeze(1))


def item_softmax(
    positive: Float[Tensor, " p"],
    negative: Float[Tensor, "p k"],
    between: Float[Tensor, "p k"],
    item_weight: Scale,
) -> Float[Tensor, ""]:
    """``shared_softmax`` with a row for each positive and ``item_weight between`` off its scores.

    With one negative this is ``triangle``.
    """
    return softmax(positive, _log_sums(negative - item_weight * between).squeeze(1))


def softmax(positive: Float[Tensor, " p"], log_sum: Float[Tensor, " p"]) -> Float[Tensor, ""]:
    """Sum of -log(e^s / (e^s + e^log_sum)) over positives."""
    return nn.functional.softplus(log_sum - positive).sum()


def _log_sums(scores: Float[Tensor, "b k"]) -> Float[Tensor, "b 1"]:
    """Log of the row sums of exponentials; the lowest number, with gradient 0, for an empty row."""
    floor = torch.finfo(scores.dtype).min
    return scores.clamp_min(floor).logsumexp(1, keepdim=True)


def log_odds_of_draw(chance: Float[Tensor, "*b k"], count: int) -> Float[Tensor, "*b k"]:
    """What to add to the scores of ``count`` drawn items so that their sums estimate all items'.

    -log(count * chance), the correction of sampled softmax (Bengio and Senecal 2008): the expected
    sum of exponentials is then that over the whole catalogue.
    """
    return -(count * chance).log()
