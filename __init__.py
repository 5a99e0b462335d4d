"""hubspoke: launch new product categories with recommendation-grade embeddings.

`hubspoke.open()` gives a workspace whose methods mirror the commands; importing this package loads no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .door import door
from .errors import (
    CorruptArtifactError,
    HubspokeError,
    IncompatibleError,
    InvalidDataError,
    LockedError,
    MissingExtraError,
    NotFoundError,
    QualityGateError,
    SchemaVersionError,
    UsageError,
)
from .version import __version__

if TYPE_CHECKING:
    from .progress import Progress
    from .settings import Settings
    from .workflows.workspace import Workspace

__all__ = [
    "CorruptArtifactError",
    "HubspokeError",
    "IncompatibleError",
    "InvalidDataError",
    "LockedError",
    "MissingExtraError",
    "NotFoundError",
    "QualityGateError",
    "SchemaVersionError",
    "Settings",
    "UsageError",
    "Workspace",
    "__version__",
    "open",
]


@door
def open(
    url: str | None = None,
    *,
    create: bool = False,
    progress: Progress | None = None,
    actor: str | None = None,
    **settings: Any,
) -> Workspace:
    """Open a workspace; `hubspoke.open(workspace="shop", create=True)` makes it where there is none.

    Args:
        url: database of the registry (`sqlite:///path/registry.db`, `postgresql+psycopg://user@host/name`); by
            default the one that flags, environment or `hubspoke.yaml` name, else SQLite inside the workspace.
        create: make the workspace where there is none.
        progress: told how far a workflow is.
        actor: who promotes and rolls back, in the histories; by default the user's login name.
        settings: any field of `Settings`, such as `workspace`, `device` or `seed`.

    Raises:
        UsageError: an unknown setting or a wrong value.
        NotFoundError: there is no workspace, and `create` is off.
        SchemaVersionError: its schema is older or newer than this version of the package.
    """
    from .workflows.workspace import open_workspace

    return open_workspace(url, create=create, progress=progress, actor=actor, **settings)


def __getattr__(name: str) -> Any:
    """`Workspace` and `Settings`, imported when they are first asked for."""
    if name == "Workspace":
        from .workflows.workspace import Workspace

        return Workspace
    if name == "Settings":
        from .settings import Settings

        return Settings
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
