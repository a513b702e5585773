"""Updates of stores: once, whole, one after the other; old folders; kills."""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
import sys
import threading
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hyperrank import generations, store, writers
from recsys import Interactions, Popularity, UltraGCN
from recsys.event_tables import from_table, to_table
from recsys.store_updates import Outcome, Update, check_users
from recsys.updates import RefitRule

ROOT = Path(__file__).resolve().parent.parent
OLD = Path(__file__).resolve().parent / "stores"


def log(*pairs: tuple[Any, Any], **more: list[Any]) -> Interactions:
    frame = pd.DataFrame(list(pairs), columns=["user", "item"]).assign(**more)
    return Interactions.from_frame(frame, time="time" if "time" in more else None)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A plain folder with a model of ann, bob, cem and dee."""
    shutil.copytree(OLD / "format1", tmp_path / "shop")
    return tmp_path / "shop"


def take(folder: Path, *pairs: tuple[Any, Any], **settings: Any) -> Outcome:
    return Update(**settings).apply(folder, lambda model: log(*pairs))


def test_a_folder_of_the_first_format_loads_and_goes_on(shop: Path) -> None:
    assert store.describe(shop).format == 1
    model = store.load(shop)
    assert sorted(model.users_.ids) == ["ann", "bob", "cem", "dee"]
    assert list(model.recommend(["ann"], k=1).item) == ["tea"]
    assert generations.verify(shop) == []
    take(shop, ("eve", "tea"))
    assert store.load(shop).recommend(["eve"], k=5).shape[0] == 3


@pytest.mark.parametrize("name", ["versions1", "versions2"])
def test_a_store_of_an_older_format_of_versions_loads_and_goes_on(
    name: str, tmp_path: Path
) -> None:
    shutil.copytree(OLD / name, tmp_path / "shop")
    assert generations.verify(tmp_path / "shop") == []
    made = [made.version for made, _ in generations.versions(tmp_path / "shop")]
    assert made == [f"v{n + 1:06d}" for n in range(len(made))]
    formats = {"versions1": 1, "versions2": 2}
    assert store.describe(tmp_path / "shop").format == formats[name]
    assert not take(tmp_path / "shop", ("eve", "tea"), ("ann", "tea")).taken
    assert take(tmp_path / "shop", ("fay", "tea")).version == f"v{len(made) + 1:06d}"


def test_an_update_is_a_partial_fit(shop: Path) -> None:
    expected = store.load(shop)
    report = expected.partial_fit(log(("eve", "tea"), ("ann", "tea")))
    outcome = take(shop, ("eve", "tea"), ("ann", "tea"), check=2)
    assert (outcome.version, outcome.batch, outcome.taken, outcome.late) == ("v000002", 1, True, 0)
    assert outcome.report is not None
    assert outcome.report.to_dict() | {"seconds": 0} == report.to_dict() | {"seconds": 0}
    assert outcome.check is not None
    assert outcome.check.users == 2
    assert outcome.check.vector < 1e-3
    model = store.load(shop)
    np.testing.assert_array_equal(
        model.transform(["eve", "ann"]), expected.transform(["eve", "ann"])
    )
    assert generations.current(shop).report["pairs_added"] == 2


def test_the_same_events_again(shop: Path) -> None:
    take(shop, ("eve", "tea"), ("ann", "tea"))
    outcome = take(shop, ("ann", "tea"), ("eve", "tea"))
    assert (outcome.taken, outcome.batch, outcome.report) == (False, 1, None)
    again = take(shop, ("ann", "tea"), ("eve", "tea"), again=True)
    assert (again.version, again.batch) == ("v000003", 2)
    assert generations.verify(shop) == []


def test_only_tried(shop: Path) -> None:
    before = sorted(shop.parent.rglob("*"))
    outcome = take(shop, ("eve", "tea"), dry_run=True)
    assert (outcome.version, outcome.batch) == ("v000001", None)
    assert outcome.report is not None
    assert sorted(shop.parent.rglob("*")) == before


def test_later_and_earlier_events(shop: Path) -> None:
    def at(pair: tuple[str, str], *times: Any) -> Outcome:
        news = log(*[pair] * len(times), time=list(times))
        return Update().apply(shop, lambda model: news)

    assert at(("ann", "tea"), 10, 20).late == 0
    assert generations.current(shop).report["latest"] == [20.0, None]
    with pytest.warns(UserWarning, match="2 of 3 events are older than the latest of the batches"):
        assert at(("bob", "salt"), 5, 19, 20).late == 2
    assert generations.current(shop).report["latest"] == [20.0, None]
    with pytest.raises(ValueError, match="times are dates here and were plain numbers before"):
        at(("cem", "milk"), pd.Timestamp("2024-01-01"))
    take(shop, ("cem", "milk"))
    assert at(("dee", "bread"), 30).late == 0
    assert generations.current(shop).report["latest"] == [30.0, None]


def test_times_are_compared_to_the_microsecond(shop: Path) -> None:
    def at(*times: str) -> int:
        pairs = [("ann", "tea")] * len(times)
        news = log(*pairs, time=[pd.Timestamp(time) for time in times])
        return Update().apply(shop, lambda model: news).late

    assert at("2024-01-01 10:00:30") == 0
    with pytest.warns(UserWarning, match="1 of 3 events are older"):
        assert at("2024-01-01 10:00:29", "2024-01-01 10:00:30", "2024-01-01 10:00:31") == 1
    latest = generations.current(shop).report["latest"]
    assert latest == [pd.Timestamp("2024-01-01 10:00:31").value // 1000, "us"]


def test_a_link_that_is_moved_meanwhile(shop: Path) -> None:
    other, link = shop.parent / "other", shop.parent / "live"
    shutil.copytree(shop, other)
    link.symlink_to(shop)

    def events(model: Any) -> Interactions:
        link.unlink()
        link.symlink_to(other)
        return log(("eve", "tea"))

    Update().apply(link, events)
    assert generations.is_versioned(shop)
    assert not generations.is_versioned(other)


def test_an_update_stands_though_old_versions_stay(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any) -> None:
        raise OSError("Input/output error")

    monkeypatch.setattr(writers.Writer, "prune", refuse)
    message = (
        r"v000002 was made, but older versions could not be pruned \(Input/output error\); run"
    )
    with pytest.warns(UserWarning, match=message):
        assert take(shop, ("eve", "tea")).version == "v000002"


def test_what_is_refused(shop: Path, tmp_path: Path) -> None:
    before = sorted(shop.rglob("*"))
    store.save(Popularity().fit(log(("ann", "tea"))), tmp_path / "popular")
    with pytest.raises(TypeError, match=r"holds a Popularity, which cannot be updated; fit it ag"):
        take(tmp_path / "popular", ("eve", "tea"))
    with pytest.raises(ValueError, match="keep must be at least 2, got 1; readers need a moment"):
        take(shop, ("eve", "tea"), keep=1)
    with pytest.raises(TypeError, match="ids"):
        take(shop, (1, 2))
    with pytest.raises(ValueError, match="expected at least 1 user to check, got -1"):
        take(shop, ("eve", "tea"), check=-1)
    assert sorted(shop.rglob("*")) == before


def test_versions_are_pruned(shop: Path) -> None:
    for n in range(4):
        outcome = take(shop, (f"new {n}", "tea"), keep=2)
    assert outcome.pruned == ["v000003"]
    kept = [made.version for made, pruned in generations.versions(shop) if not pruned]
    assert kept == ["v000004", "v000005"]


def test_the_check_sees_a_wrong_row(shop: Path) -> None:
    model, news = store.load(shop), log(("eve", "tea"), ("ann", "tea"))
    model.partial_fit(news, RefitRule())
    assert check_users(model, news, 10).users == 2
    wrong = copy.deepcopy(model)
    wrong._factors().queries[model.users_.rows(["eve"])] += 0.5
    assert check_users(wrong, news, 10).vector > 0.1
    assert check_users(wrong, news, 10).score > 0.1


def test_many_updates_make_what_one_does(tmp_path: Path) -> None:
    source = np.random.default_rng(0)
    base = log(*zip(source.integers(0, 30, 200), source.integers(0, 20, 200), strict=True))
    news = list(zip(source.integers(0, 35, 40), source.integers(0, 22, 40), strict=True))
    store.save(UltraGCN(dim=4, epochs=3, device="cpu").fit(base), tmp_path / "m")
    shutil.copytree(tmp_path / "m", tmp_path / "n")
    for part in np.array_split(np.arange(40), 8):
        take(tmp_path / "m", *(news[n] for n in part))
    take(tmp_path / "n", *news)
    one, other = store.load(tmp_path / "m"), store.load(tmp_path / "n")
    users = sorted(one.users_.ids)
    np.testing.assert_allclose(one.transform(users), other.transform(users), atol=1e-3)
    assert len(one.seen_) == len(other.seen_)


def test_two_updates_at_once(shop: Path) -> None:
    outcomes: list[Outcome] = []

    def work(name: str) -> None:
        outcomes.extend(take(shop, (f"{name} {n}", "tea")) for n in range(5))

    threads = [threading.Thread(target=work, args=(name,)) for name in ("eve", "fay")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcome.batch or 0 for outcome in outcomes) == list(range(1, 11))
    users = set(store.load(shop).users_.ids)
    assert {f"{name} {n}" for name in ("eve", "fay") for n in range(5)} < users
    assert generations.verify(shop) == []


@pytest.mark.parametrize(
    "log_of_events",
    [
        log(("ann", 1), ("bob", 2)),
        log((uuid.UUID(int=1), (1, "a")), (uuid.UUID(int=2), (2, "b"))),
        log((2**70, b"x"), (1, b"y"), time=[1.5, 2.5]),
        log((1, 1), time=[pd.Timestamp("2024-01-01 10:00")]),
        Interactions.from_frame(
            pd.DataFrame({"user": [1, 1], "item": [1, 1], "w": [1.0, 2.0]}), weight="w"
        ),
    ],
    ids=["text", "objects", "bytes", "dates", "weights"],
)
def test_events_come_back_from_their_table(log_of_events: Interactions) -> None:
    table = to_table(log_of_events)
    back = from_table(table)
    mine = log_of_events.to_frame("pandas").astype(object).to_numpy().tolist()
    assert back.astype(object).to_numpy().tolist() == mine
    assert table.equals(to_table(log_of_events))


def test_the_log_holds_what_arrived(shop: Path) -> None:
    take(shop, ("eve", "tea"), ("ann", "tea"), notes={"source": "here"})
    ((batch, table),) = generations.log_of(shop).read({1})
    assert (batch.rows, batch.notes) == (2, {"source": "here"})
    assert sorted(from_table(table).user) == ["ann", "eve"]


KILLS = """
import json, sys
from pathlib import Path
from benchmarks.bench_kill import kill_at_random
print(json.dumps(kill_at_random(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
@pytest.mark.slow
def test_a_kill_at_any_moment_leaves_a_whole_store(tmp_path: Path) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", KILLS, str(tmp_path), "10", "2"]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, env=environment, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["kills"] == 10
