"""What of each document was read, and whether something was not.

Revision ID: 0008_coverage
Revises: 0007_source_versions
"""

import sqlalchemy as sa
from alembic import op

revision = "0008_coverage"
down_revision = "0007_source_versions"


def upgrade() -> None:
    op.add_column("documents", sa.Column("coverage", sa.JSON, nullable=True))
    op.add_column(
        "documents",
        sa.Column("incomplete", sa.Boolean, nullable=False, server_default=sa.false()),
    )
    # Of documents without a report, the warnings say whether something was left out.
    op.execute(
        sa.text(
            "UPDATE documents SET incomplete = :yes WHERE CAST(warnings AS text) <> '[]'"
        ).bindparams(sa.bindparam("yes", True, sa.Boolean))
    )
