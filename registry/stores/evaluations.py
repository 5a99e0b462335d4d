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
from ..rows import Joined, NodeStore, add_edges, domain_row, expect_kind, fill, find_node, put_artifact
from ..schema import Edge, Evaluation, Metric, Node

ITEMS_PART: Final = "items"  # of the edge that says which catalog was ranked
_SUBJECTS = (NodeKind.HUB, NodeKind.SPOKE, NodeKind.INDEX, NodeKind.RELEASE)
_Subject = aliased(Node)
_Events = aliased(Node)
_Items = aliased(Node)


class EvaluationStore(NodeStore[EvaluationRecord]):
    """Evaluations of a registry."""

    kinds = (NodeKind.EVALUATION,)
    table = Evaluation
    record = EvaluationRecord
    inner = ("metrics", ())

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
            seen = expect_kind(find_node(session, events), NodeKind.EVENT_SNAPSHOT)
            columns = {
                "subject_id": tested.id if tested else None,
                "events_id": seen.id,
                "protocol": dict(protocol),
                "n_users": int(n_users),
                "details": dict(details or {}),
                "artifact": put_artifact(session, artifact) if artifact else None,
            }
            node = self._new(session, NodeKind.EVALUATION, owner, f"{domain} evaluation {{}}", columns)
            for metric in metrics:
                # numpy's numbers become Python's: SQLite would keep them as bytes.
                numbers = {key: None if n is None else float(n) for key, n in _numbers(metric).items()}
                session.add(Metric(evaluation_id=node.id, slice=metric.slice, name=metric.name, **numbers))
            made_of = [Parent(tested.ref, Relation.BUILT_FROM)] if tested else []
            add_edges(session, node, [*made_of, Parent(seen.ref, Relation.EVALUATED_ON), *parents])
            session.flush()
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


def _numbers(metric: MetricRecord) -> dict[str, float | None]:
    return {"value": metric.value, "low": metric.low, "high": metric.high}


def _check_metrics(metrics: Sequence[MetricRecord]) -> None:
    seen = set()
    for metric in metrics:
        numbers = [n for n in _numbers(metric).values() if n is not None]
        if not all(math.isfinite(n) for n in numbers):
            raise UsageError(f"{metric.name} on slice {metric.slice} is {numbers}; leave out what cannot be measured.")
        if (metric.slice, metric.name) in seen:
            raise UsageError(f"{metric.name} on slice {metric.slice} is given twice; give each metric once.")
        seen.add((metric.slice, metric.name))
