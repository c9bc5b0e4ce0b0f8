"""Logins of the pages, accounts that are disabled for a while, and whose job a job is.

Revision ID: 0006_sessions
Revises: 0005_passwords
"""

import sqlalchemy as sa
from alembic import op

revision = "0006_sessions"
down_revision = "0005_passwords"


def _string(length: int) -> sa.types.TypeEngine[str]:
    return sa.String(length).with_variant(sa.Text(), "postgresql")


def _id() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "sessions",
        sa.Column("id", _id(), primary_key=True),
        sa.Column(
            "key_id", _id(), sa.ForeignKey("api_keys.id", ondelete="CASCADE"), nullable=False
        ),
        sa.Column("sha256", _string(64), nullable=False, unique=True),
        sa.Column("stamp", _string(16), nullable=False),
        sa.Column("client", _string(64), nullable=False, server_default=""),
        sa.Column("browser", _string(200), nullable=False, server_default=""),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_sessions_key", "sessions", ["key_id"])
    op.add_column("api_keys", sa.Column("disabled_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("jobs", sa.Column("key_id", sa.BigInteger, nullable=True))
