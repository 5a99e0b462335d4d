"""Which artifact stores are a registry's own.

Revision ID: 0004
Revises: 0003
Create Date: 2026-11-30
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table; a registry has no identity before it first stores something."""
    op.create_table(
        "store_stamps",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False, autoincrement=True),
        sa.Column("stamp", sa.String(32), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_store_stamps")),
        sa.UniqueConstraint("stamp", name=op.f("uq_store_stamps_stamp")),
    )


def downgrade() -> None:
    """Drop it; a store that was marked must be adopted again."""
    op.drop_table("store_stamps")
