"""What a fitted recommender is asked, as frames: ids in, ids out."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from hyperrank import identifiers, scorers
from hyperrank.pairs import PairSet
from hyperrank.questions import backend_of, column_of, whole
from hyperrank.retrieval import TopK, top_k
from hyperrank.tables import to_backend
from hyperrank.vocabulary import Vocabulary

Unknown = Literal["raise", "skip", "popular"]


class Asked(NamedTuple):
    """Distinct users of a question, in order of first appearance."""

    ids: Any  # NumPy vector
    rows: Int[Tensor, " n"]  # -1 for a user the model does not know
    backend: str  # the kind of frame to answer with


def recommended(
    model: Any, users: Any, k: int, exclude_seen: bool, candidates: Any, unknown: Unknown
) -> Any:
    """The ``k`` best items of each user; see ``Recommender.recommend``."""
    scorer = model._fitted("scorer_")
    limit = min(whole("k", k), len(model.items_))
    asked = asked_of(model, users, unknown)
    allowed = _allowed(model, candidates)
    known = model.seen_ if exclude_seen else None
    found = _empty(len(asked.rows), limit)
    there = asked.rows >= 0
    query = asked.rows[there].to(model.seen_.device)
    _fill(found, there, top_k(scorer, query, limit, known=known, allowed=allowed))
    if unknown == "popular" and not bool(there.all()):
        popular = scorers.Constant(model.seen_.candidate_degrees.float())
        anyone = torch.zeros(1, dtype=torch.int64, device=model.seen_.device)
        _fill(found, ~there, top_k(popular, anyone, limit, allowed=allowed))
    return _ranked(("user", asked.ids), found, ("item", model.items_), asked.backend)


def similar(model: Any, scorer: Any, word: str, ids: Vocabulary, asked: Any, k: int) -> Any:
    """The ``k`` nearest to each of those asked for, by a scorer of them all."""
    limit = min(whole("k", k), len(ids))
    distinct = identifiers.distinct_ids(column_of(asked, word))[1].values
    rows = ids.rows(distinct).to(model.seen_.device)
    every = torch.arange(len(ids), device=rows.device)
    itself = PairSet(every * len(ids) + every, len(ids), len(ids))
    with torch.no_grad():
        found = top_k(scorer, rows, limit, known=itself)
    found = TopK(found.candidates.cpu(), found.scores.cpu())
    return _ranked((word, distinct), found, ("similar", ids), backend_of(asked) or model.backend_)


def explained(model: Any, user: Any, item: Any) -> Any:
    """The user's history by what each item adds; see ``Recommender.explain``."""
    scorer, device = model._fitted("scorer_"), model.seen_.device
    query, target = model.users_.rows([user]).to(device), model.items_.rows([item]).to(device)
    history = model.seen_.rows(query)[1]
    share = scorer.contributions(query, target, history)
    order = torch.argsort(share, descending=True, stable=True)
    columns = {
        "item": model.items_.take(history[order]),
        "contribution": share[order].cpu().numpy(),
    }
    return to_backend(columns, model.backend_)


def asked_of(model: Any, users: Any, unknown: Unknown) -> Asked:
    """The users of a question, all of the model's for None.

    Raises:
        ValueError: If ``unknown`` is no such switch.
        UnknownIdError: If a user is unknown and ``unknown`` is "raise".
    """
    if unknown not in ("raise", "skip", "popular"):
        raise ValueError(f"unknown must be 'raise', 'skip' or 'popular', got {unknown!r}")
    if users is None:
        return Asked(model.users_.ids, torch.arange(len(model.users_)), model.backend_)
    ids = identifiers.distinct_ids(column_of(users, "user"))[1].values
    rows = model.users_.rows(ids, unknown="raise" if unknown == "raise" else "mark")
    return Asked(ids, rows, backend_of(users) or model.backend_)


def _allowed(model: Any, candidates: Any) -> Int[Tensor, " m"] | None:
    if candidates is None:
        return None
    rows = np.unique(model.items_.rows(column_of(candidates, "item")).numpy())
    if not len(rows):
        raise ValueError("candidates is empty; give item ids, or None for all items")
    return torch.from_numpy(rows).to(model.seen_.device)


def _ranked(
    asked: tuple[str, Any], found: TopK, answers: tuple[str, Vocabulary], backend: str
) -> Any:
    """Lists as rows, a column of ids for each side by its name."""
    there = found.candidates >= 0
    position, place = torch.nonzero(there, as_tuple=True)
    columns = {
        asked[0]: asked[1][position.numpy()],
        answers[0]: answers[1].take(found.candidates[there]),
        "score": found.scores[there].numpy(),
        "rank": place.numpy() + 1,
    }
    return to_backend(columns, backend)


def _empty(n: int, k: int) -> TopK:
    return TopK(torch.full((n, k), -1), torch.full((n, k), -torch.inf))


def _fill(found: TopK, where: Tensor, part: TopK) -> None:
    """Writes ``part`` into the rows ``where``; one row of it serves them all."""
    for target, piece in zip(found, part, strict=True):
        target[where] = piece.to(target.device, target.dtype)
