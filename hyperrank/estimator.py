"""Estimators: parameters are dataclass fields, what ``fit`` learns ends in an underscore."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Self


class NotFittedError(ValueError, AttributeError):
    """Raised by methods that need ``fit`` first."""


@dataclass(kw_only=True, eq=False)
class Estimator:
    """Parameters are dataclass fields; what ``fit`` learns ends in an underscore."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """All parameters by name."""
        del deep  # scikit-learn passes it; nothing here is nested
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def set_params(self, **changes: Any) -> Self:
        """Change parameters in place.

        Raises:
            ValueError: If a name is unknown.
        """
        known = [f.name for f in fields(self)]
        unknown = sorted(changes.keys() - set(known))
        if unknown:
            raise ValueError(f"{type(self).__name__} has no parameter {unknown}; it has {known}")
        for name, value in changes.items():
            setattr(self, name, value)
        return self

    def _fitted(self, name: str) -> Any:
        try:
            return self.__dict__[name]
        except KeyError:
            message = f"this {type(self).__name__} is not fitted; call fit(...) first"
            raise NotFittedError(message) from None
