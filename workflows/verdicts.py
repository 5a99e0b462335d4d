"""The verdict on each condition of a gate by recorded evaluations; nothing is measured here.

Of several evaluations that count, the one on the newest event snapshot does, and of those the newest. What is no
ranking (the space, the index, the drift from what is live, what is earned) is judged by the newest assessment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import product
from typing import TYPE_CHECKING, Any, Final, Self

from pydantic import ValidationError

from ..errors import NotFoundError
from ..evaluation.bootstrap import Estimate, paired_difference
from ..evaluation.catalogue import DRIFT
from ..evaluation.metrics import KS
from ..evaluation.protocols import Protocol, microseconds
from ..evaluation.ratios import apart
from ..evaluation.user_values import FILE, UserValues, read_user_values
from ..registry.kinds import Relation
from ..registry.references import parse
from ..results import Record
from .conditions import CATALOG_SLICES, Condition, MaxDrop, Maximum, Minimum

if TYPE_CHECKING:
    from ..registry.records import EvaluationRecord, MetricRecord
    from .assessments import Assessments
    from .context import Context

# Protocols are equal here whatever was read off the same ranking, and whether validation events were trained on.
_ANY_KS: Final = {"ks": (1,)}
_ANY_FIT: Final = {**_ANY_KS, "refit": False, "train_until": None}
_BETTER = "promote a version that does"


@dataclass(frozen=True)
class Verdict(Record):
    """How one condition was judged.

    `measured` is the candidate's mean, or the mean difference to the version in service with its interval; `evidence`
    are the evaluations that it was judged by, and `says` is all of this in words. `remedy` is what to do where the
    condition does not hold; empty where only overruling helps.
    """

    kind: str
    metric: str
    slice: str
    required: float
    confidence: float | None
    protocol: str
    passes: bool
    says: str
    measured: float | None = None
    low: float | None = None
    high: float | None = None
    evidence: tuple[str, ...] = ()
    remedy: str = ""

    @classmethod
    def on(cls, condition: Condition, passes: bool, says: str, **found: Any) -> Self:
        """The verdict on a condition; one that does not hold needs a better version where nothing else is said."""
        found["remedy"] = "" if passes else found.get("remedy", _BETTER)
        return cls(
            kind=condition.kind,
            metric=condition.metric,
            slice=condition.slice,
            required=condition.value,
            confidence=condition.confidence if isinstance(condition, MaxDrop) else None,
            protocol=condition.how,
            passes=passes,
            says=says,
            **found,
        )


@dataclass(frozen=True)
class Evidence:
    """What the registry has recorded of a candidate and of the version that is in service (`live`, None for nothing).

    The conditions are all that the candidate is judged by: a remedy measures for all of them at once.
    """

    context: Context
    domain: str
    candidate: str
    live: str | None
    conditions: Sequence[Condition]
    assessments: Assessments

    def verdicts(self) -> tuple[Verdict, ...]:
        """The verdict on every condition, in order."""
        return tuple(
            self._max_drop(condition) if isinstance(condition, MaxDrop) else self._bound(condition)
            for condition in self.conditions
        )

    def _bound(self, condition: Minimum | Maximum) -> Verdict:
        if condition.metric in DRIFT and (pardon := self._nothing_to_differ_from(condition)):
            return pardon
        for record in self._records(condition):
            metric = record.metric(condition.metric, condition.slice)
            if metric is not None:
                passes = condition.definition.meets(metric.value, condition.value) is True
                words = ("at least", "below") if isinstance(condition, Minimum) else ("at most", "above")
                says = (
                    f"{condition.measure} is {metric.value:.6g}, {words[not passes]} {condition.value:g} ({record.ref})"
                )
                return Verdict.on(condition, passes, says, measured=metric.value, evidence=(record.ref,))
        return self._missing(condition, [self.candidate]) if condition.ranked else self._not_assessed(condition)

    def _records(self, condition: Condition) -> list[EvaluationRecord]:
        """What can tell a metric of the candidate, the best evidence first."""
        if condition.ranked:
            return [record for record, _ in self._evaluations(self.candidate, condition.protocol)]
        return self.assessments.of(condition.metric)

    def _not_assessed(self, condition: Condition) -> Verdict:
        """The verdict on what no assessment says."""
        known, command = self.assessments.of(condition.metric), self.assessments.command(condition.metric)
        if known:
            # It can be of one dimension alone, or the catalog says nothing that the metric goes by.
            reason, advice = f"{known[0].ref} has no number for it", f"run `{command}`, or leave it out of the gate"
        else:
            reason = f"the registry has no assessment of {self.assessments.names}"
            advice = f"run `{command}`"
        return Verdict.on(condition, False, f"{condition.measure} cannot be judged, since {reason}", remedy=advice)

    def _nothing_to_differ_from(self, condition: Condition) -> Verdict | None:
        """The verdict where nothing else is in service; None where something is."""
        if self.live is None:
            return Verdict.on(condition, True, f"{condition.measure}: nothing is in service yet to compare with")
        if self.live == self.candidate:
            return Verdict.on(condition, True, f"{condition.measure}: {self.live} is the version in service itself")
        return None

    def _max_drop(self, condition: MaxDrop) -> Verdict:
        if pardon := self._nothing_to_differ_from(condition):
            return pardon
        if not condition.ranked:
            return self._assessed_drop(condition)
        both = product(*(self._evaluations(model, condition.protocol) for model in (self.candidate, str(self.live))))
        for (ours, mine), (theirs, other) in both:
            # Compared is on the same events, items and users, under one protocol in everything but the list lengths.
            alike = mine.model_copy(update=_ANY_KS) == other.model_copy(update=_ANY_KS)
            if not alike or (ours.events, ours.items) != (theirs.events, theirs.items):
                continue
            a, b = self._values(ours, condition), self._values(theirs, condition)
            if a is None or b is None or a.users != b.users:
                continue
            change = paired_difference(a.values, b.values, level=condition.confidence)
            return self._dropped(condition, change, len(a.users), ours, theirs)
        return self._missing(condition, [self.candidate, str(self.live)])

    def _assessed_drop(self, condition: MaxDrop) -> Verdict:
        """The verdict by intervals over shoppers, who are the same where an assessment is of the same events."""
        theirs_of = replace(self.assessments, versions=self.assessments.live)
        for ours, theirs in product(self.assessments.of(condition.metric), theirs_of.of(condition.metric)):
            a, b = (_estimate(record.metric(condition.metric, condition.slice)) for record in (ours, theirs))
            seen = [(record.protocol, record.events, record.n_users) for record in (ours, theirs)]
            if a is None or b is None or seen[0] != seen[1]:
                continue
            change = apart(a, b, ours.n_users).estimate(condition.confidence)
            return self._dropped(condition, change, ours.n_users, ours, theirs)
        both = self.assessments, theirs_of
        says = (
            f"{condition.measure} cannot be judged, since the registry has no assessments of "
            f"{' and '.join(own.names for own in both)} by the same shoppers"
        )
        return Verdict.on(
            condition, False, says, remedy=" and ".join(f"run `{own.command(condition.metric)}`" for own in both)
        )

    def _dropped(
        self, condition: MaxDrop, change: Estimate, n_users: int, ours: EvaluationRecord, theirs: EvaluationRecord
    ) -> Verdict:
        """The verdict on a difference to what is live, by two evaluations."""
        # The burden of proof lies with the candidate: few users give a wide interval, and that does not pass.
        lower = condition.definition.better == "lower"
        passes = change.high <= condition.value if lower else change.low >= -condition.value
        says = (
            f"{condition.measure} differs from that of {self.live} by {change.value:+.4g} [{change.low:+.4g}, "
            f"{change.high:+.4g}] at {100 * condition.confidence:g} % confidence over {n_users} users, which "
            f"{'rules out' if passes else 'does not rule out'} a {'rise' if lower else 'drop'} of more than "
            f"{condition.value:g} ({ours.ref}, {theirs.ref})"
        )
        found = {"measured": change.value, "low": change.low, "high": change.high}
        return Verdict.on(condition, passes, says, **found, evidence=(ours.ref, theirs.ref))

    def _evaluations(self, model: str, wanted: Protocol) -> list[tuple[EvaluationRecord, Protocol]]:
        """Evaluations of a model under a gate's protocol, those on the newest data first, and of those the newest."""
        found = []
        for record in self.context.registry.evaluations.list(self.domain, model):
            spelled = {name: value for name, value in record.protocol.items() if name != "description"}
            try:
                protocol = Protocol.model_validate(spelled)
            except ValidationError:  # measured by another version of this code, in words that this one does not know
                continue
            if protocol.model_copy(update=_ANY_FIT) == wanted.model_copy(update=_ANY_FIT):
                found.append((record, protocol))
        return sorted(found, key=lambda one: (parse(one[0].events).version or 0, one[0].version), reverse=True)

    def _values(self, record: EvaluationRecord, condition: Condition) -> UserValues | None:
        if record.artifact is None:  # made before values were kept
            return None
        try:
            file = self.context.artifacts.open(record.artifact) / FILE
            return read_user_values(file, condition.slice, condition.metric)
        except NotFoundError:
            return None

    # ---- what is missing ----

    def _missing(self, condition: Condition, models: Sequence[str]) -> Verdict:
        """The verdict on a condition that no evaluation speaks of: why there is none, and how to come by one."""
        protocol = condition.protocol
        for_each = [[record for record, _ in self._evaluations(model, protocol)] for model in models]
        # Of each model the newest evaluation that knows the metric at all.
        known = [next((r for r in records if r.metric(condition.metric) is not None), None) for records in for_each]
        if any(record and record.metric(condition.metric, condition.slice) is None for record in known):
            reason, advice = "no target is in that slice", "leave that slice out of the gate"
        elif obstacle := self._obstacle(protocol, models):
            reason, advice = obstacle
        else:
            lacking = f"no evaluation of {models[0]}"
            if len(models) > 1:
                lacking = f"no evaluations of {' and '.join(models)} on the same events and users"
            dates = _dated("from", protocol.test_from) + _dated("until", protocol.test_until)
            policy = f"with seen items {'excluded' if protocol.exclude_seen else 'ranked'}"
            reason = f"the registry has {lacking} by {protocol.name}{dates} {policy}"
            advice = f"run `{self._command(protocol)}`"
        return Verdict.on(condition, False, f"{condition.measure} cannot be judged, since {reason}", remedy=advice)

    def _obstacle(self, protocol: Protocol, models: Sequence[str]) -> tuple[str, str] | None:
        """Why the models cannot be measured under a protocol at all, and what to do; None where they can."""
        records = [self.context.registry.models.get(model) for model in models]
        trained = [record for record in records if record.summary.get("split")]
        for record in trained:
            held_out, end = record.summary.get("held_out"), record.summary.get("training_end")
            if protocol.test_from is None:
                has_seen = held_out is None
            else:
                has_seen = end is None or end >= microseconds(protocol.test_from)
            if has_seen:  # as far as can be told without reading the events
                dates = _dated("--test-from", protocol.test_from)
                training = f"train one with `hubspoke spoke train {self.domain} --split {protocol.name}{dates}`"
                split = record.summary["split"].get("name")
                reason = f"{record.ref} was trained with --split {split} and has seen the test events"
                # Another version in service cannot be trained in its place, so then only overruling helps.
                return reason, training if record.ref == self.candidate else ""
        names = " and ".join(record.ref for record in trained)
        if len({bool(record.summary["split"].get("refit")) for record in trained}) > 1:
            return f"of {names} only one was trained with --refit", "train both alike"
        if protocol.name == "leave-one-out" and len({record.summary.get("held_out") for record in trained}) > 1:
            by_time = "set a gate with --protocol temporal, by which versions trained on different data can be compared"
            return f"{names} were trained on different data and keep different test events", by_time
        return None

    def _command(self, protocol: Protocol) -> str:
        """What measures all that the gate asks for under a protocol."""
        alike = [condition for condition in self.conditions if condition.ranked and condition.protocol == protocol]
        verb, models = f"run --domain {self.domain} --model {self.candidate}", [self.candidate]
        if self.live not in (None, self.candidate) and any(isinstance(c, MaxDrop) for c in alike):
            both = [self.candidate, str(self.live)]
            if not self._obstacle(protocol, both):
                verb, models = f"compare --domain {self.domain} --models {','.join(both)}", both
        options = f"--protocol {protocol.name}"
        options += _dated("--test-from", protocol.test_from) + _dated("--test-until", protocol.test_until)
        options += " --exclude-seen" if protocol.exclude_seen else ""
        ks = {int(condition.metric.partition("@")[2] or KS[0]) for condition in alike}
        options += "" if ks <= set(KS) else f" --k {','.join(map(str, sorted(ks | set(KS))))}"
        by = [known for known in CATALOG_SLICES if any(condition.slice.startswith(f"{known}:") for condition in alike)]
        options += "".join(f" --by {known}" for known in by)
        command = f"hubspoke evaluate {verb} {options}"
        if protocol.name != "leave-one-out":
            return command
        # The events that leave-one-out was kept from are named where they are not the newest.
        snapshots = f"snapshot:{self.domain}/events/"
        trained_on = {
            edge.parent
            for model in models
            for edge in self.context.registry.lineage.upstream(model).edges
            if edge.child == model and edge.relation == Relation.TRAINED_ON and edge.parent.startswith(snapshots)
        }
        own = max(trained_on, key=lambda ref: parse(ref).version or 0, default=None)
        newest = self.context.registry.resolve(f"{snapshots}latest").ref if own else None
        return command if own == newest else f"{command} --events {own}"


def remedy(verdicts: Sequence[Verdict]) -> str:
    """What to do about the conditions that do not hold."""
    remedies = dict.fromkeys(verdict.remedy for verdict in verdicts if verdict.remedy)
    # Where a number is too low, more numbers do not help.
    return _BETTER if _BETTER in remedies else " and ".join(remedies)


def _estimate(metric: MetricRecord | None) -> Estimate | None:
    """A number with its interval; None where it has none."""
    if metric is None or metric.low is None or metric.high is None:
        return None
    return Estimate(metric.value, metric.low, metric.high)


def _dated(text: str, moment: datetime | None) -> str:
    """`text` before a moment as the command line reads it; nothing without one."""
    return f" {text} {moment.isoformat().replace('+00:00', 'Z')}" if moment else ""
