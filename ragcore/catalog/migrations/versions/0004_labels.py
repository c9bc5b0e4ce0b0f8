"""Labels that people and classifiers give to passages and images.

Revision ID: 0004_labels
Revises: 0003_caption_by
"""

import sqlalchemy as sa
from alembic import op

revision = "0004_labels"
down_revision = "0003_caption_by"


def _string(length: int) -> sa.types.TypeEngine[str]:
    """PostgreSQL would refuse longer values, SQLite never does: both take any."""
    return sa.String(length).with_variant(sa.Text(), "postgresql")


def _id() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _ref(name: str, target: str, *, nullable: bool = False) -> sa.Column[int]:
    key = sa.ForeignKey(target, ondelete="CASCADE")
    return sa.Column(name, _id(), key, nullable=nullable)


def _table(name: str, *columns: sa.Column[object]) -> None:
    op.create_table(
        name,
        sa.Column("id", _id(), primary_key=True),
        _ref("collection_id", "collections.id"),
        sa.Column("classifier", _string(100), nullable=False),
        _ref("passage_id", "passages.id", nullable=True),
        _ref("image_id", "images.id", nullable=True),
        sa.Column("label", _string(200), nullable=False),
        *columns,
        sa.UniqueConstraint("passage_id", "classifier"),
        sa.UniqueConstraint("image_id", "classifier"),
        sqlite_autoincrement=True,
    )


def upgrade() -> None:
    _table("given_labels", sa.Column("given_at", sa.DateTime(timezone=True), nullable=False))
    op.create_index("ix_given_labels_classifier", "given_labels", ["collection_id", "classifier"])
    _table(
        "item_labels",
        sa.Column("made_by", _string(150), nullable=False, server_default=""),
        sa.Column("confidence", sa.Double, nullable=False),
    )
    op.create_index("ix_item_labels_label", "item_labels", ["collection_id", "label"])
