"""What each command does, from parsed options to an answer that is data and text."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hyperrank.command_shell import check_free, device_of, load_model
from hyperrank.rendering import Answer, lines, records, table
from recsys.plot_command import plot
from recsys.popularity_command import popularity
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

if TYPE_CHECKING:
    from hyperrank.vocabulary import Vocabulary
    from recsys.interactions import Interactions


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
LOADS = 5  # of a model that is replaced while it is loaded


def fit(options: Namespace) -> Answer:
    """Reads, plans, learns, saves."""
    import time

    from hyperrank import generations, store, writers
    from recsys import plan as planning
    from recsys.column_names import remember
    from recsys.intake import Roles
    from recsys.models import make_model

    check_free(options.out, options.force)
    model = make_model(
        options.model,
        options.set,
        random_state=options.seed,
        progress=not options.quiet,
        **device_of(options),
    )
    train, validation = _train_and_validation(options)
    if not options.ignore_plan:
        planning.check_memory(model, train)
    began = time.perf_counter()
    model.fit(train, validation)
    seconds = time.perf_counter() - began
    remember(model, Roles(options.user, options.item, options.time, options.weight))
    score = None if validation is None else float(model.score(validation))
    if generations.is_versioned(options.out):
        report = {} if score is None else {"validation_ndcg@10": score}
        made = writers.add(model, options.out, report)
        digest, as_version = made.model, f" as {made.version}"
    else:
        digest, as_version = store.save(model, options.out, overwrite=options.force), ""
    data = {
        "store": options.out,
        "model": type(model).__name__,
        "params": model.get_params(),
        "users": train.n_users,
        "items": train.n_items,
        "pairs": len(train.pairs),
        "seconds": round(seconds, 3),
        "digest": digest,
    }
    text = f"saved {data['model']} of {len(train.pairs):,} pairs in {options.out}{as_version}"
    text += f", {seconds:.1f} s"
    if score is not None:
        data["validation_ndcg@10"] = score
        text += f"; validation NDCG@10 {score:.4f}"
    return Answer(data, text)


def search(options: Namespace) -> Answer:
    """Trials of a model, the best of them saved."""
    from hyperrank import search_command
    from recsys import spaces
    from recsys.column_names import remember
    from recsys.intake import Roles
    from recsys.models import make_model

    search_command.check(options)
    model = make_model(options.model, options.set, random_state=options.seed, **device_of(options))
    options.split = options.split or ("none" if options.validation else "random:0.2")
    if options.split == "none" and not options.validation:
        raise ValueError("a search needs a part to judge by; give --split or --validation")
    roles = Roles(options.user, options.item, options.time, options.weight)
    parts = _train_and_validation(options)
    return search_command.run(options, model, spaces, parts, lambda best: remember(best, roles))


def recommend(options: Namespace) -> Answer:
    """Lists for some users on stdout or in a file; for all in a folder of parts."""
    _check_all(options)
    if options.all:
        return _recommend_all(options)
    from hyperrank import tables
    from hyperrank.written_ids import ids_in, read_ids, split_ids

    model = _load(options)
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

    digest = store.describe(options.store).digest
    for _ in range(LOADS):
        model = _load(options)
        before, digest = digest, store.describe(options.store).digest
        if before == digest:
            return model, digest
    raise RuntimeError(
        f"{options.store} was replaced {LOADS} times while it was loaded; wait until it stays"
    )


def evaluate(options: Namespace) -> Answer:
    """Metrics of one model with intervals."""
    from recsys import evaluation

    model = _load(options)
    test = _read(options, options.test, like=(model.users_, model.items_))
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
    test = _read(options, options.test, like=(first.users_, first.items_))
    frame = evaluation.compare(models, test, baseline=baseline, **_judging(options))
    rows = records(frame)
    return Answer({"baseline": baseline, "metrics": rows}, table(rows))


def split(options: Namespace) -> Answer:
    """A log as two files, the later or held-out part apart."""
    from hyperrank import tables
    from hyperrank.durable import new_folder

    check_free(options.out, options.force)
    train, test = _split(_read_core(options), options.rule, options)
    with new_folder(Path(options.out).resolve()) as folder:
        for name, log in (("train", train), ("test", test)):
            tables.write(log.to_frame(), folder / f"{name}.parquet")
    data = {"out": options.out, "train": len(train), "test": len(test)}
    return Answer(data, f"wrote {len(train):,} + {len(test):,} events in {options.out}")


def describe(options: Namespace) -> Answer:
    """What a log holds."""
    from recsys.summary import summary

    data = summary(_read_core(options))
    return Answer(data, lines(data))


def geometry(options: Namespace) -> Answer:
    """Whether hyperbolic scores are worth it for a log."""
    from recsys.geometry import assess

    found = assess(
        _read_core(options), users=options.users, epochs=options.epochs, random_state=options.seed
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
        sizes = planning.sizes_of(_read_core(options))
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


def _read(options: Namespace, path: str, like: Any = None) -> Interactions:
    """The log at ``path``, its ids of the same kind as those of the vocabularies ``like``."""
    from recsys.interactions import Interactions

    roles = ("user", "item", "time", "weight", "repeated")
    return Interactions.read(path, **{role: getattr(options, role) for role in roles}, like=like)


def _read_core(options: Namespace) -> Interactions:
    """The log to learn from or to look at, its k-core where that is asked for."""
    if options.k_core is None:
        return _read(options, options.log)
    numbers = options.k_core.split(",")
    if len(numbers) != 2 or not all(one.strip().isdecimal() for one in numbers):
        raise ValueError(f"--k-core expects U,I, such as 5,10, got {options.k_core!r}")
    return _read(options, options.log).k_core(*map(int, numbers))


def _train_and_validation(options: Namespace) -> tuple[Interactions, Interactions | None]:
    log = _read_core(options)
    if options.validation and options.split != "none":
        raise ValueError("give --validation or --split, not both")
    if options.validation:
        return log, _read(options, options.validation, like=(log.users, log.items))
    return (log, None) if options.split == "none" else _split(log, options.split, options)


def _split(log: Interactions, rule: str, options: Namespace) -> tuple[Interactions, Interactions]:
    kind, _, value = rule.partition(":")
    if kind in ("time", "last") and log.events.time is None:
        raise ValueError(f"a split by {rule} needs times; name their column with --time")
    try:
        if kind == "time":
            return log.split_by_time(_moment(value))
        if kind == "last":
            return log.split_leave_last(int(value))
        if kind == "random":
            return log.split_random(float(value), random_state=options.seed)
    except ValueError as error:
        raise ValueError(f"cannot split by {rule!r}: {error}") from error
    raise ValueError(f"a split is time:0.9, last:1 or random:0.2, got {rule!r}")


def _count(number: float) -> int:
    if not 1 <= number < 2**63:
        raise ValueError(f"a size must be a number from 1, got {number:g}")
    return int(number)


def _moment(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text  # a date


def _load(options: Namespace) -> Any:
    from recsys.recommender import Recommender

    return load_model(options.store, Recommender, **device_of(options))


def _judging(options: Namespace) -> dict[str, Any]:
    return {
        "metrics": [name.strip() for name in options.metrics.split(",") if name.strip()],
        "exclude_seen": not options.include_seen,
        "unknown": options.unknown,
    }


def _candidates(given: str | None, items: Vocabulary) -> list[Any] | None:
    """The items of a file, or those named; None for all."""
    from hyperrank.written_ids import ids_in, read_ids, split_ids

    if given is None:
        return None
    return (
        ids_in(given, "item", items) if Path(given).is_file() else read_ids(items, split_ids(given))
    )
