"""The trash; and lexical indexes that follow a row into another collection.

Revision ID: 0013_trash
Revises: 0012_sources
"""

import sqlalchemy as sa
from alembic import op

revision = "0013_trash"
down_revision = "0012_sources"

_COLUMNS = {"passages": ("text", "heading", "title"), "images": ("text", "caption", "name")}


def _id() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "trash",
        sa.Column(
            "document_id", _id(), sa.ForeignKey("documents.id", ondelete="CASCADE"),
            primary_key=True, autoincrement=False,
        ),
        sa.Column("trashed_at", sa.DateTime(timezone=True), nullable=False),
    )  # fmt: skip
    follow = _follow_sqlite if op.get_bind().dialect.name == "sqlite" else _follow_postgres
    for table, columns in _COLUMNS.items():
        follow(table, columns)


def _follow_sqlite(table: str, columns: tuple[str, ...]) -> None:
    names = ", ".join((*columns, "scope"))
    new, old = (", ".join(f"{row}.{c}" for c in (*columns, "scope")) for row in ("new", "old"))
    op.execute(f"DROP TRIGGER {table}_fts_update")
    op.execute(
        f"CREATE TRIGGER {table}_fts_update AFTER UPDATE OF {', '.join(columns)}, collection_id "
        f"ON {table} BEGIN INSERT INTO {table}_fts({table}_fts, rowid, {names}) VALUES "
        f"('delete', old.id, {old}); INSERT INTO {table}_fts(rowid, {names}) VALUES "
        f"(new.id, {new}); END"
    )


def _follow_postgres(table: str, columns: tuple[str, ...]) -> None:
    name = f"{table}_fts_follow"
    op.execute(
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT "
        f"AS $$ BEGIN UPDATE {table}_fts SET collection_id = new.collection_id WHERE id = new.id; "
        "RETURN NULL; END $$"
    )
    op.execute(
        f"CREATE TRIGGER {name} AFTER UPDATE OF collection_id ON {table} FOR EACH ROW "
        f"EXECUTE FUNCTION {name}()"
    )
