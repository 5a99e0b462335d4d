"""The artifact store: directories named by the SHA-256 of what is in them, written whole or not at all.

A directory is staged beside its place, flushed to the disk and renamed; what is read is hashed again first.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import CorruptArtifactError, NotFoundError, UsageError
from .faults import file_faults

MANIFEST = "artifact.json"
_STAGING = "staging"
_DIGEST = re.compile(r"[0-9a-f]{64}")
_CHUNK = 1 << 20


@dataclass(frozen=True)
class StoredArtifact:
    """A directory of the store.

    Attributes:
        digest: SHA-256 over the sorted (path, SHA-256, size) of its files; names the directory.
        kind: what it holds, such as `spoke`.
        bytes: total size of its files.
        files: relative path (with `/`) to SHA-256.
    """

    digest: str
    kind: str
    bytes: int
    files: Mapping[str, str]


class ArtifactStore:
    """Content-addressed directories under `root`.

    Args:
        root: the store's folder; made when something is first written.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, digest: str) -> Path:
        """Where the artifact of that digest lies, or would.

        Raises:
            NotFoundError: not a digest.
        """
        if not _DIGEST.fullmatch(digest):
            raise NotFoundError(f"{digest!r} is not the digest of an artifact; check the reference.")
        return self.root / digest[:2] / digest

    @contextmanager
    def stage(self) -> Iterator[Path]:
        """An empty directory inside the store to write files into; gone at the end unless committed.

        Raises:
            HubspokeError: the disk is full, or the store cannot be written.
        """
        self.sweep_stale()
        staged = self.root / _STAGING / f"{_me()}-{secrets.token_hex(4)}"
        try:
            with file_faults(self.root):
                staged.mkdir(parents=True)
                yield staged
        finally:
            shutil.rmtree(staged, ignore_errors=True)

    def commit(self, staged: Path, kind: str) -> StoredArtifact:
        """Make the staged directory an artifact; equal content that is already there is kept instead.

        Raises:
            UsageError: nothing was staged, or something that is no plain file.
            HubspokeError: the disk is full, or the store cannot be written; nothing half-written is left.
        """
        with file_faults(self.root):
            hashes = {name: _flush_and_hash(staged / name) for name in _staged_files(staged)}
            sizes = {name: (staged / name).stat().st_size for name in hashes}
            stored = StoredArtifact(_digest(hashes, sizes), kind, sum(sizes.values()), hashes)
            _write_manifest(staged, stored, sizes)
            self._place(staged, self.path(stored.digest))
        return stored

    def open(self, digest: str, verify: bool = True) -> Path:
        """The artifact's directory, every file hashed first unless `verify` is off.

        Raises:
            NotFoundError: the store has no such artifact.
            CorruptArtifactError: a file is missing or differs from its checksum.
        """
        path = self.path(digest)
        if not path.is_dir():
            raise NotFoundError(
                f"The artifact {digest[:12]} is not in {self.root}; repeat the command that made it with --force, "
                "or restore a backup."
            )
        if verify:
            _verify(path, digest)
        return path

    def read(self, digest: str) -> StoredArtifact:
        """What the artifact's manifest says, its files not hashed.

        Raises:
            NotFoundError: the store has no such artifact.
            CorruptArtifactError: the manifest cannot be read.
        """
        files = _read_manifest(self.open(digest, verify=False), digest)
        hashes = {name: str(entry["sha256"]) for name, entry in files["files"].items()}
        return StoredArtifact(digest, str(files["kind"]), int(files["bytes"]), hashes)

    def digests(self) -> Iterator[str]:
        """Digests of all artifacts on the disk, sorted."""
        for path in sorted(self.root.glob("??/*")):
            if _DIGEST.fullmatch(path.name):
                yield path.name

    def sweep_stale(self) -> list[Path]:
        """Remove what killed processes of this machine left staged; the paths removed."""
        staging = self.root / _STAGING
        stale = [path for path in staging.iterdir() if _is_stale(path.name)] if staging.is_dir() else []
        for path in stale:
            shutil.rmtree(path, ignore_errors=True)
        return stale

    def _place(self, staged: Path, place: Path) -> None:
        if place.is_dir():
            if _is_sound(place):
                return
            # Moved aside rather than deleted in place, so that a kill in between leaves no half artifact.
            place.rename(staged.with_name(f"{staged.name}-corrupt"))
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            staged.rename(place)
        except OSError:
            # Another process placed the same content first; anything else is a real fault.
            if not place.is_dir():
                raise
        _flush_folder(place.parent)
        shutil.rmtree(staged.with_name(f"{staged.name}-corrupt"), ignore_errors=True)


def _me() -> str:
    """Machine, process and its start: tells a live process from a dead one whose number was given again."""
    machine = re.sub(r"[^A-Za-z0-9]", "_", socket.gethostname())
    return f"{machine}-{os.getpid()}-{_start_of(os.getpid())}"


def _start_of(pid: int) -> str:
    """Clock ticks at the process's start, `0` where the system does not say (no /proc)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return "0"
    # The command's name, in parentheses, may hold spaces; the start is field 22, the 20th after it.
    return stat.rpartition(")")[2].split()[19]


def _is_stale(name: str) -> bool:
    machine, pid, start = [*name.split("-"), "", "", ""][:3]
    if machine != _me().split("-")[0] or not pid.isdigit():
        return False
    return not _is_alive(int(pid)) or _start_of(int(pid)) != start


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _staged_files(staged: Path) -> list[str]:
    names = []
    for path in sorted(staged.rglob("*")):
        name = path.relative_to(staged).as_posix()
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise UsageError(f"{name} is not a plain file; stage a copy of what it points at.")
        if name == MANIFEST:
            raise UsageError(f"{MANIFEST} is the store's own file; stage yours under another name.")
        if path.is_file():
            names.append(name)
    if not names:
        raise UsageError(f"Nothing was written to {staged}; write at least one file before committing.")
    return names


def _hash(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _flush_and_hash(path: Path) -> str:
    with path.open("rb") as file:
        os.fsync(file.fileno())
    return _hash(path)


def _flush_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _digest(hashes: Mapping[str, str], sizes: Mapping[str, int]) -> str:
    lines = (f"{name}\0{hashes[name]}\0{sizes[name]}\n" for name in sorted(hashes))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _write_manifest(staged: Path, stored: StoredArtifact, sizes: Mapping[str, int]) -> None:
    files = {name: {"sha256": digest, "bytes": sizes[name]} for name, digest in stored.files.items()}
    said = {"digest": stored.digest, "kind": stored.kind, "bytes": stored.bytes, "files": files}
    with (staged / MANIFEST).open("w", encoding="utf-8") as file:
        json.dump(said, file, indent=1, sort_keys=True)
        file.flush()
        os.fsync(file.fileno())
    for folder in [staged, *(path for path in staged.rglob("*") if path.is_dir())]:
        _flush_folder(folder)


def _read_manifest(path: Path, digest: str) -> dict[str, Any]:
    try:
        said: dict[str, Any] = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        hashes = {name: str(entry["sha256"]) for name, entry in said["files"].items()}
        sizes = {name: int(entry["bytes"]) for name, entry in said["files"].items()}
        sound = _digest(hashes, sizes) == digest and said["bytes"] == sum(sizes.values()) and "kind" in said
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        sound = False
    if not sound:
        raise _corrupt(path, MANIFEST)
    return said


def _verify(path: Path, digest: str) -> None:
    for name, entry in _read_manifest(path, digest)["files"].items():
        file = path / name
        sound = file.is_file() and file.stat().st_size == entry["bytes"] and _hash(file) == entry["sha256"]
        if not sound:
            raise _corrupt(path, name)


def _is_sound(path: Path) -> bool:
    with suppress(CorruptArtifactError):
        _verify(path, path.name)
        return True
    return False


def _corrupt(path: Path, name: str) -> CorruptArtifactError:
    return CorruptArtifactError(
        f"{name} of artifact {path.name[:12]} ({path}) no longer matches its checksum; repeat the command that made it "
        "with --force, or restore a backup."
    )
