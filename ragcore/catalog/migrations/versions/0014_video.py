"""Where a frame is in its video.

Revision ID: 0014_video
Revises: 0013_trash
"""

import sqlalchemy as sa
from alembic import op

revision = "0014_video"
down_revision = "0013_trash"


def upgrade() -> None:
    op.add_column("images", sa.Column("second", sa.Double()))
