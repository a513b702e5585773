"""Events out of SQLite and a real PostgreSQL: types, bad rows, refusals, no password anywhere."""

from __future__ import annotations

import datetime as dt
import importlib.util
import sqlite3
import sys
import traceback
from pathlib import Path
from urllib.parse import quote

import pytest

from command_lines import Run, data, refused
from hyperrank import generations
from hyperrank.vocabulary import Vocabulary
from postgres_server import SECRET, free_port
from recsys import sources
from recsys.databases import Address, read_query
from recsys.intake import Roles
from recsys.screening import Screen

SQL = "select * from events"

needs_drivers = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("polars", "adbc_driver_sqlite"))),
    reason="polars or the drivers are not installed (extra sql)",
)


@pytest.fixture
def lite(run: Run) -> str:
    """Address of an SQLite file beside ``shop``, under a name that an address must quote."""
    with sqlite3.connect("a b#c%.db") as base:
        base.execute("create table events (user text, item text, at integer, w real)")
        rows = [("eve", "tea", 100, 1.0), ("ann", "tea", 200, 2.0), ("ann", "bread", 300, 0.5)]
        base.executemany("insert into events values (?, ?, ?, ?)", rows)
    base.close()
    return "sqlite:///a b#c%.db"


@needs_drivers
def test_events_out_of_sqlite(run: Run, lite: str) -> None:
    line = f"update shop --sql '{lite}' --query '{SQL}' --time at --json --quiet"
    assert not data(run(f"{line} --dry-run"))["taken"]
    done = data(run(line))
    assert (done["version"], done["report"]["events"]) == ("v000002", 3)
    assert not data(run(line))["taken"]
    assert not data(run("update shop new.csv --time when --json --quiet"))["taken"], "as of a file"
    ((batch, _),) = generations.log_of("shop").read({1})
    assert batch.notes == {"source": "sqlite:///a b#c%.db", "query": SQL}


@needs_drivers
def test_sqlite_needs_no_types(run: Run, lite: str) -> None:
    with sqlite3.connect("a b#c%.db") as base:
        base.execute("insert into events values (NULL, 'tea', 'soon', 'x')")
    base.close()
    line = f"update shop --sql '{lite}' --query '{SQL}' --time at --quiet"
    refused(run(line), "1 of 4 rows cannot be taken in: query.csv, line 5: the user is missing")
    assert data(run(f"{line} --on-bad-rows quarantine --json"))["quarantine"] == "query.bad"
    assert Path("query.bad").exists()
    line = f"update shop --sql '{lite}' --query 'select user as who, item from events' --quiet"
    refused(run(line), "has no column 'user'; it has 'who', 'item'; 'user' was the user column of")
    assert run(f"{line} --user who --time '' --on-bad-rows skip")[0] == 0


@needs_drivers
def test_what_sqlite_refuses(run: Run, lite: str) -> None:
    for query, message in (
        ("select * from orders", "refuses the query: INVALID_ARGUMENT: [SQLite] Failed to prepare"),
        ("select * from events where 0", "finds no rows; there is nothing to take in"),
    ):
        refused(run(f"update shop --sql '{lite}' --query '{query}' --quiet"), message)
    found = run(f"update shop --sql '{lite}' --query 'delete from events' --quiet")
    refused(found, "attempt to write a readonly database", code=1)
    refused(
        run(f"update shop --sql sqlite:///gone.db --query '{SQL}' --quiet"),
        "there is no database gone.db; three slashes begin a path from here (sqlite:///shop.db), "
        "four a full one",
    )
    assert not Path("gone.db").exists()
    assert not generations.is_versioned("shop")
    assert read_query(f"sqlite:///{Path('a b#c%.db').resolve()}", SQL).num_rows == 3


def test_options_that_go_together(run: Run) -> None:
    for line in ("--sql sqlite:///a.db", "--query 'select 1' new.csv", "--sql x --query ' '"):
        refused(run(f"update shop {line} --quiet"), "--sql URL and --query SELECT go together")
    refused(run(f"update shop new.csv --sql x --query '{SQL}'"), "takes new events from one place")


@pytest.mark.parametrize("missing", ["polars", "adbc_driver_manager", "adbc_driver_sqlite"])
def test_without_the_extra(
    missing: str, run: Run, lite: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    message = f"{missing} is not installed; pip install hyperrank[sql] to read databases"
    refused(run(f"update shop --sql '{lite}' --query '{SQL}' --quiet"), message)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("host=here password=s3cret", "--sql takes the address of a database, such as sqlite:///"),
        ("s3cret", "--sql takes the address of a database, such as sqlite:///"),
        ("mysql://me:s3cret@here/shop", "mysql databases cannot be read; use sqlite:///shop.db or"),
        ("postgre://me:s3cret@here/shop", "postgre databases cannot be read; did you mean postgre"),
        ("postgresql://me:s3cret@@here/shop", "cannot be read; write @ : / ? # in a user name or"),
        ("postgresql://me:s3cret/x@here/shop", "cannot be read; write @ : / ? # in a user name or"),
    ],
)
def test_addresses_that_are_none(url: str, message: str, run: Run) -> None:
    found = run(f"update shop --sql '{url}' --query '{SQL}' --quiet")
    refused(found, message)
    assert "s3cret" not in "".join(map(str, found))


def test_addresses_hide_their_secrets() -> None:
    url = (
        f"postgresql+psycopg2://me:{quote(SECRET, safe='')}@here:5/shop?sslmode=no&sslpassword=hush"
    )
    address = Address.read(url)
    assert str(address) == repr(address) == "postgresql://me@here:5/shop"
    assert address.url == url.replace("+psycopg2", "")
    said = address.hidden(f"no {SECRET} or {quote(SECRET, safe='')} or hush, no")
    assert said == "no *** or *** or ***, no"
    assert str(Address.read("postgres://here/shop")) == "postgresql://here/shop"
    assert Address.read("postgres://here/shop").url == "postgresql://here/shop"


TABLE = """
create table if not exists events (
    "user" text, item varchar(20), at timestamptz, day date, w numeric, code uuid, n int,
    tags text[]
);
truncate events;
insert into events values
    ('eve', 'tea', '2024-01-01 10:00+02', '2024-01-01', 1.5, gen_random_uuid(), 1, '{a}'),
    ('ann', 'tea', '2024-01-02', '2024-01-02', 2, gen_random_uuid(), 2, '{a,b}'),
    ('ann', 'bread', null, null, null, null, null, null);
"""


@pytest.fixture
def base(postgres: str) -> str:
    """The address of a database with events in it."""
    driver = pytest.importorskip("adbc_driver_postgresql.dbapi", reason="extra sql")
    with driver.connect(postgres) as connection, connection.cursor() as cursor:
        for statement in TABLE.split(";")[:-1]:
            cursor.execute(statement)
        connection.commit()
    return postgres


def written(*names: str) -> bytes:
    return b"".join(path.read_bytes() for name in names for path in Path(name).rglob("*.*"))


@needs_drivers
def test_events_out_of_postgresql(run: Run, base: str) -> None:
    query = 'select "user", item, at from events'
    line = f"update shop --sql '{base}' --query '{query}' --time at --quiet"
    refused(run(line), "1 of 3 rows cannot be taken in: query.parquet, line 3: the time (nothing)")
    found = run(f"{line} --json --on-bad-rows quarantine")
    assert data(found)["report"]["events"] == 2
    ((batch, _),) = generations.log_of("shop").read({1})
    place = base.rpartition("@")[2]
    assert batch.notes == {"source": f"postgresql://shop@{place}", "query": query}
    assert generations.current("shop").report["latest"] == [1704153600000000.0, "us"]
    everything = written("shop", ".") + "".join(map(str, found)).encode()
    assert SECRET.encode() not in everything
    assert quote(SECRET, safe="").encode() not in everything
    assert b"s3cret" not in everything


@needs_drivers
def test_types_of_postgresql(base: str) -> None:
    table = read_query(base, "select w, code::text, day, n, at from events where n = 1")
    (row,) = table.to_pylist()
    assert (row["w"], len(row["code"]), row["n"], row["day"].year) == ("1.5", 36, 1, 2024)
    assert row["at"].timestamp() == 1704096000


@needs_drivers
def test_weights_and_integers_of_postgresql(base: str) -> None:
    query = 'select n as "user", 7 as item, w from events where n is not null order by n'
    known = Vocabulary.from_ids([1])
    screen = Screen(Roles("user", "item", None, "w"), known, known, "sum", dt.datetime.now(dt.UTC))
    with sources.opened(None, base, query) as source:
        log, bad = screen.read(source.path)
    assert bad == []
    assert log.to_frame("pandas").to_numpy().tolist() == [[1, 7, 1.5], [2, 7, 2.0]]


@needs_drivers
def test_what_postgresql_refuses(run: Run, base: str) -> None:
    def asked(url: str, query: str) -> tuple[int, str, str]:
        line = f'update shop --sql "{url}" --query "{query}" --quiet'
        with pytest.raises((ValueError, ConnectionError)) as caught:
            run(f"{line} --debug")
        found = run(line)
        assert "s3cret" not in "".join([*traceback.format_exception(caught.value), *found[1:]])
        return found

    refused(asked(base, "select * from orders"), 'relation "orders" does not exist')
    refused(asked(base, "selec 1"), "refuses the query: ")
    refused(asked(base, "select 1; select 2"), "cannot insert multiple commands")
    refused(asked(base, "delete from events"), "gives no columns; expected a SELECT")
    refused(asked(base, "select 1/0"), "division by zero")
    refused(asked(base, "select * from events where false"), "finds no rows; there is nothing to")
    assert read_query(base, "select count(*) as n from events").to_pylist() == [{"n": 3}]
    wrong = base.replace("s3cret", "s3cret-not")
    refused(asked(wrong, "select 1"), "does not answer: IO: [libpq] Failed to connect: ", code=1)
    place = base.rpartition("@")[2]
    nowhere = base.replace(place, f"127.0.0.1:{free_port()}/postgres")
    refused(asked(nowhere, "select 1"), "Connection refused", code=1)


@needs_drivers
def test_the_password_may_stand_elsewhere(
    run: Run, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", SECRET)
    url = f"postgresql://shop@{base.rpartition('@')[2]}"
    assert read_query(url, "select 1 as one").to_pylist() == [{"one": 1}]
