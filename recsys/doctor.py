"""Facts of this installation, advice on them, and the data sets found on this machine."""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

REQUIRED = ("torch", "numpy", "scipy", "pandas", "pyarrow", "narwhals", "safetensors")
OPTIONAL = {  # module -> extra that brings it
    "implicit": "baselines",
    "faiss": "ann",
    "usearch": "ann",
    "matplotlib": "plots",
    "polars": "polars",
    "adbc_driver_postgresql": "sql",
    "adbc_driver_sqlite": "sql",
    "optuna": "hpo",
    "torch_sparse": "torch-sparse",
}
# glibc then serves large tensors from memory it keeps, not from pages the kernel must zero anew
# (mallopt(3)); UltraGCN's epoch is about twice as fast so
HEAP = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "20000000000",
    "MALLOC_TOP_PAD_": "268435456",
}
MANY_GIGABYTES = 4  # below this, fits of a few million pairs begin to fail


def examine() -> tuple[dict[str, Any], list[str]]:
    """Facts by name, and sentences of advice; nothing is changed."""
    import psutil
    import torch

    memory = psutil.virtual_memory()
    cuda = torch.cuda.is_available()
    facts: dict[str, Any] = {
        "hyperrank": _version("hyperrank"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        **{name: _version(name) for name in REQUIRED},
        "cores": len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gb": round(memory.total / 2**30, 1),
        "available_gb": round(memory.available / 2**30, 1),
        "cuda": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "heap": "kept" if _heap_is_kept() else "default",
        "optional": {name: importlib.util.find_spec(name) is not None for name in OPTIONAL},
        "datasets": len(found_datasets()),
    }
    return facts, _advice(facts, cuda_build=torch.version.cuda is not None, cuda=cuda)


def _advice(facts: dict[str, Any], *, cuda_build: bool, cuda: bool) -> list[str]:
    advice = []
    if facts["heap"] == "default" and facts["system"].startswith("Linux"):
        setting = " ".join(f"{name}={value}" for name, value in HEAP.items())
        advice.append(f"keep the heap: training on the CPU is faster with {setting}")
    if facts["threads"] < facts["cores"]:
        advice.append(
            f"torch uses {facts['threads']} of {facts['cores']} cores; unset OMP_NUM_THREADS, or "
            f"set it to {facts['cores']}"
        )
    if facts["available_gb"] < MANY_GIGABYTES:
        advice.append(
            f"only {facts['available_gb']} GB of memory are available; "
            "run `recsys plan DATA` before a fit"
        )
    if cuda_build and not cuda:
        advice.append("this torch is built for CUDA but sees no device; check the driver")
    missing = {OPTIONAL[name] for name, there in facts["optional"].items() if not there}
    wanted = sorted(missing & {"baselines", "ann", "plots"})
    if wanted:
        advice.append(f"for more: pip install hyperrank[{','.join(wanted)}]")
    if not facts["datasets"]:
        advice.append(where_datasets())
    return advice


def found_datasets() -> list[dict[str, Any]]:
    """Folders with Parquet files under ``HYPERRANK_DATA`` and the cache: name, files, size."""
    found = []
    for origin, root in _roots():
        for folder in sorted(root.iterdir()) if root.is_dir() else []:
            files = sorted(folder.glob("*.parquet")) if folder.is_dir() else []
            if files:
                size = sum(path.stat().st_size for path in files)
                names = " ".join(path.stem for path in files)
                row = {"name": folder.name, "origin": origin, "mb": round(size / 1e6, 1)}
                found.append(row | {"tables": names, "folder": str(folder)})
    return found


def where_datasets() -> str:
    """A sentence on where data sets are looked for."""
    places = " and ".join(str(root) for _, root in _roots())
    return (
        f"looked in {places}; set HYPERRANK_DATA to a folder of data sets, or fetch one in a "
        "checkout with `python -m data fetch NAME` (`python -m data` lists them)"
    )


def _roots() -> list[tuple[str, Path]]:
    """Where the recipes of the checkout read and write, in their order."""
    import platformdirs

    named, cache = os.environ.get("HYPERRANK_DATA"), os.environ.get("HYPERRANK_CACHE")
    roots = [Path(named) / "recsys", Path(named)] if named else []
    cached = Path(cache) if cache else platformdirs.user_cache_path("hyperrank") / "data"
    return [*(("HYPERRANK_DATA", root) for root in roots), ("cache", cached)]


def _heap_is_kept() -> bool:
    threshold = os.environ.get("MALLOC_TRIM_THRESHOLD_", "")
    return (
        os.environ.get("MALLOC_MMAP_MAX_") == "0" and threshold.isdigit() and int(threshold) > 2**30
    )


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"
