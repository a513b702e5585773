"""Options of ``recsys replay``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

Add = Callable[[Any, str, str], argparse.ArgumentParser]
Options = Callable[[argparse.ArgumentParser], None]


def add_replay_command(commands: Any, add: Add, *option_groups: Options) -> None:
    """Adds replay to the parser, with its own options and those of the groups."""
    command = add(commands, "replay", "walk a log through time and tell what freshness is worth")
    command.add_argument("log", metavar="DATA", help="a log with times, or a name of `datasets`")
    command.add_argument(
        "--from",
        dest="start",
        default="0.8",
        metavar="WHEN",
        help="first slice: a date, a time, or a share of the events (default %(default)s)",
    )
    command.add_argument(
        "--every",
        default="1d",
        metavar="SPAN",
        help="slices of 30m, 12h, 1d, 1w, or so many events, such as 500 (default %(default)s)",
    )
    command.add_argument(
        "--policies",
        default="none,popularity,update,refit",
        metavar="NAME,NAME",
        help="of none, popularity, update, sweep (an update with two sweeps), refit, update+refit "
        "(refit where the update's report says so); the first is what the others are compared with "
        "(default %(default)s)",
    )
    command.add_argument(
        "--refit-every", type=int, default=1, metavar="N", help="of the policy refit, in slices"
    )
    command.add_argument("-k", type=int, default=10, help="length of the lists (default 10)")
    command.add_argument(
        "--out", metavar="FOLDER", help="every answer in Parquet, tables and the plot; resumable"
    )
    command.add_argument("--resume", action="store_true", help="go on in --out where it stopped")
    command.add_argument("--plot", metavar="FILE", help="png, svg or pdf")
    command.add_argument("--seed", type=int, default=0, help="of every random draw (default 0)")
    command.add_argument("--quiet", action="store_true", help="no progress bar")
    for options in option_groups:
        options(command)
