"""Slow, obviously right versions of what rows of a table are solved by."""

from __future__ import annotations


def triplh_epoch_loss(users, items, liked, score, *, scale, l2, drawn, hidden):
    """TriplH's softmax over an epoch, negatives in expectation, user by user; ``liked`` is 0/1.

    ``drawn`` are the chances of items as negatives: those with none are none, the others count by
    one each. Where ``hidden``, a user's known items are no negatives.
    """
    total, n_pairs = 0.0, liked.sum()
    for user, known in zip(users, liked.bool(), strict=True):
        scores = scale * (score.items(items) @ score.users(user))
        negatives = (drawn > 0) & ~(known & hidden)
        rivals = scores[negatives].exp().sum()
        total = total + (1 + rivals / scores[known].exp()).log().sum()
        total = total + l2 / 2 * known.sum() * user.square().sum()
        total = total + l2 / 2 * items[known].square().sum()
    return total + l2 / 2 * n_pairs * (drawn * items.square().sum(1)).sum()
