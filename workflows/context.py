"""What every workflow works with: settings, registry, artifact store, data in memory, and whom to tell of progress.

The registry and the store are opened when they are first asked for, so that nothing is loaded in vain.
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from ..errors import HubspokeError, LockedError, UsageError
from ..forks import Lock as ThreadLock
from ..progress import Progress, Remark
from ..settings import Settings
from .cache import Cache

if TYPE_CHECKING:
    from ..hub.model import Hub
    from ..hub.training.checkpoints import Checkpoints
    from ..registry.artifacts.local import ArtifactStore
    from ..registry.artifacts.manifests import StoredArtifact
    from ..registry.database import DatabaseUrl
    from ..registry.locks import Lock
    from ..registry.ownership import Ownership
    from ..registry.store import Registry


class Context:
    """An open registry and artifact store; the histories name `actor`, by default the user's login name.

    Any number of threads may use it. A copy, and one that another process unpickles, is opened anew, without the
    progress.
    """

    def __init__(self, settings: Settings, progress: Progress | None = None, actor: str | None = None) -> None:
        if not isinstance(settings, Settings):
            raise UsageError(f"A workspace is made of Settings, not {settings!r}; open one with `hubspoke.open(...)`.")
        self.settings = settings
        self.progress = progress or Progress()
        if not actor:
            try:
                actor = getpass.getuser()
            except (OSError, KeyError):  # a container's user may have no name
                actor = f"user {os.getuid()}"
        self.actor = actor
        # A hub weighs up to gigabytes: a process serves one, and a second while moving to it.
        self.hubs: Cache[Hub] = Cache(2)
        # Catalogs and sequences of the two categories used last.
        self.data_cache: Cache[Any] = Cache(4)
        self._locks: list[Lock] = []
        self._unreached = Remark(lambda text: self.progress.note(text), "The registry answers again.")
        self._opening = ThreadLock()
        self._registry: Registry | None = None
        self._artifacts: ArtifactStore | None = None
        self._closed = False

    def acting_as(self, actor: str | None) -> Self:
        """The same workspace, with its connections and what it holds in memory, whose changes the histories give to
        `actor`; itself where that is None."""
        if actor is None:
            return self
        other = type(self)(self.settings, self.progress, actor)
        other._registry, other._artifacts = self.registry, self.artifacts
        other.hubs, other.data_cache = self.hubs, self.data_cache
        return other

    def __reduce__(self) -> tuple[type[Self], tuple[Settings, None, str]]:
        return type(self), (self.settings, None, self.actor)

    @cached_property
    def url(self) -> DatabaseUrl:
        """Where the registry's database is."""
        from ..registry.database import parse_url
        from ..registry.sqlite import sqlite_url

        return parse_url(self.settings.registry_url or sqlite_url(self.settings.registry_file))

    @property
    def registry(self) -> Registry:
        """The registry; SchemaVersionError where its schema is older or newer than this code's."""
        from ..registry.store import Registry

        with self._opening:
            self._require_open()
            if self._registry is None:
                self._registry = Registry(self.url)
            return self._registry

    @property
    def artifacts(self) -> ArtifactStore:
        """The artifact store."""
        from ..registry.artifacts.remote import open_store

        with self._opening:
            self._require_open()
            if self._artifacts is None:
                self._artifacts = open_store(self.settings.artifacts_location, self.settings.artifacts_dir)
            return self._artifacts

    def _require_open(self) -> None:
        if self._closed:
            raise UsageError(f"The workspace {self.settings.workspace} is closed; open it again.")

    @property
    def shown_url(self) -> str:
        """URL of the registry as a text, its password hidden."""
        from ..registry.database import shown

        return shown(self.url)

    @property
    def cache_dir(self) -> Path:
        """Folder of the embedding cache."""
        return self.settings.cache_dir

    @property
    def ownership(self) -> Ownership:
        """Whose the artifacts in the store are."""
        from ..registry.ownership import Ownership

        return Ownership(self.registry, self.artifacts)

    @contextmanager
    def lock(self, name: str) -> Iterator[Lock]:
        """Hold `name` against every other process that uses this registry, for work that ends in the artifact store.

        LockedError where another holds it, IncompatibleError where the store is another registry's.
        """
        with self.registry.lock(name) as held:
            self.require_writable()
            self._locks.append(held)
            try:
                yield held
            finally:
                self._locks.remove(held)

    @contextmanager
    def stage(self) -> Iterator[Path]:
        """An empty directory inside the store to write files into; IncompatibleError where it is another registry's."""
        self.require_writable()
        with self.artifacts.stage() as staged:
            yield staged

    def require_writable(self) -> None:
        """Refuse, before work that takes long, what the registry could not keep; IncompatibleError as `stage` has."""
        self.registry.require_writable()
        self.ownership.claim()

    def require_storable(self) -> None:
        """Refuse as `require_writable` does, and where the store could not take an artifact."""
        with self.stage():
            pass

    def commit(self, staged: Path, kind: str) -> StoredArtifact:
        """Make the staged directory an artifact of this registry; the row that refers to it has to be written next."""
        stored = self.artifacts.commit(staged, kind)
        # Before the row: an earlier copy of this registry must never think its own what a row of this one needs.
        self.ownership.stored()
        return stored

    def check_locks(self) -> None:
        """A LockedError where another process has taken what this one holds; work that takes long asks now and then.

        While the registry cannot be reached nobody can tell, and the work goes on: it may be back before the end.
        """
        for lock in tuple(self._locks):
            try:
                lock.check()
            except LockedError:
                raise
            except HubspokeError as error:
                self._unreached(f"{error} What is under way goes on meanwhile.")
            else:
                self._unreached("")

    def checkpoints(self, folder: Path, every: int) -> Checkpoints:
        """Checkpoints of a training under the locks that are held, in a folder of its own."""
        from ..hub.training.checkpoints import Checkpoints

        told = Remark(self.progress.note, "Checkpoints are written again.")
        return Checkpoints(folder, every, self.check_locks, told)

    def close(self) -> None:
        """Close the registry's connections and let what is kept in memory go; once more does nothing."""
        with self._opening:
            self._closed = True
            if self._registry is not None:
                self._registry.close()
        self.hubs.clear()
        self.data_cache.clear()
