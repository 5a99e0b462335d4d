"""Which kind of artifact store a place needs."""

from __future__ import annotations

from pathlib import Path

from .local import ArtifactStore


def open_store(location: Path | str, copies: Path) -> ArtifactStore:
    """The store at a folder, or at an fsspec URL such as `s3://bucket/prefix`, whose read copies lie in `copies`."""
    if isinstance(location, Path) or "://" not in location:
        return ArtifactStore(Path(location))
    from .remote import RemoteArtifactStore

    return RemoteArtifactStore(location, copies)
