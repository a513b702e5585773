"""Options of the commands on stores of versions."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

Add = Callable[[Any, str, str], argparse.ArgumentParser]
Options = Callable[[argparse.ArgumentParser], None]
KEEP = "versions whose models are kept (default 5); records and batches always are"


def add_store_commands(
    commands: Any, add: Add, column_options: Options, device_option: Options
) -> None:
    """Adds update, status, versions, rollback, diff, forget, verify and compact to the parser."""
    _add_update(commands, add, column_options, device_option)
    for name, text in (
        ("status", "tell what version of a model stands, and how far it has drifted"),
        ("versions", "list the versions of a model"),
        ("verify", "compare every file of a store with its digest"),
    ):
        add(commands, name, text).add_argument("store", metavar="STORE", help="a saved model")
    rollback = add(commands, "rollback", "make an older version of a model the current one")
    rollback.add_argument("store", metavar="STORE", help="a saved model")
    rollback.add_argument(
        "version", metavar="VERSION", nargs="?", help="such as 1; default the parent"
    )
    rollback.set_defaults(later=("version",))
    diff = add(commands, "diff", "tell whose lists changed between two versions, and why")
    diff.add_argument("store", metavar="STORE", help="a saved model")
    diff.add_argument("old", metavar="V1", nargs="?", help="such as 1 or v000001")
    diff.add_argument("new", metavar="V2", nargs="?", help="default: the current; of both the last")
    diff.set_defaults(later=("old", "new"))
    diff.add_argument("-k", type=int, default=10, help="length of the lists (default 10)")
    diff.add_argument("--users", metavar="ID,ID", help="only these")
    diff.add_argument(
        "--limit", type=int, default=20, metavar="N", help="most users to list (default 20)"
    )
    device_option(diff)
    _add_forget(commands, add, device_option)
    compact = add(commands, "compact", "delete the models of old versions, join files of the log")
    compact.add_argument("store", metavar="STORE", help="a saved model")
    compact.add_argument("--keep", type=int, default=5, metavar="K", help=KEEP)


def _add_update(commands: Any, add: Add, column_options: Options, device_option: Options) -> None:
    update = add(commands, "update", "take new events into a saved model, without a refit")
    update.add_argument("store", metavar="STORE", help="a saved model; versions begin with this")
    update.add_argument(
        "log",
        metavar="NEW",
        nargs="?",
        help="new events: Parquet, CSV, TSV, JSON lines; - for standard input",
    )
    update.add_argument(
        "--sql",
        metavar="URL",
        help="instead of NEW: sqlite:///shop.db or postgresql://user@host/shop, the password "
        "better in PGPASSWORD",
    )
    update.add_argument("--query", metavar="SELECT", help="with --sql: what to take in")
    update.add_argument(
        "--watch",
        metavar="DIR",
        help="instead of NEW: files put into a folder, each of them once, until Ctrl-C",
    )
    update.add_argument(
        "--every", type=float, metavar="SECONDS", help="with --watch: between looks (default 10)"
    )
    update.add_argument(
        "--once", action="store_true", help="with --watch: take what is there and end, as for cron"
    )
    update.add_argument("--dry-run", action="store_true", help="report only; write nothing")
    update.add_argument(
        "--refit-if-drift",
        type=float,
        metavar="X",
        help="exit with 3 where a refit is due, as when pairs since the fit are over X of its own",
    )
    update.add_argument(
        "--sweeps",
        type=int,
        default=0,
        metavar="N",
        help="solve known items with news again too, N rounds over all that was touched since the "
        "fit: slower, close to a refit (default 0: only users and new items)",
    )
    update.add_argument(
        "--check",
        type=int,
        default=0,
        metavar="N",
        help="solve N random touched users exactly and tell the largest difference",
    )
    update.add_argument(
        "--export-delta",
        metavar="PATH",
        help="Parquet file for the vectors that change; with --watch a folder of them",
    )
    update.add_argument(
        "--on-bad-rows",
        choices=("fail", "skip", "quarantine"),
        default="fail",
        help="rows that cannot be taken in: refuse all (default), leave out, put apart",
    )
    update.add_argument(
        "--quarantine", metavar="PATH", help="where to (default NEW.bad, JSON lines)"
    )
    update.add_argument(
        "--late",
        choices=("take", "skip", "fail"),
        default="take",
        help="events older than the latest of the batches before: take in and tell (default), "
        "leave out, refuse all",
    )
    update.add_argument("--again", action="store_true", help="also a batch that was taken in")
    update.add_argument("--keep", type=int, default=5, metavar="K", help=KEEP)
    _wait_option(update)
    update.add_argument("--quiet", action="store_true", help="no progress bar")
    column_options(update)
    update.set_defaults(user=None, item=None, repeated=None, later=("log",))
    device_option(update)


def _add_forget(commands: Any, add: Add, device_option: Options) -> None:
    forget = add(commands, "forget", "remove users from a model, on request also from its past")
    forget.add_argument("store", metavar="STORE", help="a saved model")
    forget.add_argument("users", metavar="ID,ID", nargs="?", help="ids of users")
    forget.set_defaults(later=("users",))
    forget.add_argument("--from", dest="source", metavar="FILE", help="table with a column user")
    forget.add_argument(
        "--erase",
        action="store_true",
        help="also rewrite the batches and delete the older versions that hold them",
    )
    forget.add_argument(
        "--unknown",
        choices=("raise", "skip"),
        default="raise",
        help="users whom nothing here holds: refuse all (default), leave out",
    )
    forget.add_argument("--dry-run", action="store_true", help="tell only; write nothing")
    _wait_option(forget)
    device_option(forget)


def _seconds(text: str) -> float:
    found = float(text)
    if not 0 <= found < float("inf"):
        raise argparse.ArgumentTypeError(f"expected seconds from 0, got {text}")
    return found


def _wait_option(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--wait",
        type=_seconds,
        default=60.0,
        metavar="SECONDS",
        help="for another writer (default 60)",
    )
