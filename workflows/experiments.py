"""The noun `experiment`: the release in service and another one, each shown to a part of a category's shoppers.

The registry keeps who is compared with whom and what was decided before it started; services split the shoppers and
log who saw what, while the release in service is the experiment's control.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..door import checked
from ..errors import NotFoundError, QualityGateError, UsageError
from ..registry.kinds import DomainStatus, NodeKind
from ..registry.records import ExperimentPlan, ExperimentRecord
from ..registry.references import EXPERIMENT, LIVE
from ..results import Record
from .experiment_metrics import PER_SHOPPER, REVENUE
from .gates import Gates
from .releases import Promotion, promote
from .targets import pointed_at

if TYPE_CHECKING:
    from ..catalog.exposures import Arm
    from .context import Context
    from .experiment_reports import ExperimentReport

WEEK = timedelta(days=7)


@dataclass(frozen=True)
class ExperimentResult(Record):
    """An experiment as it is now; of a dry run as it would be, without salt.

    `cached`: it had ended already. `gate` says what a promotion of the candidate would be told now.
    """

    experiment: ExperimentRecord
    cached: bool = False
    dry_run: bool = False
    gate: str | None = None


@dataclass(frozen=True)
class ExperimentPromotion(Record):
    """The candidate of an experiment made live, and the experiment, which has ended with that.

    `overruled` is what spoke against it.
    """

    experiment: ExperimentRecord
    promotion: Promotion
    verdict: str
    overruled: str | None = None


@checked
class Experiments:
    """Experiments on shoppers of the domains."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def start(
        self,
        domain: str,
        candidate: str,
        *,
        share: float = 0.5,
        metric: str = REVENUE,
        planned: int = 10_000,
        window: timedelta = WEEK,
        reason: str | None = None,
        dry_run: bool = False,
    ) -> ExperimentResult:
        """Show a `share` of the shoppers another release than the live one, from now until the experiment is stopped.

        `metric` decides, by what each shopper does within `window` of the first list; its intervals are tightest near
        `planned` shoppers.
        """
        if metric not in PER_SHOPPER:
            raise UsageError(f"No experiment goes by {metric!r}; use one of {', '.join(PER_SHOPPER)}.")
        plan = ExperimentPlan(share, planned, window.total_seconds(), metric)
        experiments = self._context.registry.experiments
        experiments.check(domain, plan)
        control, release = self._arms(domain, candidate)
        gate = self._gate(domain, release)
        if dry_run:
            before = experiments.list(domain)
            version = before[-1].version + 1 if before else 1
            told = domain, version, control, release, share, "", planned, plan.window_seconds, metric
            made = ExperimentRecord(*told, self._context.actor, reason, datetime.now(UTC))
        else:
            made = experiments.add(domain, control, release, plan, self._context.actor, reason)
        return ExperimentResult(made, dry_run=dry_run, gate=gate)

    def stop(self, ref: str, *, reason: str | None = None, dry_run: bool = False) -> ExperimentResult:
        """End an experiment, or the one that runs in a domain: everybody is shown the live release again."""
        found = self.find(ref)
        cached = found.stopped_at is not None
        if not cached and not dry_run:
            found = self._context.registry.experiments.stop(found.ref, self._context.actor, reason)
        return ExperimentResult(found, cached, dry_run)

    def report(self, ref: str, *, impressions: Path | None = None, target: Arm = "candidate") -> ExperimentReport:
        """How far an experiment, or that of a domain, has come: its split and how far its releases are apart.

        `impressions` is a Parquet file to write for `quality.business`, with the probability of each list and that of a
        policy that shows everybody the arm `target`.
        """
        from .experiment_reports import report

        return report(self._context, self.find(ref), impressions, target)

    def promote(
        self, ref: str, *, reason: str | None = None, override: bool = False, dry_run: bool = False
    ) -> ExperimentPromotion:
        """Make the candidate live where its split is sound and what decides is clearly better, and end the experiment.

        The gate is asked as by every promotion; `override`, with a reason, overrules both. What was killed between the
        two is repeated.
        """
        from .experiment_reports import figure_of, report

        if override and not (reason or "").strip():
            raise UsageError("Overruling an experiment needs a reason, which the history keeps; give --reason TEXT.")
        context, own = self._context, self.find(ref)
        live = pointed_at(context.registry, own.domain, LIVE)
        found = report(context, own)
        against = None if live == own.candidate else against_promotion(found)
        if against and not override:
            raise QualityGateError(
                f"{against} Wait for more, end it with `hubspoke experiment stop {own.domain}`, or overrule it with "
                "--override --reason TEXT."
            )
        told = f"{own.ref}: {figure_of(found)}"
        why = "; ".join(filter(None, (told, against and f"overruled: {against}", reason)))
        how: Any = {"override": override, "expected": live, "decided_by": own.ref, "dry_run": dry_run}
        moved = promote(context, own.candidate, reason=why, **how)
        if not dry_run:
            own = context.registry.experiments.stop(own.ref, context.actor, f"{own.candidate} was promoted")
        return ExperimentPromotion(own, moved, found.verdict, against)

    def list(self, domain: str | None = None) -> list[ExperimentRecord]:
        """Experiments, oldest first, of one domain if asked."""
        return self._context.registry.experiments.list(domain)

    def find(self, ref: str) -> ExperimentRecord:
        """The experiment of that reference; of a domain the one that runs, else the newest."""
        experiments = self._context.registry.experiments
        if ref.strip().startswith(EXPERIMENT):
            return experiments.get(ref)
        known = experiments.list(ref.strip())
        if not known:
            raise NotFoundError(
                f"{ref} has had no experiment; start one with `hubspoke experiment start {ref} --candidate REF`."
            )
        return known[-1]  # none starts while another runs

    def _arms(self, domain: str, candidate: str) -> tuple[str, str]:
        """The releases to be compared: the live one, and the one that `candidate` names."""
        registry = self._context.registry
        if registry.domains.get(domain).status == DomainStatus.ARCHIVED:
            raise UsageError(
                f"{domain} is archived and serves nobody; bring it back with `hubspoke domain archive {domain} "
                "--restore`."
            )
        control = pointed_at(registry, domain, LIVE)
        if control is None:
            raise NotFoundError(
                f"Nothing is live in {domain} yet, so there is nothing to compare with; promote a version first."
            )
        node = registry.resolve(candidate)
        if node.kind != NodeKind.RELEASE:
            raise UsageError(
                f"{node.ref} is no release; make it one with `hubspoke promote {node.ref} --to candidate` and name "
                f"{domain}@candidate."
            )
        if node.domain != domain:
            raise UsageError(f"{node.ref} does not serve {domain}; name a release of {domain}.")
        if node.ref == control:
            raise UsageError(
                f"{node.ref} is live in {domain} already and cannot be compared with itself; name another candidate."
            )
        return control, node.ref

    def _gate(self, domain: str, candidate: str) -> str | None:
        """Whether the candidate meets the gate in front of `live` now; None where there is none."""
        gates = Gates(self._context)
        if not any(LIVE in condition["aliases"] for condition in gates.show(domain).conditions):
            return None
        check = gates.check(domain, candidate)
        return (
            f"{candidate} meets the gate now" if check.passes else f"{candidate} does not meet it now: {check.failed}"
        )


def against_promotion(found: ExperimentReport) -> str | None:
    """Why what was found is no reason to promote the candidate; None where it is one."""
    if found.live != found.experiment.control:
        return f"{found.live} is live, and {found.experiment.ref} has compared with {found.experiment.control}."
    return None if found.outcome == "better" else found.verdict
