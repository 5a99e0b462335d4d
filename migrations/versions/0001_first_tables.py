"""First tables: the lineage graph, the things that are its nodes, aliases with their history, artifacts.

Revision ID: 0001
Revises:
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

NODE_KINDS = (
    "domain",
    "item_snapshot",
    "event_snapshot",
    "hub",
    "spoke",
    "index",
    "evaluation",
    "release",
    "reranker",
    "rules",
)
RELATIONS = (
    "trained_on",
    "adapted_from",
    "warm_started_from",
    "inherits",
    "embeds",
    "built_from",
    "evaluated_on",
    "released_as",
)
# Children before parents.
TABLES = (
    "alias_changes",
    "aliases",
    "releases",
    "metrics",
    "evaluations",
    "index_versions",
    "models",
    "snapshots",
    "edges",
    "domains",
    "artifacts",
    "nodes",
)


def upgrade() -> None:
    """Make every table."""
    _graph()
    _artifacts()
    _domains()
    _snapshots()
    _models()
    _index_versions()
    _evaluations()
    _releases()
    _aliases()


def downgrade() -> None:
    """Drop every table."""
    for table in TABLES:
        op.drop_table(table)


def _id(name: str, nullable: bool = False, autoincrement: bool = False) -> sa.Column[Any]:
    kind = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    return sa.Column(name, kind, nullable=nullable, autoincrement=autoincrement)


def _text(name: str, length: int | None = None, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.String(length) if length else sa.Text(), nullable=nullable)


def _number(name: str, big: bool = False, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger() if big else sa.Integer(), nullable=nullable)


def _real(name: str, nullable: bool = True) -> sa.Column[Any]:
    return sa.Column(name, sa.Double(), nullable=nullable)


def _json(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.JSON(), nullable=False)


def _time(name: str, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _primary(table: str, *columns: str) -> sa.PrimaryKeyConstraint:
    return sa.PrimaryKeyConstraint(*columns, name=op.f(f"pk_{table}"))


def _foreign(table: str, column: str, target: str, key: str = "id") -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_{column}_{target}")
    return sa.ForeignKeyConstraint([column], [f"{target}.{key}"], name=name, ondelete="RESTRICT")


def _unique(table: str, *columns: str) -> sa.UniqueConstraint:
    return sa.UniqueConstraint(*columns, name=op.f(f"uq_{table}_{'_'.join(columns)}"))


def _one_of(table: str, column: str, words: Sequence[str]) -> sa.CheckConstraint:
    listed = ", ".join(f"'{word}'" for word in words)
    return sa.CheckConstraint(f"{column} IN ({listed})", name=op.f(f"ck_{table}_{column}"))


def _index(table: str, *columns: str) -> None:
    op.create_index(op.f(f"ix_{table}_{'_'.join(columns)}"), table, list(columns))


def _graph() -> None:
    op.create_table(
        "nodes",
        _id("id", autoincrement=True),
        _text("kind", 20),
        _id("domain_id", nullable=True),
        _text("ref", 120),
        _text("label"),
        _time("created_at"),
        _primary("nodes", "id"),
        _foreign("nodes", "domain_id", "nodes"),
        _unique("nodes", "ref"),
        _one_of("nodes", "kind", NODE_KINDS),
    )
    _index("nodes", "domain_id", "kind")
    op.create_table(
        "edges",
        _id("parent_id"),
        _id("child_id"),
        _text("relation", 20),
        _text("part", 120),
        _text("reason", nullable=True),
        _primary("edges", "parent_id", "child_id", "relation", "part"),
        _foreign("edges", "parent_id", "nodes"),
        _foreign("edges", "child_id", "nodes"),
        _one_of("edges", "relation", RELATIONS),
        sa.CheckConstraint("parent_id <> child_id", name=op.f("ck_edges_no_loop")),
    )
    _index("edges", "child_id", "parent_id")


def _artifacts() -> None:
    op.create_table(
        "artifacts",
        _text("digest", 64),
        _text("kind", 60),
        _number("bytes", big=True),
        _json("files"),
        _time("created_at"),
        _primary("artifacts", "digest"),
    )


def _domains() -> None:
    op.create_table(
        "domains",
        _id("id"),
        _text("name", 63),
        _text("status", 20),
        _text("description"),
        _json("settings"),
        _primary("domains", "id"),
        _foreign("domains", "id", "nodes"),
        _unique("domains", "name"),
        _one_of("domains", "status", ("active", "archived")),
    )


def _snapshots() -> None:
    op.create_table(
        "snapshots",
        _id("id"),
        _id("domain_id"),
        _text("kind", 20),
        _number("version"),
        _text("content_hash", 128),
        _number("rows", big=True),
        _text("artifact", 64),
        _time("as_of", nullable=True),
        _json("details"),
        _primary("snapshots", "id"),
        _foreign("snapshots", "id", "nodes"),
        _foreign("snapshots", "domain_id", "domains"),
        _foreign("snapshots", "artifact", "artifacts", "digest"),
        _unique("snapshots", "domain_id", "kind", "version"),
        _unique("snapshots", "domain_id", "kind", "content_hash"),
        _one_of("snapshots", "kind", ("items", "events")),
    )
    _index("snapshots", "artifact")


def _models() -> None:
    op.create_table(
        "models",
        _id("id"),
        _text("kind", 20),
        _id("domain_id", nullable=True),
        _number("version"),
        _text("status", 20),
        _text("fingerprint", 128),
        _text("space_fingerprint", 128, nullable=True),
        _json("config"),
        _json("summary"),
        _text("code_version", 120),
        _number("seed", big=True, nullable=True),
        _json("environment"),
        _text("artifact", 64, nullable=True),
        _time("started_at"),
        _time("finished_at", nullable=True),
        _text("error", nullable=True),
        _primary("models", "id"),
        _foreign("models", "id", "nodes"),
        _foreign("models", "domain_id", "domains"),
        _foreign("models", "artifact", "artifacts", "digest"),
        _unique("models", "domain_id", "kind", "version"),
        _one_of("models", "kind", ("hub", "spoke")),
        _one_of("models", "status", ("training", "ready", "failed")),
        sa.CheckConstraint("(kind = 'hub') = (domain_id IS NULL)", name=op.f("ck_models_hub_has_no_domain")),
    )
    _index("models", "artifact")
    _index("models", "domain_id", "kind", "fingerprint")


def _index_versions() -> None:
    op.create_table(
        "index_versions",
        _id("id"),
        _id("domain_id"),
        _number("version"),
        _id("model_id"),
        _id("items_id"),
        _text("fingerprint", 128),
        _text("space_fingerprint", 128),
        _text("factory", 120),
        _number("dimension"),
        _text("metric", 40),
        _number("n_items", big=True),
        _text("artifact", 64),
        _json("config"),
        _real("seconds"),
        _primary("index_versions", "id"),
        _foreign("index_versions", "id", "nodes"),
        _foreign("index_versions", "domain_id", "domains"),
        _foreign("index_versions", "model_id", "models"),
        _foreign("index_versions", "items_id", "snapshots"),
        _foreign("index_versions", "artifact", "artifacts", "digest"),
        _unique("index_versions", "domain_id", "version"),
    )
    _index("index_versions", "artifact")
    _index("index_versions", "model_id")
    _index("index_versions", "items_id")
    _index("index_versions", "domain_id", "fingerprint")


def _evaluations() -> None:
    op.create_table(
        "evaluations",
        _id("id"),
        _id("domain_id"),
        _number("version"),
        _id("subject_id", nullable=True),
        _id("events_id"),
        _json("protocol"),
        _number("n_users", big=True),
        _json("details"),
        _primary("evaluations", "id"),
        _foreign("evaluations", "id", "nodes"),
        _foreign("evaluations", "domain_id", "domains"),
        _foreign("evaluations", "subject_id", "nodes"),
        _foreign("evaluations", "events_id", "snapshots"),
        _unique("evaluations", "domain_id", "version"),
    )
    _index("evaluations", "subject_id")
    _index("evaluations", "events_id")
    op.create_table(
        "metrics",
        _id("evaluation_id"),
        _text("slice", 60),
        _text("name", 60),
        _real("value", nullable=False),
        _real("low"),
        _real("high"),
        _primary("metrics", "evaluation_id", "slice", "name"),
        _foreign("metrics", "evaluation_id", "evaluations"),
    )


def _releases() -> None:
    op.create_table(
        "releases",
        _id("id"),
        _id("domain_id"),
        _number("version"),
        _text("fingerprint", 64),
        _id("hub_id"),
        _id("spoke_id", nullable=True),
        _id("index_id"),
        _json("rules"),
        _primary("releases", "id"),
        _foreign("releases", "id", "nodes"),
        _foreign("releases", "domain_id", "domains"),
        _foreign("releases", "hub_id", "models"),
        _foreign("releases", "spoke_id", "models"),
        _foreign("releases", "index_id", "index_versions"),
        _unique("releases", "domain_id", "version"),
        _unique("releases", "domain_id", "fingerprint"),
    )
    _index("releases", "hub_id")
    _index("releases", "spoke_id")
    _index("releases", "index_id")


def _aliases() -> None:
    op.create_table(
        "aliases",
        _text("scope", 63),
        _text("name", 63),
        _id("node_id"),
        _primary("aliases", "scope", "name"),
        _foreign("aliases", "node_id", "nodes"),
    )
    _index("aliases", "node_id")
    op.create_table(
        "alias_changes",
        _id("id", autoincrement=True),
        _text("scope", 63),
        _text("alias", 63),
        _text("action", 20),
        _id("from_node_id", nullable=True),
        _id("to_node_id"),
        _text("actor"),
        _text("reason", nullable=True),
        _time("at"),
        _primary("alias_changes", "id"),
        _foreign("alias_changes", "from_node_id", "nodes"),
        _foreign("alias_changes", "to_node_id", "nodes"),
        _one_of("alias_changes", "action", ("promote", "rollback")),
    )
    _index("alias_changes", "from_node_id")
    _index("alias_changes", "to_node_id")
    _index("alias_changes", "scope", "alias", "id")
