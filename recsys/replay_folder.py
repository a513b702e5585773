"""A folder that takes a replay slice by slice, so that a killed one can go on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from hyperrank import identifiers, store
from hyperrank.durable import agree, new_file, sole_writer
from hyperrank.vocabulary import Vocabulary
from recsys.policies import State
from recsys.recommender import Recommender
from recsys.tally import Walked
from recsys.timeline import Timeline

FACTS = b"replay"  # key in the metadata of a slice
SLICES, MODELS = "slices", "models"
IDLE = ("device", "num_threads", "progress")  # parameters that change no answer


class ReplayFolder:
    """A Parquet file for each slice done, and the models that go on from the last of them.

    A file appears whole or not at all, after the models it names.
    """

    def __init__(
        self, place: Path, line: Timeline, settings: dict[str, Any], model: Recommender
    ) -> None:
        self.place, self.line, self.model = place.resolve(), line, model
        params = model.get_params().items()
        self.wanted = settings | {
            "model": type(model).__name__,
            "params": json.loads(
                json.dumps({k: v for k, v in params if k not in IDLE}, default=str)
            ),
            "log and slices": line.digest,
        }
        self._items = line.log.items.to_arrow().column(0).combine_chunks()
        self._users = line.log.users.to_arrow().column(0).combine_chunks()

    @contextmanager
    def opened(self, resume: bool) -> Iterator[None]:
        """Keeps others out; deletes the models when the last slice is there.

        Raises:
            FileExistsError: If the folder exists and ``resume`` is False.
            ValueError: If it holds something else, or another replay.
            TimeoutError: If another process writes it.
        """
        if self.place.exists() and not resume:
            raise FileExistsError(
                f"{self.place} exists already; choose another name, or resume=True (--resume) to "
                "go on with the replay in it"
            )
        self.place.parent.mkdir(parents=True, exist_ok=True)
        with sole_writer(self.place):
            agree(self.place, self.wanted)
            yield
            if self._part(len(self.line)).exists():
                shutil.rmtree(self.place / MODELS, ignore_errors=True)

    def walked(self) -> Iterator[Walked]:
        """The slices that are done."""
        number = 1
        while self._part(number).exists():
            yield self._read(number)
            number += 1

    def states(self, last: Walked) -> dict[str, State]:
        """The state of each policy after the last slice that is done."""
        device = str(self.model.device)
        made = {
            state: State(
                store.load(self.place / MODELS / state[0], device=device), state[1], state[0]
            )
            for state in set(last.states.values())
        }
        return {policy: made[state] for policy, state in last.states.items()}

    def add(self, done: Walked, states: dict[str, State]) -> None:
        """Writes a slice and what goes on from it."""
        models = self.place / MODELS
        models.mkdir(exist_ok=True)
        for state in states.values():
            if not (models / state.name).exists():
                store.save(state.model, models / state.name)
        with new_file(self._part(done.number)) as fresh:
            pq.write_table(self._table(done), fresh, compression="zstd")
        kept = {state.name for state in states.values()}
        for path in models.iterdir():
            if path.is_dir() and path.name not in kept:
                shutil.rmtree(path)
            elif path.is_file():  # a lock of a model written once
                path.unlink(missing_ok=True)

    def _part(self, number: int) -> Path:
        return self.place / SLICES / f"{number:06d}.parquet"

    def _table(self, done: Walked) -> pa.Table:
        """A row for each policy and user: ids, NDCG and the list."""
        n = len(done.users)
        there = done.listed >= 0
        ends = np.concatenate([[0], there.sum(2).flatten().cumsum(0).numpy()])
        items = self._items.take(pa.array(done.listed[there].numpy()))
        facts = {
            "rows": [row | {"opening": str(row["opening"])} for row in done.rows],
            "states": done.states,
            "fit_seconds": done.fit_seconds,
        }
        return pa.table(
            {
                "policy": np.repeat([row["policy"] for row in done.rows], n),
                "user": self._users.take(pa.array(np.tile(done.users.numpy(), len(done.rows)))),
                f"ndcg@{done.listed.shape[2]}": done.ndcg.flatten().numpy(),
                "items": pa.ListArray.from_arrays(pa.array(ends, pa.int32()), items),
            }
        ).replace_schema_metadata({FACTS: json.dumps(facts).encode()})

    def _read(self, number: int) -> Walked:
        """What ``_table`` holds."""
        table = pq.read_table(self._part(number))
        facts = json.loads(table.schema.metadata[FACTS])
        rows = [row | {"opening": self.line.opening(number)} for row in facts["rows"]]
        n, k = len(table) // len(rows), self.wanted["k"]
        user, ndcg, items = (table.column(name).combine_chunks() for name in table.column_names[1:])
        length = torch.from_numpy(np.diff(items.offsets.to_numpy()))
        listed = torch.full((len(table), k), -1)
        listed[torch.arange(k) < length[:, None]] = _rows(self.line.log.items, items.flatten())
        return Walked(
            number,
            rows,
            _rows(self.line.log.users, user[:n]),
            torch.from_numpy(np.array(ndcg).reshape(len(rows), n)),
            listed.view(len(rows), n, k),
            {policy: (name, made) for policy, (name, made) in facts["states"].items()},
            facts["fit_seconds"],
        )


def _rows(ids: Vocabulary, column: pa.Array) -> Tensor:
    return ids.rows(identifiers.from_arrow(ids.kind, column).values)
