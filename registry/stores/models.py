"""The registry's hub, spoke and re-ranker versions: a number is taken when training begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from ...errors import LockedError, NotFoundError, UsageError
from ..artifacts.manifests import StoredArtifact
from ..kinds import ModelKind, ModelStatus, NodeKind, Relation, choice
from ..records import ModelPart, ModelRecord, Parent
from ..rows import Joined, NodeStore, add_edges, domain_row, expect_kind, find_node, now, put_artifact
from ..schema import Edge, Model, Node
from ..schema import ModelPart as PartRow

MODEL_KINDS = tuple(kind.node_kind for kind in ModelKind)


class ModelStore(NodeStore[ModelRecord]):
    """Hub, spoke and re-ranker versions of a registry."""

    kinds = MODEL_KINDS
    table = Model
    record = ModelRecord
    inner = ("parts", ())

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
        """
        with self.database.write() as session:
            same = _same(session, kind, domain, fingerprint)
            left = session.scalar(same.where(Model.status == ModelStatus.TRAINING))
            columns: dict[str, Any] = {"config": dict(config), "seed": seed, "environment": dict(environment or {})}
            columns |= {"code_version": code_version, "started_at": now()}
            if left is not None:
                for column, value in columns.items():
                    setattr(left, column, value)
                return self.read(session, session.get_one(Node, left.id))
            owner = None if domain is None else domain_row(session, domain)
            columns |= {"kind": kind, "status": ModelStatus.TRAINING, "fingerprint": fingerprint, "summary": {}}
            label = f"{domain or ''} {kind}, version {{}}".strip()
            return self.read(session, self._new(session, ModelKind(kind).node_kind, owner, label, columns))

    def finish(
        self,
        ref: str,
        artifact: StoredArtifact,
        space_fingerprint: str,
        summary: Mapping[str, Any] | None = None,
        parents: Sequence[Parent] = (),
        parts: Sequence[ModelPart] = (),
        seconds_before: float = 0.0,
        started_at: datetime | None = None,
    ) -> ModelRecord:
        """Record that a training ended well, with its artifact, its parents and its named parts, in one transaction.

        Its start is moved back by `seconds_before`, what killed processes took that it went on from: from start to end
        is what it took. With `started_at`, as `begin` gave it, a LockedError where another process has begun it since.
        """
        with self.database.write() as session:
            node, model = _in_training(session, ref, started_at)
            model.artifact = put_artifact(session, artifact)
            model.space_fingerprint = space_fingerprint
            model.summary = dict(summary or {})
            model.status = ModelStatus.READY
            model.started_at -= timedelta(seconds=seconds_before)
            model.finished_at = now()
            add_edges(session, node, parents)
            for part in parts:
                source = None if part.source is None else find_node(session, part.source).id
                row = PartRow(model_id=node.id, name=part.name, fingerprint=part.fingerprint, source_id=source)
                row.bytes, row.parameters = part.bytes, part.parameters
                session.add(row)
            return self.read(session, node)

    def fail(self, ref: str, error: str, started_at: datetime | None = None) -> ModelRecord:
        """Record that a training ended badly; a version that is not in training is a UsageError.

        With `started_at`, as `begin` gave it, a LockedError where another process has begun it since.
        """
        with self.database.write() as session:
            node, model = _in_training(session, ref, started_at)
            model.status = ModelStatus.FAILED
            model.error = error
            model.finished_at = now()
            return self.read(session, node)

    def expect_own(self, begun: ModelRecord) -> None:
        """Nothing where a version is in training as `begin` gave it; a LockedError where it is another process's."""
        with self.database.read() as session:
            _in_training(session, begun.ref, begun.started_at)

    def find_ready(self, kind: str, domain: str | None, fingerprint: str) -> ModelRecord | None:
        """The newest finished version made from the same inputs and config, or None."""
        with self.database.read() as session:
            same = _same(session, kind, domain, fingerprint)
            model = session.scalar(same.where(Model.status == ModelStatus.READY))
            return None if model is None else self.read(session, session.get_one(Node, model.id))

    def hub_of(self, spoke: str) -> ModelRecord:
        """The hub version that a spoke adapts, as its lineage says; a NotFoundError where that names none."""
        with self.database.read() as session:
            node = expect_kind(find_node(session, spoke), NodeKind.SPOKE)
            adapted = select(Edge.parent_id).where(Edge.child_id == node.id, Edge.relation == Relation.ADAPTED_FROM)
            hub = session.scalar(adapted.order_by(Edge.parent_id).limit(1))
            if hub is None:
                raise NotFoundError(f"{node.ref} records no hub that it came from; train it again.")
            return self.read(session, session.get_one(Node, hub))

    @classmethod
    def _inner_values(cls, session: Session, query: Joined) -> Mapping[int, tuple[ModelPart, ...]]:
        chosen = query.with_only_columns(Model.id).order_by(None)
        parts = (
            select(PartRow, Node.ref)
            .outerjoin(Node, Node.id == PartRow.source_id)
            .where(PartRow.model_id.in_(chosen))
            .order_by(PartRow.name)
        )
        found: dict[int, tuple[ModelPart, ...]] = {}
        for row, source in session.execute(parts):
            part = ModelPart(row.name, row.fingerprint, row.bytes, row.parameters, source)
            found[row.model_id] = (*found.get(row.model_id, ()), part)
        return found

    def list(self, kind: str | None = None, domain: str | None = None, status: str | None = None) -> list[ModelRecord]:
        """Model versions, oldest first, of one kind, domain and status if asked."""
        where = [] if kind is None else [Model.kind == choice(ModelKind, kind, "kind of model")]
        where += [] if status is None else [Model.status == choice(ModelStatus, status, "status")]
        return self._list(domain, *where)


def ready_model(session: Session, ref: str) -> Node:
    """The node of a model version whose training has ended well; any other is a UsageError."""
    node = expect_kind(find_node(session, ref), *MODEL_KINDS)
    status = session.scalar(select(Model.status).where(Model.id == node.id))
    if status != ModelStatus.READY:
        raise UsageError(f"{node.ref} is {status}; use a version that is ready, or train it again.")
    return node


def _same(session: Session, kind: str, domain: str | None, fingerprint: str) -> Select[Model]:
    """The newest version of the same inputs and config."""
    if (choice(ModelKind, kind, "kind of model") is ModelKind.HUB) != (domain is None):
        raise UsageError("The hub belongs to no domain, a spoke or re-ranker to one; name a domain for these only.")
    domain_id = None if domain is None else domain_row(session, domain).id
    same = select(Model).where(Model.domain_id == domain_id, Model.kind == kind, Model.fingerprint == fingerprint)
    return same.order_by(Model.version.desc()).limit(1)


def _in_training(session: Session, ref: str, started_at: datetime | None = None) -> tuple[Node, Model]:
    node = expect_kind(find_node(session, ref), *MODEL_KINDS)
    model = session.get_one(Model, node.id)
    # Whoever takes a row over dates it anew.
    if started_at is not None and (model.status != ModelStatus.TRAINING or model.started_at != started_at):
        raise LockedError(
            f"Another process has taken {node.ref} over, which is {model.status}; wait for it to end and repeat the "
            "command."
        )
    if model.status != ModelStatus.TRAINING:
        raise UsageError(f"{node.ref} is {model.status}, not in training; begin a new version instead.")
    return node, model
