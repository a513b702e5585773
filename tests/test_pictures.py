"""Plots are drawn from what a replay found, and written whole."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_replay import EVERY, log, made, walked

from recsys import PureSVD
from recsys.pictures import _pooled, price, price_list, span

pytest.importorskip("matplotlib")


@pytest.mark.parametrize(
    ("name", "start"), [("a.png", b"\x89PNG"), ("b/c.svg", b"<?xml"), ("d.PDF", b"%PDF")]
)
def test_the_price_list_is_drawn(name: str, start: bytes, tmp_path: Path) -> None:
    found = walked(made(), PureSVD(dim=4), policies=EVERY)
    price_list(found, tmp_path / name, "a title")
    assert (tmp_path / name).read_bytes().startswith(start)
    assert not list(tmp_path.rglob("*.writing"))


def test_dates_and_other_frames_are_drawn(tmp_path: Path) -> None:
    pytest.importorskip("polars")
    from recsys.replay import replay

    frame = log(made()).to_frame("polars")
    found = replay(type(log(made())).from_frame(frame, time="time"), PureSVD(dim=4), every="1m")
    price_list(found, tmp_path / "a.svg")
    drawn = (tmp_path / "a.svg").read_text()
    for name in ("none", "popularity", "update", "refit"):
        assert f"<!-- {name} -->" in drawn
    assert "1970-Jan-01" in drawn


def test_many_slices_are_pooled(tmp_path: Path) -> None:
    from recsys.replay import replay

    found = replay(log(made()), PureSVD(dim=4), start=500, every=2, policies=["none"])
    assert len(found.slices) == 50
    price_list(found, tmp_path / "a.svg")
    assert "NDCG@10 of every 2 slices" in (tmp_path / "a.svg").read_text()
    rows = found.slices.assign(users=[3, 1, 0] + [1] * 47)
    opening, value = _pooled(rows, "ndcg@10", 3)
    first = rows["ndcg@10"][:2].tolist()
    assert (len(value), opening.iloc[1]) == (17, 506)
    assert value.iloc[0] == pytest.approx((3 * first[0] + first[1]) / 4)


def test_spans_and_prices() -> None:
    assert [span(s) for s in (0, 0.5, 59, 60, 5400, 86_400, 2e6)] == [
        "0 s", "0.5 s", "59 s", "1 min", "1.5 h", "1 d", "23.1 d"
    ]  # fmt: skip
    assert price({"seconds": 90.0, "age": 7200.0}, dates=True) == "1.5 min, 2 h old"
    assert price({"seconds": 0.0, "age": 29.5}, dates=False) == "0 s, 29.5 old"
