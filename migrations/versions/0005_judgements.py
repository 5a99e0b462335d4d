"""What people think of recommendations.

Revision ID: 0005
Revises: 0004
Create Date: 2026-11-30
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "judgements",
        sa.Column("id", _ID, nullable=False, autoincrement=True),
        sa.Column("domain_id", _ID, nullable=False),
        sa.Column("node_id", _ID, nullable=False),
        sa.Column("session", sa.JSON(), nullable=False),
        sa.Column("item", sa.Text(), nullable=False),
        sa.Column("verdict", sa.Integer(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_judgements")),
        sa.ForeignKeyConstraint(
            ["domain_id"], ["domains.id"], name=op.f("fk_judgements_domain_id_domains"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["node_id"], ["nodes.id"], name=op.f("fk_judgements_node_id_nodes"), ondelete="RESTRICT"
        ),
    )
    op.create_index(op.f("ix_judgements_domain_id_id"), "judgements", ["domain_id", "id"])
    op.create_index(op.f("ix_judgements_node_id"), "judgements", ["node_id"])


def downgrade() -> None:
    """Drop it; judgements are lost."""
    op.drop_table("judgements")
