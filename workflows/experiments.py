"""The noun `experiment`: the release in service and another one, each shown to a part of a category's shoppers.

The registry keeps who is compared with whom and what was decided before it started; services split the shoppers and
log who saw what, while the release in service is the experiment's control.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from ..door import checked
from ..errors import NotFoundError, UsageError
from ..registry.kinds import DomainStatus, NodeKind
from ..registry.records import ExperimentPlan, ExperimentRecord
from ..registry.references import EXPERIMENT, LIVE
from ..results import Record
from .experiment_metrics import PER_SHOPPER, REVENUE
from .gates import Gates
from .targets import pointed_at

if TYPE_CHECKING:
    from .context import Context

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
