"""What only a database server can do to a catalog: refuse, be gone, come back."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from sqlalchemy import create_engine, func, make_url, select, text

from ragcore.access.audit import Audit
from ragcore.catalog import Catalog, postgres, retry
from ragcore.catalog.documents import store_document
from ragcore.catalog.lexical import QueryWords, check_lexical, search_lexical
from ragcore.catalog.models import AuditEntry, Change, Document, Embedding, Passage
from ragcore.errors import DatabaseUnavailable, RagcoreError, UsageError
from tests.waiting import TIMEOUT, wait_until

from ..postgres_server import PostgresServer, running_server
from .conftest import make_document


@pytest.fixture
def url(postgres_url: str) -> str:
    return postgres_url


@pytest.fixture(scope="module")
def mortal() -> Iterator[PostgresServer]:
    """A server of these tests' own, to be killed."""
    yield from running_server()


@pytest.fixture
def served(mortal: PostgresServer) -> Iterator[Catalog]:
    opened = Catalog(mortal.url(mortal.create()))
    yield opened
    opened.close()


def one_line(error: pytest.ExceptionInfo[RagcoreError]) -> str:
    message = str(error.value)
    assert "\n" not in message
    return message


# --- opening -------------------------------------------------------------------


def test_a_url_without_a_driver_is_enough(url: str) -> None:
    opened = Catalog(url.replace("postgresql+psycopg://", "postgresql://"))
    assert opened.engine.dialect.driver == "psycopg"
    opened.close()


def test_other_databases_and_drivers_are_refused() -> None:
    for wrong in ("mysql://me:secret@host/db", "postgresql+asyncpg://me:secret@host/db"):
        with pytest.raises(UsageError, match="database_url: ") as error:
            Catalog(wrong)
        assert "secret" not in str(error.value)
    with pytest.raises(UsageError) as error:
        Catalog("secret password://")
    assert "secret" not in str(error.value)


def test_passwords_are_not_shown() -> None:
    url = make_url("postgresql://me:secret1@host/db?sslmode=require&sslpassword=secret2")
    assert postgres.shown(url) == "postgresql://me:***@host/db?sslmode=require&sslpassword=***"


def test_a_server_that_is_not_there() -> None:
    with pytest.raises(DatabaseUnavailable, match="does not answer") as error:
        Catalog("postgresql://me:secret@127.0.0.1:1/db?connect_timeout=2")
    assert "secret" not in one_line(error)


def test_a_database_that_is_not_there(postgres_server: PostgresServer) -> None:
    with pytest.raises(RagcoreError, match='database "nowhere" does not exist') as error:
        Catalog(postgres_server.url("nowhere"))
    assert not isinstance(error.value, DatabaseUnavailable), "waiting does not help"
    one_line(error)


def open_until(url: str, seconds: float) -> None:
    """Open again and again: a server takes a moment to read its rules."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        Catalog(url).close()


def test_a_wrong_password(postgres_server: PostgresServer, url: str) -> None:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    rules = postgres_server.folder / "data" / "pg_hba.conf"
    before = rules.read_text()
    try:
        with engine.connect() as connection:
            connection.execute(text("DROP ROLE IF EXISTS ann"))
            connection.execute(text("CREATE ROLE ann LOGIN PASSWORD 'right'"))
            rules.write_text(f"local all ann scram-sha-256\n{before}")
            connection.execute(text("SELECT pg_reload_conf()"))
        with pytest.raises(RagcoreError, match="password authentication failed") as error:
            open_until(url.replace("postgres@", "ann:wrong%20one@"), seconds=10)
    finally:
        rules.write_text(before)
        engine.dispose()
    assert "wrong" not in one_line(error)
    assert "database_url" in str(error.value)


def test_a_missing_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(RagcoreError, match=r'pip install "ragcore\[postgres\]"'):
        Catalog("postgresql://host/db")


def test_an_old_server_and_another_encoding(
    postgres_server: PostgresServer, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("DROP DATABASE IF EXISTS latin"))
        connection.execute(
            text("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
        )
    engine.dispose()
    with pytest.raises(RagcoreError, match="must be of encoding UTF8"):
        Catalog(postgres_server.url("latin"))
    postgres_server.drop("latin")
    monkeypatch.setattr(postgres, "OLDEST", 990000)
    with pytest.raises(RagcoreError, match="PostgreSQL 99 or newer is needed"):
        Catalog(url)


def test_schema_is_made_by_one_of_several(postgres_server: PostgresServer) -> None:
    name = postgres_server.create()
    errors: list[BaseException] = []

    def work() -> None:
        try:
            Catalog(postgres_server.url(name)).close()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    postgres_server.drop(name)


# --- what SQLite takes and PostgreSQL would not --------------------------------


def test_long_and_odd_texts_are_taken(catalog: Catalog, collection: int) -> None:
    texts = ["nul \0 inside", "x" * 3000, "word " * 60_000, "½ ² 家族 हिन्दी คำ", ""]
    document = make_document("/odd.txt", texts)
    with catalog.write() as session:
        store_document(session, collection, document)
        assert check_lexical(session) == []
    with catalog.read() as session:
        kept = session.scalars(select(Passage.text).order_by(Passage.ordinal)).all()
        assert kept == ["nul  inside", *texts[1:]]
        for word in ("inside", "家", "हिन्दी"):
            assert search_lexical(session, "passages", QueryWords((word,)), limit=5)


# --- the server goes and comes back --------------------------------------------


@pytest.mark.full
def test_writers_go_on_after_a_restart(
    served: Catalog,
    mortal: PostgresServer,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(retry, "_FIRST", 0.1)
    collection = served.create_collection("papers").id
    space = served.space_id("words@1", "text", 8)
    served.use_space(collection, space, "text")
    stored = threading.Event()

    def outage() -> None:
        stored.wait(TIMEOUT)
        mortal.kill()
        wait_until(lambda: "does not answer" in caplog.text, "a writer's notice of the outage")
        mortal.start()

    thread = threading.Thread(target=outage)
    thread.start()
    n = 0
    while thread.is_alive() or n < 60:
        document = make_document(f"/{n}.txt", ["one", "two"], text_space=space)
        served.commit(lambda session, new=document: store_document(session, collection, new))
        n += 1
        if n == 20:
            stored.set()
    thread.join()
    with served.write() as session:
        counts = [
            session.scalar(select(func.count()).select_from(table))
            for table in (Document, Passage, Embedding)
        ]
        assert counts == [n, 2 * n, 2 * n], "nothing lost, nothing twice"
        assert check_lexical(session) == []
        seqs = session.scalars(select(Change.seq).order_by(Change.seq)).all()
        assert len(seqs) >= 2 * n
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert any("does not answer" in line and "trying again in" in line for line in said), said
    assert any("the catalog is back after" in line for line in said), said


@pytest.mark.full
def test_a_search_says_so_and_works_again(served: Catalog, mortal: PostgresServer) -> None:
    collection = served.create_collection("papers").id
    with served.write() as session:
        store_document(session, collection, make_document("/a.txt", ["the river gauge"]))

    def look() -> int:
        with served.read() as session:
            return len(search_lexical(session, "passages", QueryWords(("gauge",)), limit=5))

    def look_long() -> None:
        with served.read() as session:
            session.execute(select(Document)).all()
            mortal.kill()
            session.execute(select(Document)).all()

    assert look() == 1
    with pytest.raises(DatabaseUnavailable) as error:
        look_long()
    assert "does not answer" in one_line(error)
    with pytest.raises(DatabaseUnavailable):
        look()
    mortal.start()
    assert look() == 1


@pytest.mark.full
def test_the_timeout_ends(
    served: Catalog, mortal: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "_FIRST", 0.05)
    mortal.kill()
    try:
        with pytest.raises(DatabaseUnavailable, match="given up after") as error:
            retry.until_available(
                lambda: served.create_collection("never"),
                timeout=0.5,
            )
        one_line(error)
    finally:
        mortal.start()


@pytest.mark.full
def test_the_audit_log_is_written_later(served: Catalog, mortal: PostgresServer) -> None:
    audit = Audit(served)
    mortal.kill()
    audit.note(action="search", status=200, who="Ann")
    with pytest.raises(DatabaseUnavailable):
        audit.flush()
    mortal.start()
    audit.close()
    with served.read() as session:
        assert session.scalars(select(AuditEntry.who)).all() == ["Ann"]


def test_waiting_for_a_writer_has_an_end(served: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    short = [line.replace("120s", "200ms") for line in postgres._SESSION]
    monkeypatch.setattr(postgres, "_SESSION", tuple(short))
    other = Catalog(served.engine.url.render_as_string(hide_password=False))
    with served.write() as session:
        session.execute(select(Document)).all()
        with pytest.raises(DatabaseUnavailable, match="another process"):
            other.create_collection("papers")
    other.close()
