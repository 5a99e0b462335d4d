"""What every workflow works with: settings, registry, artifact store, data in memory, and whom to tell of progress.

The registry and the store are opened when they are first asked for, so that nothing is loaded in vain.
"""

from __future__ import annotations

import getpass
import os
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..progress import Progress
from ..settings import Settings
from .cache import Cache

if TYPE_CHECKING:
    from ..hub.model import Hub
    from ..registry.artifacts.local import ArtifactStore
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

    def lock(self, name: str) -> AbstractContextManager[None]:
        """Hold `name` against every other process that uses this registry; LockedError where another holds it."""
        return self.registry.lock(name)

    def close(self) -> None:
        """Close the registry's connections and let what is kept in memory go."""
        if "registry" in self.__dict__:
            self.registry.close()
        self.hubs.clear()
        self.data_cache.clear()
