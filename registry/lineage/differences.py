"""Differences between two versions of one kind: data, config, code, parents, parts, outcome, metrics, side by side."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias, TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from ...errors import UsageError
from ...results import Record
from ..kinds import NodeKind, in_words
from ..records import IndexRecord, ModelPart, ModelRecord, NodeRecord, ReleaseRecord, SnapshotRecord
from ..rows import read_node
from ..schema import Domain, Edge, Evaluation, Metric, Node, Snapshot
from ..stores.readers import read_record

_Key: TypeAlias = tuple[str, str]
K = TypeVar("K")
V = TypeVar("V")
D = TypeVar("D")


@dataclass(frozen=True)
class DataSide(Record):
    """A snapshot on one side of a comparison."""

    ref: str
    rows: int
    content_hash: str
    as_of: datetime | None


@dataclass(frozen=True)
class DataDifference(Record):
    """The data of that name on both sides, None where a side has none; `same` where the contents are equal."""

    name: str
    a: DataSide | None
    b: DataSide | None
    same: bool


@dataclass(frozen=True)
class ValueDifference(Record):
    """One value on both sides; a key that a side lacks counts as null."""

    key: str
    a: Any
    b: Any
    same: bool


@dataclass(frozen=True)
class ParentsDifference(Record):
    """What hangs above both sides by one relation, as references; `part` None means the whole."""

    relation: str
    part: str | None
    a: tuple[str, ...]
    b: tuple[str, ...]
    same: bool


@dataclass(frozen=True)
class PartDifference(Record):
    """One named part on both sides, None where a side lacks it: a model's own, or the reference of a release's."""

    name: str
    a: ModelPart | str | None
    b: ModelPart | str | None
    same: bool


@dataclass(frozen=True)
class MetricDifference(Record):
    """One metric of both sides, from their newest evaluations under the same protocol on the same events."""

    name: str
    slice: str
    a: float
    b: float
    difference: float  # b - a
    events: str
    evaluations: tuple[str, str]


@dataclass(frozen=True)
class Difference(Record):
    """Two versions side by side, everything listed whether or not it differs."""

    a: NodeRecord  # one version
    b: NodeRecord  # the other
    kind: str  # kind of both nodes
    same: bool  # nothing but what the versions say of themselves, the metrics and their names differs
    data: tuple[DataDifference, ...]  # snapshots that they came from; of two snapshots, themselves
    config: tuple[ValueDifference, ...]  # settings, nested keys joined with dots
    code: tuple[ValueDifference, ...]  # code version, seed and environment
    parents: tuple[ParentsDifference, ...]  # everything that they came from
    parts: tuple[PartDifference, ...]  # named parts of a model, members of a release
    outcome: tuple[ValueDifference, ...]  # what came out: embedding space, artifact, size
    summary: tuple[ValueDifference, ...]  # what a training said of itself: choice, validation, drift from its parent
    metrics: tuple[MetricDifference, ...]  # what both were measured by


class _Side(NamedTuple):
    """One of the two versions with all that is compared."""

    node: NodeRecord
    data: Mapping[str, DataSide]
    parents: Mapping[_Key, tuple[str, ...]]  # relation and part to references
    config: Mapping[str, Any] = MappingProxyType({})
    code: Mapping[str, Any] = MappingProxyType({})
    parts: Mapping[str, ModelPart | str] = MappingProxyType({})
    outcome: Mapping[str, Any] = MappingProxyType({})
    summary: Mapping[str, Any] = MappingProxyType({})


def difference(session: Session, first: Node, second: Node) -> Difference:
    """What differs between two versions of one kind."""
    a, b = _side(session, first), _side(session, second)
    if first.kind != second.kind:
        raise UsageError(
            f"{first.ref} is of kind {in_words(first.kind)}, {second.ref} of kind {in_words(second.kind)}; "
            "name two versions of one kind."
        )
    sections: dict[str, Any] = {
        "data": _pairs(a.data, b.data, DataDifference, lambda side: side and side.content_hash),
        "config": _values(a.config, b.config),
        "code": _values(a.code, b.code),
        "parents": tuple(
            ParentsDifference(relation, part or None, *_both(a.parents, b.parents, (relation, part), ()))
            for relation, part in sorted({*a.parents, *b.parents})
        ),
        "parts": _pairs(
            *(a.parts, b.parts, PartDifference),
            lambda part: part.fingerprint if isinstance(part, ModelPart) else part,
        ),
        "outcome": _values(a.outcome, b.outcome),
    }
    same = all(one.same for section in sections.values() for one in section)
    summary, metrics = _values(a.summary, b.summary), _metrics(session, first.id, second.id)
    return Difference(a.node, b.node, first.kind, same, **sections, summary=summary, metrics=metrics)


def _side(session: Session, node: Node) -> _Side:
    known, record = read_node(session, node), read_record(session, node)
    side = _Side(known, *_data_and_parents(session, node, known.domain))
    match record:
        case SnapshotRecord():
            data = DataSide(record.ref, record.rows, record.content_hash, record.as_of)
            return side._replace(data={record.kind: data})
        case ModelRecord():
            return side._replace(
                config=record.config,
                code=_columns(record, "code_version", "seed", "environment"),
                parts={part.name: part for part in record.parts},
                outcome=_columns(record, "status", "space_fingerprint", "artifact"),
                summary=_without_tables(record.summary),
            )
        case IndexRecord():
            settings = {key: value for key, value in record.config.items() if key != "measured"}
            return side._replace(
                config={"factory": record.factory, "metric": record.metric, **settings},
                summary=record.config.get("measured", {}),
                outcome=_columns(record, "n_items", "dimension", "space_fingerprint", "artifact"),
            )
        case ReleaseRecord():
            return side._replace(parts=dict(record.parts.named()))
    raise UsageError(
        f"{node.ref} is of kind {in_words(node.kind)}, which has nothing to compare; "
        "name two snapshots, hubs, spokes, re-rankers, indexes or releases."
    )


def _data_and_parents(
    session: Session, node: Node, own: str | None
) -> tuple[dict[str, DataSide], dict[_Key, tuple[str, ...]]]:
    """The snapshots that a node came from by name, and all its parents but domains by relation and part."""
    query = (
        select(Edge.relation, Edge.part, Node.ref, Domain.name.label("domain"), Snapshot)
        .join(Node, Node.id == Edge.parent_id)
        .outerjoin(Snapshot, Snapshot.id == Node.id)
        .outerjoin(Domain, Domain.id == Snapshot.domain_id)
        .where(Edge.child_id == node.id, Node.kind != NodeKind.DOMAIN)
        .order_by(Node.id, Edge.relation, Edge.part)
    )
    parents: dict[_Key, tuple[str, ...]] = {}
    named: dict[str, DataSide] = {}
    for relation, part, ref, domain, snapshot in session.execute(query):
        parents[relation, part] = (*parents.get((relation, part), ()), ref)
        if snapshot is None:
            continue
        side = DataSide(ref, snapshot.rows, snapshot.content_hash, snapshot.as_of)
        if side not in named.values():
            # One's own data goes without the domain's name, so that it stands beside another domain's own; where two
            # snapshots share a name, the later ones are numbered.
            name = snapshot.kind if domain == own else f"{domain}/{snapshot.kind}"
            number = sum(key == name or key.startswith(f"{name} ") for key in named)
            named[f"{name} {number + 1}" if number else name] = side
    return named, parents


def _columns(record: ModelRecord | IndexRecord, *names: str) -> dict[str, Any]:
    return {name: getattr(record, name) for name in names}


def _without_tables(content: Mapping[str, Any]) -> dict[str, Any]:
    """Without lists of rows, which have no other side to stand beside."""
    kept = {key: _without_tables(value) if isinstance(value, Mapping) else value for key, value in content.items()}
    return {
        key: value
        for key, value in kept.items()
        if not (isinstance(value, list) and any(isinstance(inner, Mapping | list) for inner in value))
    }


def _both(a: Mapping[K, V], b: Mapping[K, V], key: K, default: Any = None) -> tuple[Any, Any, bool]:
    """The value on both sides, and whether they are equal."""
    one, other = a.get(key, default), b.get(key, default)
    return one, other, one == other


def _pairs(
    a: Mapping[str, V], b: Mapping[str, V], make: Callable[..., D], content: Callable[[V | None], object]
) -> tuple[D, ...]:
    """Both sides by name; the same where their content is equal, wherever it came from."""
    pairs = [(name, a.get(name), b.get(name)) for name in sorted({*a, *b})]
    return tuple(make(name, one, other, content(one) == content(other)) for name, one, other in pairs)


def _values(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[ValueDifference, ...]:
    flat_a, flat_b = flatten(a), flatten(b)
    return tuple(ValueDifference(key, *_both(flat_a, flat_b, key)) for key in sorted({*flat_a, *flat_b}))


def flatten(content: Mapping[str, Any]) -> dict[str, Any]:
    """Nested mappings as one, keys joined with dots; lists stay values, an empty mapping stays one too."""
    flat: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, Mapping) and value:
            flat.update({f"{key}.{inner}": deeper for inner, deeper in flatten(value).items()})
        else:
            flat[str(key)] = value
    return flat


def _metrics(session: Session, a: int, b: int) -> tuple[MetricDifference, ...]:
    """The metrics of both under each protocol and on each event snapshot that both were measured with."""
    if a == b:
        return ()
    first, second = _newest(session, a), _newest(session, b)
    found: list[MetricDifference] = []
    for key in first.keys() & second.keys():
        (one, values), (other, others) = first[key], second[key]
        for slice_, name in sorted(values.keys() & others.keys()):
            pair = values[slice_, name], others[slice_, name]
            found.append(MetricDifference(name, slice_, *pair, pair[1] - pair[0], key[0], (one, other)))
    return tuple(sorted(found, key=lambda one: (one.evaluations, one.slice, one.name)))


def _newest(session: Session, subject: int) -> dict[_Key, tuple[str, dict[_Key, float]]]:
    """Events and protocol to the newest evaluation of `subject` with them, and its values by slice and name."""
    events = aliased(Node)
    query = (
        select(Evaluation.protocol, events.ref.label("events"), Node.ref, Metric)
        .join(Node, Node.id == Evaluation.id)
        .join(events, events.id == Evaluation.events_id)
        .join(Metric, Metric.evaluation_id == Evaluation.id)
        .where(Evaluation.subject_id == subject)
        .order_by(Evaluation.id)
    )
    found: dict[_Key, tuple[str, dict[_Key, float]]] = {}
    for protocol, seen, ref, metric in session.execute(query):
        key = (seen, json.dumps(protocol, sort_keys=True))
        if key not in found or found[key][0] != ref:
            found[key] = (ref, {})
        found[key][1][metric.slice, metric.name] = metric.value
    return found
