"""Which columns of new events play which part: those named, else those of the events before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hyperrank.tables import MissingColumnError
from recsys.intake import Roles

KEPT = "columns_"  # attribute of a model, saved with what it learned
NEEDED = ("user", "item")


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
        """The columns named; for a role with None the one of before; "" for none at all."""
        before = _before(model)
        usual = {role: before.get(role) or (role if role in NEEDED else None) for role in named}
        chosen = {role: usual[role] if name is None else name for role, name in named.items()}
        recalled = frozenset(r for r in chosen if named[r] is None and before.get(r))
        user, item, time, weight = (chosen[role] or None for role in Roles._fields)
        return cls(Roles(user or "", item or "", time, weight), recalled)

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
