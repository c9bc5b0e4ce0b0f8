"""What is particular to a catalog in PostgreSQL: its URL, its connections, its errors.

The rest of the catalog is the same code for both databases; its lexical index is in
`lexical_postgres`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import OperationalError

from ragcore.errors import DatabaseUnavailable, RagcoreError, SearchTimeout, UsageError
from ragcore.extras import require_extra
from ragcore.files import full, read_only
from ragcore.redaction import mask_url

OLDEST = 140000  # as in server_version_num: virtually everything that is still maintained
LOCK_SECONDS = 120  # as long as a writer of SQLite waits for another one
_WRITERS = 7_261_903_184  # the advisory lock that writers take turns by; any number will do
_SESSION = (
    "SET timezone = 'UTC'",
    f"SET lock_timeout = '{LOCK_SECONDS}s'",
    "SET jit = off",  # compiling a query takes longer than answering it
    "SET plan_cache_mode = force_custom_plan",  # a rare word and a common one differ in plan
    # A writer whose machine vanished holds its lock until the server notices.
    "SET tcp_keepalives_idle = 30",
    "SET tcp_keepalives_interval = 10",
    "SET tcp_keepalives_count = 3",
)
_REFUSALS = (
    "password authentication failed",
    "no password supplied",
    "does not exist",
    "no pg_hba.conf entry",
    "is not permitted to log in",
    "permission denied",
    "could not translate host name",
    "authentication",
)
_TEMPORARY = {"40001", "40P01", "53300", "55P03", "57P01", "57P02", "57P03"}
_BUSY = "55P03"
_DISK_FULL = "53100"
_READ_ONLY = "25006"
_CANCELED = "57014"
SECONDS = "ragcore_seconds"  # execution option: how long one statement may take


def make_postgres(url: URL) -> Engine:
    """An engine whose connections are checked before use, and whose errors are ours.

    Raises UsageError for a driver other than psycopg, RagcoreError where that is missing.
    """
    if url.drivername in ("postgresql", "postgres"):
        url = url.set(drivername="postgresql+psycopg")
    if url.drivername != "postgresql+psycopg":
        raise UsageError(
            f"database_url: {url.drivername} is not supported, postgresql+psycopg:// is"
        )
    require_extra("postgres", "catalogs in PostgreSQL")
    engine = create_engine(
        url,
        pool_pre_ping=True,
        pool_size=10,
        max_overflow=20,
        connect_args={"connect_timeout": 30, "application_name": "ragcore"}
        if "connect_timeout" not in url.query
        else {},
    )
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    event.listen(engine, "handle_error", _translate, retval=True)
    return engine


def check_server(connection: Connection) -> None:
    """Raises RagcoreError for a server that is too old, or a database of another encoding."""
    version, encoding = connection.exec_driver_sql(
        "SELECT current_setting('server_version_num')::integer, current_setting('server_encoding')"
    ).one()
    if version < OLDEST:
        raise RagcoreError(
            f"PostgreSQL {OLDEST // 10000} or newer is needed; "
            f"{shown(connection.engine.url)} is of version {version // 10000}"
        )
    if encoding != "UTF8":
        raise RagcoreError(
            f"the database must be of encoding UTF8, {shown(connection.engine.url)} is of "
            f"{encoding}: make one with `createdb --encoding=UTF8 --template=template0 NAME`"
        )


def lock_writers(connection: Connection) -> None:
    """Take the writers' turn until the transaction ends.

    Without it, changes could be committed in another order than that of their numbers, and an
    index that catches up by these numbers would pass some over.
    """
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITERS})")


def shown(url: URL) -> str:
    """The URL as it may be printed: without any password."""
    return mask_url(url.render_as_string().replace("%2F", "/"))


@lru_cache(maxsize=1)
def _dumper() -> Any:
    from psycopg.types.string import StrDumper

    class WithoutNul(StrDumper):  # PostgreSQL's text cannot hold it
        def dump(self, obj: str) -> Any:
            return super().dump(obj.replace("\0", "") if "\0" in obj else obj)

    return WithoutNul


def _configure(connection: Any, _record: Any) -> None:
    connection.adapters.register_dumper(str, _dumper())
    autocommit, connection.autocommit = connection.autocommit, True
    for statement in _SESSION:
        connection.execute(statement)
    connection.autocommit = autocommit


def _begin(connection: Connection) -> None:
    if connection.get_execution_options().get("ragcore_write", False):
        lock_writers(connection)
    seconds = connection.get_execution_options().get(SECONDS)
    if seconds is not None:
        connection.exec_driver_sql(f"SET LOCAL statement_timeout = {max(1, int(seconds * 1000))}")


def timed_out(seconds: float) -> SearchTimeout:
    """What is raised in place of the driver's error when a statement took too long."""
    return SearchTimeout(
        f"the search took longer than {seconds:g} s (setting search_timeout): narrow it by a "
        "filter, or search for fewer words"
    )


def _translate(context: ExceptionContext) -> BaseException | None:
    """A lost, refused or too busy connection as an error of ours, in one line."""
    error = context.original_exception
    if context.is_pre_ping or not isinstance(context.sqlalchemy_exception, OperationalError):
        return None
    reason = " ".join(str(error).split()) or type(error).__name__
    engine = context.engine
    where = shown(engine.url) if engine is not None else "the catalog's server"
    state = getattr(error, "sqlstate", None)
    limit = context.connection.get_execution_options().get(SECONDS) if context.connection else None
    if state == _CANCELED and limit is not None:
        return timed_out(limit)
    if state == _DISK_FULL:
        return full(f"{where} was not changed")
    if state == _READ_ONLY:
        return read_only(f"{where} cannot be changed")
    if state == _BUSY:
        return DatabaseUnavailable(
            f"another process has been writing to the catalog for {LOCK_SECONDS} s; try again"
        )
    if context.connection is None and any(words in reason for words in _REFUSALS):
        return RagcoreError(
            f"{where} lets nobody in with these particulars: {_last(reason)}; see `database_url`"
        )
    if context.connection is None or context.is_disconnect or state in _TEMPORARY:
        return DatabaseUnavailable(f"{where} does not answer: {_last(reason)}")
    return None


def _last(reason: str) -> str:
    """Libpq reports every address that it tried; the last words say what is wrong."""
    return reason.rpartition("Multiple connection attempts failed")[0].strip() or reason
