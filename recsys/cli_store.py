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
    """Adds update, status, versions, rollback, diff, verify and compact to the parser."""
    update = add(commands, "update", "take new events into a saved model, without a refit")
    update.add_argument("store", metavar="STORE", help="a saved model; versions begin with this")
    update.add_argument(
        "log", metavar="NEW", help="new events: Parquet, CSV, TSV, JSON lines; - for standard input"
    )
    update.add_argument("--dry-run", action="store_true", help="report only; write nothing")
    update.add_argument(
        "--refit-if-drift",
        type=float,
        metavar="X",
        help="exit with 3 where a refit is due, as when pairs since the fit are over X of its own",
    )
    update.add_argument(
        "--check",
        type=int,
        default=0,
        metavar="N",
        help="solve N random touched users exactly and tell the largest difference",
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
    update.add_argument("--again", action="store_true", help="also a batch that was taken in")
    update.add_argument("--keep", type=int, default=5, metavar="K", help=KEEP)
    update.add_argument(
        "--wait",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="for another writer (default 60)",
    )
    update.add_argument("--quiet", action="store_true", help="no progress bar")
    column_options(update)
    update.set_defaults(repeated=None)
    device_option(update)
    for name, text in (
        ("status", "tell what version of a model stands, and how far it has drifted"),
        ("versions", "list the versions of a model"),
        ("verify", "compare every file of a store with its digest"),
    ):
        add(commands, name, text).add_argument("store", metavar="STORE", help="a saved model")
    rollback = add(commands, "rollback", "make an older version of a model the current one")
    rollback.add_argument("store", metavar="STORE", help="a saved model")
    rollback.add_argument("version", metavar="VERSION", nargs="?", help="default: the parent")
    diff = add(commands, "diff", "tell whose lists changed between two versions, and why")
    diff.add_argument("store", metavar="STORE", help="a saved model")
    diff.add_argument("old", metavar="V1", help="such as v000001")
    diff.add_argument("new", metavar="V2", help="such as v000002")
    diff.add_argument("-k", type=int, default=10, help="length of the lists (default 10)")
    diff.add_argument("--users", metavar="ID,ID", help="only these")
    diff.add_argument(
        "--limit", type=int, default=20, metavar="N", help="most users to list (default 20)"
    )
    device_option(diff)
    compact = add(commands, "compact", "delete the models of old versions, join files of the log")
    compact.add_argument("store", metavar="STORE", help="a saved model")
    compact.add_argument("--keep", type=int, default=5, metavar="K", help=KEEP)
