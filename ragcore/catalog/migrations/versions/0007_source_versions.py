"""The version that a document's source gave its file.

Revision ID: 0007_source_versions
Revises: 0006_sessions
"""

import sqlalchemy as sa
from alembic import op

revision = "0007_source_versions"
down_revision = "0006_sessions"


def upgrade() -> None:
    op.add_column("documents", sa.Column("version", sa.Text, nullable=False, server_default=""))
