"""The registry's evaluations: metrics with the protocol they were measured under."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from ...errors import UsageError
from ..artifacts.manifests import StoredArtifact
from ..kinds import NodeKind, Relation
from ..records import EvaluationRecord, MetricRecord, Parent
from ..references import Reference
from ..rows import Joined, Store, add_edges, domain_row, expect_kind, find_node, new_node, next_version, put_artifact
from ..schema import Domain, Edge, Evaluation, Metric, Node

_SUBJECTS = (NodeKind.HUB, NodeKind.SPOKE, NodeKind.INDEX, NodeKind.RELEASE)
_Subject = aliased(Node)
_Events = aliased(Node)
_Items = aliased(Node)
ITEMS_PART: Final = "items"  # of the edge that says which catalog was ranked


class EvaluationStore(Store):
    """Evaluations of a registry."""

    def add(
        self,
        domain: str,
        subject: str | None,
        events: str,
        *,
        protocol: Mapping[str, Any],
        n_users: int,
        metrics: Sequence[MetricRecord],
        details: Mapping[str, Any] | None = None,
        parents: Sequence[Parent] = (),
        artifact: StoredArtifact | None = None,
    ) -> EvaluationRecord:
        """Register metrics of `subject` on the event snapshot `events` (references); both become its parents.

        A baseline that is no node (popularity) has no subject; name it in `details`. `artifact` holds the values per
        user.

        Raises:
            NotFoundError: a reference points at nothing.
            UsageError: a reference points at another kind of thing, or a metric is no finite number or given twice.
        """
        _check_metrics(metrics)
        with self.database.write() as session:
            owner = domain_row(session, domain)
            tested = None if subject is None else expect_kind(find_node(session, subject), *_SUBJECTS)
            events_node = expect_kind(find_node(session, events), NodeKind.EVENT_SNAPSHOT)
            version = next_version(session, Evaluation.version, Evaluation.domain_id == owner.id)
            reference = Reference(NodeKind.EVALUATION, domain, version)
            node = new_node(session, reference, owner.id, f"{domain} evaluation {version}")
            session.add(
                Evaluation(
                    id=node.id,
                    domain_id=owner.id,
                    version=version,
                    subject_id=tested.id if tested else None,
                    events_id=events_node.id,
                    protocol=dict(protocol),
                    n_users=int(n_users),
                    details=dict(details or {}),
                    artifact=put_artifact(session, artifact) if artifact else None,
                )
            )
            session.flush()
            session.add_all(_metric_row(node.id, metric) for metric in metrics)
            made_of = [Parent(tested.ref, Relation.BUILT_FROM)] if tested else []
            add_edges(session, node, [*made_of, Parent(events_node.ref, Relation.EVALUATED_ON), *parents])
            return read_evaluation(session, node)

    def get(self, ref: str) -> EvaluationRecord:
        """The evaluation that `ref` points at.

        Raises:
            NotFoundError: it points at nothing.
            UsageError: it points at something else.
        """
        with self.database.read() as session:
            return read_evaluation(session, find_node(session, ref))

    def list(self, domain: str | None = None, subject: str | None = None) -> list[EvaluationRecord]:
        """Evaluations, oldest first, of one domain or of one subject if asked.

        Raises:
            NotFoundError: there is no such domain or subject.
        """
        query = _select().order_by(Node.id)
        with self.database.read() as session:
            if domain is not None:
                query = query.where(Evaluation.domain_id == domain_row(session, domain).id)
            if subject is not None:
                query = query.where(Evaluation.subject_id == find_node(session, subject).id)
            rows = session.execute(query).all()
            metrics = _metrics(session, query)
            return [_record(metrics.get(row[0].id, ()), *row) for row in rows]


def read_evaluation(session: Session, node: Node) -> EvaluationRecord:
    """The record of a node that is an evaluation."""
    expect_kind(node, NodeKind.EVALUATION)
    query = _select().where(Evaluation.id == node.id)
    return _record(_metrics(session, query).get(node.id, ()), *session.execute(query).one())


def _check_metrics(metrics: Sequence[MetricRecord]) -> None:
    seen = set()
    for metric in metrics:
        numbers = [n for n in (metric.value, metric.low, metric.high) if n is not None]
        if not all(math.isfinite(n) for n in numbers):
            raise UsageError(f"{metric.name} on slice {metric.slice} is {numbers}; leave out what cannot be measured.")
        if (metric.slice, metric.name) in seen:
            raise UsageError(f"{metric.name} on slice {metric.slice} is given twice; give each metric once.")
        seen.add((metric.slice, metric.name))


def _metric_row(evaluation_id: int, metric: MetricRecord) -> Metric:
    # numpy's numbers become Python's: SQLite would keep them as bytes.
    low, high = (None if bound is None else float(bound) for bound in (metric.low, metric.high))
    return Metric(
        evaluation_id=evaluation_id,
        slice=metric.slice,
        name=metric.name,
        value=float(metric.value),
        low=low,
        high=high,
    )


def _metrics(session: Session, evaluations: Joined) -> dict[int, tuple[MetricRecord, ...]]:
    chosen = evaluations.with_only_columns(Evaluation.id).order_by(None)
    query = select(Metric).where(Metric.evaluation_id.in_(chosen)).order_by(Metric.slice, Metric.name)
    found: dict[int, list[MetricRecord]] = {}
    for row in session.scalars(query):
        record = MetricRecord(row.slice, row.name, row.value, row.low, row.high)
        found.setdefault(row.evaluation_id, []).append(record)
    return {evaluation: tuple(records) for evaluation, records in found.items()}


def _select() -> Joined:
    return (
        select(Evaluation, Node, Domain.name, _Subject.ref, _Events.ref, _Items.ref)
        .join(Node, Node.id == Evaluation.id)
        .join(Domain, Domain.id == Evaluation.domain_id)
        .join(_Events, _Events.id == Evaluation.events_id)
        .outerjoin(_Subject, _Subject.id == Evaluation.subject_id)
        .outerjoin(Edge, (Edge.child_id == Evaluation.id) & (Edge.part == ITEMS_PART))
        .outerjoin(_Items, _Items.id == Edge.parent_id)
    )


def _record(
    metrics: tuple[MetricRecord, ...],
    evaluation: Evaluation,
    node: Node,
    domain: str,
    subject: str | None,
    events: str,
    items: str | None,
) -> EvaluationRecord:
    return EvaluationRecord(
        ref=node.ref,
        domain=domain,
        version=evaluation.version,
        subject=subject,
        events=events,
        protocol=evaluation.protocol,
        n_users=evaluation.n_users,
        details=evaluation.details,
        metrics=metrics,
        created_at=node.created_at,
        artifact=evaluation.artifact,
        items=items,
    )
