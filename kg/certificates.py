"""How far vectors may move and the answers to questions stay."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hyperrank.certificates import certified, quotient
from hyperrank.questions import backend_of, whole
from hyperrank.scorers import Factors
from hyperrank.tables import to_backend

ROUNDING = 1e-9  # relative, of a singular value in float64
NUMBERS_AT_ONCE = 2**22  # of the matrices of relations


@torch.no_grad()
def certify(model: Any, heads: Any, relations: Any, k: int, tails: Any, exclude_known: bool) -> Any:
    """A frame of the question and radii within which its list of answers stays, as asked.

    A logit is the product of a vector y, made of the given entity and the relation, and the vector
    of the answer; MIG-TF's hyperbolic term is added and stays.

    - ``radius``: the set of the ``k`` best answers stays while y moves by less; tight: a change
      lies just beyond. 0 where two answers tie at the k-th place. Infinite where no more than ``k``
      can be listed: then nothing can change.
    - ``relative_radius``: the same over the length of y.
    - ``radius_2k``: all ``k`` answers stay among the first 2k; not tight.
    - ``global_radius``: ``radius`` from the smallest difference of logits and the longest entity
      vector alone; not tight.
    - ``answer_radius``: the vectors of all answers may move by so much, y staying; tight.
    - ``joint_radius``: y and all answers may; not tight.
    - ``entity_radius``: the vector of the given entity may, where it is given (as an answer it
      stays): ``radius`` over the largest singular value of what makes y of it, which is linear but
      for a constant. Tight where y's worst move is along that singular vector.

    Args:
        model: A fitted TuckER or MIG-TF.
        heads: A column of ids, or a frame with a column ``head``.
        relations: Likewise, ``relation``; one for each question.
        k: Length of the list.
        tails: As ``heads``, in its place: then the heads are asked for.
        exclude_known: Whether answers among the training facts are left out.

    Raises:
        TypeError: If the model's logits are no products of vectors.
        ValueError: If not one of ``heads`` and ``tails`` is given, the columns differ in length or
            ``k`` is less than 1.
        UnknownIdError: If an entity or a relation is not in the training facts.
        NotFittedError: Before ``fit``.
    """
    module = model._fitted("module_")
    if not hasattr(module, "answering"):
        raise TypeError(
            f"the logits of {type(model).__name__} are no products of vectors; use TuckER or MIGTF"
        )
    limit, asked = whole("k", k), model._asked("certify", heads, relations, tails)
    queries, entities = module.answering(*asked)
    term = getattr(module, "hyperbolic_term", None)
    found = certified(
        Factors(queries, entities),
        torch.arange(len(queries), device=queries.device),
        min(limit, len(entities)),
        known=model.facts_.lookup(*asked) if exclude_known else None,
        offset=None if term is None else lambda rows: term(*(column[rows] for column in asked)),
    )
    given, side = ("head", heads) if tails is None else ("tail", tails)
    columns = {
        given: model.entities_.take(asked.anchor),
        "relation": model.relations_.take(asked.relation % len(model.relations_)),
        **found.columns(queries, "answer"),
        "entity_radius": quotient(found.radius, _steepest(module, asked.relation)).cpu().numpy(),
    }
    return to_backend(columns, backend_of(side) or model.backend_)


def _steepest(module: Any, relation: Int[Tensor, " q"]) -> Float[Tensor, " q"]:
    """What a given entity's move is stretched by at most; one singular value of each relation."""
    distinct, place = relation.unique(return_inverse=True)
    each = max(NUMBERS_AT_ONCE // module.vectors().shape[1] ** 2, 1)
    norms = [torch.linalg.matrix_norm(module.slopes(rows), 2) for rows in distinct.split(each)]
    return torch.cat(norms)[place] * (1 + ROUNDING)
