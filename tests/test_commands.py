"""Every command through its door, in process: what it prints, writes and refuses."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hyperrank import store
from recsys import command_logs, commands
from recsys.cli import _parser, main

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs a command line in a folder with ``log.csv``; gives exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    source = np.random.default_rng(0)
    user = source.integers(0, 40, 600)
    item = 2 * source.integers(0, 15, 600) + user % 2
    frame = {"user": [f"u{n}" for n in user], "item": item, "when": source.integers(0, 10**6, 600)}
    pd.DataFrame(frame | {"w": source.random(600)}).to_csv("log.csv", index=False)

    def call(line: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = main(line.split())
        return code, *capfd.readouterr()

    return call


@pytest.fixture
def fitted(run: Run) -> Run:
    """The same, with models ``pop`` and ``svd`` in it."""
    assert run("fit log.csv --model popularity --out pop")[0] == 0
    assert run("fit log.csv --model puresvd --set dim=4 --out svd")[0] == 0
    return run


def data(found: tuple[int, str, str]) -> dict[str, Any]:
    code, out, err = found
    assert (code, err) == (0, ""), err
    answer: dict[str, Any] = json.loads(out)
    return answer


def refused(found: tuple[int, str, str], message: str, code: int = 2) -> None:
    assert found[0] == code
    assert found[1] == ""
    assert message in found[2]
    assert found[2].count("\n") == 1, "one sentence"
    assert "Traceback" not in found[2]


def test_fit_saves_a_model(run: Run) -> None:
    answer = data(
        run("fit log.csv --model item-knn --set neighbours=5 --weight w --out a/m --json --quiet")
    )
    assert answer["params"]["neighbours"] == 5
    assert answer["digest"] == store.describe("a/m").digest
    assert store.load("a/m").users_.kind == "text"


def test_fit_with_a_validation_part(run: Run) -> None:
    for rule in ("time:0.9", "last:1", "random:0.2"):
        line = f"fit log.csv --model popularity --time when --split {rule} --out m --force --json"
        assert 0 <= data(run(line))["validation_ndcg@10"] <= 1
    run("split log.csv time:0.9 --time when --out parts")
    line = "fit parts/train.parquet --validation parts/test.parquet --model popularity --out m"
    assert "validation NDCG@10" in run(f"{line} --force")[1]


def test_fit_ultragcn_shows_progress_on_stderr(run: Run) -> None:
    line = "fit log.csv --set epochs=2 --set dim=4 --set negatives=8 --out m --json"
    code, out, err = run(line)
    assert code == 0
    assert json.loads(out)["model"] == "UltraGCN"
    assert "epoch" in err


def test_recommend_prints_or_writes(fitted: Run) -> None:
    rows = data(fitted("recommend svd --users u1,u2 -k 3 --json"))["recommendations"]
    assert [(row["user"], row["rank"]) for row in rows] == [
        (u, r) for u in ("u1", "u2") for r in (1, 2, 3)
    ]
    assert fitted("recommend svd --users u1 -k 1")[1].split()[:4] == [
        "user",
        "item",
        "score",
        "rank",
    ]
    pd.DataFrame({"user": ["u1", "new"]}).to_csv("who.csv", index=False)
    line = "recommend svd --users-file who.csv -k 2 --unknown popular --out best.csv"
    assert fitted(line)[0] == 0
    assert pd.read_csv("best.csv")["user"].tolist() == ["u1", "u1", "new", "new"]
    refused(fitted(line), "best.csv exists already; choose another name, or --force to replace it")
    assert fitted(f"{line} --force")[0] == 0


def test_recommend_all_in_shards(fitted: Run) -> None:
    line = "recommend svd --all -k 3 --out parts --quiet --json"
    answers = [data(fitted(f"{line} --shard {n}/2")) for n in (1, 2)]
    assert [answer["written"] for answer in answers] == [1, 0]
    assert answers[1]["done"] == answers[1]["total"] == 1
    assert len(pd.read_parquet("parts")) == 40 * 3
    refused(fitted(line.replace("svd", "pop")), "parts holds parts of another run: model is")


def test_recommend_all_names_the_model_that_it_loaded(
    fitted: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = store.load
    others, replaced = [real("pop"), real("svd")], []

    def load(path: str, **settings: Any) -> Any:
        model = real(path, **settings)
        if len(replaced) < stop:
            replaced.append(store.save(others[len(replaced) % 2], path))
        return model

    monkeypatch.setattr(store, "load", load)
    stop = 1
    assert fitted("recommend svd --all -k 2 --out parts --quiet")[0] == 0
    named = json.loads(Path("parts/_parts.json").read_text())["model"]
    assert named == store.describe("pop").digest == replaced[0]
    stop = 99
    line = "recommend svd --all --out more --quiet"
    refused(fitted(line), "svd was replaced 5 times while it was loaded", code=1)


def test_evaluate_and_compare(fitted: Run) -> None:
    fitted("split log.csv random:0.3 --out parts")
    fitted("fit parts/train.parquet --model puresvd --set dim=4 --out svd --force")
    fitted("fit parts/train.parquet --model popularity --out pop --force")
    found = data(fitted("evaluate svd parts/test.parquet --metrics recall@5,ndcg@5 --json"))
    assert [row["metric"] for row in found["metrics"]] == ["recall@5", "ndcg@5"]
    assert all(row["low"] <= row["value"] <= row["high"] for row in found["metrics"])
    line = "compare svd pop --test parts/test.parquet --metrics recall@5 --baseline pop --json"
    rows = {row["model"]: row for row in data(fitted(line))["metrics"]}
    assert rows["svd"]["value"] > rows["pop"]["value"]
    refused(fitted("compare svd svd --test log.csv"), "compare needs at least two different models")


def test_describe_and_split(run: Run) -> None:
    found = data(run("describe log.csv --time when --weight w --json"))
    assert (found["users"], found["items"], found["events"]) == (40, 30, 600)
    parts = data(run("split log.csv last:1 --time when --out parts --json"))
    assert parts["train"] + parts["test"] <= 600
    assert pd.read_parquet("parts/test.parquet")["user"].nunique() == 40
    refused(run("split log.csv last:1 --time when --out parts"), "parts exists already")


def test_plan(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert data(run("plan log.csv --model ease --json"))["fits"] is True
    line = "plan --model ease --n-users 1e6 --n-items 2e6 --n-pairs 1e8"
    code, out, err = run(line)
    assert (code, err) == (2, "")
    assert "would need" in out
    assert json.loads(run(f"{line} --json")[1])["fits"] is False
    refused(
        run("plan --model ease --n-users 5"), "plan needs a log, or all of --n-users, --n-items"
    )
    monkeypatch.setattr("hyperrank.devices.free_memory", lambda device: 1000)
    refused(run("fit log.csv --model ease --out m"), "EASE on 40 users x 30 items")
    assert not Path("m").exists()


def test_plan_counts_the_log_as_the_fit_does(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from recsys import plan as planning
    from recsys.interactions import Interactions

    asked = []
    monkeypatch.setattr(planning, "plan", lambda model, sizes, **_: asked.append(sizes))
    with pytest.raises(AttributeError):
        commands.plan(_parser().parse_args(["plan", "log.csv", "--model", "ease"]))
    assert asked == [planning.sizes_of(Interactions.read("log.csv"))]
    assert asked[0].squares > 0


def test_more_than_the_catalogue_is_the_catalogue(fitted: Run) -> None:
    line = "recommend svd --users u1,u2 --include-seen --json -k"
    assert data(fitted(f"{line} 900")) == data(fitted(f"{line} 30"))
    assert data(fitted("recommend svd --all -k 900 --out parts --quiet --json"))["written"] == 1
    assert pd.read_parquet("parts").groupby("user").size().le(30).all()


def test_export(fitted: Run) -> None:
    pytest.importorskip("faiss", reason="faiss is not installed (extra ann)")
    assert (
        data(fitted("export svd --index faiss --out i.faiss --json"))["ids"]
        == "i.faiss.ids.parquet"
    )
    refused(fitted("export svd --index faiss --out i.faiss"), "i.faiss exists already")
    refused(fitted("export pop --index faiss --out j.faiss"), "Popularity scores with Constant")


def test_datasets_and_doctor(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HYPERRANK_CACHE", str(tmp_path / "nothing"))
    monkeypatch.delenv("HYPERRANK_DATA", raising=False)
    assert data(run("datasets --json")) == {"datasets": []}
    assert "no data sets here" in run("datasets")[1]
    assert "torch" in data(run("doctor --json"))["facts"]
    assert "advice: " in run("doctor")[1]


BAD_LOGS = {
    "empty.csv": ("", "empty.csv"),
    "header.csv": ("user,item\n", "header.csv"),
    "renamed.csv": ("users,item\na,b\n", "users"),
    "nan.csv": ("user,item,w\na,b,nan\na,c,1\n", "missing, NaN or infinite"),
    "doubled.csv": ("user,item,user\na,b,c\n", "user"),
    "log.xlsx": ("", "log.xlsx"),
}


@pytest.mark.parametrize("name", BAD_LOGS)
def test_bad_logs_are_refused(name: str, run: Run) -> None:
    text, said = BAD_LOGS[name]
    Path(name).write_text(text)
    weight = " --weight w" if "nan" in name else ""
    refused(run(f"fit {name} --model popularity --out m{weight}"), said)
    assert not Path("m").exists()


@pytest.mark.parametrize("lines", [["a,1"], ["a,1", "a,2", "a,3"], ["a,1", "b,1"]])
@pytest.mark.parametrize("name", ["popularity", "ease", "itemknn", "puresvd"])
def test_one_user_or_one_item_can_be_fitted(name: str, lines: list[str], run: Run) -> None:
    Path("tiny.csv").write_text("\n".join(["user,item", *lines, ""]))
    assert run(f"fit tiny.csv --model {name} --out m")[0] == 0
    code, out, _ = run("recommend m --users a -k 1 --json")
    assert code == 0
    assert json.loads(out) == {"recommendations": []}  # everything is seen


BAD_LINES = [
    ("fit gone.csv --out m", "gone.csv"),
    ("fit log.csv --model ultragnc --out m", "did you mean 'ultragcn'?"),
    (
        "fit log.csv --model ease --set l3=4 --out m",
        "EASE has no parameter 'l3'; did you mean 'l2'?",
    ),
    ("fit log.csv --model ease --set l2=-4 --out m", "l2 must be above 0, got -4.0"),
    ("fit log.csv --model ease --item itm --out m", "itm"),
    ("fit log.csv --model ease --device cuda:9 --out m", "'cuda:9' was asked for, but torch sees"),
    ("fit log.csv --model ease --device tpu --out m", "device 'tpu' is unknown to torch"),
    (
        "fit log.csv --model ease --split time:0.9 --out m",
        "needs times; name their column with --time",
    ),
    (
        "fit log.csv --model ease --split half --out m",
        "a split is time:0.9, last:1 or random:0.2, got",
    ),
    ("fit log.csv --model ease --split random:x --out m", "cannot split by 'random:x'"),
    ("fit log.csv --model ease --split random:1 --validation log.csv --out m", "not both"),
    (
        "fit log.csv --model popularity --out svd",
        "svd exists already; choose another name, or --force",
    ),
    ("fit log.csv --model popularity --out log.csv --force", "exists and is not a saved model"),
    ("recommend gone --users u1", "there is no saved model at"),
    ("recommend . --users u1", "is not a saved model: it has no manifest.json"),
    ("recommend svd --users zed", "unknown id 'zed'"),
    ("recommend svd --users u1 -k 0", "k must be at least 1, got 0"),
    ("recommend svd --users-file log.parquet", "log.parquet"),
    ("recommend svd --all", "--all writes Parquet parts; name their folder with --out"),
    ("recommend svd --all --out x --shard 3/2", "shard must be I/N with 1 <= I <= N, got 3/2"),
    ("recommend svd --all --out x --shard a", "--shard expects I/N, such as 1/4, got 'a'"),
    ("recommend svd --all --out x -k 0", "k must be at least 1, got 0"),
    ("plan --n-users 0 --n-items 5 --n-pairs 5", "a size must be a number from 1, got 0"),
    ("plan --n-users 5 --n-items nan --n-pairs 5", "a size must be a number from 1, got nan"),
    ("plan log.csv --n-users 5", "plan needs a log, or all of --n-users"),
    ("recommend svd --all --out x --force", "--force applies to --users and --users-file, not to"),
    ("recommend svd --all --out x --unknown skip", "--unknown applies to --users and --users-file"),
    ("recommend svd --all --out x --candidates 1", "--candidates applies to --users and --users-f"),
    ("recommend svd --users u1 --candidates 1,zed", "'zed' cannot be an id beside the known ones"),
    ("recommend svd --users u1 --candidates 999", "999"),
    ("fit log.csv --k-core 5 --out m", "--k-core expects U,I, such as 5,10, got '5'"),
    ("fit log.csv --k-core 99,99 --out m", "every user needs 99 items and every item 99 users"),
    ("fit log.csv --repeated often --out m", "repeated must be one of sum, last, first, max,"),
    ("evaluate svd new.csv --unknown raise", "unknown id 'zed'"),
    ("recommend svd --users u1 --shard 1/2", "--shard applies to --all only; leave it out"),
    ("evaluate svd log.csv --metrics recal@5", "recal"),
    ("compare svd pop --test gone.csv", "gone.csv"),
]


@pytest.mark.parametrize(("line", "message"), BAD_LINES, ids=[line for line, _ in BAD_LINES])
def test_bad_lines_are_refused(line: str, message: str, fitted: Run) -> None:
    Path("new.csv").write_text("user,item\nzed,2\n")
    refused(fitted(line), message)
    assert not Path("m").exists()
    assert not Path("x").exists()


def test_a_damaged_store_is_refused(fitted: Run) -> None:
    path = Path("svd/tensors.safetensors")
    path.write_bytes(path.read_bytes()[:-1])
    refused(fitted("recommend svd --users u1"), "restore the folder or save again")


def test_every_command_has_a_function() -> None:
    listed = next(one.choices for one in _parser()._actions if one.dest == "command")
    assert listed is not None
    assert all(callable(getattr(commands, name)) for name in listed)


def test_ids_of_text_files_are_of_the_kind_that_the_model_holds(run: Run) -> None:
    Path("train.csv").write_text("user,item\n1,7\n1,007\n2,7\nx,9\nx,007\n")
    Path("test.csv").write_text("user,item\n1,9\n2,9\n")
    line = "fit train.csv --model popularity --out m"
    assert run(f"{line} --validation test.csv")[0] == 0
    assert data(run("evaluate m test.csv --json"))["metrics"][0]["unknown_users"] == 0
    run("fit train.csv --model puresvd --set dim=2 --out n")
    assert len(data(run("compare m n --test test.csv --json"))["metrics"]) == 4
    Path("who.csv").write_text("user\n1\n2\n")
    rows = data(run("recommend m --users-file who.csv -k 3 --json"))["recommendations"]
    assert [(row["user"], row["item"]) for row in rows] == [("1", "9"), ("2", "007"), ("2", "9")]
    Path("who.csv").write_text("user,why\n1,a\n,b\n")
    refused(run("recommend m --users-file who.csv"), "who.csv: row 1 of column 'user' is missing")


def test_ids_like_dates_and_numbers_stay_text(run: Run) -> None:
    Path("train.csv").write_text("user,item\n2024-01-01,a\n007,b\n7,b\n")
    assert run("fit train.csv --model popularity --out m")[0] == 0
    for users in (["2024-01-01"], ["007"], ["7", "007"]):
        Path("who.csv").write_text("\n".join(["user", *users, ""]))
        rows = data(run("recommend m --users-file who.csv -k 1 --json"))["recommendations"]
        assert [row["user"] for row in rows] == users
    Path("numbers.csv").write_text("user,item\n1,a\n2,b\n")
    run("fit numbers.csv --model popularity --out n")
    Path("test.csv").write_text("user,item\n1,b\nx,a\n")
    refused(
        run("evaluate n test.csv"),
        "test.csv, column 'user': 'x' cannot be an id beside the known ones, which are of kind "
        "integer, such as 1",
    )


def test_a_log_is_cut_to_its_core_and_repeats_are_joined(run: Run) -> None:
    Path("log.csv").write_text("user,item,w\na,1,2\na,1,4\na,2,1\nb,1,1\nb,2,1\nc,3,1\n")
    assert data(run("describe log.csv --k-core 2,2 --json"))["users"] == 2
    assert data(run("fit log.csv --k-core 2,2 --model ease --out m --json"))["pairs"] == 4
    assert "2 users x 2 items, 4 pairs" in run("plan log.csv --k-core 2,2 --model ease")[1]
    assert data(run("split log.csv random:0.5 --k-core 2,2 --out p --json"))["train"] > 0
    options = _parser().parse_args(["describe", "log.csv", "--weight", "w", "--repeated", "max"])
    weight = command_logs.read(options, "log.csv").weight
    assert weight is not None
    assert weight.tolist() == [4, 1, 1, 1, 1]


def test_recommend_among_candidates(fitted: Run) -> None:
    line = "recommend svd --users u1,u2 --include-seen --json --candidates"
    rows = data(fitted(f"{line} 3,5"))["recommendations"]
    assert [{row["item"] for row in rows if row["user"] == u} for u in ("u1", "u2")] == [{3, 5}] * 2
    Path("some.csv").write_text("item\n5\n3\n")
    assert data(fitted(f"{line} some.csv"))["recommendations"] == rows


def test_judging_with_seen_items_and_unknown_users(fitted: Run) -> None:
    Path("new.csv").write_text("user,item\nu1,3\nzed,2\n")
    found = data(fitted("evaluate svd new.csv --include-seen --metrics hr@30 --json"))["metrics"]
    assert (found[0]["n"], found[0]["unknown_users"]) == (2, 1)
    line = "compare svd pop --test new.csv --include-seen --unknown skip --metrics hr@30 --json"
    assert [row["n"] for row in data(fitted(line))["metrics"]] == [1, 1]
    assert all(row["value"] == 1 for row in data(fitted(line))["metrics"])


def test_a_warning_is_one_sentence(fitted: Run) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        code, out, err = fitted("evaluate svd log.csv --json")
    assert code == 0
    assert json.loads(out)["store"] == "svd"
    assert err.startswith("recsys evaluate: warning: ")
    assert "test pairs are in the training log" in err
    assert err.count("\n") == 1
    assert ".py" not in err
