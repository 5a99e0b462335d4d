"""Parts of models, rule sets, gates, re-rankers in releases, identities that travel, and views with stable names.

Revision ID: 0002
Revises: 0001
Create Date: 2026-11-22
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Bring the tables and their rows forward, then make the views."""
    _identify_nodes()
    _widen_models(("hub", "spoke", "reranker"))
    _model_parts()
    _rule_sets()
    _gates()
    with op.batch_alter_table("evaluations") as table:
        table.add_column(sa.Column("artifact", sa.String(64)))
        table.create_foreign_key(
            op.f("fk_evaluations_artifact_artifacts"), "artifacts", ["artifact"], ["digest"], ondelete="RESTRICT"
        )
        table.create_index(op.f("ix_evaluations_artifact"), ["artifact"])
    with op.batch_alter_table("alias_changes") as table:
        table.add_column(sa.Column("overridden", sa.Text()))
    _releases_by_parts()
    for name, query in views(op.get_bind().dialect.name).items():
        op.execute(f"CREATE VIEW {name} AS {query}")


def downgrade() -> None:
    """Drop the views, then take the tables and their rows back; what 0001 has no place for is lost."""
    for name in views(op.get_bind().dialect.name):
        op.execute(f"DROP VIEW {name}")
    _releases_by_fingerprint()
    with op.batch_alter_table("alias_changes") as table:
        table.drop_column("overridden")
    with op.batch_alter_table("evaluations") as table:
        table.drop_index(op.f("ix_evaluations_artifact"))
        table.drop_constraint(op.f("fk_evaluations_artifact_artifacts"), type_="foreignkey")
        table.drop_column("artifact")
    for name in ("gates", "model_parts"):
        op.drop_table(name)
    _forget("rule_sets", "rules")
    op.drop_table("rule_sets")
    _name_rerankers_in_evaluations()
    _forget("models", "reranker")
    _widen_models(("hub", "spoke"))
    with op.batch_alter_table("nodes") as table:
        table.drop_constraint(op.f("uq_nodes_uid"), type_="unique")
        table.drop_column("uid")


# ---- tables ----


def _identify_nodes() -> None:
    op.add_column("nodes", sa.Column("uid", sa.String(32)))
    random = "lower(hex(randomblob(16)))" if _is_sqlite() else "replace(gen_random_uuid()::text, '-', '')"
    op.execute(f"UPDATE nodes SET uid = {random}")
    with op.batch_alter_table("nodes") as table:
        table.alter_column("uid", existing_type=sa.String(32), nullable=False)
        table.create_unique_constraint(op.f("uq_nodes_uid"), ["uid"])


def _widen_models(kinds: tuple[str, ...]) -> None:
    listed = ", ".join(f"'{kind}'" for kind in kinds)
    with op.batch_alter_table("models") as table:
        table.drop_constraint(op.f("ck_models_kind"), type_="check")
        table.create_check_constraint(op.f("ck_models_kind"), f"kind IN ({listed})")


def _node_key(name: str) -> list[Any]:
    return [
        sa.Column("id", _ID, nullable=False, autoincrement=False),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{name}")),
        _foreign(name, "id", "nodes"),
    ]


def _foreign(table: str, column: str, target: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_{column}_{target}")
    return sa.ForeignKeyConstraint([column], [f"{target}.id"], name=name, ondelete="RESTRICT")


def _model_parts() -> None:
    op.create_table(
        "model_parts",
        sa.Column("model_id", _ID, nullable=False),
        sa.Column("name", sa.String(60), nullable=False),
        sa.Column("fingerprint", sa.String(128), nullable=False),
        sa.Column("bytes", sa.BigInteger()),
        sa.Column("parameters", sa.BigInteger()),
        sa.Column("source_id", _ID),
        sa.PrimaryKeyConstraint("model_id", "name", name=op.f("pk_model_parts")),
        _foreign("model_parts", "model_id", "models"),
        _foreign("model_parts", "source_id", "models"),
    )
    op.create_index(op.f("ix_model_parts_source_id"), "model_parts", ["source_id"])


def _rule_sets() -> None:
    op.create_table(
        "rule_sets",
        *_node_key("rule_sets"),
        sa.Column("domain_id", _ID, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("content", sa.JSON(), nullable=False),
        _foreign("rule_sets", "domain_id", "domains"),
        sa.UniqueConstraint("domain_id", "version", name=op.f("uq_rule_sets_domain_id_version")),
        sa.UniqueConstraint("domain_id", "fingerprint", name=op.f("uq_rule_sets_domain_id_fingerprint")),
    )


def _gates() -> None:
    op.create_table(
        "gates",
        sa.Column("id", _ID, nullable=False, autoincrement=True),
        sa.Column("domain_id", _ID, nullable=False),
        sa.Column("conditions", sa.JSON(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gates")),
        _foreign("gates", "domain_id", "domains"),
    )
    op.create_index(op.f("ix_gates_domain_id_id"), "gates", ["domain_id", "id"])


# ---- releases and their rules ----


def _releases_by_parts() -> None:
    with op.batch_alter_table("releases") as table:
        for column, target in (("reranker_id", "models"), ("rules_id", "rule_sets")):
            table.add_column(sa.Column(column, _ID))
            table.create_foreign_key(
                op.f(f"fk_releases_{column}_{target}"), target, [column], ["id"], ondelete="RESTRICT"
            )
            table.create_index(op.f(f"ix_releases_{column}"), [column])
    _rules_become_versions()
    with op.batch_alter_table("releases") as table:
        table.drop_constraint(op.f("uq_releases_domain_id_fingerprint"), type_="unique")
        table.drop_column("fingerprint")
        table.drop_column("rules")


def _releases_by_fingerprint() -> None:
    with op.batch_alter_table("releases") as table:
        table.add_column(sa.Column("fingerprint", sa.String(64)))
        table.add_column(sa.Column("rules", sa.JSON()))
    connection = op.get_bind()
    taken: set[tuple[int, str]] = set()
    for row in list(_release_rows(connection)):
        fingerprint = _fingerprint(row)
        if (row["domain_id"], fingerprint) in taken:
            # Releases that differed in a re-ranker are equal sets once they were at 0001: the number keeps them apart.
            fingerprint = _fingerprint(row, version=row["version"])
        taken.add((row["domain_id"], fingerprint))
        connection.execute(
            sa.text("UPDATE releases SET fingerprint = :fingerprint, rules = :rules WHERE id = :id"),
            {"id": row["id"], "fingerprint": fingerprint, "rules": json.dumps(row["rules"])},
        )
    with op.batch_alter_table("releases") as table:
        table.alter_column("fingerprint", existing_type=sa.String(64), nullable=False)
        table.alter_column("rules", existing_type=sa.JSON(), nullable=False)
        table.create_unique_constraint(op.f("uq_releases_domain_id_fingerprint"), ["domain_id", "fingerprint"])
        for column, target in (("reranker_id", "models"), ("rules_id", "rule_sets")):
            table.drop_index(op.f(f"ix_releases_{column}"))
            table.drop_constraint(op.f(f"fk_releases_{column}_{target}"), type_="foreignkey")
            table.drop_column(column)


def _release_rows(connection: sa.Connection) -> Iterator[dict[str, Any]]:
    """Releases of schema 0002 with the references of their parts and the content of their rules."""
    query = sa.text(
        "SELECT r.id, r.domain_id, r.version, h.ref AS hub, s.ref AS spoke, i.ref AS index_ref, k.ref AS reranker, "
        "rules.content AS content FROM releases r JOIN nodes h ON h.id = r.hub_id JOIN nodes i ON i.id = r.index_id "
        "LEFT JOIN nodes s ON s.id = r.spoke_id LEFT JOIN nodes k ON k.id = r.reranker_id "
        "LEFT JOIN rule_sets rules ON rules.id = r.rules_id ORDER BY r.id"
    )
    for row in connection.execute(query).mappings():
        yield {**row, "rules": _loaded(row["content"]) or {}}


def _loaded(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


def _fingerprint(row: Mapping[str, Any], **more: Any) -> str:
    # The re-ranker, unknown to 0001, is covered so that sets which differ in it alone stay two.
    named = {"hub": row["hub"], "index": row["index_ref"], "spoke": row["spoke"], "reranker": row["reranker"]}
    parts = {name: ref for name, ref in named.items() if ref}
    said = json.dumps({**parts, **more, "rules": row["rules"]}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(said.encode()).hexdigest()


def _rules_become_versions() -> None:
    connection = op.get_bind()
    rows = connection.execute(sa.text("SELECT id, domain_id, rules FROM releases ORDER BY id")).all()
    made: dict[tuple[int, str], int] = {}
    for release, domain, rules in rows:
        content = _loaded(rules)
        if not content:
            continue
        said = json.dumps(content, sort_keys=True, separators=(",", ":"))
        fingerprint = hashlib.sha256(said.encode()).hexdigest()
        if (domain, fingerprint) not in made:
            version = 1 + sum(owner == domain for owner, _ in made)
            made[domain, fingerprint] = _add_rules(connection, domain, version, fingerprint, said, release)
        key = made[domain, fingerprint]
        connection.execute(
            sa.text("UPDATE releases SET rules_id = :rules WHERE id = :id"), {"rules": key, "id": release}
        )
        _add_edge(connection, key, release, "released_as", "rules")


def _add_rules(connection: sa.Connection, domain: int, version: int, fingerprint: str, said: str, release: int) -> int:
    """The node of a rule set, as old as the first release that had these rules."""
    name = connection.execute(sa.text("SELECT name FROM domains WHERE id = :id"), {"id": domain}).scalar_one()
    insert = sa.text(
        "INSERT INTO nodes (kind, domain_id, ref, uid, label, created_at) "
        "SELECT 'rules', domain_id, :ref, :uid, :label, created_at FROM nodes WHERE id = :release RETURNING id"
    )
    ref, label = f"rules:{name}/{version}", f"{name} rules, version {version}"
    values = {"ref": ref, "uid": uuid.uuid4().hex, "label": label, "release": release}
    key = int(connection.execute(insert, values).scalar_one())
    connection.execute(
        sa.text(
            "INSERT INTO rule_sets (id, domain_id, version, fingerprint, content) "
            "VALUES (:id, :domain, :version, :fingerprint, :content)"
        ),
        {"id": key, "domain": domain, "version": version, "fingerprint": fingerprint, "content": said},
    )
    _add_edge(connection, domain, key, "built_from", "")
    return key


def _add_edge(connection: sa.Connection, parent: int, child: int, relation: str, part: str) -> None:
    connection.execute(
        sa.text("INSERT INTO edges (parent_id, child_id, relation, part) VALUES (:parent, :child, :relation, :part)"),
        {"parent": parent, "child": child, "relation": relation, "part": part},
    )


def _name_rerankers_in_evaluations() -> None:
    """Evaluations of a re-ranker outlive it as those of a baseline do: without a subject, which the details name."""
    connection = op.get_bind()
    query = sa.text(
        "SELECT v.id, v.details, n.ref FROM evaluations v JOIN nodes n ON n.id = v.subject_id WHERE n.kind = 'reranker'"
    )
    for key, details, ref in connection.execute(query).all():
        connection.execute(
            sa.text("UPDATE evaluations SET subject_id = NULL, details = :details WHERE id = :id"),
            {"id": key, "details": json.dumps({"model": ref, **_loaded(details)})},
        )


def _forget(table: str, kind: str) -> None:
    """Delete every node of a kind that the older schema has no table for, with its edges; no other row names it."""
    gone = f"(SELECT id FROM nodes WHERE kind = '{kind}')"
    op.execute(f"DELETE FROM edges WHERE parent_id IN {gone} OR child_id IN {gone}")
    op.execute(f"DELETE FROM {table} WHERE id IN {gone}")
    op.execute(f"DELETE FROM nodes WHERE kind = '{kind}'")


def _is_sqlite() -> bool:
    return bool(op.get_bind().dialect.name == "sqlite")


# ---- views ----


def views(dialect: str) -> dict[str, str]:
    """The views by name, in the words of one database."""
    sqlite = dialect == "sqlite"
    seconds = (
        "round((julianday(m.finished_at) - julianday(m.started_at)) * 86400.0, 3)"
        if sqlite
        else "round(CAST(extract(epoch FROM m.finished_at - m.started_at) AS numeric), 3)::double precision"
    )
    joined = "group_concat(a.name, ',')" if sqlite else "string_agg(a.name, ',' ORDER BY a.name)"
    aliases = f"(SELECT {joined} FROM aliases a WHERE a.node_id = n.id)"
    newest = (
        "(SELECT x.id FROM snapshots x WHERE x.domain_id = d.id AND x.kind = '{kind}' ORDER BY x.version DESC LIMIT 1)"
    )
    return {
        "v_domains": (
            "SELECT d.name AS domain, d.status, d.description, n.created_at, l.ref AS live, h.ref AS hub, "
            'p.ref AS spoke, x.ref AS "index", inode.ref AS items, i.rows AS item_rows, enode.ref AS events, '
            "e.rows AS event_rows FROM domains d JOIN nodes n ON n.id = d.id "
            "LEFT JOIN aliases a ON a.scope = d.name AND a.name = 'live' LEFT JOIN nodes l ON l.id = a.node_id "
            "LEFT JOIN releases r ON r.id = a.node_id LEFT JOIN nodes h ON h.id = r.hub_id "
            "LEFT JOIN nodes p ON p.id = r.spoke_id LEFT JOIN nodes x ON x.id = r.index_id "
            f"LEFT JOIN snapshots i ON i.id = {newest.format(kind='items')} LEFT JOIN nodes inode ON inode.id = i.id "
            f"LEFT JOIN snapshots e ON e.id = {newest.format(kind='events')} LEFT JOIN nodes enode ON enode.id = e.id"
        ),
        "v_snapshots": (
            "SELECT n.ref, d.name AS domain, s.kind, s.version, s.rows, s.as_of, s.content_hash, s.artifact, "
            "f.bytes, n.created_at FROM snapshots s JOIN nodes n ON n.id = s.id "
            "JOIN domains d ON d.id = s.domain_id JOIN artifacts f ON f.digest = s.artifact"
        ),
        "v_models": (
            f"SELECT n.ref, m.kind, d.name AS domain, m.version, m.status, {aliases} AS aliases, m.seed, "
            f"m.code_version, m.started_at, m.finished_at, {seconds} AS seconds, m.fingerprint, m.space_fingerprint, "
            "m.artifact, f.bytes, m.error FROM models m JOIN nodes n ON n.id = m.id "
            "LEFT JOIN domains d ON d.id = m.domain_id LEFT JOIN artifacts f ON f.digest = m.artifact"
        ),
        "v_parts": (
            "SELECT n.ref AS model, d.name AS domain, p.name AS part, s.ref AS inherited_from, p.parameters, p.bytes, "
            "p.fingerprint FROM model_parts p JOIN nodes n ON n.id = p.model_id "
            "LEFT JOIN domains d ON d.id = n.domain_id LEFT JOIN nodes s ON s.id = p.source_id"
        ),
        "v_lineage": (
            "SELECT c.ref AS child, c.kind AS child_kind, cd.name AS child_domain, e.relation, "
            "nullif(e.part, '') AS part, p.ref AS parent, p.kind AS parent_kind, pd.name AS parent_domain, e.reason "
            "FROM edges e JOIN nodes c ON c.id = e.child_id JOIN nodes p ON p.id = e.parent_id "
            "LEFT JOIN domains cd ON cd.id = c.domain_id LEFT JOIN domains pd ON pd.id = p.domain_id"
        ),
        "v_indexes": (
            "SELECT n.ref, d.name AS domain, x.version, m.ref AS model, i.ref AS items, x.n_items, x.dimension, "
            "x.metric, x.factory, x.space_fingerprint, x.seconds, x.artifact, f.bytes, n.created_at "
            "FROM index_versions x JOIN nodes n ON n.id = x.id JOIN domains d ON d.id = x.domain_id "
            "JOIN nodes m ON m.id = x.model_id JOIN nodes i ON i.id = x.items_id "
            "JOIN artifacts f ON f.digest = x.artifact"
        ),
        "v_releases": (
            f"SELECT n.ref, d.name AS domain, r.version, {aliases} AS aliases, h.ref AS hub, s.ref AS spoke, "
            'x.ref AS "index", k.ref AS reranker, u.ref AS rules, n.created_at '
            "FROM releases r JOIN nodes n ON n.id = r.id JOIN domains d ON d.id = r.domain_id "
            "JOIN nodes h ON h.id = r.hub_id JOIN nodes x ON x.id = r.index_id LEFT JOIN nodes s ON s.id = r.spoke_id "
            "LEFT JOIN nodes k ON k.id = r.reranker_id LEFT JOIN nodes u ON u.id = r.rules_id"
        ),
        "v_history": (
            "SELECT c.id AS move, c.scope, c.alias, c.action, f.ref AS from_ref, t.ref AS to_ref, c.actor, c.reason, "
            "c.overridden, c.at FROM alias_changes c LEFT JOIN nodes f ON f.id = c.from_node_id "
            "JOIN nodes t ON t.id = c.to_node_id"
        ),
        "v_metrics": (
            "SELECT n.ref AS evaluation, d.name AS domain, coalesce(s.ref, v.details ->> 'model') AS model, "
            "v.protocol ->> 'name' AS protocol, v.protocol ->> 'part' AS part, g.ref AS events, v.n_users, m.slice, "
            "m.name AS metric, m.value, m.low, m.high, n.created_at FROM metrics m "
            "JOIN evaluations v ON v.id = m.evaluation_id JOIN nodes n ON n.id = v.id "
            "JOIN domains d ON d.id = v.domain_id JOIN nodes g ON g.id = v.events_id "
            "LEFT JOIN nodes s ON s.id = v.subject_id"
        ),
    }
