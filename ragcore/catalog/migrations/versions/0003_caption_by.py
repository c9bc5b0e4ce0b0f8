"""Which model wrote an image's caption.

Revision ID: 0003_caption_by
Revises: 0002_api
"""

import sqlalchemy as sa
from alembic import op

revision = "0003_caption_by"
down_revision = "0002_api"


def _string(length: int) -> sa.types.TypeEngine[str]:
    """PostgreSQL would refuse longer values, SQLite never does: both take any."""
    return sa.String(length).with_variant(sa.Text(), "postgresql")


def upgrade() -> None:
    op.add_column(
        "images", sa.Column("caption_by", _string(100), nullable=False, server_default="")
    )
