"""Impact: what must be retrained, rebuilt or released again if a thing changes, in an order in which it can be done.

One recursive query fetches all that was made from it with what each took last time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from string import digits
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session, aliased

from ...results import Record
from ..kinds import ModelKind, ModelStatus, NodeKind, Relation, SnapshotKind
from ..records import NodeRecord
from ..references import LIVE
from ..rows import read_node
from ..schema import Alias, Domain, Edge, IndexVersion, Model, Node, Release, Snapshot
from .graph import Compound, keep_to_indexes, nodes_and_edges, parents_first, walk_from

RETRAIN: Final = "retrain"
REBUILD: Final = "rebuild"
RE_RELEASE: Final = "re-release"
ACTIONS = {
    **dict.fromkeys((kind.node_kind for kind in ModelKind), RETRAIN),
    NodeKind.INDEX: REBUILD,
    NodeKind.RELEASE: RE_RELEASE,
}
_Served = aliased(IndexVersion)


@dataclass(frozen=True)
class ImpactStep(Record):
    """One thing to do again."""

    order: int  # 1 for the first; every step comes after those that it depends on
    ref: str  # what is made again, as a new version
    kind: str  # kind of its node
    action: str  # `retrain`, `rebuild` or `re-release`
    domain: str | None  # whose it is, None for the hub
    aliases: tuple[str, ...]  # aliases that point at it
    serves: bool  # it is, or is a part of, a release that an alias points at
    # Vectors of an index or a release, catalog rows that a model was trained on; None where unknown.
    n_items: int | None
    seconds: float | None  # what it took last time; None where unknown
    depends_on: tuple[str, ...]  # steps that must be done before


@dataclass(frozen=True)
class ImpactTotals(Record):
    """What the steps add up to, and what is no step."""

    actions: Mapping[str, int]  # action to number of steps
    live_releases: int  # releases among the steps that an alias `live` points at
    seconds: float  # what all steps together took last time, as far as it is known
    evaluations: int  # evaluations that speak of what was asked about or of what was made from it
    rule_sets: int  # versions of merchandising rules made from it
    old_releases: int  # releases of it that no alias points at any more, which nobody has to make again


@dataclass(frozen=True)
class Impact(Record):
    """What follows from a change of `root`; `live` where only what serves now was asked for."""

    root: NodeRecord
    live: bool
    steps: tuple[ImpactStep, ...]
    totals: ImpactTotals


@dataclass
class _Fact:
    """One node of the closure: what the database says of it, and how it hangs together with the others."""

    kind: str
    ref: str
    domain: str | None
    aliases: tuple[str, ...]
    n_items: int | None
    seconds: float | None
    is_step: bool  # it has to be made again: a release only where somebody is served from it
    parents: set[int] = field(default_factory=set)
    releases: set[int] = field(default_factory=set)

    @property
    def serves(self) -> bool:
        return bool(self.releases) or (self.kind == NodeKind.RELEASE and bool(self.aliases))

    @cached_property
    def key(self) -> tuple[str, str, int]:
        """Where it stands among others that could be done at the same moment: `garden:9` before `garden:10`."""
        name = self.ref.rstrip(digits)
        return self.domain or "", name, int(self.ref[len(name) :] or 0)


def impact(session: Session, root: Node, live: bool) -> Impact:
    """What must be retrained, rebuilt or released again if a node changes."""
    facts = _facts(session, root.id)
    chosen = {k for k, fact in facts.items() if k != root.id and fact.is_step and (fact.serves or not live)}
    # Of what could come next, first what is no step, then by domain and name.
    order = parents_first({key: fact.parents for key, fact in facts.items()}, lambda k: (k in chosen, facts[k].key))
    # The nearest steps above each node; what is no step hands on those above itself.
    needs: dict[int, set[int]] = {}
    for key in order:
        needs[key] = {near for up in facts[key].parents for near in ({up} if up in chosen else needs[up])}
    keys = [key for key in order if key in chosen]
    steps = tuple(_step(facts, key, number, needs[key]) for number, key in enumerate(keys, start=1))
    del facts[root.id]
    evaluations = [fact for fact in facts.values() if fact.kind == NodeKind.EVALUATION]
    releases = [step for step in steps if step.kind == NodeKind.RELEASE]
    totals = ImpactTotals(
        actions={action: sum(step.action == action for step in steps) for action in (RETRAIN, REBUILD, RE_RELEASE)},
        live_releases=sum(any(alias.endswith(f"@{LIVE}") for alias in step.aliases) for step in releases),
        seconds=sum(step.seconds or 0.0 for step in steps),
        evaluations=sum(bool(fact.parents & chosen) for fact in evaluations) if live else len(evaluations),
        rule_sets=sum(fact.kind == NodeKind.RULES for fact in facts.values()),
        old_releases=sum(fact.kind == NodeKind.RELEASE and not fact.aliases for fact in facts.values()),
    )
    return Impact(read_node(session, root), live, steps, totals)


def impact_query(root_id: int) -> Compound:
    """One recursive query for all that was made from a node: a row of facts per node, then a row per edge."""
    walk = walk_from(root_id, "downstream")
    seen = select(Edge.parent_id).where(Edge.child_id == walk.c.id, Edge.relation == Relation.TRAINED_ON)
    rows = select(func.sum(Snapshot.rows)).where(
        Snapshot.kind == SnapshotKind.ITEMS, Snapshot.id.in_(seen.correlate(walk))
    )
    aliases = select(func.aggregate_strings(Alias.scope + "@" + Alias.name, " ")).where(Alias.node_id == walk.c.id)
    facts = (
        select(
            walk.c.id,
            Node.kind,
            Node.ref,
            Domain.name.label("domain"),
            Model.status,
            Model.started_at,
            Model.finished_at,
            rows.correlate(walk).scalar_subquery().label("trained_rows"),
            func.coalesce(IndexVersion.n_items, _Served.n_items).label("indexed"),
            IndexVersion.seconds,
            aliases.correlate(walk).scalar_subquery().label("aliases"),
        )
        .join(Node, Node.id == walk.c.id)
        .outerjoin(Domain, Domain.id == Node.domain_id)
        .outerjoin(Model, Model.id == walk.c.id)
        .outerjoin(IndexVersion, IndexVersion.id == walk.c.id)
        .outerjoin(Release, Release.id == walk.c.id)
        .outerjoin(_Served, _Served.id == Release.index_id)
    )
    return nodes_and_edges(walk, "downstream", facts, (Edge.parent_id, Edge.child_id, Edge.relation))


def _facts(session: Session, root: int) -> dict[int, _Fact]:
    facts: dict[int, _Fact] = {}
    edges = []
    keep_to_indexes(session)
    for row in session.execute(impact_query(root)):
        if row.kind is None:
            edges.append(row)
        else:
            is_model = row.status is not None
            n_items = row.trained_rows if is_model else row.indexed
            took = (row.finished_at - row.started_at).total_seconds() if is_model and row.finished_at else row.seconds
            facts[row.id] = _Fact(
                kind=row.kind,
                ref=row.ref,
                domain=row.domain,
                aliases=tuple(sorted((row.aliases or "").split())),
                n_items=None if n_items is None else int(n_items),  # PostgreSQL sums into a decimal
                seconds=took,
                is_step=row.status in (None, ModelStatus.READY)
                and row.kind in ACTIONS
                and (row.kind != NodeKind.RELEASE or bool(row.aliases)),
            )
    for row in edges:
        parent, child = facts[row.parent_id], facts[row.child_id]
        child.parents.add(row.parent_id)
        if row.relation == Relation.RELEASED_AS and child.aliases:
            parent.releases.add(row.child_id)
    return facts


def _step(facts: Mapping[int, _Fact], key: int, order: int, needs: Iterable[int]) -> ImpactStep:
    fact = facts[key]
    before = sorted((facts[parent] for parent in needs), key=lambda parent: parent.key)
    return ImpactStep(
        order=order,
        ref=fact.ref,
        kind=fact.kind,
        action=ACTIONS[NodeKind(fact.kind)],
        domain=fact.domain,
        aliases=fact.aliases,
        serves=fact.serves,
        n_items=fact.n_items,
        seconds=fact.seconds,
        depends_on=tuple(parent.ref for parent in before),
    )
