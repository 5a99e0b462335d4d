"""Which store reads the record of a node of each kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sqlalchemy.orm import Session

from ..kinds import NodeKind
from ..records import AnyRecord
from ..schema import Node
from .domains import DomainStore
from .evaluations import EvaluationStore
from .indexes import IndexStore
from .models import ModelStore
from .releases import ReleaseStore
from .rules import RuleStore
from .snapshots import SnapshotStore

_STORES = (DomainStore, SnapshotStore, ModelStore, IndexStore, EvaluationStore, RuleStore, ReleaseStore)
_READERS: Mapping[NodeKind, Callable[[Session, Node], AnyRecord]] = {
    kind: store.read for store in _STORES for kind in store.kinds
}


def read_record(session: Session, node: Node) -> AnyRecord:
    """The full record of a node of any kind."""
    return _READERS[NodeKind(node.kind)](session, node)
