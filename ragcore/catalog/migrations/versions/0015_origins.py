"""The remote folder or site in which a document was listed.

Revision ID: 0015_origins
Revises: 0014_video
"""

import sqlalchemy as sa
from alembic import op

revision = "0015_origins"
down_revision = "0014_video"


def upgrade() -> None:
    op.add_column("documents", sa.Column("origin", sa.Text, nullable=False, server_default=""))
