"""The registry's experiments: two releases of a domain shown to parts of its shoppers, one experiment at a time."""

from __future__ import annotations

from dataclasses import asdict

from sqlalchemy import func, select
from sqlalchemy.orm import Session, aliased

from ...errors import LockedError, NotFoundError, UsageError
from ..kinds import NodeKind
from ..records import ExperimentPlan, ExperimentRecord
from ..references import experiment_ref, parse_experiment
from ..rows import Joined, Store, domain_row, expect_kind, fill, find_node, now
from ..schema import Domain, Experiment, Node

_Control, _Candidate = aliased(Node), aliased(Node)
_RUNS = Experiment.stopped_at.is_(None)


class ExperimentStore(Store):
    """Experiments of a registry."""

    def add(
        self, domain: str, control: str, candidate: str, plan: ExperimentPlan, actor: str, reason: str | None = None
    ) -> ExperimentRecord:
        """Start one on two releases of the domain; a LockedError while another runs there."""
        _require_plan(plan)
        with self.database.write() as session:
            owner = domain_row(session, domain)
            _require_free(session, owner)
            arms = [_release(session, owner, ref) for ref in (control, candidate)]
            if arms[0].id == arms[1].id:
                raise UsageError(f"{arms[0].ref} cannot be compared with itself; name another candidate.")
            last = session.scalar(select(func.max(Experiment.version)).where(Experiment.domain_id == owner.id)) or 0
            row = Experiment(domain_id=owner.id, version=last + 1, control_id=arms[0].id, candidate_id=arms[1].id)
            for name, value in asdict(plan).items():
                setattr(row, name, value)
            row.actor, row.reason, row.started_at = actor, reason, now()
            session.add(row)
            session.flush()
            return _one(session, owner.name, row.version)

    def check(self, domain: str, plan: ExperimentPlan) -> None:
        """Refuse what `add` would: a plan that cannot be, and a second experiment."""
        _require_plan(plan)
        with self.database.read() as session:
            _require_free(session, domain_row(session, domain))

    def get(self, ref: str) -> ExperimentRecord:
        """The experiment of that reference, such as experiment:garden/1."""
        with self.database.read() as session:
            return _one(session, *parse_experiment(ref))

    def running(self, domain: str) -> ExperimentRecord | None:
        """The experiment that runs in a domain, if one does."""
        with self.database.read() as session:
            return _running(session, domain_row(session, domain))

    def all_running(self) -> list[ExperimentRecord]:
        """Every experiment that runs, in one query."""
        with self.database.read() as session:
            return _records(session, _query().where(_RUNS).order_by(Experiment.id))

    def stop(self, ref: str, actor: str, reason: str | None = None) -> ExperimentRecord:
        """End one; one that has ended stays as it was."""
        with self.database.write() as session:
            found = _one(session, *parse_experiment(ref))
            if found.stopped_at is not None:
                return found
            owner = domain_row(session, found.domain)
            mine = select(Experiment).where(Experiment.domain_id == owner.id, Experiment.version == found.version)
            row = session.scalars(mine).one()
            row.stopped_at, row.stopped_by, row.stop_reason = now(), actor, reason
            session.flush()
            return _one(session, found.domain, found.version)

    def list(self, domain: str | None = None) -> list[ExperimentRecord]:
        """Experiments, oldest first, of one domain if asked."""
        query = _query().order_by(Experiment.id)
        with self.database.read() as session:
            if domain is not None:
                query = query.where(Experiment.domain_id == domain_row(session, domain).id)
            return _records(session, query)


def _query() -> Joined:
    query: Joined = select(
        Experiment, Domain.name.label("domain"), _Control.ref.label("control"), _Candidate.ref.label("candidate")
    )
    query = query.join(Domain, Domain.id == Experiment.domain_id)
    query = query.join(_Control, _Control.id == Experiment.control_id)
    return query.join(_Candidate, _Candidate.id == Experiment.candidate_id)


def _records(session: Session, query: Joined) -> list[ExperimentRecord]:
    return [fill(ExperimentRecord, row[0], row._asdict()) for row in session.execute(query)]


def _one(session: Session, domain: str, version: int) -> ExperimentRecord:
    owner = domain_row(session, domain)
    mine = _query().where(Experiment.domain_id == owner.id, Experiment.version == version)
    for found in _records(session, mine):
        return found
    raise NotFoundError(
        f"There is no {experiment_ref(domain, version)}; see `hubspoke experiment list {domain}` for those there are."
    )


def _release(session: Session, owner: Domain, ref: str) -> Node:
    node = expect_kind(find_node(session, ref), NodeKind.RELEASE)
    if node.domain_id != owner.id:
        raise UsageError(f"{node.ref} does not serve {owner.name}; name a release of {owner.name}.")
    return node


def _running(session: Session, owner: Domain) -> ExperimentRecord | None:
    return next(iter(_records(session, _query().where(Experiment.domain_id == owner.id, _RUNS))), None)


def _require_free(session: Session, owner: Domain) -> None:
    running = _running(session, owner)
    if running is not None:
        raise LockedError(
            f"{running.ref} runs in {owner.name}, where only one can at a time; end it with "
            f"`hubspoke experiment stop {owner.name}`."
        )


def _require_plan(plan: ExperimentPlan) -> None:
    if not 0 < plan.share < 1:
        raise UsageError(f"A share of {plan.share:g} leaves one side without shoppers; give one between 0 and 1.")
    if plan.planned < 1:
        raise UsageError(f"No experiment is planned for {plan.planned} shoppers; give at least 1.")
    if not 0 < plan.window_seconds < float("inf"):
        raise UsageError(f"A window of {plan.window_seconds:g} seconds counts nothing; give more than 0.")
