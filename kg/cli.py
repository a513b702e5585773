"""The command ``kg``: parses, makes one call, prints.

Exit codes: 0 done; 1 failed while running; 2 bad usage or input, with one sentence on stderr; 4
another process writes the store; 130 interrupted. Nothing heavy is imported before a command runs.
"""

from __future__ import annotations

import argparse
from typing import Any

from hyperrank import command_shell
from hyperrank.command_shell import device_option, model_options, out_options
from hyperrank.plot_command import plot_options
from hyperrank.search_command import search_options

EPILOG = (
    "exit codes: 0 done, 1 failed while running, 2 bad usage or input, 4 another process writes "
    "the store, 130 interrupted"
)
FACTS = "CSV, TSV, Parquet or JSON lines; or a folder"


def main(argv: list[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    return command_shell.run(_parser(), "kg.commands", argv)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kg", description="From facts to the facts that are missing.", epilog=EPILOG
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_fit(commands)
    _add_search(commands)
    _add_complete(commands)
    _add_predict(commands)
    _add_score_all(commands)
    _add_evaluate(commands)
    _add_robustness(commands)
    plot = _add(commands, "plot", "draw what a saved model has learned")
    plot_options(plot, "entity", "entities")
    describe = _add(commands, "describe", "tell what facts there are, by relation")
    describe.add_argument("facts", metavar="FACTS", help=FACTS)
    _column_options(describe)
    return parser


def _add(commands: Any, name: str, text: str) -> argparse.ArgumentParser:
    return command_shell.add_command(commands, name, text, EPILOG)


def _add_fit(commands: Any) -> None:
    command = _add(commands, "fit", "learn a model from facts and save it")
    command.add_argument("facts", metavar="FACTS", help=FACTS)
    out_options(command, "folder of the model")
    model_options(command, "tucker")
    command.add_argument("--valid", metavar="FILE", help="facts for early stopping, probabilities")
    _other_facts_options(command)
    command.add_argument(
        "--base", metavar="STORE", help="migtf: a saved tucker to begin with, whose ids stay"
    )
    command.add_argument("--seed", type=int, default=0, help="of every random draw (default 0)")
    _quiet_option(command)
    _column_options(command)
    device_option(command)


def _add_search(commands: Any) -> None:
    command = _add(commands, "search", "try a model's parameters, and save the best")
    command.add_argument("facts", metavar="FACTS", help=FACTS)
    command.add_argument(
        "--valid", metavar="FILE", required=True, help="facts that trials are judged by"
    )
    search_options(command, "tucker", "mrr")
    _other_facts_options(command)
    _column_options(command)


def _add_complete(commands: Any) -> None:
    command = _add(commands, "complete", "list the best answers to (head, relation, ?) questions")
    command.add_argument("store", metavar="STORE", help="a saved model")
    given = command.add_mutually_exclusive_group(required=True)
    ids: dict[str, Any] = {"metavar": "ID", "action": "append"}
    given.add_argument("--head", **ids, help="ask for its tails; repeatable")
    given.add_argument("--tail", **ids, help="ask for its heads; repeatable")
    given.add_argument(
        "--queries", metavar="FILE", help="table of relation, and of head or tail, a question a row"
    )
    command.add_argument("--relation", **ids, help="one for each head or tail, or one for all")
    command.add_argument("-k", type=int, default=10, help="most answers to each (default 10)")
    command.add_argument("--include-known", action="store_true", help="training facts too")
    command.add_argument(
        "--candidates", metavar="FILE", help="only these entities: a table with a column candidate"
    )
    _answer_options(command)


def _add_predict(commands: Any) -> None:
    command = _add(commands, "predict", "tell how plausible facts are")
    command.add_argument("store", metavar="STORE", help="a saved model")
    command.add_argument("facts", metavar="FILE", help=FACTS)
    command.add_argument(
        "--probability", action="store_true", help="a calibrated probability beside the score"
    )
    _answer_options(command)
    _column_options(command)


def _add_score_all(commands: Any) -> None:
    command = _add(commands, "score-all", "write the best pairs of each relation, resumable")
    command.add_argument("store", metavar="STORE", help="a saved model")
    command.add_argument("--out", required=True, metavar="FOLDER", help="of Parquet parts")
    command.add_argument(
        "--relation", metavar="ID", action="append", help="repeatable; default: all relations"
    )
    command.add_argument("-k", type=int, default=1000, help="most pairs of each (default 1000)")
    command.add_argument("--min-score", type=float, metavar="S", help="no pairs of lower scores")
    command.add_argument("--include-known", action="store_true", help="training facts too")
    command.add_argument(
        "--memory", type=float, default=256, metavar="MB", help="for scores (default 256)"
    )
    command.add_argument("--shard", metavar="I/N", default="1/1", help="share I of N of the work")
    _quiet_option(command)
    device_option(command)


def _add_evaluate(commands: Any) -> None:
    command = _add(commands, "evaluate", "judge a saved model on held-out facts")
    command.add_argument("store", metavar="STORE", help="a saved model")
    command.add_argument("test", metavar="TEST", help="held-out facts")
    command.add_argument(
        "--known",
        metavar="FILE",
        nargs="+",
        default=[],
        help="facts to hide beside those of the training and the test, such as validation facts",
    )
    command.add_argument(
        "--metrics", default="mrr,hits@1,hits@3,hits@10", metavar="NAME,...", help="%(default)s"
    )
    command.add_argument(
        "--ties",
        choices=("optimistic", "realistic", "pessimistic"),
        default="realistic",
        help="where entities of equal score stand (default %(default)s)",
    )
    command.add_argument("--by", choices=("side", "relation"), help="a row for each")
    command.add_argument(
        "--protocol",
        choices=("filtered", "murp"),
        default="filtered",
        help="murp hides the given entity too: its figures compare with no others",
    )
    command.add_argument(
        "--drop-unknown", action="store_true", help="leave out and count facts of unknown ids"
    )
    _column_options(command)
    device_option(command)


def _add_robustness(commands: Any) -> None:
    command = _add(commands, "robustness", "attack a saved model and tell what is certain of it")
    command.add_argument("store", metavar="STORE", help="a saved tucker or migtf")
    command_shell.robustness_options(command, "held-out facts")
    _column_options(command)
    device_option(command)


def _answer_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--out", metavar="FILE", help="Parquet, CSV, TSV or JSON lines")
    command.add_argument("--force", action="store_true", help="overwrite the file")
    device_option(command)


def _other_facts_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--known",
        metavar="FILE",
        nargs="+",
        default=[],
        help="true facts that are not learned, such as test facts: left out of the answers where "
        "those of --valid are ranked, as by LibKGE; their ids become known",
    )
    command.add_argument(
        "--ids-from",
        metavar="FILE",
        nargs="+",
        default=[],
        help="facts whose ids are to be known without being learned from, such as test facts",
    )


def _quiet_option(command: argparse.ArgumentParser) -> None:
    command.add_argument("--quiet", action="store_true", help="no progress bar")


def _column_options(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("columns of the facts")
    for name in ("head", "relation", "tail"):
        group.add_argument(
            f"--{name}", default=name, metavar="COLUMN", help="name, or number from 0"
        )
    group.add_argument(
        "--no-header", action="store_true", help="the columns are head, relation, tail, unnamed"
    )
