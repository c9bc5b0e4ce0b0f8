"""Keys, audit log and idempotent answers of the HTTP API.

Revision ID: 0002_api
Revises: 0001_first
"""

import sqlalchemy as sa
from alembic import op

revision = "0002_api"
down_revision = "0001_first"


def _string(length: int) -> sa.types.TypeEngine[str]:
    """PostgreSQL would refuse longer values, SQLite never does: both take any."""
    return sa.String(length).with_variant(sa.Text(), "postgresql")


def _id() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _time(name: str, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _words(name: str, length: int) -> sa.Column[str]:
    return sa.Column(name, _string(length), nullable=False, server_default="")


def _ref(name: str, target: str) -> sa.Column[int]:
    key = sa.ForeignKey(target, ondelete="CASCADE")
    return sa.Column(name, _id(), key, nullable=False, primary_key=True)


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", _id(), primary_key=True),
        sa.Column("name", _string(100), nullable=False),
        sa.Column("prefix", _string(20), nullable=False),
        sa.Column("sha256", _string(64), nullable=False, unique=True),
        sa.Column("scope", _string(10), nullable=False),
        sa.Column("all_collections", sa.Boolean, nullable=False),
        _time("created_at"),
        _time("expires_at", nullable=True),
        _time("revoked_at", nullable=True),
        _time("last_used_at", nullable=True),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "api_key_collections",
        _ref("key_id", "api_keys.id"),
        _ref("collection_id", "collections.id"),
    )
    op.create_table(
        "audit",
        sa.Column("id", _id(), primary_key=True),
        _time("at"),
        sa.Column("key_id", sa.BigInteger, nullable=True),
        _words("who", 120),
        sa.Column("action", _string(200), nullable=False),
        _words("collection", 200),
        sa.Column("status", sa.Integer, nullable=False),
        _words("request_id", 64),
        _words("client", 64),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_audit_at", "audit", ["at"])
    op.create_table(
        "idempotent_answers",
        sa.Column("owner", _string(40), nullable=False, primary_key=True),
        sa.Column("key", _string(255), nullable=False, primary_key=True),
        sa.Column("fingerprint", _string(64), nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("body", sa.JSON, nullable=False),
        _words("process", 100),
        _time("created_at"),
    )
    op.create_index("ix_idempotent_created", "idempotent_answers", ["created_at"])
