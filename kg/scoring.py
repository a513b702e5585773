"""The best pairs of every relation, in Parquet parts that many processes write, none twice."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Float, Int
from torch import Tensor

from hyperrank.durable import agree, new_file
from hyperrank.parts import DIGEST, Parts, check_shard, is_whole, write_parts
from hyperrank.products import fast_products
from hyperrank.retrieval import largest
from kg.queries import Asked, rows_of

SAVE_SECONDS = 20.0  # of work that a kill can lose
BYTES_A_SCORE = 16  # one in float32, its copy, and what the search among them takes
NEXT = b"next"  # key of the first head that is not in yet, in the metadata of an unfinished part


class Best(NamedTuple):
    """The best pairs so far, best first; equal scores by head, then by tail."""

    keys: Int[Tensor, " m"]  # head * n_entities + tail
    scores: Float[Tensor, " m"]


class Wanted(NamedTuple):
    """Which pairs are written; ``LinkPredictor.score_all`` says what each means."""

    k: int
    min_score: float | None
    exclude_known: bool
    memory: float


def score_all(
    model: Any,
    folder: str | Path,
    relations: Any,
    wanted: Wanted,
    shard: tuple[int, int] = (1, 1),
    progress: bool = False,
) -> Parts:
    """Writes the best pairs of each relation; see ``LinkPredictor.score_all``."""
    check_shard(shard)
    place, digest = Path(folder), digest_of(model)
    asked = torch.arange(len(model.relations_))
    if relations is not None:
        asked = rows_of(model.relations_, relations, "relation").unique()
    settings = wanted._asdict() | {"model": digest, "relations": asked.tolist()}
    agree(place, settings, free=["memory"])
    ids, names = (
        vocabulary.to_arrow().column(0).combine_chunks()
        for vocabulary in (model.entities_, model.relations_)
    )

    def best(part: int) -> pa.Table:
        unfinished = Unfinished(place / f".part-{part:06d}.so-far.parquet", digest)
        key, score = _best(model, int(asked[part]), wanted, unfinished)
        head, tail = (pa.array(one.cpu().numpy()) for one in (key // len(ids), key % len(ids)))
        return pa.table(
            {
                "head": ids.take(head),
                "relation": names.take(pa.array(asked[part].expand(len(key)).numpy())),
                "tail": ids.take(tail),
                "score": score.cpu().numpy(),
                "rank": torch.arange(1, len(key) + 1).numpy(),
            }
        )

    parts = write_parts(
        place, len(asked), best, digest=digest, shard=shard, what="score", progress=progress
    )
    for left in place.glob(".part-*.so-far.parquet"):
        if is_whole(place / f"{left.name[1:12]}.parquet", digest):
            left.unlink(missing_ok=True)
    return parts


@torch.no_grad()
def _best(model: Any, relation: int, wanted: Wanted, unfinished: Unfinished) -> Best:
    """The exact best pairs of one relation, from where a killed call has left off."""
    device, n = model.facts_.device, len(model.entities_)
    heads = max(1, int(wanted.memory / (BYTES_A_SCORE * n)))
    first, best = unfinished.read(device)
    saved = time.monotonic()
    for start in range(first, n, heads):
        anchor = torch.arange(start, min(start + heads, n), device=device)
        asked = Asked(anchor, torch.full_like(anchor, relation))
        with fast_products():
            scores = model.module_.score(*asked).flatten().clone()
        if wanted.exclude_known:
            scores[model.facts_.lookup(*asked).keys] = -torch.inf
        if wanted.min_score is not None:
            scores[scores < wanted.min_score] = -torch.inf
        found = largest(scores[None], min(wanted.k, len(scores)))
        there = found.candidates[0] >= 0
        keys = torch.cat([best.keys, found.candidates[0, there] + start * n])
        # earlier heads come first, and a stable sort leaves equal scores in that order
        order = torch.cat([best.scores, found.scores[0, there]]).sort(descending=True, stable=True)
        best = Best(keys[order.indices[: wanted.k]], order.values[: wanted.k])
        if time.monotonic() - saved > SAVE_SECONDS:
            unfinished.write(start + len(anchor), best)
            saved = time.monotonic()
    return best


class Unfinished(NamedTuple):
    """A file that keeps what is known of a part while it is made."""

    path: Path
    digest: str

    def read(self, device: torch.device) -> tuple[int, Best]:
        """The first head that is not in yet, and the best pairs of those before it."""
        if not is_whole(self.path, self.digest):
            nothing = torch.empty(0, device=device)
            return 0, Best(nothing.long(), nothing)
        table = pq.read_table(self.path)
        columns = (torch.tensor(table[name].to_numpy()).to(device) for name in Best._fields)
        return int(table.schema.metadata[NEXT]), Best(*columns)

    def write(self, following: int, best: Best) -> None:
        """Replaces the file, at once."""
        columns = {name: column.cpu().numpy() for name, column in best._asdict().items()}
        metadata = {DIGEST: self.digest, NEXT: str(following)}
        with new_file(self.path) as fresh:
            pq.write_table(pa.table(columns).replace_schema_metadata(metadata), fresh)


def digest_of(model: Any) -> str:
    """SHA-256 of the vocabularies and of all tensors of a fitted model."""
    state, seal = model._state(), hashlib.sha256()
    for name, vocabulary in sorted(state.vocabularies.items()):
        seal.update(f"{name} {vocabulary.digest}\n".encode())
    for name, tensor in sorted(state.tensors.items()):
        seal.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        seal.update(tensor.contiguous().reshape(-1).view(torch.uint8).cpu().numpy().data)
    return seal.hexdigest()
