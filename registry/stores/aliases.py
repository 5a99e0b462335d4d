"""The registry's aliases: movable names of releases (`garden@live`) and of the hub, with their whole history.

A move is one transaction in the writer's only place: of two at once, the second starts where the first ended.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from ...errors import LockedError, NotFoundError, UsageError
from ..kinds import AliasAction, NodeKind
from ..records import AliasChange, AliasRecord, GateRecord, NodeRecord, ReleaseParts
from ..references import HUB_SCOPE, Reference, check_alias
from ..rows import Joined, Store, domain_row, find_node, now, read_node
from ..schema import Alias, AliasMove, Domain, Node
from .gates import newest_gate
from .indexes import ready_model
from .releases import make_release

ANYTHING: Final = "*"
_From = aliased(Node)
_To = aliased(Node)


class AliasStore(Store):
    """Aliases of a registry."""

    def promote(
        self,
        scope: str,
        alias: str,
        target: str | ReleaseParts,
        actor: str,
        reason: str | None = None,
        expected: str | None = ANYTHING,
        overridden: str | None = None,
        judged: GateRecord | str | None = ANYTHING,
    ) -> AliasChange:
        """Point `alias` of a domain at one of its releases, or of the hub at one of its versions.

        Parts that are no release yet become one in the same transaction.

        Args:
            scope: a domain's name, or `hub`.
            alias: such as `live`.
            target: what it is to point at: a reference, or the parts of a release of the domain.
            actor: who moves it.
            reason: why.
            expected: what the caller saw it point at (a reference, or None for nothing); a move since then is refused.
            overridden: the gate that was in the way and is overridden, in words.
            judged: the domain's gate by which the caller judged the move, None for no gate; another gate since then
                is refused.

        Raises:
            NotFoundError: the domain or what `target` names does not exist.
            UsageError: the target is of the wrong kind or domain, or not ready.
            IncompatibleError: the parts of the release do not fit together.
            LockedError: the alias has moved, or the gate has changed, since the caller looked.
        """
        check_alias(alias)
        with self.database.write() as session:
            _check_judged(session, scope, judged)
            node = _target(session, scope, target)
            row = session.get(Alias, (scope, alias))
            before = None if row is None else session.get_one(Node, row.node_id)
            _check_expected(scope, alias, before, expected)
            return _move(session, scope, alias, AliasAction.PROMOTE, before, node, actor, reason, overridden)

    def rollback(
        self, scope: str, alias: str, actor: str, reason: str | None = None, expected: str | None = ANYTHING
    ) -> AliasChange:
        """Point `alias` back at what it pointed at before its last promotion that still stands.

        Raises:
            NotFoundError: there is nothing before.
            LockedError: the alias has moved since the caller looked (`expected`, as in `promote`).
        """
        with self.database.write() as session:
            before, target = _way_back(session, scope, alias)
            _check_expected(scope, alias, before, expected)
            return _move(session, scope, alias, AliasAction.ROLLBACK, before, target, actor, reason)

    def way_back(self, scope: str, alias: str) -> tuple[str, str]:
        """What `alias` points at, and what a rollback would point it at.

        Raises:
            NotFoundError: there is nothing before.
        """
        with self.database.read() as session:
            before, target = _way_back(session, scope, alias)
            return before.ref, target.ref

    def history(self, scope: str, alias: str | None = None) -> list[AliasChange]:
        """Every move of one alias, or of all of the scope's, oldest first.

        Raises:
            NotFoundError: there is no such domain.
        """
        query = _select().where(AliasMove.scope == scope).order_by(AliasMove.id)
        if alias is not None:
            query = query.where(AliasMove.alias == alias)
        with self.database.read() as session:
            _check_scope(session, scope)
            return [_record(*row) for row in session.execute(query)]

    def resolve(self, scope: str, alias: str) -> NodeRecord:
        """The node that an alias points at.

        Raises:
            NotFoundError: it points at nothing.
        """
        hub = scope == HUB_SCOPE
        reference = Reference(NodeKind.HUB if hub else NodeKind.RELEASE, None if hub else scope, alias=alias)
        with self.database.read() as session:
            return read_node(session, find_node(session, reference))

    def list(self, scope: str | None = None) -> list[AliasRecord]:
        """Where the aliases point now, of one scope if asked.

        Raises:
            NotFoundError: there is no such domain.
        """
        query = select(Alias, Node.ref).join(Node, Node.id == Alias.node_id).order_by(Alias.scope, Alias.name)
        with self.database.read() as session:
            if scope is not None:
                _check_scope(session, scope)
                query = query.where(Alias.scope == scope)
            return [AliasRecord(alias.scope, alias.name, ref) for alias, ref in session.execute(query)]


def _check_scope(session: Session, scope: str) -> Domain | None:
    return None if scope == HUB_SCOPE else domain_row(session, scope)


def _target(session: Session, scope: str, target: str | ReleaseParts) -> Node:
    owner = _check_scope(session, scope)
    if isinstance(target, ReleaseParts):
        if owner is None:
            raise UsageError("An alias of the hub cannot point at a release; name a hub version such as hub:4.")
        return make_release(session, owner, target)[0]
    node = find_node(session, target)
    if owner is None:
        if node.kind != NodeKind.HUB:
            raise UsageError(f"An alias of the hub cannot point at {node.ref}; name a hub version such as hub:4.")
        return ready_model(session, node.ref)
    if node.kind != NodeKind.RELEASE or node.domain_id != owner.id:
        raise UsageError(
            f"An alias of {scope} cannot point at {node.ref}; name a release such as release:{scope}/1, or make one."
        )
    return node


def _check_expected(scope: str, alias: str, before: Node | None, expected: str | None) -> None:
    found = None if before is None else before.ref
    if expected not in (ANYTHING, found):
        raise LockedError(
            f"{scope}@{alias} points at {found or 'nothing'}, no longer at {expected or 'nothing'}, since another "
            "process moved it; look at `hubspoke history` and repeat the command."
        )


def _check_judged(session: Session, scope: str, judged: GateRecord | str | None) -> None:
    owner = _check_scope(session, scope)
    if judged != ANYTHING and owner is not None and newest_gate(session, owner) != judged:
        raise LockedError(
            f"The gate of {scope} has changed since this move was judged; look at `hubspoke gate show {scope}` and "
            "repeat the command."
        )


def _move(
    session: Session,
    scope: str,
    alias: str,
    action: AliasAction,
    before: Node | None,
    target: Node,
    actor: str,
    reason: str | None,
    overridden: str | None = None,
) -> AliasChange:
    at = now()
    before_id, before_ref = (None, None) if before is None else (before.id, before.ref)
    if before_id != target.id:
        session.merge(Alias(scope=scope, name=alias, node_id=target.id))
        session.add(
            AliasMove(
                scope=scope,
                alias=alias,
                action=action,
                from_node_id=before_id,
                to_node_id=target.id,
                actor=actor,
                reason=reason,
                overridden=overridden,
                at=at,
            )
        )
        session.flush()
    return AliasChange(scope, alias, action, before_ref, target.ref, actor, reason, at, overridden)


def _way_back(session: Session, scope: str, alias: str) -> tuple[Node, Node]:
    _check_scope(session, scope)
    standing = _standing(session, scope, alias)
    if len(standing) < 2:
        raise NotFoundError(f"{scope}@{alias} has no earlier version to return to; promote one instead.")
    return session.get_one(Node, standing[-1]), session.get_one(Node, standing[-2])


def _standing(session: Session, scope: str, alias: str) -> list[int]:
    """Node ids that the alias was promoted to and not rolled back from, oldest first; the last is the current one."""
    query = select(AliasMove).where(AliasMove.scope == scope, AliasMove.alias == alias).order_by(AliasMove.id)
    standing: list[int] = []
    for move in session.scalars(query):
        if move.action == AliasAction.ROLLBACK:
            standing.pop()
        else:
            standing.append(move.to_node_id)
    return standing


def _select() -> Joined:
    return (
        select(AliasMove, _From.ref, _To.ref)
        .outerjoin(_From, _From.id == AliasMove.from_node_id)
        .join(_To, _To.id == AliasMove.to_node_id)
    )


def _record(move: AliasMove, from_ref: str | None, to_ref: str) -> AliasChange:
    return AliasChange(
        scope=move.scope,
        alias=move.alias,
        action=move.action,
        from_ref=from_ref,
        to_ref=to_ref,
        actor=move.actor,
        reason=move.reason,
        at=move.at,
        overridden=move.overridden,
    )
