"""The pictures that there are of a fitted model, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from hyperrank import plots, point_plots, tables
from hyperrank.devices import seeded
from hyperrank.pairs import PairSet
from hyperrank.plots import Names, NothingToDrawError, Picture
from hyperrank.point_plots import Table
from hyperrank.questions import whole
from hyperrank.retrieval import top_k
from hyperrank.scorers import Scorer
from hyperrank.spectrum import Spectrum
from hyperrank.vocabulary import Vocabulary
from hyperrank.written_ids import ids_in

KINDS = ("disk", "radius", "popularity", "spectrum", "training")
MOST_LISTS = 10_000  # that are made to look at popularity


class Look(NamedTuple):
    """What may be asked of pictures.

    Attributes:
        groups: Group of each id, by which the disk is coloured; None for popularity.
        others: Whether the disk shows rows of the other side too.
        k: Length of the lists whose popularity is looked at.
        random_state: Of the samples where there is too much to draw or to rank.
    """

    groups: Mapping[Any, Any] | None = None
    others: bool = False
    k: int = 10
    random_state: int = 0


@dataclass(frozen=True)
class Subject:
    """A fitted model, as pictures need it.

    Attributes:
        model: With its histories, where it has them.
        names: Words for it.
        ids: Of the rows.
        scorer: Of the queries of ``known``.
        known: What it has learned from.
        table: Its rows; raises ``NothingToDrawError`` where it has none.
        spectra: Of its tables, by name; raises likewise.
    """

    model: Any
    names: Names
    ids: Vocabulary
    scorer: Scorer
    known: PairSet
    table: Callable[[], Table]
    spectra: Callable[[], Mapping[str, Spectrum]]


@torch.no_grad()
def draw(subject: Subject, kind: str, look: Look | None = None) -> Picture:
    """One picture of ``KINDS``.

    Raises:
        ValueError: If there is no such kind, ``k`` is less than 1, no id of the groups is known, or
            the model has not learned what is to be shown (``NothingToDrawError``).
        ImportError: If matplotlib is not installed.
    """
    groups, others, k, random_state = look or Look()
    if kind == "disk":
        of_rows = None if groups is None else groups_of(groups, subject.ids, subject.names.rows)
        return point_plots.disk(subject.table(), of_rows, others=others, random_state=random_state)
    if kind == "radius":
        return point_plots.radius(subject.table(), random_state=random_state)
    if kind == "popularity":
        counts, lists = listed(subject.scorer, subject.known, k, random_state)
        degree, said = subject.known.candidate_degrees, f"{lists:,} {subject.names.lists}"
        return plots.popularity(counts, degree, k, said, subject.names)
    if kind == "spectrum":
        return plots.spectra(subject.spectra(), subject.names)
    if kind == "training":
        return _training(subject.model, subject.names)
    raise ValueError(f"there is no picture {kind!r}; there are {', '.join(KINDS)}")


def _training(model: Any, names: Names) -> Picture:
    losses = getattr(model, "history_", None)
    if not losses:
        raise NothingToDrawError(
            f"{names.model} keeps no training history: it is not learned in epochs"
        )
    looks = model.validation_history_
    return plots.training(losses, looks, model.best_epoch_, model.monitor, names)


def listed(
    scorer: Scorer, known: PairSet, k: int, random_state: int = 0
) -> tuple[Int[Tensor, " n"], int]:
    """How many lists of the ``k`` best hold each candidate, and how many lists there are.

    A list for each query that knows something, known candidates left out; of more than 10,000
    such queries, for so many drawn ones.
    """
    asked = (known.query_degrees > 0).nonzero()[:, 0].cpu()
    chosen = torch.randperm(len(asked), generator=seeded(random_state))[:MOST_LISTS].sort().values
    limit = min(whole("k", k), known.n_candidates)
    best = top_k(scorer, asked[chosen].to(known.device), limit, known=known).candidates
    return torch.bincount(best[best >= 0], minlength=known.n_candidates), len(chosen)


def groups_of(groups: Mapping[Any, Any], known: Vocabulary, what: str) -> list[str | None]:
    """The group of each known id, None where there is none.

    Raises:
        ValueError: If no id is known; ``what`` names what ids stand for.
    """
    rows = known.rows(list(groups), unknown="mark").tolist() if groups else []
    found: list[str | None] = [None] * len(known)
    for row, group in zip(rows, groups.values(), strict=True):
        if row >= 0 and group is not None:
            found[row] = str(group)
    if not any(row >= 0 for row in rows):
        given = ", ".join(map(repr, list(groups)[:2])) or "none"
        raise ValueError(
            f"the groups are of {len(groups)} ids, such as {given}, of which the model knows none "
            f"among its {len(known)} {what}, such as {', '.join(map(repr, known.ids[:2].tolist()))}"
        )
    return found


def read_groups(path: str, column: str, ids: str, known: Vocabulary) -> dict[Any, Any]:
    """The group of each id in two columns of a file; the last where an id comes again.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read, a column is missing, or an id is.
    """
    frame = tables.read(path, [ids, column], "pyarrow")
    return dict(zip(ids_in(path, ids, known), frame[column].to_pylist(), strict=True))
