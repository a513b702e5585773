"""What updates stand on, as tensors of a saved model and back."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Bool
from torch import Tensor

from hyperrank.neighbours import Neighbours
from hyperrank.pairs import PairSet
from hyperrank.scorers import Factors
from recsys.updates import Base

DEGREES = ("user_degree", "item_degree")
News = tuple[Bool[Tensor, " n_users"], Bool[Tensor, " n_items"]]


def tensors_of(fit: Base, base: Base, news: News) -> dict[str, Tensor]:
    """What a folder keeps of the bases beside the model's tables, by name.

    Args:
        fit: That of the last full fit.
        base: That of the last sweep; ``fit`` itself without one.
        news: Which users and items have news since the fit.
    """
    tensors = {
        "fit.mean_user": fit.mean_user,
        "news.users": news[0],
        "news.items": news[1],
        **{f"fit.{name}": getattr(fit, name) for name in DEGREES},
    }
    if base is not fit:
        tensors |= {"fit.users": fit.users, "fit.items": fit.items}
        tensors |= {f"base.{name}": getattr(base, name) for name in DEGREES}
        tensors["base.users"] = base.users
    elif bool(news[0].any()):
        tensors["fit.users"] = fit.users
    tensors |= {
        f"{name}.totals": one.totals
        for name, one in (("fit", fit), ("base", base))
        if one.totals is not None
    }
    if base.neighbours is not None:
        near = base.neighbours._asdict()
        tensors |= {f"neighbours.{name}": part for name, part in near.items()}
    return tensors


def from_tensors(there: dict[str, Tensor], rows: Factors, seen: PairSet) -> tuple[Base, Base, News]:
    """The bases of the last full fit and of the last sweep, and what has news since the fit.

    Folders of earlier versions, of models not updated yet, lack most of ``there``.

    Args:
        there: Tensors of a folder.
        rows: The model's tables, as updates solve them.
        seen: All pairs so far.
    """
    parts = [there.get(f"neighbours.{name}") for name in Neighbours._fields]
    near = [part for part in parts if part is not None]
    users = there.get("fit.users", rows.queries)
    user_degree = there.get("fit.user_degree", seen.query_degrees)
    item_degree = there.get("fit.item_degree", seen.candidate_degrees)
    base = fit = Base(
        users,
        there.get("fit.items", rows.candidates[: len(item_degree)]),
        user_degree,
        item_degree,
        there.get("fit.mean_user", users.mean(0)),
        Neighbours(*near) if near else None,
        there.get("fit.totals"),
    )
    if "base.users" in there:
        base = replace(
            fit,
            users=there["base.users"],
            items=rows.candidates[: len(there["base.item_degree"])],
            user_degree=there["base.user_degree"],
            item_degree=there["base.item_degree"],
            totals=there.get("base.totals"),
            kept={},
        )
    news = (
        there.get("news.users", _differs(seen.query_degrees, user_degree)),
        there.get("news.items", _differs(seen.candidate_degrees, item_degree)),
    )
    return fit, base, news


def _differs(now: Tensor, then: Tensor) -> Tensor:
    """Which degrees are not what they were; later rows had none."""
    return now != torch.cat([then, then.new_zeros(len(now) - len(then))])
