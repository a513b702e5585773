"""The command ``recsys``: parses, makes one call, prints.

Exit codes: 0 done; 1 failed while running, or ``verify`` found damage; 2 bad usage or input, with
one sentence on stderr; 3 done and a refit is due, from ``update --refit-if-drift``; 4 another
process holds the store; 130 interrupted. Nothing heavy is imported before a command runs.
"""

from __future__ import annotations

import argparse
from typing import Any

from hyperrank import command_shell
from hyperrank.command_shell import device_option, out_options
from hyperrank.plot_command import plot_options
from hyperrank.search_command import search_options
from recsys.cli_replay import add_replay_command
from recsys.cli_store import add_store_commands

EPILOG = (
    "exit codes: 0 done, 1 failed while running or damage found, 2 bad usage or input, 3 done, a "
    "refit is due (with --refit-if-drift), 4 another process holds the store, 130 interrupted"
)


def main(argv: list[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    return command_shell.run(_parser(), "recsys.commands", argv)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="recsys",
        description="From a log of interactions to recommendations.",
        epilog=EPILOG,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_fit(commands)
    _add_search(commands)
    _add_recommend(commands)
    _add_evaluate(commands)
    _add_compare(commands)
    _add_popularity(commands)
    _add_robustness(commands)
    _add_plot(commands)
    _add_split(commands)
    _add_describe(commands)
    _add_geometry(commands)
    _add_plan(commands)
    _add_export(commands)
    add_replay_command(commands, _add, _model_options, _column_options, device_option)
    add_store_commands(commands, _add, _column_options, device_option)
    _add(commands, "datasets", "list public data sets found on this machine")
    _add(commands, "doctor", "check this installation and advise")
    return parser


def _add(commands: Any, name: str, text: str) -> argparse.ArgumentParser:
    return command_shell.add_command(commands, name, text, EPILOG)


def _model_options(command: argparse.ArgumentParser) -> None:
    command_shell.model_options(command, "ultragcn")


def _add_fit(commands: Any) -> None:
    command = _add(commands, "fit", "learn a model from a log and save it")
    command.add_argument("log", metavar="DATA", help="CSV, TSV, Parquet or JSON lines; or a folder")
    out_options(command, "folder of the model")
    _model_options(command)
    command.add_argument(
        "--split",
        default="none",
        metavar="RULE",
        help="hold out a validation part for early stopping: time:0.9 (or time:2024-05-01), "
        "last:1, random:0.2, none (default)",
    )
    command.add_argument("--validation", metavar="DATA", help="a validation log of its own")
    _core_option(command)
    command.add_argument("--seed", type=int, default=0, help="of every random draw (default 0)")
    command.add_argument("--quiet", action="store_true", help="no progress bar")
    _plan_option(command)
    _column_options(command)
    device_option(command)


def _add_search(commands: Any) -> None:
    command = _add(commands, "search", "try a model's parameters, and save the best")
    command.add_argument("log", metavar="DATA", help="CSV, TSV, Parquet or JSON lines; or a folder")
    search_options(command, "ultragcn", "ndcg@20")
    command.add_argument(
        "--split",
        metavar="RULE",
        help="the part that trials are judged by: random:0.2 (default), time:0.9, last:1",
    )
    command.add_argument("--validation", metavar="DATA", help="a log of its own for that")
    _plan_option(command)
    _core_option(command)
    _column_options(command)


def _add_recommend(commands: Any) -> None:
    command = _add(commands, "recommend", "list the best items for users")
    command.add_argument("store", metavar="STORE", help="a saved model")
    who = command.add_mutually_exclusive_group(required=True)
    who.add_argument("--users", metavar="ID,ID", help="user ids, separated by commas")
    who.add_argument("--users-file", metavar="FILE", help="table with a column user")
    who.add_argument("--all", action="store_true", help="every user, in Parquet parts, resumable")
    command.add_argument(
        "--candidates",
        metavar="FILE|ID,ID",
        help="only these items: a table with a column item, or ids separated by commas",
    )
    command.add_argument("-k", type=int, default=10, help="most items per user (default 10)")
    command.add_argument("--include-seen", action="store_true", help="items of the history too")
    command.add_argument(
        "--unknown",
        choices=("raise", "skip", "popular"),
        help="what to do with users the model has not met (default raise)",
    )
    command.add_argument("--shard", metavar="I/N", help="with --all: share I of N of the work")
    command.add_argument("--out", metavar="PATH", help="a file; with --all a folder")
    command.add_argument("--force", action="store_true", help="overwrite the file")
    command.add_argument("--quiet", action="store_true", help="no progress bar")
    device_option(command)


def _add_evaluate(commands: Any) -> None:
    command = _add(commands, "evaluate", "judge a saved model on held-out interactions")
    command.add_argument("store", metavar="STORE", help="a saved model")
    command.add_argument("test", metavar="TEST", help="held-out interactions")
    _judging_options(command)
    _column_options(command)
    device_option(command)


def _add_compare(commands: Any) -> None:
    command = _add(commands, "compare", "compare saved models on the same held-out interactions")
    command.add_argument("stores", metavar="STORE", nargs="+", help="saved models, at least two")
    command.add_argument("--test", metavar="TEST", required=True, help="held-out interactions")
    command.add_argument("--baseline", metavar="STORE", help="compare with this (default: first)")
    _judging_options(command)
    _column_options(command)
    device_option(command)


def _add_popularity(commands: Any) -> None:
    command = _add(
        commands, "popularity", "which items models show, one with a dial at the others' accuracy"
    )
    command.add_argument("stores", metavar="STORE", nargs="+", help="saved models, at least two")
    command.add_argument("--test", metavar="TEST", required=True, help="held-out interactions")
    command.add_argument("--turn", metavar="STORE", help="whose dial (default: first with one)")
    command.add_argument(
        "--accuracy", default="ndcg@20", metavar="NAME@K", help="default %(default)s"
    )
    command.add_argument("-k", type=int, default=10, help="length of the lists (default 10)")
    command.add_argument(
        "--unknown",
        choices=("popular", "skip", "raise"),
        default="popular",
        help="what users the model has not met are judged by (default popular)",
    )
    command.add_argument("--plot", metavar="FILE", help="png, svg or pdf")
    _column_options(command)
    device_option(command)


def _add_robustness(commands: Any) -> None:
    command = _add(commands, "robustness", "attack a saved model and tell what is certain of it")
    command.add_argument("store", metavar="STORE", help="a saved factor model")
    command_shell.robustness_options(command, "held-out interactions")
    _column_options(command)
    device_option(command)


def _add_plot(commands: Any) -> None:
    command = _add(commands, "plot", "draw what a saved model has learned")
    plot_options(command, "item", "items")
    command.add_argument("--users", action="store_true", help="disk: users too, as crosses")


def _add_split(commands: Any) -> None:
    command = _add(commands, "split", "write a log as train.parquet and test.parquet")
    command.add_argument("log", metavar="DATA", help="the log")
    command.add_argument(
        "rule", metavar="RULE", help="time:0.9, time:2024-05-01, last:1, random:0.2"
    )
    _core_option(command)
    command.add_argument("--seed", type=int, default=0, help="of random:... (default 0)")
    out_options(command, "folder to write")
    _column_options(command)


def _add_describe(commands: Any) -> None:
    command = _add(commands, "describe", "tell what a log holds")
    command.add_argument("log", metavar="DATA", help="the log")
    _core_option(command)
    _column_options(command)


def _add_geometry(commands: Any) -> None:
    command = _add(commands, "geometry", "measure whether hyperbolic scores are worth it for a log")
    command.add_argument("log", metavar="DATA", help="the log")
    command.add_argument("--users", type=int, default=2000, help="in the sample (default 2000)")
    command.add_argument("--epochs", type=int, default=20, help="of each fit (default 20)")
    command.add_argument("--seed", type=int, default=0, help="of every random draw (default 0)")
    _core_option(command)
    _column_options(command)


def _add_plan(commands: Any) -> None:
    command = _add(commands, "plan", "predict memory and time of a fit before it starts")
    command.add_argument("log", metavar="DATA", nargs="?", help="the log")
    for name in ("users", "items", "pairs"):
        command.add_argument(f"--n-{name}", type=float, help=f"{name}, instead of a log")
    _core_option(command)
    _model_options(command)
    _column_options(command)
    device_option(command)


def _add_export(commands: Any) -> None:
    command = _add(commands, "export", "write the item vectors as a nearest-neighbour index")
    command.add_argument("store", metavar="STORE", help="a saved factor model")
    command.add_argument(
        "--index", choices=("faiss", "usearch", "parquet"), required=True, help="its kind"
    )
    command.add_argument("--factory", default="Flat", help="faiss index factory (default Flat)")
    out_options(command, "index file; FILE.ids.parquet is written beside it")


def _judging_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--include-seen", action="store_true", help="items of the history too")
    command.add_argument(
        "--unknown",
        choices=("popular", "skip", "raise"),
        default="popular",
        help="what users the model has not met are judged by (default popular)",
    )
    command.add_argument(
        "--metrics", default="recall@20,ndcg@20", metavar="NAME@K,...", help="default %(default)s"
    )


def _column_options(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("columns of the log")
    group.add_argument(
        "--user", default="user", metavar="COLUMN", help="default user; update: as before"
    )
    group.add_argument(
        "--item", default="item", metavar="COLUMN", help="default item; update: as before"
    )
    group.add_argument("--time", metavar="COLUMN", help="default none; update: as before")
    group.add_argument("--weight", metavar="COLUMN", help="default none; update: as before")
    group.add_argument(
        "--repeated",
        default="sum",
        metavar="RULE",
        help="one weight of repeats: sum (default), last, first, max, mean, count",
    )


def _plan_option(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--ignore-plan", action="store_true", help="start even if memory is predicted to run out"
    )


def _core_option(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--k-core",
        metavar="U,I",
        help="first keep the part where users have U items and items I users at least",
    )
