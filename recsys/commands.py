"""What each command does, from parsed options to an answer that is data and text."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

from hyperrank.command_shell import check_free, device_of, load_model
from hyperrank.rendering import Answer, lines, records, table
from recsys.command_logs import read, read_core, split_by
from recsys.fit_command import fit, search
from recsys.plot_command import plot
from recsys.popularity_command import popularity
from recsys.recommend_command import recommend
from recsys.replay_command import replay
from recsys.robustness_command import robustness
from recsys.store_commands import (
    compact,
    diff,
    forget,
    rollback,
    status,
    verify,
    versions,
)
from recsys.update_command import update

__all__ = [  # a function for each command
    "compact",
    "compare",
    "datasets",
    "describe",
    "diff",
    "doctor",
    "evaluate",
    "export",
    "fit",
    "forget",
    "geometry",
    "plan",
    "plot",
    "popularity",
    "recommend",
    "replay",
    "robustness",
    "rollback",
    "search",
    "split",
    "status",
    "update",
    "verify",
    "versions",
]


def evaluate(options: Namespace) -> Answer:
    """Metrics of one model with intervals."""
    from recsys import evaluation

    model = _load(options)
    test = read(options, options.test, like=(model.users_, model.items_))
    frame = evaluation.evaluate(model, test, **_judging(options))
    rows = records(frame)
    return Answer({"store": options.store, "metrics": rows}, table(rows))


def compare(options: Namespace) -> Answer:
    """Metrics of several models with paired tests."""
    from recsys import evaluation
    from recsys.recommender import Recommender

    baseline = options.baseline or options.stores[0]
    names = list(dict.fromkeys([baseline, *options.stores]))
    if len(names) < 2:
        raise ValueError(f"compare needs at least two different models, got {names}")
    models = {name: load_model(name, Recommender, **device_of(options)) for name in names}
    first = models[baseline]
    test = read(options, options.test, like=(first.users_, first.items_))
    frame = evaluation.compare(models, test, baseline=baseline, **_judging(options))
    rows = records(frame)
    return Answer({"baseline": baseline, "metrics": rows}, table(rows))


def split(options: Namespace) -> Answer:
    """A log as two files, the later or held-out part apart."""
    from hyperrank import tables
    from hyperrank.durable import new_folder

    check_free(options.out, options.force)
    train, test = split_by(read_core(options), options.rule, options)
    with new_folder(Path(options.out).resolve()) as folder:
        for name, log in (("train", train), ("test", test)):
            tables.write(log.to_frame(), folder / f"{name}.parquet")
    data = {"out": options.out, "train": len(train), "test": len(test)}
    return Answer(data, f"wrote {len(train):,} + {len(test):,} events in {options.out}")


def describe(options: Namespace) -> Answer:
    """What a log holds."""
    from recsys.summary import summary

    data = summary(read_core(options))
    return Answer(data, lines(data))


def geometry(options: Namespace) -> Answer:
    """Whether hyperbolic scores are worth it for a log."""
    from recsys.geometry import assess

    found = assess(
        read_core(options), users=options.users, epochs=options.epochs, random_state=options.seed
    )
    data = found.as_dict()
    shown = {key: value for key, value in data.items() if key != "rows"}
    return Answer(data, f"{table(found.rows)}\n\n{lines(shown)}")


def plan(options: Namespace) -> Answer:
    """Memory and time that a fit would take; exit code 2 where memory would not do."""
    from recsys import plan as planning
    from recsys.costs import Sizes
    from recsys.models import make_model

    model = make_model(options.model, options.set, **device_of(options))
    given = (options.n_users, options.n_items, options.n_pairs)
    if options.log and given == (None, None, None):
        sizes = planning.sizes_of(read_core(options))
    elif options.log or None in given:
        raise ValueError("plan needs a log, or all of --n-users, --n-items and --n-pairs")
    else:
        sizes = Sizes(*map(_count, given))
    found = planning.plan(model, sizes)
    return Answer(found.as_dict(), found.sentence, 0 if found.fits else 2)


def export(options: Namespace) -> Answer:
    """An index of the item vectors, and the ids beside it."""
    from recsys.export import export_index
    from recsys.recommender import Recommender

    check_free(options.out, options.force)
    model = load_model(options.store, Recommender, device="cpu")
    ids = export_index(model, options.out, options.index, factory=options.factory)
    return Answer({"out": options.out, "ids": str(ids)}, f"wrote {options.out} and {ids}")


def datasets(options: Namespace) -> Answer:
    """Public data sets on this machine."""
    del options
    from recsys.doctor import found_datasets, where_datasets

    found = found_datasets()
    text = table(found) if found else "no data sets here"
    return Answer({"datasets": found}, f"{text}\n{where_datasets()}")


def doctor(options: Namespace) -> Answer:
    """Facts of this installation, and advice."""
    del options
    from recsys.doctor import examine

    facts, advice = examine()
    text = lines(facts) + "".join(f"\nadvice: {one}" for one in advice)
    return Answer({"facts": facts, "advice": advice}, text)


def _count(number: float) -> int:
    if not 1 <= number < 2**63:
        raise ValueError(f"a size must be a number from 1, got {number:g}")
    return int(number)


def _load(options: Namespace) -> Any:
    from recsys.recommender import Recommender

    return load_model(options.store, Recommender, **device_of(options))


def _judging(options: Namespace) -> dict[str, Any]:
    return {
        "metrics": [name.strip() for name in options.metrics.split(",") if name.strip()],
        "exclude_seen": not options.include_seen,
        "unknown": options.unknown,
    }
