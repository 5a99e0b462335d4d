"""What a launch reported of the release that it made.

Revision ID: 0003
Revises: 0002
Create Date: 2026-11-29
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "launch_reports",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False, autoincrement=False),
        sa.Column("artifact", sa.String(64), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_launch_reports")),
        sa.ForeignKeyConstraint(
            ["id"], ["releases.id"], name=op.f("fk_launch_reports_id_releases"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["artifact"],
            ["artifacts.digest"],
            name=op.f("fk_launch_reports_artifact_artifacts"),
            ondelete="RESTRICT",
        ),
    )
    op.create_index(op.f("ix_launch_reports_artifact"), "launch_reports", ["artifact"])


def downgrade() -> None:
    """Drop it; reports are lost, releases are not."""
    op.drop_table("launch_reports")
