"""What ``search`` does in every command: checks, trials, the best model saved, the page."""

from __future__ import annotations

import argparse
import shlex
from argparse import Namespace
from collections.abc import Callable
from typing import Any

from hyperrank.command_shell import (
    check_free,
    device_option,
    model_options,
    out_options,
    save_model,
)
from hyperrank.rendering import Answer


def search_options(command: argparse.ArgumentParser, model: str, metric: str) -> None:
    """Adds what ``search`` takes beside its data."""
    out_options(command, "folder of the best model")
    model_options(command, model)
    command.add_argument(
        "--metric", default=metric, metavar="NAME", help="to maximize (default %(default)s)"
    )
    command.add_argument("--trials", type=int, default=50, help="of the whole study (default 50)")
    command.add_argument("--timeout", type=float, metavar="S", help="no trial begins after S s")
    command.add_argument(
        "--storage",
        metavar="FILE|URL",
        help="of the study, which is continued where it is there: a file (default: --out with "
        ".study.log), or the address of any Optuna storage",
    )
    command.add_argument("--name", default="search", help="of the study in its storage")
    command.add_argument("--n-jobs", type=int, default=1, help="processes (default 1)")
    command.add_argument(
        "--pruner",
        choices=("median", "hyperband", "none"),
        default="median",
        help="what ends weak trials early (default median)",
    )
    command.add_argument(
        "--finalists",
        type=int,
        default=3,
        help="best trials that are fitted twice more, with other seeds, and so is the model as "
        "given, to choose between them (default 3; 0: the best value is taken)",
    )
    command.add_argument("--report", metavar="FILE", help="also as a page, an html file of its own")
    command.add_argument("--seed", type=int, default=0, help="of every random draw (default 0)")
    command.add_argument("--quiet", action="store_true", help="no progress bar")
    device_option(command)


def check(options: Namespace) -> None:
    """Refuses, before anything is read, what could not be written in the end."""
    from hyperrank import figures, pages

    check_free(options.out, options.force)
    if options.report:
        pages.check(options.report)
        figures.check_installed("a report")


def run(
    options: Namespace,
    model: Any,
    spaces: Any,
    data: tuple[Any, Any],
    fit_params: dict[str, Any] | None = None,
    *,
    check: Callable[[Any], None] | None = None,
    finish: Callable[[Any], None] | None = None,
) -> Answer:
    """Searches the space of the model's name in ``spaces``, and saves the best.

    Parameters that --set gives are the same in all trials. ``check`` refuses models before they
    are fitted; ``finish`` has the best before it is saved.
    """
    import time

    from hyperrank import search_page
    from hyperrank.search import search
    from hyperrank.spaces import held
    from hyperrank.studies import hidden

    space = getattr(spaces, type(model).__name__.lower())
    fixed = [setting.partition("=")[0] for setting in options.set]
    storage = options.storage or f"{options.out.rstrip('/')}.study.log"
    began = time.perf_counter()
    best = search(
        model,
        held(space, {name: getattr(model, name) for name in fixed}),
        *data,
        metric=options.metric,
        fit_params=fit_params,
        trials=options.trials,
        timeout=options.timeout,
        storage=storage,
        name=options.name,
        n_jobs=options.n_jobs,
        pruner=options.pruner,
        random_state=options.seed,
        finalists=options.finalists,
        refit=False,
        check=check,
        progress=not options.quiet,
    )
    seconds = time.perf_counter() - began
    if finish is not None:
        finish(best)
    digest, as_version = save_model(
        best, options, {f"validation_{options.metric}": best.searched.value}
    )
    told = {
        "store": options.out,
        "model": type(best).__name__,
        "params": best.get_params(),
        "storage": hidden(storage),
        "seconds": round(seconds, 3),
        "digest": digest,
    }
    line = shlex.join(map(hidden, shlex.split(options.line)))
    place = f"{options.out}{as_version}"
    return search_page.answer(best.searched, told, place, options.report, line)
