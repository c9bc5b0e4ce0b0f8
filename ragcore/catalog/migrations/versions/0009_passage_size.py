"""The size that a document's passages were cut to.

Revision ID: 0009_passage_size
Revises: 0008_coverage
"""

import sqlalchemy as sa
from alembic import op

revision = "0009_passage_size"
down_revision = "0008_coverage"


def upgrade() -> None:
    op.add_column(
        "documents",
        sa.Column(
            "passage_size",
            sa.String(50).with_variant(sa.Text(), "postgresql"),
            nullable=False,
            server_default="",
        ),
    )
