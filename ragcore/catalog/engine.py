"""Engine and sessions: SQLite in WAL mode by default, any SQLAlchemy URL otherwise."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock
from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DatabaseError
from sqlalchemy.orm import Session

from ragcore.errors import RagcoreError, UsageError

BUSY_SECONDS = 120
MIGRATIONS = Path(__file__).parent / "migrations"


def make_engine(url: str) -> Engine:
    """Open the database of `url`, bringing its schema up to date.

    Raises UsageError for a malformed URL, RagcoreError if the database cannot be used.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise UsageError(f"database_url {url!r} is not an SQLAlchemy URL") from None
    is_file = parsed.get_backend_name() == "sqlite" and bool(parsed.database)
    if is_file:
        Path(str(parsed.database)).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(
        parsed, **({"connect_args": {"timeout": BUSY_SECONDS}} if is_file else {})
    )
    if parsed.get_backend_name() == "sqlite":
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    try:
        _migrate(engine, lock=Path(f"{parsed.database}.lock") if is_file else None)
    except DatabaseError as error:
        reason = str(error.orig).splitlines()[0]
        raise RagcoreError(
            f"the catalogue {parsed.render_as_string()} cannot be opened: {reason}; "
            "restore it from a backup or set another `home`"
        ) from error
    return engine


def _configure_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None  # transactions are begun below, not by the driver
    for pragma in (
        f"busy_timeout={BUSY_SECONDS * 1000}",
        "journal_mode=WAL",
        "synchronous=NORMAL",
        "foreign_keys=ON",
        "cache_size=-65536",
        "mmap_size=1073741824",
        "temp_store=MEMORY",
    ):
        connection.execute(f"PRAGMA {pragma}")
    # Views of the lexical indexes' own word lists. They belong to this connection alone.
    for table in ("passages", "images"):
        connection.execute(
            f"CREATE VIRTUAL TABLE temp.{table}_words USING fts5vocab(main, {table}_fts, row)"
        )


def _begin_sqlite(connection: Connection) -> None:
    # A writer takes the lock at once: upgrading a read transaction could fail half-way.
    write = connection.get_execution_options().get("ragcore_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def head_revision() -> str:
    """The newest migration's name: files are numbered."""
    return max(path.stem for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))


def current_revision(engine: Engine) -> str | None:
    with engine.connect() as connection:
        tables = set(engine.dialect.get_table_names(connection))
        if "alembic_version" not in tables:
            return None
        return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _migrate(engine: Engine, lock: Path | None) -> None:
    if current_revision(engine) == head_revision():
        return
    from alembic import command
    from alembic.config import Config

    with FileLock(lock) if lock else _no_lock():
        present = current_revision(engine)
        if present == head_revision():
            return
        if present is not None and present > head_revision():
            raise RagcoreError(
                f"the catalogue was written by a newer ragcore (schema {present}); update ragcore"
            )
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        with engine.connect() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            connection.commit()


@contextmanager
def _no_lock() -> Iterator[None]:
    yield


@contextmanager
def read_session(engine: Engine) -> Iterator[Session]:
    """One consistent view; nothing is written."""
    with Session(engine, expire_on_commit=False) as session:
        yield session


@contextmanager
def write_session(engine: Engine) -> Iterator[Session]:
    """One unit of work: committed whole on leaving, rolled back on an exception."""
    writer = engine.execution_options(ragcore_write=True)
    with Session(writer, expire_on_commit=False) as session, session.begin():
        yield session
