"""People who leave a store: the model, its older versions and the log; what remains, and kills."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from command_lines import Run, data, refused
from hyperrank import generations, store, writers
from hyperrank.arrivals import ArrivalLog
from hyperrank.vocabulary import UnknownIdError
from recsys import Interactions, Popularity
from recsys.erasure import OUTSIDE, REFIT_ONLY, Erasure, Forgotten
from recsys.event_tables import from_table


@pytest.fixture
def shop(run: Run) -> Run:
    """The store after two updates, eve in the first batch, ann in both."""
    Path("more.csv").write_text("user,item,when\nann,salt,400\nfay,tea,500\n")
    assert run("update shop new.csv --time when --quiet")[0] == 0
    assert run("update shop more.csv --quiet")[0] == 0
    return run


def forget(*people: Any, **settings: Any) -> Forgotten:
    return Erasure(**settings).apply("shop", lambda model: list(people))


def held(name: str) -> bool:
    """Whether any file of the store has this text in it."""
    found = False
    for path in Path("shop").rglob("*"):
        found |= path.is_file() and name.encode() in path.read_bytes()
    for _, rows in generations.log_of("shop").read(range(1, len(generations.log_of("shop")) + 1)):
        found |= name in from_table(rows).user.tolist()
    return found


def test_the_model_forgets_and_the_past_does_not(shop: Run) -> None:
    code, out, err = shop("forget shop ann,eve")
    assert (code, err) == (0, "")
    done, past, *rest = out.splitlines()
    assert done == "v000004: 2 users forgotten, 5 pairs removed"
    assert past.startswith("still in versions v000001, v000002, v000003 and 2 batches of the log; ")
    assert rest == [REFIT_ONLY, OUTSIDE]
    assert sorted(store.load("shop").users_.ids) == ["bob", "cem", "dee", "fay"]
    refused(shop("recommend shop --users ann"), "unknown id 'ann'")
    assert shop("rollback shop")[0] == 0
    assert "ann" in store.load("shop").users_
    assert [row["made_by"] for row in data(shop("versions shop --json"))["versions"]][3] == "forget"
    assert generations.verify("shop") == []


def test_a_new_version_goes_on_from_the_batches_before(shop: Run) -> None:
    forget("eve")
    made = generations.current("shop")
    assert made.batches == {1, 2}
    assert (made.report["latest"], made.report["users_forgotten"]) == ([500.0, None], 1)
    assert not data(shop("update shop new.csv --json --quiet"))["taken"], "eve does not come back"
    status = data(shop("status shop --json"))
    assert (status["made_by"], status["drift"], status["users"]) == ("forget", 0.25, 5)


def test_erased_people_are_nowhere(shop: Run) -> None:
    assert held("ann")
    found = data(shop("forget shop ann,eve --erase --json"))
    assert (found["version"], found["users"], found["pairs"]) == ("v000004", 2, 5)
    assert (found["versions"], found["batches"]) == (["v000001", "v000002", "v000003"], [1, 2])
    assert not held("ann")
    assert held("fay")
    assert generations.verify("shop") == []
    kept = [row["state"] for row in data(shop("versions shop --json"))["versions"]]
    assert kept == ["pruned", "pruned", "pruned", "current"]
    log = generations.log_of("shop")
    assert [(batch.number, batch.rows) for batch in log.batches()] == [(1, 0), (2, 1)]
    for name in ("new.csv", "more.csv"):
        assert not data(shop(f"update shop {name} --json --quiet"))["taken"], "known as it arrived"
    Path("rest.csv").write_text("user,item,when\nfay,tea,500\n")
    assert not data(shop("update shop rest.csv --json --quiet"))["taken"], "and as it is now"
    assert data(shop("compact shop --json"))["joined"] == 1
    assert generations.verify("shop") == []
    assert not data(shop("update shop new.csv --json --quiet"))["taken"]
    Path("gus.csv").write_text("user,item,when\ngus,tea,600\n")
    assert data(shop("update shop gus.csv --json --quiet"))["batch"] == 3


def test_forgotten_first_and_erased_later(shop: Run) -> None:
    forget("ann")
    found = forget("ann", erase=True)
    assert (found.version, found.users, found.pairs) == ("v000004", 0, 0)
    assert found.versions == ["v000001", "v000002", "v000003"]
    assert not held("ann")
    with pytest.raises(UnknownIdError, match="nothing in shop holds the user 'ann'; leave out"):
        forget("ann", erase=True)


def test_only_versions_that_hold_them_are_deleted(shop: Run) -> None:
    assert forget("fay", erase=True).versions == ["v000003"]
    states = [row["state"] for row in data(shop("versions shop --json"))["versions"]]
    assert states == ["kept", "kept", "pruned", "current"]


def test_versions_beyond_a_rollback_are_the_past_too(shop: Run) -> None:
    shop("rollback shop 2")
    found = forget("fay", erase=True)
    assert (found.version, found.users, found.versions) == ("v000002", 0, ["v000003"])
    assert found.batches == [2]
    assert not held("fay")
    assert generations.verify("shop") == []


def test_a_plain_model(run: Run) -> None:
    found = forget("ann", erase=True)
    assert (found.version, found.versions, found.batches) == ("v000002", ["v000001"], [])
    assert not held("ann")
    assert generations.verify("shop") == []


def test_people_in_a_file(shop: Run) -> None:
    Path("gone.csv").write_text("user,why\nann,asked\nzed,asked\nzoe,asked\n")
    refused(shop("forget shop --from gone.csv"), "nothing in shop holds the user 'zed' and 1 more")
    found = data(shop("forget shop --from gone.csv --unknown skip --json"))
    assert (found["users"], found["unknown"]) == (1, 2)
    Path("gone.csv").write_text("user\nzed\n")
    assert "1 users are not known here" in shop("forget shop --from gone.csv --unknown skip")[1]
    assert generations.current("shop").version == "v000004", "nothing to do is no version"


def test_only_told(shop: Run) -> None:
    before = sorted((path, path.stat().st_mtime_ns) for path in Path().rglob("*"))
    out = shop("forget shop ann --erase --dry-run")[1]
    assert "v000003: 1 users would be forgotten, 4 pairs would be removed" in out
    assert "would be erased from versions v000001, v000002, v000003 and 2 batches of the" in out
    assert sorted((path, path.stat().st_mtime_ns) for path in Path().rglob("*")) == before


def test_what_is_refused(shop: Run) -> None:
    for line in ("forget shop", "forget shop ann --from new.csv"):
        refused(shop(line), "forget takes ids, ID,ID, or --from FILE with a column user; give one")
    refused(shop("forget shop ann,bob,cem,dee,eve,fay"), "nobody would be left; delete the model")
    refused(shop("forget nowhere ann"), "there is no saved model at")
    refused(shop("forget shop --from nowhere.csv"), "there is no file nowhere.csv")
    with pytest.raises(ValueError, match="nobody is named; give the ids of those to forget"):
        forget()
    with pytest.raises(TypeError, match="holds text ids such as 'ann', got integer ids such as 7"):
        forget(7)
    log = Interactions.read("new.csv")
    store.save(Popularity().fit(log), "popular")
    refused(shop("forget popular ann"), "holds a Popularity, which cannot be updated")
    with writers.writing("shop"):
        refused(shop("forget shop ann --wait 0.01"), "another process has been writing", code=4)
    assert generations.current("shop").version == "v000003"


@pytest.mark.parametrize("where", [(writers.Writer, "drop"), (ArrivalLog, "rewrite")])
def test_a_kill_is_made_good_by_a_repetition(
    where: tuple[Any, str], shop: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(*where, killed)
        assert shop("forget shop ann --erase")[0] == 130
    assert generations.verify("shop") == []
    assert held("ann")
    forget("ann", erase=True)
    assert not held("ann")
    assert generations.verify("shop") == []


def test_a_full_disk(shop: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("hyperrank.durable.sync", full)
        message = "no room on the disk of shop (No space left on device); it is as it was, at v00"
        refused(shop("forget shop ann --erase"), message, code=1)
    assert generations.verify("shop") == []
    assert "ann" in store.load("shop").users_


def test_what_a_killed_erasure_left_goes_with_the_next(shop: Run) -> None:
    names = ("shop/v000001/users.parquet", "shop/log")
    kept = {path: path.read_bytes() for path in (Path(names[0]), *Path(names[1]).iterdir())}
    forget("ann", erase=True)
    for path, content in kept.items():  # half a deletion, and files that merged ones hide
        path.write_bytes(content)
    with pytest.raises(UnknownIdError):
        forget("ann", erase=True)
    assert not held("ann")
    assert generations.verify("shop") == []
