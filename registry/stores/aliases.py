"""The registry's aliases: movable names of releases (`garden@live`) and of the hub, with their whole history.

A move is one transaction in the writer's only place: of two at once, the second starts where the first ended.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from ...errors import LockedError, NotFoundError, UsageError
from ..kinds import AliasAction, NodeKind
from ..records import AliasChange, AliasRecord, GateRecord, ReleaseParts
from ..references import HUB_SCOPE, check_alias
from ..rows import Store, domain_row, fill, find_node, now
from ..schema import Alias, AliasMove, Domain, Node
from .gates import newest_gate
from .models import ready_model
from .releases import ReleaseStore

ANYTHING: Final = "*"
_From = aliased(Node)
_To = aliased(Node)


@dataclass(frozen=True)
class Seen:
    """What a caller saw before it decided on a move, which is refused where that has changed since."""

    target: str | None = ANYTHING  # what the alias pointed at, None for nothing
    gate: GateRecord | str | None = ANYTHING  # the domain's gate, None for none


class AliasStore(Store):
    """Aliases of a registry; a scope is the name of a domain, or `hub`."""

    def promote(
        self,
        scope: str,
        alias: str,
        target: str | ReleaseParts,
        actor: str,
        reason: str | None = None,
        overridden: str | None = None,
        seen: Seen = Seen(),
    ) -> AliasChange:
        """Point `alias` of a domain at one of its releases, or of the hub at one of its versions.

        Parts that are no release yet become one in the same transaction. `overridden` names in words the gate that is
        in the way; a LockedError where what the caller had `seen` has changed.
        """
        check_alias(alias)
        with self.database.write() as session:
            owner = _owner(session, scope)
            if seen.gate != ANYTHING and owner is not None and newest_gate(session, owner) != seen.gate:
                raise LockedError(
                    f"The gate of {scope} has changed since this move was judged; look at `hubspoke gate show "
                    f"{scope}` and repeat the command."
                )
            node = _target(session, owner, target)
            row = session.get(Alias, (scope, alias))
            before = None if row is None else session.get_one(Node, row.node_id)
            move = AliasMove(scope=scope, alias=alias, action=AliasAction.PROMOTE, actor=actor, reason=reason)
            move.overridden = overridden
            return _move(session, move, before, node, seen.target)

    def rollback(
        self, scope: str, alias: str, actor: str, reason: str | None = None, expected: str | None = ANYTHING
    ) -> AliasChange:
        """Point `alias` back at what it pointed at before its last promotion that still stands.

        A NotFoundError where that is nothing, a LockedError where it no longer points at what the caller `expected`.
        """
        with self.database.write() as session:
            before, target = _way_back(session, scope, alias)
            move = AliasMove(scope=scope, alias=alias, action=AliasAction.ROLLBACK, actor=actor, reason=reason)
            return _move(session, move, before, target, expected)

    def way_back(self, scope: str, alias: str) -> tuple[str, str]:
        """What `alias` points at, and what a rollback would point it at; a NotFoundError where that is nothing."""
        with self.database.read() as session:
            before, target = _way_back(session, scope, alias)
            return before.ref, target.ref

    def history(self, scope: str, alias: str | None = None) -> list[AliasChange]:
        """Every move of one alias, or of all of the scope's, oldest first."""
        query = (
            select(AliasMove, _From.ref.label("from_ref"), _To.ref.label("to_ref"))
            .outerjoin(_From, _From.id == AliasMove.from_node_id)
            .join(_To, _To.id == AliasMove.to_node_id)
            .where(AliasMove.scope == scope)
            .order_by(AliasMove.id)
        )
        if alias is not None:
            query = query.where(AliasMove.alias == alias)
        with self.database.read() as session:
            _owner(session, scope)
            return [fill(AliasChange, row[0], row._asdict()) for row in session.execute(query)]

    def list(self, scope: str | None = None) -> list[AliasRecord]:
        """Where the aliases point now, of one scope if asked."""
        query = select(Alias, Node.ref).join(Node, Node.id == Alias.node_id).order_by(Alias.scope, Alias.name)
        with self.database.read() as session:
            if scope is not None:
                _owner(session, scope)
                query = query.where(Alias.scope == scope)
            return [AliasRecord(alias.scope, alias.name, ref) for alias, ref in session.execute(query)]


def _owner(session: Session, scope: str) -> Domain | None:
    """The domain that is the scope, None for the hub."""
    return None if scope == HUB_SCOPE else domain_row(session, scope)


def _target(session: Session, owner: Domain | None, target: str | ReleaseParts) -> Node:
    if owner is None and isinstance(target, ReleaseParts):
        raise UsageError("An alias of the hub cannot point at a release; name a hub version such as hub:4.")
    if owner is not None and isinstance(target, ReleaseParts):
        return ReleaseStore.make(session, owner, target)
    node = find_node(session, str(target))
    if owner is None:
        if node.kind != NodeKind.HUB:
            raise UsageError(f"An alias of the hub cannot point at {node.ref}; name a hub version such as hub:4.")
        return ready_model(session, node.ref)
    if node.kind != NodeKind.RELEASE or node.domain_id != owner.id:
        raise UsageError(
            f"An alias of {owner.name} cannot point at {node.ref}; name a release such as release:{owner.name}/1, or "
            "make one."
        )
    return node


def _move(session: Session, move: AliasMove, before: Node | None, target: Node, expected: str | None) -> AliasChange:
    """Make a move that is written down but for its ends; one that leads nowhere leaves no trace."""
    found = None if before is None else before.ref
    if expected not in (ANYTHING, found):
        raise LockedError(
            f"{move.scope}@{move.alias} points at {found or 'nothing'}, no longer at {expected or 'nothing'}, since "
            "another process moved it; look at `hubspoke history` and repeat the command."
        )
    move.at = now()
    change = fill(AliasChange, move, {"from_ref": found, "to_ref": target.ref})
    if before is None or before.id != target.id:
        move.from_node_id, move.to_node_id = None if before is None else before.id, target.id
        session.merge(Alias(scope=move.scope, name=move.alias, node_id=target.id))
        session.add(move)
    return change


def _way_back(session: Session, scope: str, alias: str) -> tuple[Node, Node]:
    _owner(session, scope)
    query = select(AliasMove).where(AliasMove.scope == scope, AliasMove.alias == alias).order_by(AliasMove.id)
    # Nodes that the alias was promoted to and not rolled back from; the last is the current one.
    standing: list[int] = []
    for move in session.scalars(query):
        if move.action == AliasAction.ROLLBACK:
            standing.pop()
        else:
            standing.append(move.to_node_id)
    if len(standing) < 2:
        raise NotFoundError(f"{scope}@{alias} has no earlier version to return to; promote one instead.")
    return session.get_one(Node, standing[-1]), session.get_one(Node, standing[-2])
