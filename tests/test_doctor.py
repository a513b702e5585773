"""Facts of the installation and advice on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from recsys import doctor

FACTS: dict[str, Any] = {
    "heap": "kept",
    "system": "Linux x86_64",
    "threads": 4,
    "cores": 4,
    "available_gb": 16.0,
    "optional": dict.fromkeys(doctor.OPTIONAL, True),
    "datasets": 3,
}


def advice(**changes: Any) -> list[str]:
    return doctor._advice(FACTS | changes, cuda_build=changes.pop("cuda_build", False), cuda=False)


def test_a_good_installation_needs_no_advice() -> None:
    assert advice() == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"heap": "default"},
            "keep the heap: training on the CPU is faster with MALLOC_MMAP_MAX_=0",
        ),
        ({"threads": 1}, "torch uses 1 of 4 cores; unset OMP_NUM_THREADS, or set it to 4"),
        ({"available_gb": 1.5}, "only 1.5 GB of memory are available; run `recsys plan DATA`"),
        ({"cuda_build": True}, "this torch is built for CUDA but sees no device; check the driver"),
        (
            {"optional": FACTS["optional"] | {"faiss": False}},
            "for more: pip install hyperrank[ann]",
        ),
        ({"datasets": 0}, "set HYPERRANK_DATA to a folder of data sets"),
        ({"datasets": 0}, "fetch one in a checkout with `python -m data fetch NAME`"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_each_lack_has_its_advice(changes: dict[str, Any], said: str) -> None:
    given = advice(**changes)
    assert len(given) == 1
    assert said in given[0]


def test_the_heap_setting_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in doctor.HEAP:
        monkeypatch.delenv(name, raising=False)
    assert doctor.examine()[0]["heap"] == "default"
    for name, value in doctor.HEAP.items():
        monkeypatch.setenv(name, value)
    assert doctor.examine()[0]["heap"] == "kept"


def test_data_sets_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("shared/recsys/tiny", "cache/other", "shared/recsys/empty"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("shared/recsys/tiny/train", "shared/recsys/tiny/test", "cache/other/log"):
        (tmp_path / f"{name}.parquet").write_bytes(b"0" * 10**5)
    monkeypatch.setenv("HYPERRANK_DATA", str(tmp_path / "shared"))
    monkeypatch.setenv("HYPERRANK_CACHE", str(tmp_path / "cache"))
    found = [
        (row["name"], row["origin"], row["tables"], row["mb"]) for row in doctor.found_datasets()
    ]
    assert found == [("tiny", "HYPERRANK_DATA", "test train", 0.2), ("other", "cache", "log", 0.1)]
