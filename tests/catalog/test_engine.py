"""Opening a database: migrations, damage, versions."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, select, text

from ragcore.catalog import Catalog
from ragcore.catalog.engine import current_revision, head_revision, make_engine
from ragcore.catalog.models import Base, Document
from ragcore.errors import RagcoreError, UsageError


def test_new_database_is_migrated_to_the_head(catalog: Catalog) -> None:
    assert current_revision(catalog.engine) == head_revision()


def test_migrated_schema_equals_the_models(catalog: Catalog) -> None:
    def ours(
        object_: object, name: str | None, kind: str, _reflected: bool, _other: object
    ) -> bool:
        lexical = kind == "table" and "_fts" in str(name)
        return not lexical and not (kind == "column" and name == "scope")

    with catalog.engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"include_object": ours, "compare_type": True}
        )
        assert compare_metadata(context, Base.metadata) == []


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Catalog]:
    opened = Catalog(f"sqlite:///{tmp_path / 'catalogue.db'}")
    yield opened
    opened.close()


def test_models_and_migrations_agree_on_keys_and_cascades(sqlite: Catalog, tmp_path: Path) -> None:
    by_models = make_engine(f"sqlite:///{tmp_path / 'models.db'}")
    Base.metadata.drop_all(by_models)
    Base.metadata.create_all(by_models)
    for table in Base.metadata.tables:
        for pragma in ("foreign_key_list", "index_list", "table_info"):
            with sqlite.engine.connect() as ours, by_models.connect() as theirs:
                query = text(f"PRAGMA {pragma}('{table}')")
                # Defaults are the database's in one and Python's in the other.
                left, right = (
                    sorted(_comparable(pragma, row) for row in connection.execute(query))
                    for connection in (ours, theirs)
                )
            assert left == right, f"{pragma} of {table}"
    by_models.dispose()


def _comparable(pragma: str, row: object) -> tuple[str, ...]:
    values = [str(value) for value in tuple(row)]  # type: ignore[arg-type]
    if pragma == "table_info":  # cid, name, type, notnull, default, pk
        return (values[1], values[2], values[3], values[5])
    if pragma == "index_list":  # seq, name, unique, origin, partial
        return tuple(values[1:])
    return tuple(values[2:])


def test_opening_again_keeps_what_is_there(url: str) -> None:
    first = Catalog(url)
    first.create_collection("papers")
    first.close()
    second = Catalog(url)
    assert [collection.name for collection in second.collections()] == ["papers"]
    second.close()


def test_documents_of_before_the_coverage_report(url: str) -> None:
    """What was left out of them is known by their warnings."""
    catalog = Catalog(url)
    row = catalog.create_collection("papers")
    with catalog.write() as session:
        session.add(Document(collection_id=row.id, path="/a", name="a", warnings=["page 2 is odd"]))
        session.add(Document(collection_id=row.id, path="/b", name="b"))
    catalog.close()
    engine = create_engine(url)
    with engine.begin() as connection:  # the schema of before
        for column in ("coverage", "incomplete", "passage_size", "origin"):
            connection.execute(text(f"ALTER TABLE documents DROP COLUMN {column}"))
        connection.execute(text("ALTER TABLE images DROP COLUMN second"))
        later = (
            "album_images",
            "albums",
            "image_tags",
            "image_marks",
            "source_documents",
            "sources",
        )
        for table in (*later, "trash", "image_keywords", "image_metadata"):
            connection.execute(text(f"DROP TABLE {table}"))
        if engine.dialect.name == "postgresql":
            names = "passages_fts_follow, images_fts_follow"
            connection.execute(text(f"DROP FUNCTION {names} CASCADE"))
        connection.execute(text("UPDATE alembic_version SET version_num = '0007_source_versions'"))
    engine.dispose()
    catalog = Catalog(url)
    with catalog.read() as session:
        found = {
            one.name: (one.incomplete, one.coverage) for one in session.scalars(select(Document))
        }
    assert found == {"a": (True, None), "b": (False, None)}
    catalog.close()


def test_database_of_a_newer_ragcore_is_refused(url: str) -> None:
    Catalog(url).close()
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999_future'"))
    engine.dispose()
    with pytest.raises(RagcoreError, match="newer ragcore"):
        Catalog(url)


def test_file_that_is_no_database_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.db"
    path.write_bytes(b"this is no database, it only looks like a file" * 100)
    with pytest.raises(RagcoreError, match="cannot be opened") as caught:
        Catalog(f"sqlite:///{path}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("url", ["no url at all", "://", "sqlite"])
def test_malformed_url_is_a_usage_error(url: str) -> None:
    with pytest.raises(UsageError, match="not an SQLAlchemy URL"):
        Catalog(url)


def test_sqlite_is_in_wal_mode_with_foreign_keys(sqlite: Catalog) -> None:
    with sqlite.engine.connect() as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        assert connection.execute(text("PRAGMA foreign_keys")).scalar() == 1


def test_several_processes_may_make_the_same_database(url: str) -> None:
    program = (
        "import sys; from ragcore.catalog import Catalog; c = Catalog(sys.argv[1]); "
        "c.create_collection('shared', exist_ok=True); c.close()"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", program, url], stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    for process in running:
        _, complaint = process.communicate(timeout=60)
        assert process.returncode == 0, complaint.decode()
    catalog = Catalog(url)
    assert [collection.name for collection in catalog.collections()] == ["shared"]
    catalog.close()
