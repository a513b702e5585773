"""Which columns of new events play which part: those named, else those of the events before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hyperrank.frames import MissingColumnError
from recsys.intake import Roles

KEPT = "columns_"  # attribute of a model, saved with what it learned
NEEDED, OTHERS = Roles._fields[:2], Roles._fields[2:]


@dataclass(frozen=True)
class ColumnNames:
    """Columns by role.

    Attributes:
        roles: What to read.
        recalled: Roles whose column nobody named this time.
    """

    roles: Roles
    recalled: frozenset[str]

    @classmethod
    def of(cls, model: Any, named: Mapping[str, str | None]) -> ColumnNames:
        """The columns named; for a role with None the one of before; "" for none at all.

        Where those of users or items are others than before, so is the file: times and weights are
        then not looked for unless they are named.
        """
        before = _before(model)
        told = {role: name for role, name in named.items() if name is not None}
        known = {role: name for role, name in before.items() if name and role not in told}
        if any(told.get(role, one) != one for role in NEEDED if (one := before.get(role))):
            known = {role: name for role, name in known.items() if role in NEEDED}
        chosen = dict(zip(NEEDED, NEEDED, strict=True)) | known | told
        time, weight = (chosen.get(role) or None for role in OTHERS)
        return cls(Roles(chosen["user"], chosen["item"], time, weight), frozenset(known))

    def explained(self, error: MissingColumnError) -> ValueError:
        """The error; where nobody named the column, also where its name comes from."""
        role = next((r for r in self.recalled if getattr(self.roles, r) == error.column), None)
        if role is None:
            return error
        none = "" if role in NEEDED else f", --{role} '' for none"
        return ValueError(
            f"{error}; {error.column!r} was the {role} column of the events before: name another "
            f"with --{role}{none}"
        )


def remember(model: Any, roles: Roles) -> None:
    """Keeps the columns with a model, for roles that it has none for."""
    before = _before(model)
    vars(model)[KEPT] = {role: before.get(role) or name for role, name in roles._asdict().items()}


def _before(model: Any) -> dict[str, str | None]:
    found: dict[str, str | None] = vars(model).get(KEPT, {})
    return found
