"""The record of what is known: news join it, repeats add up, sides are read off."""

from __future__ import annotations

import pandas as pd
import torch

from recsys import Interactions
from recsys.histories import Record


def test_news_join_and_repeats_add_up() -> None:
    old = Interactions.from_frame(
        pd.DataFrame({"user": [0, 0, 1], "item": [0, 1, 1], "w": [1.0, 2.0, 3.0]}), weight="w"
    )
    new = Interactions.from_frame(
        pd.DataFrame({"user": [1, 2], "item": [1, 2], "w": [5.0, 4.0]}), weight="w"
    )
    record = Record(old.pairs, old.weight, 2.0)
    news = new.reindex(old.users.extend(new.users.ids), old.items.extend(new.items.ids))
    joined = record.joined(news)
    expected = torch.tensor([[0.5, 1.0, 0], [0, 4.0, 0], [0, 0, 2.0]])
    matrix = joined.matrix()
    torch.testing.assert_close(matrix @ torch.eye(3), expected)
    degree = joined.seen.candidate_degrees
    users = joined.of_users(torch.tensor([2, 0]), degree)
    torch.testing.assert_close(users.pairs @ torch.eye(3), expected[[2, 0]])
    items = joined.of_items(torch.tensor([1]), joined.seen.query_degrees)
    torch.testing.assert_close(items.pairs @ torch.eye(3), expected.T[[1]])
    part = joined.select(joined.seen.queries == 1)
    torch.testing.assert_close(
        part.matrix() @ torch.eye(3), expected * torch.tensor([[0], [1], [0]])
    )
    assert len(record.seen) == 3  # as it was
