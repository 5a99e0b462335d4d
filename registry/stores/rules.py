"""The registry's merchandising rules: versions of a domain's rules, equal ones registered once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from ..kinds import NodeKind, Relation
from ..records import Parent, RulesRecord
from ..references import Reference
from ..rows import Joined, Store, add_edges, domain_row, expect_kind, find_node, new_node, next_version
from ..schema import Domain, Node, RuleSet


class RuleStore(Store):
    """Merchandising rules of a registry."""

    def add(self, domain: str, content: Mapping[str, Any]) -> tuple[RulesRecord, bool]:
        """Register a version of a domain's rules; equal rules give the earlier version and False.

        Raises:
            NotFoundError: there is no such domain.
        """
        said = json.dumps(content, sort_keys=True, separators=(",", ":"))
        fingerprint = hashlib.sha256(said.encode()).hexdigest()
        with self.database.write() as session:
            owner = domain_row(session, domain)
            same = _select().where(RuleSet.domain_id == owner.id, RuleSet.fingerprint == fingerprint)
            known = session.execute(same).first()
            if known is not None:
                return _record(*known), False
            version = next_version(session, RuleSet.version, RuleSet.domain_id == owner.id)
            reference = Reference(NodeKind.RULES, domain, version)
            node = new_node(session, reference, owner.id, f"{domain} rules, version {version}")
            session.add(
                RuleSet(
                    id=node.id, domain_id=owner.id, version=version, fingerprint=fingerprint, content=json.loads(said)
                )
            )
            session.flush()
            add_edges(session, node, [Parent(f"domain:{domain}", Relation.BUILT_FROM)])
            return read_rules(session, node), True

    def get(self, ref: str) -> RulesRecord:
        """The rules that `ref` points at.

        Raises:
            NotFoundError: it points at nothing.
            UsageError: it points at something else.
        """
        with self.database.read() as session:
            return read_rules(session, find_node(session, ref))

    def list(self, domain: str | None = None) -> list[RulesRecord]:
        """Rules, oldest first, of one domain if asked.

        Raises:
            NotFoundError: there is no such domain.
        """
        query = _select().order_by(Node.id)
        with self.database.read() as session:
            if domain is not None:
                query = query.where(RuleSet.domain_id == domain_row(session, domain).id)
            return [_record(*row) for row in session.execute(query)]


def read_rules(session: Session, node: Node) -> RulesRecord:
    """The record of a node that is a set of rules."""
    expect_kind(node, NodeKind.RULES)
    return _record(*session.execute(_select().where(RuleSet.id == node.id)).one())


def _select() -> Joined:
    return (
        select(RuleSet, Node, Domain.name)
        .join(Node, Node.id == RuleSet.id)
        .join(Domain, Domain.id == RuleSet.domain_id)
    )


def _record(rules: RuleSet, node: Node, domain: str) -> RulesRecord:
    return RulesRecord(node.ref, domain, rules.version, rules.content, node.created_at)
