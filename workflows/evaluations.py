"""Evaluations by full ranking: spokes, the hub alone and baselines, none of which may have seen the test events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from ..errors import HubspokeError, InvalidDataError, UsageError
from ..registry.evaluations import ITEMS_PART
from ..registry.kinds import ModelKind, Relation
from ..registry.records import MetricRecord, ModelRecord, Parent
from .models import prepare, ready_model
from .progress import stage_progress
from .results import Result
from .spokes import held_out, over_catalog, spoke_ref
from .user_values import store_user_values

if TYPE_CHECKING:
    from ..evaluation.comparison import ComparisonRow
    from ..evaluation.evaluate import Evaluation
    from ..evaluation.protocols import EvaluationSet, Protocol
    from ..spokes.recommender import Recommender
    from .datasets import Dataset
    from .workspace import Workspace

BASELINES = ("popularity", "item-cf")
ZERO_SHOT = "hub"


@dataclass(frozen=True)
class EvaluationResult(Result):
    """Metrics of one model: `metrics`, `intervals`, `protocol`, `n_users`, `n_targets` and what was measured on what.

    Attributes:
        domain: the category.
        model: what was measured, by exact version or baseline name.
        events: event snapshot it was measured on.
        evaluation: where it is recorded, None if it was not.
        report: means, 95 % intervals and counts, see `evaluation.evaluate.Evaluation.to_json`.
    """

    domain: str
    model: str
    events: str
    evaluation: str | None
    report: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """The report's keys at the top, beside what was measured on what."""
        named = super().to_dict()
        report: dict[str, Any] = named.pop("report")
        return {**named, **report}


@dataclass(frozen=True)
class CompareResult(Result):
    """Several models on the same users, each with its interval and its paired difference to the first or `baseline`."""

    domain: str
    events: str
    baseline: str
    protocol: Mapping[str, Any]
    n_users: int
    rows: Sequence[Mapping[str, Any]]
    results: Sequence[EvaluationResult]


@dataclass(frozen=True)
class _Subject:
    """A model to be measured: its name in results and, unless it is a baseline, its node and record."""

    name: str
    record: ModelRecord | None = None

    @property
    def split(self) -> Mapping[str, Any]:
        """What a spoke kept out of its training; empty for anything that was not trained on the domain's events."""
        found: Mapping[str, Any] = self.record.summary.get("split", {}) if self.record else {}
        return found


class Evaluations:
    """The noun `evaluate`."""

    def __init__(self, workspace: Workspace) -> None:
        self._ws = workspace

    def run(
        self,
        domain: str,
        model: str,
        protocol: str = "leave-one-out",
        k: tuple[int, ...] = (10, 20, 100),
        exclude_seen: bool = False,
        part: str = "test",
        test_from: datetime | None = None,
        test_until: datetime | None = None,
        events: str | None = None,
        record: bool = True,
    ) -> EvaluationResult:
        """Measure one model by full ranking over the domain's catalog.

        Args:
            domain: the category.
            model: a spoke (`garden:7`, `garden`), a hub (`hub`, `hub:4`: its zero-shot recommender) or a baseline
                (`popularity`, `item-cf`, trained on the protocol's training events).
            protocol: `leave-one-out` or `temporal`.
            k: cut-offs.
            exclude_seen: take the items of a user's history out of the ranking.
            part: `test`, or `validation` while choosing.
            test_from: start of the temporal test window.
            test_until: its end, not included.
            events: event snapshot; by default the newest.
            record: keep the result in the registry, with what each user got as its artifact.

        Raises:
            NotFoundError: no such domain, model or snapshot.
            UsageError: the protocol is not usable, or the model has seen the test events.
        """
        compared = self.compare(
            domain, [model], None, protocol, k, exclude_seen, part, test_from, test_until, events, record
        )
        return compared.results[0]

    def compare(
        self,
        domain: str,
        models: Sequence[str],
        baseline: str | None = None,
        protocol: str = "leave-one-out",
        k: tuple[int, ...] = (10, 20, 100),
        exclude_seen: bool = False,
        part: str = "test",
        test_from: datetime | None = None,
        test_until: datetime | None = None,
        events: str | None = None,
        record: bool = True,
    ) -> CompareResult:
        """Measure several models on the same users, with paired differences to the first or to `baseline`.

        Raises:
            NotFoundError: no such domain, model or snapshot.
            UsageError: nothing to compare, models trained for different protocols, or one that has seen the test.
        """
        from ..evaluation.comparison import compare
        from .datasets import load_dataset

        prepare(self._ws)
        if not models:
            raise UsageError("There is nothing to measure; name at least one model.")
        dataset = load_dataset(self._ws, domain, events=events)
        if dataset.event_snapshot is None:
            raise InvalidDataError(f"{domain} has no events to measure on; ingest some first.")
        subjects = [self._subject(domain, model) for model in models]
        settings = _protocol(
            name=protocol,
            part=part,
            exclude_seen=exclude_seen,
            ks=tuple(sorted({*k, 10})),
            test_from=test_from,
            test_until=test_until,
            refit=part == "test" and _refit(subjects),
        )
        for subject in subjects:
            _require_unseen(subject, dataset, settings)
        baseline = subjects[0].name if baseline is None else self._subject(domain, baseline).name
        if baseline not in {subject.name for subject in subjects}:
            raise UsageError(f"{baseline} is not among the models that are compared; name it there too.")
        measured = self._measure(subjects, dataset, settings)
        results = [self._result(subject, dataset, measured[subject.name], record=record) for subject in subjects]
        rows = compare(measured, baseline)
        return CompareResult(
            domain=domain,
            events=dataset.event_snapshot.ref,
            baseline=baseline,
            protocol=results[0].report["protocol"],
            n_users=results[0].report["n_users"],
            rows=[_row(row) for row in rows],
            results=results,
        )

    def _subject(self, domain: str, model: str) -> _Subject:
        if model in BASELINES:
            return _Subject(model)
        if model == ZERO_SHOT:
            model = self._ws.hub.ensure()
        node = self._ws.registry.resolve(model)
        if node.kind == "hub":
            return _Subject(node.ref, ready_model(self._ws, node.ref, ModelKind.HUB))
        record = ready_model(self._ws, spoke_ref(self._ws, model), ModelKind.SPOKE)
        if record.domain != domain:
            raise UsageError(f"{record.ref} is a spoke of {record.domain}, not of {domain}; name one like {domain}:1.")
        return _Subject(record.ref, record)

    def _measure(self, subjects: Sequence[_Subject], dataset: Dataset, protocol: Protocol) -> dict[str, Evaluation]:
        from ..evaluation.evaluate import evaluate
        from ..evaluation.protocols import evaluation_set

        users: EvaluationSet = evaluation_set(dataset.sequences, protocol)
        measured = {}
        for subject in subjects:
            recommender = recommender_of(self._ws, subject.name, dataset, protocol)
            progress = stage_progress(self._ws.progress, f"ranking for {subject.name}")
            measured[subject.name] = evaluate(recommender.score, users, progress=progress)
        return measured

    def _result(self, subject: _Subject, dataset: Dataset, evaluation: Evaluation, *, record: bool) -> EvaluationResult:
        report = evaluation.to_json()
        events = str(getattr(dataset.event_snapshot, "ref", ""))
        ref = None
        if record:
            items = dataset.item_snapshot.ref
            parents = [Parent(items, Relation.EVALUATED_ON, ITEMS_PART)]
            ref = self._ws.registry.add_evaluation(
                dataset.domain.name,
                subject.record.ref if subject.record else None,
                events,
                protocol=report["protocol"],
                n_users=report["n_users"],
                metrics=_metric_records(report),
                details={"model": subject.name, "n_targets": report["n_targets"]},
                parents=parents,
                artifact=store_user_values(self._ws.artifacts, evaluation.slices),
            ).ref
        return EvaluationResult(dataset.domain.name, subject.name, events, ref, report)


def recommender_of(ws: Workspace, model: str, dataset: Dataset, protocol: Protocol) -> Recommender:
    """A baseline fitted on the protocol's training events, a hub's launch floor, or a spoke, over a dataset's catalog.

    Args:
        ws: the workspace.
        model: baseline name, hub version or spoke version.
        dataset: catalog and events.
        protocol: the split that baselines are fitted for, and the serving policy.
    """
    if model in BASELINES:
        return _baseline(model, dataset, protocol)
    spoke, trunk = over_catalog(ws, ws.registry.get_model(model), dataset)
    vectors = spoke.embed_items(dataset.items["item_id"].to_list(), trunk)
    return spoke.recommender(model, vectors, exclude_seen=protocol.exclude_seen)


def _baseline(name: str, dataset: Dataset, protocol: Protocol) -> Recommender:
    from ..evaluation.protocols import training_mask
    from ..spokes.baselines import ItemToItem, Popularity

    seen = dataset.sequences.keep_events(training_mask(dataset.sequences, protocol))
    return Popularity(seen) if name == "popularity" else ItemToItem(seen.by_user())


def _protocol(**settings: Any) -> Protocol:
    from ..evaluation.protocols import Protocol

    try:
        return Protocol(**settings)
    except ValidationError as error:
        raise UsageError("; ".join(str(e["msg"]).removeprefix("Value error, ") for e in error.errors())) from error


def _refit(subjects: Sequence[_Subject]) -> bool:
    """Whether the spokes were refitted on validation events; the baselines are then fitted on the same events."""
    trained = [subject for subject in subjects if subject.split]
    refitted = {bool(subject.split.get("refit")) for subject in trained}
    if len(refitted) > 1:
        names = ", ".join(subject.name for subject in trained)
        raise UsageError(f"Of {names} some were trained with --refit and some without; compare those trained alike.")
    return refitted == {True}


def _require_unseen(subject: _Subject, dataset: Dataset, protocol: Protocol) -> None:
    """Refuse a spoke that was trained on what it is to be tested on.

    Raises:
        UsageError: it was.
    """
    if subject.record is None or not subject.split:
        return
    remedy = f"train one for this protocol with `hubspoke spoke train {dataset.domain.name} --split {protocol.name}`."
    if protocol.part == "validation" and subject.split.get("refit"):
        raise UsageError(f"{subject.name} was refitted on the validation events; measure it on test, or {remedy}")
    if protocol.name == "leave-one-out":
        if subject.record.summary.get("held_out") != held_out(dataset):
            raise UsageError(f"{subject.name} has seen events that leave-one-out tests it on; {remedy}")
        return
    end = subject.record.summary.get("training_end")
    start = protocol.test_from
    if end is None or start is None or end >= int(start.timestamp() * 1_000_000):
        raise UsageError(f"{subject.name} was trained on events after the test window begins; {remedy}")


def _metric_records(report: Mapping[str, Any]) -> list[MetricRecord]:
    found = []
    for slice_name, metrics in report["metrics"].items():
        for name, value in metrics.items():
            low, high = report["intervals"].get(slice_name, {}).get(name, (None, None))
            if not np.isfinite(value):
                raise HubspokeError(f"{name} on {slice_name} is not a number; train the model again with --force.")
            found.append(MetricRecord(slice_name, name, float(value), low, high))
    return found


def _row(row: ComparisonRow) -> dict[str, Any]:
    change = row.difference
    return {
        "model": row.system,
        "slice": row.slice,
        "metric": row.metric,
        "value": row.estimate.value,
        "low": row.estimate.low,
        "high": row.estimate.high,
        "difference": change.value if change else None,
        "difference_low": change.low if change else None,
        "difference_high": change.high if change else None,
        "clear": row.clear,
        "n_users": row.n_users,
    }
