"""The registry's evaluations: metrics with the protocol they were measured under."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from ...errors import UsageError
from ..artifacts.manifests import StoredArtifact
from ..kinds import NodeKind, Relation
from ..records import EvaluationRecord, MetricRecord, Parent
from ..rows import Joined, NodeStore, add_edges, domain_row, expect_kind, fill, find_node, put_artifact
from ..schema import Edge, Evaluation, Metric, Node

ITEMS_PART: Final = "items"  # of the edge that says which catalog was ranked
_SUBJECTS = (NodeKind.HUB, NodeKind.SPOKE, NodeKind.RERANKER, NodeKind.INDEX, NodeKind.RELEASE)
_Subject = aliased(Node)
_Events = aliased(Node)
_Items = aliased(Node)


@dataclass(frozen=True)
class NewEvaluation:
    """Metrics of `subject` on the snapshot `events` (references), to be registered."""

    domain: str
    subject: str | None  # None for a baseline that is no node, such as popularity; `details` names it
    events: str  # or the item snapshot, of a category without events
    protocol: Mapping[str, Any]
    n_users: int
    metrics: Sequence[MetricRecord]
    details: Mapping[str, Any] = field(default_factory=dict)
    parents: Sequence[Parent] = ()  # beside the subject and the events
    artifact: StoredArtifact | None = None  # the values per user


class EvaluationStore(NodeStore[EvaluationRecord]):
    """Evaluations of a registry."""

    kinds = (NodeKind.EVALUATION,)
    table = Evaluation
    record = EvaluationRecord
    inner = ("metrics", ())

    def add(self, new: NewEvaluation) -> EvaluationRecord:
        """Register metrics, each given once and a finite number; subject and events become parents."""
        rows: dict[tuple[str, str], dict[str, Any]] = {}
        for metric in new.metrics:
            # numpy's numbers become Python's: SQLite would keep them as bytes.
            row = {key: n if n is None or isinstance(n, str) else float(n) for key, n in asdict(metric).items()}
            numbers = [n for n in row.values() if isinstance(n, float)]
            where = f"{metric.name} on slice {metric.slice}"
            if not all(map(math.isfinite, numbers)):
                raise UsageError(f"{where} is {numbers}; leave out what cannot be measured.")
            if (metric.slice, metric.name) in rows:
                raise UsageError(f"{where} is given twice; give each metric once.")
            rows[metric.slice, metric.name] = row
        with self.database.write() as session:
            owner = domain_row(session, new.domain)
            tested = None if new.subject is None else expect_kind(find_node(session, new.subject), *_SUBJECTS)
            seen = expect_kind(find_node(session, new.events), NodeKind.EVENT_SNAPSHOT, NodeKind.ITEM_SNAPSHOT)
            columns = {
                "subject_id": tested.id if tested else None,
                "events_id": seen.id,
                "protocol": dict(new.protocol),
                "n_users": int(new.n_users),
                "details": dict(new.details),
                "artifact": put_artifact(session, new.artifact) if new.artifact else None,
            }
            node = self._new(session, NodeKind.EVALUATION, owner, f"{new.domain} evaluation {{}}", columns)
            session.add_all(Metric(evaluation_id=node.id, **row) for row in rows.values())
            made_of = [Parent(tested.ref, Relation.BUILT_FROM)] if tested else []
            add_edges(session, node, [*made_of, Parent(seen.ref, Relation.EVALUATED_ON), *new.parents])
            return self.read(session, node)

    @classmethod
    def _query(cls) -> Joined:
        names = _Subject.ref.label("subject"), _Events.ref.label("events"), _Items.ref.label("items")
        return (
            super()
            ._query()
            .add_columns(*names)
            .join(_Events, _Events.id == Evaluation.events_id)
            .outerjoin(_Subject, _Subject.id == Evaluation.subject_id)
            .outerjoin(Edge, (Edge.child_id == Evaluation.id) & (Edge.part == ITEMS_PART))
            .outerjoin(_Items, _Items.id == Edge.parent_id)
        )

    @classmethod
    def _inner_values(cls, session: Session, query: Joined) -> Mapping[int, tuple[MetricRecord, ...]]:
        chosen = query.with_only_columns(Evaluation.id).order_by(None)
        rows = select(Metric).where(Metric.evaluation_id.in_(chosen)).order_by(Metric.slice, Metric.name)
        found: dict[int, list[MetricRecord]] = {}
        for row in session.scalars(rows):
            found.setdefault(row.evaluation_id, []).append(fill(MetricRecord, row, {}))
        return {evaluation: tuple(records) for evaluation, records in found.items()}

    def list(self, domain: str | None = None, subject: str | None = None) -> list[EvaluationRecord]:
        """Evaluations, oldest first, of one domain or of one subject if asked."""
        if subject is None:
            return self._list(domain)
        with self.database.read() as session:
            key = find_node(session, subject).id
        return self._list(domain, Evaluation.subject_id == key)
