"""What the commands on stores of versions do, from parsed options to an answer."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING, Any

from hyperrank.command_shell import device_of
from hyperrank.rendering import Answer, lines, table

if TYPE_CHECKING:
    from hyperrank.generations import Generation
    from recsys.updatable import UpdatableRecommender

WRONG = 1  # exit code


def status(options: Namespace) -> Answer:
    """What stands, since when, how far it has drifted, who writes."""
    from hyperrank import durable, generations, store

    made = generations.current(options.store)
    manifest = store.describe(options.store)
    kept = [found.version for found, pruned in generations.versions(options.store) if not pruned]
    owner = durable.writer_of(generations.resolved(options.store))
    data = {
        "store": options.store,
        "version": made.version,
        "made_by": made.made_by,
        "written": made.written.get("time"),
        "model": manifest.name.partition(":")[2],
        **{name: found["size"] for name, found in manifest.vocabularies.items()},
        "batches": len(made.batches),
        "drift": made.report.get("drift", 0.0),
        "verdict": made.report.get("verdict", "keep"),
        "reason": made.report.get("reason", "nothing was taken in since the last full fit"),
        "kept": kept,
        "bytes": generations.size_of(options.store),
        "writer": owner,
    }
    return Answer(data, lines(data | {"kept": ", ".join(kept)}))


def versions(options: Namespace) -> Answer:
    """All versions, oldest first."""
    from hyperrank import generations

    current = generations.current(options.store).version
    rows = [
        _version_row(made, pruned, current) for made, pruned in generations.versions(options.store)
    ]
    return Answer({"store": options.store, "current": current, "versions": rows}, table(rows))


def _version_row(made: Generation, pruned: bool, current: str) -> dict[str, Any]:
    state = "current" if made.version == current else "pruned" if pruned else "kept"
    return {
        "version": made.version,
        "state": state,
        "parent": made.parent,
        "made_by": made.made_by,
        "written": made.written.get("time"),
        "batches": len(made.batches),
        "events": made.report.get("events"),
        "drift": made.report.get("drift"),
        "verdict": made.report.get("verdict"),
        "code": made.written.get("hyperrank"),
        "config": made.config[:12],
        "model": made.model[:12],
    }


def rollback(options: Namespace) -> Answer:
    """Makes an older version the current one."""
    from hyperrank import generations, writers

    before = generations.current(options.store).version
    made = writers.rollback(options.store, _version(options.version))
    data = {"store": options.store, "version": made.version, "before": before}
    return Answer(data, f"{made.version} stands now; {before} is kept")


def diff(options: Namespace) -> Answer:
    """Whose lists changed between two versions, and which interaction did it."""
    from dataclasses import asdict

    from hyperrank import generations, store
    from hyperrank.written_ids import read_ids, split_ids
    from recsys.version_diff import compare_versions

    names = _two_versions(options)
    old, new = (
        store.load(generations.place_of(options.store, version), **device_of(options))
        for version in names
    )
    users = None
    if options.users is not None:
        users = read_ids(new.users_, split_ids(options.users))
    found = compare_versions(old, new, k=options.k, users=users, most=options.limit)
    data = {"store": options.store, "old": names[0], "new": names[1], **asdict(found)}
    rows = [
        {
            "user": one.user,
            "entered": _listed(one.entered),
            "left": _listed(one.left),
            "because": one.because if isinstance(one.because, str) else _listed(one.because),
        }
        for one in found.changes
    ]
    text = (
        f"{found.changed:,} of {found.users:,} users have another list of {options.k}; "
        f"{found.overlap:.1%} of a list stays on average; {found.users_added:,} users and "
        f"{found.items_added:,} items are new"
    )
    return Answer(data, f"{text}\n{table(rows)}" if rows else text)


def _version(text: str | None) -> str | None:
    """The name of a version that may be given by its number alone."""
    return f"v{int(text):06d}" if text is not None and text.isdecimal() else text


def _two_versions(options: Namespace) -> list[str]:
    """The versions named; for want of the second the current one, of both the last two."""
    from hyperrank import generations

    given = [name for name in map(_version, (options.old, options.new)) if name is not None]
    if len(given) == 1:
        return [*given, generations.current(options.store).version]
    kept = [made.version for made, pruned in generations.versions(options.store) if not pruned]
    if not given and len(kept) < 2:
        raise ValueError(f"{options.store} has one version, {kept[0]}; there is nothing to compare")
    return given or kept[-2:]


def _listed(values: list[Any], most: int = 5) -> str:
    more = f" and {len(values) - most} more" if len(values) > most else ""
    return ", ".join(map(str, values[:most])) + more if values else "-"


def forget(options: Namespace) -> Answer:
    """Removes people from a model, and with --erase from the log and the older versions too."""
    from dataclasses import asdict

    from recsys.erasure import Erasure

    def people(model: UpdatableRecommender) -> list[Any]:
        from hyperrank.written_ids import ids_in, read_ids, split_ids

        if options.users is not None:
            return read_ids(model.users_, split_ids(options.users))
        return ids_in(options.source, "user", model.users_)

    if (options.users is None) == (options.source is None):
        raise ValueError("forget takes ids, ID,ID, or --from FILE with a column user; give one")
    found = Erasure(
        erase=options.erase,
        unknown=options.unknown,
        dry_run=options.dry_run,
        wait=options.wait,
        **device_of(options),
    ).apply(options.store, people)
    data = {"store": options.store, "dry_run": options.dry_run, **asdict(found)}
    return Answer(data, found.told(options.dry_run))


def verify(options: Namespace) -> Answer:
    """Compares every file with its digest; exit code 1 where something is wrong."""
    from hyperrank import generations

    generations.resolved(options.store).stat()
    wrong = generations.verify(options.store)
    data = {"store": options.store, "whole": not wrong, "wrong": wrong}
    text = "\n".join(wrong) if wrong else f"{options.store} is whole"
    return Answer(data, text, WRONG if wrong else 0)


def compact(options: Namespace) -> Answer:
    """Deletes the models of old versions and joins small files of the log."""
    from hyperrank import writers

    done = writers.compact(options.store, options.keep)
    text = (
        f"{done['pruned']} versions pruned, {done['joined']} files of the log joined, "
        f"{done['freed'] / 1e6:.1f} MB freed"
    )
    return Answer({"store": options.store, **done}, text)
