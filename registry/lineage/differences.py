"""Differences between two versions of one kind: data, config, code, parents, parts, outcome, metrics, side by side."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from ...errors import UsageError
from ...results import Record
from ..kinds import NodeKind
from ..records import IndexRecord, ModelPart, ModelRecord, NodeRecord, ReleaseRecord, SnapshotRecord
from ..rows import read_node
from ..schema import Domain, Edge, Evaluation, Metric, Node, Snapshot
from ..stores.readers import read_record

Version: TypeAlias = SnapshotRecord | ModelRecord | IndexRecord | ReleaseRecord


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
    """One metric of both sides, from their newest evaluations under the same protocol on the same events.

    `evaluations` names both; `difference` is b - a.
    """

    name: str
    slice: str
    a: float
    b: float
    difference: float
    events: str
    evaluations: tuple[str, str]


@dataclass(frozen=True)
class Difference(Record):
    """Two versions side by side, everything listed whether or not it differs.

    Attributes:
        a: one version.
        b: the other.
        kind: kind of both nodes.
        same: nothing but what the versions say of themselves, the metrics and their names differs.
        data: snapshots that they came from; of two snapshots, themselves.
        config: settings, nested keys joined with dots.
        code: code version, seed and environment.
        parents: everything that they came from.
        parts: named parts of a model, members of a release.
        outcome: what came out: embedding space, artifact, size.
        summary: what a training said of itself: choice, validation, drift from its parent.
        metrics: what both were measured by.
    """

    a: NodeRecord
    b: NodeRecord
    kind: str
    same: bool
    data: tuple[DataDifference, ...]
    config: tuple[ValueDifference, ...]
    code: tuple[ValueDifference, ...]
    parents: tuple[ParentsDifference, ...]
    parts: tuple[PartDifference, ...]
    outcome: tuple[ValueDifference, ...]
    summary: tuple[ValueDifference, ...]
    metrics: tuple[MetricDifference, ...]


@dataclass(frozen=True)
class _Said:
    """A parent as an edge names it."""

    relation: str
    part: str | None
    ref: str


@dataclass(frozen=True)
class _Side:
    """One of the two versions with all that is compared."""

    node: NodeRecord
    record: Version
    parents: tuple[_Said, ...]
    data: Mapping[str, DataSide]


def difference(session: Session, first: Node, second: Node) -> Difference:
    """What differs between two versions of one kind.

    Raises:
        UsageError: the two are of different kinds, or of a kind that has no versions.
    """
    a, b = _side(session, first), _side(session, second)
    if first.kind != second.kind:
        raise UsageError(
            f"{first.ref} is of kind {first.kind.replace('_', ' ')}, {second.ref} of kind "
            f"{second.kind.replace('_', ' ')}; name two versions of one kind."
        )
    return _difference(a, b, _metrics(session, first.id, second.id))


def _side(session: Session, node: Node) -> _Side:
    record = read_record(session, node)
    if not isinstance(record, Version):
        raise UsageError(
            f"{node.ref} is of kind {node.kind.replace('_', ' ')}, which has nothing to compare; "
            "name two snapshots, hubs, spokes, re-rankers, indexes or releases."
        )
    query = (
        select(Edge.relation, Edge.part, Node.ref, Domain.name, Snapshot)
        .join(Node, Node.id == Edge.parent_id)
        .outerjoin(Snapshot, Snapshot.id == Node.id)
        .outerjoin(Domain, Domain.id == Snapshot.domain_id)
        .where(Edge.child_id == node.id, Node.kind != NodeKind.DOMAIN)
        .order_by(Node.id, Edge.relation, Edge.part)
    )
    rows = session.execute(query).all()
    seen = [_seen(record, row[2], row[3], row[4]) for row in rows if row[4] is not None]
    if isinstance(record, SnapshotRecord):
        seen = [(record.kind, DataSide(record.ref, record.rows, record.content_hash, record.as_of))]
    parents = tuple(_Said(relation, part or None, ref) for relation, part, ref, *_ in rows)
    return _Side(read_node(session, node), record, parents, _named(seen))


def _seen(record: Version, ref: str, domain: str, snapshot: Snapshot) -> tuple[str, DataSide]:
    """A snapshot under the name that the other side's is looked up by: one's own data goes without the domain's."""
    name = snapshot.kind if domain == record.domain else f"{domain}/{snapshot.kind}"
    return name, DataSide(ref, snapshot.rows, snapshot.content_hash, snapshot.as_of)


def _named(seen: Iterable[tuple[str, DataSide]]) -> dict[str, DataSide]:
    """Each name once: where two snapshots share it, the later ones are numbered; one that is named twice is one."""
    named: dict[str, DataSide] = {}
    for name, side in seen:
        if side in named.values():
            continue
        number = sum(key == name or key.startswith(f"{name} ") for key in named)
        named[f"{name} {number + 1}" if number else name] = side
    return named


def _difference(a: _Side, b: _Side, metrics: tuple[MetricDifference, ...]) -> Difference:
    data = _data(a.data, b.data)
    config, code, outcome, summary = (
        _values(read(a.record), read(b.record)) for read in (_config_of, _code_of, _outcome_of, _summary_of)
    )
    parents, parts = _parents(a.parents, b.parents), _parts(_parts_of(a.record), _parts_of(b.record))
    same = all(one.same for section in (data, config, code, parents, parts, outcome) for one in section)
    return Difference(a.node, b.node, a.node.kind, same, data, config, code, parents, parts, outcome, summary, metrics)


def _data(a: Mapping[str, DataSide], b: Mapping[str, DataSide]) -> tuple[DataDifference, ...]:
    return tuple(
        DataDifference(name, a.get(name), b.get(name), _equal(a.get(name), b.get(name))) for name in _all(a, b)
    )


def _equal(a: DataSide | None, b: DataSide | None) -> bool:
    return (a and a.content_hash) == (b and b.content_hash)


def _all(a: Iterable[str], b: Iterable[str]) -> list[str]:
    return sorted({*a, *b})


def _values(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[ValueDifference, ...]:
    flat_a, flat_b = flatten(a), flatten(b)
    pairs = [(key, flat_a.get(key), flat_b.get(key)) for key in _all(flat_a, flat_b)]
    return tuple(ValueDifference(key, one, other, one == other) for key, one, other in pairs)


def flatten(content: Mapping[str, Any]) -> dict[str, Any]:
    """Nested mappings as one, keys joined with dots; lists stay values, an empty mapping stays one too."""
    flat: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, Mapping) and value:
            flat.update({f"{key}.{inner}": deeper for inner, deeper in flatten(value).items()})
        else:
            flat[str(key)] = value
    return flat


def _config_of(record: Version) -> Mapping[str, Any]:
    if isinstance(record, ModelRecord):
        return record.config
    if isinstance(record, IndexRecord):
        return {"factory": record.factory, "metric": record.metric, **record.config}
    return {}


def _code_of(record: Version) -> Mapping[str, Any]:
    if isinstance(record, ModelRecord):
        return {"code_version": record.code_version, "seed": record.seed, "environment": record.environment}
    return {}


def _outcome_of(record: Version) -> Mapping[str, Any]:
    if isinstance(record, ModelRecord):
        names: tuple[str, ...] = ("status", "space_fingerprint", "artifact")
    elif isinstance(record, IndexRecord):
        names = ("n_items", "dimension", "space_fingerprint", "artifact")
    else:
        names = ()
    return {name: getattr(record, name) for name in names}


def _summary_of(record: Version) -> Mapping[str, Any]:
    """Without lists of rows, which have no other side to stand beside."""
    return _told(record.summary) if isinstance(record, ModelRecord) else {}


def _told(content: Mapping[str, Any]) -> dict[str, Any]:
    told = {key: _told(value) if isinstance(value, Mapping) else value for key, value in content.items()}
    return {key: value for key, value in told.items() if not (isinstance(value, list) and _holds_rows(value))}


def _holds_rows(values: Iterable[Any]) -> bool:
    return any(isinstance(value, Mapping | list) for value in values)


def _parents(a: Iterable[_Said], b: Iterable[_Said]) -> tuple[ParentsDifference, ...]:
    sides = [_by_relation(side) for side in (a, b)]
    keys = sorted({*sides[0], *sides[1]})
    pairs = [(key, *(tuple(side.get(key, ())) for side in sides)) for key in keys]
    return tuple(
        ParentsDifference(relation, part or None, one, other, one == other) for (relation, part), one, other in pairs
    )


def _by_relation(said: Iterable[_Said]) -> dict[tuple[str, str], list[str]]:
    found: dict[tuple[str, str], list[str]] = {}
    for parent in said:
        found.setdefault((parent.relation, parent.part or ""), []).append(parent.ref)
    return found


def _parts_of(record: Version) -> Mapping[str, ModelPart | str]:
    if isinstance(record, ModelRecord):
        return {part.name: part for part in record.parts}
    if isinstance(record, ReleaseRecord):
        return dict(record.parts.named())
    return {}


def _parts(a: Mapping[str, ModelPart | str], b: Mapping[str, ModelPart | str]) -> tuple[PartDifference, ...]:
    pairs = [(name, a.get(name), b.get(name)) for name in _all(a, b)]
    return tuple(PartDifference(name, one, other, _content(one) == _content(other)) for name, one, other in pairs)


def _content(part: ModelPart | str | None) -> str | None:
    """What a part is, wherever it came from."""
    return part.fingerprint if isinstance(part, ModelPart) else part


_Key: TypeAlias = tuple[str, str]


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
        select(Evaluation.protocol, events.ref, Node.ref, Metric.slice, Metric.name, Metric.value)
        .join(Node, Node.id == Evaluation.id)
        .join(events, events.id == Evaluation.events_id)
        .join(Metric, Metric.evaluation_id == Evaluation.id)
        .where(Evaluation.subject_id == subject)
        .order_by(Evaluation.id)
    )
    found: dict[_Key, tuple[str, dict[_Key, float]]] = {}
    for protocol, seen, ref, slice_, name, value in session.execute(query):
        key = (seen, json.dumps(protocol, sort_keys=True))
        if key not in found or found[key][0] != ref:
            found[key] = (ref, {})
        found[key][1][slice_, name] = value
    return found
