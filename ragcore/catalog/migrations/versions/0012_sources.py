"""Sources that collections are kept in step with, and the documents that came from them.

Revision ID: 0012_sources
Revises: 0011_image_marks
"""

import sqlalchemy as sa
from alembic import op

revision = "0012_sources"
down_revision = "0011_image_marks"


def _id() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "sources",
        sa.Column("id", _id(), primary_key=True),
        sa.Column(
            "collection_id", _id(), sa.ForeignKey("collections.id", ondelete="CASCADE"),
            nullable=False,
        ),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("options", sa.JSON, nullable=False),
        sa.Column("every", sa.Integer, nullable=False),
        sa.Column("paused", sa.Boolean, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_run", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_run", sa.DateTime(timezone=True), nullable=True),
        sa.Column("report", sa.JSON, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.UniqueConstraint("collection_id", "url"),
        sqlite_autoincrement=True,
    )  # fmt: skip
    op.create_table(
        "source_documents",
        sa.Column(
            "document_id", _id(), sa.ForeignKey("documents.id", ondelete="CASCADE"),
            primary_key=True, autoincrement=False,
        ),
        sa.Column(
            "source_id", _id(), sa.ForeignKey("sources.id", ondelete="CASCADE"), nullable=False
        ),
    )  # fmt: skip
    op.create_index("ix_source_documents_source", "source_documents", ["source_id"])
