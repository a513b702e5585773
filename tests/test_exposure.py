"""Lists at matched accuracy: what is measured, found, drawn and refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from command_lines import data, refused
from hyperrank import store
from recsys import PureSVD, TriplH, breakdown, evaluate, pictures
from recsys.cli import main
from recsys.exposure import DIALS, exposure, matched_dial, tradeoff
from recsys.interactions import Interactions


def made() -> pd.DataFrame:
    """Two tastes, and items that fewer and fewer people like."""
    source = np.random.default_rng(0)
    user = source.integers(0, 60, 2400)
    item = 2 * (30 * source.random(2400) ** 2).astype(int) + user % 2
    return pd.DataFrame({"user": user, "item": item})


TRAIN, TEST = Interactions.from_frame(made()).split_random(0.3)
TURNED = TriplH(dim=8, epochs=8, batch_size=16, negatives=60, lr=0.05).fit(TRAIN)
SVD = PureSVD(dim=5).fit(TRAIN)


def test_exposure_is_what_the_judge_says() -> None:
    found = exposure(SVD, TEST, k=5)
    names = ["ndcg@20", "coverage@5", "gini@5", "popularity@5"]
    frame = evaluate(SVD, TEST, names)
    assert list(found) == [*names, "tail_recall@5"]
    assert [found[name] for name in names] == pytest.approx(frame["value"].tolist())
    tail = breakdown(SVD, TEST, ["recall@5"]).set_index("group").value["tail items"]
    assert found["tail_recall@5"] == pytest.approx(tail)


def test_the_dial_is_turned_to_the_rare_side_of_equal_accuracy() -> None:
    value = exposure(TURNED.with_popularity(-0.6), TEST)["ndcg@20"]
    dial = matched_dial(TURNED, TEST, value)
    assert dial == pytest.approx(-0.6, abs=0.05)
    assert exposure(TURNED.with_popularity(dial), TEST)["ndcg@20"] >= value
    assert matched_dial(TURNED, TEST, 0.0) == min(DIALS)
    assert matched_dial(TURNED, TEST, 1.0) is None


def test_tradeoff_describes_both_at_one_accuracy() -> None:
    found = tradeoff({"svd": SVD, "mine": TURNED}, TEST, k=5)
    assert found.turned == "mine"
    assert found.curve["dial"].tolist() == list(DIALS)
    assert found.curve["popularity@5"].is_monotonic_increasing
    rows = found.models.set_index(["model", "matched"])
    own = exposure(TURNED, TEST, k=5)
    assert rows.loc[("mine", "")][list(own)].to_dict() == pytest.approx(own)
    svd, same = rows.loc[("svd", "")], rows.loc[("mine", "svd")]
    assert svd["ndcg@20"] <= same["ndcg@20"] < svd["ndcg@20"] + 0.01
    assert np.isnan(svd["dial"])
    again = tradeoff({"svd": SVD, "mine": TURNED}, TEST, k=5, match={"svd": same["dial"]})
    pd.testing.assert_frame_equal(again.models, found.models)
    perfect = tradeoff({"svd": SVD, "mine": TURNED}, TEST, match={}).models
    assert perfect["matched"].tolist() == ["", ""]


def test_what_has_no_dial_is_refused() -> None:
    cosine = TriplH(geometry="cosine", dim=4, epochs=1).fit(TRAIN)
    why = "a popularity dial has a TriplH of geometry 'triangle'"
    with pytest.raises(ValueError, match=f"^none of svd, cosine; {why}$"):
        tradeoff({"svd": SVD, "cosine": cosine}, TEST)
    with pytest.raises(ValueError, match=f"^'svd' is not one with a dial among svd, mine; {why}$"):
        tradeoff({"svd": SVD, "mine": TURNED}, TEST, turned="svd")


def test_it_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    found = tradeoff({"svd": SVD, "mine": TURNED}, TEST, dials=[-1.0, 0.0])
    pictures.tradeoff(found, tmp_path / "a.svg", "a title")
    drawn = (tmp_path / "a.svg").read_text()
    shown = ["a title", "mine, dial turned", "svd", *found.curve.columns[1:]]
    assert all(f"<!-- {name} -->" in drawn for name in shown)
    many = {**{f"svd {n}": SVD for n in range(7)}, "mine": TURNED}
    crowd = tradeoff(many, TEST, match={}, dials=[0.0])
    with pytest.raises(ValueError, match="a plot has marks for 6 other models, got 7"):
        pictures.tradeoff(crowd, tmp_path / "b.svg")


def test_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    TEST.to_frame().to_csv("test.csv", index=False)
    for name, model in {"svd": SVD, "mine": TURNED}.items():
        store.save(model, name)

    def run(line: str) -> tuple[int, str, str]:
        code = main(f"popularity {line} --test test.csv".split())
        return code, *capfd.readouterr()

    answer = data(run("svd mine --json -k 5"))
    assert (answer["turned"], answer["plot"]) == ("mine", None)
    assert len(answer["curve"]) == len(DIALS)
    assert [row["matched"] for row in answer["models"]] == ["", "svd", ""]
    code, out, err = run("svd mine --accuracy recall@5 --turn mine --plot a.png")
    assert (code, err) == (0, "")
    assert out.splitlines()[0].split()[:4] == ["model", "matched", "dial", "recall@5"]
    assert out.endswith("drew a.png\n")
    assert Path("a.png").is_file()
    refused(run("svd svd"), "popularity needs at least two different models, got ['svd']")
    refused(run("svd mine --plot a.txt"), "a plot is a file that ends in")
