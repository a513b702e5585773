"""The commands on stores of versions through their door: what they print, write and refuse."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from command_lines import Run, data, refused
from hyperrank import durable, generations, store, writers


@pytest.fixture
def updated(run: Run) -> Run:
    """The same after one update."""
    assert run("update shop new.csv --quiet")[0] == 0
    return run


def test_update_tells_what_it_did(run: Run) -> None:
    code, out, err = run("update shop new.csv --check 2 --sweeps 0")
    assert code == 0
    assert "v000002: took in 3 events, 2 new pairs; 2 users touched, 1 of them new" in out
    assert "keep: pairs added since the last full fit came to 0.167" in out
    assert "check of 2 users solved exactly: vectors differ by at most" in out
    assert "update: write" in err
    assert "tea" not in run("recommend shop --users ann -k 9")[1]


def test_update_as_json(run: Run) -> None:
    tried = data(run("update shop new.csv --dry-run --json --quiet --check 1"))
    assert (tried["taken"], tried["dry_run"], tried["batch"]) == (False, True, None)
    assert tried["check"]["users"] == 1
    assert not generations.is_versioned("shop")
    done = data(run("update shop new.csv --json --quiet"))
    assert (done["version"], done["batch"], done["taken"]) == ("v000002", 1, True)
    assert done["report"]["users_added"] == 1
    again = data(run("update shop new.csv --json --quiet"))
    assert (again["taken"], again["batch"], again["report"]) == (False, 1, None)
    once_more = run("update shop new.csv --quiet")
    assert once_more[1] == (
        "nothing to do: these events were taken in as batch 1; v000002 stands\n"
    )
    assert "would take in 3 events" in run("update shop new.csv --dry-run --again --quiet")[1]


def test_a_refit_that_is_due_is_an_exit_code(run: Run) -> None:
    line = "update shop new.csv --json --quiet --refit-if-drift 0.1"
    assert data(run(line), code=3)["refit_due"]
    assert data(run("status shop --json"))["version"] == "v000002"
    Path("more.csv").write_text("user,item\nbob,salt\n")
    line = "update shop more.csv --json --quiet --refit-if-drift 0.9"
    assert not data(run(line))["refit_due"]
    line = "update shop more.csv --again --json --quiet"
    assert data(run(line))["refit_due"], "it is said, and no exit code"
    refused(
        run("update shop new.csv --refit-if-drift -1"), "--refit-if-drift takes a share of pair"
    )


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
def test_update_from_standard_input(suffix: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pd.DataFrame({"customer": ["eve", "ann"], "product": ["tea", "tea"]})
    content: Any = {
        "csv": lambda: frame.to_csv(index=False).encode(),
        "tsv": lambda: frame.to_csv(index=False, sep="\t").encode(),
        "jsonl": lambda: frame.to_json(orient="records", lines=True).encode(),
        "parquet": frame.to_parquet,
    }[suffix]()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    found = data(run("update shop - --user customer --item product --json --quiet"))
    assert found["report"]["events"] == 2
    ((batch, _),) = generations.log_of("shop").read({1})
    assert batch.notes == {"source": "-"}


def test_standard_input_without_events(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b" \n")))
    refused(run("update shop - --quiet"), "standard input is empty; expected CSV, TSV, JSON lines")


def test_bad_rows(run: Run) -> None:
    Path("bad.csv").write_text("user,item,when\neve,tea,1\n,tea,2\nann,tea,soon\nbob,salt\n")
    line = "update shop bad.csv --time when --quiet"
    refused(run(line), "3 of 4 rows cannot be taken in: bad.csv, line 3: the user is missing")
    assert not generations.is_versioned("shop")
    tried = data(run(f"{line} --on-bad-rows quarantine --dry-run --json"))
    assert (tried["bad_rows"], [bad["line"] for bad in tried["bad"]]) == (3, [3, 4, 5])
    assert not Path("bad.csv.bad").exists()
    code, out, _ = run(f"{line} --on-bad-rows quarantine")
    assert code == 0
    assert (
        "3 bad rows left out, the first: bad.csv, line 3: the user is missing; all are in " in out
    )
    kept = [json.loads(one) for one in Path("bad.csv.bad").read_text().splitlines()]
    assert [one["row"] for one in kept] == [",tea,2", "ann,tea,soon", "bob,salt"]
    assert data(run(f"{line} --on-bad-rows skip --json"))["quarantine"] is None
    line = f"{line} --again --on-bad-rows quarantine --quarantine apart.jsonl --json"
    assert data(run(line))["quarantine"] == "apart.jsonl"
    assert Path("apart.jsonl").exists()


def test_what_update_refuses(run: Run) -> None:
    before = {path: path.stat().st_mtime_ns for path in Path("shop").iterdir()}
    refused(run("update shop gone.csv --quiet"), "there is no file gone.csv")
    refused(
        run("update shop new.csv --user usr --quiet"), "has no column 'usr'; did you mean 'user'"
    )
    refused(run("update nowhere new.csv --quiet"), "there is no saved model at")
    refused(run("update shop new.csv --repeated last --quiet"), "the model joins repeats by 'sum'")
    refused(run("update shop new.csv --weight when --quiet"), "fitted with no weights, these int")
    Path("future.csv").write_text("user,item,when\neve,tea,2999-01-01\n")
    refused(
        run("update shop future.csv --time when --quiet"), "the time 2999-01-01 00:00:00 is in t"
    )
    assert {path: path.stat().st_mtime_ns for path in Path("shop").iterdir()} == before


def test_a_live_lock_is_an_exit_code(updated: Run) -> None:
    Path("more.csv").write_text("user,item\nbob,salt\n")
    with writers.writing("shop"):
        owner = data(updated("status shop --json"))["writer"]
        refused(
            updated("update shop more.csv --wait 0.01 --quiet"),
            f"for 0 s (process {owner['pid']} on {owner['host']}, since",
            code=4,
        )
        assert updated("recommend shop --users ann -k 1")[0] == 0
    assert data(updated("status shop --json"))["writer"] is None


def test_a_full_disk(updated: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("more.csv").write_text("user,item\nbob,salt\n")

    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(durable, "sync", full)
        refused(
            updated("update shop more.csv --quiet"),
            "no room on the disk of shop (No space left on device); it is as it was, at v000002: "
            "make room, or run recsys compact",
            code=1,
        )
    assert data(updated("verify shop --json"))["whole"]
    assert updated("update shop more.csv --quiet")[0] == 0


def test_status_and_versions(run: Run) -> None:
    before = data(run("status shop --json"))
    assert (before["version"], before["batches"], before["drift"]) == ("v000001", 0, 0)
    assert "nothing was taken in since the last full fit" in run("status shop")[1]
    run("update shop new.csv --quiet")
    after = data(run("status shop --json"))
    assert (after["version"], after["users"], after["model"]) == ("v000002", 5, "UltraGCN")
    assert after["kept"] == ["v000001", "v000002"]
    assert after["bytes"] > before["bytes"]
    rows = data(run("versions shop --json"))["versions"]
    assert [(row["version"], row["state"]) for row in rows] == [
        ("v000001", "kept"),
        ("v000002", "current"),
    ]
    assert [(row["parent"], row["events"]) for row in rows] == [(None, None), ("v000001", 3)]
    assert "v000002  current  v000001  update" in run("versions shop")[1]


def test_rollback(updated: Run) -> None:
    assert updated("rollback shop")[1] == "v000001 stands now; v000002 is kept\n"
    assert "tea" in updated("recommend shop --users ann -k 9")[1]
    assert data(updated("rollback shop v000002 --json"))["before"] == "v000001"
    refused(
        updated("rollback shop v000007"), "shop has no version v000007; it has v000001, v000002"
    )


def test_diff(updated: Run) -> None:
    found = data(updated("diff shop v000001 v000002 --json"))
    assert (found["changed"], found["users_added"]) == (1, 1)
    assert found["changes"] == [
        {"user": "ann", "entered": [], "left": ["tea"], "because": ["tea"], "overlap": 0.0}
    ]
    code, out, _ = updated("diff shop v000001 v000002 --users ann,bob")
    assert code == 0
    assert out.splitlines()[0].startswith("1 of 2 users have another list of 10; 50.0% of a list")
    assert out.splitlines()[2].split() == ["ann", "-", "tea", "tea"]
    assert updated("diff shop v000001 v000001")[1].count("\n") == 1
    refused(updated("diff shop v000001 v000009"), "has no version v000009")


def test_versions_by_number(updated: Run) -> None:
    named = data(updated("diff shop v000001 v000002 --json"))
    for line in ("diff shop 1 2 --json", "diff shop 1 --json", "diff shop --json"):
        assert data(updated(line)) == named
    assert data(updated("rollback shop 1 --json"))["version"] == "v000001"
    assert data(updated("diff shop 2 --json"))["new"] == "v000001", "the current one"
    assert data(updated("diff shop --json")) == named, "the last two"
    refused(updated("rollback shop 9"), "shop has no version v000009; it has v000001, v000002")


def test_operands_may_come_after_options(updated: Run) -> None:
    assert not data(updated("update shop --quiet new.csv --json"))["taken"]
    assert data(updated("diff shop 1 --users ann 2 --json"))["users"] == 1
    assert data(updated("diff --json shop -k 3 1 2"))["changed"] == 1
    assert data(updated("forget shop --json --dry-run ann"))["users"] == 1
    assert data(updated("rollback --json shop 1"))["version"] == "v000001"
    for line in ("update shop new.csv more.csv", "update shop --quite new.csv", "status shop 1"):
        assert updated(line)[0] == 2
    assert "unrecognized arguments: --quite" in updated("update shop --quite new.csv")[2]


def test_a_single_version_has_no_difference(run: Run) -> None:
    refused(run("diff shop"), "shop has one version, v000001; there is nothing to compare")


def test_verify(updated: Run) -> None:
    assert updated("verify shop")[:2] == (0, "shop is whole\n")
    path = Path("shop/v000001/tensors.safetensors")
    path.write_bytes(path.read_bytes()[:-1])
    code, out, err = updated("verify shop")
    assert (code, err) == (1, "")
    assert "restore the folder or save again" in out
    assert not data(updated("verify shop --json"), code=1)["whole"]
    refused(updated("verify nowhere"), "nowhere")


def test_compact(updated: Run) -> None:
    for name in ("fay", "gus"):
        Path("more.csv").write_text(f"user,item\n{name},salt\n")
        updated("update shop more.csv --quiet")
    found = data(updated("compact shop --keep 1 --json"))
    assert (found["pruned"], found["joined"]) == (3, 2)
    assert "0 versions pruned, 0 files of the log joined" in updated("compact shop")[1]
    assert [row["state"] for row in data(updated("versions shop --json"))["versions"]] == [
        "pruned",
        "pruned",
        "pruned",
        "current",
    ]
    refused(updated("diff shop v000001 v000004"), "v000001 of shop was pruned; only its record is")
    assert data(updated("update shop more.csv --json --quiet"))["batch"] == 3


def test_a_store_goes_wherever_a_model_does(updated: Run) -> None:
    Path("test.csv").write_text("user,item\nann,tea\ncem,milk\n")
    assert updated("recommend shop --users eve -k 2")[0] == 0
    assert updated("recommend shop --all --out lists --quiet")[0] == 0
    line = "evaluate shop test.csv --include-seen --metrics hr@4 --json"
    assert json.loads(updated(line)[1])["metrics"]
    line = "fit new.csv --model popularity --out pop"
    assert updated(line)[0] == 0
    assert updated("compare shop pop --test test.csv --include-seen --metrics hr@4")[0] == 0
    assert store.describe("shop").digest == generations.current("shop").model


def test_a_fit_into_a_store_is_a_version(updated: Run) -> None:
    Path("log.csv").write_text("user,item\nann,tea\nbob,tea\nbob,salt\n")
    line = "fit log.csv --set epochs=1 --set dim=2 --quiet --out shop"
    refused(updated(line), "shop exists already; choose another name, or --force to replace it")
    answer = updated(f"{line} --force")
    assert answer[0] == 0
    assert "in shop as v000003" in answer[1]
    assert sorted(store.load("shop").users_.ids) == ["ann", "bob"]
    assert updated("rollback shop")[1] == "v000002 stands now; v000003 is kept\n"


def test_a_store_of_a_newer_version(updated: Run) -> None:
    path = Path("shop/v000002/generation.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 2}))
    for line in ("status shop", "update shop new.csv --quiet", "rollback shop"):
        refused(updated(line), "is written in format 2 of versions, but this version of hyperrank")


def test_columns_are_remembered(run: Run) -> None:
    Path("odd.csv").write_text("customer,product,when\neve,tea,100\n")
    line = "update shop odd.csv --user customer --item product --time when --quiet"
    assert run(line)[0] == 0
    Path("odd.csv").write_text("customer,product,when\nfay,tea,200\n")
    assert data(run("update shop odd.csv --quiet --json"))["report"]["users_added"] == 1
    assert generations.current("shop").report["latest"] == [200.0, None]
    refused(
        run("update shop new.csv --quiet"),
        "new.csv has no column 'customer'; did you mean 'user'? it has 'user', 'item', 'when'; "
        "'customer' was the user column of the events before: name another with --user",
    )
    Path("odd.csv").write_text("customer,product,wen\ngus,tea,300\n")
    refused(
        run("update shop odd.csv --quiet"),
        "no column 'when'; did you mean 'wen'? it has 'customer', 'product', 'wen'; 'when' was the "
        "time column of the events before: name another with --time, --time '' for none",
    )
    assert run("update shop odd.csv --time '' --quiet")[0] == 0
    line = "update shop new.csv --user user --item item --time '' --quiet --json"
    assert data(run(line))["taken"], "named for once"
    Path("odd.csv").write_text("customer,product,when\nhal,tea,400\n")
    assert data(run("update shop odd.csv --quiet --json"))["taken"], "and not remembered"


def test_columns_of_a_fit_are_remembered(run: Run) -> None:
    Path("log.csv").write_text("u,i,t\nann,tea,1\nbob,tea,2\nbob,salt,3\n")
    line = "fit log.csv --user u --item i --time t --set epochs=1 --set dim=2 --quiet --out sold"
    assert run(line)[0] == 0
    Path("log.csv").write_text("u,i,t\neve,tea,4\n")
    assert data(run("update sold log.csv --quiet --json"))["report"]["users_added"] == 1
    assert generations.current("sold").report["latest"] == [4.0, None]


def test_late_events(run: Run) -> None:
    assert run("update shop new.csv --time when --quiet")[0] == 0
    Path("late.csv").write_text("user,item,when\nfay,tea,250\ngus,tea,350\n")
    line = "update shop late.csv --quiet"
    refused(
        run(f"{line} --late fail"),
        "1 of 2 events are older than the latest of the batches before; choose --late take or skip",
    )
    code, out, _ = run(f"{line} --late skip")
    assert code == 0
    assert "took in 1 events" in out
    assert "1 events older than the latest before left out" in out
    assert "fay" not in store.load("shop").users_
    for late in ("skip", "take", "fail"):
        assert data(run(f"{line} --late {late} --json"))["batch"] == 2, "known as it arrived"
    assert generations.verify("shop") == []
    Path("late.csv").write_text("user,item,when\nhal,tea,1\n")
    assert run(f"{line} --late skip")[1] == (
        "nothing to do: all 1 events are older than the latest of the batches before; v000003 "
        "stands\n"
    )
    found = data(run(f"{line} --late skip --json"))
    assert (found["taken"], found["batch"], found["late"]) == (False, None, 1)


def test_numbers_in_the_future(run: Run) -> None:
    Path("future.csv").write_text("user,item,when\neve,tea,1700000000\nann,tea,9999999999\n")
    refused(
        run("update shop future.csv --time when --quiet"),
        "1 of 2 rows cannot be taken in: future.csv, line 3: the time '9999999999', in seconds "
        "since 1970, is in the future; mend them",
    )
    assert not generations.is_versioned("shop")
