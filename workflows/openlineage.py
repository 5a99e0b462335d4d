"""Lineage as OpenLineage run events: every ingest, training, index build, evaluation and release is a run of a job.

Events are those of the published client (the extra `[openlineage]`), so that importing this module needs it; what the
registry knows gives the same events every time.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any
from urllib.parse import quote

from openlineage.client import event_v2, facet_v2
from openlineage.client.generated import base
from openlineage.client.serde import Serde

from ..errors import UsageError
from ..files import atomic_write, file_faults
from ..registry.database import Database, shown
from ..registry.query import run_sql
from ..registry.records import (
    EvaluationRecord,
    IndexRecord,
    ModelRecord,
    Parent,
    ReleaseRecord,
    RulesRecord,
    SnapshotRecord,
)
from ..registry.sqlite import sqlite_url
from ..registry.store import Registry
from ..results import Record
from ..version import __version__
from .context import Context

NAMESPACE = "hubspoke"
# A package URL: the one URI that says which program and version wrote an event.
PRODUCER = f"pkg:generic/hubspoke@{__version__}"
# Names of runs are drawn from this one, so that a run has the same id in every export.
_RUNS = uuid.UUID("5a1c1f7e-6a53-5d0e-9d0b-3a8f3a1b7c42")
# From so many domains on, reading all rows once is quicker than asking for each domain's.
_FEW_DOMAINS = 16
_EDGES = """
    SELECT children.ref, parents.ref, edges.relation, edges.part, edges.reason FROM edges
    JOIN nodes AS parents ON parents.id = edges.parent_id JOIN nodes AS children ON children.id = edges.child_id
"""

RunRecord = SnapshotRecord | ModelRecord | IndexRecord | EvaluationRecord | RulesRecord | ReleaseRecord


@dataclass(frozen=True)
class OpenLineageExport(Record):
    """Run events that were exported, oldest first: in the file `output`, or here as `events` where that is None."""

    output: Path | None
    n_events: int
    events: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a run made, and how: one node of the registry seen as the output of a job."""

    ref: str  # the node; with `created_at`, when its row was written, it names the run
    created_at: datetime
    job: str  # such as `garden.spoke.train`
    job_type: str
    data_type: str
    began: datetime
    ended: datetime | None  # None while it goes on
    version: str | None = None  # hash of the content
    rows: int | None = None
    artifact: str | None = None  # digest of what was stored
    code_version: str | None = None
    error: str | None = None  # what a failed run said
    measured: Mapping[str, Any] | None = None  # by an evaluation


def run_events(context: Context, refs: Sequence[str] = ()) -> Iterator[dict[str, Any]]:
    """The run events of everything upstream of `refs`, those included, or of the whole registry; oldest first.

    Every run has a START; one that ended well a COMPLETE with what it made, one that failed a FAIL.
    """
    registry = context.registry
    if refs:
        lineages = [registry.lineage.upstream(ref) for ref in refs]
        nodes = {reached.ref: reached.node for lineage in lineages for reached in lineage.nodes}
        domains = {node.domain for node in nodes.values() if node.domain is not None}
        known = _records(registry, None if len(domains) > _FEW_DOMAINS else sorted(domains))
        records = [record for record in known if record.ref in nodes]
        found = {edge for lineage in lineages for edge in lineage.edges}
        edges = [(edge.child, Parent(edge.parent, edge.relation, edge.part or "", edge.reason)) for edge in found]
    else:
        records = _records(registry, None)  # before the edges, so that those of every record are there
        edges = [(child, Parent(*parent)) for child, *parent in run_sql(registry, _EDGES).rows]
    parents: dict[str, list[Parent]] = defaultdict(list)
    for child, parent in sorted(edges):  # by reference, relation, part: none is twice
        parents[child].append(parent)
    runs = sorted((_run(record) for record in records), key=lambda run: (run.began, run.ref))
    events = _Events(registry, parents, {run.ref: run.version for run in runs})
    moments = [(run.began, place, False, run) for place, run in enumerate(runs)]
    moments += [(run.ended, place, True, run) for place, run in enumerate(runs) if run.ended is not None]
    moments.sort(key=lambda moment: moment[:3])
    return (Serde.to_dict(events.event(run, ends)) for _, _, ends, run in moments)


def export(context: Context, refs: Sequence[str] = (), output: Path | None = None) -> OpenLineageExport:
    """The run events, see `run_events`; written to `output`, one a line, whole or not at all, where that is given."""
    if output is not None:
        return OpenLineageExport(output, write_lines(run_events(context, refs), output))
    given = tuple(run_events(context, refs))
    return OpenLineageExport(None, len(given), given)


def write_lines(events: Iterable[Mapping[str, Any]], path: Path) -> int:
    """Write events to a file, one a line, and say how many."""
    if path.is_dir():
        raise UsageError(f"{path} is a folder; name a file for the events.")
    if not path.parent.is_dir():
        raise UsageError(f"There is no folder {path.parent} for the events; make it, or name another file.")
    count = 0
    with file_faults(path), atomic_write(path) as file:
        for event in events:
            file.write(f"{line(event)}\n")
            count += 1
    return count


def line(event: Mapping[str, Any]) -> str:
    """An event as one line of JSON."""
    return Serde.to_json(event, ensure_ascii=False)


def dataset_namespace(database: Database) -> str:
    """Where the nodes live: the registry's URL without user, password and parameters."""
    if database.path is not None:
        return shown(sqlite_url(database.path))
    url = database.url
    host = url.host or str(url.query.get("host", "localhost"))
    port = url.port or url.query.get("port", 5432)
    place = f"[{host}]" if ":" in host else quote(host, safe="")
    return f"postgresql://{place}:{port}/{url.database or ''}"


# ---- from the registry ----


def _records(registry: Registry, domains: Sequence[str] | None) -> list[RunRecord]:
    """The rows of some domains and of the hub, or all rows: a few queries, however many rows there are."""
    found: list[RunRecord] = [] if domains is None else [*registry.models.list("hub")]
    for domain in (None,) if domains is None else domains:
        found += registry.models.list(domain=domain)
        for store in (registry.snapshots, registry.indexes, registry.evaluations, registry.rules, registry.releases):
            found += store.list(domain)
    return found


def _run(record: RunRecord) -> Run:
    """One row as a run."""

    def run(job: str, job_type: str, data_type: str, **more: Any) -> Run:
        scope = f"{record.domain}." if record.domain else ""
        moment = record.created_at  # most rows are written at once
        about = {"ref": record.ref, "created_at": moment, "began": moment, "ended": moment, **more}
        return Run(job=f"{scope}{job}", job_type=job_type, data_type=data_type, **about)

    match record:
        case ModelRecord():
            return run(
                *(f"{record.kind}.train", "TRAIN", "MODEL"),
                began=record.started_at,
                ended=record.finished_at,
                version=record.artifact or record.fingerprint,
                artifact=record.artifact,
                code_version=record.code_version or None,
                error=(record.error or "The training failed.") if record.status == "failed" else None,
            )
        case SnapshotRecord():
            content = {"version": record.content_hash, "rows": record.rows, "artifact": record.artifact}
            return run(f"{record.kind}.ingest", "INGEST", "FILE", **content)
        case IndexRecord():
            began = record.created_at - timedelta(seconds=record.seconds or 0.0)
            content = {"version": record.artifact, "rows": record.n_items, "artifact": record.artifact}
            return run("index.build", "BUILD", "INDEX", began=began, **content)
        case EvaluationRecord():
            metrics = [metric.to_dict() for metric in record.metrics]
            measured = {"protocol": record.protocol, "nUsers": record.n_users, "metrics": metrics}
            return run("evaluate", "EVALUATE", "EVALUATION", artifact=record.artifact, measured=measured)
        case RulesRecord():
            return run("rules.set", "SET", "RULES")
        case _:
            return run("release.make", "MAKE", "RELEASE")


# ---- a run as events ----


class _Events:
    """Runs as the client's events; who was rendered as an input once is the same in every run."""

    def __init__(
        self, registry: Registry, parents: Mapping[str, Sequence[Parent]], versions: Mapping[str, str | None]
    ) -> None:
        self._namespace = dataset_namespace(registry.database)
        self._parents = parents
        self._versions = versions
        self._sizes = dict(run_sql(registry, "SELECT digest, bytes FROM artifacts").rows)
        self._inputs: dict[tuple[Parent, ...], event_v2.InputDataset] = {}

    def event(self, run: Run, ends: bool) -> event_v2.RunEvent:
        """A run begins (who and when), or it ends: well with what it made, or badly with its error."""
        state, facets, data = event_v2.RunState.START, dict[str, Any](), dict[str, Any]()
        if run.code_version is not None:
            facets["processing_engine"] = facet_v2.processing_engine_run.ProcessingEngineRunFacet(
                name="hubspoke", version=run.code_version, openlineageAdapterVersion=__version__, producer=PRODUCER
            )
        if ends:
            edges = self._parents.get(run.ref, ())
            data["inputs"] = [self._input(tuple(own)) for _, own in groupby(edges, key=attrgetter("ref"))]
            data["outputs"] = [self._output(run)] if run.error is None else []
            state = event_v2.RunState.COMPLETE if run.error is None else event_v2.RunState.FAIL
        if ends and run.error is not None:
            facets["errorMessage"] = facet_v2.error_message_run.ErrorMessageRunFacet(
                message=run.error, programmingLanguage="PYTHON", producer=PRODUCER
            )
        job_type = facet_v2.job_type_job.JobTypeJobFacet(
            processingType="BATCH", integration="HUBSPOKE", jobType=run.job_type, producer=PRODUCER
        )
        run_id = str(uuid.uuid5(_RUNS, f"{run.ref} {run.created_at.isoformat()}"))
        return event_v2.RunEvent(
            eventType=state,
            eventTime=((run.ended if ends else None) or run.began).isoformat(),
            run=event_v2.Run(runId=run_id, facets=facets),
            job=event_v2.Job(namespace=NAMESPACE, name=run.job, facets={"jobType": job_type}),
            producer=PRODUCER,
            **data,
        )

    def _input(self, edges: tuple[Parent, ...]) -> event_v2.InputDataset:
        """One parent as an input, with every relation to it."""
        if edges not in self._inputs:
            relations = [{"relation": e.relation, "part": e.part or None, "reason": e.reason} for e in edges]
            facet: Any = base.InputDatasetFacet(producer=PRODUCER).with_additional_properties(relations=relations)
            self._inputs[edges] = event_v2.InputDataset(
                namespace=self._namespace,
                name=edges[0].ref,
                facets=self._version(edges[0].ref),
                inputFacets={"hubspoke_relation": facet},
            )
        return self._inputs[edges]

    def _output(self, run: Run) -> event_v2.OutputDataset:
        source = facet_v2.datasource_dataset.DatasourceDatasetFacet(
            name=self._namespace, uri=self._namespace, producer=PRODUCER
        )
        kind = facet_v2.dataset_type_dataset.DatasetTypeDatasetFacet(datasetType=run.data_type, producer=PRODUCER)
        made: dict[str, Any] = {}
        size = self._sizes.get(run.artifact)
        if size is not None or run.rows is not None:
            made["outputStatistics"] = facet_v2.output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(
                rowCount=run.rows, size=size, producer=PRODUCER
            )
        if run.measured:
            facet = base.OutputDatasetFacet(producer=PRODUCER)
            made["hubspoke_evaluation"] = facet.with_additional_properties(**run.measured)
        return event_v2.OutputDataset(
            namespace=self._namespace,
            name=run.ref,
            facets={**self._version(run.ref), "dataSource": source, "datasetType": kind},
            outputFacets=made,
        )

    def _version(self, ref: str) -> dict[str, Any]:
        version = self._versions.get(ref)
        if version is None:
            return {}
        facet = facet_v2.dataset_version_dataset.DatasetVersionDatasetFacet(datasetVersion=version, producer=PRODUCER)
        return {"version": facet}
