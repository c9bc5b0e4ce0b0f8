"""First schema: collections to conversations, and the lexical index over passages and images.

Revision ID: 0001_first
Revises:
"""

import sqlalchemy as sa
from alembic import op

revision = "0001_first"
down_revision = None


def _id() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _time(name: str, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, server_default="")


def _int(name: str, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, nullable=nullable)


def _ref(name: str, target: str, *, primary_key: bool = False) -> sa.Column[int]:
    key = sa.ForeignKey(target, ondelete="CASCADE")
    return sa.Column(name, _id(), key, nullable=False, primary_key=primary_key)


def upgrade() -> None:
    _collections_and_documents()
    _content()
    _vectors()
    _work_and_people()
    if op.get_bind().dialect.name == "sqlite":
        _fts5("passages", ("text", "heading", "title", "scope"))
        _fts5("images", ("text", "caption", "name", "scope"))


def _collections_and_documents() -> None:
    op.create_table(
        "collections",
        sa.Column("id", _id(), primary_key=True),
        sa.Column("name", sa.String(200), nullable=False, unique=True),
        _time("created_at"),
        sa.Column("settings", sa.JSON, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "documents",
        sa.Column("id", _id(), primary_key=True),
        _ref("collection_id", "collections.id"),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        _text("title"),
        sa.Column("media_type", sa.String(100), nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("mtime_ns", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("paged", sa.Boolean, nullable=False),
        _int("page_count"),
        _int("passage_count"),
        _int("image_count"),
        sa.Column("details", sa.JSON, nullable=False),
        sa.Column("warnings", sa.JSON, nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        _text("error"),
        _time("modified_at"),
        _time("ingested_at"),
        sa.UniqueConstraint("collection_id", "path"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_documents_sha256", "documents", ["collection_id", "sha256"])


def _content() -> None:
    op.create_table(
        "pages",
        _ref("document_id", "documents.id", primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("label", sa.String(50)),
        _int("start"),
        sa.Column("ocr", sa.Boolean, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
    )
    op.create_table(
        "passages",
        sa.Column("id", _id(), primary_key=True),
        _ref("document_id", "documents.id"),
        sa.Column("collection_id", _id(), nullable=False),
        *(_int(name) for name in ("ordinal", "page", "page_end", "start", "end")),
        _text("title"),
        _text("heading"),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("scope", sa.Text, sa.Computed("'c' || collection_id", persisted=False)),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_passages_collection", "passages", ["collection_id"])
    op.create_index("ix_passages_document", "passages", ["document_id", "ordinal"])
    op.create_table(
        "images",
        sa.Column("id", _id(), primary_key=True),
        _ref("document_id", "documents.id"),
        sa.Column("collection_id", _id(), nullable=False),
        _int("ordinal"),
        _int("page", nullable=True),
        _int("width"),
        _int("height"),
        sa.Column("pixels_sha256", sa.String(64), nullable=False),
        sa.Column("phash", sa.LargeBinary, nullable=False),
        *(_text(name) for name in ("media", "name", "caption", "text")),
        sa.Column("scope", sa.Text, sa.Computed("'c' || collection_id", persisted=False)),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_images_collection", "images", ["collection_id"])
    op.create_index("ix_images_document", "images", ["document_id"])
    op.create_index("ix_images_pixels", "images", ["collection_id", "pixels_sha256"])
    op.create_table(
        "thumbnails",
        _ref("image_id", "images.id", primary_key=True),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )


def _vectors() -> None:
    op.create_table(
        "spaces",
        sa.Column("id", _id(), primary_key=True),
        sa.Column("name", sa.String(300), nullable=False, unique=True),
        sa.Column("modality", sa.String(10), nullable=False),
        _int("dimension"),
        _time("created_at"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "collection_spaces",
        _ref("collection_id", "collections.id", primary_key=True),
        _ref("space_id", "spaces.id", primary_key=True),
        sa.Column("modality", sa.String(10), nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
    )
    op.create_table(
        "embeddings",
        _ref("space_id", "spaces.id", primary_key=True),
        sa.Column("item_id", sa.BigInteger, primary_key=True),
        sa.Column("collection_id", _id(), nullable=False),
        sa.Column("vector", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
    columns = ["collection_id", "space_id", "item_id"]
    op.create_index("ix_embeddings_collection", "embeddings", columns)
    op.create_table(
        "changes",
        sa.Column("seq", _id(), primary_key=True),
        sa.Column("collection_id", _id(), nullable=False),
        sa.Column("space_id", _id(), nullable=False),
        sa.Column("item_id", sa.BigInteger, nullable=False),
        sa.Column("removed", sa.Boolean, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_changes_store", "changes", ["collection_id", "space_id", "seq"])


def _work_and_people() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", _id(), primary_key=True),
        sa.Column("kind", sa.String(30), nullable=False),
        sa.Column("collection", sa.String(200), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("cancel_requested", sa.Boolean, nullable=False),
        *(sa.Column(name, sa.JSON, nullable=False) for name in ("request", "progress", "report")),
        _text("error"),
        sa.Column("process", sa.String(100), nullable=False),
        _time("created_at"),
        _time("updated_at"),
        _time("finished_at", nullable=True),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "conversations",
        sa.Column("id", _id(), primary_key=True),
        sa.Column("owner", sa.String(200), nullable=False),
        sa.Column("collection", sa.String(200), nullable=False),
        _text("title"),
        _time("created_at"),
        _time("updated_at"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_conversations_owner", "conversations", ["owner", "updated_at"])
    op.create_table(
        "turns",
        sa.Column("id", _id(), primary_key=True),
        _ref("conversation_id", "conversations.id"),
        sa.Column("role", sa.String(20), nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("payload", sa.JSON, nullable=False),
        _int("rating", nullable=True),
        _time("created_at"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_turns_conversation", "turns", ["conversation_id", "id"])
    op.create_table(
        "duplicate_decisions",
        _ref("first_id", "images.id", primary_key=True),
        _ref("second_id", "images.id", primary_key=True),
        sa.Column("decision", sa.String(20), nullable=False),
        _time("decided_at"),
    )


def _fts5(table: str, columns: tuple[str, ...]) -> None:
    """A full-text index over `table`, kept by triggers: it commits with the rows themselves."""
    names = ", ".join(columns)
    op.execute(
        f"CREATE VIRTUAL TABLE {table}_fts USING fts5({names}, content='{table}', "
        "content_rowid='id', tokenize='porter unicode61 remove_diacritics 2')"
    )
    # `scope` is computed, and a trigger sees it like any column.
    new = ", ".join(f"new.{c}" for c in columns)
    old = ", ".join(f"old.{c}" for c in columns)
    insert = f"INSERT INTO {table}_fts(rowid, {names}) VALUES (new.id, {new});"
    delete = (
        f"INSERT INTO {table}_fts({table}_fts, rowid, {names}) VALUES ('delete', old.id, {old});"
    )
    changed = ", ".join(c for c in columns if c != "scope")
    for moment, body in (
        ("INSERT", insert),
        ("DELETE", delete),
        (f"UPDATE OF {changed}", delete + insert),
    ):
        name = f"{table}_fts_{moment.split()[0].lower()}"
        op.execute(f"CREATE TRIGGER {name} AFTER {moment} ON {table} BEGIN {body} END")
