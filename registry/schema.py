"""The registry's tables as typed ORM classes; nothing outside this room sees them.

Everything that has a lineage owns a row in `nodes`, whose id is its primary key too; `edges` joins nodes.
Tables are made by migrations alone (`migrations/`); a test holds the two equal.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from .kinds import AliasAction, DomainStatus, ModelKind, ModelStatus, NodeKind, Relation, SnapshotKind

# SQLite numbers rows by itself only where the key is spelled INTEGER.
BigId = BigInteger().with_variant(Integer(), "sqlite")


class UtcDateTime(TypeDecorator[datetime]):
    """An aware timestamp in UTC on both databases: SQLite keeps text without a zone, PostgreSQL `timestamptz`."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse a naive time, turn any other into UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"timestamp {value.isoformat()} has no time zone; give it one")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Hand back an aware time in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """Declarative base: named constraints, JSON for dictionaries, UTC for times."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - the mapping's shape is SQLAlchemy's
        dict[str, Any]: JSON(),
        list[Any]: JSON(),
        datetime: UtcDateTime(),
        str: Text(),
        float: Double(),
    }


# Of an experiment.
_RUNNING = text("stopped_at IS NULL")


def _one_of(column: str, words: type[StrEnum]) -> CheckConstraint:
    listed = ", ".join(f"'{word}'" for word in words)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


def _to(column: str, primary_key: bool = False, index: bool = False) -> Mapped[Any]:
    """A reference to a row that must not go away."""
    return mapped_column(BigId, ForeignKey(column, ondelete="RESTRICT"), primary_key=primary_key, index=index)


def _node_key() -> Mapped[int]:
    return mapped_column(BigId, ForeignKey("nodes.id", ondelete="RESTRICT"), primary_key=True, autoincrement=False)


def _artifact() -> Mapped[Any]:
    return mapped_column(String(64), ForeignKey("artifacts.digest", ondelete="RESTRICT"), index=True)


class Node(Base):
    """One vertex of the lineage graph; `ref` is its canonical reference, such as `garden:7`."""

    __tablename__ = "nodes"
    __table_args__ = (
        _one_of("kind", NodeKind),
        UniqueConstraint("ref"),
        UniqueConstraint("uid"),
        Index(None, "domain_id", "kind"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    kind: Mapped[str] = mapped_column(String(20))
    # The node of the domain that this one belongs to; null for domains and for the hub, which belongs to all.
    domain_id: Mapped[int | None] = _to("nodes.id")
    ref: Mapped[str] = mapped_column(String(120))
    # The same in every registry that the node is moved to, where its number may differ.
    uid: Mapped[str] = mapped_column(String(32), default=lambda: uuid.uuid4().hex)
    label: Mapped[str]
    created_at: Mapped[datetime]


class Edge(Base):
    """`child` came from `parent`; the empty `part` means the whole, and keeps the key free of nulls."""

    __tablename__ = "edges"
    __table_args__ = (
        _one_of("relation", Relation),
        CheckConstraint("parent_id <> child_id", name="no_loop"),
        Index(None, "child_id", "parent_id"),
    )

    parent_id: Mapped[int] = _to("nodes.id", primary_key=True)
    child_id: Mapped[int] = _to("nodes.id", primary_key=True)
    relation: Mapped[str] = mapped_column(String(20), primary_key=True)
    part: Mapped[str] = mapped_column(String(120), primary_key=True, default="")
    reason: Mapped[str | None]


class Artifact(Base):
    """One directory of the artifact store; `files` maps relative paths to SHA-256."""

    __tablename__ = "artifacts"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    kind: Mapped[str] = mapped_column(String(60))
    bytes: Mapped[int] = mapped_column(BigInteger)
    files: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]


class Domain(Base):
    """One product category."""

    __tablename__ = "domains"
    __table_args__ = (_one_of("status", DomainStatus), UniqueConstraint("name"))

    id: Mapped[int] = _node_key()
    name: Mapped[str] = mapped_column(String(63))
    status: Mapped[str] = mapped_column(String(20))
    description: Mapped[str]
    settings: Mapped[dict[str, Any]]


class Snapshot(Base):
    """An immutable copy of a domain's items or events; equal content is registered once."""

    __tablename__ = "snapshots"
    __table_args__ = (
        _one_of("kind", SnapshotKind),
        UniqueConstraint("domain_id", "kind", "version"),
        UniqueConstraint("domain_id", "kind", "content_hash"),
    )

    id: Mapped[int] = _node_key()
    domain_id: Mapped[int] = _to("domains.id")
    kind: Mapped[str] = mapped_column(String(20))
    version: Mapped[int]
    content_hash: Mapped[str] = mapped_column(String(128))
    rows: Mapped[int] = mapped_column(BigInteger)
    artifact: Mapped[str] = _artifact()
    as_of: Mapped[datetime | None]
    details: Mapped[dict[str, Any]]


class Model(Base):
    """A hub, spoke or re-ranker version."""

    __tablename__ = "models"
    __table_args__ = (
        _one_of("kind", ModelKind),
        _one_of("status", ModelStatus),
        CheckConstraint("(kind = 'hub') = (domain_id IS NULL)", name="hub_has_no_domain"),
        # Nulls are distinct to a unique constraint, so the hub's versions are kept apart by `nodes.ref`.
        UniqueConstraint("domain_id", "kind", "version"),
        Index(None, "domain_id", "kind", "fingerprint"),
    )

    id: Mapped[int] = _node_key()
    kind: Mapped[str] = mapped_column(String(20))
    domain_id: Mapped[int | None] = _to("domains.id")
    version: Mapped[int]
    status: Mapped[str] = mapped_column(String(20))
    fingerprint: Mapped[str] = mapped_column(String(128))  # of inputs and config
    space_fingerprint: Mapped[str | None] = mapped_column(String(128))  # of what it embeds into
    config: Mapped[dict[str, Any]]
    summary: Mapped[dict[str, Any]]
    code_version: Mapped[str] = mapped_column(String(120))
    seed: Mapped[int | None] = mapped_column(BigInteger)
    environment: Mapped[dict[str, Any]]
    artifact: Mapped[str | None] = _artifact()
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    error: Mapped[str | None]


class ModelPart(Base):
    """One named part of a model version; `source_id` is the model it was inherited from, null for its own."""

    __tablename__ = "model_parts"

    model_id: Mapped[int] = _to("models.id", primary_key=True)
    name: Mapped[str] = mapped_column(String(60), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(128))
    bytes: Mapped[int | None] = mapped_column(BigInteger)
    parameters: Mapped[int | None] = mapped_column(BigInteger)
    source_id: Mapped[int | None] = _to("models.id", index=True)


class IndexVersion(Base):
    """One vector index of one model version over one item snapshot; `seconds` is what building it took."""

    __tablename__ = "index_versions"
    __table_args__ = (UniqueConstraint("domain_id", "version"), Index(None, "domain_id", "fingerprint"))

    id: Mapped[int] = _node_key()
    domain_id: Mapped[int] = _to("domains.id")
    version: Mapped[int]
    model_id: Mapped[int] = _to("models.id", index=True)
    items_id: Mapped[int] = _to("snapshots.id", index=True)
    fingerprint: Mapped[str] = mapped_column(String(128))
    space_fingerprint: Mapped[str] = mapped_column(String(128))
    factory: Mapped[str] = mapped_column(String(120))
    dimension: Mapped[int]
    metric: Mapped[str] = mapped_column(String(40))
    n_items: Mapped[int] = mapped_column(BigInteger)
    artifact: Mapped[str] = _artifact()
    config: Mapped[dict[str, Any]]
    seconds: Mapped[float | None]


class Evaluation(Base):
    """Metrics of one subject under one protocol; a baseline that is no node has a null subject."""

    __tablename__ = "evaluations"
    __table_args__ = (UniqueConstraint("domain_id", "version"),)

    id: Mapped[int] = _node_key()
    domain_id: Mapped[int] = _to("domains.id")
    version: Mapped[int]
    subject_id: Mapped[int | None] = _to("nodes.id", index=True)
    events_id: Mapped[int] = _to("snapshots.id", index=True)
    protocol: Mapped[dict[str, Any]]
    n_users: Mapped[int] = mapped_column(BigInteger)
    details: Mapped[dict[str, Any]]
    artifact: Mapped[str | None] = _artifact()  # the values per user, which two systems are compared by


class Metric(Base):
    """One number of an evaluation on one slice of users or items, with its confidence interval."""

    __tablename__ = "metrics"

    evaluation_id: Mapped[int] = _to("evaluations.id", primary_key=True)
    slice: Mapped[str] = mapped_column(String(60), primary_key=True)
    name: Mapped[str] = mapped_column(String(60), primary_key=True)
    value: Mapped[float]
    low: Mapped[float | None]
    high: Mapped[float | None]


class RuleSet(Base):
    """One version of a domain's merchandising rules; equal rules are registered once."""

    __tablename__ = "rule_sets"
    __table_args__ = (UniqueConstraint("domain_id", "version"), UniqueConstraint("domain_id", "fingerprint"))

    id: Mapped[int] = _node_key()
    domain_id: Mapped[int] = _to("domains.id")
    version: Mapped[int]
    fingerprint: Mapped[str] = mapped_column(String(64))
    content: Mapped[dict[str, Any]]


class Release(Base):
    """The exact set of versions that serves a domain; equal sets are one release."""

    __tablename__ = "releases"
    __table_args__ = (UniqueConstraint("domain_id", "version"),)

    id: Mapped[int] = _node_key()
    domain_id: Mapped[int] = _to("domains.id")
    version: Mapped[int]
    hub_id: Mapped[int] = _to("models.id", index=True)
    spoke_id: Mapped[int | None] = _to("models.id", index=True)
    index_id: Mapped[int] = _to("index_versions.id", index=True)
    reranker_id: Mapped[int | None] = _to("models.id", index=True)
    rules_id: Mapped[int | None] = _to("rule_sets.id", index=True)


class StoreStamp(Base):
    """What this registry wrote into the mark of an artifact store, one each time that it stored something there.

    The first row is the registry's identity, which its copies share; rows that a copy lacks tell that it is older.
    """

    __tablename__ = "store_stamps"
    __table_args__ = (UniqueConstraint("stamp"),)

    number: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    stamp: Mapped[str] = mapped_column(String(32), default=lambda: uuid.uuid4().hex)
    at: Mapped[datetime]


class LaunchReport(Base):
    """What the newest launch of a release reported."""

    __tablename__ = "launch_reports"

    id: Mapped[int] = _to("releases.id", primary_key=True)
    artifact: Mapped[str] = _artifact()
    at: Mapped[datetime]


class Gate(Base):
    """What a version must have shown to be promoted in a domain; the newest row is in force, an empty list is none."""

    __tablename__ = "gates"
    __table_args__ = (Index(None, "domain_id", "id"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    domain_id: Mapped[int] = _to("domains.id")
    conditions: Mapped[list[Any]]
    actor: Mapped[str]
    reason: Mapped[str | None]
    at: Mapped[datetime]


class Judgement(Base):
    """What somebody thinks of one item that a release, or a version, recommended after a session."""

    __tablename__ = "judgements"
    __table_args__ = (Index(None, "domain_id", "id"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    domain_id: Mapped[int] = _to("domains.id")
    node_id: Mapped[int] = _to("nodes.id", index=True)
    session: Mapped[list[Any]]  # item ids, oldest first
    item: Mapped[str]
    verdict: Mapped[int]  # 1 is good, -1 bad
    actor: Mapped[str]
    at: Mapped[datetime]


class Experiment(Base):
    """Two releases of a domain shown to parts of its shoppers; it runs until it is stopped, one at a time."""

    __tablename__ = "experiments"
    __table_args__ = (
        CheckConstraint("share > 0 AND share < 1", name="share"),
        CheckConstraint("control_id <> candidate_id", name="two_releases"),
        UniqueConstraint("domain_id", "version"),
        UniqueConstraint("salt"),
        Index(None, "domain_id", unique=True, sqlite_where=_RUNNING, postgresql_where=_RUNNING),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    domain_id: Mapped[int] = _to("domains.id")
    version: Mapped[int]
    control_id: Mapped[int] = _to("releases.id", index=True)
    candidate_id: Mapped[int] = _to("releases.id", index=True)
    share: Mapped[float]  # of the shoppers, who see the candidate
    salt: Mapped[str] = mapped_column(String(32), default=lambda: uuid.uuid4().hex)  # who they are follows from it
    planned: Mapped[int] = mapped_column(BigInteger)  # shoppers
    window_seconds: Mapped[float]  # from a shopper's first list on, what is counted
    metric: Mapped[str] = mapped_column(String(60))  # what decides
    actor: Mapped[str]
    reason: Mapped[str | None]
    started_at: Mapped[datetime]
    stopped_at: Mapped[datetime | None]
    stopped_by: Mapped[str | None]
    stop_reason: Mapped[str | None]


class Alias(Base):
    """A movable name; `scope` is a domain's name, or `hub`."""

    __tablename__ = "aliases"

    scope: Mapped[str] = mapped_column(String(63), primary_key=True)
    name: Mapped[str] = mapped_column(String(63), primary_key=True)
    node_id: Mapped[int] = _to("nodes.id", index=True)


class AliasMove(Base):
    """One move of one alias; the rows of an alias form a chain, each starting where the one before ended."""

    __tablename__ = "alias_changes"
    __table_args__ = (_one_of("action", AliasAction), Index(None, "scope", "alias", "id"))

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    scope: Mapped[str] = mapped_column(String(63))
    alias: Mapped[str] = mapped_column(String(63))
    action: Mapped[str] = mapped_column(String(20))
    from_node_id: Mapped[int | None] = _to("nodes.id", index=True)
    to_node_id: Mapped[int] = _to("nodes.id", index=True)
    actor: Mapped[str]
    reason: Mapped[str | None]
    overridden: Mapped[str | None]  # the gate that was, null where none was in the way
    at: Mapped[datetime]
