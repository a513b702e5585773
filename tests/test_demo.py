"""The demo runs from end to end, here on a small made year."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import demo.__main__ as script
from demo import groceries
from hyperrank import store
from recsys import Interactions


def made_year(share: float, households: int) -> groceries.Groceries:
    """Households of even numbers like even products."""
    del households
    rng = np.random.default_rng(0)
    user = np.tile(np.arange(60), 40)
    item = 2 * rng.integers(0, 60, len(user)) + user % 2
    time = pd.date_range("2017-01-01", periods=len(user), freq="3h")
    log = Interactions.from_frame(
        pd.DataFrame({"user": user, "item": item, "time": time}), time="time"
    )
    before, fresh = log.split_by_time(share)
    after = log.split_by_time(share, repeats="keep")[1]
    fresh, after = (part.reindex(before.users, before.items) for part in (fresh, after))
    products = pd.DataFrame(
        {"title": [f"Product {n}" for n in range(120)], "category": "FOOD", "department": "GROCERY"}
    )
    return groceries.Groceries(before, fresh, after, products, len(log), 0)


def test_the_demo_writes_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("implicit")
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(groceries, "load", made_year)
    monkeypatch.setattr(script, "BEST_SELLERS", 3)
    monkeypatch.setattr("sys.argv", ["demo", "--out", str(tmp_path)])
    script.main()
    said = capsys.readouterr().out
    assert all(f"\n{number}. " in said for number in range(1, 6))
    assert "the loaded model gives the same lists" in said
    assert "UltraGCN" in said
    for name in ("quality.png", "reach.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    assert set(pd.read_csv(tmp_path / "scores.csv").model) == set(script.models())
    assert len(store.load(tmp_path / "model").users_) == 60


def test_household_choice_looks_at_sizes_only() -> None:
    chosen = groceries.followed(made_year(0.9, 1))
    assert len(set(chosen)) == 3


def test_best_sellers_are_left_out() -> None:
    year = made_year(0.9, 1)
    rest = groceries.beyond_best_sellers(year.before, 5)
    counts = year.before.pairs.candidate_degrees.numpy()
    kept = year.before.items.rows(rest).numpy()
    assert len(rest) == year.before.n_items - 5
    assert counts[kept].max() <= np.sort(counts)[-5]
