"""The shell of a command: exit codes, one sentence for an error, one object with --json.

Exit codes: 0 done; 1 failed while running; 2 bad usage or input, with one sentence on stderr; 4
another process holds what is to be written; 130 interrupted; or what the command answers. Nothing
heavy is imported before a command runs.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import json
import math
import os
import shlex
import sys
import warnings
from pathlib import Path
from typing import Any

from hyperrank.rendering import Answer, plain

LATER = "later"  # setting of a command: its operands that may be left out, in order

BAD_INPUT = (
    ValueError,
    TypeError,
    ImportError,  # of an extra
    FileNotFoundError,
    FileExistsError,
    IsADirectoryError,
    NotADirectoryError,
)


def run(parser: argparse.ArgumentParser, home: str, argv: list[str] | None = None) -> int:
    """Runs one command, the function of that name in the module ``home``; returns its exit code.

    The function takes the options and gives an ``Answer``, or several one after the other.
    """
    try:
        options = _parsed(parser, argv)
    except SystemExit as stop:  # argparse has printed help, or what was wrong
        return int(stop.code or 0)
    said = f"{parser.prog} {options.command}"
    try:
        return _answered(options, home, said)
    except KeyboardInterrupt:
        return _complain(said, "interrupted; nothing was left half-written", 130)
    except BrokenPipeError:  # the reader of our output went away, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (*BAD_INPUT, ArithmeticError, MemoryError, OSError, RuntimeError) as error:
        if options.debug:
            raise
        code = 2 if isinstance(error, BAD_INPUT) else 4 if isinstance(error, TimeoutError) else 1
        return _complain(said, str(error) or type(error).__name__, code)


def _parsed(parser: argparse.ArgumentParser, argv: list[str] | None) -> argparse.Namespace:
    """The options; an operand that may be left out may also come after options (``LATER``)."""
    options, rest = parser.parse_known_args(argv)
    options.line = shlex.join([parser.prog, *(sys.argv[1:] if argv is None else argv)])
    for name in vars(options).get(LATER, ()):
        if rest and getattr(options, name) is None and (rest[0] == "-" or rest[0][:1] != "-"):
            setattr(options, name, rest.pop(0))
    if rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    return options


def _answered(options: argparse.Namespace, home: str, said: str) -> int:
    code = 0
    with warnings.catch_warnings():
        if not options.debug:
            warnings.showwarning = functools.partial(_warn, said)
        name = options.command.replace("-", "_")
        answers = getattr(importlib.import_module(home), name)(options)
        for answer in (answers,) if isinstance(answers, Answer) else answers:
            print(json.dumps(plain(answer.data), allow_nan=False) if options.json else answer.text)
            sys.stdout.flush()
            code = max(code, answer.code)
    return code


def _complain(said: str, message: str, code: int) -> int:
    print(f"{said}: {' '.join(message.split())}", file=sys.stderr)
    return code


def _warn(said: str, message: Warning | str, *place: Any, **rest: Any) -> None:
    """One sentence on stderr, without the line of code that it came from."""
    del place, rest
    print(f"{said}: warning: {' '.join(str(message).split())}", file=sys.stderr)


def add_command(commands: Any, name: str, text: str, epilog: str) -> argparse.ArgumentParser:
    """The parser of one more command, with the options that every command has."""
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=text, description=f"{text[0].upper()}{text[1:]}.", epilog=epilog
    )
    group = command.add_argument_group("every command")
    group.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    group.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return command


def out_options(command: argparse.ArgumentParser, what: str) -> None:
    """Adds --out and --force; see ``check_free``."""
    command.add_argument("--out", required=True, metavar="PATH", help=what)
    command.add_argument("--force", action="store_true", help="replace what is there")


def model_options(command: argparse.ArgumentParser, default: str) -> None:
    """Adds --model and --set; see ``hyperrank.named_models``."""
    command.add_argument("--model", default=default, metavar="NAME", help="default %(default)s")
    command.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a parameter; repeatable"
    )


def device_option(command: argparse.ArgumentParser) -> None:
    """Adds --device; see ``device_of``."""
    command.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:1; default: the model's")


def robustness_options(command: argparse.ArgumentParser, test: str) -> None:
    """Adds what ``robustness`` takes beside its store."""
    command.add_argument("--test", metavar="TEST", help=f"{test}; without, no accuracy is told")
    command.add_argument("-k", type=int, default=10, help="length of the lists (default 10)")
    command.add_argument(
        "--epsilons",
        type=_epsilons,
        default=[0.05, 0.1, 0.2, 0.4, 0.8],
        metavar="E,E",
        help="how far attacks move a vector, relative to the root mean square length of its "
        "table's rows (default 0.05,0.1,0.2,0.4,0.8)",
    )
    command.add_argument("--report", metavar="FILE", help="also as a page, an html file of its own")
    command.add_argument("--seed", type=int, default=0, help="of every random draw (default 0)")


def _epsilons(text: str) -> list[float]:
    try:
        found = [float(one) for one in text.split(",")]
    except ValueError:
        found = []
    if not found or not all(0 < one < math.inf for one in found):
        raise argparse.ArgumentTypeError(f"expected numbers above 0 such as 0.1,0.4, got {text!r}")
    return sorted(set(found))


def device_of(options: argparse.Namespace) -> dict[str, str]:
    """The device that was asked for, if any, after a look whether it exists."""
    if options.device is None:
        return {}
    from hyperrank.devices import resolve

    resolve(options.device)
    return {"device": options.device}


def load_model(path: str, kind: type, **device: str) -> Any:
    """The saved model, of that kind, on the device that ``device_of`` gives.

    Raises:
        TypeError: If it is of another kind.
    """
    from hyperrank import store

    model = store.load(path, **device)
    if not isinstance(model, kind):
        raise TypeError(
            f"{path} holds a {type(model).__name__}, which is no {kind.__name__}; the models of "
            "recsys and of kg have a command each"
        )
    return model


def save_model(model: Any, options: argparse.Namespace, report: dict[str, Any]) -> tuple[str, str]:
    """Saves at --out, to a store of versions as a new one with this report.

    Returns the digest, and the version in words, if it is one.
    """
    from hyperrank import generations, store, writers

    if generations.is_versioned(options.out):
        made = writers.add(model, options.out, report)
        return made.model, f" as {made.version}"
    return store.save(model, options.out, overwrite=options.force), ""


def check_free(out: str, force: bool) -> None:
    """Passes when nothing is there, or it may be replaced.

    Raises:
        FileExistsError: Otherwise.
    """
    if Path(out).exists() and not force:
        raise FileExistsError(
            f"{out} exists already; choose another name, or --force to replace it"
        )
