"""``python -m data``: the data sets, their sizes and places; ``fetch NAME`` brings one here."""

from __future__ import annotations

import argparse
import sys

from data.catalogue import describe, fetch


def main(argv: list[str] | None = None) -> int:
    """Prints one line for each data set, or fetches one; the exit code is 2 where that failed."""
    parser = argparse.ArgumentParser(prog="python -m data", description="Public data sets.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("list", help="sizes and places of all (default)")
    one = commands.add_parser("fetch", help="download one from its publisher, unless it is here")
    one.add_argument("name", metavar="NAME", help="as in the list")
    options = parser.parse_args(argv)
    if options.command != "fetch":
        _list()
        return 0
    try:
        found = fetch(options.name)
    except (KeyError, OSError, ValueError) as error:
        reason = error.args[0] if isinstance(error, KeyError) else error
        print(f"python -m data fetch: {reason}", file=sys.stderr)
        return 2
    print(f"{options.name}: {found.folder or 'in an installed Python package'}")
    return 0


def _list() -> None:
    for sizes in (("users", "items", "events"), ("entities", "relations", "facts")):
        first, second, third = sizes
        print(f"{'name':<20}{first:>9}{second:>10}{third:>11}  {'kind':<6} where")
        for row in describe():
            if first in row:
                numbers = f"{row[first]:>9,}{row[second]:>10,}{row[third]:>11,}"
                where = row["folder"] or row["where"]
                print(f"{row['name']:<20}{numbers}  {row['kind']:<6} {where}")


if __name__ == "__main__":
    sys.exit(main())
