"""Alembic's entry. The connection is handed over by `ragcore.catalog.engine`."""

from alembic import context

from ragcore.catalog.models import Base

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
