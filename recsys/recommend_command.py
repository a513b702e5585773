"""What ``recsys recommend`` does, from parsed options to an answer."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hyperrank.command_shell import check_free, device_of, load_model
from hyperrank.rendering import Answer, records, table

if TYPE_CHECKING:
    from hyperrank.vocabulary import Vocabulary

LOADS = 5  # of a model that is replaced while it is loaded


def recommend(options: Namespace) -> Answer:
    """Lists for some users on stdout or in a file; for all in a folder of parts."""
    _check_all(options)
    if options.all:
        return _recommend_all(options)
    from hyperrank import tables
    from hyperrank.written_ids import ids_in, read_ids, split_ids
    from recsys.recommender import Recommender

    model = load_model(options.store, Recommender, **device_of(options))
    if options.out:
        check_free(options.out, options.force)
    if options.users is not None:
        users = read_ids(model.users_, split_ids(options.users))
    else:
        users = ids_in(options.users_file, "user", model.users_)
    seen = not options.include_seen
    frame = model.recommend(
        users,
        k=options.k,
        exclude_seen=seen,
        candidates=_candidates(options.candidates, model.items_),
        unknown=options.unknown or "raise",
    )
    if options.out:
        tables.write(frame, options.out)
        return Answer({"out": options.out, "rows": len(frame)}, f"wrote {options.out}")
    rows = records(frame)
    return Answer({"recommendations": rows}, table(rows))


def _recommend_all(options: Namespace) -> Answer:
    from hyperrank.parts import shard_of
    from recsys.scoring import score_all

    if not options.out:
        raise ValueError("--all writes Parquet parts; name their folder with --out")
    shard = shard_of(options.shard or "1/1")
    model, digest = _load_with_digest(options)
    parts = score_all(
        model,
        options.out,
        digest=digest,
        k=options.k,
        exclude_seen=not options.include_seen,
        shard=shard,
        progress=not options.quiet,
    )
    data = {"out": options.out, **parts._asdict()}
    text = f"wrote {parts.written} parts in {options.out}; {parts.done} of {parts.total} are there"
    return Answer(data, text)


def _check_all(options: Namespace) -> None:
    """Refuses options that the other way to recommend would not heed."""
    if options.all:
        idle = {
            "--unknown": options.unknown,
            "--force": options.force,
            "--candidates": options.candidates,
        }
        why = "applies to --users and --users-file, not to --all"
    else:
        idle, why = {"--shard": options.shard}, "applies to --all only"
    for name, given in idle.items():
        if given:
            raise ValueError(f"{name} {why}; leave it out")


def _load_with_digest(options: Namespace) -> tuple[Any, str]:
    """A saved model and its own digest, also where another is saved in its place meanwhile."""
    from hyperrank import store
    from recsys.recommender import Recommender

    digest = store.describe(options.store).digest
    for _ in range(LOADS):
        model = load_model(options.store, Recommender, **device_of(options))
        before, digest = digest, store.describe(options.store).digest
        if before == digest:
            return model, digest
    raise RuntimeError(
        f"{options.store} was replaced {LOADS} times while it was loaded; wait until it stays"
    )


def _candidates(given: str | None, items: Vocabulary) -> list[Any] | None:
    """The items of a file, or those named; None for all."""
    from hyperrank.written_ids import ids_in, read_ids, split_ids

    if given is None:
        return None
    return (
        ids_in(given, "item", items) if Path(given).is_file() else read_ids(items, split_ids(given))
    )
