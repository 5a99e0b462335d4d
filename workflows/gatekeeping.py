"""The noun `gate`: set, show and remove a domain's gate, and judge a version by it before an alias moves.

Judging reads recorded evaluations only (`workflows.evidence`); nothing is measured here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ..errors import QualityGateError, UsageError
from ..registry.references import LIVE
from ..results import Record

if TYPE_CHECKING:
    from ..registry.records import GateRecord
    from .context import Context
    from .evidence import Judgement


@dataclass(frozen=True)
class GateResult(Record):
    """A domain's gate.

    Attributes:
        domain: the category.
        conditions: each complete in itself, see `Minimum` and `MaxDrop`; empty where there is no gate.
        actor: who set it, None where none was ever set.
        reason: why.
        at: since when.
        cached: whether what was asked for was in force already.
        dry_run: whether nothing was changed.
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
    """Whether a version would pass now.

    Attributes:
        domain: the category.
        alias: the alias that it would be promoted to.
        ref: what was asked about.
        subject: the spoke, or the hub where it serves alone, that evaluations are looked up of.
        live: the same of what the alias points at; None where it points at nothing.
        passes: whether every condition holds.
        conditions: how each was judged.
        remedy: what to do where it does not pass; empty where it does.
    """

    domain: str
    alias: str
    ref: str
    subject: str
    live: str | None
    passes: bool
    conditions: Sequence[Judgement]
    remedy: str

    @property
    def failed(self) -> str:
        """The conditions that do not hold, in words."""
        return "; ".join(dict.fromkeys(judged.says for judged in self.conditions if not judged.passes))


class Gates:
    """The gates of the domains: what `hubspoke evaluate gate` does."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def show(self, domain: str) -> GateResult:
        """The gate in force.

        Raises:
            NotFoundError: there is no such domain.
        """
        found = self._context.registry.gates.get(domain)
        return GateResult(domain, ()) if found is None else _result(found)

    def history(self, domain: str) -> list[GateResult]:
        """Every gate that the domain has had, newest first; one without conditions removed the one before.

        Raises:
            NotFoundError: there is no such domain.
        """
        return [_result(record) for record in self._context.registry.gates.list(domain)]

    def set(
        self,
        domain: str,
        minimum: Mapping[str, float] | None = None,
        max_drop: Mapping[str, float] | None = None,
        protocol: str = "leave-one-out",
        exclude_seen: bool = False,
        test_from: datetime | None = None,
        test_until: datetime | None = None,
        confidence: float = 0.95,
        aliases: Sequence[str] = (LIVE,),
        reason: str | None = None,
        dry_run: bool = False,
    ) -> GateResult:
        """Put a gate in force in place of the one before.

        Args:
            domain: the category.
            minimum: metric to the least mean that it must have; `cold:ndcg@10` names a slice.
            max_drop: metric, named likewise, to how much lower than that of the version in service it may be.
            protocol: `leave-one-out` or `temporal`, of the evaluations that count.
            exclude_seen: whether those took the items of the history out of the ranking.
            test_from: start of their temporal test window.
            test_until: its end, not included.
            confidence: level of the interval that a `max_drop` is judged by.
            aliases: what the gate stands in front of.
            reason: why, for the history.
            dry_run: only check it.

        Raises:
            NotFoundError: there is no such domain.
            UsageError: there is no condition, or one that is not usable.
        """
        from .gates import parse_gate

        measured = {"name": protocol, "exclude_seen": exclude_seen, "test_from": test_from, "test_until": test_until}
        shared = {"protocol": measured, "aliases": tuple(aliases)}
        conditions = [{"kind": "minimum", **_named(name, value), **shared} for name, value in (minimum or {}).items()]
        conditions += [
            {"kind": "max_drop", **_named(name, value), "confidence": confidence, **shared}
            for name, value in (max_drop or {}).items()
        ]
        if not conditions:
            raise UsageError("A gate without conditions guards nothing; give --min or --max-drop, or --clear it.")
        return self._put(domain, parse_gate(conditions).to_json(), reason, dry_run)

    def clear(self, domain: str, reason: str | None = None, dry_run: bool = False) -> GateResult:
        """Let everything pass from now on.

        Raises:
            NotFoundError: there is no such domain.
        """
        return self._put(domain, [], reason, dry_run)

    def check(self, domain: str, ref: str, alias: str = LIVE) -> GateCheck:
        """Whether what `ref` names would pass the gate in front of `alias` now.

        Raises:
            NotFoundError: there is no such domain or version.
            UsageError: `ref` cannot serve the domain.
        """
        from .releases import subjects

        candidate, live = subjects(self._context, domain, ref, alias)
        found = self._context.registry.gates.get(domain)
        conditions = () if found is None else found.conditions
        return check(self._context, domain, alias, ref, candidate, live, conditions)

    def _put(self, domain: str, conditions: list[dict[str, Any]], reason: str | None, dry_run: bool) -> GateResult:
        context = self._context
        before = self.show(domain)
        if list(before.conditions) == conditions:
            return GateResult(domain, conditions, before.actor, before.reason, before.at, cached=True, dry_run=dry_run)
        if dry_run:
            return GateResult(domain, conditions, context.actor, reason, dry_run=True)
        return _result(context.registry.gates.set(domain, conditions, context.actor, reason))


def check(
    context: Context,
    domain: str,
    alias: str,
    ref: str,
    candidate: str,
    live: str | None,
    conditions: Sequence[Mapping[str, Any]],
) -> GateCheck:
    """Judge a version by the conditions that guard an alias.

    Args:
        context: the workspace.
        domain: the category.
        alias: the alias that is to move.
        ref: what is to be promoted, as the person wrote it.
        candidate: the model that its evaluations are looked up of.
        live: the model in service, None for nothing.
        conditions: the gate as the registry keeps it.
    """
    from .evidence import Judge
    from .gates import parse_gate

    judge = Judge(context, domain, candidate, live, parse_gate(conditions).guarding(alias))
    judged = judge.judge()
    passes = all(judgement.passes for judgement in judged)
    overrule = f"overrule the gate with `hubspoke promote {ref} --to {alias} --override --reason TEXT`"
    remedies = [] if passes else [words for words in (judge.remedy(judged), overrule) if words]
    return GateCheck(domain, alias, ref, candidate, live, passes, judged, ", or ".join(remedies))


def refusal(found: GateCheck) -> QualityGateError:
    """The error of a version that does not pass."""
    return QualityGateError(
        f"{found.subject} does not meet the gate of {found.domain}@{found.alias}: {found.failed}; {found.remedy}."
    )


def _named(name: str, value: float) -> dict[str, Any]:
    slice_name, colon, metric = name.rpartition(":")
    return {"metric": metric, "slice": slice_name if colon else "all", "value": value}


def _result(record: GateRecord) -> GateResult:
    return GateResult(record.domain, record.conditions, record.actor, record.reason, record.at)
