"""Experiments on shoppers: two releases of a domain, and how its shoppers are split between them.

Revision ID: 0006
Revises: 0005
Create Date: 2026-11-30
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_RUNNING = sa.text("stopped_at IS NULL")
_VIEW = (
    "SELECT 'experiment:' || d.name || '/' || x.version AS experiment, d.name AS domain, c.ref AS control, "
    "t.ref AS candidate, x.share, x.planned, x.window_seconds, x.metric, x.actor, x.reason, x.started_at, "
    "x.stopped_at, x.stopped_by, x.stop_reason FROM experiments x JOIN domains d ON d.id = x.domain_id "
    "JOIN nodes c ON c.id = x.control_id JOIN nodes t ON t.id = x.candidate_id"
)


def upgrade() -> None:
    """Make the table and its view; of one domain at most one experiment runs."""
    op.create_table(
        "experiments",
        sa.Column("id", _ID, nullable=False, autoincrement=True),
        sa.Column("domain_id", _ID, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("control_id", _ID, nullable=False),
        sa.Column("candidate_id", _ID, nullable=False),
        sa.Column("share", sa.Double(), nullable=False),
        sa.Column("salt", sa.String(32), nullable=False),
        sa.Column("planned", sa.BigInteger(), nullable=False),
        sa.Column("window_seconds", sa.Double(), nullable=False),
        sa.Column("metric", sa.String(60), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("stopped_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("stopped_by", sa.Text(), nullable=True),
        sa.Column("stop_reason", sa.Text(), nullable=True),
        sa.CheckConstraint("share > 0 AND share < 1", name=op.f("ck_experiments_share")),
        sa.CheckConstraint("control_id <> candidate_id", name=op.f("ck_experiments_two_releases")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_experiments")),
        sa.UniqueConstraint("domain_id", "version", name=op.f("uq_experiments_domain_id_version")),
        sa.UniqueConstraint("salt", name=op.f("uq_experiments_salt")),
        _foreign("domain_id", "domains"),
        _foreign("control_id", "releases"),
        _foreign("candidate_id", "releases"),
    )
    op.create_index(
        op.f("ix_experiments_domain_id"),
        "experiments",
        ["domain_id"],
        unique=True,
        sqlite_where=_RUNNING,
        postgresql_where=_RUNNING,
    )
    for column in ("control_id", "candidate_id"):
        op.create_index(op.f(f"ix_experiments_{column}"), "experiments", [column])
    op.execute(f"CREATE VIEW v_experiments AS {_VIEW}")


def _foreign(column: str, table: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_experiments_{column}_{table}")
    return sa.ForeignKeyConstraint([column], [f"{table}.id"], name=name, ondelete="RESTRICT")


def downgrade() -> None:
    """Drop them; what was compared is lost, what shoppers did is not."""
    op.execute("DROP VIEW v_experiments")
    op.drop_table("experiments")
