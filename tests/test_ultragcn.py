"""UltraGCN as an estimator: what it learns, stops at, and refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from hyperrank import store
from hyperrank.pairs import pair_set
from recsys.bpr import BPRMF
from recsys.interactions import Interactions
from recsys.ultragcn import UltraGCN

SMALL = {"dim": 8, "epochs": 15, "batch_size": 16, "negatives": 40, "negative_weight": 20.0}


def own_parity(model: Any, k: int = 5) -> float:
    """Share of recommendations on the checkerboard that are of the user's parity."""
    frame = model.recommend(k=k)
    return float((frame["user"] % 2 == frame["item"] % 2).mean())


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"batch_by": "pairs", "batch_size": 64},
        {"shared_negatives": False, "negatives": 5, "reject": 2},
        {"negative_power": 0.5, "negatives": 10},
        {"init": "normal", "init_scale": 0.3, "epochs": 80, "lr": 0.05},
        {"item_formula": "paper", "item_weight": 0.5},
        {"include_self": False, "item_weight": 0.5},
        {"precision": "bf16"},
        {"precision": "tf32"},
        {"item_weight": 0.0, "l2": 0.0, "lr_decay": False},
    ],
    ids=str,
)
def test_every_way_learns_the_checkerboard(change: dict, checkerboard: Interactions) -> None:
    model = UltraGCN(**{**SMALL, **change}).fit(checkerboard)
    assert own_parity(model) > 0.95
    assert model.history_[-1] < model.history_[0]


@pytest.mark.parametrize("kind", [UltraGCN, BPRMF])
def test_early_stopping_keeps_the_best_epoch(
    kind: Any, checkerboard: Interactions, tmp_path: Path
) -> None:
    train, held_out = checkerboard.split_random(0.2, random_state=0)
    model = kind(dim=8, epochs=12, batch_size=32, evaluate_every=2, patience=1)
    model.fit(train, held_out)
    record = dict(model.validation_history_)
    assert model.best_epoch_ in record
    assert record[model.best_epoch_] == max(record.values())
    store.save(model, tmp_path / "model")
    loaded = store.load(tmp_path / "model")
    assert loaded.history_ == model.history_
    assert loaded.validation_history_ == model.validation_history_
    again = kind(dim=8, epochs=12, batch_size=32).fit(train)
    assert again.best_epoch_ == 12
    assert again.validation_history_ == []


def test_a_run_shorter_than_a_look_is_looked_at(checkerboard: Interactions) -> None:
    train, held_out = checkerboard.split_random(0.2, random_state=0)
    model = UltraGCN(**{**SMALL, "epochs": 2}).fit(train, held_out)
    assert [epoch for epoch, _ in model.validation_history_] == [2]
    assert model.best_epoch_ == 2


@pytest.mark.parametrize(
    ("walk", "n_rows", "expected"),
    [
        ("users", 80, 1),
        ("users", 2_500, 10),
        ("users", 30_000, 120),
        ("users", 100_000, 128),
        ("users", 1_000_000, 500),
        ("pairs", 800_000, 512),
        ("pairs", 50_000_000, 5_000),
    ],
)
def test_small_logs_get_small_batches(walk: str, n_rows: int, expected: int) -> None:
    model = UltraGCN(batch_by=walk)
    assert model.rows_a_step(n_rows) == expected
    assert model.set_params(batch_size=7).rows_a_step(n_rows) == 7


def test_weights_matter_by_their_ratio_only(checkerboard: Interactions) -> None:
    frame = checkerboard.to_frame().loc[:, ["user", "item"]].assign(weight=2.0)
    plain = UltraGCN(**SMALL).fit(Interactions.from_frame(frame))
    weighted = UltraGCN(**SMALL).fit(Interactions.from_frame(frame, weight="weight"))
    users = checkerboard.users.ids
    torch.testing.assert_close(
        torch.tensor(plain.transform(users)), torch.tensor(weighted.transform(users))
    )


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"lr": 0.0}, "lr must be above 0, got 0.0"),
        ({"negatives": 0}, "negatives must be at least 1, got 0"),
        ({"reject": 1}, "cannot reject the known pairs of one row"),
        ({"monitor": "ndgc@20"}, "did you mean 'ndcg'"),
        ({"monitor": "gini@20"}, "a measure of what is true, one of recall, .* got 'gini@20'"),
        ({"batch_by": "rows"}, "one of 'users', 'pairs', got 'rows'"),
    ],
)
def test_bad_parameters_are_refused(wrong: dict, message: str, checkerboard: Interactions) -> None:
    with pytest.raises(ValueError, match=message):
        UltraGCN().set_params(**wrong).fit(checkerboard)


def test_one_user_and_one_item() -> None:
    log = Interactions.from_frame(
        __import__("pandas").DataFrame({"user": ["ann"], "item": ["tea"]})
    )
    model = UltraGCN(dim=2, epochs=2).fit(log)
    assert model.recommend(["ann"], exclude_seen=False)["item"].tolist() == ["tea"]
    assert not len(model.recommend(["ann"]))


@pytest.mark.gpu
def test_cuda_learns_what_the_cpu_learns(checkerboard: Interactions) -> None:
    for device in ("cpu", "cuda"):
        assert own_parity(UltraGCN(**SMALL, device=device).fit(checkerboard)) > 0.95


@pytest.mark.parametrize("kind", [UltraGCN, BPRMF])
def test_two_threads_repeat_to_the_bit(kind: Any, generator: torch.Generator) -> None:
    user, item = (torch.randint(400, (6_000,), generator=generator) for _ in range(2))
    log = Interactions.from_pairs(pair_set(user, item, n_queries=400, n_candidates=400))
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        one, other = (kind(epochs=1, dim=32, batch_size=100).fit(log) for _ in range(2))
    finally:
        torch.set_num_threads(before)
    for name, table in one.scorer_.state_dict().items():
        assert torch.equal(table, other.scorer_.state_dict()[name])
