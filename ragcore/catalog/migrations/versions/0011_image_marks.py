"""What people say of images: albums, favorites, ratings, tags, notes.

Revision ID: 0011_image_marks
Revises: 0010_image_metadata
"""

import sqlalchemy as sa
from alembic import op

revision = "0011_image_marks"
down_revision = "0010_image_metadata"


def _string(length: int) -> sa.types.TypeEngine[str]:
    """PostgreSQL would refuse longer values, SQLite never does: both take any."""
    return sa.String(length).with_variant(sa.Text(), "postgresql")


def _id() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _key(name: str, target: str) -> sa.Column[int]:
    key = sa.ForeignKey(target, ondelete="CASCADE")
    return sa.Column(name, _id(), key, primary_key=True, autoincrement=False)


def upgrade() -> None:
    op.create_table(
        "image_marks",
        _key("image_id", "images.id"),
        sa.Column("collection_id", _id(), nullable=False),
        sa.Column("favorite", sa.Boolean, nullable=False),
        sa.Column("rating", sa.Integer, nullable=True),
        sa.Column("note", sa.Text, nullable=False),
    )
    op.create_index("ix_image_marks_collection", "image_marks", ["collection_id", "favorite"])
    op.create_table(
        "image_tags",
        _key("image_id", "images.id"),
        sa.Column("tag", sa.Text, primary_key=True),
    )
    op.create_index("ix_image_tags_tag", "image_tags", ["tag"])
    op.create_table(
        "albums",
        sa.Column("id", _id(), primary_key=True),
        sa.Column(
            "collection_id", _id(), sa.ForeignKey("collections.id", ondelete="CASCADE"),
            nullable=False,
        ),
        sa.Column("name", _string(200), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.UniqueConstraint("collection_id", "name"),
        sqlite_autoincrement=True,
    )  # fmt: skip
    op.create_table(
        "album_images",
        _key("album_id", "albums.id"),
        _key("image_id", "images.id"),
        sa.Column("position", sa.Integer, nullable=False),
    )
    op.create_index("ix_album_images_image", "album_images", ["image_id"])
