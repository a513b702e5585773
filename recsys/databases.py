"""Rows that a query finds in SQLite or PostgreSQL, by polars and its Arrow drivers (extra sql)."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, unquote

ArrowTable: TypeAlias = Any
SCHEMES = {"sqlite": "sqlite", "postgresql": "postgresql", "postgres": "postgresql"}
ADDRESS = re.compile(  # user names and passwords have @ : / ? # as %40 %3A %2F %3F %23
    r"[^:]*://(?:([^:@/?#]*)(?::([^@/?#]*))?@)?([^@?#]*)(?:\?([^#@]*))?"
)
EXAMPLES = "sqlite:///shop.db or postgresql://user@host/shop"


@dataclass(frozen=True, repr=False)
class Address:
    """Where a database is; prints without its secrets."""

    engine: str
    user: str | None
    password: str | None
    place: str
    settings: str | None

    @classmethod
    def read(cls, url: str) -> Address:
        """The parts of an address.

        Raises:
            ValueError: If it cannot be read, or is of a database that is not supported. The
                message does not repeat it.
        """
        scheme, colon, rest = url.partition("://")
        scheme = scheme.partition("+")[0].lower()
        if not colon or not re.fullmatch(r"[a-z][a-z0-9]*", scheme):
            raise ValueError(f"--sql takes the address of a database, such as {EXAMPLES}")
        if scheme not in SCHEMES:
            near = difflib.get_close_matches(scheme, SCHEMES, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise ValueError(
                f"{scheme} databases cannot be read; {hint}use {EXAMPLES}, or let its own client "
                "write CSV into recsys update STORE -"
            )
        if SCHEMES[scheme] == "sqlite":
            return cls("sqlite", None, None, rest, None)
        found = ADDRESS.fullmatch(url)
        if found is None:
            raise ValueError(
                f"the address of the {scheme} database cannot be read; write @ : / ? # in a user "
                "name or password as %40 %3A %2F %3F %23"
            )
        user, password, place, settings = found.groups()
        return cls(SCHEMES[scheme], user, password, place, settings)

    def __str__(self) -> str:
        user = f"{self.user}@" if self.user else ""
        return f"{self.engine}://{user}{self.place}"

    __repr__ = __str__

    @property
    def url(self) -> str:
        """What polars takes, with the secrets."""
        if self.engine == "sqlite":  # opened for reading, so that a wrong name makes no new file
            return f"sqlite:///{Path(self.place.removeprefix('/')).resolve().as_uri()}?mode=ro"
        secret = f":{self.password}" if self.password else ""
        settings = f"?{self.settings}" if self.settings else ""
        at = f"{self.user or ''}{secret}@" if self.user or secret else ""
        return f"{self.engine}://{at}{self.place}{settings}"

    def hidden(self, text: str) -> str:
        """The text without what is secret here."""
        secrets = {value for key, value in parse_qsl(self.settings or "") if "pass" in key.lower()}
        secrets |= {unquote(self.password), self.password} if self.password else set()
        for secret in sorted(filter(None, secrets), key=len, reverse=True):
            text = text.replace(secret, "***")
        return text


def read_query(url: str, query: str) -> ArrowTable:
    """The rows of a query.

    Nothing is changed in the database: SQLite is opened for reading, PostgreSQL rolls back.

    Args:
        url: ``sqlite:///shop.db`` (a fourth slash begins a full path), or
            ``postgresql://user:password@host:port/database``. Password and user may be left to the
            variables PGPASSWORD and PGUSER, or to ``~/.pgpass``, where no list of processes shows
            them.
        query: One SELECT. Cast what has no plain type, such as ``id::text`` for UUIDs.

    Raises:
        ValueError: If the address or the query is wrong, or there are no rows.
        FileNotFoundError: If there is no such file of SQLite.
        ConnectionError: If the database does not answer, or does not let us in.
        ImportError: If polars or its driver is not installed.
    """
    address = Address.read(url)
    file = Path(address.place.removeprefix("/"))
    if address.engine == "sqlite" and not file.is_file():
        raise FileNotFoundError(
            f"there is no database {file}; three slashes begin a path from here "
            "(sqlite:///shop.db), four a full one (sqlite:////data/shop.db)"
        )
    return _plain(_read(address, query))


def _read(address: Address, query: str) -> ArrowTable:
    try:
        import adbc_driver_manager
        import polars as pl

        frame = pl.read_database_uri(query, address.url, engine="adbc")
    except ImportError as error:
        missing = error.name or f"adbc_driver_{address.engine}"
        raise ImportError(
            f"{missing} is not installed; pip install hyperrank[sql] to read databases"
        ) from None
    except adbc_driver_manager.Error as error:
        said = " ".join(address.hidden(str(error)).split())
        if isinstance(error, adbc_driver_manager.OperationalError):
            raise ConnectionError(f"{address} does not answer: {said}") from None
        raise ValueError(f"{address} refuses the query: {said}") from None
    if not frame.width:
        raise ValueError(f"this query of {address} gives no columns; expected a SELECT")
    if not frame.height:
        raise ValueError(f"this query of {address} finds no rows; there is nothing to take in")
    return frame.to_arrow()


def _plain(table: ArrowTable) -> ArrowTable:
    """The table with what NUMERIC and the like are stored as, which is text."""
    import pyarrow as pa

    for place, field in enumerate(table.schema):
        if isinstance(field.type, pa.BaseExtensionType):
            chunks = [chunk.storage for chunk in table.column(place).chunks]
            table = table.set_column(place, field.name, pa.chunked_array(chunks))
    return table
