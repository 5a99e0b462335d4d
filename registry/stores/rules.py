"""The registry's merchandising rules: versions of a domain's rules, equal ones registered once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from ..kinds import NodeKind, Relation
from ..records import Parent, RulesRecord
from ..rows import NodeStore, add_edges, domain_row
from ..schema import RuleSet


class RuleStore(NodeStore[RulesRecord]):
    """Merchandising rules of a registry."""

    kinds = (NodeKind.RULES,)
    table = RuleSet
    record = RulesRecord

    def add(self, domain: str, content: Mapping[str, Any]) -> tuple[RulesRecord, bool]:
        """Register a version of a domain's rules; equal rules give the earlier version and False."""
        written = json.dumps(content, sort_keys=True, separators=(",", ":"))
        fingerprint = hashlib.sha256(written.encode()).hexdigest()
        with self.database.write() as session:
            owner = domain_row(session, domain)
            same = self._query().where(RuleSet.domain_id == owner.id, RuleSet.fingerprint == fingerprint)
            for known in self.records(session, same):
                return known, False
            columns = {"fingerprint": fingerprint, "content": json.loads(written)}
            node = self._new(session, NodeKind.RULES, owner, f"{domain} rules, version {{}}", columns)
            add_edges(session, node, [Parent(f"domain:{domain}", Relation.BUILT_FROM)])
            return self.read(session, node), True

    def list(self, domain: str | None = None) -> list[RulesRecord]:
        """Rules, oldest first, of one domain if asked."""
        return self._list(domain)
