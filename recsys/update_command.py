"""What ``recsys update`` does, once or for each file of a folder, from options to answers."""

from __future__ import annotations

import json
import time
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hyperrank.command_shell import device_of
from hyperrank.rendering import Answer

if TYPE_CHECKING:
    from recsys.screening import BadRow, Screened
    from recsys.sources import Source
    from recsys.store_updates import Outcome, Update
    from recsys.updatable import UpdatableRecommender

STAGES = 5  # load, read, solve, check, write
BAD, REFIT_DUE, BUSY = 2, 3, 4  # exit codes
SETTLING = 1.0  # seconds between the two looks of --once, at most
TERMS = ("user", "item", "time", "weight", "repeated", "on_bad_rows", "late")


def update(options: Namespace) -> Answer | Iterator[Answer]:
    """Takes new events into the model, as a new version; exit code 3 where a refit is due."""
    _check(options)
    return _take(options) if options.watch is None else _watch(options)


def _check(options: Namespace) -> None:
    given = [options.log, options.sql, options.watch]
    if len(given) - given.count(None) != 1:
        raise ValueError("update takes new events from one place: NEW, --sql URL or --watch DIR")
    if (options.sql is None) != (not (options.query or "").strip()):
        raise ValueError(
            "--sql URL and --query SELECT go together, such as --query 'select user, item from new'"
        )
    if options.watch is None and (options.once or options.every is not None):
        raise ValueError("--every and --once go with --watch DIR only; leave them out")
    if options.watch is not None and options.quarantine:
        raise ValueError("--quarantine names one file, --watch meets many; leave it out")
    places = [Path(one).resolve() for one in (options.watch, options.export_delta) if one]
    if len(places) == 2 and places[0] == places[1]:
        raise ValueError("--export-delta writes into the folder that --watch reads; name another")
    limit, every = options.refit_if_drift, options.every
    if limit is not None and not limit >= 0:
        raise ValueError(f"--refit-if-drift takes a share of pairs, such as 0.2, got {limit}")
    if every is not None and not 0 < every < float("inf"):
        raise ValueError(f"--every takes seconds above 0, got {every}")
    if options.sweeps < 0:
        raise ValueError(f"--sweeps takes a number of rounds, got {options.sweeps}")
    if options.check < 0:
        raise ValueError(f"--check takes a number of users, got {options.check}")


def _take(options: Namespace) -> Answer:
    """One batch."""
    from recsys import sources

    screened: list[Screened] = []
    with (
        sources.opened(options.log, options.sql, options.query) as source,
        _progress(options.quiet) as stage,
    ):

        def events(model: UpdatableRecommender) -> Any:
            screened.append(_screened(options, source, model))
            return screened[-1].log

        outcome = _update(options, source, stage).apply(options.store, events)
    bad = screened[-1].bad
    apart = _quarantine(options, source) if bad and options.on_bad_rows == "quarantine" else None
    data = _update_data(options, outcome, bad, apart)
    due = data["refit_due"] and options.refit_if_drift is not None
    return Answer(data, _update_text(options, outcome, bad, apart), REFIT_DUE if due else 0)


def _update(options: Namespace, source: Source, stage: Any) -> Update:
    from recsys.store_updates import Update
    from recsys.updates import RefitRule

    limit = options.refit_if_drift
    return Update(
        rule=RefitRule() if limit is None else RefitRule(drift=limit),
        sweeps=options.sweeps,
        check=options.check,
        keep=options.keep,
        again=options.again,
        late=options.late,
        delta=options.export_delta,
        dry_run=options.dry_run,
        wait=options.wait,
        notes=source.notes,
        stage=stage,
        **device_of(options),
    )


def _screened(options: Namespace, source: Source, model: UpdatableRecommender) -> Screened:
    """The good rows; the bad ones are written apart where that is asked for."""
    import datetime as dt

    from hyperrank.durable import new_file
    from hyperrank.frames import MissingColumnError
    from recsys.column_names import ColumnNames, remember
    from recsys.intake import Roles
    from recsys.screening import Screen, quarantine_lines

    rule = _rule(options, model)
    names = ColumnNames.of(model, {role: getattr(options, role) for role in Roles._fields})
    screen = Screen(names.roles, model.users_, model.items_, rule, dt.datetime.now(dt.UTC))
    try:
        found = screen.read(source.path, options.on_bad_rows)
    except MissingColumnError as error:
        raise names.explained(error) from None
    remember(model, names.roles)
    if found.bad and options.on_bad_rows == "quarantine" and not options.dry_run:
        with new_file(Path(_quarantine(options, source)).resolve()) as fresh:
            fresh.write_text(quarantine_lines(found.bad), encoding="utf-8")
    return found


def _rule(options: Namespace, model: UpdatableRecommender) -> str:
    rule = model._rule
    if options.repeated not in (None, rule):
        raise ValueError(
            f"the model joins repeats by {rule!r}, so --repeated {options.repeated} cannot be; "
            "leave it out"
        )
    return rule


def _quarantine(options: Namespace, source: Source) -> str:
    """Where bad rows go: beside the log, under a name that no reader of logs takes for one."""
    return str(options.quarantine or f"{source.name}.bad")


def _update_data(
    options: Namespace, outcome: Outcome, bad: list[BadRow], apart: str | None
) -> dict[str, Any]:
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
        "quarantine": apart,
        "pruned": outcome.pruned,
        "delta": outcome.delta,
    }


def _update_text(options: Namespace, outcome: Outcome, bad: list[BadRow], apart: str | None) -> str:
    said = [_told(options, outcome)]
    if outcome.report is not None:
        said.append(f"{outcome.report.verdict}: {outcome.report.reason}")
        if outcome.late and options.late == "skip":
            said.append(f"{outcome.late} events older than the latest before left out")
    if outcome.check is not None:
        said.append(
            f"check of {outcome.check.users} users solved exactly: vectors differ by at most "
            f"{outcome.check.vector:.2g}, scores by {outcome.check.score:.2g}"
        )
    if outcome.delta is not None:
        said.append(f"{outcome.delta} changed vectors are in {options.export_delta}")
    if bad:
        said.append(f"{len(bad)} bad rows left out, the first: {bad[0]}")
        said[-1] += f"; all are in {apart}" if apart and not options.dry_run else ""
    return "\n".join(said)


def _told(options: Namespace, outcome: Outcome) -> str:
    """What was done, or why nothing."""
    report, stands = outcome.report, f"{outcome.version} stands"
    if report is not None:
        first = "would take in" if options.dry_run else f"{outcome.version}: took in"
        return (
            f"{first} {report.events:,} events, {report.pairs_added:,} new pairs; "
            f"{report.users_touched:,} users touched, {report.users_added:,} of them new, "
            f"{report.items_added:,} items new; {sum(report.seconds.values()):.2f} s"
        )
    if outcome.batch is not None:
        return f"nothing to do: these events were taken in as batch {outcome.batch}; {stands}"
    late = f"all {outcome.late} events are older than the latest of the batches before"
    return f"nothing to do: {late}; {stands}"


def _watch(options: Namespace) -> Iterator[Answer]:
    """An answer for each file, for ever; with --once of what is there."""
    from recsys.store_updates import updatable
    from recsys.watching import Watched, record_beside

    _rule(options, updatable(options.store, **device_of(options)))  # what no file can mend
    terms = json.dumps([getattr(options, name) for name in TERMS])
    record = None if options.dry_run else record_beside(options.store)
    watched = Watched(Path(options.watch), record, terms, fresh=options.again)
    pause = options.every or 10.0
    watched.ready()
    while True:
        time.sleep(min(pause, SETTLING) if options.once else pause)
        due = False
        for path in watched.ready():
            answer = _file(options, path, watched)
            if answer is not None:
                yield answer
                due |= answer.code == REFIT_DUE
        if options.once or due:
            return


def _file(options: Namespace, path: Path, watched: Any) -> Answer | None:
    """What came of one file; None where it has gone."""
    from hyperrank.arrivals import LogError
    from hyperrank.store import StoreError

    single = Namespace(**vars(options) | {"log": str(path), "quiet": True})
    if options.export_delta:
        single.export_delta = str(Path(options.export_delta) / f"{path.stem}.parquet")
    try:
        answer = _take(single)
    except (StoreError, LogError):
        raise
    except TimeoutError as error:  # it is tried again
        return _failed(path, f"not taken yet: {error}", BUSY)
    except (ValueError, TypeError, ArithmeticError, OSError) as error:
        if not path.exists():
            return None
        if isinstance(error, OSError) and _opens(path):
            raise
        watched.refused(path)
        return _failed(path, f"set aside until it changes: {error}", BAD)
    watched.taken(path)
    data = {"file": str(path), **answer.data}
    return Answer(data, f"{path.name}: {answer.text}", answer.code)


def _failed(path: Path, message: str, code: int) -> Answer:
    text = " ".join(message.split())
    return Answer({"file": str(path), "error": text, "code": code}, f"{path.name}: {text}", code)


def _opens(path: Path) -> bool:
    try:
        path.open("rb").close()
    except OSError:
        return False
    return True


@contextmanager
def _progress(quiet: bool) -> Iterator[Any]:
    """A bar of stages on stderr."""
    from tqdm import tqdm

    with tqdm(total=STAGES, disable=quiet, leave=False, bar_format="{desc} {bar} {elapsed}") as bar:

        def stage(name: str) -> None:
            bar.set_description_str(f"update: {name}")
            bar.update()

        yield stage
