"""Which kind of artifact store a place needs."""

from __future__ import annotations

from pathlib import Path

from .local import ArtifactStore


def open_store(location: Path | str, copies: Path) -> ArtifactStore:
    """The store at a folder, or at an fsspec URL such as `s3://bucket/prefix`.

    Args:
        location: where the artifacts lie; a text with `://` is a URL.
        copies: folder of the local read copies of a store at a URL.

    Raises:
        MissingExtraError: the URL's driver is not installed.
        UsageError: no such kind of URL.
    """
    if isinstance(location, Path) or "://" not in location:
        return ArtifactStore(Path(location))
    from .remote import RemoteArtifactStore

    return RemoteArtifactStore(location, copies)
