"""The registry's hub, spoke and re-ranker versions: a number is taken when training begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, select
from sqlalchemy.orm import Session

from ...errors import NotFoundError, UsageError
from ..artifacts.manifests import StoredArtifact
from ..kinds import ModelKind, ModelStatus, NodeKind, Relation, choice
from ..records import ModelPart, ModelRecord, Parent
from ..references import Reference
from ..rows import (
    Joined,
    Store,
    add_edges,
    domain_row,
    expect_kind,
    find_node,
    new_node,
    next_version,
    now,
    put_artifact,
)
from ..schema import Domain, Edge, Model, Node
from ..schema import ModelPart as PartRow


class ModelStore(Store):
    """Hub, spoke and re-ranker versions of a registry."""

    def begin(
        self,
        kind: str,
        domain: str | None,
        fingerprint: str,
        config: Mapping[str, Any],
        seed: int | None = None,
        environment: Mapping[str, Any] | None = None,
        code_version: str = "",
    ) -> ModelRecord:
        """Take a version number for a training that starts now.

        A row left in status training by a killed process with the same fingerprint is taken over, so a repeated
        command gets the same number; hold the scope's lock (`Registry.lock`) so that the process is known to be dead.

        Raises:
            NotFoundError: there is no such domain.
            UsageError: a spoke without a domain, or a hub with one.
        """
        with self.database.write() as session:
            owner = _owner(session, choice(ModelKind, kind, "kind of model"), domain)
            left = session.scalar(_same(kind, owner, fingerprint).where(Model.status == ModelStatus.TRAINING))
            model = left or _new_model(session, ModelKind(kind), owner, fingerprint)
            model.config = dict(config)
            model.seed = seed
            model.environment = dict(environment or {})
            model.code_version = code_version
            model.started_at = now()
            session.add(model)
            session.flush()
            return _read(session, model.id)

    def finish(
        self,
        ref: str,
        artifact: StoredArtifact,
        space_fingerprint: str,
        summary: Mapping[str, Any] | None = None,
        parents: Sequence[Parent] = (),
        parts: Sequence[ModelPart] = (),
        seconds_before: float = 0.0,
    ) -> ModelRecord:
        """Record that a training ended well, with its artifact, its parents and its named parts, in one transaction.

        Args:
            ref: the version.
            artifact: its stored files.
            space_fingerprint: of its item embeddings.
            summary: what is told of the training.
            parents: versions and snapshots it was made from.
            parts: what it is composed of.
            seconds_before: of killed processes that this training went on from; its start is moved back by them, so
                that from start to end is what it took.

        Raises:
            UsageError: the version is not in training.
            NotFoundError: `ref`, a parent or the source of a part points at nothing.
        """
        with self.database.write() as session:
            node = find_node(session, ref)
            model = _in_training(session, node)
            model.artifact = put_artifact(session, artifact)
            model.space_fingerprint = space_fingerprint
            model.summary = dict(summary or {})
            model.status = ModelStatus.READY
            model.started_at -= timedelta(seconds=seconds_before)
            model.finished_at = now()
            add_edges(session, node, parents)
            session.add_all(_part_row(session, node, part) for part in parts)
            session.flush()
            return _read(session, model.id)

    def fail(self, ref: str, error: str) -> ModelRecord:
        """Record that a training ended badly.

        Raises:
            UsageError: the version is not in training.
        """
        with self.database.write() as session:
            model = _in_training(session, find_node(session, ref))
            model.status = ModelStatus.FAILED
            model.error = error
            model.finished_at = now()
            session.flush()
            return _read(session, model.id)

    def find_ready(self, kind: str, domain: str | None, fingerprint: str) -> ModelRecord | None:
        """The newest finished version made from the same inputs and config, or None."""
        with self.database.read() as session:
            owner = _owner(session, choice(ModelKind, kind, "kind of model"), domain)
            ready = _same(kind, owner, fingerprint).where(Model.status == ModelStatus.READY)
            model = session.scalar(ready)
            return None if model is None else _read(session, model.id)

    def get(self, ref: str) -> ModelRecord:
        """The hub or spoke version that `ref` points at.

        Raises:
            NotFoundError: it points at nothing.
            UsageError: it points at something else.
        """
        with self.database.read() as session:
            return read_model(session, find_node(session, ref))

    def hub_of(self, spoke: str) -> ModelRecord:
        """The hub version that a spoke adapts, as its lineage says.

        Raises:
            NotFoundError: its lineage names none.
        """
        with self.database.read() as session:
            node = expect_kind(find_node(session, spoke), NodeKind.SPOKE)
            adapted = select(Edge.parent_id).where(Edge.child_id == node.id, Edge.relation == Relation.ADAPTED_FROM)
            hub = session.scalar(adapted.order_by(Edge.parent_id).limit(1))
            if hub is None:
                raise NotFoundError(f"{node.ref} records no hub that it came from; train it again.")
            return _read(session, hub)

    def list(self, kind: str | None = None, domain: str | None = None, status: str | None = None) -> list[ModelRecord]:
        """Model versions, oldest first, of one kind, domain and status if asked.

        Raises:
            NotFoundError: there is no such domain.
        """
        query = _select().order_by(Node.id)
        with self.database.read() as session:
            if domain is not None:
                query = query.where(Model.domain_id == domain_row(session, domain).id)
            if kind is not None:
                query = query.where(Model.kind == choice(ModelKind, kind, "kind of model"))
            if status is not None:
                query = query.where(Model.status == choice(ModelStatus, status, "status"))
            parts = _parts(session, query)
            return [_record(parts.get(row[0].id, ()), *row) for row in session.execute(query)]


def read_model(session: Session, node: Node) -> ModelRecord:
    """The record of a node that is a model version."""
    expect_kind(node, *(kind.node_kind for kind in ModelKind))
    return _read(session, node.id)


def _owner(session: Session, kind: ModelKind, domain: str | None) -> Domain | None:
    if (kind is ModelKind.HUB) != (domain is None):
        raise UsageError("The hub belongs to no domain, a spoke or re-ranker to one; name a domain for these only.")
    return None if domain is None else domain_row(session, domain)


def _of(kind: str, owner: Domain | None) -> list[ColumnElement[bool]]:
    mine = Model.domain_id.is_(None) if owner is None else Model.domain_id == owner.id
    return [mine, Model.kind == kind]


def _same(kind: str, owner: Domain | None, fingerprint: str) -> Select[Model]:
    same = select(Model).where(*_of(kind, owner), Model.fingerprint == fingerprint)
    return same.order_by(Model.version.desc()).limit(1)


def _new_model(session: Session, kind: ModelKind, owner: Domain | None, fingerprint: str) -> Model:
    version = next_version(session, Model.version, *_of(kind, owner))
    reference = Reference(kind.node_kind, owner.name if owner else None, version)
    label = f"{owner.name} {kind}, version {version}" if owner else f"hub, version {version}"
    node = new_node(session, reference, owner.id if owner else None, label)
    return Model(
        id=node.id,
        kind=kind,
        domain_id=node.domain_id,
        version=version,
        status=ModelStatus.TRAINING,
        fingerprint=fingerprint,
        summary={},
    )


def _in_training(session: Session, node: Node) -> Model:
    expect_kind(node, *(kind.node_kind for kind in ModelKind))
    model = session.get_one(Model, node.id)
    if model.status != ModelStatus.TRAINING:
        raise UsageError(f"{node.ref} is {model.status}, not in training; begin a new version instead.")
    return model


def _select() -> Joined:
    return (
        select(Model, Node, Domain.name).join(Node, Node.id == Model.id).outerjoin(Domain, Domain.id == Model.domain_id)
    )


def _read(session: Session, model_id: int) -> ModelRecord:
    query = _select().where(Model.id == model_id)
    return _record(_parts(session, query).get(model_id, ()), *session.execute(query).one())


def _part_row(session: Session, node: Node, part: ModelPart) -> PartRow:
    source = None if part.source is None else find_node(session, part.source).id
    return PartRow(
        model_id=node.id,
        name=part.name,
        fingerprint=part.fingerprint,
        bytes=part.bytes,
        parameters=part.parameters,
        source_id=source,
    )


def _parts(session: Session, models: Joined) -> dict[int, tuple[ModelPart, ...]]:
    chosen = models.with_only_columns(Model.id).order_by(None)
    query = (
        select(PartRow, Node.ref)
        .outerjoin(Node, Node.id == PartRow.source_id)
        .where(PartRow.model_id.in_(chosen))
        .order_by(PartRow.name)
    )
    found: dict[int, list[ModelPart]] = {}
    for row, source in session.execute(query):
        part = ModelPart(row.name, row.fingerprint, row.bytes, row.parameters, source)
        found.setdefault(row.model_id, []).append(part)
    return {model: tuple(parts) for model, parts in found.items()}


def _record(parts: tuple[ModelPart, ...], model: Model, node: Node, domain: str | None) -> ModelRecord:
    return ModelRecord(
        ref=node.ref,
        kind=model.kind,
        domain=domain,
        version=model.version,
        status=model.status,
        fingerprint=model.fingerprint,
        space_fingerprint=model.space_fingerprint,
        config=model.config,
        summary=model.summary,
        code_version=model.code_version,
        seed=model.seed,
        environment=model.environment,
        artifact=model.artifact,
        created_at=node.created_at,
        started_at=model.started_at,
        finished_at=model.finished_at,
        error=model.error,
        parts=parts,
    )
