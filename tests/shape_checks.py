"""The checker that the import hook of conftest puts around every function."""

from __future__ import annotations

from typing import Any, Self

from beartype import BeartypeConf, FrozenDict, beartype

# beartype knows Self in decorated classes only, and the hook decorates functions; an int is a float
# to every type checker
check = beartype(conf=BeartypeConf(hint_overrides=FrozenDict({Self: Any}), is_pep484_tower=True))
