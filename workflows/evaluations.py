"""Evaluations by full ranking: spokes, the hub alone and baselines, none of which may have seen the test events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import isnan
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from ..arrays import FloatArray
from ..errors import HubspokeError, InvalidDataError, NotFoundError, UsageError
from ..progress import stage_progress
from ..registry.kinds import ModelKind, Relation
from ..registry.records import MetricRecord, ModelRecord, NodeRecord, Parent
from ..registry.stores.evaluations import ITEMS_PART
from ..results import Record
from ..spokes.training.splits import held_out
from .baselines import BASELINES
from .hubs import Hubs
from .loading import over_catalog, spoke_ref
from .models import prepare, ready_model
from .user_values import store_user_values

if TYPE_CHECKING:
    from ..evaluation.comparison import ComparisonRow
    from ..evaluation.evaluate import Evaluation
    from ..evaluation.protocols import EvaluationSet, Protocol
    from ..spokes.recommender import Recommender
    from .context import Context
    from .datasets import Dataset

ZERO_SHOT = "hub"


@dataclass(frozen=True)
class EvaluationResult(Record):
    """Metrics of one model: `metrics`, `intervals`, `protocol`, `n_users`, `n_targets` and what was measured on what.

    Attributes:
        domain: the category.
        model: what was measured, by exact version or baseline name.
        events: event snapshot it was measured on.
        evaluation: where it is recorded, None if it was not.
        note: what a baseline has to say of itself, such as what it was chosen from.
        report: means, 95 % intervals and counts, see `evaluation.evaluate.Evaluation.to_json`.
    """

    domain: str
    model: str
    events: str
    evaluation: str | None
    note: str | None
    report: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """The report's keys at the top, beside what was measured on what."""
        named = super().to_dict()
        report: dict[str, Any] = named.pop("report")
        return {**named, **report}


@dataclass(frozen=True)
class CompareResult(Record):
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


@dataclass(frozen=True)
class _Measured:
    """What a system reached, what it says of itself, and whose content its lists' diversity was measured by."""

    evaluation: Evaluation
    note: str | None
    content: str | None

    @property
    def details(self) -> dict[str, str]:
        """What the registry keeps of it beside the numbers."""
        return {name: kept for name, kept in (("note", self.note), ("content", self.content)) if kept}


class Evaluations:
    """The noun `evaluate`."""

    def __init__(self, context: Context) -> None:
        self._context = context

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
            model: a spoke (`garden:7`, `garden`), a hub (`hub`, `hub:4`: its zero-shot recommender) or a baseline of
                `BASELINES`, fitted on the protocol's training events.
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

        prepare(self._context)
        if not models:
            raise UsageError("There is nothing to measure; name at least one model.")
        dataset = load_dataset(self._context, domain, events=events)
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
        rows = compare({name: one.evaluation for name, one in measured.items()}, baseline)
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
            model = Hubs(self._context).ensure()
        node = self._resolve(domain, model)
        if node.kind == "hub":
            return _Subject(node.ref, ready_model(self._context, node.ref, ModelKind.HUB))
        record = ready_model(self._context, spoke_ref(self._context, model), ModelKind.SPOKE)
        if record.domain != domain:
            raise UsageError(f"{record.ref} is a spoke of {record.domain}, not of {domain}; name one like {domain}:1.")
        return _Subject(record.ref, record)

    def _resolve(self, domain: str, model: str) -> NodeRecord:
        try:
            return self._context.registry.resolve(model)
        except (NotFoundError, UsageError) as error:
            names = {known.name for known in self._context.registry.domains.list()}
            if model in names or ":" in model or "@" in model:
                raise
            # A word that is neither a domain nor part of a reference was meant as a name of a system.
            raise NotFoundError(
                f"There is nothing called {model!r} to measure; name a spoke such as {domain}:1, a hub such as hub:1, "
                f"or one of {', '.join((ZERO_SHOT, *BASELINES))}."
            ) from error

    def _measure(self, subjects: Sequence[_Subject], dataset: Dataset, protocol: Protocol) -> dict[str, _Measured]:
        from ..evaluation.evaluate import evaluate
        from ..evaluation.protocols import evaluation_set

        users: EvaluationSet = evaluation_set(dataset.sequences, protocol)
        # One content space for all, so that their diversity can be compared: that of the first that has one.
        first, content, ready = self._content(subjects, dataset, protocol)
        measured = {}
        for subject in subjects:
            recommender = ready.pop(subject.name, None) or recommender_of(
                self._context, subject.name, dataset, protocol
            )
            progress = stage_progress(self._context.progress, f"ranking for {subject.name}")
            evaluation = evaluate(recommender.score, users, progress=progress, content=content)
            note = getattr(recommender, "note", None)
            if note:
                self._context.progress.note(f"{subject.name}: {note}")
            measured[subject.name] = _Measured(evaluation, note, first)
        return measured

    def _content(
        self, subjects: Sequence[_Subject], dataset: Dataset, protocol: Protocol
    ) -> tuple[str | None, FloatArray | None, dict[str, Recommender]]:
        """The first system that reads content, its content of the catalog (N, R), and what was loaded to find it."""
        ready: dict[str, Recommender] = {}
        for subject in subjects:
            if subject.record:
                ready[subject.name], content = _over_catalog(self._context, subject.name, dataset, protocol)
                if content.shape[1]:
                    return subject.name, content, ready
        return None, None, ready

    def _result(self, subject: _Subject, dataset: Dataset, measured: _Measured, *, record: bool) -> EvaluationResult:
        report = measured.evaluation.to_json()
        events = str(getattr(dataset.event_snapshot, "ref", ""))
        ref = None
        if record:
            items = dataset.item_snapshot.ref
            parents = [Parent(items, Relation.EVALUATED_ON, ITEMS_PART)]
            ref = self._context.registry.evaluations.add(
                dataset.domain.name,
                subject.record.ref if subject.record else None,
                events,
                protocol=report["protocol"],
                n_users=report["n_users"],
                metrics=_metric_records(report),
                details={"model": subject.name, "n_targets": report["n_targets"]} | measured.details,
                parents=parents,
                artifact=store_user_values(self._context.artifacts, measured.evaluation.slices),
            ).ref
        return EvaluationResult(dataset.domain.name, subject.name, events, ref, measured.note, report)


def recommender_of(context: Context, model: str, dataset: Dataset, protocol: Protocol) -> Recommender:
    """A baseline, a hub's launch floor or a spoke, over a dataset's catalog.

    Args:
        context: the workspace.
        model: baseline name, hub version or spoke version.
        dataset: catalog and events.
        protocol: the split that baselines are fitted for, and the serving policy.

    Raises:
        MissingExtraError: the library behind a baseline is not installed.
    """
    if model in BASELINES:
        return BASELINES[model](context, dataset, protocol)
    return _over_catalog(context, model, dataset, protocol)[0]


def _over_catalog(context: Context, model: str, dataset: Dataset, protocol: Protocol) -> tuple[Recommender, FloatArray]:
    """A spoke or a hub's launch floor behind the recommender interface, and its content of the catalog (N, R)."""
    spoke, encoded = over_catalog(context, context.registry.models.get(model), dataset)
    vectors = spoke.embed_items(dataset.items["item_id"].to_list(), encoded, dataset.items)
    recommender = spoke.recommender(model, vectors, exclude_seen=protocol.exclude_seen)
    return recommender, vectors[:, spoke.behaviour_dimension :]


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
    if protocol.part == "validation" and subject.record.summary.get("warm_start", {}).get("validation_left_out"):
        raise UsageError(
            f"The parent of {subject.name} was trained on validation events; measure it on test, or train one without "
            f"a parent with `hubspoke spoke train {dataset.domain.name} --split {protocol.name}`."
        )
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
        "low": None if isnan(row.estimate.low) else row.estimate.low,
        "high": None if isnan(row.estimate.high) else row.estimate.high,
        "difference": change.value if change else None,
        "difference_low": change.low if change else None,
        "difference_high": change.high if change else None,
        "clear": row.clear,
        "n_users": row.n_users,
    }
