"""Engine and sessions: SQLite in WAL mode by default, any SQLAlchemy URL otherwise."""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from filelock import FileLock
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import ArgumentError, DatabaseError
from sqlalchemy.orm import Session

from ragcore.catalog import postgres
from ragcore.errors import DatabaseDamaged, RagcoreError, StorageReadOnly, UsageError
from ragcore.files import can_write, full, is_full, private_file, private_folder, read_only, storing
from ragcore.redaction import mask_url

BUSY_SECONDS = 120
_DEADLINE = "ragcore_deadline"  # of a connection's statement, on the monotonic clock
_LOOK_EVERY = 100_000  # instructions of SQLite's machine between two looks at the clock: some ms
MIGRATIONS = Path(__file__).parent / "migrations"


def make_engine(url: str) -> Engine:
    """Open the database of `url`, bringing its schema up to date.

    Raises UsageError for a malformed URL, RagcoreError if the database cannot be used.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:  # it may hold a password: it is not shown
        raise UsageError("database_url is not an SQLAlchemy URL") from None
    kind = parsed.get_backend_name()
    if kind in ("postgresql", "postgres"):
        engine, where = postgres.make_postgres(parsed), postgres.shown(parsed)
    elif kind == "sqlite":
        engine, where = _make_sqlite(parsed), mask_url(parsed.render_as_string())
    else:
        raise UsageError(f"database_url: a catalog is in SQLite or PostgreSQL, not in {kind}")
    try:
        _migrate(engine)
    except DatabaseError as error:
        engine.dispose()
        reason = str(error.orig).splitlines()[0]
        raise RagcoreError(
            f"the catalog {where} cannot be opened: {reason}; "
            "restore it from a backup or set another `home`"
        ) from error
    except RagcoreError:
        engine.dispose()
        raise
    return engine


def _make_sqlite(url: URL) -> Engine:
    timeout = {}
    if url.database:
        path = Path(url.database)
        timeout = {"connect_args": {"timeout": BUSY_SECONDS}}
        if path.is_file() and not can_write(path.parent):
            url = url.set(database=read_only_uri(path), query={"uri": "true"})
        else:
            with storing(f"the catalog {path} was not made"):
                private_folder(path.parent)
                private_file(path)  # its write-ahead log has the rights of the database itself
    engine = create_engine(url, **timeout)
    event.listen(engine, "connect", _configure_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    event.listen(engine, "before_cursor_execute", _set_deadline)
    event.listen(engine, "handle_error", _translate_sqlite, retval=True)
    return engine


def read_only_uri(path: Path) -> str:
    """How SQLite opens a database in a folder where it cannot make files.

    Without a log of changes beside it the database is whole as it is, and cannot change. With one,
    that log is read too, if its index is there as well: else this fails.
    """
    log = path.with_name(f"{path.name}-wal")
    whole = not log.exists() or log.stat().st_size == 0
    return f"{path.absolute().as_uri()}?mode=ro{'&immutable=1' if whole else ''}"


def sqlite_file(engine: Engine) -> Path | None:
    """The file of an engine's database; None for other databases."""
    name = engine.url.database
    if engine.dialect.name != "sqlite" or not name:
        return None
    return Path(unquote(urlsplit(name).path)) if name.startswith("file:") else Path(name)


def _configure_sqlite(connection: sqlite3.Connection, record: Any) -> None:
    connection.isolation_level = None  # transactions are begun below, not by the driver
    info = record.info
    connection.set_progress_handler(
        lambda: time.monotonic() > info.get(_DEADLINE, math.inf), _LOOK_EVERY
    )
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


def _set_deadline(connection: Connection, *_: Any) -> None:
    seconds = connection.get_execution_options().get(postgres.SECONDS)
    connection.info[_DEADLINE] = math.inf if seconds is None else time.monotonic() + seconds


def _translate_sqlite(context: ExceptionContext) -> BaseException | None:
    code = getattr(context.original_exception, "sqlite_errorcode", None)
    if code is None:
        return None
    if code == sqlite3.SQLITE_INTERRUPT and context.connection is not None:
        seconds = context.connection.get_execution_options().get(postgres.SECONDS)
        return None if seconds is None else postgres.timed_out(seconds)
    file = sqlite_file(context.engine) if context.engine is not None else None
    return None if file is None else sqlite_problem(code, file)


def sqlite_problem(code: int, file: Path) -> RagcoreError | None:
    """The error that stands for one of SQLite's about a full, read-only or damaged disk."""
    primary = code & 0xFF
    if primary == sqlite3.SQLITE_FULL or (
        primary in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN) and is_full(file.parent)
    ):
        return full(f"{file} was not changed")
    if primary == sqlite3.SQLITE_READONLY or (
        primary == sqlite3.SQLITE_CANTOPEN and file.exists() and not can_write(file.parent)
    ):
        return read_only(f"{file} cannot be changed")
    # Of the lexical index alone (SQLITE_CORRUPT_VTAB): it is made again.
    if primary == sqlite3.SQLITE_CORRUPT and code != sqlite3.SQLITE_CORRUPT_VTAB:
        return DatabaseDamaged(
            f"the catalog {file} is damaged: restore a backup, or let `ragcore recover` save "
            "what can be read (`ragcore doctor` says what that is)"
        )
    return None


def head_revision() -> str:
    """The newest migration's name: files are numbered."""
    return max(path.stem for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))


def current_revision(engine: Engine) -> str | None:
    """The schema revision of a database; None for one without tables."""
    with engine.connect() as connection:
        return _revision(connection)


def _revision(connection: Connection) -> str | None:
    if not connection.dialect.has_table(connection, "alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _migrate(engine: Engine) -> None:
    if engine.dialect.name == "postgresql":
        with engine.connect() as connection:
            postgres.check_server(connection)
    if current_revision(engine) == head_revision():
        return
    from alembic import command
    from alembic.config import Config

    with _migration(engine) as connection:
        present = _revision(connection)
        if present == head_revision():
            return
        if present is not None and present > head_revision():
            raise RagcoreError(
                f"the catalog was written by a newer ragcore (schema {present}); update ragcore"
            )
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.commit()


@contextmanager
def _migration(engine: Engine) -> Iterator[Connection]:
    """A connection for the one process that migrates; others wait for it."""
    if engine.dialect.name == "postgresql":
        with engine.connect() as connection:
            postgres.lock_writers(connection)
            yield connection
        return
    path = sqlite_file(engine)
    if path is not None and not can_write(path.parent):
        raise StorageReadOnly(
            f"{path} is of another version of ragcore, and its folder is read-only: open it once "
            "where it can be written, which migrates it"
        )
    with (
        FileLock(f"{path}.lock", mode=0o600) if path else nullcontext(),
        engine.connect() as connection,
    ):
        yield connection


def reading(engine: Engine) -> Engine:
    """The engine for `read_session`. SQLite's reads see one state of the database anyway."""
    if engine.dialect.name == "sqlite":
        return engine
    return engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


def limited(engine: Engine, seconds: float) -> Engine:
    """An engine each of whose statements is given up after `seconds`: it raises SearchTimeout."""
    return engine.execution_options(**{postgres.SECONDS: seconds})


def writing(engine: Engine) -> Engine:
    """The engine for `write_session`: its transactions wait for those of other writers."""
    return engine.execution_options(ragcore_write=True)


@contextmanager
def read_session(reading: Engine) -> Iterator[Session]:
    """One consistent view; nothing is written."""
    with Session(reading, expire_on_commit=False) as session:
        yield session


@contextmanager
def write_session(writing: Engine) -> Iterator[Session]:
    """One unit of work: committed whole on leaving, rolled back on an exception."""
    with Session(writing, expire_on_commit=False) as session, session.begin():
        yield session
