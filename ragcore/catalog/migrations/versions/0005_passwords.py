"""Passwords of those who log in to the pages.

Revision ID: 0005_passwords
Revises: 0004_labels
"""

import sqlalchemy as sa
from alembic import op

revision = "0005_passwords"
down_revision = "0004_labels"


def upgrade() -> None:
    op.add_column(
        "api_keys",
        sa.Column(
            "password_hash",
            sa.String(200).with_variant(sa.Text(), "postgresql"),
            nullable=False,
            server_default="",
        ),
    )
