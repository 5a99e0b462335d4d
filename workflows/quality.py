"""Assessments: a version measured in every dimension of the catalogue of metrics, and how far two versions are apart.

What is measured is recorded as evaluations, each with its protocol, so that gates can ask for it: the ranking as any
other, space and index under the protocol `quality`, and two versions under `drift`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..door import checked
from ..errors import InvalidDataError, UsageError
from ..evaluation.catalogue import DIMENSIONS
from ..registry.kinds import Relation
from ..registry.records import MetricRecord, Parent
from ..registry.references import LIVE
from ..registry.stores.evaluations import ITEMS_PART, NewEvaluation
from ..results import Record
from .assessment.records import CardRow, card_rows
from .assessments import DRIFT_PROTOCOL, QUALITY_PROTOCOL
from .targets import find_target, pointed_at

if TYPE_CHECKING:
    from ..catalog.tables import Files
    from ..evaluation.protocols import Protocol
    from .assessment.business import BusinessCard
    from .assessment.subject import Subject
    from .context import Context

# Items that are drawn from a larger catalog; what is nearest to each is found among all of them.
SAMPLE = 100_000
COLD = ("cold", "ndcg@10")


@dataclass(frozen=True)
class QualityCard(Record):
    """A version in all dimensions: what was measured, under which protocols, and where it is recorded.

    `notes` say what could not be measured, and why. Business metrics need a log (`Quality.business`).
    """

    ref: str
    domain: str
    model: str
    index: str | None
    items: str
    events: str | None
    protocols: Mapping[str, str]  # of each evaluation in words
    evaluations: Mapping[str, str]  # where each is recorded; empty where nothing was
    rows: Sequence[CardRow]
    notes: Sequence[str]


@dataclass(frozen=True)
class VersionDrift(Record):
    """How far version `b` has gone from version `a`."""

    domain: str
    a: str
    b: str
    protocol: str
    n_items: int  # that both hold
    evaluation: str | None
    rows: Sequence[CardRow]


@checked
class Quality:
    """The assessments of a workspace."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def card(
        self,
        ref: str,
        domain: str | None = None,
        protocol: Protocol | None = None,
        *,
        dimensions: Sequence[str] = (),
        events: str | None = None,
        sample: int = SAMPLE,
        record: bool = True,
    ) -> QualityCard:
        """Measure what `ref` names (a spoke, hub, index, release or category) in `dimensions`, by default in all.

        A hub is measured over the category `domain`. `protocol` is that of the ranking. What cannot be measured is
        noted, but an error where its dimension was named.
        """
        from ..evaluation.protocols import Protocol
        from .assessment.subject import find_named, load_subject

        protocol = protocol or Protocol()
        unknown = [name for name in dimensions if name not in DIMENSIONS]
        if unknown:
            raise UsageError(f"There is no dimension {unknown[0]!r}; name some of {', '.join(DIMENSIONS)}.")
        named = find_named(self._context, ref, domain)
        if record:
            self._context.require_writable()
        subject = load_subject(self._context, named, events)
        card = _Card(self._context, subject, protocol, sample, record)
        for name, measure in card.measures.items():
            if dimensions and name not in dimensions:
                continue
            try:
                measure()
            except (UsageError, InvalidDataError) as error:
                if dimensions:
                    raise
                card.notes.append(f"{name}: {error}")
        return card.result()

    def drift(
        self, a: str, b: str, domain: str | None = None, *, events: str | None = None, record: bool = True
    ) -> VersionDrift:
        """How far version `b` has gone from version `a` of the same category."""
        from .assessment.subject import find_named, load_subject

        before, after = (find_named(self._context, ref, domain) for ref in (a, b))
        if before.domain != after.domain:
            raise UsageError(f"{a} serves {before.domain} and {b} {after.domain}; name two versions of one category.")
        if record:
            self._context.require_writable()
        earlier, later = (load_subject(self._context, named, events) for named in (before, after))
        return _drift(self._context, earlier, later, record)

    def business(
        self, ref: str, log: Files, domain: str | None = None, *, clip: float | None = None, record: bool = True
    ) -> BusinessCard:
        """What `ref` would have earned, from the impressions of a table with logged and target probabilities.

        The columns are those of `assessment.impressions`. A log that cannot carry the claim is an InvalidDataError.
        """
        from .assessment.business import from_log

        return from_log(self._context, ref, domain, log, clip, record)

    def simulated_business(
        self,
        ref: str,
        domain: str | None = None,
        protocol: Protocol | None = None,
        *,
        k: int = 10,
        events: str | None = None,
        record: bool = True,
    ) -> BusinessCard:
        """A SIMULATION of what lists of `k` of `ref` would have earned, on purchases that the protocol holds out."""
        from .assessment.business import simulated

        return simulated(self._context, ref, domain, protocol, k, events, record)


class _Card:
    """A card in the making."""

    def __init__(self, context: Context, subject: Subject, protocol: Protocol, sample: int, record: bool) -> None:
        self._context, self._subject, self._named = context, subject, subject.named
        self._protocol, self._sample, self._record = protocol, sample, record
        self.rows: list[CardRow] = []
        self.notes: list[str] = []
        self.protocols: dict[str, str] = {}
        self.evaluations: dict[str, str] = {}
        self._own: list[MetricRecord] = []  # of space and index, which are one evaluation
        self._cold: MetricRecord | None = None

    @property
    def measures(self) -> Mapping[str, Callable[[], None]]:
        """What is to be called for each dimension, in this order."""
        return {"downstream": self._downstream, "intrinsic": self._intrinsic, "operational": self._operational}

    def _intrinsic(self) -> None:
        from .assessment.intrinsic import intrinsic

        self._own += intrinsic(self._context, self._subject, self._protocol, self._sample)

    def _downstream(self) -> None:
        from .evaluations import Evaluations
        from .item_groups import BY

        events = self._subject.dataset.event_snapshot
        found = Evaluations(self._context).run(
            self._named.domain,
            self._named.serves,
            self._protocol,
            events=events.ref if events else None,
            by=BY,
            record=self._record,
        )
        self.protocols["ranking"] = found.protocol["description"]
        if found.evaluation:
            self.evaluations["ranking"] = found.evaluation
        measured = [
            MetricRecord(part, name, value, *found.intervals[part].get(name, ()))
            for part, values in found.metrics.items()
            for name, value in values.items()
        ]
        self.rows += card_rows(measured)
        cold = next((own for own in measured if (own.slice, own.name) == COLD), None)
        self._cold = cold and MetricRecord("all", "cold_start", cold.value, cold.low, cold.high)

    def _operational(self) -> None:
        from .assessment.operation import operation

        if self._cold is not None:
            self._own.append(self._cold)
        if self._subject.index is None:
            model, domain = self._named.model, self._named.domain
            command = f"hubspoke index build {model.ref}" + ("" if model.domain else f" --domain {domain}")
            self.notes.append(f"operational: {model.ref} has no index over {domain}; build one with `{command}`.")
        self._own += operation(self._context, self._subject)
        self._drift_from_live()

    def _drift_from_live(self) -> None:
        """How far it has gone from what is live, where that is another version."""
        from .assessment.subject import find_named, load_subject

        live = pointed_at(self._context.registry, self._named.domain, LIVE)
        if live is None or self._named.model.ref in find_target(self._context.registry, live).assessed:
            return
        found = _drift(
            self._context,
            load_subject(self._context, find_named(self._context, live)),
            self._subject,
            self._record,
        )
        self.rows += found.rows
        self.protocols[DRIFT_PROTOCOL] = found.protocol
        if found.evaluation:
            self.evaluations[DRIFT_PROTOCOL] = found.evaluation

    def result(self) -> QualityCard:
        """The card, what was measured of space and index recorded."""
        named, dataset = self._named, self._subject.dataset
        if self._own:
            n_items = len(self._subject.item_ids)
            words = f"space and index of {named.model.ref} over {dataset.item_snapshot.ref}"
            if n_items > self._sample:
                words += f", {self._sample:,} of {n_items:,} items drawn"
            self.protocols[QUALITY_PROTOCOL] = words
            self.rows += card_rows(self._own)
            protocol = {"name": QUALITY_PROTOCOL, "description": words, "sample": self._sample}
            ref = _store(self._context, self._subject, protocol, n_items, self._own) if self._record else None
            if ref:
                self.evaluations[QUALITY_PROTOCOL] = ref
        order: dict[str, int] = {name: place for place, name in enumerate(DIMENSIONS)}
        return QualityCard(
            ref=named.ref,
            domain=named.domain,
            model=named.model.ref,
            index=named.index.ref if named.index else None,
            items=dataset.item_snapshot.ref,
            events=dataset.event_snapshot.ref if dataset.event_snapshot else None,
            protocols=self.protocols,
            evaluations=self.evaluations,
            rows=sorted(self.rows, key=lambda row: order[row.dimension]),
            notes=self.notes,
        )


def _drift(context: Context, before: Subject, after: Subject, record: bool) -> VersionDrift:
    from .assessment.drift import version_drift

    measured = version_drift(context, before, after)
    n_items = len({*before.item_ids} & {*after.item_ids})
    words = f"drift of {after.named.model.ref} from {before.named.model.ref} over {n_items:,} items"
    protocol = {"name": DRIFT_PROTOCOL, "description": words, "against": before.named.model.ref}
    ref = _store(context, after, protocol, n_items, measured) if record else None
    named = before.named, after.named
    return VersionDrift(named[1].domain, named[0].ref, named[1].ref, words, n_items, ref, card_rows(measured))


def _store(
    context: Context, subject: Subject, protocol: Mapping[str, Any], n_items: int, metrics: Sequence[MetricRecord]
) -> str:
    """Record numbers of a version that come from no ranking of users."""
    named, dataset = subject.named, subject.dataset
    events = dataset.event_snapshot or dataset.item_snapshot
    parents = [Parent(dataset.item_snapshot.ref, Relation.EVALUATED_ON, ITEMS_PART)]
    details = {"model": named.model.ref, "n_items": n_items} | ({"index": named.index.ref} if named.index else {})
    new = NewEvaluation(
        named.domain,
        named.ref,
        events.ref,
        protocol=protocol,
        n_users=0,  # no user was asked
        metrics=metrics,
        details=details,
        parents=parents,
    )
    return context.registry.evaluations.add(new).ref
