"""The command ``recsys``: parses, makes one call, prints.

Exit codes: 0 done; 1 failed while running, or ``verify`` found damage; 2 bad usage or input, with
one sentence on stderr; 3 done and a refit is due, from ``update --refit-if-drift``; 4 another
process holds the store; 130 interrupted. Nothing heavy is imported before a command runs.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import sys
import warnings
from typing import Any

from recsys.cli_replay import add_replay_command
from recsys.cli_store import LATER, add_store_commands

EPILOG = (
    "exit codes: 0 done, 1 failed while running or damage found, 2 bad usage or input, 3 done, a "
    "refit is due (with --refit-if-drift), 4 another process holds the store, 130 interrupted"
)

BAD_INPUT = (
    ValueError,
    TypeError,
    ImportError,  # of an extra
    FileNotFoundError,
    FileExistsError,
    IsADirectoryError,
    NotADirectoryError,
)


def main(argv: list[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    try:
        options = _parsed(argv)
    except SystemExit as stop:  # argparse has printed help, or what was wrong
        return int(stop.code or 0)
    try:
        return _run(options)
    except KeyboardInterrupt:
        return _complain(options, "interrupted; nothing was left half-written", 130)
    except BrokenPipeError:  # the reader of our output went away, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (*BAD_INPUT, ArithmeticError, MemoryError, OSError, RuntimeError) as error:
        if options.debug:
            raise
        code = 2 if isinstance(error, BAD_INPUT) else 4 if isinstance(error, TimeoutError) else 1
        return _complain(options, str(error) or type(error).__name__, code)


def _parsed(argv: list[str] | None) -> argparse.Namespace:
    """The options; an operand that may be left out may also come after options (``LATER``)."""
    parser = _parser()
    options, rest = parser.parse_known_args(argv)
    for name in vars(options).get(LATER, ()):
        if rest and getattr(options, name) is None and (rest[0] == "-" or rest[0][:1] != "-"):
            setattr(options, name, rest.pop(0))
    if rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    return options


def _run(options: argparse.Namespace) -> int:
    from recsys import commands
    from recsys.rendering import Answer, plain

    code = 0
    with warnings.catch_warnings():
        if not options.debug:
            warnings.showwarning = functools.partial(_warn, options)
        answers = getattr(commands, options.command)(options)
        for answer in (answers,) if isinstance(answers, Answer) else answers:
            print(json.dumps(plain(answer.data), allow_nan=False) if options.json else answer.text)
            sys.stdout.flush()
            code = max(code, answer.code)
    return code


def _complain(options: argparse.Namespace, message: str, code: int) -> int:
    text = " ".join(message.split())
    print(f"recsys {options.command}: {text}", file=sys.stderr)
    return code


def _warn(options: argparse.Namespace, message: Warning | str, *place: Any, **rest: Any) -> None:
    """One sentence on stderr, without the line of code that it came from."""
    del place, rest
    print(f"recsys {options.command}: warning: {' '.join(str(message).split())}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="recsys",
        description="From a log of interactions to recommendations.",
        epilog=EPILOG,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_fit(commands)
    _add_recommend(commands)
    _add_evaluate(commands)
    _add_compare(commands)
    _add_popularity(commands)
    _add_split(commands)
    _add_describe(commands)
    _add_geometry(commands)
    _add_plan(commands)
    _add_export(commands)
    add_replay_command(commands, _add, _model_options, _column_options, _device_option)
    add_store_commands(commands, _add, _column_options, _device_option)
    _add(commands, "datasets", "list public data sets found on this machine")
    _add(commands, "doctor", "check this installation and advise")
    return parser


def _add(commands: Any, name: str, text: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=text, description=f"{text[0].upper()}{text[1:]}.", epilog=EPILOG
    )
    group = command.add_argument_group("every command")
    group.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    group.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return command


def _add_fit(commands: Any) -> None:
    command = _add(commands, "fit", "learn a model from a log and save it")
    command.add_argument("log", metavar="DATA", help="CSV, TSV, Parquet or JSON lines; or a folder")
    _out_options(command, "folder of the model")
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
    command.add_argument(
        "--ignore-plan", action="store_true", help="start even if memory is predicted to run out"
    )
    _column_options(command)
    _device_option(command)


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
    _device_option(command)


def _add_evaluate(commands: Any) -> None:
    command = _add(commands, "evaluate", "judge a saved model on held-out interactions")
    command.add_argument("store", metavar="STORE", help="a saved model")
    command.add_argument("test", metavar="TEST", help="held-out interactions")
    _judging_options(command)
    _column_options(command)
    _device_option(command)


def _add_compare(commands: Any) -> None:
    command = _add(commands, "compare", "compare saved models on the same held-out interactions")
    command.add_argument("stores", metavar="STORE", nargs="+", help="saved models, at least two")
    command.add_argument("--test", metavar="TEST", required=True, help="held-out interactions")
    command.add_argument("--baseline", metavar="STORE", help="compare with this (default: first)")
    _judging_options(command)
    _column_options(command)
    _device_option(command)


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
    _device_option(command)


def _add_split(commands: Any) -> None:
    command = _add(commands, "split", "write a log as train.parquet and test.parquet")
    command.add_argument("log", metavar="DATA", help="the log")
    command.add_argument(
        "rule", metavar="RULE", help="time:0.9, time:2024-05-01, last:1, random:0.2"
    )
    _core_option(command)
    command.add_argument("--seed", type=int, default=0, help="of random:... (default 0)")
    _out_options(command, "folder to write")
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
    _device_option(command)


def _add_export(commands: Any) -> None:
    command = _add(commands, "export", "write the item vectors as a nearest-neighbour index")
    command.add_argument("store", metavar="STORE", help="a saved factor model")
    command.add_argument(
        "--index", choices=("faiss", "usearch", "parquet"), required=True, help="its kind"
    )
    command.add_argument("--factory", default="Flat", help="faiss index factory (default Flat)")
    _out_options(command, "index file; FILE.ids.parquet is written beside it")


def _out_options(command: argparse.ArgumentParser, what: str) -> None:
    command.add_argument("--out", required=True, metavar="PATH", help=what)
    command.add_argument("--force", action="store_true", help="replace what is there")


def _model_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--model", default="ultragcn", metavar="NAME", help="default ultragcn")
    command.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a parameter; repeatable"
    )


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


def _core_option(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--k-core",
        metavar="U,I",
        help="first keep the part where users have U items and items I users at least",
    )


def _device_option(command: argparse.ArgumentParser) -> None:
    command.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:1; default: the model's")
