"""A replay that was killed goes on where it stopped, and ends where it would have."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from test_replay import EVERY, MODELS, made, walked

from hyperrank import durable
from recsys import PureSVD
from recsys.recommender import Recommender

TIMED = ["seconds", "median_seconds"]


class KilledError(RuntimeError):
    """Stands for the end of the process."""


@pytest.fixture
def kill_at(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Stops a replay at the n-th fit of a model, from 1; 0 lets it be."""
    fit, count = Recommender.fit, [0, 0]

    def counted(self: Recommender, *logs: Any) -> Any:
        count[0] += 1
        if count[0] == count[1]:
            raise KilledError
        return fit(self, *logs)

    def arm(number: int) -> None:
        count[:] = [0, number]

    monkeypatch.setattr(Recommender, "fit", counted)
    return arm


@MODELS
def test_a_killed_replay_goes_on(
    model: Recommender, policies: list[str], tmp_path: Path, kill_at: Any
) -> None:
    settings: dict[str, Any] = {"policies": policies, "refit_every": 2}
    whole = walked(made(), model, **settings)
    out = tmp_path / "deep" / "out"
    for number in (2, 4, 3, 0):  # in the first slice, later on, and again
        kill_at(number)
        try:
            found = walked(made(), model, **settings, out=out, resume=out.exists())
        except KilledError:
            assert not list(out.rglob("*.writing"))
    for name in ("slices", "summary"):
        mine, other = (getattr(one, name) for one in (found, whole))
        timed = [column for column in TIMED if column in mine]
        pd.testing.assert_frame_equal(mine.drop(columns=timed), other.drop(columns=timed))
    assert sorted(path.name for path in out.iterdir() if path.name[0] != ".") == [
        "_parts.json", "slices"
    ]  # fmt: skip


def test_a_finished_replay_is_read_again(tmp_path: Path, kill_at: Any) -> None:
    out = tmp_path / "out"
    done = walked(made(), PureSVD(dim=4), policies=EVERY, out=out)
    kill_at(1)
    again = walked(made(), PureSVD(dim=4, device="cpu"), policies=EVERY, out=out, resume=True)
    pd.testing.assert_frame_equal(again.slices, done.slices)
    pd.testing.assert_frame_equal(again.summary, done.summary)
    assert again.fit_seconds == done.fit_seconds


def test_half_written_files_are_passed_over(tmp_path: Path, kill_at: Any) -> None:
    whole = walked(made(), PureSVD(dim=4), policies=EVERY)
    out = tmp_path / "out"
    kill_at(4)
    with pytest.raises(KilledError):
        walked(made(), PureSVD(dim=4), policies=EVERY, out=out)
    kill_at(0)
    last = max((out / "slices").iterdir())
    (last.parent / f".{last.name}.0-1.00.writing").write_bytes(last.read_bytes()[:99])
    (out / "models" / ".update-3.00.writing").mkdir()
    shutil.copytree(out / "models" / "start", out / "models" / "refit-9")
    found = walked(made(), PureSVD(dim=4), policies=EVERY, out=out, resume=True)
    pd.testing.assert_frame_equal(
        found.summary.drop(columns=TIMED), whole.summary.drop(columns=TIMED)
    )


def test_a_slice_without_news_is_read_again(tmp_path: Path) -> None:
    frame = made()
    frame.loc[frame.time.between(360, 419), ["user", "item"]] = frame.loc[
        0, ["user", "item"]
    ].tolist()
    settings: dict[str, Any] = {"policies": ["none", "update"], "out": tmp_path / "out"}
    done = walked(frame, PureSVD(dim=4), **settings)
    again = walked(frame, PureSVD(dim=4), **settings, resume=True)
    assert done.slices.users[2] == 0
    pd.testing.assert_frame_equal(again.slices, done.slices)


def test_a_part_tells_who_was_shown_what(tmp_path: Path) -> None:
    frame = made()
    found = walked(frame, PureSVD(dim=4), policies=["none", "update"], out=tmp_path / "out", k=7)
    table = pq.read_table(tmp_path / "out" / "slices")
    assert table.column_names == ["policy", "user", "ndcg@7", "items"]
    rows = table.to_pandas()
    assert set(rows.user) <= set(frame.user)
    assert rows.groupby("policy")["ndcg@7"].mean().tolist() == pytest.approx(
        found.summary["ndcg@7"].tolist()
    )
    assert set(rows["items"].map(len)) == {7}


def test_other_settings_are_refused(tmp_path: Path) -> None:
    out = tmp_path / "out"
    walked(made(), PureSVD(dim=4), policies=["none"], out=out)
    with pytest.raises(FileExistsError, match=r"out exists already; .* resume=True \(--resume\)"):
        walked(made(), PureSVD(dim=4), policies=["none"], out=out)
    for name, changed in {
        "k": {"k": 3},
        "policies": {"policies": ["update"]},
        "refit_every": {"refit_every": 2},
        "params": {"model": PureSVD(dim=5)},
        "log and slices": {"frame": made(seed=1)},
    }.items():
        settings: dict[str, Any] = {"frame": made(), "model": PureSVD(dim=4), "policies": ["none"]}
        with pytest.raises(ValueError, match=f"holds parts of another run: {name} is"):
            walked(**settings | changed, out=out, resume=True)
    assert json.loads((out / durable.CONTENTS).read_text())["model"] == "PureSVD"
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").touch()
    with pytest.raises(ValueError, match=r"photos holds other files, such as cat\.jpg"):
        walked(made(), PureSVD(dim=4), policies=["none"], out=tmp_path / "photos", resume=True)


def test_two_writers_are_kept_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durable, "LOCK_SECONDS", 0.05)
    with (
        durable.sole_writer(tmp_path / "out"),
        pytest.raises(TimeoutError, match="another process has been writing"),
    ):
        walked(made(), PureSVD(dim=4), policies=["none"], out=tmp_path / "out")
