"""The noun `gate`: what a version must have shown before an alias of its domain may point at it.

A gate is a list of conditions, kept in the registry as plain JSON. Judging one reads recorded evaluations only; it is
in `conditions`, imported when there is something to judge, so that a promotion without a gate stays quick.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ..door import checked
from ..errors import QualityGateError, UsageError
from ..registry.references import LIVE, check_alias
from ..results import Record
from .targets import Target, find_target, pointed_at

if TYPE_CHECKING:
    from ..evaluation.protocols import Protocol
    from ..registry.records import GateRecord
    from .context import Context
    from .verdicts import Verdict


@dataclass(frozen=True)
class GateResult(Record):
    """A domain's gate: since when it is in force, by whom, and why.

    Each of the conditions is complete in itself (`conditions.Minimum`, `Maximum`, `MaxDrop`); without any there is no
    gate. `cached`: what was asked for was in force already.
    """

    domain: str
    conditions: Sequence[Mapping[str, Any]]
    actor: str | None = None
    reason: str | None = None
    at: datetime | None = None
    cached: bool = False
    dry_run: bool = False


@dataclass(frozen=True)
class GateCheck(Record):
    """Whether what `ref` names would pass the gate in front of an alias now.

    `subject` is the model that evaluations are looked up of: the re-ranker, else the spoke, or the hub where it serves
    alone; `live` is the same of what the alias points at. `remedy` is what to do where it does not pass.
    """

    domain: str
    alias: str
    ref: str
    subject: str
    live: str | None
    passes: bool
    conditions: Sequence[Verdict]
    remedy: str

    @property
    def failed(self) -> str:
        """The conditions that do not hold, in words."""
        return "; ".join(dict.fromkeys(verdict.says for verdict in self.conditions if not verdict.passes))

    def require_passing(self) -> None:
        """Refuse what does not pass."""
        if not self.passes:
            raise QualityGateError(
                f"{self.subject} does not meet the gate of {self.domain}@{self.alias}: {self.failed}; {self.remedy}."
            )


@checked
class Gates:
    """The gates of the domains."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def show(self, domain: str) -> GateResult:
        """The gate in force."""
        found = self._context.registry.gates.get(domain)
        return GateResult(domain, ()) if found is None else _result(found)

    def history(self, domain: str) -> list[GateResult]:
        """Every gate that the domain has had, newest first; one without conditions removed the one before."""
        return [_result(record) for record in self._context.registry.gates.list(domain)]

    def set(
        self,
        domain: str,
        minimum: Mapping[str, float] | None = None,
        max_drop: Mapping[str, float] | None = None,
        *,
        maximum: Mapping[str, float] | None = None,
        protocol: Protocol | None = None,
        confidence: float = 0.95,
        aliases: Sequence[str] = (LIVE,),
        reason: str | None = None,
        dry_run: bool = False,
    ) -> GateResult:
        """Put a gate in force in place of the one before.

        Args:
            minimum: metric to the least mean that it must have; `cold:ndcg@10` names a slice. Metrics are those of
                `evaluation.catalogue`.
            maximum: metric to the largest that it may have, where less is better, as of `hubness`.
            max_drop: metric, named likewise, to how much worse than that of the version in service it may be.
            protocol: how the evaluations that count were measured: its split, dates and whether seen items are ranked.
            confidence: level of the interval that a `max_drop` is judged by.
            aliases: what the gate stands in front of.
        """
        from .conditions import parse_conditions

        for alias in aliases:
            check_alias(alias)
        shared: dict[str, Any] = {"aliases": tuple(aliases)} | ({} if protocol is None else {"protocol": protocol})
        conditions = []
        drop = shared | {"confidence": confidence}
        bounds = (("minimum", minimum, shared), ("maximum", maximum, shared), ("max_drop", max_drop, drop))
        for kind, asked, own in bounds:
            for name, value in (asked or {}).items():
                slice_name, colon, metric = name.rpartition(":")
                where = {"metric": metric, "slice": slice_name if colon else "all"}
                conditions.append({"kind": kind, "value": value, **where, **own})
        if not conditions:
            raise UsageError(
                f"A gate without conditions guards nothing; give --min, --max or --max-drop, or remove it with "
                f"`hubspoke gate clear {domain}`."
            )
        plain = [condition.model_dump(mode="json") for condition in parse_conditions(conditions)]
        return self._put(domain, plain, reason, dry_run)

    def clear(self, domain: str, *, reason: str | None = None, dry_run: bool = False) -> GateResult:
        """Let everything pass from now on."""
        return self._put(domain, [], reason, dry_run)

    def check(self, domain: str, ref: str, alias: str = LIVE) -> GateCheck:
        """Whether what `ref` names would pass the gate in front of `alias` now."""
        check_alias(alias)
        registry = self._context.registry
        target = find_target(registry, ref)
        if target.domain != domain:
            raise UsageError(f"{ref} does not serve {domain}; name a spoke, index or release of {domain}.")
        before = pointed_at(registry, domain, alias)
        return check_gate(self._context, registry.gates.get(domain), target, ref, alias, before)

    def _put(self, domain: str, conditions: list[dict[str, Any]], reason: str | None, dry_run: bool) -> GateResult:
        context = self._context
        before = self.show(domain)
        if list(before.conditions) == conditions:
            return GateResult(domain, conditions, before.actor, before.reason, before.at, cached=True, dry_run=dry_run)
        if dry_run:
            return GateResult(domain, conditions, context.actor, reason, dry_run=True)
        return _result(context.registry.gates.set(domain, conditions, context.actor, reason))


def check_gate(
    context: Context, gate: GateRecord | None, target: Target, ref: str, alias: str, before: str | None
) -> GateCheck:
    """Judge what `ref` named by the conditions that guard an alias, beside the release `before` that it points at."""
    domain, candidate = str(target.domain), target.subject
    serving = None if before is None else find_target(context.registry, before)
    live = serving.subject if serving else None
    if gate is None or not gate.conditions:
        return GateCheck(domain, alias, ref, candidate, live, True, (), "")
    from .assessments import Assessments
    from .conditions import parse_conditions
    from .verdicts import Evidence, remedy

    # Another alias may have other conditions, or none.
    guarding = [condition for condition in parse_conditions(gate.conditions) if alias in condition.aliases]
    assessments = Assessments(context, domain, target.assessed, serving.assessed if serving else ())
    verdicts = Evidence(context, domain, candidate, live, guarding, assessments).verdicts()
    passes = all(verdict.passes for verdict in verdicts)
    overrule = f"overrule the gate with `hubspoke promote {ref} --to {alias} --override --reason TEXT`"
    remedies = [] if passes else [words for words in (remedy(verdicts), overrule) if words]
    return GateCheck(domain, alias, ref, candidate, live, passes, verdicts, ", or ".join(remedies))


def _result(record: GateRecord) -> GateResult:
    return GateResult(record.domain, record.conditions, record.actor, record.reason, record.at)
