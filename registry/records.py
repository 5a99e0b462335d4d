"""What callers get from the registry: small frozen records, JSON-ready, free of the database.

Everything is named by reference (`garden:7`); row ids stay inside.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from ..results import Record
from .references import experiment_ref

JsonObject = Mapping[str, Any]


class Parent(NamedTuple):
    """One parent of a new node: its reference, the relation, and which part came from it and why."""

    ref: str
    relation: str
    part: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class NodeRecord(Record):
    """One vertex of the lineage graph; `domain` is None for domains and for the hub."""

    ref: str
    kind: str
    domain: str | None
    label: str
    created_at: datetime


@dataclass(frozen=True)
class EdgeRecord(Record):
    """`child` came from `parent`, both references; `part` None means the whole."""

    parent: str
    child: str
    relation: str
    part: str | None
    reason: str | None

    @property
    def ref(self) -> str:
        """The edge in words: `hub:4 -> garden:7`."""
        return f"{self.parent} -> {self.child}"


@dataclass(frozen=True)
class DomainCounts(Record):
    """How many versions of each kind a domain has."""

    item_snapshots: int = 0
    event_snapshots: int = 0
    spokes: int = 0
    indexes: int = 0
    evaluations: int = 0
    releases: int = 0


@dataclass(frozen=True)
class DomainRecord(Record):
    """One product category, with its counts and the release that `live` points at."""

    ref: str
    name: str
    status: str
    description: str
    settings: JsonObject
    created_at: datetime
    counts: DomainCounts
    live: str | None


# Between the hash of content that was taken again, after other content, and how often it was.
AGAIN = "+"


def content_of(content_hash: str) -> str:
    """What a snapshot's hash says of its content alone, the same where it was taken again."""
    return content_hash.partition(AGAIN)[0]


@dataclass(frozen=True)
class SnapshotRecord(Record):
    """An immutable copy of a domain's items or events; `artifact` is a digest of the artifact store."""

    ref: str
    domain: str
    kind: str
    version: int
    content_hash: str
    rows: int
    artifact: str
    as_of: datetime | None
    details: JsonObject
    created_at: datetime

    @property
    def content(self) -> str:
        """SHA-256 of the content, the same where it was taken again."""
        return content_of(self.content_hash)


@dataclass(frozen=True)
class ModelPart(Record):
    """One named part of a model version, such as `adapter`."""

    name: str  # unique within the model
    fingerprint: str  # SHA-256 of what it is; equal parts have equal ones
    bytes: int | None = None  # size of its weights; None where they are not stored with the model
    parameters: int | None = None  # how many numbers it holds; None likewise
    source: str | None = None  # the model that it was inherited from unchanged, None for one of its own


@dataclass(frozen=True)
class ModelRecord(Record):
    """A hub, spoke or re-ranker version; `artifact`, `space_fingerprint`, `finished_at` are None until it is ready."""

    ref: str
    kind: str
    domain: str | None
    version: int
    status: str
    fingerprint: str
    space_fingerprint: str | None
    config: JsonObject
    summary: JsonObject
    code_version: str
    seed: int | None
    environment: JsonObject
    artifact: str | None
    created_at: datetime
    started_at: datetime
    finished_at: datetime | None
    error: str | None
    parts: tuple[ModelPart, ...] = ()

    @property
    def seconds(self) -> float | None:
        """What the training took, None while it goes on."""
        return None if self.finished_at is None else (self.finished_at - self.started_at).total_seconds()


@dataclass(frozen=True)
class IndexRecord(Record):
    """One vector index of the model `model` over the item snapshot `items`; `seconds` is what building it took."""

    ref: str
    domain: str
    version: int
    model: str
    items: str
    fingerprint: str
    space_fingerprint: str
    factory: str
    dimension: int
    metric: str
    n_items: int
    artifact: str
    config: JsonObject
    seconds: float | None
    created_at: datetime


@dataclass(frozen=True)
class MetricRecord(Record):
    """One number on one slice; `low` and `high` bound its confidence interval."""

    slice: str
    name: str
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class EvaluationRecord(Record):
    """Metrics of `subject` (None for a baseline, which `details` names) on `events` under `protocol`."""

    ref: str
    domain: str
    version: int
    subject: str | None
    events: str
    protocol: JsonObject
    n_users: int
    details: JsonObject
    metrics: tuple[MetricRecord, ...]
    created_at: datetime
    artifact: str | None = None  # the values per user, None where they were not kept
    items: str | None = None  # the catalog that was ranked, None where that was not recorded

    def metric(self, name: str, slice_: str = "all") -> MetricRecord | None:
        """The metric of that name on that slice, or None."""
        return next((m for m in self.metrics if m.name == name and m.slice == slice_), None)


@dataclass(frozen=True)
class RulesRecord(Record):
    """One version of a domain's merchandising rules."""

    ref: str
    domain: str
    version: int
    content: JsonObject
    created_at: datetime


@dataclass(frozen=True)
class GateRecord(Record):
    """What a version must have shown to be promoted in `domain`; no conditions: nothing."""

    domain: str
    conditions: tuple[JsonObject, ...]
    actor: str
    reason: str | None
    at: datetime


@dataclass(frozen=True)
class JudgementRecord(Record):
    """What somebody thinks of one item that `ref` recommended after a session (item ids, oldest first)."""

    domain: str
    ref: str
    session: tuple[str, ...]
    item: str
    good: bool
    actor: str
    at: datetime


@dataclass(frozen=True)
class ExperimentPlan:
    """What of an experiment is decided before it starts.

    `share` of the shoppers see the candidate; `metric` decides, at about `planned` shoppers, by what each of them did
    within `window_seconds` of the first list.
    """

    share: float
    planned: int
    window_seconds: float
    metric: str


@dataclass(frozen=True)
class ExperimentRecord(Record):
    """Two releases shown to parts of a domain's shoppers, by an `ExperimentPlan`; it runs while `stopped_at` is None.

    Which shoppers see the candidate follows from `salt`.
    """

    domain: str
    version: int
    control: str
    candidate: str
    share: float
    salt: str
    planned: int
    window_seconds: float
    metric: str
    actor: str
    reason: str | None
    started_at: datetime
    stopped_at: datetime | None = None
    stopped_by: str | None = None
    stop_reason: str | None = None

    @property
    def ref(self) -> str:
        """How it is called: `experiment:garden/1`."""
        return experiment_ref(self.domain, self.version)


# The parts of a release, in the order in which they stand upon each other.
PARTS = ("hub", "spoke", "index", "reranker", "rules")


@dataclass(frozen=True)
class ReleaseParts:
    """What a release is made of, by reference."""

    hub: str  # hub version
    index: str  # index version, filled by the spoke, or by the hub where there is no spoke
    spoke: str | None = None  # spoke version; None where the hub alone serves
    reranker: str | None = None  # re-ranker version, if any
    rules: str | None = None  # version of the merchandising rules, if any

    def named(self) -> dict[str, str]:
        """Name of each part that is there to its reference."""
        return {name: ref for name in PARTS if (ref := getattr(self, name)) is not None}


@dataclass(frozen=True)
class ReleaseRecord(Record):
    """The set that serves a domain, each part by exact reference; without a spoke the hub alone serves."""

    ref: str
    domain: str
    version: int
    hub: str
    spoke: str | None
    index: str
    reranker: str | None
    rules: str | None
    created_at: datetime

    @property
    def parts(self) -> ReleaseParts:
        """The set alone."""
        return ReleaseParts(**{name: getattr(self, name) for name in PARTS})


@dataclass(frozen=True)
class AliasRecord(Record):
    """Where an alias points now."""

    scope: str
    alias: str
    target: str

    @property
    def ref(self) -> str:
        """The alias as a reference: `garden@live`."""
        return f"{self.scope}@{self.alias}"


@dataclass(frozen=True)
class AliasChange(Record):
    """One move of an alias, from what to what (references), by whom and why."""

    scope: str
    alias: str
    action: str
    from_ref: str | None
    to_ref: str
    actor: str
    reason: str | None
    at: datetime
    overridden: str | None = None

    @property
    def ref(self) -> str:
        """The alias as a reference: `garden@live`."""
        return f"{self.scope}@{self.alias}"

    @property
    def changed(self) -> bool:
        """False where the alias pointed there already; such a move leaves no trace in the history."""
        return self.from_ref != self.to_ref


@dataclass(frozen=True)
class ArtifactRecord(Record):
    """One directory of the artifact store; `files` maps relative paths to SHA-256."""

    digest: str
    kind: str
    bytes: int
    files: Mapping[str, str]
    created_at: datetime

    @property
    def ref(self) -> str:
        """The digest, which is how an artifact is named."""
        return self.digest


AnyRecord = DomainRecord | SnapshotRecord | ModelRecord | IndexRecord | EvaluationRecord | RulesRecord | ReleaseRecord
