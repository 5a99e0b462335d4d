"""The registry's judgements: what people think of what was recommended after a session."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select

from ..records import JudgementRecord
from ..rows import Store, domain_row, fill, find_node, now
from ..schema import Judgement, Node


class JudgementStore(Store):
    """Judgements of a registry."""

    def add(self, domain: str, ref: str, session: Sequence[str], item: str, good: bool, actor: str) -> None:
        """Keep that somebody finds an item a good, or a bad, recommendation of `ref` after a session."""
        with self.database.write() as write:
            owner, node = domain_row(write, domain), find_node(write, ref)
            row = Judgement(domain_id=owner.id, node_id=node.id, session=list(session), item=item, actor=actor)
            row.verdict, row.at = (1 if good else -1), now()
            write.add(row)

    def list(self, domain: str) -> list[JudgementRecord]:
        """The judgements of a domain, oldest first; of several by one person on one thing the newest alone."""
        with self.database.read() as read:
            owner = domain_row(read, domain)
            query = select(Judgement, Node.ref).join(Node, Node.id == Judgement.node_id)
            rows = read.execute(query.where(Judgement.domain_id == owner.id).order_by(Judgement.id))
            newest: dict[tuple[object, ...], JudgementRecord] = {}
            for row, ref in rows:
                key = row.actor, tuple(row.session), row.item
                newest.pop(key, None)
                known = {"domain": domain, "ref": ref, "session": tuple(row.session), "good": row.verdict > 0}
                newest[key] = fill(JudgementRecord, row, known)
            return [*newest.values()]
