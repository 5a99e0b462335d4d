"""Lineage as OpenLineage run events: every ingest, training, index build, evaluation and release is a run of a job.

Events are plain dictionaries in the form of the specification 2-0-2 (https://openlineage.io/spec); what the registry
knows gives the same events every time.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ..errors import UsageError
from ..files import file_faults
from ..registry.records import (
    EvaluationRecord,
    IndexRecord,
    ModelRecord,
    Parent,
    ReleaseRecord,
    RulesRecord,
    SnapshotRecord,
)
from ..results import Record
from ..version import __version__

if TYPE_CHECKING:
    from ..registry.database import Database
    from ..registry.store import Registry
    from .context import Context

NAMESPACE = "hubspoke"
# A package URL: the one URI that says which program and version wrote an event.
PRODUCER = f"pkg:generic/hubspoke@{__version__}"
SPEC = "https://openlineage.io/spec"
CORE = f"{SPEC}/2-0-2/OpenLineage.json#/$defs"
# Facet to the published schema that it follows; ours have a name of their own and the form that all facets share.
FACETS = {
    "version": f"{SPEC}/facets/1-0-1/DatasetVersionDatasetFacet.json#/$defs/DatasetVersionDatasetFacet",
    "dataSource": f"{SPEC}/facets/1-0-1/DatasourceDatasetFacet.json#/$defs/DatasourceDatasetFacet",
    "datasetType": f"{SPEC}/facets/1-0-1/DatasetTypeDatasetFacet.json#/$defs/DatasetTypeDatasetFacet",
    "outputStatistics": (
        f"{SPEC}/facets/1-0-2/OutputStatisticsOutputDatasetFacet.json#/$defs/OutputStatisticsOutputDatasetFacet"
    ),
    "processing_engine": f"{SPEC}/facets/1-1-1/ProcessingEngineRunFacet.json#/$defs/ProcessingEngineRunFacet",
    "errorMessage": f"{SPEC}/facets/1-0-1/ErrorMessageRunFacet.json#/$defs/ErrorMessageRunFacet",
    "jobType": f"{SPEC}/facets/2-0-4/JobTypeJobFacet.json#/$defs/JobTypeJobFacet",
    "hubspoke_relation": f"{CORE}/InputDatasetFacet",
    "hubspoke_evaluation": f"{CORE}/OutputDatasetFacet",
}
# Names of runs are drawn from this one, so that a run has the same id in every export.
_RUNS = uuid.UUID("5a1c1f7e-6a53-5d0e-9d0b-3a8f3a1b7c42")
# From so many domains on, reading all rows once is quicker than asking for each domain's.
_FEW_DOMAINS = 16
_EDGES = """
    SELECT children.ref, parents.ref, edges.relation, edges.part, edges.reason FROM edges
    JOIN nodes AS parents ON parents.id = edges.parent_id JOIN nodes AS children ON children.id = edges.child_id
"""

_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False)

Event = dict[str, Any]
RunRecord = SnapshotRecord | ModelRecord | IndexRecord | EvaluationRecord | RulesRecord | ReleaseRecord
Parents = Mapping[str, Sequence[Parent]]


@dataclass(frozen=True)
class OpenLineageExport(Record):
    """Run events that were exported.

    Attributes:
        output: the file that holds them; None where they are given here.
        n_events: how many there are.
        events: OpenLineage run events, oldest first; empty where a file holds them.
    """

    output: Path | None
    n_events: int
    events: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True)
class Made:
    """What a run made, and how: one node of the registry seen as the output of a job.

    Attributes:
        ref: the node.
        created_at: when its row was written, which with `ref` names the run.
        job: name of the job, such as `garden.spoke.train`.
        job_type: what kind of job that is, such as `TRAIN`.
        data_type: what kind of data set the node is, such as `MODEL`.
        began: when the run began.
        ended: when it ended; None while it goes on.
        version: hash of the content; None where there is none.
        rows: rows written; None where nothing is counted.
        artifact: digest of what was stored; None where nothing was.
        code_version: the program's version, where it was kept.
        error: what a failed run said; None where it did not fail.
        evaluation: what was measured, for an evaluation.
    """

    ref: str
    created_at: datetime
    job: str
    job_type: str
    data_type: str
    began: datetime
    ended: datetime | None
    version: str | None = None
    rows: int | None = None
    artifact: str | None = None
    code_version: str | None = None
    error: str | None = None
    evaluation: Mapping[str, Any] | None = None

    @property
    def run_id(self) -> str:
        """UUID of the run, the same in every export."""
        return str(uuid.uuid5(_RUNS, f"{self.ref} {self.created_at.isoformat()}"))


# ---- what is exported ----


def run_events(context: Context, refs: Sequence[str] = ()) -> Iterator[Event]:
    """The run events of everything upstream of `refs`, those included, or of the whole registry; oldest first.

    Every run has a START; one that ended well a COMPLETE with what it made, one that failed a FAIL.

    Raises:
        UsageError: a reference is malformed.
        NotFoundError: a reference points at nothing.
    """
    registry = context.registry
    records, parents = _upstream(registry, refs) if refs else _everything(registry)
    made = sorted((_made(record) for record in records), key=lambda one: (one.began, one.ref))
    renderer = _Renderer(dataset_namespace(registry.database), parents, _versions(made), _sizes(registry))
    moments = [(one.began, place, one, False) for place, one in enumerate(made)]
    moments += [(one.ended, place, one, True) for place, one in enumerate(made) if one.ended is not None]
    moments.sort(key=lambda moment: (moment[0], moment[1], moment[3]))
    return (renderer.end(one) if ends else renderer.start(one) for _, _, one, ends in moments)


def export(context: Context, refs: Sequence[str] = (), output: Path | None = None) -> OpenLineageExport:
    """The run events, see `run_events`; written to `output`, whole or not at all, where that is given.

    Raises:
        UsageError: a reference is malformed, or `output` is a folder or lies in none.
        NotFoundError: a reference points at nothing.
        HubspokeError: the file cannot be written.
    """
    events = run_events(context, refs)
    if output is None:
        given = tuple(events)
        return OpenLineageExport(None, len(given), given)
    return OpenLineageExport(output, write_lines(events, output))


def write_lines(events: Iterable[Event], path: Path) -> int:
    """Write events to a file, one a line, and say how many; a reader sees the file whole or as it was before.

    Raises:
        UsageError: the path is a folder, or lies in none.
        HubspokeError: the file cannot be written.
    """
    if path.is_dir():
        raise UsageError(f"{path} is a folder; name a file for the events.")
    if not path.parent.is_dir():
        raise UsageError(f"There is no folder {path.parent} for the events; make it, or name another file.")
    staged = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with file_faults(path):
            count = _write(events, staged)
            staged.replace(path)
    finally:
        staged.unlink(missing_ok=True)
    return count


def line(event: Event) -> str:
    """An event as one line of JSON."""
    return _JSON.encode(event)


def dataset_namespace(database: Database) -> str:
    """Where the nodes live: the registry's URL without user, password and parameters."""
    if database.path is not None:
        return f"sqlite:///{database.path}"
    url = database.url
    host = url.host or str(url.query.get("host", "localhost"))
    port = url.port or url.query.get("port", 5432)
    shown = f"[{host}]" if ":" in host else quote(host, safe="")
    return f"postgresql://{shown}:{port}/{url.database or ''}"


def _write(events: Iterable[Event], path: Path) -> int:
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for event in events:
            file.write(f"{line(event)}\n")
            count += 1
        file.flush()
        os.fsync(file.fileno())
    return count


# ---- from the registry ----


def _everything(registry: Registry) -> tuple[list[RunRecord], Parents]:
    from ..registry.query import run_sql

    records = _records(registry, None)  # before the edges, so that those of every record are there
    return records, _by_child((child, Parent(*parent)) for child, *parent in run_sql(registry, _EDGES).rows)


def _upstream(registry: Registry, refs: Sequence[str]) -> tuple[list[RunRecord], Parents]:
    lineages = [registry.lineage.upstream(ref) for ref in refs]
    nodes = {reached.ref: reached.node for lineage in lineages for reached in lineage.nodes}
    domains = {node.domain for node in nodes.values() if node.domain is not None}
    found = _records(registry, None if len(domains) > _FEW_DOMAINS else sorted(domains))
    edges = {edge for lineage in lineages for edge in lineage.edges}
    said = ((edge.child, Parent(edge.parent, edge.relation, edge.part or "", edge.reason)) for edge in edges)
    return [record for record in found if record.ref in nodes], _by_child(said)


def _records(registry: Registry, domains: Sequence[str] | None) -> list[RunRecord]:
    """The rows of some domains and of the hub, or all rows: a few queries, however many rows there are."""
    scopes: Sequence[str | None] = (None,) if domains is None else domains
    found: list[RunRecord] = [] if domains is None else [*registry.models.list("hub")]
    for domain in scopes:
        found += registry.snapshots.list(domain)
        found += registry.models.list(domain=domain)
        found += registry.indexes.list(domain)
        found += registry.evaluations.list(domain)
        found += registry.rules.list(domain)
        found += registry.releases.list(domain)
    return found


def _by_child(edges: Iterable[tuple[str, Parent]]) -> Parents:
    found: dict[str, list[Parent]] = {}
    for child, parent in edges:
        found.setdefault(child, []).append(parent)
    for parents in found.values():
        parents.sort()  # by reference, relation and part, which no two share
    return found


def _sizes(registry: Registry) -> dict[str, int]:
    from ..registry.query import run_sql

    return dict(run_sql(registry, "SELECT digest, bytes FROM artifacts").rows)


def _versions(made: Iterable[Made]) -> dict[str, str]:
    return {one.ref: one.version for one in made if one.version is not None}


# ---- one row as a run ----


def _made(record: RunRecord) -> Made:
    if isinstance(record, ModelRecord):
        return _made_model(record)
    if isinstance(record, SnapshotRecord):
        return _made_snapshot(record)
    if isinstance(record, IndexRecord):
        return _made_index(record)
    if isinstance(record, EvaluationRecord):
        return _made_evaluation(record)
    # Rules and releases are rows alone: there is nothing but the moment at which they were written.
    kind, verb = ("rules", "set") if isinstance(record, RulesRecord) else ("release", "make")
    return Made(
        record.ref,
        record.created_at,
        f"{record.domain}.{kind}.{verb}",
        verb.upper(),
        kind.upper(),
        record.created_at,
        record.created_at,
    )


def _made_model(record: ModelRecord) -> Made:
    return Made(
        record.ref,
        record.created_at,
        f"{record.domain}.{record.kind}.train" if record.domain else f"{record.kind}.train",
        "TRAIN",
        "MODEL",
        record.started_at,
        record.finished_at,
        version=record.artifact or record.fingerprint,
        artifact=record.artifact,
        code_version=record.code_version or None,
        error=(record.error or "The training failed.") if record.status == "failed" else None,
    )


def _made_snapshot(record: SnapshotRecord) -> Made:
    return Made(
        record.ref,
        record.created_at,
        f"{record.domain}.{record.kind}.ingest",
        "INGEST",
        "FILE",
        record.created_at,
        record.created_at,
        version=record.content_hash,
        rows=record.rows,
        artifact=record.artifact,
    )


def _made_index(record: IndexRecord) -> Made:
    return Made(
        record.ref,
        record.created_at,
        f"{record.domain}.index.build",
        "BUILD",
        "INDEX",
        record.created_at - timedelta(seconds=record.seconds or 0.0),
        record.created_at,
        version=record.artifact,
        rows=record.n_items,
        artifact=record.artifact,
    )


def _made_evaluation(record: EvaluationRecord) -> Made:
    metrics = [metric.to_dict() for metric in record.metrics]
    said = {"protocol": record.protocol, "nUsers": record.n_users, "metrics": metrics}
    return Made(
        record.ref,
        record.created_at,
        f"{record.domain}.evaluate",
        "EVALUATE",
        "EVALUATION",
        record.created_at,
        record.created_at,
        artifact=record.artifact,
        evaluation=_without_nulls(said),
    )


def _without_nulls(value: Any) -> Any:
    """What is unknown is left out, as OpenLineage's own clients do."""
    if isinstance(value, Mapping):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list | tuple):
        return [_without_nulls(inner) for inner in value if inner is not None]
    return value


# ---- a run as events ----


@dataclass(frozen=True)
class _Renderer:
    """Runs as events.

    Attributes:
        namespace: where the nodes live.
        parents: the edges to the parents of each node, sorted.
        versions: hash of each node's content.
        sizes: bytes of each artifact.
        inputs: parents that were rendered before, by what was said of them.
    """

    namespace: str
    parents: Parents
    versions: Mapping[str, str]
    sizes: Mapping[str, int]
    inputs: dict[tuple[Parent, ...], Event] = field(default_factory=dict)

    def start(self, made: Made) -> Event:
        """A run begins: who and when; what went in and came out is told at its end."""
        return self._event("START", made.began, made, {}, [], [])

    def end(self, made: Made) -> Event:
        """A run ends: well with what it made, or badly with what it said."""
        inputs = self._inputs(made.ref)
        if made.error is None:
            return self._event("COMPLETE", made.ended or made.began, made, {}, inputs, [self._output(made)])
        error = {"errorMessage": _facet("errorMessage", message=made.error, programmingLanguage="PYTHON")}
        return self._event("FAIL", made.ended or made.began, made, error, inputs, [])

    def _event(
        self, kind: str, at: datetime, made: Made, facets: Event, inputs: list[Event], outputs: list[Event]
    ) -> Event:
        job_type = _facet("jobType", processingType="BATCH", integration="HUBSPOKE", jobType=made.job_type)
        return {
            "eventType": kind,
            "eventTime": at.isoformat(),
            "run": {"runId": made.run_id, "facets": {**_engine(made), **facets}},
            "job": {"namespace": NAMESPACE, "name": made.job, "facets": {"jobType": job_type}},
            "inputs": inputs,
            "outputs": outputs,
            "producer": PRODUCER,
            "schemaURL": f"{CORE}/RunEvent",
        }

    def _inputs(self, ref: str) -> list[Event]:
        edges = self.parents.get(ref, ())
        return [self._input(tuple(of_parent)) for _, of_parent in groupby(edges, key=attrgetter("ref"))]

    def _input(self, edges: tuple[Parent, ...]) -> Event:
        """One parent as an input; many runs share it, with the same words."""
        known = self.inputs.get(edges)
        if known is None:
            relations = [{"relation": e.relation, "part": e.part or None, "reason": e.reason} for e in edges]
            facet = _facet("hubspoke_relation", relations=_without_nulls(relations))
            known = self.inputs[edges] = {
                "namespace": self.namespace,
                "name": edges[0].ref,
                "facets": self._version(edges[0].ref),
                "inputFacets": {"hubspoke_relation": facet},
            }
        return known

    def _output(self, made: Made) -> Event:
        facets = {
            **self._version(made.ref),
            "dataSource": _facet("dataSource", name=self.namespace, uri=self.namespace),
            "datasetType": _facet("datasetType", datasetType=made.data_type),
        }
        return {
            "namespace": self.namespace,
            "name": made.ref,
            "facets": facets,
            "outputFacets": {**self._statistics(made), **_evaluation(made)},
        }

    def _version(self, ref: str) -> Event:
        version = self.versions.get(ref)
        return {} if version is None else {"version": _facet("version", datasetVersion=version)}

    def _statistics(self, made: Made) -> Event:
        size = self.sizes.get(made.artifact) if made.artifact else None
        if size is None and made.rows is None:
            return {}
        return {"outputStatistics": _facet("outputStatistics", rowCount=made.rows, size=size)}


def _engine(made: Made) -> Event:
    if made.code_version is None:
        return {}
    version = {"version": made.code_version, "openlineageAdapterVersion": __version__}
    return {"processing_engine": _facet("processing_engine", name="hubspoke", **version)}


def _evaluation(made: Made) -> Event:
    return {"hubspoke_evaluation": _facet("hubspoke_evaluation", **made.evaluation)} if made.evaluation else {}


def _facet(facet: str, /, **values: Any) -> Event:
    known = {key: value for key, value in values.items() if value is not None}
    return {"_producer": PRODUCER, "_schemaURL": FACETS[facet], **known}
