"""What the README shows runs as it stands there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch

README = (Path(__file__).resolve().parent.parent / "README.md").read_text()


def block(language: str, containing: str) -> str:
    """The fenced block of that language that holds a text."""
    found = re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)
    return next(text for text in found if containing in text)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with ``log.csv``: 40 customers, 30 products, a year of purchases."""
    rng = np.random.default_rng(0)
    names = ["ann", "bob", *(f"customer {n}" for n in range(38))]
    goods = ["bread", *(f"product {n}" for n in range(29))]
    # everyone buys within the cut's reach: round after round over all customers
    customer = np.tile(np.arange(40), 30)
    product = (2 * rng.integers(0, 15, len(customer)) + customer % 2) % 30
    days = pd.date_range("2024-01-01", periods=len(customer), freq="5h")
    frame = pd.DataFrame(
        {
            "customer": np.array(names)[customer],
            "product": np.array(goods)[product],
            "bought_at": days.strftime("%Y-%m-%d %H:%M:%S"),
        }
    )
    frame.loc[0, "product"] = "bread"
    frame.to_csv(tmp_path / "log.csv", index=False)
    frame[-50:].to_csv(tmp_path / "today.csv", index=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_python_example(shop: Path) -> None:
    code = block("python", "from recsys import")
    exec(compile(code, "README.md", "exec"), {})
    assert (shop / "models" / "shop").is_dir()


def test_the_numerics_example(generator: torch.Generator) -> None:
    x, y = torch.randn(2, 40, 8, generator=generator)
    names = {"matrix": scipy.sparse.random_array((90, 70), density=0.2, rng=0, dtype=np.float32)}
    code = block("python", "import hyperbolic")
    exec(compile(code, "README.md", "exec"), names | {"x": x, "y": y, "g": generator})


def test_the_shell_example(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from recsys.cli import main

    for line in block("shell", "recsys fit").splitlines():
        words = shlex.split(line, comments=True)
        assert words[0] == "recsys"
        assert main(words[1:]) == 0, f"{line}: {capsys.readouterr().err}"
    assert list((shop / "lists").glob("*.parquet"))


def test_the_robustness_examples(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from recsys import Interactions
    from recsys.cli import main

    columns = {"user": "customer", "item": "product", "time": "bought_at"}
    train, test = Interactions.read("log.csv", **columns).split_by_time(0.9)
    code = block("python", "from recsys.attacks import")
    exec(compile(code, "README.md", "exec"), {"train": train, "test": test})
    flags = [word for role in columns.items() for word in (f"--{role[0]}", role[1])]
    assert main(["split", "log.csv", "time:0.9", "--out", "parts", *flags]) == 0
    for line in block("shell", "recsys robustness").splitlines():
        words = shlex.split(line, comments=True)
        assert main(words[1:]) == 0, f"{line}: {capsys.readouterr().err}"
    assert (shop / "page.html").is_file()


@pytest.mark.slow
def test_the_search_and_plot_examples(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from recsys import Interactions
    from recsys.cli import main

    pytest.importorskip("optuna")
    columns = {"user": "customer", "item": "product", "time": "bought_at"}
    part, validation = Interactions.read("log.csv", **columns).split_random(0.2)
    given = {"part": part, "validation": validation}
    code = block("python", "import search").replace("trials=30", "trials=2")
    exec(compile(code, "README.md", "exec"), given)
    line = block("shell", "recsys search").replace("\\\n", "").replace("trials 30", "trials 2")
    assert main(shlex.split(line, comments=True)[1:]) == 0, f"{line}: {capsys.readouterr().err}"
    assert (shop / "search.html").is_file()
    pd.DataFrame({"product": ["bread"], "aisle": ["bakery"]}).to_csv("products.csv", index=False)
    for line in block("shell", "recsys plot").splitlines():
        words = shlex.split(line, comments=True)
        assert main(words[1:]) == 0, f"{line}: {capsys.readouterr().err}"
    assert {"best.html", "disk.svg"} <= {path.name for path in shop.iterdir()}


@pytest.mark.parametrize("path", re.findall(r"^([a-z]+)/ {2,}", README, flags=re.MULTILINE))
def test_the_folders_exist(path: str) -> None:
    assert (Path(__file__).resolve().parent.parent / path).is_dir()


@pytest.mark.parametrize(
    "name", re.findall(r"`((?:hyperrank|recsys|data)[\w.]*\.[A-Z]\w+)`", README)
)
def test_the_exceptions_exist(name: str) -> None:
    import importlib

    module, _, attribute = name.rpartition(".")
    assert issubclass(getattr(importlib.import_module(module), attribute), Exception)
