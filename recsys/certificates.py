"""How far vectors may move and the lists of users stay."""

from __future__ import annotations

from typing import Any

from hyperrank.certificates import certified
from hyperrank.questions import backend_of, column_of, whole
from hyperrank.tables import to_backend


def certify(model: Any, users: Any, k: int, exclude_seen: bool) -> Any:
    """A frame of user and, for each, radii within which the list stays, in the order asked.

    - ``radius``: the set of the ``k`` best items stays while the vector that asks (the row of
      ``transform``) moves by less; tight: a change lies just beyond. 0 where two items tie at the
      k-th place. Infinite where no more than ``k`` items can be listed: then nothing can change.
    - ``relative_radius``: the same over the length of that vector.
    - ``radius_2k``: all ``k`` items stay among the first 2k; not tight.
    - ``global_radius``: ``radius`` from the smallest difference of scores and the longest item
      vector alone; not tight.
    - ``item_radius``: every item's vector may move by so much, the user's staying; tight.
    - ``joint_radius``: all vectors may; not tight.

    TriplH's vectors are the lifted ones. With geometry="triangle" lifting lengthens no move, so
    the radii hold for moves of free vectors too. ``hyperrank.certificates`` has the formulas.

    Args:
        model: A fitted recommender.
        users: A column of ids, or a frame with a column ``user``; None means all users.
        k: Length of the list.
        exclude_seen: Whether items of the user's training log are left out of it.

    Raises:
        TypeError: If the model's scores are no dot products of vectors.
        UnknownIdError: If a user is not in the training log.
        ValueError: If ``k`` is less than 1.
        NotFittedError: Before ``fit``.
    """
    factors, limit = model._factors(), whole("k", k)
    ids = model.users_.ids if users is None else column_of(users, "user")
    rows = model.users_.rows(ids)
    query = rows.to(model.seen_.device)
    known = model.seen_ if exclude_seen else None
    found = certified(factors, query, min(limit, len(model.items_)), known=known)
    columns = {
        "user": model.users_.take(rows),
        **found.columns(factors.queries[query], "item"),
    }
    return to_backend(columns, backend_of(users) or model.backend_)
