"""The registry: one door to domains, snapshots, models, indexes, evaluations, releases, aliases and their lineage.

`Registry(url)` opens an existing one; `migrate.upgrade(url)` makes it. Each method of a store is one transaction.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

from sqlalchemy import false, insert, select

from .database import Database, DatabaseUrl
from .lineage.store import LineageStore
from .locks import AdvisoryLock, FileLock, Lock, held
from .records import AnyRecord, NodeRecord
from .references import Reference
from .rows import find_node, read_node
from .schema import Node
from .stores.aliases import AliasStore
from .stores.artifacts import ArtifactRows
from .stores.domains import DomainStore
from .stores.evaluations import EvaluationStore
from .stores.experiments import ExperimentStore
from .stores.gates import GateStore
from .stores.indexes import IndexStore
from .stores.judgements import JudgementStore
from .stores.models import ModelStore
from .stores.readers import read_record
from .stores.releases import ReleaseStore
from .stores.rules import RuleStore
from .stores.snapshots import SnapshotStore
from .stores.stamps import StampStore
from .transfer.bundles import BundleStore


class Registry(AbstractContextManager["Registry"]):
    """An open registry; each noun has its store, such as `registry.models.get("garden:7")`.

    A NotFoundError where there is none at the URL, a SchemaVersionError where its schema is not this code's.
    """

    def __init__(self, url: DatabaseUrl) -> None:
        self.database = Database(url)
        try:
            self.database.check_schema()
        except BaseException:
            self.database.close()
            raise
        self.domains = DomainStore(self.database)
        self.snapshots = SnapshotStore(self.database)
        self.models = ModelStore(self.database)
        self.indexes = IndexStore(self.database)
        self.evaluations = EvaluationStore(self.database)
        self.rules = RuleStore(self.database)
        self.releases = ReleaseStore(self.database)
        self.gates = GateStore(self.database)
        self.judgements = JudgementStore(self.database)
        self.experiments = ExperimentStore(self.database)
        self.aliases = AliasStore(self.database)
        self.artifacts = ArtifactRows(self.database)
        self.stamps = StampStore(self.database)
        self.lineage = LineageStore(self.database)
        self.bundles = BundleStore(self.database)

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection."""
        self.database.close()

    def require_writable(self) -> None:
        """Refuse, before work that takes long, to store what could not be stored."""
        with self.database.write() as session:
            # No row, but the database is asked what it asks of any: the place, the right to it and a writable disk.
            session.execute(insert(Node).from_select([Node.id], select(Node.id).where(false()), include_defaults=False))

    def resolve(self, ref: str | Reference) -> NodeRecord:
        """The node that a reference points at, aliases and `latest` followed."""
        with self.database.read() as session:
            return read_node(session, find_node(session, ref))

    def get(self, ref: str | Reference | NodeRecord) -> AnyRecord:
        """The full record of what a reference points at."""
        with self.database.read() as session:
            return read_record(session, find_node(session, ref.ref if isinstance(ref, NodeRecord) else ref))

    def lock(self, name: str) -> AbstractContextManager[Lock]:
        """Hold `name` (such as `train garden`) against every other process of this registry; released if it dies."""
        path = self.database.path
        return held(AdvisoryLock(self.database, name) if path is None else FileLock(path, name))
