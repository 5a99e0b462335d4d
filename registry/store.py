"""The registry: one door to domains, snapshots, models, indexes, evaluations, releases, aliases and their lineage.

`Registry(url)` opens an existing one; `migrate.upgrade(url)` makes it. Each method is one transaction.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType

from sqlalchemy.orm import Session

from .database import Database
from .kinds import NodeKind
from .lineage.differences import DifferenceStore
from .lineage.graph import LineageStore
from .lineage.impact import ImpactStore
from .lineage.staleness import StalenessStore
from .locks import lock
from .records import AnyRecord, NodeRecord
from .references import Reference
from .rows import find_node, read_node
from .schema import Node
from .stores.aliases import AliasStore
from .stores.domains import DomainStore, read_domain
from .stores.evaluations import EvaluationStore, read_evaluation
from .stores.gates import GateStore
from .stores.indexes import IndexStore, read_index
from .stores.models import ModelStore, read_model
from .stores.releases import ReleaseStore, read_release
from .stores.rules import RuleStore, read_rules
from .stores.snapshots import SnapshotStore, read_snapshot
from .transfer.bundles import BundleStore

_READERS: dict[NodeKind, Callable[[Session, Node], AnyRecord]] = {
    NodeKind.DOMAIN: read_domain,
    NodeKind.ITEM_SNAPSHOT: read_snapshot,
    NodeKind.EVENT_SNAPSHOT: read_snapshot,
    NodeKind.HUB: read_model,
    NodeKind.SPOKE: read_model,
    NodeKind.INDEX: read_index,
    NodeKind.EVALUATION: read_evaluation,
    NodeKind.RELEASE: read_release,
    NodeKind.RERANKER: read_model,
    NodeKind.RULES: read_rules,
}


class Registry(
    DomainStore,
    SnapshotStore,
    ModelStore,
    IndexStore,
    EvaluationStore,
    RuleStore,
    ReleaseStore,
    GateStore,
    AliasStore,
    LineageStore,
    ImpactStore,
    DifferenceStore,
    StalenessStore,
    BundleStore,
):
    """An open registry.

    Args:
        url: `sqlite:///path/registry.db` or `postgresql+psycopg://user@host/name`.

    Raises:
        NotFoundError: there is no registry at the URL.
        SchemaVersionError: its schema is older or newer than this code.
        MissingExtraError: the PostgreSQL driver is not installed.
        HubspokeError: the database cannot be reached or read.
    """

    def __init__(self, url: str) -> None:
        self.database = Database(url)
        try:
            self.database.check_schema()
        except BaseException:
            self.database.close()
            raise

    def __enter__(self) -> Registry:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection."""
        self.database.close()

    def resolve(self, ref: str | Reference) -> NodeRecord:
        """The node that a reference points at, aliases and `latest` followed.

        Raises:
            UsageError: the reference is malformed.
            NotFoundError: it points at nothing.
        """
        with self.database.read() as session:
            return read_node(session, find_node(session, ref))

    def get(self, ref: str | Reference | NodeRecord) -> AnyRecord:
        """The full record of what a reference points at.

        Raises:
            UsageError: the reference is malformed.
            NotFoundError: it points at nothing.
        """
        with self.database.read() as session:
            return _read(session, find_node(session, ref.ref if isinstance(ref, NodeRecord) else ref))

    def lock(self, name: str) -> AbstractContextManager[None]:
        """Hold `name` (such as `train garden`) against every other process of this registry; released if it dies.

        Raises:
            LockedError: another holds it; the sentence says who, where that is known.
        """
        return lock(self.database, name)


def _read(session: Session, node: Node) -> AnyRecord:
    return _READERS[NodeKind(node.kind)](session, node)
