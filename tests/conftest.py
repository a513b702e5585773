"""Fixtures shared by all tests; every call into a package has its types checked."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

# before the first import of numpy or torch: a worker beside other workers keeps to one thread
_THREADS = "1" if os.environ.get("PYTEST_XDIST_WORKER") else "2"
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, _THREADS)

import pytest
import torch
from hypothesis import settings
from jaxtyping import install_import_hook

from postgres_server import postgres  # noqa: F401 - a fixture for all

# the same examples on every run, and no clock: a loaded machine must not fail a law
settings.register_profile("suite", deadline=None, derandomize=True)
settings.load_profile("suite")

install_import_hook(["hyperrank", "recsys", "kg"], "shape_checks.check")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what is marked ``gpu`` where there is no CUDA device."""
    if torch.cuda.is_available():
        return
    skip = pytest.mark.skip(reason="no CUDA device")
    for test in items:
        if "gpu" in test.keywords:
            test.add_marker(skip)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of public data sets; skips where ``HYPERRANK_DATA`` does not name one."""
    named = os.environ.get("HYPERRANK_DATA")
    if not named:
        pytest.skip("HYPERRANK_DATA is not set: no data sets here")
    folder = Path(named)
    if not folder.is_dir():
        pytest.skip(f"HYPERRANK_DATA names {named}, which is no folder")
    return folder


@pytest.fixture
def seeded() -> Callable[[int], torch.Generator]:
    """Makes a CPU generator from a number."""

    def make(number: int) -> torch.Generator:
        return torch.Generator().manual_seed(number)

    return make


@pytest.fixture
def generator(seeded: Callable[[int], torch.Generator]) -> torch.Generator:
    """A CPU generator, the same for every test."""
    return seeded(0)


@pytest.fixture
def checkerboard(generator: torch.Generator) -> Any:
    """Interactions in which even users like even items: 60 users, 40 items, about 10 items each.

    Whatever learns anything puts items of the user's own parity first.
    """
    from hyperrank.pairs import pair_set
    from recsys.interactions import Interactions

    n_users, n_items, n_events = 60, 40, 700
    user = torch.randint(n_users, (n_events,), generator=generator)
    item = 2 * torch.randint(n_items // 2, (n_events,), generator=generator) + user % 2
    return Interactions.from_pairs(pair_set(user, item, n_queries=n_users, n_candidates=n_items))


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[[str], tuple[int, str, str]]:
    """Runs a command line beside a plain model ``shop`` of ann, bob, cem and dee."""
    from recsys.cli import main

    monkeypatch.chdir(tmp_path)
    shutil.copytree(Path(__file__).resolve().parent / "stores" / "format1", "shop")
    Path("new.csv").write_text("user,item,when\neve,tea,100\nann,tea,200\nann,bread,300\n")

    def call(line: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = main(shlex.split(line))
        return code, *capfd.readouterr()

    return call
