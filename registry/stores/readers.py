"""Which reader makes the record of a node of each kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sqlalchemy.orm import Session

from ..kinds import NodeKind
from ..records import AnyRecord
from ..schema import Node
from .domains import read_domain
from .evaluations import read_evaluation
from .indexes import read_index
from .models import read_model
from .releases import read_release
from .rules import read_rules
from .snapshots import read_snapshot

_READERS: Mapping[NodeKind, Callable[[Session, Node], AnyRecord]] = {
    NodeKind.DOMAIN: read_domain,
    NodeKind.ITEM_SNAPSHOT: read_snapshot,
    NodeKind.EVENT_SNAPSHOT: read_snapshot,
    NodeKind.HUB: read_model,
    NodeKind.SPOKE: read_model,
    NodeKind.RERANKER: read_model,
    NodeKind.INDEX: read_index,
    NodeKind.EVALUATION: read_evaluation,
    NodeKind.RULES: read_rules,
    NodeKind.RELEASE: read_release,
}


def read_record(session: Session, node: Node) -> AnyRecord:
    """The full record of a node of any kind."""
    return _READERS[NodeKind(node.kind)](session, node)
