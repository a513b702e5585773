"""Questions put to a link predictor: which rows they are of, what is known, how they are scored."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from hyperrank.questions import column_of
from hyperrank.vocabulary import Vocabulary


class Asked(NamedTuple):
    """Questions, one a row: which entities complete (anchor, directed relation)."""

    anchor: Int[Tensor, " n"]
    relation: Int[Tensor, " n"]  # r asks for the tails of a head, r + n_relations for heads


class AskedScorer(nn.Module):
    """Questions by their position, as a scorer of ``hyperrank.retrieval``."""

    def __init__(self, module: Any, asked: Asked) -> None:
        super().__init__()
        self.module, self.asked = module, asked

    def score(self, query: Int[Tensor, " b"]) -> Float[Tensor, "b n"]:
        """Logits of all entities."""
        module: Any = self.module
        scores: Tensor = module.score(self.asked.anchor[query], self.asked.relation[query])
        return scores


def rows_of(known: Vocabulary, ids: Any, word: str) -> Int[Tensor, " n"]:
    """Row number of each id in a column, or in the column ``word`` of a frame.

    Raises:
        UnknownIdError: If an id is unknown; it says which as, and the closest known.
        TypeError: If the ids are of another kind than the known ones.
        ValueError: If an id is missing, or the frame has no such column.
    """
    try:
        return known.rows(column_of(ids, word))
    except (ValueError, TypeError) as error:
        raise type(error)(f"{word}: {error}") from None


def first_places(keys: Int[Tensor, " n"]) -> Int[Tensor, " m"]:
    """Where each distinct key appears first, in order of appearance."""
    first = np.unique(keys.cpu().numpy(), return_index=True)[1]
    return torch.from_numpy(np.sort(first)).to(keys.device)
