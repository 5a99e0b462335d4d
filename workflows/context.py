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
from typing import TYPE_CHECKING, Any

from ..progress import Progress
from ..settings import Settings
from .cache import Cache

if TYPE_CHECKING:
    from ..hub.model import Hub
    from ..registry.artifacts.local import ArtifactStore
    from ..registry.artifacts.manifests import StoredArtifact
    from ..registry.ownership import Ownership
    from ..registry.store import Registry


class Context:
    """An open registry and artifact store; the histories name `actor`, by default the user's login name."""

    def __init__(self, settings: Settings, progress: Progress | None = None, actor: str | None = None) -> None:
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

    @cached_property
    def registry(self) -> Registry:
        """The registry; SchemaVersionError where its schema is older or newer than this code's."""
        from ..registry.store import Registry

        return Registry(self.settings.url)

    @cached_property
    def artifacts(self) -> ArtifactStore:
        """The artifact store."""
        from ..registry.artifacts.remote import open_store

        return open_store(self.settings.artifacts_location, self.settings.artifacts_dir)

    @property
    def shown_url(self) -> str:
        """URL of the registry, its password hidden."""
        from ..registry.database import parse_url

        return parse_url(self.settings.url).render_as_string(hide_password=True)

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
    def lock(self, name: str) -> Iterator[None]:
        """Hold `name` against every other process that uses this registry, for work that ends in the artifact store.

        LockedError where another holds it, IncompatibleError where the store is another registry's.
        """
        with self.registry.lock(name):
            self.ownership.claim()
            yield

    @contextmanager
    def stage(self) -> Iterator[Path]:
        """An empty directory inside the store to write files into; IncompatibleError where it is another registry's."""
        self.ownership.claim()
        with self.artifacts.stage() as staged:
            yield staged

    def commit(self, staged: Path, kind: str) -> StoredArtifact:
        """Make the staged directory an artifact of this registry; the row that refers to it has to be written next."""
        stored = self.artifacts.commit(staged, kind)
        # Before the row: an earlier copy of this registry must never think its own what a row of this one needs.
        self.ownership.stored()
        return stored

    def close(self) -> None:
        """Close the registry's connections and let what is kept in memory go."""
        if "registry" in self.__dict__:
            self.registry.close()
        self.hubs.clear()
        self.data_cache.clear()
