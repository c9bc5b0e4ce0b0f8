"""Turns among all processes that share a catalog."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from filelock import FileLock
from sqlalchemy import Engine, text

from ragcore.catalog.engine import sqlite_file

_LONGEST_PAUSE = 1.0  # seconds between attempts
_TRY = text("SELECT pg_try_advisory_lock(hashtextextended(:name, 0))")
_UNLOCK = text("SELECT pg_advisory_unlock(hashtextextended(:name, 0))")


@contextmanager
def exclusive(engine: Engine, name: str) -> Iterator[None]:
    """Wait until no other process is in here with this name, however long it takes.

    The turn of a process that dies ends with it. `name` is part of a file's name.
    """
    if engine.dialect.name == "postgresql":
        with _advisory(engine, name):
            yield
        return
    path = sqlite_file(engine)
    with FileLock(f"{path}.{name}.lock", mode=0o600) if path else nullcontext():
        yield


@contextmanager
def _advisory(engine: Engine, name: str) -> Iterator[None]:
    pause = 0.02
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        while not connection.execute(_TRY, {"name": name}).scalar():
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        try:
            yield
        finally:
            connection.execute(_UNLOCK, {"name": name})
