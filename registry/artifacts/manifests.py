"""What names an artifact and proves it: the SHA-256 of every file, kept in a manifest beside the files.

The digest of an artifact covers its manifest's paths, hashes and sizes, so a manifest proves itself.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ...errors import CorruptArtifactError, NotFoundError, UsageError
from ...files import file_sha256, flush

MANIFEST = "artifact.json"
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class StoredArtifact:
    """A directory of the store."""

    digest: str  # SHA-256 over the sorted (path, SHA-256, size) of its files; names the directory
    kind: str  # what it holds, such as `spoke`
    bytes: int  # total size of its files
    files: Mapping[str, str]  # relative path (with `/`) to SHA-256


@dataclass(frozen=True)
class Manifest:
    """What `artifact.json` says: the artifact, and the size of each of its files in bytes."""

    stored: StoredArtifact
    sizes: Mapping[str, int]

    def to_bytes(self) -> bytes:
        """The content of `artifact.json`; equal artifacts of one kind give equal bytes."""
        stored = self.stored
        files = {name: {"sha256": digest, "bytes": self.sizes[name]} for name, digest in stored.files.items()}
        content = {"digest": stored.digest, "kind": stored.kind, "bytes": stored.bytes, "files": files}
        return json.dumps(content, indent=1, sort_keys=True).encode()


def is_digest(text: str) -> bool:
    """Whether a text is the name of an artifact."""
    return _DIGEST.fullmatch(text) is not None


def check_digest(digest: str) -> str:
    """The digest itself; a text that is none is a NotFoundError, so that no path is ever made of it."""
    if not is_digest(digest):
        raise NotFoundError(f"{digest!r} is not the digest of an artifact; check the reference.")
    return digest


def seal(folder: Path, kind: str) -> Manifest:
    """Hash every file of a folder, write the manifest beside them and flush it all to the disk."""
    hashes, sizes = {}, {}
    for name in _plain_files(folder):
        flush(folder / name)
        hashes[name], sizes[name] = file_sha256(folder / name), (folder / name).stat().st_size
    manifest = Manifest(StoredArtifact(_digest(hashes, sizes), kind, sum(sizes.values()), hashes), sizes)
    (folder / MANIFEST).write_bytes(manifest.to_bytes())
    for path in (folder / MANIFEST, folder, *filter(Path.is_dir, folder.rglob("*"))):
        flush(path)
    return manifest


def parse(content: bytes, digest: str) -> Manifest | None:
    """The manifest of the artifact `digest`, None where it is not that."""
    try:
        found = json.loads(content)
        hashes = {str(name): str(entry["sha256"]) for name, entry in found["files"].items()}
        sizes = {str(name): int(entry["bytes"]) for name, entry in found["files"].items()}
        stored = StoredArtifact(digest, str(found["kind"]), int(found["bytes"]), hashes)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    sound = _digest(hashes, sizes) == digest and stored.bytes == sum(sizes.values()) and all(map(stays_inside, hashes))
    return Manifest(stored, sizes) if sound else None


def read_manifest(folder: Path, digest: str) -> Manifest:
    """The manifest of the artifact in `folder`; a missing one, or another's, is a CorruptArtifactError."""
    with suppress(OSError):
        manifest = parse((folder / MANIFEST).read_bytes(), digest)
        if manifest is not None:
            return manifest
    raise corrupt(MANIFEST, digest, str(folder))


def verify_files(folder: Path, digest: str) -> int:
    """Hash every file of the artifact that lies in `folder`; their bytes."""
    manifest = read_manifest(folder, digest)
    for name, expected in manifest.stored.files.items():
        file = folder / name
        if not file.is_file() or file.stat().st_size != manifest.sizes[name] or file_sha256(file) != expected:
            raise corrupt(name, digest, str(folder))
    return manifest.stored.bytes


def is_sound(folder: Path) -> bool:
    """Whether the artifact in a folder of its digest's name is whole; one that vanishes meanwhile is not."""
    with suppress(CorruptArtifactError, FileNotFoundError):
        verify_files(folder, folder.name)
        return True
    return False


def corrupt(name: str, digest: str, where: str) -> CorruptArtifactError:
    """The error of a file that is not what its artifact says."""
    return CorruptArtifactError(
        f"{name} of artifact {digest[:12]} ({where}) no longer matches its checksum; repeat the command that made it, "
        "with --force where it has that option, or restore a backup."
    )


def _plain_files(folder: Path) -> list[str]:
    names = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise UsageError(f"{name} is not a plain file; stage a copy of what it points at.")
        if name == MANIFEST:
            raise UsageError(f"{MANIFEST} is the store's own file; stage yours under another name.")
        if path.is_file():
            names.append(name)
    if not names:
        raise UsageError(f"Nothing was written to {folder}; write at least one file before committing.")
    return names


def stays_inside(name: str) -> bool:
    """Whether a file of that relative path can only lie inside its artifact's folder."""
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and path.parts != ()


def _digest(hashes: Mapping[str, str], sizes: Mapping[str, int]) -> str:
    lines = (f"{name}\0{hashes[name]}\0{sizes[name]}\n" for name in sorted(hashes))
    return hashlib.sha256("".join(lines).encode()).hexdigest()
