"""Evaluations by full ranking: spokes, the hub alone and baselines, none of which may have seen the test events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays import FloatArray
from ..door import checked
from ..errors import HubspokeError, InvalidDataError, NotFoundError, UsageError
from ..registry.kinds import ModelKind, Relation
from ..registry.records import MetricRecord, ModelRecord, Parent
from ..registry.stores.evaluations import ITEMS_PART, NewEvaluation
from ..results import Record
from ..spokes.baselines import FITTED
from ..spokes.training.splits import SplitSettings, held_out_fingerprint, split
from .hubs import Hubs
from .loading import over_catalog, ready_model, spoke_ref
from .models import prepare

if TYPE_CHECKING:
    import polars as pl

    from ..evaluation.comparison import ComparisonRow
    from ..evaluation.evaluate import Evaluation
    from ..evaluation.protocols import Protocol
    from ..spokes.recommender import Recommender
    from .context import Context
    from .datasets import Dataset

ZERO_SHOT = "hub"
# Fitted on training events, and the hub with a recency chosen for the category.
BASELINES = (*FITTED, "hub-recency")
# Always measured, whatever was asked for, so that any two evaluations can be compared.
_COMMON_K = 10
ARTIFACT_KIND = "evaluation"


@dataclass(frozen=True)
class EvaluationResult(Record):
    """Metrics of one model by slice, with 95 % intervals, and what was measured on what.

    `evaluation` is where it is recorded, `note` what a baseline has to say of itself, such as what it was chosen from;
    the rest is as `evaluation.evaluate.Evaluation` has it.
    """

    domain: str
    model: str
    events: str
    evaluation: str | None
    note: str | None
    metrics: Mapping[str, Mapping[str, float]]
    intervals: Mapping[str, Mapping[str, Sequence[float]]]
    protocol: Mapping[str, Any]
    n_users: int
    n_left_out: int
    n_targets: Mapping[str, int]
    n_dropped_targets: int
    empty_slices: Sequence[str]


@dataclass(frozen=True)
class CompareResult(Record):
    """Several models on the same users, each with its interval and its paired difference to the first or `baseline`."""

    domain: str
    events: str
    baseline: str
    protocol: Mapping[str, Any]
    n_users: int
    rows: Sequence[ComparisonRow]
    results: Sequence[EvaluationResult]


@dataclass(frozen=True)
class _Subject:
    """A model to be measured: its name in results and, unless it is a baseline, its record."""

    name: str
    record: ModelRecord | None = None

    @property
    def split(self) -> Mapping[str, Any]:
        """What a spoke kept out of its training; empty for anything that was not trained on the domain's events."""
        found: Mapping[str, Any] = self.record.summary.get("split", {}) if self.record else {}
        return found


@checked
class Evaluations:
    """The noun `evaluate`."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def run(
        self,
        domain: str,
        model: str,
        protocol: Protocol | None = None,
        *,
        events: str | None = None,
        by: Sequence[str] = (),
        record: bool = True,
    ) -> EvaluationResult:
        """Measure one model by full ranking over the domain's catalog; see `compare`."""
        return self.compare(domain, [model], protocol=protocol, events=events, by=by, record=record).results[0]

    def compare(
        self,
        domain: str,
        models: Sequence[str],
        baseline: str | None = None,
        protocol: Protocol | None = None,
        *,
        events: str | None = None,
        by: Sequence[str] = (),
        record: bool = True,
    ) -> CompareResult:
        """Measure several models on the same users, with paired differences to the first or to `baseline`.

        Models are spokes (`garden:7`, `garden`), re-rankers over their spokes (`reranker:garden/1`; a release with one
        stands for it), hubs (`hub`, `hub:4`: their zero-shot recommender) and names of
        `BASELINES`, which are fitted on the protocol's training events. The protocol is leave-one-out on the test part
        by default; where a spoke is measured, `refit` is what it was trained with. `by` adds slices by what the
        catalog says and by the length of histories (`item_groups.BY`). `record` keeps the results in the registry, with
        what each user got as their artifacts.
        """
        from ..evaluation.comparison import compare

        if not models:
            raise UsageError("There is nothing to measure; name at least one model.")
        dataset = _dataset(self._context, domain, events)
        subjects = [self._subject(domain, model) for model in models]
        # Whatever may be refused is refused before the first ranking, which can take minutes.
        if record:
            self._context.require_storable()
        measured_by = _require_measurable(subjects, dataset, protocol)
        baseline = subjects[0].name if baseline is None else self._subject(domain, baseline).name
        if baseline not in {subject.name for subject in subjects}:
            raise UsageError(f"{baseline} is not among the models that are compared; name it there too.")
        measured, content = self._measure(subjects, dataset, measured_by, by)
        results = [self._result(subject, dataset, *measured[subject.name], content, record) for subject in subjects]
        rows = compare({name: evaluation for name, (evaluation, _) in measured.items()}, baseline)
        return CompareResult(
            domain=domain,
            events=results[0].events,
            baseline=baseline,
            protocol=results[0].protocol,
            n_users=results[0].n_users,
            rows=rows,
            results=results,
        )

    def held_out(
        self, domain: str, model: str, protocol: Protocol | None = None, *, events: str | None = None
    ) -> tuple[pl.DataFrame, Protocol]:
        """Where a model ranks what was held out: `user_id`, `item_id`, `rank` (from 1), and how that was measured."""
        import polars as pl

        dataset, subject = _dataset(self._context, domain, events), self._subject(domain, model)
        measured_by = _require_measurable([subject], dataset, protocol)
        measured, _ = self._measure([subject], dataset, measured_by, ())
        targets = measured[subject.name][0].targets
        items = dataset.items["item_id"].gather(targets.items)
        return pl.DataFrame({"user_id": targets.users, "item_id": items, "rank": targets.ranks}), measured_by

    def _subject(self, domain: str, model: str) -> _Subject:
        if model in BASELINES:
            return _Subject(model)
        registry = self._context.registry
        try:
            node = registry.resolve(Hubs(self._context).ensure() if model == ZERO_SHOT else model)
        except (NotFoundError, UsageError) as error:
            if ":" in model or "@" in model or model in {known.name for known in registry.domains.list()}:
                raise
            # A word that is neither a domain nor part of a reference was meant as a name of a system.
            raise NotFoundError(
                f"There is nothing called {model!r} to measure; name a spoke such as {domain}:1, a hub such as hub:1, "
                f"or one of {', '.join((ZERO_SHOT, *BASELINES))}."
            ) from error
        if node.kind == "hub":
            return _Subject(node.ref, ready_model(self._context, node.ref, ModelKind.HUB))
        serving = registry.releases.get(node.ref).reranker if node.kind == "release" else None
        if serving or node.kind == "reranker":
            record = ready_model(self._context, serving or node.ref, ModelKind.RERANKER)
        else:
            record = ready_model(self._context, spoke_ref(self._context, model), ModelKind.SPOKE)
        if record.domain != domain:
            raise UsageError(
                f"{record.ref} is a {record.kind} of {record.domain}, not of {domain}; name one like {domain}:1."
            )
        return _Subject(record.ref, record)

    def _measure(
        self, subjects: Sequence[_Subject], dataset: Dataset, protocol: Protocol, by: Sequence[str]
    ) -> tuple[dict[str, tuple[Evaluation, str | None]], str | None]:
        """What each system reached and says of itself, and whose content the diversity of all lists is measured by."""
        from ..evaluation.evaluate import evaluate
        from ..evaluation.protocols import evaluation_set
        from ..evaluation.slices import LENGTH, length_slices
        from .datasets import require_sessions
        from .item_groups import item_facts

        context = self._context
        require_sessions(dataset)
        users = evaluation_set(dataset.sequences, protocol)
        groups = length_slices(np.array([len(own) for own in users.histories])) if LENGTH in by else {}
        # One content space for all, so that their diversity can be compared: that of the first that has one.
        content_of, content = None, None
        loaded: dict[str, Recommender] = {}
        for subject in subjects:
            if subject.record is not None:
                loaded[subject.name], own = _by_vectors(context, subject.name, dataset, protocol)  # own: (N, R)
                if own.shape[1]:
                    content_of, content = subject.name, own
                    break
        facts = item_facts(dataset.items, content, by)
        measured = {}
        for subject in subjects:
            known = loaded.pop(subject.name, None)
            recommender = known or recommender_of(context, subject.name, dataset, protocol)
            progress = context.progress.stage(f"ranking for {subject.name}")
            evaluation = evaluate(recommender.score, users, progress=progress, facts=facts, groups=groups)
            note = getattr(recommender, "note", None)
            if note:
                context.progress.note(f"{subject.name}: {note}")
            measured[subject.name] = evaluation, note
        return measured, content_of

    def _result(
        self,
        subject: _Subject,
        dataset: Dataset,
        evaluation: Evaluation,
        note: str | None,
        content: str | None,
        record: bool,
    ) -> EvaluationResult:
        from ..evaluation.user_values import FILE, write_user_values

        report, domain, ref = evaluation.to_json(), dataset.domain.name, None
        events = dataset.event_snapshot.ref if dataset.event_snapshot else ""
        if record:
            # Gates compare versions by what each user got; equal values give the same artifact.
            with self._context.stage() as staged:
                write_user_values(staged / FILE, evaluation.slices)
                artifact = self._context.commit(staged, ARTIFACT_KIND)
            details = {"model": subject.name, "n_targets": report["n_targets"], "note": note, "content": content}
            ref = self._context.registry.evaluations.add(
                NewEvaluation(
                    domain,
                    subject.record.ref if subject.record else None,
                    events,
                    protocol=report["protocol"],
                    n_users=report["n_users"],
                    metrics=_metric_records(report),
                    details={name: kept for name, kept in details.items() if kept},
                    parents=[Parent(dataset.item_snapshot.ref, Relation.EVALUATED_ON, ITEMS_PART)],
                    artifact=artifact,
                )
            ).ref
        return EvaluationResult(domain, subject.name, events, ref, note, **report)


def recommender_of(context: Context, model: str, dataset: Dataset, protocol: Protocol) -> Recommender:
    """A baseline, a hub's launch floor or a spoke over a dataset's catalog, under the protocol's serving policy."""
    if model == "hub-recency":
        from ..spokes.baselines.recency import hub_with_recency
        from ..spokes.config import SpokeConfig

        hub = Hubs(context).ensure()
        floor, encoded = over_catalog(context, context.registry.models.get(hub), dataset)
        vectors = floor.embed_items(dataset.items["item_id"].to_list(), encoded)
        # The users that a spoke would be chosen on under the same protocol, None where there are none.
        config, end = SpokeConfig(), protocol.training_end() if protocol.name == "temporal" else None
        try:
            checked = split(dataset.sequences, SplitSettings(protocol.name, end), config).checkpoint_users(config)
        except InvalidDataError:
            checked = None
        return hub_with_recency(hub, floor, vectors, checked, exclude_seen=protocol.exclude_seen)
    if model not in BASELINES:
        return _by_vectors(context, model, dataset, protocol)[0]
    from ..evaluation.protocols import training_mask
    from .datasets import time_kind

    # A baseline knows the protocol's training events and nothing else.
    known = dataset.sequences.keep_events(training_mask(dataset.sequences, protocol))
    return FITTED[model](known, time_kind(dataset.event_snapshot) if dataset.event_snapshot else "real")


def _by_vectors(context: Context, model: str, dataset: Dataset, protocol: Protocol) -> tuple[Recommender, FloatArray]:
    """A spoke, with or without a re-ranker, or a hub's launch floor, and its content of the catalog (N, R)."""
    record = context.registry.models.get(model)
    if record.kind == ModelKind.RERANKER:
        from .reranked import reranked_over

        reranked = reranked_over(context, record, dataset, protocol)
        return reranked, reranked.content
    spoke, encoded = over_catalog(context, record, dataset)
    vectors = spoke.embed_items(dataset.items["item_id"].to_list(), encoded, dataset.items)
    recommender = spoke.recommender(model, vectors, exclude_seen=protocol.exclude_seen)
    return recommender, spoke.space.alike(vectors[:, spoke.behaviour_dimension :])


def _dataset(context: Context, domain: str, events: str | None) -> Dataset:
    from .datasets import load_dataset

    prepare(context)
    dataset = load_dataset(context, domain, events=events)
    if dataset.event_snapshot is None:
        raise InvalidDataError(f"{domain} has no events to measure on; ingest some first.")
    return dataset


def _require_measurable(subjects: Sequence[_Subject], dataset: Dataset, protocol: Protocol | None) -> Protocol:
    """How these models are measured; refused where one has seen what it would be tested on."""
    measured_by = _as_trained(protocol, subjects)
    for subject in subjects:
        _require_unseen(subject, dataset, measured_by)
    return measured_by


def _as_trained(protocol: Protocol | None, subjects: Sequence[_Subject]) -> Protocol:
    """The protocol for these models: baselines are fitted on what the spokes beside them were trained on."""
    from ..evaluation.protocols import Protocol

    protocol = protocol or Protocol()
    refit = protocol.refit
    # On validation no refitted spoke is measured (see `_require_unseen`), so there is nothing to agree on.
    trained = [subject for subject in subjects if subject.split]
    if trained and protocol.part == "test":
        names = ", ".join(subject.name for subject in trained)
        refitted = {bool(subject.split.get("refit")) for subject in trained}
        if len(refitted) > 1:
            raise UsageError(
                f"Of {names} some were trained with --refit and some without; compare those trained alike."
            )
        if refit and refitted == {False}:
            raise UsageError(f"{names} was trained without --refit; measure it by a protocol without it.")
        refit = refitted == {True}
    return protocol.model_copy(update={"ks": tuple(sorted({*protocol.ks, _COMMON_K})), "refit": refit})


def _require_unseen(subject: _Subject, dataset: Dataset, protocol: Protocol) -> None:
    """Refuse a spoke that was trained on what it is to be tested on."""
    from ..evaluation.protocols import microseconds

    if subject.record is None or not subject.split:
        return
    summary = subject.record.summary
    training = f"`hubspoke spoke train {dataset.domain.name} --split {protocol.name}`"
    remedy = f"train one for this protocol with {training}."
    if protocol.part == "validation" and subject.split.get("refit"):
        raise UsageError(f"{subject.name} was refitted on the validation events; measure it on test, or {remedy}")
    if protocol.part == "validation" and summary.get("warm_start", {}).get("validation_left_out"):
        raise UsageError(
            f"The parent of {subject.name} was trained on validation events; measure it on test, or train one without "
            f"a parent with {training}."
        )
    if protocol.name == "leave-one-out":
        # Of the very events that are held out: another catalog or other sessions can move them under the same snapshot.
        held_out = held_out_fingerprint(dataset.source, dataset.items["item_id"].to_list())
        if summary.get("held_out") != held_out:
            raise UsageError(f"{subject.name} has seen events that leave-one-out tests it on; {remedy}")
        return
    end, (start, _) = summary.get("training_end"), protocol.window()
    if end is None or end >= microseconds(start):
        raise UsageError(f"{subject.name} was trained on events after the {protocol.part} window begins; {remedy}")


def _metric_records(report: Mapping[str, Any]) -> list[MetricRecord]:
    found = []
    for slice_name, metrics in report["metrics"].items():
        for name, value in metrics.items():
            if not isfinite(value):
                raise HubspokeError(f"{name} on {slice_name} is not a number; train the model again with --force.")
            found.append(MetricRecord(slice_name, name, value, *report["intervals"][slice_name].get(name, ())))
    return found
