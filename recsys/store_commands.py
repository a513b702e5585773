"""What the commands on stores of versions do, from parsed options to an answer."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsys.rendering import Answer, lines, table

if TYPE_CHECKING:
    from hyperrank.generations import Generation
    from recsys.screening import BadRow, Screened
    from recsys.store_updates import Outcome
    from recsys.updatable import UpdatableRecommender

STAGES = 5  # load, read, solve, check, write
REFIT_DUE, WRONG = 3, 1  # exit codes


def update(options: Namespace) -> Answer:
    """Takes new events into the model, as a new version; exit code 3 where a refit is due."""
    from recsys.store_updates import Update
    from recsys.updates import RefitRule

    screened: list[Screened] = []

    def events(model: UpdatableRecommender) -> Any:
        screened.append(_screened(options, path, model))
        return screened[-1].log

    limit = options.refit_if_drift
    if limit is not None and not limit >= 0:
        raise ValueError(f"--refit-if-drift takes a share of pairs, such as 0.2, got {limit}")
    with _spooled(options.log) as path, _progress(options.quiet) as stage:
        outcome = Update(
            rule=RefitRule() if limit is None else RefitRule(drift=limit),
            check=options.check,
            keep=options.keep,
            again=options.again,
            dry_run=options.dry_run,
            wait=options.wait,
            notes={"source": options.log},
            stage=stage,
            **device_of(options),
        ).apply(options.store, events)
    bad = screened[-1].bad
    data = _update_data(options, outcome, bad)
    due = data["refit_due"] and limit is not None
    return Answer(data, _update_text(options, outcome, bad), REFIT_DUE if due else 0)


def _screened(options: Namespace, path: str, model: UpdatableRecommender) -> Screened:
    """The good rows; the bad ones are written apart where that is asked for."""
    import datetime as dt

    from hyperrank.durable import new_file
    from recsys.intake import Roles
    from recsys.screening import Screen, quarantine_lines

    rule = model._rule
    if options.repeated not in (None, rule):
        raise ValueError(
            f"the model joins repeats by {rule!r}, so --repeated {options.repeated} cannot be; "
            "leave it out"
        )
    roles = Roles(options.user, options.item, options.time, options.weight)
    screen = Screen(roles, model.users_, model.items_, rule, dt.datetime.now(dt.UTC))
    found = screen.read(path, options.on_bad_rows)
    if found.bad and options.on_bad_rows == "quarantine" and not options.dry_run:
        with new_file(Path(_quarantine(options)).resolve()) as fresh:
            fresh.write_text(quarantine_lines(found.bad), encoding="utf-8")
    return found


def _quarantine(options: Namespace) -> str:
    """Where bad rows go: beside the log, under a name that no reader of logs takes for one."""
    named = "stdin" if options.log == "-" else options.log.rstrip("/")
    return str(options.quarantine or f"{named}.bad")


def _update_data(options: Namespace, outcome: Outcome, bad: list[BadRow]) -> dict[str, Any]:
    from dataclasses import asdict

    report = outcome.report
    return {
        "store": options.store,
        "version": outcome.version,
        "batch": outcome.batch,
        "taken": outcome.taken and not options.dry_run,
        "dry_run": options.dry_run,
        "refit_due": report is not None and report.verdict == "refit",
        "report": None if report is None else report.to_dict(),
        "check": None if outcome.check is None else asdict(outcome.check),
        "late": outcome.late,
        "bad_rows": len(bad),
        "bad": [one._asdict() for one in bad[:20]],
        "quarantine": _quarantine(options) if bad and options.on_bad_rows == "quarantine" else None,
        "pruned": outcome.pruned,
    }


def _update_text(options: Namespace, outcome: Outcome, bad: list[BadRow]) -> str:
    report = outcome.report
    if report is None:
        return (
            f"nothing to do: these events were taken in as batch {outcome.batch}; "
            f"{outcome.version} stands"
        )
    first = "would take in" if options.dry_run else f"{outcome.version}: took in"
    counts = (
        f"{first} {report.events:,} events, {report.pairs_added:,} new pairs; "
        f"{report.users_touched:,} users touched, {report.users_added:,} of them new, "
        f"{report.items_added:,} items new; {sum(report.seconds.values()):.2f} s"
    )
    said = [counts, f"{report.verdict}: {report.reason}"]
    if outcome.check is not None:
        said.append(
            f"check of {outcome.check.users} users solved exactly: vectors differ by at most "
            f"{outcome.check.vector:.2g}, scores by {outcome.check.score:.2g}"
        )
    if bad:
        where = _quarantine(options) if options.on_bad_rows == "quarantine" else ""
        said.append(f"{len(bad)} bad rows left out, the first: {bad[0]}")
        said[-1] += f"; all are in {where}" if where and not options.dry_run else ""
    return "\n".join(said)


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
    made = writers.rollback(options.store, options.version)
    data = {"store": options.store, "version": made.version, "before": before}
    return Answer(data, f"{made.version} stands now; {before} is kept")


def diff(options: Namespace) -> Answer:
    """Whose lists changed between two versions, and which interaction did it."""
    from dataclasses import asdict

    from hyperrank import generations, store
    from recsys.ids import read_ids
    from recsys.version_diff import compare_versions

    old, new = (
        store.load(generations.place_of(options.store, version), **device_of(options))
        for version in (options.old, options.new)
    )
    users = None
    if options.users is not None:
        users = read_ids(new.users_, [one.strip() for one in options.users.split(",")])
    found = compare_versions(old, new, k=options.k, users=users, most=options.limit)
    data = {"store": options.store, "old": options.old, "new": options.new, **asdict(found)}
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


def _listed(values: list[Any], most: int = 5) -> str:
    more = f" and {len(values) - most} more" if len(values) > most else ""
    return ", ".join(map(str, values[:most])) + more if values else "-"


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


def device_of(options: Namespace) -> dict[str, str]:
    """The device that was asked for, if any, after a look whether it exists."""
    if options.device is None:
        return {}
    from hyperrank.devices import resolve

    resolve(options.device)
    return {"device": options.device}


@contextmanager
def _spooled(path: str) -> Iterator[str]:
    """The log itself, or a copy of standard input under the suffix that its content asks for."""
    if path != "-":
        yield path
        return
    import shutil
    import sys
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "stdin"
        with copy.open("wb") as target:
            shutil.copyfileobj(sys.stdin.buffer, target)
        with copy.open("rb") as source:
            start = source.read(2**16)
        yield str(copy.rename(copy.with_suffix(_suffix(start))))


def _suffix(start: bytes) -> str:
    if start.startswith(b"PAR1"):
        return ".parquet"
    if start.lstrip().startswith(b"{"):
        return ".jsonl"
    return ".tsv" if b"\t" in start.partition(b"\n")[0] else ".csv"


@contextmanager
def _progress(quiet: bool) -> Iterator[Any]:
    """A bar of stages on stderr."""
    from tqdm import tqdm

    with tqdm(total=STAGES, disable=quiet, leave=False, bar_format="{desc} {bar} {elapsed}") as bar:

        def stage(name: str) -> None:
            bar.set_description_str(f"update: {name}")
            bar.update()

        yield stage
