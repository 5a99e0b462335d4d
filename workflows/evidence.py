"""The evidence that a gate is judged by: recorded evaluations, found, paired and resampled.

Of several evaluations that count, the one on the newest event snapshot does, and of those the newest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, TypeAlias

from pydantic import ValidationError

from ..errors import NotFoundError
from ..evaluation.bootstrap import Estimate, paired_difference
from ..evaluation.metrics import KS
from ..evaluation.protocols import Protocol
from ..registry.kinds import Relation
from ..registry.references import parse
from ..results import Record
from .gates import GateProtocol, MaxDrop, Minimum
from .user_values import UserValues, read_user_values

if TYPE_CHECKING:
    from ..registry.records import EvaluationRecord, ModelRecord
    from .context import Context

Condition: TypeAlias = "Minimum | MaxDrop"
# Protocols are equal here whatever was read off the same ranking, and whether validation events were trained on.
_ANY_KS = {"ks": (1,)}
_ANY_FIT = {**_ANY_KS, "refit": False, "train_until": None}

_BETTER = "promote a version that does"
_OTHER_SLICE = "leave that slice out of the gate"
_BY_TIME = "set a gate with --protocol temporal, by which versions trained on different data can be compared"


@dataclass(frozen=True)
class Judgement(Record):
    """How one condition was judged.

    Attributes:
        kind: `minimum` or `max_drop`.
        metric: what is measured.
        slice: on which targets.
        required: the least mean, or the largest drop.
        confidence: level of the interval; None for a minimum.
        protocol: how the evaluations that count were measured.
        passes: whether the condition holds.
        measured: the candidate's mean, or the mean difference to the version in service; None without evidence.
        low: lower end of the difference's interval.
        high: its upper end.
        evidence: evaluations that it was judged by.
        says: all of this in words.
        remedy: what to do where it does not; empty where only overruling helps.
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


@dataclass(frozen=True)
class _Measured:
    """An evaluation with its protocol understood."""

    record: EvaluationRecord
    protocol: Protocol

    @property
    def age(self) -> tuple[int, int]:
        """Sorts the newest data first, then the newest evaluation."""
        return -(parse(self.record.events).version or 0), -self.record.version

    @property
    def basis(self) -> tuple[object, ...]:
        """What two evaluations must share to be compared: events, items, and everything of the protocol but the ks."""
        alike = self.protocol.model_copy(update=_ANY_KS)
        return self.record.events, self.record.items, alike


class Judge:
    """Judges a candidate by conditions, beside the version that is in service.

    Args:
        context: the workspace.
        domain: the category.
        candidate: the spoke or hub version that is to serve.
        live: the one that does, None for nothing.
        conditions: what must hold.
    """

    def __init__(
        self, context: Context, domain: str, candidate: str, live: str | None, conditions: Sequence[Condition]
    ) -> None:
        self._context = context
        self._domain = domain
        self._candidate = candidate
        self._live = live
        self._conditions = conditions
        self._evaluations = cache(self._load)

    def judge(self) -> tuple[Judgement, ...]:
        """Every condition, in order."""
        return tuple(
            self._minimum(condition) if isinstance(condition, Minimum) else self._max_drop(condition)
            for condition in self._conditions
        )

    def remedy(self, judged: Sequence[Judgement]) -> str:
        """What to do about the conditions that do not hold."""
        remedies = dict.fromkeys(judgement.remedy for judgement in judged if judgement.remedy)
        # Where a number is too low, more numbers do not help.
        return _BETTER if _BETTER in remedies else " and ".join(remedies)

    # ---- conditions ----

    def _minimum(self, condition: Minimum) -> Judgement:
        for found in self._evaluations(self._candidate, condition.protocol):
            metric = found.record.metric(condition.metric, condition.slice)
            if metric is not None:
                passes = metric.value >= condition.value
                compared = "at least" if passes else "below"
                says = f"{condition.measure} is {metric.value:.6g}, {compared} {condition.value:g} ({found.record.ref})"
                return _judged(condition, passes, says, metric.value, evidence=(found.record.ref,))
        return self._missing(condition, [self._candidate])

    def _max_drop(self, condition: MaxDrop) -> Judgement:
        if self._live is None:
            return _judged(condition, True, f"{condition.measure}: nothing is in service yet to compare with")
        if self._live == self._candidate:
            return _judged(condition, True, f"{condition.measure}: {self._candidate} is the version in service itself")
        for ours, theirs in self._pairs(condition):
            a, b = self._values(ours.record, condition), self._values(theirs.record, condition)
            if a is not None and b is not None and a.users == b.users:
                change = paired_difference(a.values, b.values, level=condition.confidence)
                return self._compared(condition, change, len(a.users), ours.record.ref, theirs.record.ref)
        return self._missing(condition, [self._candidate, self._live])

    def _compared(self, condition: MaxDrop, change: Estimate, n_users: int, *evidence: str) -> Judgement:
        passes = change.low >= -condition.value
        says = (
            f"{condition.measure} differs from that of {self._live} by {change.value:+.4g} [{change.low:+.4g}, "
            f"{change.high:+.4g}] at {100 * condition.confidence:g} % confidence over {n_users} users, which "
            f"{'rules out' if passes else 'does not rule out'} a drop of more than {condition.value:g} "
            f"({', '.join(evidence)})"
        )
        return _judged(condition, passes, says, change.value, change, evidence)

    # ---- evidence ----

    def _load(self, subject: str, wanted: GateProtocol) -> list[_Measured]:
        """Evaluations of a model under a gate's protocol, those that count most first."""
        whole = wanted.full().model_copy(update=_ANY_FIT)
        found = []
        for record in self._context.registry.evaluations.list(self._domain, subject):
            protocol = _protocol(record)
            if protocol is not None and protocol.model_copy(update=_ANY_FIT) == whole:
                found.append(_Measured(record, protocol))
        return sorted(found, key=lambda measured: measured.age)

    def _pairs(self, condition: MaxDrop) -> Iterator[tuple[_Measured, _Measured]]:
        for ours in self._evaluations(self._candidate, condition.protocol):
            for theirs in self._evaluations(str(self._live), condition.protocol):
                if ours.basis == theirs.basis:
                    yield ours, theirs

    def _values(self, record: EvaluationRecord, condition: Condition) -> UserValues | None:
        if record.artifact is None:  # made before values were kept
            return None
        try:
            return read_user_values(self._context.artifacts, record.artifact, condition.slice, condition.metric)
        except NotFoundError:
            return None

    # ---- what is missing ----

    def _missing(self, condition: Condition, models: Sequence[str]) -> Judgement:
        """The judgement of a condition that no evaluation speaks of: why there is none, and how to come by one."""
        unjudged = f"{condition.measure} cannot be judged"
        if any(self._is_empty(condition, model) for model in models):
            return _judged(condition, False, f"{unjudged}, since no target is in that slice", remedy=_OTHER_SLICE)
        obstacle = self._obstacle(condition.protocol, models)
        if obstacle is not None:
            reason, remedy = obstacle
            return _judged(condition, False, f"{unjudged}, since {reason}", remedy=remedy)
        lacking = f"no evaluation of {models[0]}"
        if len(models) > 1:
            lacking = f"no evaluations of {' and '.join(models)} on the same events and users"
        says = f"{unjudged}, since the registry has {lacking} by {_in_words(condition.protocol)}"
        return _judged(condition, False, says, remedy=f"run `{self._command(condition.protocol)}`")

    def _is_empty(self, condition: Condition, model: str) -> bool:
        """Whether the metric was measured, but on nothing of the slice."""
        for found in self._evaluations(model, condition.protocol):
            if found.record.metric(condition.metric) is not None:
                return found.record.metric(condition.metric, condition.slice) is None
        return False

    def _obstacle(self, protocol: GateProtocol, models: Sequence[str]) -> tuple[str, str] | None:
        """Why the models cannot be measured under a protocol at all, and what to do; None where they can."""
        records = [self._context.registry.models.get(model) for model in models]
        for record in records:
            if _has_seen(record, protocol):
                split = record.summary["split"].get("name")
                remedy = f"train one with `{self._training(protocol)}`" if record.ref == self._candidate else ""
                return f"{record.ref} was trained with --split {split} and has seen the test events", remedy
        trained = [record for record in records if record.summary.get("split")]
        names = " and ".join(record.ref for record in trained)
        if len({bool(record.summary["split"].get("refit")) for record in trained}) > 1:
            return f"of {names} only one was trained with --refit", "train both alike"
        if protocol.name == "leave-one-out" and len({record.summary.get("held_out") for record in trained}) > 1:
            return f"{names} were trained on different data and keep different test events", _BY_TIME
        return None

    def _training(self, protocol: GateProtocol) -> str:
        moment = f" --test-from {_text(protocol.test_from)}" if protocol.test_from else ""
        return f"hubspoke spoke train {self._domain} --split {protocol.name}{moment}"

    def _command(self, protocol: GateProtocol) -> str:
        """What measures all that the gate asks for under a protocol."""
        alike = [condition for condition in self._conditions if condition.protocol == protocol]
        models = [self._candidate]
        if self._live not in (None, self._candidate) and any(isinstance(c, MaxDrop) for c in alike):
            both = [self._candidate, str(self._live)]
            models = models if self._obstacle(protocol, both) else both
        verb = f"run --domain {self._domain} --model {models[0]}"
        if len(models) > 1:
            verb = f"compare --domain {self._domain} --models {','.join(models)}"
        return f"hubspoke evaluate {verb}{_options(protocol, alike)}{self._snapshot(protocol, models)}"

    def _snapshot(self, protocol: GateProtocol, models: Sequence[str]) -> str:
        """The option that names the events that leave-one-out was kept from, where they are not the newest."""
        if protocol.name != "leave-one-out":
            return ""
        newest = f"snapshot:{self._domain}/events/latest"
        trained_on = {
            edge.parent
            for model in models
            for edge in self._context.registry.lineage.upstream(model).edges
            if edge.child == model and edge.relation == Relation.TRAINED_ON and edge.parent.startswith(newest[:-6])
        }
        own = max(trained_on, key=lambda ref: parse(ref).version or 0, default=None)
        if own is None or own == self._context.registry.resolve(newest).ref:
            return ""
        return f" --events {own}"


def _judged(
    condition: Condition,
    passes: bool,
    says: str,
    measured: float | None = None,
    interval: Estimate | None = None,
    evidence: tuple[str, ...] = (),
    remedy: str = _BETTER,
) -> Judgement:
    return Judgement(
        kind=condition.kind,
        metric=condition.metric,
        slice=condition.slice,
        required=condition.value,
        confidence=condition.confidence if isinstance(condition, MaxDrop) else None,
        protocol=condition.protocol.full().describe(),
        passes=passes,
        says=says,
        measured=measured,
        low=interval.low if interval else None,
        high=interval.high if interval else None,
        evidence=evidence,
        remedy="" if passes else remedy,
    )


def _protocol(record: EvaluationRecord) -> Protocol | None:
    """How an evaluation was measured; None where it says so in words that this code does not know."""
    said = {name: value for name, value in record.protocol.items() if name != "description"}
    try:
        return Protocol.model_validate(said)
    except ValidationError:
        return None


def _has_seen(model: ModelRecord, protocol: GateProtocol) -> bool:
    """Whether a spoke was trained on test events, as far as can be told without reading them."""
    if not model.summary.get("split"):
        return False
    if protocol.test_from is None:
        return model.summary.get("held_out") is None
    end = model.summary.get("training_end")
    return end is None or end >= int(protocol.test_from.timestamp() * 1_000_000)


def _in_words(protocol: GateProtocol) -> str:
    start = f" from {_text(protocol.test_from)}" if protocol.test_from else ""
    until = f" until {_text(protocol.test_until)}" if protocol.test_until else ""
    return f"{protocol.name}{start}{until} with seen items {'excluded' if protocol.exclude_seen else 'ranked'}"


def _options(protocol: GateProtocol, conditions: Sequence[Condition]) -> str:
    words = f" --protocol {protocol.name}"
    words += f" --test-from {_text(protocol.test_from)}" if protocol.test_from else ""
    words += f" --test-until {_text(protocol.test_until)}" if protocol.test_until else ""
    words += " --exclude-seen" if protocol.exclude_seen else ""
    ks = {int(condition.metric.partition("@")[2] or KS[0]) for condition in conditions}
    return words if ks <= set(KS) else f"{words} --k {','.join(map(str, sorted(ks | set(KS))))}"


def _text(moment: datetime) -> str:
    """A moment as the command line reads it."""
    return moment.isoformat().replace("+00:00", "Z")
