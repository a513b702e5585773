"""Folders of Parquet parts that many processes write, none twice; a kill loses one part at most."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from hyperrank.durable import new_file

DIGEST = b"model"  # key of the model's digest in the metadata of a part


class Parts(NamedTuple):
    """How far a folder of parts has come."""

    written: int  # by this call
    done: int
    total: int


def check_shard(shard: tuple[int, int]) -> None:
    """Passes for a share of the work, counted from 1, and the number of shares.

    Raises:
        ValueError: If it is out of range.
    """
    share, shards = shard
    if not 1 <= share <= shards:
        raise ValueError(f"shard must be I/N with 1 <= I <= N, got {share}/{shards}")


def shard_of(text: str) -> tuple[int, int]:
    """The share of the work that ``I/N`` names.

    Raises:
        ValueError: If it is of another form.
    """
    share, _, shards = text.partition("/")
    if not (share.isdigit() and shards.isdigit()):
        raise ValueError(f"--shard expects I/N, such as 1/4, got {text!r}")
    return int(share), int(shards)


def write_parts(
    place: Path,
    total: int,
    make: Callable[[int], pa.Table],
    *,
    digest: str,
    shard: tuple[int, int] = (1, 1),
    what: str = "parts",
    progress: bool = False,
) -> Parts:
    """Writes the parts of a folder that are not there; call ``durable.agree`` on it first.

    Shard (i, n) takes the parts with ``p % n == i - 1``. A part appears whole or not at all and a
    part that is there is not made again, so a killed call is simply repeated, with any number of
    shards. Reading the folder as one Parquet data set gives everything.

    Args:
        place: The folder.
        total: How many parts there are to be.
        make: Gives the table of a part by its number.
        digest: Of the model that ``make`` asks; every part names it.
        shard: Which share of the work, from 1, and of how many.
        what: Stands before the bar.
        progress: Whether to show a bar on stderr.
    """
    share, shards = shard
    names = [place / f"part-{part:06d}.parquet" for part in range(total)]
    todo = [p for p in range(share - 1, total, shards) if not is_whole(names[p], digest)]
    for part in tqdm(todo, desc=what, unit="part", disable=not progress, leave=False):
        table = make(part).replace_schema_metadata({DIGEST: digest.encode()})
        with new_file(names[part]) as fresh:
            pq.write_table(table, fresh)
    return Parts(len(todo), sum(name.exists() for name in names), total)


def is_whole(path: Path, digest: str) -> bool:
    """True for a readable part of this model."""
    if not path.exists():
        return False
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (pa.ArrowInvalid, OSError):
        return False
    return bool(metadata.get(DIGEST) == digest.encode())
