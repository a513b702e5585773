"""Recommendations for every user, in Parquet parts that many processes write, none twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from hyperrank.durable import agree
from hyperrank.parts import Parts, check_shard, write_parts
from hyperrank.questions import whole
from hyperrank.retrieval import top_k

USERS_PER_PART = 20_000  # seconds of work: what a kill can lose


def score_all(
    model: Any,
    folder: str | Path,
    *,
    digest: str,
    k: int = 20,
    exclude_seen: bool = True,
    shard: tuple[int, int] = (1, 1),
    users_per_part: int = USERS_PER_PART,
    progress: bool = False,
) -> Parts:
    """Writes the ``k`` best items of all users; columns user, item, score, rank.

    Part p holds the users of rows ``p * users_per_part`` and on; see ``hyperrank.parts``.

    Args:
        model: A fitted recommender.
        folder: Where the parts go; made if it is not there.
        digest: Of the saved model. Parts of different models, ``k`` or ``exclude_seen`` never mix.
        k: Most items per user, any size; fewer where fewer are left.
        exclude_seen: Whether items of the user's history are left out.
        shard: Which share of the work, from 1, and of how many.
        users_per_part: Taken from the folder where there are parts already.
        progress: Whether to show a bar on stderr.

    Raises:
        ValueError: If ``shard`` is out of range, ``k`` below 1, or ``folder`` holds something else.
    """
    check_shard(shard)
    n_users, n_items = len(model.users_), len(model.items_)
    k = min(whole("k", k), n_items)
    place = Path(folder)
    wanted = {
        "model": digest,
        "k": k,
        "exclude_seen": exclude_seen,
        "n_users": n_users,
        "users_per_part": users_per_part,
    }
    size = agree(place, wanted, free=["users_per_part"])["users_per_part"]
    columns = _Columns(model)

    def best(part: int) -> pa.Table:
        rows = torch.arange(part * size, min((part + 1) * size, n_users))
        return columns.best(rows, k, exclude_seen)

    total = -(-n_users // size)
    return write_parts(
        place, total, best, digest=digest, shard=shard, what="recommend", progress=progress
    )


class _Columns:
    """Ids of a model as Arrow columns, and tables of its best items made of them."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.users, self.items = (
            vocabulary.to_arrow().column(0).combine_chunks()
            for vocabulary in (model.users_, model.items_)
        )

    def best(self, rows: torch.Tensor, k: int, exclude_seen: bool) -> pa.Table:
        """The table of these users' best items, best first."""
        model = self.model
        known = model.seen_ if exclude_seen else None
        found = top_k(model.scorer_, rows, k, known=known)
        kept = found.candidates >= 0
        rank = torch.arange(1, k + 1, device=kept.device).expand_as(kept)
        user, item, score, rank = (
            pa.array(column[kept].cpu().numpy())
            for column in (
                rows.to(kept.device)[:, None].expand_as(kept),
                found.candidates,
                found.scores,
                rank,
            )
        )
        columns = {
            "user": self.users.take(user),
            "item": self.items.take(item),
            "score": score,
            "rank": rank,
        }
        return pa.table(columns)
