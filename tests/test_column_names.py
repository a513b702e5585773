"""Columns by role: named now, remembered, or usual."""

from __future__ import annotations

from types import SimpleNamespace

from hyperrank.frames import MissingColumnError
from recsys.column_names import ColumnNames, remember
from recsys.intake import Roles

NOBODY: dict[str, str | None] = dict.fromkeys(Roles._fields)


def test_usual_columns() -> None:
    names = ColumnNames.of(SimpleNamespace(), NOBODY)
    assert names.roles == Roles("user", "item", None, None)
    assert names.recalled == frozenset()
    error = MissingColumnError("no column 'user'", "user")
    assert names.explained(error) is error


def test_what_is_named_goes_before_what_is_remembered() -> None:
    model = SimpleNamespace()
    remember(model, Roles("who", "what", "at", None))
    names = ColumnNames.of(model, NOBODY | {"item": "thing", "time": ""})
    assert names.roles == Roles("who", "thing", None, None)
    assert names.recalled == {"user"}
    said = str(names.explained(MissingColumnError("no column 'who'", "who")))
    assert said == (
        "no column 'who'; 'who' was the user column of the events before: name another with --user"
    )


def test_times_are_not_looked_for_in_another_kind_of_file() -> None:
    model = SimpleNamespace()
    remember(model, Roles("who", "what", "at", "w"))
    assert ColumnNames.of(model, NOBODY).roles == Roles("who", "what", "at", "w")
    assert ColumnNames.of(model, NOBODY | {"user": "who"}).roles == Roles("who", "what", "at", "w")
    other = ColumnNames.of(model, NOBODY | {"user": "user", "weight": "w"})
    assert other.roles == Roles("user", "what", None, "w")
    assert other.recalled == {"item"}


def test_the_first_name_is_kept() -> None:
    model = SimpleNamespace()
    remember(model, Roles("who", "what", None, None))
    remember(model, Roles("user", "item", "at", None))
    assert ColumnNames.of(model, NOBODY).roles == Roles("who", "what", "at", None)
