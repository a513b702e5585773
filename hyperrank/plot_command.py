"""What ``plot`` does in every command: checks, a picture or all of them, a file or a page."""

from __future__ import annotations

import argparse
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hyperrank.command_shell import check_free, device_option
from hyperrank.rendering import Answer, plain

if TYPE_CHECKING:
    from hyperrank.plots import Picture
    from hyperrank.portrait import Subject
    from hyperrank.vocabulary import Vocabulary

ALL = "all"
KINDS = ("disk", "radius", "popularity", "spectrum", "training", ALL)
PAGES = (".html", ".htm")


def plot_options(command: argparse.ArgumentParser, one: str, many: str) -> None:
    """Adds what ``plot`` takes; ``one`` and ``many`` are words for what is drawn."""
    command.add_argument("store", metavar="STORE", help="a saved model")
    command.add_argument(
        "kind",
        metavar="KIND",
        choices=KINDS,
        help=f"disk: {many} on the Poincare disk, or on two principal axes for a Euclidean model; "
        "radius: their distance from the origin against popularity; popularity: how much of lists "
        f"the most popular {many} fill; spectrum: singular values of their table; training: loss "
        "and validation metric by epoch; all: a page of those that the model has",
    )
    command.add_argument(
        "--out", required=True, metavar="FILE", help="png, svg or pdf; html for a page, as for all"
    )
    command.add_argument("--force", action="store_true", help="replace what is there")
    command.add_argument(
        "--group-by",
        metavar="FILE:COLUMN",
        help=f"disk: colours by a column of a table of {many}, instead of by popularity",
    )
    command.add_argument(
        f"--{one}", dest="ids", metavar="COLUMN", default=one, help="of that table (%(default)s)"
    )
    command.add_argument("-k", type=int, help="popularity: length of the lists (default 10)")
    command.add_argument("--seed", type=int, default=0, help="of samples to draw (default 0)")
    command.set_defaults(users=False)
    device_option(command)


def check(options: Namespace) -> None:
    """Refuses, before anything is read, what could not be written, and options of other kinds.

    Raises:
        ValueError: If the suffix is none of a plot, ``all`` is no page, or an option does nothing.
        FileExistsError: If there is something already, without ``--force``.
        ImportError: If matplotlib is not installed.
    """
    from hyperrank import figures

    idle = {
        "--group-by": ("disk", options.group_by is not None),
        "--users": ("disk", options.users),
        "-k": ("popularity", options.k is not None),
    }
    for name, (kind, given) in idle.items():
        if given and options.kind not in (kind, ALL):
            raise ValueError(f"{name} applies to {kind} and all, not to {options.kind}")
    if options.group_by is not None and not all(options.group_by.rpartition(":")):
        raise ValueError(
            f"--group-by expects FILE:COLUMN, such as items.csv:genre, got {options.group_by!r}"
        )
    if options.kind == ALL and Path(options.out).suffix.lower() not in PAGES:
        raise ValueError(
            f"{options.out}: all of them make a page, a file that ends in .html; a png, svg or pdf "
            f"holds one of {', '.join(KINDS[:-1])}"
        )
    if Path(options.out).suffix.lower() in PAGES:
        figures.check_installed("a page of plots")
    else:
        figures.check(options.out)
    check_free(options.out, options.force)


def run(options: Namespace, subject: Subject) -> Answer:
    """Draws what is asked for and writes it.

    Raises:
        FileNotFoundError: If there is no such table of groups.
        ValueError: If the model has nothing to show, or the groups cannot be read or fit no id.
    """
    from hyperrank import figures
    from hyperrank.plots import NothingToDrawError
    from hyperrank.portrait import Look, draw

    look = Look(_groups(options, subject.ids), options.users, _k(options), options.seed)
    drawn: dict[str, Picture] = {}
    left_out: dict[str, str] = {}
    for kind in KINDS[:-1] if options.kind == ALL else (options.kind,):
        try:
            drawn[kind] = draw(subject, kind, look)
        except NothingToDrawError as error:
            if options.kind != ALL:
                raise
            left_out[kind] = str(error)
    if Path(options.out).suffix.lower() in PAGES:
        _write_page(options, subject, drawn, left_out)
    else:
        figures.save(drawn[options.kind].figure, options.out)
    data = {
        "store": options.store,
        "model": subject.names.model,
        "out": options.out,
        "pictures": {kind: one.numbers for kind, one in drawn.items()},
        "left_out": left_out,
    }
    text = [one.figure.get_suptitle() for one in drawn.values()]
    text += [f"no {kind}: {reason}" for kind, reason in left_out.items()]
    return Answer(plain(data), "\n".join([*text, f"wrote {options.out}"]))


def _write_page(
    options: Namespace, subject: Subject, drawn: dict[str, Picture], left_out: dict[str, str]
) -> None:
    from hyperrank import figures, pages

    names = subject.names
    learned = f"{len(subject.ids):,} {names.rows}, learned from {len(subject.known):,} pairs."
    parts = [pages.paragraph(learned, "lead")]
    parts += [pages.figure(figures.svg(one.figure), one.caption) for one in drawn.values()]
    parts += [pages.paragraph(f"No {kind}: {why}.", "note") for kind, why in left_out.items()]
    pages.write(options.out, f"{names.model} of {options.store}", parts)


def _k(options: Namespace) -> int:
    from hyperrank.questions import whole

    return 10 if options.k is None else whole("-k", options.k)


def _groups(options: Namespace, known: Vocabulary) -> dict[Any, Any] | None:
    """The group of each id in the table that was named."""
    from hyperrank.portrait import read_groups

    if options.group_by is None:
        return None
    path, _, column = options.group_by.rpartition(":")
    return read_groups(path, column, options.ids, known)
