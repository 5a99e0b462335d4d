"""Alembic's environment: migrates over the connection that the caller passes in, inside the caller's transaction."""

from __future__ import annotations

from alembic import context

# Alembic runs this file by path, outside the package, so a relative import cannot resolve.
from hubspoke.registry.schema import Base

connection = context.config.attributes.get("connection")
if connection is None:
    raise RuntimeError("Migrations need a connection; run `hubspoke registry upgrade` instead of alembic.")

# SQLite changes a table by copying it: `render_as_batch` makes new revisions say so.
context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True, compare_type=True)
with context.begin_transaction():
    context.run_migrations()
