"""The registry's gates: what a version must have shown before an alias of its domain may point at it.

What a condition means is the workflows' business; here each change is kept, with who made it and why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from ..records import GateRecord
from ..rows import Store, domain_row, fill, now
from ..schema import Domain, Gate


class GateStore(Store):
    """Gates of a registry."""

    def set(
        self, domain: str, conditions: Sequence[Mapping[str, Any]], actor: str, reason: str | None = None
    ) -> GateRecord:
        """Put a gate in force; without conditions there is none from now on."""
        with self.database.write() as session:
            owner = domain_row(session, domain)
            gate = Gate(domain_id=owner.id, conditions=[dict(c) for c in conditions], actor=actor, reason=reason)
            gate.at = now()
            session.add(gate)
            return _gates(session, owner)[0]

    def get(self, domain: str) -> GateRecord | None:
        """The gate in force, None where none was ever set."""
        with self.database.read() as session:
            return newest_gate(session, domain_row(session, domain))

    def list(self, domain: str) -> list[GateRecord]:
        """Every gate that a domain has had, newest first."""
        with self.database.read() as session:
            return _gates(session, domain_row(session, domain))


def newest_gate(session: Session, owner: Domain) -> GateRecord | None:
    """The gate of a domain as the caller's transaction sees it."""
    return next(iter(_gates(session, owner)), None)


def _gates(session: Session, owner: Domain) -> list[GateRecord]:
    rows = session.scalars(select(Gate).where(Gate.domain_id == owner.id).order_by(Gate.id.desc()))
    return [fill(GateRecord, gate, {"domain": owner.name, "conditions": tuple(gate.conditions)}) for gate in rows]
