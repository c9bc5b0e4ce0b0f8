"""How images were taken: date, camera, place, rating, keywords.

Revision ID: 0010_image_metadata
Revises: 0009_passage_size
"""

import sqlalchemy as sa
from alembic import op

revision = "0010_image_metadata"
down_revision = "0009_passage_size"


def _string(length: int) -> sa.types.TypeEngine[str]:
    """PostgreSQL would refuse longer values, SQLite never does: both take any."""
    return sa.String(length).with_variant(sa.Text(), "postgresql")


def _id() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _image() -> sa.Column[int]:
    key = sa.ForeignKey("images.id", ondelete="CASCADE")
    return sa.Column("image_id", _id(), key, primary_key=True, autoincrement=False)


def upgrade() -> None:
    op.create_table(
        "image_metadata",
        _image(),
        sa.Column("collection_id", _id(), nullable=False),
        sa.Column("taken_at", sa.DateTime(timezone=False), nullable=True),
        sa.Column("utc_offset", sa.Integer, nullable=True),
        sa.Column("taken_from", _string(10), nullable=False),
        sa.Column("camera", sa.Text, nullable=False),
        sa.Column("lens", sa.Text, nullable=False),
        sa.Column("focal_length", sa.Double, nullable=True),
        sa.Column("exposure", sa.Double, nullable=True),
        sa.Column("aperture", sa.Double, nullable=True),
        sa.Column("iso", sa.Integer, nullable=True),
        sa.Column("latitude", sa.Double, nullable=True),
        sa.Column("longitude", sa.Double, nullable=True),
        sa.Column("place", sa.Text, nullable=False),
        sa.Column("rating", sa.Integer, nullable=True),
        sa.Column("caption", sa.Text, nullable=False),
        sa.Column("orientation", sa.Integer, nullable=False),
    )
    op.create_index("ix_image_metadata_taken", "image_metadata", ["collection_id", "taken_at"])
    op.create_table(
        "image_keywords",
        _image(),
        sa.Column("keyword", sa.Text, primary_key=True),
    )
    op.create_index("ix_image_keywords_keyword", "image_keywords", ["keyword"])
